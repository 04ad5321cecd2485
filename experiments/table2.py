"""Train every row of ArcFace's Table 2 equally, on a small network: `python -m experiments.table2 --out DIR`.

Each row brings its loss, the way it composes a batch, and nothing else; network, data, schedule and length are those of
one base config, any field of which can be an option, such as `--train.steps 200`. A row is trained once for each seed,
on the same people, and tested on the same pairs. Interrupted, it goes on where it was. The paper trains ResNet-50 on
CASIA; numbers of a small network on a small set rank losses for that setting alone.

Not here: the rows at the paper's own settings (`experiments.arcface --config arcface/table2_...`).
"""

import argparse
import json
import statistics
from functools import partial
from pathlib import Path
from typing import Any

from rich.table import Table

from arcface_jax.config import Config
from arcface_jax.monitor import AngleMonitor
from arcface_jax.sampling import epoch_order
from arcface_jax.train_step import init_state, make_train_step
from experiments.common.arguments import place
from experiments.common.overrides import override, parse_overrides
from experiments.common.training_faces import Selection, generated_pairs, training_faces
from faces import cli
from faces.backbone import check_statistics
from faces.continued import continued
from faces.data.fingerprint import fingerprint
from faces.data.loader import make_loader
from faces.data.source import FaceSource
from faces.embed import make_embedder
from faces.errors import DataError
from faces.evaluate.pair_set import PairSet, open_pair_set
from faces.mesh import make_mesh
from faces.outputs import append_text, write_json, write_text
from faces.run_record import TRAINING_SET, check_training_set, environment, read_log, write_training_set
from faces.schema import flatten
from faces.terminal import make_console
from faces.toml_config import load_config, shipped_configs
from faces.train_loop import train
from recognizer.networks import backbone_of, check_network

FILES = ("rows.jsonl", "table2.md", "environment.json", TRAINING_SET)
PREFIX = "arcface/table2_"


def main(arguments: list[str]) -> None:
    """Parse, train what is missing, print the table."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.table2", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--out", type=place, required=True, help="folder of rows.jsonl and table2.md")
    parser.add_argument("--overwrite", action="store_true", help="replace the rows that are there, and begin anew")
    parser.add_argument("--base", default="arcface/tiny", help="config of everything but the loss")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--images-per-identity", type=int, default=4, help="in the batches of rows with triplets")
    parser.add_argument("--rows", nargs="*", help="only these rows, such as arcface_050 ns_s64")
    parser.add_argument("--data", type=Path, help="training faces (default: generated)")
    parser.add_argument("--eval", type=Path, help="test set; needed with --data")
    options, values = parse_overrides(parser, Config, arguments)
    if (options.data is None) != (options.eval is None):
        raise DataError("--data and --eval belong together: real faces are tested on real pairs.")
    base, _ = load_config(options.base, Config)
    base = override(base, values)
    check_network(base.model, base.model.dropout)
    check_statistics(base.model.batch_norm, has_weights=False)
    names = [name.removeprefix(PREFIX) for name in shipped_configs() if name.startswith(PREFIX)]
    chosen = options.rows or names
    if unknown := sorted(set(chosen) - set(names)):
        raise DataError(f"{unknown[0]}: no row of Table 2; rows are {', '.join(names)}.")

    test, selection = _test_set(options, base), Selection(base.data.min_images, base.data.wrong_labels)
    source = training_faces(options.data, base, make_console(), selection)
    with (
        cli.interruptible(f"The rows that are done are kept in {options.out}."),
        continued(options.out, _settings(options, base, test), FILES, options.overwrite) as goes_on,
    ):
        training_set = fingerprint(source)
        if goes_on:
            check_training_set(options.out, training_set)
        else:
            write_training_set(options.out, training_set)
        _train_rows(options, base, chosen, source, test)


def _train_rows(
    options: argparse.Namespace, base: Config, chosen: list[str], source: FaceSource, test: PairSet
) -> None:
    """Train what is missing in `rows.jsonl`, and write the table."""
    record, console = options.out / FILES[0], make_console()
    if test.remark:
        console.print(f"{test.name}: {test.remark}")
    done = read_log(record, keys=("row", "seed", "accuracy"))
    write_text(record, "".join(json.dumps(row) + "\n" for row in done))  # without a last line cut off by a crash
    write_json(options.out / FILES[2], environment())
    for seed in range(options.seeds):
        for name in chosen:
            if any(row["row"] == name and row["seed"] == seed for row in done):
                continue
            config = _row(base, name, seed, options.images_per_identity)
            row = {"row": name, "seed": seed, **_train(config, source, test)}
            append_text(record, json.dumps(row) + "\n")
            done.append(row)
            console.print(f"{name}, seed {seed}: accuracy {row['accuracy']:.4f}, loss {row['loss']:.4f}")
    console.print(_table(done, chosen))
    write_text(options.out / FILES[1], _markdown(done, chosen))


def _settings(options: argparse.Namespace, base: Config, test: PairSet) -> dict[str, Any]:
    """What rows are trained with and tested on, and must share; the training set has a record of its own."""
    return {
        **flatten(base),
        "images_per_identity": options.images_per_identity,
        "test_set": f"{test.name}, {len(test.same)} pairs, {test.digest()}",
    }


def _row(base: Config, name: str, seed: int, images_per_identity: int) -> Config:
    """The base with the loss of a row. The head's decay of margins over the first steps is the base's, for all rows."""
    row, _ = load_config(PREFIX + name, Config)
    together = images_per_identity if row.loss.triplet > 0 else 0
    whole, of_base, ramp = row.loss.classifier, base.loss.classifier, {}
    if whole.kind == "margin" and of_base.kind == "margin":
        ramp = {"loss.classifier.margin_ramp_steps": of_base.margin_ramp_steps}
    return base.with_(loss=row.loss, batch__images_per_identity=together, train__seed=seed, **ramp)


def _test_set(options: argparse.Namespace, base: Config) -> PairSet:
    if options.eval is not None:
        return open_pair_set("lfw", options.eval, base.model.input_size, base.evaluation)
    return generated_pairs(base, seed=0)


def _train(config: Config, source: FaceSource, test: PairSet) -> dict[str, Any]:
    """One run; accuracy on the test set and the last loss."""
    mesh = make_mesh()
    classes = int(source.identities.max()) + 1
    backbone = backbone_of(config.model, "arcface", config.model.dropout)
    state = init_state(config, mesh, backbone, classes)
    step = make_train_step(config, mesh, backbone, classes)
    batch, seed = config.batch, config.train.seed
    order = partial(epoch_order, source.identities, batch.images, batch.images_per_identity, seed)
    loader = make_loader(source, order, config.train.steps, config.model.input_size, config.augment, seed)
    by_layer, monitor = partial(make_train_step, config, mesh, backbone, classes, by_layer=True), AngleMonitor(config)
    console = make_console(quiet=True)
    trained = train(step, state, loader, config, mesh, None, None, lambda state: {}, monitor, console, by_layer)
    embed = make_embedder(backbone.apply, config.data, config.evaluation.flip, mesh)
    result = test.evaluate(embed(trained.state.params, trained.state.batch_stats, test.images), config.evaluation.far)
    last = trained.history[-1]["loss"]
    return {"accuracy": result.accuracy, "accuracy_se": result.accuracy_se, "loss": last}


def _summary(done: list[dict[str, Any]], name: str) -> tuple[str, str, str]:
    """Mean and standard deviation over seeds, "-" with one seed, and each seed's accuracy, in percent."""
    values = _accuracies(done, name)
    spread = f"{statistics.stdev(values):.2f}" if len(values) > 1 else "-"
    return f"{statistics.fmean(values):.2f}", spread, ", ".join(f"{value:.2f}" for value in values)


def _accuracies(done: list[dict[str, Any]], name: str) -> list[float]:
    return [100 * row["accuracy"] for row in done if row["row"] == name]


def _table(done: list[dict[str, Any]], names: list[str]) -> Table:
    table = Table(title="Table 2, all rows trained equally", title_justify="left")
    for heading in ("row", "mean %", "SD over seeds", "each seed"):
        table.add_column(heading, justify="left" if heading == "row" else "right")
    for name in sorted(names, key=partial(_rank, done)):
        table.add_row(name, *_summary(done, name))
    return table


def _markdown(done: list[dict[str, Any]], names: list[str]) -> str:
    lines = ["| row | mean % | SD over seeds | each seed |", "|---|---|---|---|"]
    for name in sorted(names, key=partial(_rank, done)):
        lines.append(f"| {' | '.join((name, *_summary(done, name)))} |")
    return "\n".join(lines) + "\n"


def _rank(done: list[dict[str, Any]], name: str) -> float:
    return -statistics.fmean(_accuracies(done, name))


if __name__ == "__main__":
    cli.run(main)
