"""Draw what the margins of ArcFace do to the target logit and to the decision boundary.

    python -m experiments.margins --out DIR

Writes DIR/target_logits.png (the paper's Fig. 4b, over the whole half circle, and the gradient beside it) and
DIR/decision_margins.png (its Fig. 5). Nothing is trained; the curves are those of `arcface_jax.margins` itself.
"""

import argparse
import math
from collections.abc import Callable
from pathlib import Path

import jax
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from arcface_jax import margins
from arcface_jax.margins import Margin
from arcface_jax.related import sphereface
from experiments.common.arguments import place
from faces import cli
from faces.evaluate.plots import BLUE, GREEN, INK, MUTED, ORANGE, PURPLE, SKY, VERMILION, save_figure, style
from faces.outputs import results_folder
from faces.terminal import make_console

Target = Callable[[jax.Array], jax.Array]

SETTINGS: dict[str, tuple[Margin, str]] = {
    "norm-softmax": (margins.NORM_SOFTMAX, INK),
    "SphereFace": (margins.SPHEREFACE, GREEN),
    "CosFace": (margins.COSFACE, ORANGE),
    "ArcFace": (margins.ARCFACE, BLUE),
    "CM1": (margins.CM1, PURPLE),
    "CM2": (margins.CM2, SKY),
}
SPHEREFACE_M, SPHEREFACE_LAMBDA = 4, 5.0  # as published, at the end of its annealing
DEGREES = np.linspace(0, 180, 721)  # (721,)


def main(arguments: list[str]) -> None:
    parser = argparse.ArgumentParser(prog="python -m experiments.margins", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to write the two pictures to")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    options = parser.parse_args(arguments)
    drawings = {"target_logits.png": draw_target_logits, "decision_margins.png": draw_decision_margins}
    with results_folder(options.out, options.overwrite) as out:
        for name, draw in drawings.items():
            draw(out / name)
    console = make_console()
    for name in drawings:
        console.print(f"wrote {options.out / name}")


def draw_target_logits(path: Path) -> None:
    """Target logit and its derivative against the target angle, for every setting that the paper compares."""
    with style():
        figure = Figure(figsize=(11.4, 5.2), layout="constrained")
        figure.suptitle("What a margin does to the target logit", fontsize=12.5, fontweight="bold")
        logit, slope = figure.subplots(1, 2)
        for label, target, colour, line in _curves():
            values, slopes = value_and_slope(target)
            logit.plot(DEGREES, values, line, color=colour, label=label)
            slope.plot(DEGREES, slopes, line, color=colour)
        straight = Margin(gradient="straight_through")
        _, slopes = value_and_slope(lambda cos_theta: margins.target_cosine(cos_theta, straight))
        slope.plot(DEGREES, slopes, ":", color=VERMILION, linewidth=3, label="straight-through, all settings")

        for margin, colour in SETTINGS.values():
            turn = turning_angle(margin)
            if turn < math.pi:
                logit.plot(math.degrees(turn), -1 - margin.m3, "o", color=colour, zorder=3)
        for axes in (logit, slope):
            turn = math.degrees(turning_angle(margins.ARCFACE))
            axes.axvspan(turn, 180, color=BLUE, alpha=0.1, linewidth=0)
            axes.set(xlim=(0, 180), xticks=range(0, 181, 30), xlabel="target angle θ in degrees")
        logit.plot([], [], "o", color=MUTED, label="where $m_1$θ + $m_2$ = π: it rises again")
        logit.annotate("ArcFace:\nθ + 0.5 > π", (165.7, 0.9), ha="center", va="top", color=BLUE, fontsize=9)
        for edge in (20, 100):
            logit.axvline(edge, color=MUTED, linewidth=1, linestyle=":")
        logit.annotate("range of the paper's figure", (60, 1.02), ha="center", va="bottom", color=MUTED, fontsize=9)
        logit.set(title="Target logit / s", ylabel=r"$\cos(m_1θ + m_2) - m_3$", ylim=(-1.6, 1.15))
        slope.axhline(0, color=MUTED, linewidth=1)
        slope.set(title="Its gradient, exact and straight-through", ylabel="d target / d cos θ", ylim=(-2, 4))
        slope.legend(fontsize=9, loc="upper right", bbox_to_anchor=(0.84, 1.0))
        figure.legend(*logit.get_legend_handles_labels(), loc="outside lower center", fontsize=9, ncols=4)
        save_figure(figure, path)


def draw_decision_margins(path: Path) -> None:
    """Two classes: which angles to their centres a loss asks for, and the gap that it leaves between."""
    with style(grid=False):
        figure = Figure(figsize=(9.6, 7.4), layout="constrained")
        title = "Decision margins between two classes, angles to their centres in degrees"
        figure.suptitle(title, fontsize=12.5, fontweight="bold")
        for axes, (name, (margin, _)) in zip(figure.subplots(2, 3).flat, SETTINGS.items(), strict=True):
            _draw_decision_margin(axes, name, margin)
        save_figure(figure, path)


def _draw_decision_margin(axes: Axes, name: str, margin: Margin) -> None:
    far = DEGREES[DEGREES <= 90]
    near = np.degrees(boundary(np.radians(far), margin))  # nan where no angle suffices
    axes.set_facecolor("#DDDDDD")
    axes.fill_betweenx(far, 0, near, color=BLUE, linewidth=0)
    axes.fill_between(far, 0, near, color=ORANGE, linewidth=0)
    for x, y in ((near, far), (far, near)):
        axes.plot(x, y, "--", color=INK, linewidth=1.2)
    axes.text(16, 82, "class 1", color="white", ha="center", fontweight="bold")
    axes.text(76, 6, "class 2", color="white", ha="center", fontweight="bold")
    setting = f"({margin.m1:g}, {margin.m2:g}, {margin.m3:g})"
    gaps = [angle - math.degrees(float(boundary(math.radians(angle), margin))) for angle in (60, 90)]
    axes.set_title(f"{name} {setting}\ngap {gaps[0]:.1f}° at θ₂ = 60°, {gaps[1]:.1f}° at 90°", fontsize=10)
    axes.set(xlim=(0, 90), ylim=(0, 90), aspect="equal", xlabel="θ₁", ylabel="θ₂")
    axes.set(xticks=range(0, 91, 30), yticks=range(0, 91, 30))


def boundary(theta_other: np.ndarray | float, margin: Margin) -> np.ndarray:
    """The largest target angle with which a sample still beats the other class at `theta_other`, in radians.

    Solves cos(m1 theta + m2) - m3 = cos(theta_other); nan where no angle does.
    """
    cosine = np.cos(theta_other) + margin.m3
    theta = (np.arccos(np.where(cosine <= 1, cosine, np.nan)) - margin.m2) / margin.m1
    return np.where(theta >= 0, theta, np.nan)


def turning_angle(margin: Margin) -> float:
    """The target angle in radians where m1 theta + m2 = pi, past which the target logit rises; may exceed pi."""
    return (math.pi - margin.m2) / margin.m1


def _curves() -> list[tuple[str, Target, str, str]]:
    """Label, target logit as a function of the cosine, colour and line style of every curve."""

    def of(margin: Margin) -> Target:
        return lambda cos_theta: margins.target_cosine(cos_theta, margin)

    def published(cos_theta: jax.Array) -> jax.Array:
        return sphereface.annealed_target(cos_theta, SPHEREFACE_M, SPHEREFACE_LAMBDA)

    settings = [
        (f"{name} ({margin.m1:g}, {margin.m2:g}, {margin.m3:g})", of(margin), colour, "-")
        for name, (margin, colour) in SETTINGS.items()
    ]
    return [*settings, (f"SphereFace, m = {SPHEREFACE_M}, λ = {SPHEREFACE_LAMBDA:g}", published, GREEN, "--")]


def value_and_slope(target: Target) -> tuple[np.ndarray, np.ndarray]:
    """A target logit, and its derivative by cos theta, at every angle of `DEGREES`."""
    cosines = np.cos(np.radians(DEGREES)).astype(np.float32)
    value, slope = jax.jit(jax.vmap(jax.value_and_grad(target)))(cosines)
    return np.asarray(value), np.asarray(slope)


if __name__ == "__main__":
    cli.run(main)
