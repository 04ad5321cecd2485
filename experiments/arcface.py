"""Train ArcFace and evaluate it: `python -m experiments.arcface`.

Without arguments: a tiny network on generated faces, on any CPU, in under three minutes. With `--data` and `--eval`:
real faces, tested on LFW, CFP, an InsightFace .bin or any set in LFW's layout. Every field of the config can be given
on the command line, such as `--loss.classifier.m2 0.4`.

Not here: the losses, the head and the step (`arcface_jax`), the loop (`faces.train_loop`).
"""

import argparse
from functools import partial

import jax

from arcface_jax.centres import describe_memory
from arcface_jax.config import Config
from arcface_jax.monitor import AngleMonitor
from arcface_jax.partial_fc import num_sampled
from arcface_jax.sampling import epoch_order
from arcface_jax.train_step import init_state, make_train_step
from experiments.common import checkpoints, report, training_options, verification
from experiments.common.start_run import start_run
from experiments.common.training_faces import Selection, find_faces
from faces import cli, step_memory
from faces.data.loader import make_loader
from faces.mesh import check_division, make_mesh
from faces.run_record import write_start
from faces.terminal import make_console
from faces.toml_config import load_config
from faces.train_loop import train
from faces.train_state import TrainState
from recognizer import starting
from recognizer.networks import backbone_of


def main(arguments: list[str]) -> None:
    """Config, faces, network, state, step, loop, evaluation, report."""
    options, config = parse(arguments)
    selection = Selection(config.data.min_images, config.data.wrong_labels)
    with start_run("arcface", options, config, arguments, selection) as run:
        part = (jax.process_index(), jax.process_count())
        console, mesh = make_console(quiet=part[0] > 0), make_mesh(options.devices)
        in_file, _ = load_config(options.config, Config)
        report.print_setting(console, mesh, options.config, in_file, config)

        # Faces, and the order in which batches show them.
        faces = run.faces or find_faces(options, config, console, selection)
        if options.resume:
            checkpoints.check_faces(run.folder, faces.training_set, console)
        identities, batch, seed = faces.source.identities, config.batch, config.train.seed
        check_division(mesh, {"batch.images": batch.images})
        order = partial(epoch_order, identities, batch.images, batch.images_per_identity, seed)
        of_head = memory_of_head(config, faces.classes, mesh.devices.size)
        report.print_faces(console, mesh, config, faces, len(order(0)), of_head)
        steps, size = config.train.steps, config.model.input_size
        loader = make_loader(faces.source, order, steps, size, config.augment, seed, part)

        # The network, the state before the first step, the step (Sec. 3.1), and what evaluates a state.
        backbone = backbone_of(config.model, "arcface", config.model.dropout)
        state = init_state(config, mesh, backbone, faces.classes)
        if options.init is not None:
            state = starting.start_from(options.init, state)
            console.print(starting.said(options.init, faces.cut_as))
        step = make_train_step(config, mesh, backbone, faces.classes)
        memory = step_memory.estimate(step, state, config, mesh, classes_at_once(config, state, mesh.devices.size))
        console.print(memory.said())
        memory.check()
        evaluate = verification.make_evaluate(backbone, config, mesh, options.allow_missing)

        # The loop.
        with (
            checkpoints.kept(run.folder, not options.resume, options.keep) as kept,
            step_memory.answering(memory, console.print),
        ):
            resumed = checkpoints.restore(kept, run.folder, state, config, faces.classes) if options.resume else None
            kept.check_room(resumed[0] if resumed else state, config.train.steps)
            if part[0] == 0:
                write_start(run.folder, config, faces.training_set)
            baselines = verification.baselines(faces.tests, faces.source, config, options.allow_missing)
            before = evaluate(state, faces.tests)
            if resumed is not None:
                state, place = resumed
                loader.set_state(place)
                console.print(f"resumed at step {int(state.step)}")
            elif options.resume:
                console.print("no checkpoint was taken yet; the run begins anew")
            trained = train(
                step,
                state,
                loader,
                config,
                mesh,
                run.folder,
                kept,
                partial(verification.on_the_way, evaluate, faces.tests, options.keep),
                AngleMonitor(config),
                console,
                partial(make_train_step, config, mesh, backbone, faces.classes, by_layer=True),
                tensorboard=options.log == "tensorboard",
            )

        after = evaluate(trained.state, faces.tests)
        if part[0] == 0:
            numbers = report.Numbers(baselines, before, after)
            report.write(console, run.folder, options.config, faces, numbers, trained)


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return training_options.parse("arcface", Config, "arcface/tiny", "arcface/small", arguments)


def memory_of_head(config: Config, classes: int, devices: int) -> str:
    """What the classes take on each device, as a line; "" where there are none."""
    if config.loss.classifier.kind == "none":
        return ""
    images, dim, head = config.batch.images, config.model.embedding_dim, config.head
    return describe_memory(images, classes, dim, devices, head.sub_centres, head.sampling_rate, head.block)


def classes_at_once(config: Config, state: TrainState, devices: int) -> frozenset[int]:
    """With how many class centres a device compares the batch at a time; none without any."""
    if config.loss.classifier.kind == "none":
        return frozenset()
    rows = len(state.centres) // devices
    sampled = num_sampled(rows, config.batch.images, config.head.sampling_rate)
    return frozenset({rows, sampled, config.head.block} - {0})


if __name__ == "__main__":
    cli.run(main)
