"""WIDER FACE's three numbers from its official layout, and what marks a run's data."""

import dataclasses
import json
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from rich.console import Console

from experiments import facenet, mtcnn, retinaface
from experiments.common import detection_data
from experiments.common.detection_run import check_same, data_record, evaluate_wider, open_wider_test
from faces.detect.detections import Detections
from faces.errors import CheckpointError, ConfigError, DataError
from faces.schema import difference
from faces.toml_config import load_config, to_toml
from retinaface_jax.config import Config
from tests.experiments.wider_maker import BOXES, EVENT, write_wider
from tests.retinaface_jax.test_training import Spots

SCENES, _ = load_config("retinaface/scenes", Config)


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
    result = evaluate_wider(finder, open_wider_test(tmp_path), Console(soft_wrap=True))
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


def test_a_run_goes_on_with_its_own_data_and_config(tmp_path: Path):
    examples = Spots()

    def judged(files: str = "1234") -> detection_data.TestSet:
        return detection_data.TestSet("held out", [1], lambda row: pytest.fail(), lambda found: pytest.fail(), files)

    record = data_record(examples, judged())
    (tmp_path / "environment.json").write_text(json.dumps(record | {"python": "3"}))
    (tmp_path / "config.toml").write_text(to_toml(SCENES))
    longer = SCENES.with_(train__steps=9, train__log_every=7)
    check_same(tmp_path, record, SCENES)
    check_same(tmp_path, record, longer)

    class Brighter(Spots):
        def example(self, index: int):
            one = super().example(index)
            return dataclasses.replace(one, image=one.image + np.uint8(index == len(self) - 1))

    for other, sentence in (
        (data_record(Brighter(), judged()), "has seen other images of spots than are there now"),
        (data_record(examples, judged("5678")), "was made of other files: since then people or images were .*"),
        (record | {"test": "others"}, "is tested on held out, not on others"),
        (record | {"training_set": "dots"}, "trains on spots, not on dots"),
    ):
        with pytest.raises(CheckpointError, match=f"the run {sentence}; resume with its data, or start in another"):
            check_same(tmp_path, other, SCENES)
    wider = SCENES.with_(input__size=96)
    words = rf"the run began with input\.size = {SCENES.input.size}, and this asks for 96; resume with the same config"
    with pytest.raises(CheckpointError, match=words):
        check_same(tmp_path, record, wider)
    (tmp_path / "environment.json").write_text("{")
    with pytest.raises(DataError, match=r"environment\.json, line 1: is damaged"):
        check_same(tmp_path, record, SCENES)


def test_files_of_scenes_and_of_photographs_are_told_apart(tmp_path: Path):
    write_wider(tmp_path / "wider")
    before = detection_data.photographs(tmp_path / "wider", None, 0, 1)[1].files
    assert detection_data.photographs(tmp_path / "wider", None, 0, 1)[1].files == before
    image = next((tmp_path / "wider" / "WIDER_train").rglob("*.jpg"))
    image.write_bytes(image.read_bytes() + b"more")
    assert detection_data.photographs(tmp_path / "wider", None, 0, 1)[1].files != before


@pytest.mark.parametrize("main", [mtcnn, retinaface])
def test_what_has_no_effect_is_refused(main: ModuleType, capsys: pytest.CaptureFixture[str]):
    for more, sentence in (
        (["--data", "x", "--scenes", "9"], "--scenes: belongs to runs on scenes"),
        (["--data", "x", "--faces", "y"], "one of them is expected"),
        (["--labels", "x"], "belongs to --data"),
        (["--scenes", "0"], "at least 1 is expected"),
    ):
        with pytest.raises(SystemExit):
            main.parse(["--out", "here", *more])
        assert sentence in capsys.readouterr().err


def test_configs_of_detectors():
    for main, of_data in ((mtcnn, "mtcnn/wider"), (retinaface, "retinaface/edition")):
        name = of_data.partition("/")[0]
        options, config = main.parse(["--out", "here"])
        assert (options.config, options.scenes) == (f"{name}/scenes", 4096)
        assert main.parse(["--out", "here", "--data", "x"])[0].config == of_data
        assert config == load_config(f"{name}/scenes", type(config))[0]
        changed = main.parse(["--out", "here", "--optimiser.learning-rate", "0.5"])[1]
        assert difference(config, changed) == {"optimiser.learning_rate": (config.optimiser.learning_rate, 0.5)}
        with pytest.raises(ConfigError, match=f"did you mean '{name}/scenes'"):
            main.parse(["--out", "here", "--config", f"{name}/scene"])
    for main, other in ((mtcnn, "retinaface/paper"), (retinaface, "arcface/tiny"), (facenet, "mtcnn/wider")):
        run = f"run it with python -m experiments.{other.partition('/')[0]}"
        with pytest.raises(ConfigError, match=f"{other}: a config of another paper; {run}"):
            main.parse(["--out", "here", "--config", other])
