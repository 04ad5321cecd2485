"""What the mains that train a detector share: command line, folder, resuming on the same data, WIDER FACE's numbers.

Not here: the training and test images (`detection_data.py`), training (`retinaface.py`, `mtcnn.py`).
"""

import argparse
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console

from experiments.common.arguments import add_log, config_of, named_path, place
from experiments.common.detection_data import TestSet, photographs, scenes
from experiments.common.overrides import override, parse_overrides
from faces.data.chunks import chunks
from faces.data.wider import WiderFaces, open_wider, read_subset
from faces.detect.detections import Detections, Detector, chosen
from faces.detect.examples import Examples
from faces.errors import CheckpointError, DataError
from faces.evaluate.detection import wider_curve
from faces.run_record import read_json
from faces.schema import AnyConfig, flatten
from faces.terminal import make_progress
from faces.toml_config import read_toml

SCENES = 4096
"""To train on, unless the command line says how many."""
SUBSETS = ("easy", "medium", "hard")
_GROUND_TRUTH = ("ground_truth", "eval_tools/ground_truth", ".")
"""Where in WIDER FACE's folder the subsets' files may lie."""
_AT_ONCE = 16  # photographs in memory at a time, at most


def parse(
    main: str, schema: type[AnyConfig], of_scenes: str, of_data: str, example: str, arguments: list[str]
) -> tuple[argparse.Namespace, AnyConfig]:
    """The command line of a main: options of the run, and the config with its overrides.

    Args:
        main: "mtcnn" or "retinaface".
        schema: the paper's `Config`.
        of_scenes, of_data: configs taken without and with `--data`.
        example: of an option for a value of the config.
        arguments: what was given.

    Raises:
        ConfigError: a config that does not exist, is another paper's, or makes no sense with the overrides.
    """
    title = {"mtcnn": "MTCNN's three networks", "retinaface": "RetinaFace"}[main]
    parser = argparse.ArgumentParser(
        prog=f"python -m experiments.{main}",
        description=f"Train {title} on scenes composed of faces, or on WIDER FACE, and test the detector.",
        epilog=f"Every field of the config is an option too, e.g. --optimiser.learning-rate 0.02 {example}.",
        allow_abbrev=False,
    )
    parser.add_argument("--config", help=f"name in paper_configs/ or a TOML file (default {of_scenes}, or {of_data} "
                        "with --data)")  # fmt: skip
    _add_options(parser)
    options, values = parse_overrides(parser, schema, arguments)
    _check_options(parser, options)
    options.scenes = options.scenes or SCENES
    options.config = options.config or (of_data if options.data else of_scenes)
    return options, override(config_of(main, options.config, schema), values)


def open_images(options: argparse.Namespace, size: int, seed: int, console: Console) -> tuple[Examples, TestSet]:
    """Training and test images: photographs of `--data`, or scenes of so many pixels a side."""
    if options.data:
        return photographs(options.data, options.labels, seed, options.test)
    return scenes(options.faces, size, seed, options.scenes, options.test, console)


def _add_options(parser: argparse.ArgumentParser) -> None:
    """Data, scenes, evaluation, folder and devices of a run."""
    parser.add_argument("--data", type=Path, metavar="DIR", help="folder with WIDER_train, WIDER_val and "
                        "wider_face_split; default: scenes")  # fmt: skip
    parser.add_argument("--labels", type=Path, metavar="DIR", help="with --data: RetinaFace's annotations, a folder "
                        "with train/label.txt; without them no points are learnt")  # fmt: skip
    parser.add_argument("--faces", type=Path, metavar="DIR", help="faces for scenes: a prepared dataset, an image "
                        "folder or a .rec; default: generated faces")  # fmt: skip
    parser.add_argument("--scenes", type=int, metavar="N", help=f"scenes to train on (default {SCENES})")
    parser.add_argument("--test", type=int, default=256, metavar="N", help="test images (default 256)")
    parser.add_argument("--eval", metavar="wider=DIR", type=named_path, help="test the trained detector on WIDER "
                        "FACE's validation part: a folder with WIDER_val, wider_face_split and, in ground_truth, "
                        "wider_easy_val.mat and the like")  # fmt: skip
    parser.add_argument("--out", type=place, required=True, help="folder of the run")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    add_log(parser)
    parser.add_argument("--devices", type=int, help="use so many devices (default: all)")


def _check_options(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Refuse what does not go together."""
    if min(1 if options.scenes is None else options.scenes, options.test) < 1:
        parser.error("--scenes and --test: at least 1 is expected")
    if options.data and options.scenes is not None:
        parser.error("--scenes: belongs to runs on scenes; with --data the photographs are all of WIDER FACE's")
    if options.data and options.faces:
        parser.error("--data and --faces: one of them is expected")
    if options.labels and not options.data:
        parser.error("--labels: belongs to --data")
    if options.eval and options.eval[0] != "wider":
        parser.error(f"--eval {options.eval[0]}: wider=DIR is expected")


def data_record(examples: Examples, test: TestSet) -> dict[str, str]:
    """What identifies a run's data: names, a digest of all files, and of the first and last image and their boxes."""
    pixels = hashlib.sha256(str(len(examples)).encode())
    for index in (0, len(examples) - 1):
        one = examples.example(index)
        pixels.update(one.image.tobytes() + one.boxes.tobytes() + one.points.tobytes())
    return {"training_set": examples.name, "test": test.name, "files": test.files, "pictures": pixels.hexdigest()}


def check_same(folder: Path, record: dict[str, str], config: Any) -> None:
    """Refuse to go on with a run on other data, or with another config, than it began with.

    Args:
        folder: of the run.
        record: of `data_record`, which `environment.json` has kept.
        config: of which lengths, logging and checkpoints may differ here; those of a network are its checkpoint's
            matter.

    Raises:
        CheckpointError: what is other.
        DataError, ConfigError: a record of the run is damaged.
    """
    if not any((folder / name).exists() for name in ("config.toml", "environment.json")):
        return  # it ended before anything was recorded
    before, now = flatten(read_toml(folder / "config.toml")), json.loads(json.dumps(flatten(config)))
    other = [
        f"{key} = {before.get(key)!r}, and this asks for {now.get(key)!r}"
        for key in sorted(before.keys() | now.keys())
        if before.get(key) != now.get(key) and not key.endswith(_MAY_DIFFER)
    ]
    if other:
        raise CheckpointError(
            f"{folder}: the run began with {'; with '.join(other)}; resume with the same config, or start in another "
            "folder."
        )
    kept = read_json(folder / "environment.json")
    if not isinstance(kept, dict):
        raise DataError(f"{folder}/environment.json: is damaged; restore the file, or start in another folder.")
    told = {
        "training_set": f"trains on {kept.get('training_set')}, not on {record['training_set']}",
        "test": f"is tested on {kept.get('test')}, not on {record['test']}",
        "files": "was made of other files: since then people or images were added, removed, renamed or replaced",
        "pictures": f"has seen other images of {record['training_set']} than are there now",
    }
    for key, sentence in told.items():
        if kept.get(key) != record[key]:
            raise CheckpointError(f"{folder}: the run {sentence}; resume with its data, or start in another folder.")


_MAY_DIFFER = (".steps", ".log_every", ".evaluate_every", ".checkpoint_every", ".most_not_finite", ".patience")


@dataclass(frozen=True)
class WiderTest:
    """WIDER FACE's validation part.

    Attributes:
        faces: images and boxes.
        counted: of each subset, which boxes of each image it counts.
    """

    faces: WiderFaces
    counted: dict[str, list[np.ndarray]]


def open_wider_test(root: Path) -> WiderTest:
    """The official annotations and the three subsets.

    Raises:
        DataError: files that are absent or malformed; images that are missing.
    """
    faces = open_wider(root, "val")
    if missing := faces.missing:
        raise DataError(
            f"{faces.root}: {len(missing):,} of {len(faces):,} images are missing, the first {missing[0]}; unpack "
            f"WIDER_val.zip in {root}."
        )
    folders = [root / place for place in _GROUND_TRUTH]
    folder = next((one for one in folders if (one / "wider_easy_val.mat").is_file()), None)
    if folder is None:
        raise DataError(f"{folders[0]}: no wider_easy_val.mat; put ground_truth of WIDER FACE's eval_tools.zip there.")
    return WiderTest(faces, {name: read_subset(folder / f"wider_{name}_val.mat", faces.images) for name in SUBSETS})


def evaluate_wider(detect: Detector, test: WiderTest, console: Console) -> dict[str, Any]:
    """AP of the three subsets at the images' own size, with the numbers of images and of counted faces."""
    found, images = list[Detections](), test.faces.images
    with make_progress(console) as bar:
        rows = bar.track(range(len(images)), description="WIDER FACE")
        for group in chunks(map(test.faces.load, rows), lambda image: image.shape[0] * image.shape[1], _AT_ONCE):
            found += detect(group)
    boxes = [image.boxes for image in images]
    curves = {name: wider_curve(found, boxes, marks) for name, marks in test.counted.items()}
    numbers = {name: curve.average_precision for name, curve in curves.items()}
    console.print(
        f"WIDER FACE, {len(images):,} images of {test.faces.root}: "
        + ", ".join(f"{name} {numbers[name]:.4f} of {curves[name].faces:,} faces" for name in SUBSETS)
    )
    return numbers | {"images": len(images), "faces": {name: curve.faces for name, curve in curves.items()}}


def surest(found: Detections, score: float = 0.5) -> Detections:
    """Those detections that one would call faces."""
    return chosen(found, found.scores > score)


def numbers_of(result: dict[str, float]) -> str:
    """As a line of words and numbers."""
    return ", ".join(f"{name} {value:.4f}" for name, value in result.items())


def in_groups(count: int, size: int) -> Sequence[range]:
    """0 .. count - 1 in ranges of `size` or fewer."""
    return [range(start, min(start + size, count)) for start in range(0, count, size)]
