"""Error by factor on generated faces: `python -m experiments.factors --weights MODEL --out DIR`.

Yaw, light, blur and occlusion of a generated face are known exactly, so that what a network finds hard is seen without
a measure between. MODEL is any model, such as the folder of a training run on generated faces; the people tested are
none of those that the default runs train on. For the factor `resolution` each image is shrunk to a random side and
enlarged again, a test of its own. DIR receives `result.json`, and of each test `factors_NAME.csv` and
`factors_NAME.png`.

Not here: photographs (`experiments.evaluate --by`), and labels (`--groups` there).
"""

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from rich.console import Console

from experiments.common import by_factor, results
from experiments.common.arguments import add_manifest, place
from experiments.common.training_faces import GENERATED_TEST, GENERATED_TRAIN
from experiments.evaluate import FAR
from faces import cli
from faces.config import EvaluationConfig
from faces.data.augment import FULL
from faces.data.synthetic.generated import generated_nuisances
from faces.errors import ConfigError
from faces.evaluate import generated_factors
from faces.evaluate.factors import Factor
from faces.evaluate.generated_factors import KNOWN, RESOLUTION
from faces.evaluate.pair_set import PairSet, generated_pair_set
from faces.evaluate.report import result_dict, summary_table
from faces.mesh import make_mesh
from faces.outputs import results_folder, write_json
from faces.terminal import make_console
from recognizer.model import embedder_of, open_model

ALL = (*KNOWN, RESOLUTION)
PLAIN = EvaluationConfig(crop=FULL, flip=False, jpeg_quality=0, pixels=0, far=FAR)


def main(arguments: list[str]) -> None:
    """Parse, then evaluate with a folder for the results."""
    options, console = parse(arguments), make_console()
    with results_folder(options.out, options.overwrite) as out:
        result = evaluate(options, out, console)
        write_json(out / "result.json", result)
    results.close(console, options.out, result)


def evaluate(options: argparse.Namespace, out: Path, console: Console) -> dict[str, Any]:
    """Draw the faces, embed, count; what `result.json` says."""
    model = open_model(options.weights, manifest=options.manifest)
    embed = embedder_of(model, make_mesh())
    drawn = {"seed": options.seed, "first_identity": GENERATED_TRAIN["identities"]}
    numbers = (options.people, options.images)
    pairs = generated_pair_set(*numbers, size=model.preprocessing.size, config=PLAIN, **drawn)
    how = generated_nuisances(*numbers, **drawn)

    tests: list[tuple[PairSet, list[Factor]]] = []
    if asked := [generated_factors.known(name, how) for name in options.by if name in KNOWN]:
        tests.append((pairs, asked))
    if RESOLUTION in options.by:
        images, factor = generated_factors.lowered(pairs.images, options.seed)
        tests.append((dataclasses.replace(pairs, name=f"{pairs.name}_lowered", images=images), [factor]))
    console.print(f"{options.people:,} generated people from number {drawn['first_identity']}, {options.images} images "
                  f"of each, seed {options.seed}; network {model.name} of {model.description.origin.file}")  # fmt: skip
    result: dict[str, Any] = {"model": model.name, "weights": model.description.origin.file, "people": options.people}
    result |= {"images": options.images, **drawn, "tests": {}}
    for test, factors in tests:
        verified = test.evaluate(embed(test.images), FAR)
        console.print(summary_table({model.name: verified}, f"Verification on {test.name}"))
        counted = by_factor.report(console, test, verified, factors, options.parts, out)
        result["tests"][test.name] = result_dict(verified) | {"factors": counted}
    return result


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.factors", description=(__doc__ or "").split("\n")[0], allow_abbrev=False
    )
    parser.add_argument("--weights", type=Path, required=True, metavar="MODEL",
                        help="name of experiments.models, folder of a training run or of experiments.convert, or a "
                        "file of weights")  # fmt: skip
    add_manifest(parser)
    by_factor.add_options(parser, ALL, groups=False)
    parser.add_argument("--people", type=int, default=GENERATED_TEST["identities"], metavar="N",
                        help="how many (default %(default)s)")  # fmt: skip
    parser.add_argument("--images", type=int, default=GENERATED_TEST["images_per_identity"], metavar="N",
                        help="of each (default %(default)s)")  # fmt: skip
    parser.add_argument("--seed", type=int, default=0, help="of people, pairs and sides (default %(default)s)")
    parser.add_argument("--out", type=place, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--overwrite", action="store_true", help="replace the results that DIR holds")
    options = parser.parse_args(arguments)
    options.by = options.by or list(ALL)
    by_factor.check_options(options)
    if min(options.people, options.images) < 1 or options.seed < 0:
        raise ConfigError(f"--people {options.people} --images {options.images} --seed {options.seed}: at least one "
                          "person and image, and no negative seed.")  # fmt: skip
    return options


if __name__ == "__main__":
    cli.run(main)
