"""Pictures: each is a PNG with ink in it, appears under its name only when whole, and leaves pyplot alone."""

import subprocess
import sys

import cv2
import numpy as np
import pytest
from matplotlib.figure import Figure

from faces.evaluate import plots, verification


def made_up(gap: float) -> verification.VerificationResult:
    rng = np.random.default_rng(0)
    same, fold = np.tile([True, False], 100), np.repeat(np.arange(5), 40)
    return verification.evaluate_pairs(np.where(same, 1.2 - gap, 1.2) + rng.normal(0, 0.2, 200), same, fold)


RESULT = made_up(0.1)
PERFECT = made_up(5.0)
TIED = verification.evaluate_pairs(np.ones(8), np.tile([True, False], 4), np.repeat([0, 1], 4))
STEPS = {
    "step": list(range(90)),
    **{key: np.linspace(1, 0.1, 90).tolist() for key in ("loss", "active", "d_ap", "d_an", "spread")},
}


def picture_of(row: int) -> tuple[np.ndarray, np.ndarray]:
    return np.full((24, 20, 3), row, np.uint8), np.full((24, 20, 3), 255 - row, np.uint8)


DRAW = {
    "roc": lambda path: plots.plot_roc({"before": RESULT, "after": PERFECT}, path, "Made up", generated=True),
    "det": lambda path: plots.plot_det({"before": RESULT, "after": PERFECT}, path, "Made up", generated=True),
    "det of ties": lambda path: plots.plot_det({"tied": TIED}, path, "Made up"),
    "roc of ties": lambda path: plots.plot_roc({"tied": TIED}, path, "Made up"),
    "distances": lambda path: plots.plot_distances(RESULT, path, "Made up", generated=True),
    "distances of ties": lambda path: plots.plot_distances(TIED, path, "Made up"),
    "training": lambda path: plots.plot_training(
        STEPS, path, "Made up", True, {"minutes": [0, 1], "accuracy": [0.5, 0.8], "accuracy_se": [0.01, 0.01]}, 0.2
    ),
    "training of one step": lambda path: plots.plot_training({"step": [0], "loss": [0.3]}, path, "Made up"),
    "hardest": lambda path: plots.plot_hardest(RESULT, picture_of, path, "Made up", True, lambda row: f"pair $_{row}"),
    "hardest of none": lambda path: plots.plot_hardest(PERFECT, picture_of, path, "Made up"),
}


@pytest.mark.parametrize("name", DRAW)
def test_each_picture_is_drawn(tmp_path, name):
    path = tmp_path / "picture.png"
    DRAW[name](path)
    image = cv2.imread(str(path))
    assert min(image.shape[:2]) > 100
    assert image.std() > 5
    assert [file.name for file in tmp_path.iterdir()] == ["picture.png"]


def test_the_sheet_shows_the_hardest_pairs_and_no_more(tmp_path):
    asked = []

    def pictures(row: int) -> tuple[np.ndarray, np.ndarray]:
        asked.append(row)
        return picture_of(row)

    plots.plot_hardest(RESULT, pictures, tmp_path / "sheet.png", "Made up", limit=2)
    rejects, accepts = verification.hardest_errors(RESULT, 2)
    assert asked == [*RESULT.pair[rejects], *RESULT.pair[accepts]]
    assert len(asked) == 4


def texts_of(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(match=lambda artist: hasattr(artist, "get_text")))


@pytest.mark.parametrize("generated", [True, False])
@pytest.mark.parametrize("draw", [plots.plot_roc, plots.plot_distances, plots.plot_training, plots.plot_hardest])
def test_the_title_says_when_faces_are_generated(tmp_path, monkeypatch, draw, generated):
    kept = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: kept.append(texts_of(figure)))
    first = {
        plots.plot_roc: ({"after": RESULT},),
        plots.plot_distances: (RESULT,),
        plots.plot_training: (STEPS,),
        plots.plot_hardest: (RESULT, picture_of),
    }[draw]
    draw(*first, tmp_path / "picture.png", "Small network", generated)
    assert ("Small network · generated faces" in kept[0]) == generated
    assert "Small network" in kept[0]


@pytest.mark.parametrize("draw", [plots.plot_distances, plots.plot_hardest])
def test_thresholds_are_drawn_as_cosines(tmp_path, monkeypatch, draw):
    kept = []
    monkeypatch.setattr(plots, "save_figure", lambda figure, path: kept.append(figure))
    draw(RESULT, *([] if draw is plots.plot_distances else [picture_of]), tmp_path / "picture.png", "Made up")
    text = texts_of(kept[0])
    if draw is plots.plot_distances:
        low, high = (1 - limit([fold.threshold for fold in RESULT.folds]) / 2 for limit in (max, min))
        assert f"thresholds of the folds: {low:.3f} to {high:.3f}" in text
        assert "cosine" in text.splitlines() and "squared distance, 2 - 2 cos" in text
    else:
        worst = verification.hardest_errors(RESULT, 1)[0][0]
        d, threshold = RESULT.distance[worst], RESULT.threshold[worst]
        assert f"cosine {1 - d / 2:.3f} (d² {d:.3f}), threshold {1 - threshold / 2:.3f}" in text
        wrong = int(np.sum(RESULT.same & (RESULT.distance > RESULT.threshold)))
        assert f"{wrong} of 100 pairs, the hardest 4 drawn" in text


def test_an_interrupted_drawing_leaves_the_old_picture_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "roc.png"
    path.write_bytes(b"old")

    def interrupted(self, file, **_):
        file.write_bytes(b"half a picture")
        raise KeyboardInterrupt

    monkeypatch.setattr(Figure, "savefig", interrupted)
    with pytest.raises(KeyboardInterrupt):
        plots.plot_roc({"after": RESULT}, path, "Made up")
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == {"roc.png": b"old"}


def test_no_global_plotting_state_is_loaded():
    code = "import sys, faces.evaluate.plots; sys.exit('matplotlib.pyplot' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
