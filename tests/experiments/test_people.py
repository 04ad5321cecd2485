"""Photographs to people: who is who, on sheets, on every photograph and in lists, without an option that says how."""

import csv
import dataclasses
import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from experiments import people
from experiments.common.threshold import WAY
from recognizer.description import Clustering
from recognizer.manifest import Detection
from recognizer.model import open_model, write_model
from tests.experiments.setting import refused, result_of, run
from tests.experiments.test_search import album as album
from tests.experiments.test_search import detector as detector
from tests.experiments.test_search import embeddings
from tests.experiments.test_search import groups as groups
from tests.experiments.test_search import model as model
from tests.recognizer.manifest_maker import detector_entry, make_package, write_manifest


@pytest.fixture
def complete(model: Path, tmp_path: Path) -> Path:
    """The model with detector, alignment and cosine of its own."""
    opened, folder = open_model(model), tmp_path / "complete"
    by_box = dataclasses.replace(opened.preprocessing, alignment="box_margin")
    own = Detection("retinaface", "largest", "centre_crop")
    described = dataclasses.replace(
        opened.description, preprocessing=by_box, clustering=Clustering(0.999), detection=own
    )
    write_model(dataclasses.replace(opened, description=described), folder)
    return folder


def test_all_that_is_needed_comes_with_the_model(
    complete: Path, album: Path, groups: Path, detector: list[str], tmp_path: Path, monkeypatch, capsys
):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "photographs").mkdir()
    for place in (album / "Person 0", groups):
        (tmp_path / "photographs" / place.name).symlink_to(place)
    (make_package(tmp_path / "site", "finds_faces", monkeypatch) / "weights.npz").write_bytes(b"made up")
    entry = detector_entry(detector="retinaface", network="retinaface_resnet50", package="finds_faces")
    names = write_manifest(tmp_path / "names.toml", {"finds": entry})
    given = ["photographs", "--weights", str(complete), "--manifest", str(names)]
    monkeypatch.setattr(people, "too_blurred", lambda faces: np.zeros(len(faces), bool))  # noise of one colour
    printed = run(people.main, given)
    result = result_of(printed)
    assert "faces: found by retinaface, of several: all" in printed
    assert result["threshold"] == 0.999 and result["preprocessing"]["alignment"] == "box_margin"
    assert (result["photographs"], result["faces"], result["drawn"], result["without_face"]) == (6, 7, 6, 1)
    out = tmp_path / "people"
    with (out / "people.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 8 and {row["score"] for row in rows if row["person"] == ""} == {""}
    whose = {(Path(row["photograph"]).name, row["left"]): row["person"] for row in rows}
    assert whose["a.png", "0.0"] == whose["1.png", "0.0"]  # the same face
    named = json.loads((out / "people.json").read_text())
    listed = [*named["people"], *named["alone"]]
    assert sorted(len(one["faces"]) for one in listed) == sorted(result["sizes"])
    assert [one["person"] for one in listed] == [f"person {n}" for n in range(1, len(listed) + 1)]
    assert {face["score"] is None for one in named["alone"] for face in one["faces"]} == {True}
    drawn = sorted(path.relative_to(out / "photographs").as_posix() for path in out.rglob("*.jpg"))
    assert drawn == [f"Person 0/{n}.png.jpg" for n in range(3)] + [f"groups/{name}.png.jpg" for name in "abc"]
    assert cv2.imread(str(out / "photographs" / "groups" / "a.png.jpg")).shape == (24, 72, 3)
    refused(people.main, capsys, given, "people: holds results already", "--overwrite")


def test_its_own_pictures_are_no_photographs(model: Path, album: Path, tmp_path: Path, monkeypatch, capsys):
    """Where the folder that is searched is the one that the results lie in."""
    shutil.copytree(album / "Person 1", tmp_path / "album")
    monkeypatch.chdir(tmp_path / "album")
    given = [".", "--weights", str(model), "--threshold", "0.5", "--overwrite"]
    first, second = (result_of(run(people.main, given)) for _ in range(2))
    assert (first["photographs"], second["photographs"]) == (5, 5) and first["sizes"] == second["sizes"]
    own = {name: why for name, why in second["left_out"].items() if why == "in people, where results go"}
    assert len(own) == 6 and "people/sheet.png" in own  # and five drawn photographs
    refused(people.main, capsys, ["people", *given[1:], "--out", "people/"], "people: lies in people, whose content")


def test_a_model_without_a_cosine_asks_for_one(model: Path, album: Path, tmp_path: Path, capsys):
    given = [str(album), "--weights", str(model), "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")]
    refused(people.main, capsys, given, f"no cosine was chosen for this model; give one by --threshold ({WAY}).")
    assert result_of(run(people.main, [*given, "--threshold", "0.5", "--labelled"]))["agreement"]["people"] == 4


def test_scores_are_mean_cosines_with_the_others(model: Path, album: Path):
    x = embeddings(model, sorted(album.glob("*/*.png")))
    labels = np.array([0, 1, 0, 2, 1, 0, 1, 1, 0, 0, 0, 1, 1, 0])
    found = people.scores(x.astype(np.float32), labels)
    cosine = x @ x.T
    for face, score in enumerate(found):
        others = [row for row in range(len(x)) if row != face and labels[row] == labels[face]]
        assert np.isnan(score) if not others else score == pytest.approx(cosine[face, others].mean(), abs=1e-5)


def test_faces_that_show_too_little_stay_alone():
    x = np.repeat(np.eye(2, dtype=np.float32), 3, axis=0)
    poor = np.array([False, True, False, False, False, True])
    assert people.people_of(x, poor, 0.9).tolist() == [0, 2, 0, 1, 1, 3]
    assert people.people_of(x, np.ones(6, bool), 0.9).tolist() == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize(
    ("files", "places"),
    [
        (["a/b/1.jpg", "a/c/1.jpg"], ["b/1.jpg", "c/1.jpg"]),
        (["a/1.jpg", "a/1.JPG", "a/1.png", "a/1.png.jpg"], ["1.jpg", "1_.JPG", "1.png.jpg", "1.png_.jpg"]),
        (["a/b/1.jpg", "a/2.jpg"], ["b/1.jpg", "2.jpg"]),
        (["1.jpg"], ["1.jpg"]),
    ],
)
def test_every_photograph_is_drawn_at_a_place_of_its_own(files: list[str], places: list[str]):
    assert [place.as_posix() for place in people.drawn_places([Path(file) for file in files])] == places
