"""The main of a training run, for both papers: parse, train, evaluate, report.

A `Recipe` says what is a paper's own. Everything else, options, data, checkpoints, evaluation and outputs, is here and
is the same for both.

Not here: the recipes (`facenet.py`, `arcface.py`), and what is printed and drawn (`report.py`).
"""

import argparse
import contextlib
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Generic

import jax
import numpy as np
from jax.sharding import Mesh
from rich.console import Console

from experiments import kept, passed_over, report, runs
from experiments.arguments import AppendNamed, named_path, place
from experiments.networks import backbone_of
from faces import outputs, run_record, start
from faces.backbone import Backbone
from faces.checkpoint import Checkpoints
from faces.config import AnyConfig, RunConfig, check, difference, load_config
from faces.data.generated import generated_faces
from faces.data.loader import make_loader
from faces.data.open import open_source
from faces.data.source import FaceSource, limit_images
from faces.embed import Embedder, make_embedder
from faces.errors import CheckpointError, ConfigError, ImageError
from faces.evaluate.pair_set import PairSet, generated_pair_set, open_pair_set
from faces.evaluate.report import result_dict
from faces.evaluate.verification import VerificationResult
from faces.mesh import local_mesh, localised, make_mesh
from faces.terminal import make_console
from faces.train_loop import Watch, train
from faces.train_state import TrainState

GENERATED_TRAIN = {"identities": 400, "images_per_identity": 16}
GENERATED_TEST = {"identities": 120, "images_per_identity": 16}


@dataclass(frozen=True)
class Recipe(Generic[AnyConfig]):
    """What a paper brings to the common main.

    Args:
        name: of the module, after `experiments.`.
        schema: the paper's `Config`.
        generated_config, real_config: configs taken without and with `--data`.
        select: (config, source) -> the training faces that the config asks for.
        order: (config, source) -> (epoch -> image indices, int64 (batches, batch)).
        init_state: (config, mesh, backbone, classes) -> the state before the first step.
        make_train_step: (config, mesh, backbone, classes) -> the step.
        watch: config -> what looks at the metrics.
        collapsed_loss: config -> the loss when all embeddings are one point, None where that is no fixed number.
        describe: (config, mesh, classes) -> a line to print before training, "" for none.
    """

    name: str
    schema: type[AnyConfig]
    generated_config: str
    real_config: str
    select: Callable[[AnyConfig, FaceSource], FaceSource]
    order: Callable[[AnyConfig, FaceSource], Callable[[int], np.ndarray]]
    init_state: Callable[[AnyConfig, Mesh, Backbone, int], TrainState]
    make_train_step: Callable[[AnyConfig, Mesh, Backbone, int], Callable[[TrainState, Any], Any]]
    watch: Callable[[AnyConfig], Watch]
    collapsed_loss: Callable[[AnyConfig], float | None]
    describe: Callable[[AnyConfig, Mesh, int], str]


def run(recipe: Recipe[AnyConfig], description: str, arguments: list[str]) -> None:
    """Parse, train, evaluate, report."""
    options, config = parse(recipe, description, arguments)
    if options.coordinator:
        jax.distributed.initialize(options.coordinator, options.processes, options.process)
        start.compile_together()
    is_writer = jax.process_index() == 0
    console = make_console(quiet=not is_writer)
    folder = _run_folder(options)
    mesh = make_mesh(options.devices)
    console.print(f"devices: {', '.join(device.device_kind for device in mesh.devices.flat)}")
    if folder_of_programs := start.programs_folder():
        console.print(f"compiled programs are kept in {folder_of_programs}")
    in_file, _ = load_config(options.config, recipe.schema)
    report.print_config(console, options.config, config, difference(in_file, config))

    source = training_faces(recipe, config, options.data, console)
    if options.only is not None:
        source = kept.apply(options.only, source)
    classes = int(source.identities.max()) + 1
    tests = pair_sets(options, config)
    order = recipe.order(config, source)
    _check_division(config, mesh)
    batches = len(order(0))  # refuses a set that is too small before anything is written
    console.print(
        f"training faces: {source.name}: {len(source):,} images of {classes:,} people; batches of "
        f"{config.batch.images} ({config.batch.images // mesh.devices.size} a device), {batches:,} an epoch"
    )
    if line := recipe.describe(config, mesh, classes):
        console.print(line)
    for test in tests:
        if test.remark:
            console.print(f"{test.name}: {test.remark}")

    backbone = backbone_of(config.model, recipe.name)
    embed = make_embedder(backbone.apply, config.data, config.evaluation.flip, local_mesh(mesh))
    judge = partial(_judge, config=config, mesh=mesh, embed=embed, allow_missing=options.allow_missing)
    state = recipe.init_state(config, mesh, backbone, classes)
    if options.init is not None:
        state = runs.start_from(options.init, state, config)
        console.print(f"network's weights: those of {options.init}")
    part = (jax.process_index(), jax.process_count())
    steps, size, seed = config.train.steps, config.model.input_size, config.train.seed
    loader = make_loader(source, order, steps, size, config.augment, seed, part)
    baselines = report.baselines(tests[0], source, config, options.allow_missing) if tests else {}
    before = {test.name: judge(test, state) for test in tests}
    with _files_of_run(folder) as checkpoints:
        if options.resume:
            state, loader_state = checkpoints.restore(state, config)
            loader.set_state(loader_state)
            console.print(f"resumed at step {int(state.step)}")
        if is_writer:
            run_record.write_start(folder, config, source)
        trained = train(
            recipe.make_train_step(config, mesh, backbone, classes),
            state,
            loader,
            config,
            mesh,
            folder,
            checkpoints,
            lambda state: _brief(judge(tests[0], state)) if tests else {},
            recipe.watch(config),
            console,
        )
    after = {test.name: judge(test, trained.state) for test in tests}

    if not is_writer:
        return
    result = report.result(tests, after, trained.images_per_second, options.config, source.name)
    outputs.write_json(folder / "result.json", result)
    collapsed = recipe.collapsed_loss(config)
    report.write(console, folder, config, tests, baselines, before, after, trained.minutes, collapsed)
    console.print(f"everything is in {folder}")
    print("result: " + json.dumps(result), flush=True)


def parse(
    recipe: Recipe[AnyConfig], description: str, arguments: list[str]
) -> tuple[argparse.Namespace, AnyConfig]:
    """The command line: options of the run, and the config with its overrides."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{recipe.name}",
        description=description,
        epilog="Every field of the config is an option too, e.g. --optimiser.learning-rate 0.02 --train.steps 500.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help=f"name in paper_configs/ or a TOML file (default {recipe.generated_config}, "
                        f"or {recipe.real_config} with --data)")  # fmt: skip
    parser.add_argument("--data", type=Path, help="training faces: a prepared dataset, an image folder or a .rec; "
                        "default: generated faces")  # fmt: skip
    parser.add_argument("--eval", action=AppendNamed, default=[], metavar="NAME=PATH", type=named_path,
                        help="test set: a folder in LFW's layout, an InsightFace .bin, or CFP as cfp_fp=DIR or "
                        "cfp_ff=DIR; may be repeated, the first is the main one")  # fmt: skip
    parser.add_argument("--init", type=Path, metavar="RUN", help="start with the network of another run's folder, of "
                        "either paper; class centres and the optimiser start anew")  # fmt: skip
    parser.add_argument("--only", type=Path, metavar="FILE", help="train on the images that experiments.clean has kept")
    parser.add_argument("--out", type=place, help="folder of the run (default runs/<config's name>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument("--devices", type=int, help="use so many devices (default: all)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="with several processes: where process 0 listens; "
                        "each needs --process and --processes, and the same --out")  # fmt: skip
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="this one's number, from 0")
    parser.add_argument("--allow-missing", action="store_true",
                        help="print a number although test images are missing, with its coverage")
    options, rest = parser.parse_known_args(arguments)
    options.config = options.config or (recipe.real_config if options.data else recipe.generated_config)
    paper, _, name = options.config.partition("/")
    if name and paper in ("arcface", "facenet") and paper != recipe.name:
        raise ConfigError(f"{options.config}: a config of the other paper; run it with python -m experiments.{paper}.")
    config, _ = load_config(options.config, recipe.schema)
    if rest:
        import tyro  # here, as the default run needs none of it

        config = tyro.cli(recipe.schema, args=rest, default=config, prog=parser.prog)
    return options, check(config, "command line")


@contextlib.contextmanager
def _files_of_run(folder: Path) -> Iterator[Checkpoints]:
    """The run's checkpoints; from here on files are written. A run that breaks off before its first leaves none behind.

    Raises:
        ImageError: with the remedy, where a training image cannot be read: raw folders are read while training.
    """
    is_new = not folder.exists()
    try:
        with Checkpoints(folder / "checkpoints") as checkpoints:
            yield checkpoints
    except ImageError as error:
        if is_new and not any(entry.name.isdigit() for entry in (folder / "checkpoints").iterdir()):
            shutil.rmtree(folder)
        remedy = "python -m experiments.prepare puts such files in quarantine; train on what it writes."
        raise ImageError(f"{error} {remedy}") from error


def _check_division(config: RunConfig, mesh: Mesh) -> None:
    devices = mesh.devices.size
    micro_batch = getattr(config.batch, "micro_batch", 0)
    for name, images in (("images", config.batch.images), ("micro_batch", micro_batch)):
        if images % devices:
            raise ConfigError(f"batch.{name} = {images}: cannot be divided among {devices} devices; see --devices.")


def _run_folder(options: argparse.Namespace) -> Path:
    """The run's folder; never one that holds another run, unless it is resumed."""
    if options.out is not None:
        folder = options.out
        if (folder / "config.toml").exists() and not options.resume:
            raise ConfigError(f"{folder}: holds a run already; add --resume to continue it, or name another --out.")
        if options.resume and not (folder / "checkpoints").is_dir():
            raise CheckpointError(f"{folder}: no run to resume; start it without --resume.")
        return folder
    base = Path("runs") / Path(options.config).stem
    if options.resume:
        raise ConfigError("--resume needs --out, the folder of the run to continue.")
    number = 1
    while (folder := base if number == 1 else base.with_name(f"{base.name}-{number}")).exists():
        number += 1
    return folder


def training_faces(
    recipe: Recipe[AnyConfig], config: AnyConfig, data: Path | None, console: Console
) -> FaceSource:
    """The training set of a config: all faces at a path, or generated ones, and of those what the config asks for.

    What was passed over at the path is printed.
    """
    if data is not None:
        opened = open_source(data)
        passed_over.tell(console, opened.ignored, f"passed over in {data}")
        faces: FaceSource = opened.source
    else:
        faces = generated_faces(**GENERATED_TRAIN, size=max(config.model.input_size), seed=config.train.seed)
    return recipe.select(config, limit_images(faces, config.data.images, config.train.seed))


def pair_sets(options: argparse.Namespace, config: RunConfig) -> list[PairSet]:
    """The sets that `options.eval` names, (name, path) each; generated faces where it and `options.data` are empty."""
    size = config.model.input_size
    if options.eval:
        return [open_pair_set(name, path, size, config.evaluation) for name, path in options.eval]
    if options.data is not None:
        return []
    first = GENERATED_TRAIN["identities"]  # people that training never shows
    return [generated_pair_set(**GENERATED_TEST, size=max(size), seed=config.train.seed, first_identity=first)]


def _judge(
    test: PairSet, state: TrainState, config: RunConfig, mesh: Mesh, embed: Embedder, allow_missing: bool
) -> VerificationResult:
    params, batch_stats = localised(mesh, (state.params, state.batch_stats))
    return test.judge(embed(params, batch_stats, test.images), config.evaluation.far, allow_missing)


def _brief(result: VerificationResult) -> dict[str, float]:
    """What changes from one evaluation of a run to the next."""
    return {key: value for key, value in result_dict(result).items() if key not in ("pairs", "coverage", "thresholds")}
