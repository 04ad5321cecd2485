"""Train MTCNN's three networks and test them: `python -m experiments.mtcnn [--data DIR | --faces DIR] --out DIR`.

P-net is trained first, R-net on what P-net lets pass, O-net on what both let pass. The images are those of
`experiments.retinaface`: scenes composed of faces, or WIDER FACE with `--data`.

    python -m experiments.mtcnn [--data DIR [--labels DIR] | [--faces DIR] [--scenes N]] --out DIR [--config NAME]
        [--eval wider=DIR] [--test N] [--devices N] [--resume] [--p.steps N] [--optimiser.learning-rate X] ...

NAME is `mtcnn/scenes` or `mtcnn/wider` of `paper_configs/`, or a TOML file. Every value of the config is an option too.
DIR receives

- `weights/`: `pnet.npz`, `rnet.npz`, `onet.npz`, by the published names, with what they are of and the sizes that they
  were trained for: `experiments.detect --detector-weights` takes the folder, and keeps to these sizes;
- `detections.png`: test images, with what was found in them;
- `training.png`, and for each network a folder with `log.jsonl`, `evaluations.jsonl` and its `checkpoints/`, from which
  `--resume` goes on;
- `config.toml`, `environment.json`, `result.json`.

What leaves each network is tested before and after its training: average precision (AP), a face being found by a box
whose intersection over union with its own is at least 0.5, and the share of faces found at all. After P-net and R-net
these are the squares that the next network sees. With `--eval`, the three numbers of WIDER FACE too.
"""

import argparse
import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh
from matplotlib.figure import Figure
from rich.console import Console

from experiments.common import checkpoints, results
from experiments.common import detection_run as common
from experiments.common.detection_data import TestSet
from experiments.common.report import print_setting
from experiments.common.run_folder import claim, says_how_to_go_on
from faces import cli
from faces.checkpoint import Checkpoints
from faces.detect.detections import Detections
from faces.detect.examples import Examples
from faces.detect.looks import TILE, Sizes
from faces.detect.monitor import DetectionMonitor
from faces.detect.sheet import draw_sheet
from faces.evaluate.plots import save_figure
from faces.mesh import check_division, make_mesh
from faces.outputs import write_json, write_npz, write_text
from faces.run_record import environment, read_log
from faces.terminal import make_console, make_progress
from faces.toml_config import load_config, to_toml, with_sum
from faces.train_loop import train
from faces.train_state import TrainState
from mtcnn_jax.config import NAMES, Config
from mtcnn_jax.detector import Options, make_detector
from mtcnn_jax.examples import KINDS, cut_windows, load_windows, make_loader, save_windows
from mtcnn_jax.networks import Name, Params
from mtcnn_jax.train_step import init_state, make_train_step
from mtcnn_jax.weights import to_facenet_pytorch
from recognizer.detector_identity import make_record

SCENE = 128
"""Sides of a scene in pixels."""
WEAKEST = 0.02
"""Least score of a face while testing: AP looks at weak detections too."""
SHEET = 24
AT_ONCE = 64
"""Images in memory at a time while testing."""

Cascade = Mapping[Name, Params]


@dataclass(frozen=True)
class Start:
    """Where a network's training starts.

    Attributes:
        initial: the state before the first step.
        state: that of the last checkpoint, or the same as `initial`.
        place: of the loader, None without a checkpoint.
    """

    initial: Params
    state: TrainState
    place: dict[str, Any] | None


def main(arguments: list[str]) -> None:
    """Parse, train the three networks, test, report."""
    options, config = parse(arguments)
    with contextlib.ExitStack() as stack:
        folder = claim(options, stack)
        with says_how_to_go_on("mtcnn", arguments, folder):
            _run(options, config, folder)


def _run(options: argparse.Namespace, config: Config, folder: Path) -> None:
    console = make_console()
    mesh = make_mesh(options.devices)
    print_setting(console, mesh, options.config, load_config(options.config, Config)[0], config)
    check_division(mesh, {f"{name}.images": config.stage(name).batch.images for name in NAMES})
    seed = config.course.seed
    wider = common.open_wider_test(options.eval[1]) if options.eval else None
    examples, test = common.open_images(options, SCENE, seed, console)
    record = common.data_record(examples, test)
    console.print(f"training: {examples.name}; tested on {test.name}, {sum(test.faces):,} faces")
    evaluate = partial(measure, config=config, test=test)
    if options.resume:
        common.check_same(folder, record, config)
    with contextlib.ExitStack() as stack:
        kept: dict[Name, Checkpoints] = {
            name: stack.enter_context(Checkpoints(folder / name / "checkpoints")) for name in NAMES
        }
        starts: dict[Name, Start] = {
            name: start(name, config, mesh, folder / name, kept[name], options.resume) for name in NAMES
        }
        for name in NAMES:
            kept[name].check_room(starts[name].state, config.stage(name).train.steps)
        write_text(folder / "config.toml", with_sum(to_toml(config)))
        write_json(folder / "environment.json", environment() | record)
        cascade, stages = dict[Name, Params](), dict[str, dict[str, Any]]()
        for name in NAMES:
            earlier, one = dict(cascade), starts[name]
            before = evaluate({**earlier, name: one.initial})
            console.print(f"{name.upper()}-net before training: " + common.numbers_of(before))

            def of_state(state: TrainState, name: Name = name, earlier: Cascade = earlier) -> dict[str, float]:
                return evaluate({**earlier, name: weights_of(state)})

            state = train_net(
                name, config, mesh, folder / name, examples, earlier, one, kept[name], of_state, console,
                options.log == "tensorboard",
            )  # fmt: skip
            cascade[name] = weights_of(state)
            after = evaluate(cascade)
            console.print(f"{name.upper()}-net after training: " + common.numbers_of(after))
            log = read_log(folder / name / "log.jsonl")
            stages[name] = {"before": before, "after": after, "steps": int(state.step), "minutes": log[-1]["minutes"]}
    numbers = stages["o"]["after"] | {"ap_before": stages["p"]["before"]["ap"], "stages": stages}
    if wider:
        numbers["wider"] = common.evaluate_wider(partial(find, cascade, config), wider, console)
    data = {"train": examples.name, "test": [test.name]}
    sizes = Sizes(config.windows.min_face, TILE, None if options.data else SCENE)
    report(console, folder, config, sizes, data, test, cascade, numbers)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return common.parse("mtcnn", Config, "mtcnn/scenes", "mtcnn/wider", "--p.steps 500", arguments)


def start(name: Name, config: Config, mesh: Mesh, folder: Path, kept: Checkpoints, resume: bool) -> Start:
    """The network's first state, or that of its last checkpoint.

    Raises:
        CheckpointError, DataError: as `checkpoints.restore`.
    """
    stage = config.stage(name)
    state, place = init_state(name, stage, mesh), None
    initial = weights_of(state)
    if resume and (resumed := checkpoints.restore(kept, folder, state, stage)):
        state, place = resumed
    return Start(initial, state, place)


def weights_of(state: TrainState) -> Params:
    """On the host."""
    return jax.device_get(state.params)


def options_of(config: Config) -> Options:
    """How to look, while training and while testing."""
    return Options(min_face=config.windows.min_face, thresholds=(*config.windows.thresholds, WEAKEST))


def find(cascade: Cascade, config: Config, images: Sequence[np.ndarray]) -> list[Detections]:
    """What leaves the cascade, boxes in pixels counted from 0, as faces are marked; the detector counts from 1."""
    detect = make_detector(cascade, options_of(config))
    return [Detections(found.boxes - 1, found.points, found.scores) for found in detect(images)]


def measure(cascade: Cascade, config: Config, test: TestSet) -> dict[str, float]:
    """AP of what leaves the cascade, and the share of the faces that is found at all."""
    found = list[Detections]()
    for rows in common.in_groups(len(test.faces), AT_ONCE):
        found += find(cascade, config, [test.load(row) for row in rows])
    curve = test.curve(found)
    return {"ap": curve.average_precision, "recall": float(curve.recall[-1]) if curve.recall.size else 0.0}


def train_net(
    name: Name,
    config: Config,
    mesh: Mesh,
    folder: Path,
    examples: Examples,
    earlier: Cascade,
    begin: Start,
    checkpoints: Checkpoints,
    evaluate: Callable[[TrainState], dict[str, float]],
    console: Console,
    tensorboard: bool,
) -> TrainState:
    """The last state of a network, which is trained from `begin` on, unless it is trained already.

    Its windows are cut first, and kept until it is trained, for `--resume`.
    """
    stage, kept = config.stage(name), folder / "windows.npz"
    if int(begin.state.step) == stage.train.steps:
        return begin.state
    if begin.place is not None and kept.is_file():
        pool = load_windows(kept)
    else:
        before = make_detector(earlier, options_of(config)) if earlier else None
        with make_progress(console) as progress:
            bar = progress.add_task(f"windows for {name.upper()}-net", total=len(examples))
            pool = cut_windows(name, examples, before, stage, lambda done: progress.update(bar, completed=done))
        save_windows(pool, kept)
    counts = ", ".join(f"{count:,} {kind}" for kind, count in zip(KINDS, np.bincount(pool["kinds"]), strict=False))
    console.print(f"{name.upper()}-net, windows: {counts}")
    loader = make_loader(pool, stage)
    if begin.place is not None:
        loader.set_state(begin.place)
        console.print(f"{name.upper()}-net: resumed at step {int(begin.state.step)}")
    step = make_train_step(name, stage, mesh)
    monitor = DetectionMonitor(stage.optimiser)
    by_layer = partial(make_train_step, name, stage, mesh, by_layer=True)
    trained = train(
        step, begin.state, loader, stage, mesh, folder, checkpoints, evaluate, monitor, console, by_layer,
        tensorboard=tensorboard,
    )  # fmt: skip
    kept.unlink()
    return trained.state


def report(
    console: Console,
    folder: Path,
    config: Config,
    sizes: Sizes,
    data: dict[str, Any],
    test: TestSet,
    cascade: Cascade,
    numbers: dict[str, Any],
) -> None:
    """Write weights, figures and the result, and print it.

    Args:
        sizes: of the faces that it was trained for.
        data: names of training and test set.
        numbers: what was measured.
    """
    for net, arrays in to_facenet_pytorch(cascade).items():
        write_npz(folder / "weights" / f"{net}.npz", arrays | make_record("mtcnn", sizes))
    shown = [test.load(row) for row in range(min(SHEET, len(test.faces)))]
    found = map(common.surest, find(cascade, config, shown))
    draw_sheet(zip(shown, found, strict=True), folder / "detections.png")
    draw_training({name: read_log(folder / name / "log.jsonl") for name in NAMES}, folder / "training.png")
    result = numbers | {"test_images": len(test.faces), "test_faces": sum(test.faces), "data": data}
    write_json(folder / "result.json", result)
    results.close(console, folder, result)


def draw_training(logs: Mapping[Name, Sequence[dict[str, Any]]], path: Path) -> None:
    """The loss and its terms, and accuracy, of each network over its steps."""
    figure = Figure(figsize=(4 * len(logs), 6), layout="constrained")
    figure.suptitle("Training of MTCNN: losses above, windows told apart below")
    columns = figure.subplots(2, len(logs)).T
    for (name, log), (losses, accuracy) in zip(logs.items(), columns, strict=True):
        steps = [row["step"] for row in log]
        for term in ("loss", "classification", "boxes", "points"):
            losses.plot(steps, [row[term] for row in log], label=term, linewidth=1)
        losses.set(title=f"{name.upper()}-net", xlabel="step", ylabel="loss", yscale="log")
        losses.legend()
        accuracy.plot(steps, [row["accuracy"] for row in log], linewidth=1)
        accuracy.set(xlabel="step", ylabel="windows told apart, training")
        accuracy.grid(alpha=0.3)
    save_figure(figure, path)


if __name__ == "__main__":
    cli.run(main)
