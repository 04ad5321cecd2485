"""Commands one after the other in a process of their own, which tells what sockets were made: `python -m ... FOLDER`.

Not here: what is expected of them (`test_private.py`).
"""

import json
import os
import socket
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

SOCKETS: list[str] = []


def hear(event: str, given: tuple[Any, ...]) -> None:
    """Python's audit hook; the pairs of sockets by which an event loop wakes itself lead nowhere else."""
    is_of_loop = event == "socket.__new__" and given[1] == socket.AF_UNIX
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")) and not is_of_loop:
        SOCKETS.append(event)


def open_sockets() -> list[str]:
    """Sockets of this process, libraries in C++ included, but for those within the machine; of Linux alone."""
    places = Path("/proc/self/fd")
    if not places.exists():
        return []
    local = {line.split()[6] for line in Path("/proc/self/net/unix").read_text().splitlines()[1:]}
    links = [os.readlink(place) for place in places.iterdir() if os.path.lexists(place)]  # noqa: PTH115
    return [link for link in links if link.startswith("socket:") and link[8:-1] not in local]


def detect_all(images: Sequence[np.ndarray]) -> list[Any]:
    """A detector that finds one face in the middle of every image."""
    from faces.detect.detections import Detections

    points = np.array([[[7, 8], [17, 8], [12, 12], [8, 17], [16, 17]]], np.float32)
    return [Detections(np.array([[2, 2, 22, 22]], np.float32), points, np.array([0.9], np.float32)) for _ in images]


def make_people(folder: Path) -> None:
    """Five people of flat colour and noise, four pictures of each but the last, and a list of two folds."""
    rng = np.random.default_rng(0)
    for person, colour in enumerate(([30, 60, 200], [200, 40, 60], [60, 200, 40], [210, 210, 60], [20, 20, 20])):
        (folder / f"P_{person}").mkdir(parents=True)
        for number in range(1, 5 if person < 4 else 2):
            pixels = np.clip(np.array(colour) + rng.integers(-30, 30, size=(24, 24, 3)), 0, 255).astype(np.uint8)
            cv2.imwrite(str(folder / f"P_{person}" / f"P_{person}_{number:04d}.png"), pixels)
    lines = ["2\t2"]
    for a, b in ((0, 1), (2, 3)):
        lines += [f"P_{a}\t1\t2", f"P_{b}\t1\t2", f"P_{a}\t1\tP_{b}\t1", f"P_{a}\t2\tP_{b}\t2"]
    (folder / "pairs.txt").write_text("\n".join(lines) + "\n")


def stand_in(patch: pytest.MonkeyPatch) -> None:
    """A network of one matrix under a name, and a detector that is always the same one."""
    import arcface_jax.models
    from experiments import detect
    from experiments.common import aligning
    from recognizer import pipeline
    from tests.experiments import setting

    patch.setitem(arcface_jax.models.NETWORKS, setting.ONE_MATRIX, setting.NETWORK)
    for module in (pipeline, detect, aligning):
        patch.setattr(module, "open_detector", lambda *_, **__: detect_all)


def main(root: Path) -> None:
    """Run them in `root / "out"` and print, as JSON, their exit codes and what the hook and the system tell."""
    sys.addaudithook(hear)
    from experiments import (
        arcface,
        cluster,
        convert,
        detect,
        evaluate,
        export,
        facenet,
        identify,
        mtcnn,
        pairs,
        people,
        prepare,
        retinaface,
        search,
    )
    from faces import cli
    from faces.private import keep_private
    from tests.experiments import setting, test_mtcnn, test_retinaface
    from tests.recognizer import test_model

    keep_private()  # as `cli.run` does
    patch = pytest.MonkeyPatch()
    stand_in(patch)
    test_model.know_iresnet4(patch)
    for module in (test_mtcnn, test_retinaface):
        module.make_small(patch)
    faces, out = root / "people", root / "out"
    make_people(faces)
    (root / "detector").write_bytes(b"made up")
    model = str(setting.one_matrix_model(out / "models" / "model"))
    looks = ["--detector", "retinaface", "--detector-weights", str(root / "detector")]
    cut = ["--weights", model, "--cache", str(out / "cache"), *looks, "--alignment", "box_margin"]
    index = str(out / "enrol" / "index.npz")
    network = ["--model.name", setting.ONE_MATRIX, "--train.steps", "3", "--data", str(faces)]
    one = ["--devices", "1"]
    np.savez(root / "published.npz", **test_model.TENSORS)
    commands: dict[str, tuple[Any, list[str]]] = {
        "prepare": (prepare, [str(faces)]),
        "align": (prepare, [str(faces), *looks, "--least-face", "8", "--least-detail", "0"]),
        "arcface": (arcface, [*setting.SMALL["arcface"], *network]),
        "facenet": (facenet, [*setting.SMALL["facenet"], *network]),
        "retinaface": (retinaface, [*test_retinaface.SMALL, "--scenes", "8", "--train.steps", "2", *one]),
        "mtcnn": (mtcnn, [*test_mtcnn.SMALL, "--scenes", "16", *one]),
        "convert": (convert, [str(root / "published.npz")]),
        "detect": (detect, [str(faces), *looks]),
        "evaluate": (evaluate, ["--data", f"lfw={faces}", *cut]),
        "identify": (identify, ["--data", str(faces), "--whole", "0", *cut]),
        "enrol": (search, ["enrol", str(faces), *cut, "--allow-missing"]),
        "find": (search, ["find", str(faces), "--index", index, "--threshold", "0", *cut]),
        "cluster": (cluster, [str(faces), "--threshold", "0.5", *cut]),
        "people": (people, [str(faces), "--threshold", "0.5", *cut]),
        "pairs": (pairs, [str(faces)]),
    }
    if there := [kind for kind, package in (("stablehlo", "flatbuffers"), ("onnx", "jax2onnx")) if find_spec(package)]:
        commands["export"] = (export, [model, "--format", *there])
    codes: dict[str, int] = {}
    for name, (command, given) in commands.items():
        where = "--to" if command in (convert, export) else "--out"
        codes[name] = cli.exit_code(command.main, [*given, where, str(out / name)])
    codes["forget"] = cli.exit_code(search.main, ["forget", "P_1", "--index", index, "--cache", str(out / "cache")])
    heard = list(SOCKETS)
    socket.socket().close()  # which the hook hears
    print("told: " + json.dumps([codes, heard, open_sockets(), SOCKETS[len(heard) :]]))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
