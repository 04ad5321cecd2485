"""Commands of the README and of RESULTS.md are those that the mains take, and what the README points to exists."""

import dataclasses
import re
import shlex
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import arcface_jax.models
import facenet_jax.models
from experiments import (
    angles,
    arcface,
    cluster,
    convert,
    detect,
    evaluate,
    export,
    facenet,
    factors,
    identify,
    ijb,
    image_quality,
    megaface,
    models,
    mtcnn,
    overlap,
    people,
    prepare,
    retinaface,
    search,
    thresholds,
    variations,
    ytf,
)
from faces.detect.looks import Sizes
from recognizer.description import Verification
from recognizer.detector_identity import make_record
from recognizer.model import open_model, write_model
from tests.experiments.setting import one_matrix_model
from tests.retinaface_jax.oracle import random_tensors

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "RESULTS.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Lines of the blocks without a language."""
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


COMMANDS = commands(README)
MAINS = (
    facenet, arcface, prepare, convert, export, detect, evaluate, image_quality, ytf, identify, ijb, megaface,
    retinaface, mtcnn, cluster, search, angles, models, overlap, people, thresholds, variations, factors,
)  # fmt: skip
PARSERS = {main.__name__.removeprefix("experiments."): main.parse for main in MAINS}
NETWORKS = {f"{package.__name__}": package.NETWORKS for package in (facenet_jax.models, arcface_jax.models)}


def test_the_first_commands():
    training = ["pip install . && python -m experiments.facenet", "python -m experiments.arcface"]
    lfw, people, tests = COMMANDS[2:5]
    assert COMMANDS[:2] == training and lfw.startswith("python -m experiments.evaluate --weights model-0000.params ")
    assert people == 'pip install ".[weights]" && python -m experiments.people PHOTOGRAPHS'
    assert tests == 'pip install ".[test]" && pytest'


@pytest.mark.parametrize("command", [line for line in COMMANDS if "python -m" in line])
def test_commands_parse(command: str):
    _, _, module, *arguments = shlex.split(command.split("&&")[-1])
    if module.startswith("examples."):
        assert not arguments and (ROOT / module.replace(".", "/")).with_suffix(".py").is_file()
    elif module.startswith("experiments."):
        PARSERS[module.removeprefix("experiments.")](arguments)
    else:
        assert arguments[0] in NETWORKS[module]


RERUN = [line for line in commands(RESULTS) if any(f"experiments.{name} " in line for name in PARSERS)]


@pytest.mark.parametrize("command", RERUN)
def test_commands_of_results_parse(command: str):
    """What was run can be run again."""
    _, module, *arguments = shlex.split(command.partition("python ")[2])
    PARSERS[module.removeprefix("experiments.")](arguments)


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_exist(link: str):
    assert (ROOT / link).exists()


READMES = [ROOT / "README.md", *sorted(ROOT.glob("*/README.md"))]


def snippets(readme: Path) -> list[str]:
    """Blocks of Python."""
    text = readme.read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == text.count("```python")
    return blocks


WITH_SNIPPETS = [readme for readme in READMES if snippets(readme)]


def make_files(folder: Path) -> None:
    """What the snippets open: a model and a detector with random weights, pictures of noise; wants `one_matrix`."""
    model = open_model(one_matrix_model(folder / "of_whole_pictures"))
    by_the_face = dataclasses.replace(model.preprocessing, alignment="five_points")
    (folder / "models").mkdir()
    described = dataclasses.replace(model.description, preprocessing=by_the_face, verification=Verification(0.35))
    write_model(dataclasses.replace(model, description=described), folder / "models" / "y1")
    with (folder / "mobilenet0.25_Final.pth").open("wb") as file:
        np.savez(file, **random_tensors(0), **make_record("retinaface_mobilenet025", Sizes(16, 512)))
    rng = np.random.default_rng(0)
    for name in ("a", "b", "party"):
        cv2.imwrite(str(folder / f"{name}.jpg"), rng.integers(0, 256, (64, 64, 3)).astype(np.uint8))


@pytest.mark.parametrize("readme", WITH_SNIPPETS, ids=[str(path.relative_to(ROOT)) for path in WITH_SNIPPETS])
def test_snippets_of_python_run(readme: Path, tmp_path: Path, monkeypatch, one_matrix: list[str]):
    """One after the other, as they are read; what they promise of their results holds, and no file is left."""
    make_files(tmp_path)
    before = sorted(tmp_path.iterdir())
    monkeypatch.chdir(tmp_path)
    names: dict[str, Any] = {}
    for block in snippets(readme):
        exec(compile(block, str(readme), "exec"), names)
    PROMISED[str(readme.relative_to(ROOT))](names)
    assert sorted(tmp_path.iterdir()) == before


def of_readme(names: dict[str, Any]) -> None:
    x, compared, face = names["x"], names["compared"], names["face"]
    assert x.shape == (2, 8) and x.dtype == np.float32 and np.allclose(np.linalg.norm(x, axis=1), 1, atol=1e-5)
    assert compared.cosine == pytest.approx(x[0] @ x[1], abs=1e-6) and compared.same is (compared.cosine >= 0.35)
    assert face.box.shape == (4,) and face.points.shape == (5, 2) and face.embedding.shape == (8,) and face.score > 0.5
    assert names["loss"].shape == () and names["per_image"].shape == (12,) and names["logits"].shape == (12, 1000)
    lengths = np.linalg.norm(names["mine"], axis=1)
    assert lengths.shape == (40,) and names["mine"].shape[1] == 64
    np.testing.assert_allclose(lengths, 1, atol=1e-6)
    assert names["losses"][1] < names["losses"][0]


def of_facenet(names: dict[str, Any]) -> None:
    assert names["n"] == 2
    np.testing.assert_allclose(names["per_triplet"], [0.1], atol=1e-6)


def of_arcface(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(names["logit"], [33.3, 1.5], atol=0.05)
    assert names["per_image"][2] > 30 > 1e-3 > names["per_image"][:2].max()


def of_mtcnn(names: dict[str, Any]) -> None:
    np.testing.assert_allclose(names["terms"][:3], [0.127, 0.04, 0.1], atol=5e-4)


def of_retinaface(names: dict[str, Any]) -> None:
    assert names["anchors"].shape == (168, 4)
    np.testing.assert_array_equal(names["own"], [[12, 12, 16, 16]])
    np.testing.assert_allclose(names["offsets"], [[1.25, 0, 0, 3.47]], atol=5e-3)
    np.testing.assert_allclose(names["box"], names["face"], atol=1e-4)


def of_scrfd(names: dict[str, Any]) -> None:
    assert names["places"].shape == (168, 3)
    np.testing.assert_array_equal(names["own"], [[8, 8, 8]])
    np.testing.assert_array_equal(names["box"], [[0, 4, 24, 32]])


PROMISED = {
    "README.md": of_readme,
    "facenet_jax/README.md": of_facenet,
    "arcface_jax/README.md": of_arcface,
    "mtcnn_jax/README.md": of_mtcnn,
    "retinaface_jax/README.md": of_retinaface,
    "scrfd_jax/README.md": of_scrfd,
}
