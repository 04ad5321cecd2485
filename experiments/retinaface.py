"""Train RetinaFace and test it: `python -m experiments.retinaface [--data DIR | --faces DIR] --out DIR`.

Without `--data` the training images are scenes composed of faces: those at `--faces`, any set that the other mains
train on, cut and aligned as theirs are, or generated ones. A tenth of the people is kept for the test scenes.
With `--data`, WIDER FACE: its training part to learn from, some of its validation part to test on.

    python -m experiments.retinaface [--data DIR [--labels DIR] | [--faces DIR] [--scenes N]] --out DIR [--config NAME]
        [--eval wider=DIR] [--test N] [--devices N] [--resume] [--train.steps N] [--loss.box-weight X] ...

NAME is `retinaface/scenes`, `retinaface/edition` or `retinaface/paper` of `paper_configs/`, or a TOML file. Every value
of the config is an option too. DIR receives

- `retinaface.npz`: the weights, by the published names, with what they are of and the sizes that they were trained for:
  `experiments.detect --detector-weights` takes it, and keeps to these sizes;
- `detections.png`: test images, with what was found in them;
- `training.png`, `log.jsonl`, `evaluations.jsonl`: loss and average precision over the steps;
- `config.toml`, `environment.json`, `result.json`, and `checkpoints/`, from which `--resume` goes on.

Average precision (AP) is the area under precision over recall, a face being found by a box whose intersection over
union with its own is at least 0.5. With `--eval`, the three numbers of WIDER FACE's validation part too: easy, medium
and hard, with the official lists of faces and at the images' own size.
"""

import argparse
import contextlib
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import jax
from matplotlib.figure import Figure
from rich.console import Console

from experiments.common import checkpoints, results
from experiments.common import detection_run as common
from experiments.common.detection_data import SMALLEST, TestSet
from experiments.common.report import print_setting
from experiments.common.run_folder import claim, says_how_to_go_on
from faces import cli
from faces.checkpoint import Checkpoints
from faces.data.synthetic.scenes import SceneConfig
from faces.detect.detections import Detections, Detector
from faces.detect.examples import Examples
from faces.detect.looks import Sizes
from faces.detect.monitor import DetectionMonitor
from faces.detect.sheet import draw_sheet
from faces.evaluate.plots import save_figure
from faces.mesh import check_division, make_mesh
from faces.outputs import write_json, write_npz, write_text
from faces.run_record import environment, read_log
from faces.terminal import make_console
from faces.toml_config import load_config, to_toml, with_sum
from faces.train_loop import Trained, train
from faces.train_state import TrainState
from recognizer.detector_identity import make_record, of_body
from retinaface_jax.anchors import SIDES
from retinaface_jax.config import Config
from retinaface_jax.detector import Options, make_detector
from retinaface_jax.examples import make_loader
from retinaface_jax.train_step import init_state, make_train_step
from retinaface_jax.weights import Weights, to_pytorch

FOR_AP = Options(confidence=0.02)  # as published evaluations: AP looks at weak detections too
SHEET = 24
AT_ONCE = 64
"""Images in memory at a time while testing."""


def main(arguments: list[str]) -> None:
    """Parse, train, test, report."""
    options, config = parse(arguments)
    with contextlib.ExitStack() as stack:
        folder = claim(options, stack)
        with says_how_to_go_on("retinaface", arguments, folder):
            _run(options, config, folder)


def _run(options: argparse.Namespace, config: Config, folder: Path) -> None:
    console = make_console()
    mesh = make_mesh(options.devices)
    print_setting(console, mesh, options.config, load_config(options.config, Config)[0], config)
    check_division(mesh, {"batch.images": config.batch.images})
    seed = config.train.seed
    wider = common.open_wider_test(options.eval[1]) if options.eval else None
    examples, test = common.open_images(options, config.input.size, seed, console)
    record = common.data_record(examples, test)
    console.print(f"training: {examples.name}; tested on {test.name}, {sum(test.faces):,} faces")
    loader = make_loader(examples, config)
    state = init_state(config, mesh)
    evaluate = partial(measure, config=config, test=test)
    with Checkpoints(folder / "checkpoints") as kept:
        if options.resume:
            common.check_same(folder, record, config)
        resumed = checkpoints.restore(kept, folder, state, config) if options.resume else None
        kept.check_room(resumed[0] if resumed else state, config.train.steps)
        write_text(folder / "config.toml", with_sum(to_toml(config)))
        write_json(folder / "environment.json", environment() | record)
        before = evaluate(state)
        console.print("before training: " + common.numbers_of(before))
        if resumed:
            state, place = resumed
            loader.set_state(place)
            console.print(f"resumed at step {int(state.step)}")
        step, monitor = make_train_step(config, mesh), DetectionMonitor(config.optimiser)
        by_layer = partial(make_train_step, config, mesh, by_layer=True)
        as_events = options.log == "tensorboard"
        trained = train(
            step, state, loader, config, mesh, folder, kept, evaluate, monitor, console, by_layer, tensorboard=as_events
        )
    of_wider = common.evaluate_wider(detector_of(trained.state, config), wider, console) if wider else None
    sizes = trained_sizes(config, is_scenes=not options.data)
    report(console, folder, config, sizes, examples, test, before, trained, of_wider)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return common.parse("retinaface", Config, "retinaface/scenes", "retinaface/edition", "--train.steps 500", arguments)


def trained_sizes(config: Config, is_scenes: bool) -> Sizes:
    """The faces that the network learns, from scenes or from photographs, which its weights carry with them."""
    side = config.input.size
    largest = min(SIDES[-1][-1], side)
    if not is_scenes:
        return Sizes(SIDES[0][0], largest)
    return Sizes(SMALLEST, min(largest, SceneConfig().largest * side / config.augment.least_side), side)


def detector_of(state: TrainState, config: Config) -> Detector:
    """The detector with the weights of a state, and with weak detections, as AP needs them."""
    params, batch_stats = jax.device_get((state.params, state.batch_stats))
    return make_detector(Weights(config.input.network, params, batch_stats), FOR_AP)


def measure(state: TrainState, config: Config, test: TestSet) -> dict[str, float]:
    """The numbers of a state: AP."""
    detect, found = detector_of(state, config), list[Detections]()
    for rows in common.in_groups(len(test.faces), AT_ONCE):
        found += detect([test.load(row) for row in rows])
    return {"ap": test.curve(found).average_precision}


def report(
    console: Console,
    folder: Path,
    config: Config,
    sizes: Sizes,
    examples: Examples,
    test: TestSet,
    before: dict[str, float],
    trained: Trained,
    wider: dict[str, Any] | None,
) -> None:
    """Test the last state; write weights, figures and the result, and print it."""
    after = measure(trained.state, config, test)
    console.print("after training: " + common.numbers_of(after))
    params, batch_stats = jax.device_get((trained.state.params, trained.state.batch_stats))
    weights = Weights(config.input.network, params, batch_stats)
    write_npz(folder / "retinaface.npz", to_pytorch(weights) | make_record(of_body(weights.network), sizes))
    shown = [test.load(row) for row in range(min(SHEET, len(test.faces)))]
    found = map(common.surest, detector_of(trained.state, config)(shown))
    draw_sheet(zip(shown, found, strict=True), folder / "detections.png")
    rows = [{"step": 0, **before}, *read_log(folder / "evaluations.jsonl"), {"step": config.train.steps, **after}]
    draw_training(read_log(folder / "log.jsonl"), rows, folder / "training.png")
    result = {
        **after,
        **{f"{name}_before": value for name, value in before.items()},
        "test_images": len(test.faces),
        "test_faces": sum(test.faces),
        "steps": config.train.steps,
        "minutes": round(trained.minutes, 2),
        "images_per_second": round(trained.images_per_second, 1),
        "data": {"train": examples.name, "test": [test.name]},
    } | ({"wider": wider} if wider else {})
    write_json(folder / "result.json", result)
    results.close(console, folder, result)


def draw_training(log: Sequence[dict[str, Any]], evaluations: Sequence[dict[str, Any]], path: Path) -> None:
    """The loss and its terms, and average precision, over the steps."""
    figure = Figure(figsize=(10, 4), layout="constrained")
    figure.suptitle(f"Training of RetinaFace, {log[-1]['step']:,} steps" if log else "Training of RetinaFace")
    losses, precision = figure.subplots(1, 2)
    for name in ("loss", "classification", "boxes", "points"):
        losses.plot([row["step"] for row in log], [row[name] for row in log], label=name, linewidth=1)
    losses.set(title="Loss and its terms, in training", xlabel="step", ylabel="loss", yscale="log")
    losses.legend()
    precision.plot([row["step"] for row in evaluations], [row["ap"] for row in evaluations], marker="o")
    precision.set(title="Average precision, images held out", xlabel="step", ylabel="AP", ylim=(0, 1))
    precision.grid(alpha=0.3)
    save_figure(figure, path)


if __name__ == "__main__":
    cli.run(main)
