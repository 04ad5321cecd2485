"""Train FaceNet and evaluate it: `python -m experiments.facenet`.

Without arguments: the tiny network on generated faces, on any CPU, in under three minutes. With `--data` and `--eval`:
real faces, tested on LFW or any set in its layout. Every field of the config can be given on the command line, such as
`--optimiser.learning-rate 0.02`.

Not here: the loss, its triplets and the step (`facenet_jax`), the loop (`faces.train_loop`).
"""

import argparse
from functools import partial

import jax

from experiments.common import checkpoints, report, training_options, verification
from experiments.common.start_run import start_run
from experiments.common.training_faces import find_faces
from facenet_jax.config import Config
from facenet_jax.monitor import TripletMonitor
from facenet_jax.sampling import epoch_order
from facenet_jax.train_step import init_state, make_train_step
from faces import cli, step_memory
from faces.data.loader import make_loader
from faces.mesh import check_division, make_mesh
from faces.run_record import write_start
from faces.terminal import make_console
from faces.toml_config import load_config
from faces.train_loop import train
from recognizer import starting
from recognizer.networks import backbone_of


def main(arguments: list[str]) -> None:
    """Config, faces, network, state, step, loop, evaluation, report."""
    options, config = parse(arguments)
    with start_run("facenet", options, config, arguments) as run:
        part = (jax.process_index(), jax.process_count())
        console, mesh = make_console(quiet=part[0] > 0), make_mesh(options.devices)
        in_file, _ = load_config(options.config, Config)
        report.print_setting(console, mesh, options.config, in_file, config)

        # Faces, and the order in which batches show them (Sec. 3.2).
        faces = run.faces or find_faces(options, config, console)
        if options.resume:
            checkpoints.check_faces(run.folder, faces.training_set, console)
        identities, batch, seed = faces.source.identities, config.batch, config.train.seed
        check_division(mesh, {"batch.images": batch.images, "batch.micro_batch": batch.micro_batch})
        together, at_random = batch.images_per_identity, batch.random_negatives
        order = partial(epoch_order, identities, batch.images, together, at_random, seed)
        report.print_faces(console, mesh, config, faces, len(order(0)))
        steps, size = config.train.steps, config.model.input_size
        loader = make_loader(faces.source, order, steps, size, config.augment, seed, part)

        # The network, the state before the first step, the step (Sec. 3), and what evaluates a state.
        backbone = backbone_of(config.model, "facenet")
        state = init_state(config, mesh, backbone, faces.classes)
        if options.init is not None:
            state = starting.start_from(options.init, state)
            console.print(starting.said(options.init, faces.cut_as))
        step = make_train_step(config, mesh, backbone)
        memory = step_memory.estimate(step, state, config, mesh)
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
                TripletMonitor(config),
                console,
                partial(make_train_step, config, mesh, backbone, by_layer=True),
                tensorboard=options.log == "tensorboard",
            )

        after = evaluate(trained.state, faces.tests)
        if part[0] == 0:
            numbers = report.Numbers(baselines, before, after)
            report.write(console, run.folder, options.config, faces, numbers, trained, collapsed_loss(config))


def parse(arguments: list[str]) -> tuple[argparse.Namespace, Config]:
    """The command line: options of the run, and the config with its overrides."""
    return training_options.parse("facenet", Config, "facenet/tiny", "facenet/small", arguments)


def collapsed_loss(config: Config) -> float | None:
    """The loss of a network that maps all faces to one point: all distances are 0, and each triplet's loss is alpha."""
    loss = config.loss
    if loss.kind != "triplet" or loss.reduction != "mean_of_pairs" or loss.classifier_weight > 0:
        return None
    return loss.alpha


if __name__ == "__main__":
    cli.run(main)
