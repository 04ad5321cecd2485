"""How quickly do photographs become batches, beside a loader of torchvision, and does any training wait for them?

    python -m benchmarks.loading [--data PREPARED] [--large PREPARED] [--rounds N] [--json FILE]

Decoded, changed at random and put into batches of 128: JPEGs of 112 x 112 pixels at their own size, and of 250 x 250
at 112. Two settings: mirrored alone, as ArcFace trains, and all that `arcface/small` asks for: mirror, shift, zoom,
rotation, colour. Ours reads a prepared dataset as a training does, with two threads. The peer is what one writes with
torchvision: a DataLoader with two worker processes, Pillow decoding to RGB, transforms for the same changes. It is
handed the encoded bytes in memory and reads no file. Both give bytes, uint8, which the device normalises.

Both loaders begin anew in each round; the peer's workers stay alive between rounds. What bounds both is the decoding:
OpenCV alone, in two threads, is timed in the same rounds.

The last row sets our rate against what training consumes: the step of `arcface/small`, the quickest of the README's
trainings on real faces, on the CPU. Without data, generated faces are encoded as JPEG and prepared. Without torchvision
ours is measured alone.

Not here: accelerators; what a prepared dataset is (`faces.data.prepared`).
"""

import argparse
import dataclasses
import importlib
import io
import json
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import jax
import numpy as np
from PIL import Image
from rich.table import Table

from arcface_jax.config import Config
from arcface_jax.train_step import init_state, make_train_step
from benchmarks.rounds import Call, Row, check_options, cores, take_turns
from faces import cli, outputs, run_record
from faces.config import AugmentConfig
from faces.data.image_folder import FolderSource
from faces.data.loader import make_loader
from faces.data.prepared import PreparedFaces
from faces.data.preparing import write_prepared
from faces.data.synthetic.generated import generated_faces
from faces.mesh import make_mesh, place_batch
from faces.terminal import make_console
from faces.toml_config import load_config
from recognizer.networks import backbone_of

jax.config.update("jax_platforms", "cpu")

SIZE, BATCH, BATCHES, WORKERS = 112, 128, 20, 2
IMAGES = BATCH * BATCHES  # of one call
TRAINED = "arcface/small"
MIRRORED = AugmentConfig(flip=True, shift=0.0, zoom=0.0, rotate=0.0, colour=0.0, jpeg_quality=0)
OURS, PEER, DECODING = "faces.data.loader", "torchvision, 2 workers", "OpenCV decoding alone"
GOAL = 2.0


class Setting(NamedTuple):
    """One comparison."""

    label: str
    faces: PreparedFaces
    order: np.ndarray  # int64 (BATCHES, BATCH), indices of images
    augment: AugmentConfig


class Encoded:
    """The peer's dataset: encoded images in memory, decoded by Pillow and changed by torchvision."""

    def __init__(self, images: list[bytes], transform: Any):
        self._images, self._transform = images, transform

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, index: int) -> tuple[Any, int]:
        return self._transform(Image.open(io.BytesIO(self._images[index])).convert("RGB")), index


def encoded_images(setting: Setting) -> list[bytes]:
    """The bytes of a setting's images, in its order."""
    return [setting.faces.encoded(index) for index in setting.order.ravel().tolist()]


def make_ours(setting: Setting) -> Call:
    """A run of our loader through all batches."""

    def call() -> None:
        loader = make_loader(setting.faces, lambda epoch: setting.order, BATCHES, (SIZE, SIZE), setting.augment, 0)
        assert sum(len(batch["images"]) for batch in loader) == IMAGES

    return call


def make_peer(setting: Setting) -> Call | None:
    """A run of the peer's loader through the same images; None where torchvision is not installed."""
    try:
        data, transforms = (importlib.import_module(name) for name in ("torch.utils.data", "torchvision.transforms"))
    except ImportError:
        return None
    augment = setting.augment
    steps = [] if setting.faces[0].shape[:2] == (SIZE, SIZE) else [transforms.Resize((SIZE, SIZE))]
    steps.append(transforms.RandomHorizontalFlip())
    if augment.rotate:
        shift, zoom = (augment.shift,) * 2, (1 - augment.zoom, 1 + augment.zoom)
        bilinear = transforms.InterpolationMode.BILINEAR
        steps.append(transforms.RandomAffine(augment.rotate, shift, zoom, interpolation=bilinear))
    if augment.colour:
        steps.append(transforms.ColorJitter(*[augment.colour] * 3))
    transform = transforms.Compose([*steps, transforms.PILToTensor()])
    loader = data.DataLoader(
        Encoded(encoded_images(setting), transform),
        BATCH,
        num_workers=WORKERS,
        persistent_workers=True,
        multiprocessing_context="spawn",  # XLA's threads do not survive a fork
    )

    def call() -> None:
        assert sum(len(images) for images, _ in loader) == IMAGES

    return call


def make_decoding(setting: Setting) -> Call:
    """The decoding alone of the same images, divided among as many threads."""
    images = [np.frombuffer(image, np.uint8) for image in encoded_images(setting)]

    def decode(first: int) -> None:
        for image in images[first::WORKERS]:
            cv2.imdecode(image, cv2.IMREAD_COLOR)

    pool = ThreadPoolExecutor(WORKERS)
    return lambda: list(pool.map(decode, range(WORKERS)))


def step_rate(rounds: int) -> float:
    """Images a second of the training step of `TRAINED` with nothing to wait for: the median step."""
    config, _ = load_config(TRAINED, Config)
    mesh, classes, random = make_mesh(1), 1000, np.random.default_rng(0)
    backbone = backbone_of(config.model, "arcface", config.model.dropout)
    step = make_train_step(config, mesh, backbone, classes)
    state = init_state(config, mesh, backbone, classes)
    images = random.integers(0, 256, (config.batch.images, *config.model.input_size, 3), dtype=np.uint8)
    batch = {"images": images, "identities": random.integers(0, classes, len(images)).astype(np.int32)}
    seconds = []
    for _ in range(rounds + 2):
        placed, start = place_batch(mesh, batch), time.perf_counter()
        state, metrics = step(state, placed)
        jax.block_until_ready(metrics)
        seconds.append(time.perf_counter() - start)
    return len(images) / float(np.median(seconds[2:]))  # the first two compile and touch new memory


@contextmanager
def prepared(path: Path | None, side: int) -> Iterator[PreparedFaces]:
    """The prepared dataset at a path; without one, generated faces of so many pixels as JPEG, prepared for the time."""
    if path is not None:
        yield PreparedFaces(path)
        return
    faces = generated_faces(identities=40, images_per_identity=16, size=side, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        for index, identity in enumerate(faces.identities.tolist()):
            person = Path(folder) / "photographs" / str(identity)
            person.mkdir(parents=True, exist_ok=True)
            Image.fromarray(faces[index]).save(person / f"{index}.jpg", quality=90)
        write_prepared(FolderSource(Path(folder) / "photographs"), Path(folder) / "prepared")
        yield PreparedFaces(Path(folder) / "prepared")


def measure(setting: Setting, rounds: int) -> tuple[dict[str, float], list[Row]]:
    """Images a second of each at the median round, and the row of the table."""
    peer = make_peer(setting)
    calls = {OURS: make_ours(setting), DECODING: make_decoding(setting)} | ({PEER: peer} if peer else {})
    times = take_turns(calls, rounds, budget=120.0)
    rates = {name: IMAGES / times[name]["median_ms"] * 1e3 for name in times}
    if peer is None:
        return rates, []
    remark = f"{rates[OURS] / rates[DECODING]:.2f} of {DECODING}, {rates[DECODING]:,.0f} images/s"
    work = f"decode, augment, batch: {setting.label}"
    return rates, [Row(work, PEER, rates[OURS], rates[PEER], "images/s", GOAL, remark)]


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    description = (__doc__ or "").split("\n")[0]
    parser = argparse.ArgumentParser(prog="python -m benchmarks.loading", description=description)
    parser.add_argument("--data", type=Path, metavar="PREPARED", help="prepared images of 112 x 112 pixels")
    parser.add_argument("--large", type=Path, metavar="PREPARED", help="prepared images of 250 x 250 pixels, as LFW's")
    parser.add_argument("--rounds", type=int, default=7, metavar="N", help="rounds per comparison (default 7)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers to this file as well")
    options = parser.parse_args(arguments)
    check_options(parser, options)
    return options


def main(arguments: list[str]) -> None:
    options = parse(arguments)
    console = make_console()
    everything = load_config(TRAINED, Config)[0].augment
    rows, measured = [], {}
    table = Table("", title=f"Images a second, {cores()} cores")
    for title in (OURS, PEER, DECODING):
        table.add_column(title, justify="right")
    for path, side in ((options.data, 112), (options.large, 250)):
        with prepared(path, side) as faces:
            order = np.random.default_rng(0).integers(0, len(faces), (BATCHES, BATCH))
            for changes, augment in (("mirrored", MIRRORED), ("all changes", everything)):
                setting = Setting(f"{side} x {side} JPEG to {SIZE}, {changes}", faces, order, augment)
                with console.status(setting.label):
                    measured[setting.label], found = measure(setting, options.rounds)
                rows += found
                rates = measured[setting.label]
                cells = (f"{rates[name]:,.0f}" if name in rates else "" for name in (OURS, PEER, DECODING))
                table.add_row(setting.label, *cells)
    console.print(table)
    if not rows:
        console.print("torchvision is not installed, so ours is measured alone: pip install torchvision")
    with console.status(f"training step of {TRAINED}"):
        consumed = step_rate(options.rounds)
    slowest = min(rates[OURS] for rates in measured.values())
    rows.append(Row("the slowest of these loads", f"training step, {TRAINED}", slowest, consumed, "images/s", 1.0))
    console.print(f"A training of {TRAINED} takes {consumed:,.0f} images/s; the slowest load gives {slowest:,.0f}.")
    result = {
        "rows": [dataclasses.asdict(row) | {"ratio": row.ratio} for row in rows],
        "images_per_second": measured,
        "environment": run_record.environment(),
    }
    if options.json:
        outputs.write_json(options.json, result)
    console.print(f"result: {json.dumps(result)}", markup=False)


if __name__ == "__main__":
    cli.run(main)
