"""The main of a training run, for both papers: parse, train, evaluate, report.

A `Recipe` says what is a paper's own. Everything else, options, data, checkpoints, evaluation and outputs, is here and
is the same for both.

Not here: the recipes (`facenet.py`, `arcface.py`), and what is printed and drawn (`report.py`).
"""

import argparse
import contextlib
import json
import shlex
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from rich.console import Console

from experiments.common import keep_list as kept
from experiments.common import passed_over, report
from experiments.common.recipe import Recipe, parse
from experiments.common.run_folder import claim
from faces import outputs, processes, run_record, start
from faces.checkpoint import Checkpoints
from faces.config import AnyRun, RunConfig
from faces.data import uncut
from faces.data.fingerprint import Fingerprint, fingerprint
from faces.data.loader import make_loader
from faces.data.open import open_source
from faces.data.source import FaceSource, limit_images
from faces.data.synthetic.generated import generated_faces
from faces.embed import Embedder, make_embedder
from faces.errors import CheckpointError, ConfigError, ImageError
from faces.evaluate.pair_set import PairSet, generated_pair_set, open_pair_set
from faces.evaluate.report import result_dict
from faces.evaluate.verification import VerificationResult
from faces.mesh import local_mesh, localised, make_mesh
from faces.schema import difference, flatten
from faces.terminal import make_console
from faces.toml_config import load_config
from faces.train_loop import train
from faces.train_state import TrainState
from recognizer import runs
from recognizer.networks import backbone_of

GENERATED_TRAIN = {"identities": 400, "images_per_identity": 16}
GENERATED_TEST = {"identities": 120, "images_per_identity": 16}


def run(recipe: Recipe[AnyRun], description: str, arguments: list[str]) -> None:
    """Parse, claim the run's folder, train, evaluate, report."""
    options, config = parse(recipe, description, arguments)
    meeting = processes.meeting(options.coordinator, options.processes, options.process, options.wait)
    with contextlib.ExitStack() as stack:
        if meeting is None:
            folder, found = claim(options, stack), None
        else:
            started_with = {**flatten(config), **{key: str(getattr(options, key)) for key in _OF_ALL}}
            faces = list[Faces]()

            def prepare() -> tuple[str, dict[str, str]]:
                """Whatever can fail in one process alone, and asks no device, which JAX must not meet before."""
                folder = claim(options, stack) if meeting.process == 0 else ""
                if options.data is None:
                    return str(folder), {}
                faces.append(_find_faces(recipe, options, config, make_console(quiet=meeting.process > 0)))
                training_set = faces[0].training_set
                return str(folder), {"training set": f"{training_set.counts()}, {training_set.digest}"}

            folder = Path(processes.join(meeting, started_with, prepare))
            start.compile_together()
            found = faces[0] if faces else None
        again = [*arguments, *(["--out", str(folder)] if options.out is None else [])]
        again += [] if options.resume else ["--resume"]
        command = shlex.join(["python", "-m", f"experiments.{recipe.name}", *again])
        _run(recipe, options, config, folder, found, command)


_OF_ALL = ("config", "out", "resume", "init", "devices", "allow_missing")
"""Options that all processes of a run must have alike; data may lie elsewhere on another machine."""


@dataclass(frozen=True)
class Faces:
    """What a run trains on and is judged on.

    Args:
        source: the training set.
        training_set: its fingerprint.
        tests: the test sets, the main one first.
    """

    source: FaceSource
    training_set: Fingerprint
    tests: list[PairSet]


def _find_faces(recipe: Recipe[AnyRun], options: argparse.Namespace, config: AnyRun, console: Console) -> Faces:
    source = training_faces(recipe, config, options.data, console)
    if options.only is not None:
        source = kept.apply(options.only, source)
    return Faces(source, fingerprint(source), pair_sets(options, config))


def _run(
    recipe: Recipe[AnyRun],
    options: argparse.Namespace,
    config: AnyRun,
    folder: Path,
    found: Faces | None,
    command_to_resume: str,
) -> None:
    """Train, evaluate, report.

    Args:
        recipe, options, config: of the run.
        folder: claimed by process 0.
        found: what it trains on, where that is known already.
        command_to_resume: what to say when it is interrupted.
    """
    is_writer = jax.process_index() == 0
    console = make_console(quiet=not is_writer)
    mesh = make_mesh(options.devices)
    console.print(f"devices: {', '.join(device.device_kind for device in mesh.devices.flat)}")
    if folder_of_programs := start.programs_folder():
        console.print(f"compiled programs are kept in {folder_of_programs}")
    in_file, _ = load_config(options.config, recipe.schema)
    report.print_config(console, options.config, config, difference(in_file, config))

    faces = found or _find_faces(recipe, options, config, console)
    source, tests = faces.source, faces.tests
    if options.resume and (remark := run_record.check_training_set(folder, faces.training_set)):
        console.print(remark)
    classes = int(source.identities.max()) + 1
    order = recipe.order(config, source)
    _check_division(config, mesh)
    batches = len(order(0))  # refuses a set that is too small before anything is written
    console.print(
        f"training faces: {source.name}: {len(source):,} images of {classes:,} people; batches of "
        f"{config.batch.images} ({config.batch.images // mesh.devices.size} a device), {batches:,} an epoch"
    )
    for line in (uncut.remark(source, config.model.input_size), recipe.describe(config, mesh, classes)):
        if line:
            console.print(line)
    for test in tests:
        if test.remark:
            console.print(f"{test.name}: {test.remark}")

    backbone = backbone_of(config.model, recipe.name)
    embed = make_embedder(backbone.apply, config.data, config.evaluation.flip, local_mesh(mesh))
    evaluate = partial(_evaluate, config=config, mesh=mesh, embed=embed, allow_missing=options.allow_missing)
    state = recipe.init_state(config, mesh, backbone, classes)
    if options.init is not None:
        state = runs.start_from(options.init, state)
        console.print(f"network's weights: those of {options.init}")
    part = (jax.process_index(), jax.process_count())
    steps, size, seed = config.train.steps, config.model.input_size, config.train.seed
    loader = make_loader(source, order, steps, size, config.augment, seed, part)
    with _files_of_run(folder, is_new=not options.resume) as checkpoints:
        restored = _restored(checkpoints, state, config, classes, folder) if options.resume else None
        baselines = report.baselines(tests[0], source, config, options.allow_missing) if tests else {}
        before = {test.name: evaluate(test, state) for test in tests}
        if restored is not None:
            state, place = restored
            loader.set_state(place)
            console.print(f"resumed at step {int(state.step)}")
        elif options.resume:
            console.print("no checkpoint was taken yet; the run begins anew")
        if is_writer:
            run_record.write_start(folder, config, faces.training_set)
        with _going_on(checkpoints, command_to_resume):
            trained = train(
                recipe.make_train_step(config, mesh, backbone, classes),
                state,
                loader,
                config,
                mesh,
                folder,
                checkpoints,
                lambda state: _brief(evaluate(tests[0], state)) if tests else {},
                recipe.monitor(config),
                console,
            )
    after = {test.name: evaluate(test, trained.state) for test in tests}

    if not is_writer:
        return
    result = report.result(tests, after, trained.images_per_second, options.config, source.name)
    outputs.write_json(folder / "result.json", result)
    collapsed = recipe.collapsed_loss(config)
    report.write(console, folder, config, tests, baselines, before, after, trained.minutes, collapsed)
    console.print(f"everything is in {folder}")
    print("result: " + json.dumps(result), flush=True)


def _restored(
    checkpoints: Checkpoints, state: TrainState, config: RunConfig, classes: int, folder: Path
) -> tuple[TrainState, dict[str, Any]] | None:
    """The newest checkpoint's state and place in the data; None where the run ended before its first."""
    if checkpoints.latest_step() is None:
        return None
    restored, place = checkpoints.restore(state, config, classes)
    done, asked = int(restored.step), config.train.steps
    if done > asked:
        raise CheckpointError(
            f"{folder}: is at step {done:,} already, and train.steps = {asked:,} lies before; ask for more, or start "
            "in another folder."
        )
    return restored, place


@contextlib.contextmanager
def _going_on(checkpoints: Checkpoints, command: str) -> Iterator[None]:
    """A block whose interruption says how to go on, if there is a checkpoint to go on from."""
    try:
        yield
    except KeyboardInterrupt:
        if (step := checkpoints.latest_step()) is None:
            raise
        raise KeyboardInterrupt(f"Step {step:,} is kept; go on with: {command}") from None


@contextlib.contextmanager
def _files_of_run(folder: Path, is_new: bool) -> Iterator[Checkpoints]:
    """The run's checkpoints; from here on files are written. A run that breaks off before its first leaves none behind.

    Raises:
        ImageError: with the remedy, where a training image cannot be read: raw folders are read while training.
    """
    checkpoints = folder / "checkpoints"
    try:
        with Checkpoints(checkpoints) as opened:
            yield opened
    except BaseException as error:
        has_taken = checkpoints.is_dir() and any(entry.name.isdigit() for entry in checkpoints.iterdir())
        if is_new and not has_taken and jax.process_index() == 0:
            for entry in outputs.contents(folder):
                shutil.rmtree(entry) if entry.is_dir() else entry.unlink()
        if not isinstance(error, ImageError):
            raise
        remedy = "python -m experiments.prepare puts such files in quarantine; train on what it writes."
        raise ImageError(f"{error} {remedy}") from error


def _check_division(config: RunConfig, mesh: Mesh) -> None:
    devices = mesh.devices.size
    micro_batch = getattr(config.batch, "micro_batch", 0)
    for name, images in (("images", config.batch.images), ("micro_batch", micro_batch)):
        if images % devices:
            raise ConfigError(f"batch.{name} = {images}: cannot be divided among {devices} devices; see --devices.")


def training_faces(
    recipe: Recipe[AnyRun], config: AnyRun, data: Path | None, console: Console
) -> FaceSource:
    """The training set of a config: all faces at a path, or generated ones, and of those what the config asks for.

    What was passed over at the path is printed.
    """
    if data is not None:
        opened = open_source(data)
        passed_over.tell(console, opened.ignored, f"passed over in {data}")
        passed_over.tell_alike(console, opened.source.identity_names, "are different people here")
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
    people = {**GENERATED_TEST, "first_identity": first}
    return [generated_pair_set(**people, size=size, seed=config.train.seed, config=config.evaluation)]


def _evaluate(
    test: PairSet, state: TrainState, config: RunConfig, mesh: Mesh, embed: Embedder, allow_missing: bool
) -> VerificationResult:
    params, batch_stats = localised(mesh, (state.params, state.batch_stats))
    return test.evaluate(embed(params, batch_stats, test.images), config.evaluation.far, allow_missing)


def _brief(result: VerificationResult) -> dict[str, float]:
    """What changes from one evaluation of a run to the next."""
    return {key: value for key, value in result_dict(result).items() if key not in ("pairs", "coverage", "thresholds")}
