"""The detect command with a detector that takes no time: what it writes, what it survives, how it goes on."""

import json

import cv2
import numpy as np
import pytest

from experiments import detect
from faces.cli import exit_code
from faces.detect.detections import Detections
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
    monkeypatch.setattr(detect, "open_detector", lambda name, weights, longest_side, confidence: two_corners)
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
    assert "6 faces in 3 images; without a face: 0, with more than one: 3" in printed
    assert "quarantined: 1\n" in printed and "bad.png: not a JPEG" in printed
    assert [line["image"] for line in lines(out)] == [str(folder / name) for name in ("a.png", "b.jpg", "Ö [x]/c.png")]
    assert lines(out)[0]["size"] == [40, 60]
    assert lines(out)[0]["faces"][1] == {
        "score": 0.8,
        "box": [0, 0, 10, 12],
        "points": [[0, 0.333], [0.667, 1], [1.333, 1.667], [2, 2.333], [2.667, 3]],
    }
    assert (out / "quarantine.csv").read_text().splitlines()[1].startswith(f"{folder / 'bad.png'},\"not a JPEG")
    sheet = cv2.imread(str(out / "sheet.png"))
    assert sheet.shape == (8 + 248, 8 + 3 * 248, 3) and len(np.unique(sheet.reshape(-1, 3), axis=0)) > 10
    assert not list(out.glob(".*"))


def test_selection_and_single_files(folder, tmp_path):
    assert run(folder / "a.png", out=tmp_path / "out", options=["--select", "largest", "--sheet", "0"]) == 0
    ((face,),) = [line["faces"] for line in lines(tmp_path / "out")]
    assert face["score"] == 0.8
    assert not (tmp_path / "out" / "sheet.png").exists()


def test_the_least_score_goes_to_the_detector_and_to_the_record(folder, tmp_path, capsys, monkeypatch):
    asked = []

    def opened(name, weights, longest_side, confidence):
        asked.append(confidence)
        return two_corners

    monkeypatch.setattr(detect, "open_detector", opened)
    out = tmp_path / "out"
    assert run(folder, out=out, options=["--confidence", "0.02"]) == 0
    assert run(folder, out=out) == 2
    assert "detections with other settings are there" in capsys.readouterr().err
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
        patch.setattr(detect, "open_detector", lambda name, weights, longest_side, confidence: stopped)
        assert run(folder, out=out) == 130
    with (out / "detections.jsonl").open("a") as log:
        log.write('{"image": "half a li')
    assert run(folder, out=out) == 0
    assert "2 of 4 images are in" in capsys.readouterr().out
    assert len(SEEN) == 3 and len(lines(out)) == 3
    assert run(folder, out=out, options=["--select", "best"]) == 2
    assert "detections with other settings are there" in capsys.readouterr().err
    assert run(folder, out=out, options=["--select", "best", "--overwrite"]) == 0
    assert [len(line["faces"]) for line in lines(out)] == [1, 1, 1]


def test_nothing_to_look_at_is_one_sentence(folder, tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    assert run(tmp_path / "empty", out=tmp_path / "out") == 2
    assert "no image found" in capsys.readouterr().err
    assert run(tmp_path / "absent", out=tmp_path / "out") == 2
    assert "no such file or folder" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()
