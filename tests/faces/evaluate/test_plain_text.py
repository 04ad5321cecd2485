"""Names of files and sets in pictures: drawn as they are, whatever they hold."""

import warnings
from pathlib import Path

import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from faces.evaluate import rate_plots
from faces.evaluate.plain_text import plain

NAMES = {
    "lfw": "lfw",
    "a $x_{ $ b": r"a \$x_{ \$ b",
    r"a\$": r"a\\$",
    "%s [/lfw] {0} Zoë θ": "%s [/lfw] {0} Zoë θ",
    "_x": " _x",
    "李\n\x1b": r"\u674e\n\x1b",
    "\udcff": r"\udcff",
}


@pytest.mark.parametrize(("name", "drawn"), NAMES.items())
def test_text_is_drawn_as_it_stands(name: str, drawn: str):
    assert plain(name) == drawn
    figure = Figure()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        axes = figure.add_subplot(title=plain(name))
        axes.plot([0, 1], label=plain(name))
        (entry,) = axes.legend().get_texts()
        FigureCanvasAgg(figure).draw()
    is_math = entry._preprocess_math(entry.get_text())[1]  # pyright: ignore[reportAttributeAccessIssue]
    assert is_math is False


def test_pictures_of_sets_with_such_names(tmp_path: Path):
    for number, name in enumerate(NAMES):
        rate_plots.plot_ranks({name: np.array([0.5, 1.0])}, tmp_path / f"{number}.png", name)
    assert len(list(tmp_path.iterdir())) == len(NAMES)
