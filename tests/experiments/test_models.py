"""The list of models and detectors: what is here, and what each needs."""

import dataclasses
from pathlib import Path

import pytest

import arcface_jax.models.published as of_arcface
from experiments import models
from tests.experiments.setting import refused, run
from tests.recognizer.manifest_maker import detector_entry, make_package, model_entry, write_manifest


@pytest.fixture
def listed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    package = make_package(tmp_path / "site", "boxes_of_the_tests", monkeypatch)
    (package / "boxes.npz").write_bytes(b"made up")
    how = dataclasses.replace(of_arcface.PREPROCESSING, size=(16, 16))
    entries = {
        "embeds": model_entry(how, package="nobody_has_this", get="pip install it", ours=["LFW 1%"], bytes=2_500_000),
        "boxes": detector_entry(detector="mtcnn", network="mtcnn", package="boxes_of_the_tests", files=["boxes.npz"]),
        "alone": detector_entry(detector="retinaface", network="retinaface_resnet50", get="fetch it"),
    }
    return write_manifest(tmp_path / "list.toml", entries, {"boxes": package / "boxes.npz"})


def test_what_is_here_and_what_is_not(listed: Path, tmp_path: Path):
    printed = run(models.main, ["--manifest", str(listed)])
    assert printed[:5] == [
        "embeds: model, --weights embeds",
        "  made for the tests",
        "  not on this machine; pip install it",
        "  2.5 MB; licence: none",
        "  ours: LFW 1%",
    ]
    assert f"  on this machine: {tmp_path / 'site' / 'boxes_of_the_tests' / 'boxes.npz'}" in printed
    assert printed.count("  fetch it") == 1


def test_one_of_them(listed: Path, capsys):
    printed = run(models.main, ["boxes", "--manifest", str(listed)])
    assert printed[0] == "boxes: detector" and printed[-1].startswith("  known by its SHA-256: ")
    printed = run(models.main, ["embeds", "--manifest", str(listed)])
    assert any(line.startswith("  preprocessing: size (16, 16), channels rgb") for line in printed)
    nearest = 'bokses: no model or detector has this name; the nearest is "boxes" (all: embeds, boxes, alone).'
    refused(models.main, capsys, ["bokses", "--manifest", str(listed)], nearest)
