"""Every number of every config lies in a range: walked field by field, whatever the schema."""

import argparse
import dataclasses
import random
import re
import typing

import numpy as np
import pytest

import arcface_jax.config
import facenet_jax.config
import mtcnn_jax.config
import retinaface_jax.config
from experiments.common.overrides import override, parse_overrides
from faces.errors import ConfigError
from faces.ranges import Range, outside, range_of
from faces.schema import build, kinds_of, without_none
from faces.toml_config import paper_of, shipped_configs
from recognizer.description import Description
from recognizer.manifest import Entry
from tests.faces.configs import tiny

SCHEMAS = {
    "facenet": facenet_jax.config.Config,
    "arcface": arcface_jax.config.Config,
    "mtcnn": mtcnn_jax.config.Config,
    "retinaface": retinaface_jax.config.Config,
    "model": Description,
    "manifest": Entry,
}
OF_PAPERS = ("facenet/tiny", "arcface/tiny", "mtcnn/scenes", "retinaface/paper")
SHIPPED = {name.split("/")[0]: name for name in OF_PAPERS}


def tables_of(schema):
    """All tables that a schema may hold."""
    yield schema
    for hint in typing.get_type_hints(schema).values():
        hint, _ = without_none(hint)
        for one in kinds_of(hint).values() if kinds_of(hint) else [hint]:
            if dataclasses.is_dataclass(one):
                yield from tables_of(one)


def leaves(hint):
    inside = typing.get_args(hint)
    return {hint} if not inside or typing.get_origin(hint) is typing.Literal else set().union(*map(leaves, inside))


def numbers_of(table):
    """Name, types and range of each field of numbers."""
    plain, whole = typing.get_type_hints(table), typing.get_type_hints(table, include_extras=True)
    for name, hint in plain.items():
        if leaves(hint) & {int, float}:
            yield name, leaves(hint), range_of(whole[name])


@pytest.mark.parametrize("schema", SCHEMAS.values(), ids=SCHEMAS)
def test_every_number_has_a_range(schema):
    without = [(table.__name__, name) for table in tables_of(schema) for name, _, r in numbers_of(table) if r is None]
    assert not without


def paths_of(config, place=""):
    """Path, value, types and range of each number in a config."""
    for name, types_, allowed in numbers_of(type(config)):
        yield f"{place}{name}", getattr(config, name), types_, allowed
    for field in dataclasses.fields(config):
        if dataclasses.is_dataclass(value := getattr(config, field.name)):
            yield from paths_of(value, f"{place}{field.name}.")


@pytest.mark.parametrize("paper", SHIPPED)
def test_what_is_outside_of_a_range_is_refused_and_what_is_inside_is_not(paper):
    config = SCHEMAS[paper].load(SHIPPED[paper])
    draw = random.Random(0)
    for path, now, types_, allowed in paths_of(config):
        assert allowed is not None
        is_whole = float not in types_
        far = 10**20 if is_whole else 1e20
        wrong = [far, -far, allowed.low - 1, allowed.high + 1]
        wrong += [] if is_whole else [float("nan"), float("inf"), -float("inf")]
        wrong += [allowed.low] * allowed.above + [allowed.high] * allowed.below
        for value in wrong:
            value = int(value) if is_whole else float(value)
            given = [value] * (len(now) or 1) if isinstance(now, tuple) else value
            with pytest.raises(ConfigError, match=re.escape(f"{path} = ")) as refused:
                config.with_(**{path: given})
            assert str(allowed) in str(refused.value)
        for _ in range(5):
            value = draw.uniform(allowed.low, allowed.high)
            value = int(value) if is_whole else value
            given = tuple([value] * (len(now) or 1)) if isinstance(now, tuple) else value
            *tables, key = path.split(".")
            table = config
            for name in tables:
                table = getattr(table, name)
            assert outside(dataclasses.replace(table, **{key: given})) is None


@pytest.mark.parametrize("name", shipped_configs())
def test_what_is_shipped_lies_well_inside(name):
    assert outside(SCHEMAS[paper_of(name)].load(name)) is None


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("--optimiser.momentum", "5"), ("--optimiser.clip-norm", "-1"), ("--evaluation.pixels", "-5"),
        ("--optimiser.decay-steps", "-3"), ("--loss.alpha", "nan"), ("--data.mean", "inf"),
        ("--train.seed", "9" * 20), ("--train.steps", "9" * 20), ("--train.steps", "9" * 5000),
    ],
)  # fmt: skip
def test_an_option_outside_of_its_range(option, value):
    parser = argparse.ArgumentParser(allow_abbrev=False)
    given = [option, value] if "steps" in option else [f"{option}={value}"]
    _, values = parse_overrides(parser, facenet_jax.config.Config, given)
    path = option[2:].replace("-", "_")
    with pytest.raises(ConfigError, match=rf"^command line: {re.escape(path)}.*expected"):
        override(tiny(), values)


def test_numbers_of_numpy_are_numbers():
    made = tiny().with_(loss__alpha=np.float32(0.5), train__steps=np.int64(7), model__input_size=np.array([32, 40]))
    assert (made.loss.alpha, made.train.steps, made.model.input_size) == (0.5, 7, (32, 40))
    assert tiny().with_(augment__flip=np.bool_(True)).augment.flip is True
    with pytest.raises(ConfigError, match=r"train\.steps: a whole number is expected, 7\.0 found"):
        tiny().with_(train__steps=np.float64(7))


def test_a_key_that_lies_deeper_is_named():
    config = arcface_jax.config.Config.load("arcface/tiny")
    with pytest.raises(ConfigError, match=r"unknown key 'loss\.m2'; did you mean 'loss\.classifier\.m2'\?"):
        config.with_(loss__m2=0.4)
    tables = dataclasses.asdict(config) | {"loss": {"classifier": "margin", "m2": 0.5}}
    with pytest.raises(ConfigError, match=r"did you mean 'loss\.classifier\.m2'\?"):
        build(arcface_jax.config.Config, tables)


def test_a_range_in_words():
    assert str(Range(0, 1, above=True, below=True)) == "above 0 and below 1"
    assert str(Range(1, 9)) == "of at least 1 and at most 9"
