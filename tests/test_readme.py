"""Every command of the README is one that the mains take, and every file it points to exists."""

import re
import shlex
from pathlib import Path

import pytest

from experiments import facenet, prepare
from facenet_jax import models

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"^```\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
COMMANDS = [line for block in BLOCKS for line in block.splitlines()]


def test_the_two_first_commands():
    assert COMMANDS[0] == "pip install . && python -m experiments.facenet"
    assert COMMANDS[1] == 'pip install ".[test]" && pytest'


@pytest.mark.parametrize("command", [line for line in COMMANDS if "python -m" in line])
def test_commands_parse(command: str):
    _, _, module, *arguments = shlex.split(command.split("&&")[-1])
    if module == "experiments.facenet":
        facenet.parse(arguments)
    elif module == "experiments.prepare":
        prepare.parse(arguments)
    else:
        assert module == "facenet_jax.models" and arguments[0] in models.NETWORKS


@pytest.mark.parametrize("link", re.findall(r"\]\(([^)]+)\)", README))
def test_links_exist(link: str):
    assert (ROOT / link).exists()
