"""Training images that look like whole photographs are remarked on; crops are not."""

from pathlib import Path

import numpy as np
import pytest

from faces.data.image_folder import FolderSource
from faces.data.source import ArraySource
from faces.data.uncut import remark
from tests.faces.data.makers import encoded, picture


@pytest.mark.parametrize(
    ("height", "width", "size", "words"),
    [
        (112, 112, (112, 112), ""),
        (112, 96, (64, 64), ""),
        (160, 160, (112, 112), ""),
        (250, 250, (112, 112), "are 250x250 pixels, and the network sees them whole at 112x112"),
        (40, 60, (16, 20), "are 60x40 pixels, and the network sees them whole at 20x16"),
    ],
)
def test_images_far_larger_than_the_input(height: int, width: int, size: tuple[int, int], words: str):
    said = remark(ArraySource("made", np.zeros((3, height, width, 3), np.uint8), np.arange(3, dtype=np.int32)), size)
    assert words in said and bool(said) is bool(words)
    assert not said or "experiments.prepare" in said


def test_images_that_differ_and_images_that_cannot_be_read(tmp_path: Path):
    for person, heights in {"A": (20, 24), "B": (30, 20)}.items():
        (tmp_path / person).mkdir()
        for number, height in enumerate(heights):
            (tmp_path / person / f"{number}.png").write_bytes(encoded(picture(number, height, 16)))
    (tmp_path / "B" / "broken.png").write_bytes(b"no image")
    said = remark(FolderSource(tmp_path), (16, 16))
    assert "differ in size, 16 to 16 pixels wide and 20 to 30 high" in said and "experiments.prepare" in said
