"""The prepare command, in this process: what it prints, its exit codes, and that failures leave nothing behind."""

import numpy as np
import pytest

from experiments.prepare import main
from faces.cli import exit_code
from faces.data.open import open_source
from tests.faces.data.makers import encoded, image_folder, insightface_rec, picture

PICTURES = [picture(seed) for seed in range(5)]
PNG = [encoded(pixels) for pixels in PICTURES]


def prepare(*arguments) -> int:
    return exit_code(main, [str(argument) for argument in arguments])


def test_image_folder_with_bad_and_foreign_files(tmp_path, capsys):
    source = image_folder(tmp_path / "in", {"a [b]": PNG[:3], "Ö": [PNG[3][:50]], "c": PNG[4:5]})
    (source / "c" / "notes.txt").write_text("x")
    assert prepare(source, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "4 images of 2 people (folder); of a person: 1 to 3, median 2, mean 2.0" in printed
    assert "quarantined: 1\n  Ö/Ö_0001.png: " in printed
    assert "passed over: 1\n  text, no picture: c/notes.txt\n" in printed
    faces = open_source(tmp_path / "out").source
    assert faces.identity_names == ["a [b]", "c"]
    np.testing.assert_array_equal(faces[3], PICTURES[4])


def test_people_whose_names_look_alike_are_named(tmp_path, capsys):
    names = ("Zo\N{LATIN SMALL LETTER E WITH DIAERESIS}", "Zoe\N{COMBINING DIAERESIS}", "Ann")
    source = image_folder(tmp_path / "in", {name: PNG[at : at + 1] for at, name in enumerate(names)})
    assert prepare(source, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "3 images of 3 people" in printed
    assert printed.count("differ only in case or in how Unicode spells them, and are different people here") == 1


def test_records_cropped_and_resized(tmp_path, capsys):
    insightface_rec(tmp_path / "train.rec", [PNG[:2], PNG[2:]])
    assert prepare(tmp_path, "--out", tmp_path / "out", "--crop", 1, 2, 11, 12, "--size", 8) == 0
    assert "5 images of 2 people (records)" in capsys.readouterr().out
    assert open_source(tmp_path / "out").source[0].shape == (8, 8, 3)


def test_lfw(tmp_path, capsys):
    image_folder(tmp_path / "in" / "lfw-deepfunneled", {"A": PNG[:2], "B": PNG[2:3]})
    (tmp_path / "in" / "pairs.txt").write_text("1\t1\nA\t1\t2\nA\t1\tB\t1\n")
    assert prepare(tmp_path / "in", "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "3 images of 2 people (lfw)" in printed
    assert "kept beside them: pairs.txt" in printed
    assert (tmp_path / "out" / "pairs.txt").read_text().startswith("1\t1\n")


def test_many_quarantined_files_are_counted_and_the_first_named(tmp_path, capsys):
    source = image_folder(tmp_path / "in", {"a": PNG[:1], "b": PNG[1:2], "c": [b"text"] * 30})
    assert prepare(source, "--out", tmp_path / "out") == 0
    printed = capsys.readouterr().out
    assert "quarantined: 30\n" in printed
    assert "  and 10 more\n" in printed
    assert len((tmp_path / "out" / "quarantine.csv").read_text().splitlines()) == 31


def cut_rec(root):
    rec = insightface_rec(root / "train.rec", [PNG[:2], PNG[2:]])
    data = rec.read_bytes()
    rec.write_bytes(data[: len(data) // 2])


def broken_pairs(root):
    image_folder(root, {"A": PNG[:2], "B": PNG[2:3]})
    (root / "pairs.txt").write_text("1\t1\nA\t1\t2\nA\t1\n")


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda root: None, "no image found"),
        (lambda root: image_folder(root, {"ann": PNG[:3]}), "usable images of 1 person"),
        (lambda root: image_folder(root, {"ann": [PNG[0][:50]], "bob": [b""]}), "none of its 2 images is usable"),
        (cut_rec, r"train.rec, byte "),
        (broken_pairs, "pairs.txt, line 3: 3 or 4 tab-separated fields expected, 2 found"),
    ],
    ids=["empty", "one identity", "truncated images", "cut rec", "broken pairs"],
)
def test_bad_input_is_one_sentence_and_leaves_nothing(tmp_path, capsys, make, message):
    (tmp_path / "in").mkdir()
    make(tmp_path / "in")
    before = sorted(tmp_path.rglob("*"))
    assert prepare(tmp_path / "in", "--out", tmp_path / "deep" / "out") == 2
    captured = capsys.readouterr()
    assert captured.err.startswith("error: ")
    assert captured.err.count("\n") == 1
    assert message in captured.err
    assert sorted(tmp_path.rglob("*")) == before


def test_source_is_not_overwritten(tmp_path, capsys):
    source = image_folder(tmp_path / "in", {"a": PNG[:1], "b": PNG[1:2]})
    assert prepare(source, "--out", tmp_path / "in" / ".." / "in", "--overwrite") == 2
    assert "is the source itself" in capsys.readouterr().err
    assert prepare(source, "--out", tmp_path / "out") == 0
    assert prepare(source, "--out", tmp_path / "out") == 2
    assert "holds results already" in capsys.readouterr().err
    assert prepare(source, "--out", tmp_path / "out", "--overwrite") == 0
    for place in ("in/a/a_0001.png/x", "/proc/x"):
        assert prepare(source, "--out", tmp_path / place) == 2
        assert "name another place" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [[], ["--size", "0"], ["--crop", "5", "5", "5", "9"], ["--crop", "-1", "0", "5", "9"], ["--kind", "zip"]],
)
def test_bad_arguments(tmp_path, capsys, arguments):
    with pytest.raises(SystemExit) as exit_info:
        main([str(tmp_path), *(["--out", str(tmp_path / "out")] if arguments else []), *arguments])
    assert exit_info.value.code == 2
    assert "error" in capsys.readouterr().err


@pytest.mark.realdata
def test_real_odd_files(faces_data, tmp_path, capsys):
    (tmp_path / "in" / "name with space").mkdir(parents=True)
    (tmp_path / "in" / "Ärger").mkdir()
    for file in (faces_data / "odd").iterdir():
        (tmp_path / "in" / "name with space" / file.name).write_bytes(file.read_bytes())
    (tmp_path / "in" / "Ärger" / "grey.jpg").write_bytes((faces_data / "odd" / "grey.jpg").read_bytes())
    assert prepare(tmp_path / "in", "--out", tmp_path / "out") == 0
    captured = capsys.readouterr()
    assert "quarantined: 4\n" in captured.out
    assert captured.err == ""
    assert len(open_source(tmp_path / "out").source) == 15


def test_images_of_several_sizes_are_remarked_on(tmp_path, capsys):
    files = [encoded(picture(0)), encoded(picture(1)), encoded(picture(2, 60, 80))]
    source = image_folder(tmp_path / "in", {"ann": files[:1], "bob": files[1:]})
    assert prepare(source, "--out", tmp_path / "raw") == 0
    printed = capsys.readouterr().out
    assert "images of 20x16 to 60x80 pixels (height x width, 2 in all): stored as they are" in printed
    assert "no face was looked for" in printed
    assert prepare(source, "--out", tmp_path / "cut", "--size", "16") == 0
    assert "2 in all): the same part of each was taken" in capsys.readouterr().out
    assert prepare(tmp_path / "cut", "--out", tmp_path / "again") == 0
    assert "(height x width" not in capsys.readouterr().out
    large = image_folder(tmp_path / "large", {name: [encoded(picture(0, 600, 800))] for name in ("ann", "bob")})
    assert prepare(large, "--out", tmp_path / "photographs") == 0
    assert "images of 600x800 pixels (height x width, 1 in all): stored as they are" in capsys.readouterr().out
