"""What a paper brings to the common main of a training run, and the command line that it has for it.

Not here: the recipes themselves (`facenet.py`, `arcface.py`), and the run (`training.py`).
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Generic

import numpy as np
from jax.sharding import Mesh

from experiments.common.arguments import AppendNamed, named_path, place
from faces.backbone import Backbone
from faces.config import AnyRun
from faces.data.source import FaceSource
from faces.errors import ConfigError
from faces.processes import WAIT
from faces.schema import check, difference
from faces.toml_config import load_config
from faces.train_loop import Monitor
from faces.train_state import TrainState
from recognizer import runs


@dataclass(frozen=True)
class Recipe(Generic[AnyRun]):
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
    schema: type[AnyRun]
    generated_config: str
    real_config: str
    select: Callable[[AnyRun, FaceSource], FaceSource]
    order: Callable[[AnyRun, FaceSource], Callable[[int], np.ndarray]]
    init_state: Callable[[AnyRun, Mesh, Backbone, int], TrainState]
    make_train_step: Callable[[AnyRun, Mesh, Backbone, int], Callable[[TrainState, Any], Any]]
    monitor: Callable[[AnyRun], Monitor]
    collapsed_loss: Callable[[AnyRun], float | None]
    describe: Callable[[AnyRun, Mesh, int], str]


def parse(
    recipe: Recipe[AnyRun], description: str, arguments: list[str]
) -> tuple[argparse.Namespace, AnyRun]:
    """The command line: options of the run, and the config with its overrides."""
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{recipe.name}",
        description=description,
        epilog="Every field of the config is an option too, e.g. --optimiser.learning-rate 0.02 --train.steps 500.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help=f"name in paper_configs/ or a TOML file (default {recipe.generated_config}, "
                        f"or {recipe.real_config} with --data)")  # fmt: skip
    parser.add_argument("--data", type=place, help="training faces: a prepared dataset, an image folder or a .rec; "
                        "default: generated faces")  # fmt: skip
    parser.add_argument("--eval", action=AppendNamed, default=[], metavar="NAME=PATH", type=named_path,
                        help="test set: a folder in LFW's layout, an InsightFace .bin, or CFP as cfp_fp=DIR or "
                        "cfp_ff=DIR; may be repeated, the first is the main one")  # fmt: skip
    parser.add_argument("--init", type=place, metavar="RUN", help="start with the network of another run's folder, of "
                        "either paper, at its size and with its range of pixels; class centres and the optimiser start "
                        "anew")  # fmt: skip
    parser.add_argument("--only", type=place, metavar="FILE", help="train on the images that experiments.clean kept")
    parser.add_argument("--out", type=place, help="folder of the run (default runs/<config's name>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument("--devices", type=int, help="use so many devices (default: all)")
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="with several processes: where process 0 listens; "
                        "each needs --process and --processes, and the same --out")  # fmt: skip
    parser.add_argument("--processes", type=int, help="number of processes")
    parser.add_argument("--process", type=int, help="this one's number, from 0")
    parser.add_argument("--wait", type=float, metavar="SECONDS",
                        help=f"how long the processes wait for one another (default {WAIT:g})")
    parser.add_argument("--allow-missing", action="store_true",
                        help="print a number although test images are missing, with its coverage")
    options, rest = parser.parse_known_args(arguments)
    options.config = options.config or (recipe.real_config if options.data else recipe.generated_config)
    paper, _, name = options.config.partition("/")
    if name and paper in ("arcface", "facenet") and paper != recipe.name:
        raise ConfigError(f"{options.config}: a config of the other paper; run it with python -m experiments.{paper}.")
    config, _ = load_config(options.config, recipe.schema)
    if options.init is not None:
        config = runs.take_network(options.init, config)
    given = config
    if rest:
        import tyro  # here, as the default run needs none of it

        config = tyro.cli(recipe.schema, args=rest, default=config, prog=parser.prog)
    if options.init is not None:
        runs.check_network(options.init, difference(given, config))
    return options, check(config, "command line")
