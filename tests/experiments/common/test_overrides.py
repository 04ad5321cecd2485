"""Values of a config on the command line: how they are written, what is refused, and what `--help` says of them."""

import argparse
import re
from dataclasses import dataclass, field
from typing import Literal

import pytest

from experiments import arcface
from experiments.common.overrides import override, parse_overrides
from facenet_jax.config import Config
from faces.errors import ConfigError
from faces.schema import Checked
from tests.faces.configs import tiny


def parse(*words, schema=Config):
    parser = argparse.ArgumentParser(prog="main", allow_abbrev=False)
    parser.add_argument("--out")
    parser.add_argument("--resume", action="store_true", help="go on")
    return parse_overrides(parser, schema, list(words))


@pytest.mark.parametrize(
    ("words", "changes"),
    [
        ([], {}),
        (["--optimiser.learning-rate", "0.5"], {"optimiser__learning_rate": 0.5}),
        (["--optimiser.learning_rate", "0.5"], {"optimiser__learning_rate": 0.5}),
        (["--optimiser.learning_rate=1e-3"], {"optimiser__learning_rate": 1e-3}),
        (["--loss.alpha", "1"], {"loss__alpha": 1.0}),
        (["--train.steps", "3", "--train.steps", "5"], {"train__steps": 5}),
        (["--model.input-size", "16", "24"], {"model__input_size": (16, 24)}),
        (["--optimiser.decay-steps", "3", "5", "--train.seed", "0"], {"optimiser__decay_steps": (3, 5)}),
        (["--optimiser.decay-steps"], {"optimiser__decay_steps": ()}),
        (["--augment.no-flip"], {"augment__flip": False}),
        (["--augment.no-flip", "--augment.flip"], {}),
        (["--model.name", "3"], {"model__name": "3"}),
        (["--model.name=a_b.c_d"], {"model__name": "a_b.c_d"}),
        (["--loss.mining", "hardest"], {"loss__mining": "hardest"}),
    ],
)  # fmt: skip
def test_values_by_their_paths(words, changes):
    options, values = parse("--out", "there", *words)
    assert options == argparse.Namespace(out="there", resume=False)
    assert override(tiny(), values) == tiny(**changes)


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--loss.alpah", "0.3"], "--loss.alpah: no such option; did you mean '--loss.alpha'?"),
        (["--learning-rate", "0.3"], "--learning-rate: no such option; did you mean '--optimiser.learning-rate'?"),
        (["--otu", "there"], "--otu: no such option; did you mean '--out'?"),
        (["there"], "there: no such option; "),
        (["--train.steps", "2.5"], "command line: train.steps: a whole number is expected, 2.5 found."),
        (["--train.steps", "many"], "command line: train.steps: a whole number is expected, 'many' found."),
        (["--model.input-size", "16"], "command line: model.input_size: a list of 2 values is expected, [16] found."),
        (["--loss.mining", "hard"], "command line: loss.mining = 'hard'; did you mean 'hardest'?"),
        (["--loss.alpha=-1"], "command line: loss.alpha = -1.0: a number above 0 and at most 4 is expected."),
        (["--train.seed", "-1"], "command line: train.seed = -1: a number of at least 0"),
    ],
)
def test_what_is_refused(words, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        override(tiny(), parse(*words)[1])


@pytest.mark.parametrize(
    ("option", "meant"),
    [
        ("--loss.m2", "--loss.classifier.m2"),
        ("--loss.s", "--loss.classifier.s"),
        ("--loss.margin-ramp-steps", "--loss.classifier.margin-ramp-steps"),
        ("--loss.classifier", "--loss.classifier.kind"),
        ("--m2", "--loss.classifier.m2"),
    ],
)
def test_options_of_an_earlier_version_name_those_of_now(option, meant):
    with pytest.raises(ConfigError, match=f"^{option}: no such option; did you mean '{meant}'"):
        arcface.parse([option, "1"])


def test_help_lists_every_value(capsys):
    with pytest.raises(SystemExit):
        parse("--help")
    said = " ".join(capsys.readouterr().out.split())
    assert said.startswith("usage: main [-h] [--out OUT] [--resume] [--TABLE.KEY VALUE ...] ")
    assert '--loss.alpha ALPHA of kind "triplet": Margin between squared distances.' in said
    assert "--augment.no-flip" in said and "--model.dtype float32|bfloat16" in said
    assert "--batch.images IMAGES B: images in a batch." in said, "of the base class"


@dataclass(frozen=True)
class Round:
    kind: Literal["round"] = field(default="round", kw_only=True)
    radius: float
    """From the middle; 50% of it."""


@dataclass(frozen=True)
class Nothing:
    kind: Literal["nothing"] = field(default="nothing", kw_only=True)


@dataclass(frozen=True)
class Drawing:
    shape: Round | Nothing
    """What is drawn."""


@dataclass(frozen=True)
class Sheet(Checked):
    drawing: Drawing


def test_tables_of_several_kinds(capsys):
    nothing, small = Sheet(Drawing(Nothing())), Sheet(Drawing(Round(1.0)))
    _, values = parse("--drawing.shape.kind", "round", "--drawing.shape.radius", "1", schema=Sheet)
    assert override(nothing, values) == override(small, values) == small
    _, values = parse("--drawing.shape.radius", "1", schema=Sheet)
    with pytest.raises(ConfigError, match=r"shape\.radius: belongs to kind 'round', and kind is 'nothing' here"):
        override(nothing, values)
    with pytest.raises(SystemExit):
        parse("--help", schema=Sheet)
    said = " ".join(capsys.readouterr().out.split())
    assert "[drawing.shape]: --drawing.shape.kind round|nothing What is drawn." in said
    assert 'RADIUS of kind "round": From the middle; 50% of it.' in said
