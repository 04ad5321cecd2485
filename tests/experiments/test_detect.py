"""The detect command with a detector that takes no time: what it writes, what it survives, how it goes on."""

import errno
import json
import os

import cv2
import numpy as np
import pytest

from experiments import detect
from faces.cli import exit_code
from faces.detect.detections import Detections
from faces.errors import DataError
from faces.outputs import locked
from faces.refused import explained
from tests.faces.data.makers import encoded

SEEN = []  # images that the detector has been given


def two_corners(images):
    """Faces at the image's left top and right bottom, the second the smaller and better."""
    found = []
    for image in images:
        SEEN.append(image)
        height, width = image.shape[:2]
        boxes = np.array([[width - 6, height - 6, width, height], [0, 0, 10, 12]], np.float32)
        points = boxes[:, None, :2] + np.arange(10, dtype=np.float32).reshape(1, 5, 2) / 3
        found.append(Detections(boxes, points, np.array([0.9, 0.8], np.float32)))
    return found


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Three images, one of them in a folder in the folder, a damaged one and a text."""
    monkeypatch.setattr(detect, "open_detector", lambda *_, **__: two_corners)
    SEEN.clear()
    images = tmp_path / "in"
    (images / "Ö [x]").mkdir(parents=True)
    for place, size in (("a.png", (40, 60)), ("b.jpg", (30, 20)), ("Ö [x]/c.png", (25, 25))):
        (images / place).write_bytes(encoded(np.full((*size, 3), 128, np.uint8)))
    (images / "bad.png").write_bytes(b"no image")
    (images / "notes.txt").write_text("x")
    (tmp_path / "weights").write_bytes(b"weights")
    return images


def run(*images, out, options=()) -> int:
    needed = ["--detector", "retinaface", "--detector-weights", str(out.parent / "weights"), "--out", str(out)]
    return exit_code(detect.main, [*map(str, images), *needed, *options])


def lines(out):
    return [json.loads(line) for line in (out / "detections.jsonl").read_text().splitlines()]


def test_what_is_written(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, out=out) == 0
    printed = capsys.readouterr().out
    assert "sheet.png: 3 of 3 images\n" in printed
    assert "6 faces in 3 images; without a face: 0, with more than one: 3" in printed
    assert "quarantined: 1\n" in printed and "bad.png: is text, no picture." in printed
    assert f"passed over: 1\n  text, no picture: {folder / 'notes.txt'}" in printed
    assert [line["image"] for line in lines(out)] == [str(folder / name) for name in ("a.png", "b.jpg", "Ö [x]/c.png")]
    assert lines(out)[0]["size"] == [40, 60]
    assert lines(out)[0]["faces"][1] == {
        "score": 0.8,
        "box": [0, 0, 10, 12],
        "points": [[0, 0.333], [0.667, 1], [1.333, 1.667], [2, 2.333], [2.667, 3]],
    }
    assert (out / "quarantine.csv").read_text().splitlines()[1].startswith(f"{folder / 'bad.png'},\"is text, no")
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet.shape == (8 + 248, 8 + 3 * 248, 3) and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 10
    assert [path.name for path in out.glob(".*")] == [".contents"]


def test_selection_and_single_files(folder, tmp_path):
    assert run(folder / "a.png", out=tmp_path / "out", options=["--select", "largest", "--sheet", "0"]) == 0
    ((face,),) = [line["faces"] for line in lines(tmp_path / "out")]
    assert face["score"] == 0.8
    assert not (tmp_path / "out" / "sheet.png").exists()


def test_a_sheet_says_what_it_leaves_out(folder, tmp_path, capsys):
    assert run(folder, out=tmp_path / "out", options=["--sheet", "2"]) == 0
    assert "sheet.png: 2 of 3 images\n" in capsys.readouterr().out


def test_the_least_score_goes_to_the_detector_and_to_the_record(folder, tmp_path, capsys, monkeypatch):
    asked = []

    def opened(name, weights, longest_side, confidence, network, manifest):
        asked.append(confidence)
        return two_corners

    monkeypatch.setattr(detect, "open_detector", opened)
    out = tmp_path / "out"
    assert run(folder, out=out, options=["--confidence", "0.02"]) == 0
    assert run(folder, out=out) == 2
    assert "made with confidence 0.02, and here it is not set; give the same options" in capsys.readouterr().err
    assert run(folder, out=tmp_path / "other") == 0
    assert asked == [0.02, None]
    with pytest.raises(SystemExit):
        run(folder, out=out, options=["--confidence", "1"])
    assert "--confidence 1.0: a score between 0 and 1" in capsys.readouterr().err


def test_an_interrupted_run_goes_on(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(detect, "CHUNK", 1)

    def stopped(images):
        if len(SEEN) == 2:
            raise KeyboardInterrupt
        return two_corners(images)

    with monkeypatch.context() as patch:
        patch.setattr(detect, "open_detector", lambda *_, **__: stopped)
        assert run(folder, out=out) == 130
    with (out / "detections.jsonl").open("a") as log:
        log.write('{"image": "half a li')
    assert run(folder, out=out) == 0
    printed = capsys.readouterr()
    assert f"interrupted. The images that were looked at are in {out}.\ngo on with: " in printed.err
    assert "2 of 4 images are in" in printed.out
    assert len(SEEN) == 3 and len(lines(out)) == 3
    assert run(folder, out=out, options=["--select", "best"]) == 2
    assert "made with select all, and here it is best" in capsys.readouterr().err
    (out / "notes.txt").write_text("mine")
    assert run(folder, out=out, options=["--select", "best", "--overwrite"]) == 0
    assert (out / "notes.txt").read_text() == "mine"
    assert [len(line["faces"]) for line in lines(out)] == [1, 1, 1]


def test_an_image_that_has_changed_is_looked_at_again(folder, tmp_path):
    out = tmp_path / "out"
    assert run(folder, out=out) == 0
    (folder / "a.png").write_bytes(encoded(np.full((20, 30, 3), 9, np.uint8)))
    assert run(folder, out=out) == 0
    assert len(SEEN) == 4 and len(lines(out)) == 3
    assert {line["image"]: line["size"] for line in lines(out)}[str(folder / "a.png")] == [20, 30]


def test_damaged_records_are_named(folder, tmp_path, capsys):
    out = tmp_path / "out"
    assert run(folder, out=out) == 0
    log = out / "detections.jsonl"
    whole = log.read_text().splitlines()
    for bad in ("{", "[]", '{"image": "a.png"}', whole[1].replace('"score"', '"scores"')):
        log.write_text("\n".join([whole[0], bad, whole[2]]) + "\n")
        assert run(folder, out=out) == 2
        assert f"{log}, line 2: is none that this command wrote, or damaged" in capsys.readouterr().err
    log.write_text("\n".join([whole[0], whole[2]]) + "\n")
    assert run(folder, out=out) == 0 and len(lines(out)) == 3
    (out / "settings.json").write_text('{"detector":')
    assert run(folder, out=out) == 2
    assert "settings.json: cannot be read, so that nobody knows how" in capsys.readouterr().err


def no_detector(*_, **__):
    raise AssertionError("the place is looked at first")


def test_places_are_looked_at_before_the_detector_is_opened(folder, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(detect, "open_detector", no_detector)
    package = tmp_path / "faces"
    package.mkdir()
    (package / "align.py").write_text("")
    for out, words in (
        (package, "is not empty, and no results of these commands (align.py is in it)"),
        (package / "align.py", "is a file"),
        (package / "align.py" / "below", "in the way"),
        (package / ("x" * 300), "cannot be written"),
    ):
        for more in ([], ["--overwrite"]):
            needed = ["--detector", "retinaface", "--detector-weights", str(tmp_path / "weights"), "--out", str(out)]
            assert exit_code(detect.main, [str(folder), *needed, *more]) == 2
            assert words in capsys.readouterr().err
    assert [path.name for path in package.iterdir()] == ["align.py"]
    with locked(tmp_path / "out"):
        assert run(folder, out=tmp_path / "out") == 2
        assert "another command is writing there" in capsys.readouterr().err


def test_a_disk_that_fills_up_is_a_sentence_and_the_work_goes_on_from_there(folder, tmp_path, capsys, monkeypatch):
    out = tmp_path / "out"
    monkeypatch.setattr(detect, "CHUNK", 1)
    append = detect.append_text

    def full(path, text):
        if len(SEEN) == 2:
            raise explained(OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)), path)
        append(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(detect, "append_text", full)
        assert run(folder, out=out) == 2
    assert "detections.jsonl: cannot be written, the disk is full" in capsys.readouterr().err
    assert len(lines(out)) == 1
    assert run(folder, out=out) == 0 and len(lines(out)) == 3


def test_two_files_of_one_name(tmp_path):
    files = [tmp_path / os.fsdecode(b"\xff.png"), tmp_path / "\\xff.png"]
    assert len(detect.by_name([files[0], files[0]])) == 1
    with pytest.raises(DataError, match="is the name of two files"):
        detect.by_name(files)


def test_nothing_to_look_at_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", out=tmp_path / "out") == 2
    assert "no photograph found" in capsys.readouterr().err
    assert run(tmp_path / "absent", out=tmp_path / "out") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
