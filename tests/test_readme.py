"""Commands of the README and of RESULTS.md are those that the mains take, and what the README points to exists."""

import re
import shlex
from pathlib import Path

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
    facenet,
    identify,
    ijb,
    image_quality,
    megaface,
    mtcnn,
    prepare,
    retinaface,
    search,
    ytf,
)

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
RESULTS = (ROOT / "RESULTS.md").read_text(encoding="utf-8")


def commands(text: str) -> list[str]:
    """Lines of the blocks without a language."""
    blocks = re.findall(r"^```\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.replace("\\\n", "").splitlines()]


COMMANDS = commands(README)
MAINS = (
    facenet, arcface, prepare, convert, detect, evaluate, image_quality, ytf, identify, ijb, megaface,
    retinaface, mtcnn, cluster, search, angles,
)  # fmt: skip
PARSERS = {main.__name__.removeprefix("experiments."): main.parse for main in MAINS}
NETWORKS = {f"{package.__name__}": package.NETWORKS for package in (facenet_jax.models, arcface_jax.models)}


def test_the_first_commands():
    runs = ["pip install . && python -m experiments.facenet", "python -m experiments.arcface"]
    assert COMMANDS[:3] == [*runs, 'pip install ".[test]" && pytest']


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


def test_snippets_of_python_run():
    """One after the other, as they are read."""
    names: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    assert len(blocks) == README.count("```python") > 1
    for block in blocks:
        exec(compile(block, "README.md", "exec"), names)
    assert names["loss"].shape == () and names["per_image"].shape == (12,) and names["logits"].shape == (12, 1000)
