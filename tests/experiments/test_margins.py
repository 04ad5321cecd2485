"""The pictures of the margins: what is drawn, and the main that writes it."""

import math
from functools import partial
from pathlib import Path

import cv2
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax.margins import ARCFACE, CM2, COSFACE, target_cosine
from experiments import margins
from faces import cli


def test_writes_both_pictures(tmp_path: Path, capsys: pytest.CaptureFixture):
    assert cli.exit_code(margins.main, ["--out", str(tmp_path / "new")]) == 0
    names = ["decision_margins.png", "target_logits.png"]
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == [".contents", *names]
    said = capsys.readouterr().out
    for name in names:
        picture = cv2.imread(str(tmp_path / "new" / name))
        assert picture.shape[0] > 500 and picture.std() > 20, "a picture, and not a blank one"
        assert name in said


def test_a_file_in_the_way_is_one_sentence(tmp_path: Path, capsys: pytest.CaptureFixture):
    (tmp_path / "taken").write_text("")
    assert cli.exit_code(margins.main, ["--out", str(tmp_path / "taken")]) == 2
    assert "taken: is a file; name a folder" in capsys.readouterr().err


@pytest.mark.parametrize("setting", margins.SETTINGS)
def test_boundary_is_where_both_logits_are_equal(setting: str):
    margin, _ = margins.SETTINGS[setting]
    other = np.radians(np.linspace(55, 90, 8))
    near = margins.boundary(other, margin)
    np.testing.assert_allclose(target_cosine(jnp.cos(jnp.asarray(near)), margin), np.cos(other), atol=1e-6)


def test_boundary_worked():
    """ArcFace's gap is its margin everywhere; a sample must be at least so far from the other class."""
    other = np.array([0.3, 0.6, 1.0, 1.5])
    np.testing.assert_allclose(margins.boundary(other, ARCFACE), [np.nan, 0.1, 0.5, 1.0])
    np.testing.assert_allclose(margins.boundary(math.acos(0.5), COSFACE), math.acos(0.85))
    assert np.isnan(margins.boundary(0.5, COSFACE))


def test_target_logit_turns_where_the_dot_is_drawn():
    for margin in (ARCFACE, CM2):
        turn = math.degrees(margins.turning_angle(margin))
        value, slope = margins.value_and_slope(partial(target_cosine, margin=margin))
        assert abs(margins.DEGREES[value.argmin()] - turn) < 0.3
        past = turn < margins.DEGREES
        assert (slope[~past] > 0).all() and (slope[past] < 0).all()
