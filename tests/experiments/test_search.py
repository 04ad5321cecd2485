"""Photographs to clusters, and to the people of an index, against cosines of embeddings made one at a time."""

import csv
import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import cluster, search
from experiments.published import open_model
from faces.data.images import decode_image
from faces.errors import DataError
from faces.preprocessing import align
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


def test_an_album_becomes_people(model: Path, album: Path, tmp_path: Path):
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
        rows = {row["photograph"]: row["cluster"] for row in csv.DictReader(file)}
    assert rows[str(album / "Person 2" / "broken.jpg")] == "" and len(rows) == 15
    assert {rows[str(path)] for path in paths if path.parent.name == "Person 1"} == {"0"}
    clusters = json.loads((out / "clusters.json").read_text())
    assert clusters[3] == [str(album / "Person 2" / f"{n}.png") for n in range(2)]
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet.shape[0] == 4 * (cluster.TILE + cluster.GAP) + cluster.GAP
    assert any("cannot be decoded:" in line and "broken.jpg" in line for line in printed)
    one = result_of(run(cluster.main, [*given, "--threshold", "-1", "--linkage", "single"]))
    assert one["sizes"] == [14] and one["agreement"]["recall"] == 1.0 > one["agreement"]["precision"]


def test_people_are_enrolled_and_found(model: Path, album: Path, tmp_path: Path, capsys):
    options = ["--weights", str(model), "--cache", str(tmp_path / "cache")]
    people = tmp_path / "people"
    for path in album.glob("*/[01].png"):
        if path.parent.name != "Person 3":
            (people / path.parent.name).mkdir(parents=True, exist_ok=True)
            (people / path.parent.name / path.name).write_bytes(path.read_bytes())
    enrolled = result_of(run(search.main, ["enrol", str(people), *options, "--out", str(tmp_path / "index")]))
    assert (enrolled["people"], enrolled["pictures"]) == (3, 6)

    probes = [album / "Person 0" / "2.png", album / "Person 1" / "4.png", album / "Person 3" / "0.png"]
    gallery = sorted(people.glob("*/*.png"))
    x, y = embeddings(model, probes), embeddings(model, gallery)
    scores = (x @ y.T).reshape(3, 3, 2).max(axis=2)  # (probes, people)
    threshold = (scores[2].max() + min(scores[0, 0], scores[1, 1])) / 2
    index = str(tmp_path / "index" / "index.npz")
    given = ["find", *map(str, probes), "--index", index, "--threshold", f"{threshold:.4f}", "--top", "2", *options]
    printed = run(search.main, [*given, "--out", str(tmp_path / "found")])
    result = result_of(printed)
    assert (result["known"], result["unknown"], result["people"]) == (2, 1, 3)
    lines = [json.loads(line) for line in (tmp_path / "found" / "matches.jsonl").read_text().splitlines()]
    assert [line["person"] for line in lines] == ["Person 0", "Person 1", None]
    for line, expected in zip(lines, scores, strict=True):
        order = np.argsort(-expected)[:2]
        assert [match["person"] for match in line["ranked"]] == [f"Person {n}" for n in order]
        np.testing.assert_allclose([match["score"] for match in line["ranked"]], expected[order], atol=1e-5)
        assert Path(line["ranked"][0]["picture"]).parent.name == line["ranked"][0]["person"]
    assert any("unknown, nearest Person" in line for line in printed)
    refused(search.main, capsys, [*given, "--flip", "none", "--out", str(tmp_path / "x")], "give the same weights")
    whole = ["enrol", str(album), *options, "--out", str(tmp_path / "x")]
    refused(search.main, capsys, whole, "1 of 15 pictures give no face", "broken.jpg")
    assert not (tmp_path / "x").exists()


def test_files_that_are_no_index(tmp_path: Path):
    with pytest.raises(DataError, match="no such file; enrol people first"):
        search.read_index(tmp_path / "none.npz")
    good = search.Index(np.ones((2, 3), np.float32), np.array([0, 1]), ("a", "b"), ("a/1", "b/1"), "made")
    search.write_index(tmp_path / "index.npz", good)
    read = search.read_index(tmp_path / "index.npz")
    assert read.people == good.people and read.made_by == "made" and (read.embeddings == good.embeddings).all()
    wrong = {"text": b"no zip", "cut": (tmp_path / "index.npz").read_bytes()[:200]}
    for name, data in wrong.items():
        (tmp_path / name).write_bytes(data)
        with pytest.raises(DataError, match="is no index of enrolled people, or damaged"):
            search.read_index(tmp_path / name)
    strange = search.Index(good.embeddings, np.array([0, 2]), good.people, good.pictures, "made")
    search.write_index(tmp_path / "far.npz", strange)
    with pytest.raises(DataError, match="is no index"):
        search.read_index(tmp_path / "far.npz")
