"""Photographs to clusters, and to the people of an index, against cosines of embeddings made one at a time."""

import csv
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from experiments import cluster, search
from experiments.common import made_by, people_index
from experiments.common.contact_sheets import GAP, TILE
from faces.data.images import decode_image
from faces.detect.detections import Detections
from faces.errors import DataError
from faces.preprocessing import align
from recognizer import pipeline
from recognizer.model import open_model
from tests.experiments.setting import one_matrix_model, refused, result_of, run


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    return one_matrix_model(tmp_path_factory.mktemp("search") / "model")


@pytest.fixture(scope="module")
def album(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four people with two to five pictures, of clearly different colours, and one file that is no picture."""
    root, rng = tmp_path_factory.mktemp("album"), np.random.default_rng(4)
    colours = np.array([[30, 60, 200], [200, 40, 60], [60, 200, 40], [210, 210, 60]])
    for person, count in enumerate((3, 5, 2, 4)):
        folder = root / f"Person {person}"
        folder.mkdir()
        for number in range(count):
            pixels = np.clip(colours[person] + rng.integers(-30, 30, size=(24, 24, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"{number}.png"), pixels)
    (root / "Person 2" / "broken.jpg").write_bytes(b"no picture")
    return root


def embeddings(model: Path, paths: list[Path]) -> np.ndarray:
    opened = open_model(model)
    how, rows = opened.preprocessing, []
    for path in paths:
        face = align(how, decode_image(path.read_bytes(), ""), None, None)
        pixels = (face.astype(np.float32) - how.mean) / how.scale
        weights, pair = (opened.params, opened.batch_stats), (pixels, pixels[:, ::-1])
        both = [opened.apply(*weights, one[None], False)[0][0] for one in pair]
        x = np.sum(np.array(both, np.float64), axis=0)
        rows.append(x / np.sqrt(x @ x))
    return np.stack(rows)


def test_an_album_becomes_people(model: Path, album: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    given = [str(album), "--weights", str(model), "--cache", str(tmp_path / "cache"), "--out", str(out), "--labelled"]
    paths = sorted(album.glob("*/*.png"))
    x = embeddings(model, paths)
    person = np.array([int(path.parent.name[-1]) for path in paths])
    same = person[:, None] == person[None]
    low, high = (x @ x.T)[same].min(), (x @ x.T)[~same].max()
    assert low > high + 0.01  # the colours tell the people apart
    printed = run(cluster.main, [*given, "--threshold", f"{(low + high) / 2:.4f}"])
    result = result_of(printed)
    assert result == json.loads((out / "result.json").read_text())
    assert result["sizes"] == [5, 4, 3, 2] and (result["photographs"], result["unreadable"]) == (15, 1)
    assert result["agreement"]["f"] == result["agreement"]["bcubed_f"] == 1.0
    assert result["agreement"]["coverage"] == pytest.approx(14 / 15)
    with (out / "clusters.csv").open(newline="") as file:
        listed = list(csv.DictReader(file))
    rows = {row["photograph"]: row["cluster"] for row in listed}
    assert {row["left"] + row["detector_score"] for row in listed} == {""}  # nobody looked
    assert result["faces"] is None
    assert "14 photographs, taken whole, as alignment fixed_box says; no face was looked for" in printed
    assert rows[str(album / "Person 2" / "broken.jpg")] == "" and len(rows) == 15
    assert {rows[str(path)] for path in paths if path.parent.name == "Person 1"} == {"0"}
    clusters = json.loads((out / "clusters.json").read_text())
    assert [face["photograph"] for face in clusters[3]] == [str(album / "Person 2" / f"{n}.png") for n in range(2)]
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet.shape[0] == 4 * (TILE + GAP) + GAP
    assert any("cannot be decoded:" in line and "broken.jpg" in line for line in printed)
    again = [*given, "--threshold", "-1", "--linkage", "single"]
    refused(cluster.main, capsys, again, "holds results already", "--overwrite")
    refused(cluster.main, capsys, [str(out), *again, "--overwrite"], f"{out}: lies in", "--overwrite replaces")
    one = result_of(run(cluster.main, [*again, "--overwrite"]))
    assert one["sizes"] == [14] and one["agreement"]["recall"] == 1.0 > one["agreement"]["precision"]


@pytest.mark.parametrize("stored", [[], ["--one-byte"]])
def test_people_are_enrolled_and_found(model: Path, album: Path, tmp_path: Path, capsys, stored: list[str]):
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache")]
    people = tmp_path / "people"
    for path in album.glob("*/[01].png"):
        if path.parent.name != "Person 3":
            (people / path.parent.name).mkdir(parents=True, exist_ok=True)
            (people / path.parent.name / path.name).write_bytes(path.read_bytes())
    printed = run(search.main, ["enrol", str(people), *options, *stored, "--out", str(tmp_path / "index")])
    assert any("the cosine to what was rounded is at least 0.99" in line for line in printed) == bool(stored)
    held = people_index.read_index(tmp_path / "index" / "index.npz").embeddings
    assert held.dtype == (np.int8 if stored else np.float32)
    enrolled = result_of(printed)
    assert (enrolled["people"], enrolled["pictures"]) == (3, 6)

    probes = [album / "Person 0" / "2.png", album / "Person 1" / "4.png", album / "Person 3" / "0.png"]
    gallery = sorted(people.glob("*/*.png"))
    x, y = embeddings(model, probes), embeddings(model, gallery)
    if stored:
        y = np.stack([whole / np.linalg.norm(whole) for whole in (np.round(127 * row / abs(row).max()) for row in y)])
    scores = (x @ y.T).reshape(3, 3, 2).max(axis=2)  # (probes, people)
    threshold = (scores[2].max() + min(scores[0, 0], scores[1, 1])) / 2
    index = str(tmp_path / "index" / "index.npz")
    given = ["find", *map(str, probes), "--index", index, "--threshold", f"{threshold:.4f}", "--top", "2", *options]
    printed = run(search.main, [*given, "--out", str(tmp_path / "found")])
    result = result_of(printed)
    assert (result["known"], result["unknown"], result["people"]) == (2, 1, 3)
    lines = [json.loads(line) for line in (tmp_path / "found" / "matches.jsonl").read_text().splitlines()]
    assert [line["photograph"] for line in lines] == list(map(str, probes)) and lines[0]["size"] == [24, 24]
    faces = [face for line in lines for face in line["faces"]]
    assert [face["person"] for face in faces] == ["Person 0", "Person 1", None] and faces[0]["box"] is None
    for line, expected in zip(faces, scores, strict=True):
        order = np.argsort(-expected)[:2]
        assert [match["person"] for match in line["ranked"]] == [f"Person {n}" for n in order]
        np.testing.assert_allclose([match["score"] for match in line["ranked"]], expected[order], atol=1e-5)
        assert Path(line["ranked"][0]["picture"]).parent.name == line["ranked"][0]["person"]
    assert any("unknown, nearest Person" in line for line in printed)
    refused(search.main, capsys, [*given, "--flip", "none", "--out", str(tmp_path / "x")],
            "was made by flip sum, and here is flip none; give the same weights")  # fmt: skip
    refused(search.main, capsys, [*given, "--out", str(tmp_path / "index"), "--overwrite"], "index.npz: lies in")
    whole = ["enrol", str(album), *options, "--out", str(tmp_path / "x")]
    refused(search.main, capsys, whole, "1 of 15 pictures give no face", "broken.jpg")
    assert not (tmp_path / "x").exists()


@pytest.fixture
def detector(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Options of a detector that finds a face in every 24 columns that are not black, the last with the best score."""

    def detect(images: Sequence[np.ndarray]) -> list[Detections]:
        found = []
        for image in images:
            left = np.array([x for x in range(0, image.shape[1], 24) if image[:, x : x + 24].any()][::-1], np.float32)
            boxes = np.stack([left, 0 * left, left + 24, 0 * left + 24], axis=1)  # (faces, 4)
            points = boxes[:, None, :2] + np.float32([[7, 8], [17, 8], [12, 12], [8, 17], [16, 17]])[None]
            found.append(Detections(boxes, points, np.linspace(0.9, 0.6, len(left), dtype=np.float32)))
        return found

    monkeypatch.setattr(pipeline, "open_detector", lambda name, weights, network, manifest: detect)
    weights = tmp_path / "detector.pth"
    weights.write_bytes(b"made up")
    return ["--detector", "retinaface", "--detector-weights", str(weights), "--alignment", "box_margin"]


@pytest.fixture
def groups(album: Path, tmp_path: Path) -> Path:
    """Persons 0, 1 and 3 side by side, person 1 alone, and nobody."""
    folder = tmp_path / "groups"
    folder.mkdir()
    alone = [cv2.imread(str(album / f"Person {person}" / "1.png")) for person in (0, 1, 3)]
    cv2.imwrite(str(folder / "a.png"), np.concatenate(alone, axis=1))
    cv2.imwrite(str(folder / "b.png"), cv2.imread(str(album / "Person 1" / "2.png")))
    cv2.imwrite(str(folder / "c.png"), np.zeros((24, 48, 3), np.uint8))
    return folder


def test_every_face_of_a_group_is_looked_at(
    model: Path, album: Path, groups: Path, detector: list[str], tmp_path: Path, capsys
):
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector]
    enrolling = ["enrol", str(album), *options, "--allow-missing", "--out", str(tmp_path / "index")]
    run(search.main, enrolling)
    index = ["--index", str(tmp_path / "index" / "index.npz"), "--threshold", "-1"]
    printed = run(search.main, ["find", str(groups), *index, *options, "--out", str(tmp_path / "found")])
    result = result_of(printed)
    assert (result["photographs"], result["faces"], result["several"], result["without_face"]) == (3, 4, 1, 1)
    assert "3 photographs, 4 faces in 2 of them, more than one in 1" in printed
    assert any("a.png, face 1 of 3 from the left: Person 0, 1.000" in line for line in printed)
    a, b, c = [json.loads(line) for line in (tmp_path / "found" / "matches.jsonl").read_text().splitlines()]
    assert [face["person"] for face in a["faces"]] == ["Person 3", "Person 1", "Person 0"]
    assert [face["box"] for face in a["faces"]] == [[left, 0, left + 24, 24] for left in (48, 24, 0)]
    assert [face["detector_score"] for face in a["faces"]] == pytest.approx([0.9, 0.75, 0.6])
    assert a["size"] == [24, 72] and len(b["faces"]) == 1 and c["faces"] == []

    one = ["find", str(groups), *index, *options, "--select", "best", "--out", str(tmp_path / "one")]
    printed = run(search.main, one)
    assert (result_of(printed)["faces"], result_of(printed)["faces_passed_over"]) == (2, 2)
    assert any("2 faces passed over, --select best means one of several" in line for line in printed)
    without = [*options[:4], *index, "--out", str(tmp_path / "without")]
    refused(search.main, capsys, ["find", str(groups), *without], "made by detector retinaface, detector's edition",
            "here is detector none")  # fmt: skip


def test_a_detector_that_finds_other_faces_now_looks_again(
    model: Path, groups: Path, detector: list[str], tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch
):
    people = tmp_path / "people"
    (people / "Ann").mkdir(parents=True)
    shutil.copy(groups / "b.png", people / "Ann" / "1.png")
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector]
    run(search.main, ["enrol", str(people), *options, "--out", str(tmp_path / "index")])
    for module in (made_by, pipeline):
        monkeypatch.setattr(module, "EDITION", 1_000)
    finding = ["find", str(groups), "--index", str(tmp_path / "index" / "index.npz"), "--threshold", "0", *options]
    refused(search.main, capsys, [*finding, "--out", str(tmp_path / "x")], "here is detector's edition 1000", "enrol")
    run(cluster.main, [str(people), *options, "--threshold", "0", "--out", str(tmp_path / "clusters")])
    assert len(list((tmp_path / "cache").glob("retinaface-*.npz"))) == 2


def test_faces_of_groups_are_clustered_and_one_of_each_is_judged(
    model: Path, album: Path, groups: Path, detector: list[str], tmp_path: Path
):
    out = tmp_path / "out"
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector, "--out", str(out)]
    both = [str(album / "Person 0"), str(groups)]
    printed = run(cluster.main, [*both, *options, "--threshold", "0.999", "--linkage", "single", "--labelled"])
    result = result_of(printed)
    assert (result["photographs"], result["faces"]) == (6, 7) and sum(result["sizes"]) == 7
    assert (result["agreement"]["judged"], result["agreement"]["people"]) == (5, 2)
    judged = "5 of 6 photographs, the most central face of each; 2 other faces have no name and are not judged"
    assert any(line.endswith(judged) for line in printed)
    clusters = json.loads((out / "clusters.json").read_text())
    at = {(Path(face["photograph"]).name, face["box"][0]): n for n, one in enumerate(clusters) for face in one}
    assert at["a.png", 0] == at["1.png", 0] != at["a.png", 24]  # the same picture of person 0
    with (out / "clusters.csv").open(newline="") as file:
        rows = [(Path(row["photograph"]).name, row["cluster"], row["left"]) for row in csv.DictReader(file)]
    assert ("c.png", "", "") in rows and ("a.png", str(at["a.png", 48]), "48.0") in rows and len(rows) == 8


def test_enrolment_names_what_it_leaves_out(
    model: Path, album: Path, groups: Path, detector: list[str], tmp_path: Path
):
    people = tmp_path / "people"
    names = ("Ann", "ann", "Jos\N{LATIN SMALL LETTER E WITH ACUTE}", "Jose\N{COMBINING ACUTE ACCENT}")
    for name, source in zip(names, ("Person 0", "Person 1", "Person 3", "Person 2"), strict=True):
        (people / name).mkdir(parents=True)
        (people / name / "1.png").write_bytes((album / source / "1.png").read_bytes())
    (people / "Ann" / "group.png").write_bytes((groups / "a.png").read_bytes())
    (people / "empty").mkdir()
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector, "--out", str(tmp_path / "index")]
    printed = run(search.main, ["enrol", str(people), *options])
    result = result_of(printed)
    assert (result["people"], result["pictures"], result["people_left_out"]) == (4, 5, ["empty"])
    assert any("2 faces passed over" in line and "group.png" in line for line in printed)
    assert "  not enrolled, no usable picture in the folder: empty" in printed
    assert sum("differ only in case or in how Unicode spells them" in line for line in printed) == 2
    options = [*options[:-1], str(tmp_path / "album"), "--threshold", "0.5", "--labelled"]
    two = run(cluster.main, [str(people / "Ann"), str(people / "ann"), *options])
    assert sum("'Ann' and 'ann' differ only" in line and "are different people here" in line for line in two) == 1
    assert result_of(two)["data"]["test"] == ["Ann", "ann"]  # every place, not the first alone


def test_nothing_of_a_folder_vanishes_without_a_word(model: Path, album: Path, tmp_path: Path):
    people = tmp_path / "people"
    pictures = {"ann/a.TIF": "TIFF", "bob/b": "PNG"}  # of bob's the name does not say what it is
    for place, format_ in pictures.items():
        (people / place).parent.mkdir(parents=True)
        Image.open(album / "Person 0" / "0.png").save(people / place, format_)
    (people / "carl").symlink_to(album / "Person 1")
    (people / "dora").mkdir()
    (people / "dora" / "d.nef").write_bytes(b"MM\0*\0\0\0\x08")
    (people / "ann" / ".a.jpg").write_bytes(b"hidden")
    given = ["enrol", str(people), "--weights", str(model), "--cache", str(tmp_path / "cache"), "--out"]
    printed = run(search.main, [*given, str(tmp_path / "index")])
    result = result_of(printed)
    assert (result["people"], result["pictures"], result["people_left_out"]) == (3, 7, ["dora"])
    assert {name.removeprefix(f"{people}/"): why.split(";")[0] for name, why in result["left_out"].items()} == {
        "ann/.a.jpg": "hidden, by a dot before the name",
        "dora/": "a folder without a photograph",
        "dora/d.nef": "a raw camera file",
    }
    assert "passed over: 3" in printed and any("d.nef" in line for line in printed)
    clusters = [str(people), *given[2:-1], "--threshold", "0.5", "--out", str(tmp_path / "clusters")]
    assert result_of(run(cluster.main, clusters))["left_out"] == result["left_out"]


def test_files_that_are_no_index(tmp_path: Path):
    with pytest.raises(DataError, match="no such file; enrol people first"):
        people_index.read_index(tmp_path / "none.npz")
    good = people_index.Index(np.ones((2, 3), np.float32), np.array([0, 1]), ("a", "b"), ("a/1", "b/1"), "made")
    people_index.write_index(tmp_path / "index.npz", good)
    read = people_index.read_index(tmp_path / "index.npz")
    assert read.people == good.people and read.made_by == "made" and (read.embeddings == good.embeddings).all()
    wrong = {"text": b"no zip", "cut": (tmp_path / "index.npz").read_bytes()[:200]}
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="is no index of enrolled people, or damaged"):
            people_index.read_index(tmp_path / name)
    with np.load(tmp_path / "index.npz") as stored:
        arrays = dict(stored)
    header = b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000, 512), }\n"
    huge = b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as file:
        file.writestr("embeddings.npy", huge)
    texts = {"deep": b"[" * 100_000, "list": b"[]", "people": b'{"people": [1, 2], "pictures": [3, 4], "made_by": ""}'}
    for name, text in texts.items():
        np.savez(tmp_path / f"{name}.npz", **{**arrays, "text": np.frombuffer(text, np.uint8)})
    np.savez(tmp_path / "nan.npz", **{**arrays, "embeddings": np.full((2, 3), np.nan, np.float32)})
    for name in ("huge", *texts, "nan"):
        with pytest.raises(DataError, match="is no index of enrolled people, or damaged"):
            people_index.read_index(tmp_path / f"{name}.npz")
    strange = people_index.Index(good.embeddings, np.array([0, 2]), good.people, good.pictures, "made")
    people_index.write_index(tmp_path / "far.npz", strange)
    with pytest.raises(DataError, match="is no index"):
        people_index.read_index(tmp_path / "far.npz")


def test_nobody_speaks_of_faces_where_nothing_can_be_decoded(model: Path, tmp_path: Path, capsys):
    (tmp_path / "a.jpg").write_bytes(b"no picture")
    given = [str(tmp_path / "a.jpg"), "--weights", str(model), "--cache", str(tmp_path / "cache"), "--threshold", "0"]
    refused(cluster.main, capsys, [*given, "--out", str(tmp_path / "out")], "none of 1 photograph can be decoded, the")


def test_the_middle_of_a_photograph_without_a_face(
    model: Path, groups: Path, detector: list[str], tmp_path: Path
):
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector, "--out", str(tmp_path / "out")]
    printed = run(cluster.main, [str(groups), *options, "--threshold", "0.9", "--undetected", "centre_crop"])
    result = result_of(printed)
    assert (result["pictures"], result["faces"], result["without_face"]) == (5, 4, 1)
    assert any("no face, and the middle taken, in" in line and "c.png" in line for line in printed)
    clusters = json.loads((tmp_path / "out" / "clusters.json").read_text())
    assert {Path(f["photograph"]).name for one in clusters for f in one if f["box"] is None} == {"c.png"}


@pytest.mark.parametrize("text", [b"[" * 5000, b"[]" + b" " * 8_000_000, b'{"people": ' + b"9" * 5000 + b"}"])
def test_an_index_whose_text_has_no_end_is_refused(tmp_path, text):
    path = tmp_path / "index.npz"
    arrays = {"embeddings": np.ones((1, 2), np.float32), "person": np.zeros(1, np.int64)}
    np.savez_compressed(path, **arrays, text=np.frombuffer(text, np.uint8))
    with pytest.raises(DataError, match="is no index of enrolled people, or damaged"):
        people_index.read_index(path)


def held(*folders: Path) -> bytes:
    """The names and the content of all that lies in some folders."""
    there = [path for folder in folders for path in folder.rglob("*")]
    return b"\n".join([str(path).encode() for path in there] + [path.read_bytes() for path in there if path.is_file()])


@pytest.fixture
def enrolled(
    model: Path, album: Path, detector: list[str], tmp_path: Path, request: pytest.FixtureRequest
) -> list[str]:
    """The options of an index of all people of an album, one of whom has a file that is no photograph."""
    shutil.copytree(album, tmp_path / "people")
    (tmp_path / "people" / "Person 1" / "raw.nef").write_bytes(b"raw")
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache"), *detector, "--allow-missing"]
    stored = getattr(request, "param", [])
    run(search.main, ["enrol", str(tmp_path / "people"), *options, *stored, "--out", str(tmp_path / "index")])
    return options


def forget(tmp_path: Path, name: str) -> list[str]:
    return ["forget", name, "--index", str(tmp_path / "index" / "index.npz"), "--cache", str(tmp_path / "cache")]


def test_nothing_of_a_person_who_is_forgotten_is_left(enrolled: list[str], tmp_path: Path, capsys):
    places = tmp_path / "index", tmp_path / "cache"
    before = people_index.read_index(places[0] / "index.npz")
    theirs = [row.tobytes() for row in before.embeddings[before.person == 1]]
    others = [row.tobytes() for row in before.embeddings[before.person != 1]]
    content = held(*places)
    assert len(theirs) == 5 and all(content.count(row) == 2 for row in (*theirs, *others)) and b"Person 1" in content
    refused(search.main, capsys, forget(tmp_path, "Person 11"), "nobody is enrolled as Person 11; did you mean Person")
    result = result_of(run(search.main, forget(tmp_path, "Person 1")))
    assert result == {"indexes": 1, "pictures": 5, "cache_entries": 10, "caches_removed": 0}
    content = held(*places)
    assert not any(row in content for row in theirs) and b"Person 1" not in content and b"raw.nef" not in content
    assert all(content.count(row) == 2 for row in others)
    after = people_index.read_index(places[0] / "index.npz")
    assert after.people == ("Person 0", "Person 2", "Person 3") and after.person.tolist() == [0] * 3 + [1] * 2 + [2] * 4
    said = json.loads((places[0] / "result.json").read_text())
    assert (said["people"], said["pictures"]) == (3, 9)
    assert sorted(path.name for path in places[0].iterdir()) == [
        ".contents", "environment.json", "index.npz", "result.json"
    ]  # fmt: skip
    for name in after.people:
        run(search.main, forget(tmp_path, name))
    assert not (places[0] / "index.npz").exists() and not list(places[1].glob("*.npz"))


def test_of_caches_nothing_stays_of_which_nobody_can_tell_whose_it_is(enrolled: list[str], tmp_path: Path):
    shutil.rmtree(tmp_path / "people")  # so that detections cannot be told
    other = tmp_path / "cache" / "embeddings-of another model.npz"
    shutil.copy(next((tmp_path / "cache").glob("retinaface-*.npz")), other)
    result = result_of(run(search.main, forget(tmp_path, "Person 1")))
    assert (result["cache_entries"], result["caches_removed"]) == (5, 2)
    assert [path.name[:10] for path in (tmp_path / "cache").glob("*.npz")] == ["embeddings"] and not other.exists()


def test_who_is_enrolled_no_more_leaves_the_cache(enrolled: list[str], tmp_path: Path):
    before = people_index.read_index(tmp_path / "index" / "index.npz")
    gone = [row.tobytes() for row in before.embeddings[before.person == 1]]
    (tmp_path / "people" / "Person 1").rename(tmp_path / "elsewhere")
    enrolling = ["enrol", str(tmp_path / "people"), *enrolled, "--out", str(tmp_path / "index"), "--overwrite"]
    printed = run(search.main, enrolling)
    assert any("5 pictures are enrolled no more; 5 entries of" in line for line in printed)
    assert any("where faces are in photographs" in line and "retinaface" in line for line in printed)
    content = held(tmp_path / "index", tmp_path / "cache")
    assert not any(row in content for row in gone) and before.embeddings[0].tobytes() in content


@pytest.mark.parametrize("enrolled", [["--one-byte"]], indirect=True)
@pytest.mark.parametrize("again", [[], ["--one-byte"]])
def test_bytes_of_a_person_lead_to_the_vectors_in_the_cache(enrolled: list[str], tmp_path: Path, again: list[str]):
    index, cache = tmp_path / "index" / "index.npz", next((tmp_path / "cache").glob("embeddings-*.npz"))
    before = people_index.read_index(index)

    def in_cache(person: int) -> list[bool]:
        wanted = {row.tobytes() for row in before.embeddings[before.person == person]}
        with np.load(cache) as stored:
            vectors = stored["values"].reshape(-1, before.embeddings.shape[1])
        return [row.tobytes() in wanted for row in before.as_stored(vectors)]

    assert [sum(in_cache(person)) for person in range(4)] == [3, 5, 2, 4]
    assert result_of(run(search.main, forget(tmp_path, "Person 1")))["cache_entries"] == 10
    assert [sum(in_cache(person)) for person in range(4)] == [3, 0, 2, 4]
    (tmp_path / "people" / "Person 1").rename(tmp_path / "elsewhere")
    (tmp_path / "people" / "Person 2").rename(tmp_path / "elsewhere too")
    enrolling = ["enrol", str(tmp_path / "people"), *enrolled, *again, "--out", str(tmp_path / "index"), "--overwrite"]
    assert any("2 pictures are enrolled no more; 2 entries of" in line for line in run(search.main, enrolling))
    assert [sum(in_cache(person)) for person in range(4)] == [3, 0, 0, 4]
