"""The sheet of a config's augmentation."""

from pathlib import Path

import cv2
import numpy as np
import pytest

from arcface_jax.config import Config
from experiments import variations
from faces import cli
from faces.data.augment import augment, crop
from tests.faces.data.makers import picture

ROBUST = Config.load("arcface/robust")


def test_each_change_of_the_config_stands_alone():
    alone = variations.each_alone(ROBUST.augment)
    assert {"rotate", "zoom", "gradient", "saturation", "blur", "low_resolution", "occlusion", "grey"} <= set(alone)
    assert "share" not in alone and "jpeg_quality" in alone
    plain = variations.each_alone(Config.load("arcface/tiny").augment)
    assert set(plain) == {"flip", "shift", "zoom", "colour"}
    image = picture(1, 48, 48)
    for name in set(alone) - {"flip", "jpeg_quality"}:  # which are done to half
        given = augment(image, (48, 48), alone[name], np.random.default_rng(0))
        assert (given != crop(image, (48, 48))).any(), name


def test_the_picture(tmp_path: Path, capsys: pytest.CaptureFixture):
    variations.draw([picture(n, 30, 30) for n in range(2)], ROBUST, tmp_path / "sheet.png", "two")
    sheet = cv2.imread(str(tmp_path / "sheet.png"))
    assert sheet.shape[1] > 1500 and sheet.std() > 20
    wrong = ["--config", "facenet/tiny", "--trained-as", "arcface", "--out", str(tmp_path / "new")]
    assert cli.exit_code(variations.main, wrong) == 2
    assert "facenet/tiny: a config of another paper" in capsys.readouterr().err
    assert not (tmp_path / "new").exists()
