"""WIDER FACE's three numbers from its official layout, and what marks a run's data."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
from rich.console import Console

from experiments.detection_run import check_same_data, data_record, judge_wider, open_wider_test
from faces.detect.detections import Detections
from faces.errors import CheckpointError, DataError
from tests.experiments.wider_maker import BOXES, EVENT, write_wider
from tests.faces.detect.test_retinaface_training import Spots


def finder(images):
    """The first face of every picture, better in taller ones; the third, better still; and, worse, nothing at all."""
    found = []
    for image in images:
        x, y, w, h = np.array(BOXES, np.float32).T
        boxes = np.stack([x, y, x + w, y + h], axis=1)[[0, 2]]
        boxes = np.concatenate([boxes, [[50, 40, 60, 50]]]).astype(np.float32)
        scores = np.array([len(image) / 100, 0.95, 0.1], np.float32)
        found.append(Detections(boxes, np.zeros((3, 5, 2), np.float32), scores))
    return found


def test_the_three_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    write_wider(tmp_path)
    result = judge_wider(finder, open_wider_test(tmp_path), Console(soft_wrap=True))
    # easy: of three faces three are found before the first that is wrong; the third face of a picture does not count.
    assert result["easy"] == pytest.approx(1.0)
    assert result["medium"] == pytest.approx(0.5)  # three of six, all right
    assert result["hard"] == pytest.approx(2 / 3)  # six of nine
    assert result["images"] == 3 and result["faces"] == {"easy": 3, "medium": 6, "hard": 9}
    assert "3 images" in capsys.readouterr().out.replace("\n", " ")


def test_what_is_not_there(tmp_path: Path):
    write_wider(tmp_path)
    (tmp_path / "WIDER_val" / "images" / EVENT / "1.jpg").unlink()
    with pytest.raises(DataError, match=rf"1 of 3 images are missing, the first {EVENT}/1\.jpg; unpack WIDER_val\.zip"):
        open_wider_test(tmp_path)
    (tmp_path / "moved").mkdir()
    (tmp_path / "WIDER_val" / "images" / EVENT / "1.jpg").touch()
    (tmp_path / "ground_truth").rename(tmp_path / "moved" / "x")
    with pytest.raises(DataError, match=r"ground_truth: no wider_easy_val\.mat"):
        open_wider_test(tmp_path)


def test_a_run_goes_on_with_its_own_data(tmp_path: Path):
    examples = Spots()
    record = data_record(examples, "held out")
    (tmp_path / "environment.json").write_text(json.dumps(record | {"python": "3"}))
    check_same_data(tmp_path, record)

    class Brighter(Spots):
        def example(self, index: int):
            one = super().example(index)
            return dataclasses.replace(one, image=one.image + np.uint8(index == len(self) - 1))

    for other, sentence in (
        (data_record(Brighter(), "held out"), "has seen other pictures of spots than are there now"),
        (record | {"test": "others"}, "is judged on held out, not on others"),
        (record | {"training_set": "dots"}, "trains on spots, not on dots"),
    ):
        with pytest.raises(CheckpointError, match=f"the run {sentence}; resume with its data, or start in another"):
            check_same_data(tmp_path, other)
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(CheckpointError, match="cannot be read"):
        check_same_data(tmp_path, record)
