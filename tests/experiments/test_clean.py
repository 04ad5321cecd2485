"""Wrong labels found by sub-centres: the run, the tool, and the run on what it keeps."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from arcface_jax import sub_center
from experiments import arcface, clean
from faces.data import augment
from faces.data.open import open_source
from faces.data.source import Relabelled
from recognizer.networks import backbone_of
from recognizer.runs import open_run
from tests.experiments.setting import SMALL, refused, result_of, rows_of, run

FRACTION, DEGREES = 0.3, 95.0


class Cleaned(NamedTuple):
    """A run with sub-centres and wrong labels, and what the tool made of it."""

    folder: Path
    given: list[str]
    listed: Path
    printed: list[str]


@pytest.fixture(scope="module")
def cleaned(faces_folder: Path, tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Cleaned:
    root = tmp_path_factory.mktemp("clean")
    folder, listed, data = root / "run", root / "kept.json", str(faces_folder / "train")
    given = [*SMALL["arcface"], *one_matrix, "--data", data, "--data.wrong-labels", str(FRACTION), "--train.steps", "2"]
    given += ["--devices", "2"]
    run(arcface.main, [*given, "--head.sub-centres", "3", "--out", str(folder)])
    wanted = [str(folder), "--data", data, "--degrees", str(DEGREES), "--out", str(listed)]
    return Cleaned(folder, given, listed, run(clean.main, wanted))


def dropped_by_hand(folder: Path, source: Relabelled) -> np.ndarray:
    """Which images lie beyond the angle from the sub-centre that most of their class are nearest to."""
    trained = open_run(folder)
    apply, data = backbone_of(trained.config.model, "arcface").apply, trained.config.data
    crops = np.stack([augment.crop(source[n], trained.config.model.input_size) for n in range(len(source))])
    pixels = (crops.astype(np.float32) - data.mean) / data.scale
    x = np.asarray(apply(trained.params, trained.batch_stats, pixels, False)[0], np.float64)
    centres = np.asarray(trained.centres, np.float64)
    cosine = np.zeros((len(x), 3))
    for n, label in enumerate(source.identities):
        for k in range(3):
            w = centres[label, k]
            cosine[n, k] = x[n] @ w / np.sqrt((x[n] @ x[n]) * (w @ w))
    dropped = np.zeros(len(x), bool)
    for label in range(source.identities.max() + 1):
        own = np.flatnonzero(source.identities == label)
        dominant = np.bincount(cosine[own].argmax(1), minlength=3).argmax()
        dropped[own] = np.degrees(np.arccos(cosine[own, dominant])) > DEGREES
    return dropped


def test_the_list_and_the_result_line(cleaned: Cleaned, faces_folder: Path):
    source = Relabelled(open_source(faces_folder / "train").source, FRACTION, 0)
    dropped = dropped_by_hand(cleaned.folder, source)
    assert 0 < dropped.sum() < len(source)
    assert json.loads(cleaned.listed.read_text())["kept"] == np.flatnonzero(~dropped).tolist()
    hits = (dropped & source.is_wrong).sum()
    assert result_of(cleaned.printed) == {
        "images": 72,
        "dropped": dropped.sum(),
        "degrees": DEGREES,
        "wrong_labels": 22,
        "precision": hits / dropped.sum(),
        "recall": hits / 22,
    }


def test_a_list_that_is_doubtful_says_so():
    labels = np.repeat(np.arange(5), 4)
    angle = np.linspace(60, 100, 20)
    for degrees, words in (
        (61.0, ("95% of the images are dropped", "after 40 steps half", "more than 80.0 degrees", "of 4 people no")),
        (77.0, ("of 2 people no image is kept",)),
        (99.0, ()),
    ):
        found = sub_center.Kept(angle <= degrees, angle, np.zeros(5, int))
        told = clean.remarks(found, labels, degrees, 40)
        assert len(told) == (len(words) > 0) + (len(words) > 1)
        assert all(word in " ".join(told) for word in words)


def test_the_next_run_trains_on_the_list_alone(cleaned: Cleaned, tmp_path: Path, capsys):
    out = tmp_path / "run"
    printed = run(arcface.main, [*cleaned.given, "--only", str(cleaned.listed), "--out", str(out)])
    kept = len(json.loads(cleaned.listed.read_text())["kept"])
    assert any(f"train: {kept} images of 12 people" in line for line in printed)
    assert [row["step"] for row in rows_of(out / "log.jsonl")] == [1, 2]
    # A run without sub-centres cannot be cleaned.
    listed = tmp_path / "kept.json"
    refused(clean.main, capsys, [str(out), "--out", str(listed)], str(out), "train with --head.sub-centres 3")
    assert not listed.exists()


def test_what_cannot_be_cleaned(cleaned: Cleaned, tmp_path: Path, capsys):
    listed = tmp_path / "kept.json"
    refused(clean.main, capsys, [str(tmp_path), "--out", str(listed)], str(tmp_path), "no run lies there")
    wanted = [str(cleaned.folder), "--out", str(listed), "--data"]
    refused(clean.main, capsys, [*wanted, str(tmp_path / "none")], "none: no such file or folder")
    assert not listed.exists()
    wanted = [str(cleaned.folder), "--data", cleaned.given[cleaned.given.index("--data") + 1], "--out"]
    refused(clean.main, capsys, [*wanted, str(listed), "--degrees", "1"], "no image lies within 1 degrees", "--degrees")
    assert not listed.exists()
    listed.write_text("mine")
    refused(clean.main, capsys, [*wanted, str(listed)], "kept.json: is there already", "--overwrite")
    refused(clean.main, capsys, [*wanted, str(listed / "below")], "is a file")
    refused(clean.main, capsys, [*wanted, str(tmp_path)], "is a folder")
    assert listed.read_text() == "mine"
