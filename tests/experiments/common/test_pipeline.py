"""What a command line leaves to the model: its detector, which face it means, and photographs without a face."""

import argparse
import dataclasses
import io
from pathlib import Path

import pytest

from experiments import evaluate, people
from experiments.common import pipeline
from faces.errors import ConfigError, WeightsError
from faces.terminal import make_console
from recognizer.manifest import Detection
from recognizer.model import open_model, write_model
from tests.experiments.setting import one_matrix_model
from tests.recognizer.manifest_maker import detector_entry, make_package, write_manifest


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, one_matrix: list[str]) -> list[str]:
    """A model by whose side a detector stands that a package brings."""
    opened = open_model(one_matrix_model(tmp_path / "plain"))
    by_points = dataclasses.replace(opened.preprocessing, alignment="five_points")
    own = Detection("mtcnn", "large_and_central", "centre_crop")
    described = dataclasses.replace(opened.description, preprocessing=by_points, detection=own)
    write_model(dataclasses.replace(opened, description=described), tmp_path / "model")
    (make_package(tmp_path / "site", "brings_nets", monkeypatch) / "weights.npz").write_bytes(b"made up")
    entries = {
        "nets": detector_entry(detector="mtcnn", network="mtcnn", package="brings_nets"),
        "boxes": detector_entry(detector="retinaface", network="retinaface_resnet50", get="fetch it"),
    }
    names = write_manifest(tmp_path / "names.toml", entries)
    return ["--weights", str(tmp_path / "model"), "--manifest", str(names), "--out", str(tmp_path / "out")]


def filled_in(options: argparse.Namespace, **asked: bool) -> tuple[str, str, str]:
    pipeline.open_for(options, make_console(file=io.StringIO()), **asked)
    return options.detector, options.select, options.undetected


def test_what_the_command_line_leaves_out_is_the_models(given: list[str], tmp_path: Path):
    protocol = [*given, "--data", "a=b"]
    assert filled_in(evaluate.parse(protocol)) == ("mtcnn", "large_and_central", "centre_crop")
    options = evaluate.parse([*protocol, "--detector", "mtcnn", "--select", "best", "--undetected", "refuse"])
    assert filled_in(options) == ("mtcnn", "best", "refuse")
    assert options.detector_weights == tmp_path / "site" / "brings_nets" / "weights.npz"
    other = [*protocol, "--detector", "retinaface", "--detector-weights", "a.pth"]
    assert filled_in(evaluate.parse(other)) == ("retinaface", "most_central", "refuse")
    assert filled_in(people.parse(["photographs", *given])) == ("mtcnn", "all", "refuse")


def test_nobody_looks_where_that_would_change_nothing(given: list[str]):
    protocol = [*given, "--data", "a=b"]
    assert filled_in(evaluate.parse(protocol), aligned=True)[0] == "none"
    assert filled_in(evaluate.parse(protocol), has_points=True)[0] == "none"
    assert filled_in(evaluate.parse([*protocol, "--alignment", "centre_crop"]))[0] == "none"
    assert filled_in(evaluate.parse([*protocol, "--alignment", "two_eyes"]), has_points=True)[0] == "mtcnn"
    assert filled_in(evaluate.parse([*protocol, "--detector", "none"]))[0] == "none"
    with pytest.raises(ConfigError, match="--select changes nothing: no face is looked for"):
        filled_in(evaluate.parse([*protocol, "--alignment", "centre_crop", "--select", "best"]))


def test_a_detector_that_is_not_here_is_refused_with_the_way_to_it(given: list[str]):
    with pytest.raises(WeightsError, match=r"^boxes: fetch it\.$"):
        filled_in(evaluate.parse([*given, "--data", "a=b", "--detector", "retinaface"]))


def test_a_run_that_is_evaluated_on_degraded_images_says_so(tmp_path: Path):
    (tmp_path / "config.toml").write_text("[evaluation]\npixels = 900\njpeg_quality = 0\n")
    assert pipeline.degraded_in_training(tmp_path) == "pixels 900"
    assert pipeline.degraded_in_training(tmp_path / "weights.pt") == ""
