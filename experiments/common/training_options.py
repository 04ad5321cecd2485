"""The command line of the two mains that train a network for recognition.

Not here: what it asks for (`facenet.py`, `arcface.py`), kinds of arguments (`arguments.py`).
"""

import argparse

from experiments.common import hosts
from experiments.common.arguments import AppendNamed, add_log, config_of, named_path, place
from experiments.common.overrides import override, parse_overrides
from faces.config import AnyRun
from faces.evaluate.pair_set import GENERATED
from faces.keep import parse as parse_keep
from recognizer import starting
from recognizer.networks import check_network


def parse(
    main: str, schema: type[AnyRun], generated_config: str, real_config: str, arguments: list[str]
) -> tuple[argparse.Namespace, AnyRun]:
    """Options of the run, and the config with its overrides.

    Args:
        main: "facenet" or "arcface".
        schema: the paper's `Config`.
        generated_config, real_config: configs taken without and with `--data`.
        arguments: what was given.
    Raises:
        ConfigError: a config that does not exist, is another paper's, or makes no sense with the overrides.
    """
    title = {"facenet": "FaceNet", "arcface": "ArcFace"}[main]
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{main}",
        description=f"Train {title} and evaluate it.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help=f"name in paper_configs/ or a TOML file (default {generated_config}, or "
                        f"{real_config} with --data)")  # fmt: skip
    parser.add_argument("--data", type=place, help="training faces: a prepared dataset, an image folder or a .rec; "
                        "default: generated faces")  # fmt: skip
    parser.add_argument("--eval", action=AppendNamed, default=[], metavar="NAME=PATH", type=named_path,
                        help="test set: a folder in LFW's layout, an InsightFace .bin, or CFP as cfp_fp=DIR or "
                        "cfp_ff=DIR; may be repeated, the first is the main one")  # fmt: skip
    parser.add_argument("--init", type=place, metavar="MODEL", help="start with the network of another run, of either "
                        "paper, of a converted model, or of published weights by file or name, at its size and with "
                        "its range of pixels; class centres and the optimiser start anew")  # fmt: skip
    parser.add_argument("--freeze", nargs="+", metavar="PREFIX", help="layers that stay as they are, by the beginnings "
                        "of their parameters' paths; as --optimiser.freeze")  # fmt: skip
    parser.add_argument("--only", type=place, metavar="FILE", help="train on the images that experiments.clean kept")
    parser.add_argument("--out", type=place, help="folder of the run (default runs/<config's name>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument("--keep", nargs="+", default=[], metavar="WHICH", help="checkpoints that stay: newest:K (the "
                        "last K; default 2), every:N (for good, those of each N-th step) and best:NAME (the best by "
                        "the --eval of that name)")  # fmt: skip
    add_log(parser)
    parser.add_argument("--devices", type=int, help="use so many devices (default: all)")
    hosts.add_options(parser, "--out")
    parser.add_argument("--allow-missing", action="store_true",
                        help="print a number although test images are missing, with its coverage")
    options, values = parse_overrides(parser, schema, arguments)
    options.config = options.config or (real_config if options.data else generated_config)
    config = config_of(main, options.config, schema)
    if options.freeze:
        values = {"optimiser.freeze": options.freeze} | values
    if options.init is None:
        config = override(config, values)
        check_network(config.model, getattr(config.model, "dropout", 0.0))
        return _with_keep(options, config)
    network = starting.network_of(options.init, config)
    config = override(config, network | values)
    starting.check_network(options.init, network, config)
    check_network(config.model, getattr(config.model, "dropout", 0.0))
    return _with_keep(options, config)


def _with_keep(options: argparse.Namespace, config: AnyRun) -> tuple[argparse.Namespace, AnyRun]:
    """What `--keep` says becomes a `Keep`."""
    tests = [name for name, _ in options.eval] or ([] if options.data else [GENERATED])
    options.keep = parse_keep(options.keep, config.train.checkpoint_every, config.train.evaluate_every, tests)
    return options, config
