"""Configs as tables of values: what a change by its path accepts and refuses, tables of several kinds, and rules."""

import re
from dataclasses import dataclass, field, replace
from typing import Literal

import pytest

from faces.config import ModelConfig, TrainConfig
from faces.errors import ConfigError
from faces.schema import Checked, build, changed, check, difference, flatten
from faces.toml_config import load_config, to_toml
from tests.faces.configs import tiny


@dataclass(frozen=True)
class Round:
    kind: Literal["round"] = field(default="round", kw_only=True)
    radius: float


@dataclass(frozen=True)
class Square:
    kind: Literal["square"] = field(default="square", kw_only=True)
    side: float
    corners: int


@dataclass(frozen=True)
class Nothing:
    kind: Literal["nothing"] = field(default="nothing", kw_only=True)


@dataclass(frozen=True)
class Drawing:
    shape: Round | Square | Nothing
    name: str


@dataclass(frozen=True)
class Sheet(Checked):
    drawing: Drawing

    def rules(self):
        shape = self.drawing.shape
        return [(not isinstance(shape, Round) or shape.radius > 0, "drawing.shape.radius: must be positive")]


SHEET = Sheet(Drawing(Square(2.0, 4), "a"))


def test_a_value_by_its_path():
    made = tiny().with_(optimiser__learning_rate=0.5, loss__alpha=1, optimiser__decay_steps=[3, 5])
    assert (made.optimiser.learning_rate, made.loss.alpha, made.optimiser.decay_steps) == (0.5, 1.0, (3, 5))
    assert type(made.loss.alpha) is float and type(made) is type(tiny())
    assert set(difference(tiny(), made)) == {"optimiser.learning_rate", "loss.alpha", "optimiser.decay_steps"}
    assert made == tiny().with_(**{"optimiser.learning_rate": 0.5, "loss.alpha": 1, "optimiser.decay_steps": (3, 5)})
    assert tiny().with_() == tiny()


def test_a_table_may_be_given_whole():
    train = TrainConfig(steps=3, seed=1, log_every=1, evaluate_every=0, checkpoint_every=0)
    assert tiny().with_(train=train).train == train
    assert tiny().with_(train=train, train__steps=9).train == replace(train, steps=9)
    assert tiny().with_(train__steps=9, train=train).train == replace(train, steps=9)
    assert SHEET.with_(drawing__shape=Round(3.0)) == Sheet(Drawing(Round(3.0), "a"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"optimiser__lerning_rate": 1.0}, "unknown key 'optimiser.lerning_rate'; did you mean 'learning_rate'?"),
        ({"optimizer__learning_rate": 1.0}, "unknown key 'optimizer.learning_rate'; did you mean 'optimiser.learn"),
        ({"learning_rate": 1.0}, "unknown key 'learning_rate'; did you mean 'optimiser.learning_rate'?"),
        ({"optimizer": tiny().optimiser}, "unknown key 'optimizer'; did you mean 'optimiser'?"),
        ({"loss__alpha": "0.3"}, "loss.alpha: a number is expected, '0.3' found."),
        ({"loss__alpha__x": 1}, "loss.alpha: a number is expected, {'x': 1} found."),
        ({"loss": 3}, "loss: a table [loss] whose kind is one of triplet, contrastive, "),
        ({"loss": 3, "loss__alpha": 0.1}, "loss.alpha: lies in a table that is given a value itself."),
        ({"loss__alpha": 0.1, "loss": 3}, "loss.alpha: lies in a table that is given a value itself."),
        ({"train__steps": 2.5}, "train.steps: a whole number is expected, 2.5 found."),
        ({"train__steps": True}, "train.steps: a whole number is expected, True found."),
        ({"model__input_size": (3, 3, 3)}, "model.input_size: a list of 2 values is expected, (3, 3, 3) found."),
        ({"model__dtype": "float23"}, "model.dtype = 'float23'; did you mean 'float32'?"),
        ({"batch": tiny().train}, "unknown key 'batch.steps'; known are images"),
        ({"model": ModelConfig("tiny", (0, 0), 8, "float32", "none")}, "model.input_size = [0, 0]: numbers of"),
        ({"loss__alpha": -1.0}, "loss.alpha = -1.0: a number above 0 and at most 4 is expected."),
    ],
)
def test_a_change_that_is_refused(values, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        tiny().with_(**values)


def test_values_that_hold_only_together_are_changed_together():
    with pytest.raises(ConfigError, match=r"batch\.random_negatives: fewer"):
        tiny().with_(batch__images=8)
    assert tiny().with_(batch__images=8, batch__random_negatives=2).batch.images == 8


def test_where_is_named():
    with pytest.raises(ConfigError, match=r"^command line: loss\.alpha = 0\.0: a number above 0.*expected\.$"):
        changed(tiny(), {"loss.alpha": 0.0}, "command line")


def test_a_table_of_another_kind_begins_anew():
    assert SHEET.with_(drawing__shape__kind="nothing") == Sheet(Drawing(Nothing(), "a"))
    turned = SHEET.with_(drawing__shape__kind="round", drawing__shape__radius=1)
    assert turned == Sheet(Drawing(Round(1.0), "a"))
    assert SHEET.with_(drawing__shape__kind="square", drawing__shape__corners=5) == Sheet(Drawing(Square(2.0, 5), "a"))
    assert difference(SHEET, turned) == {
        "drawing.shape.kind": ("square", "round"),
        "drawing.shape.side": (2.0, None),
        "drawing.shape.corners": (4, None),
        "drawing.shape.radius": (None, 1.0),
    }


@pytest.mark.parametrize(
    ("shape", "sentence"),
    [
        ({"kind": "rond", "radius": 1.0}, "drawing.shape.kind = 'rond'; known are round, square, nothing."),
        ({"kind": ["round"], "radius": 1.0}, "drawing.shape.kind = ['round']; known are round, square, nothing."),
        ({"radius": 1.0}, "key 'drawing.shape.kind' is missing; known are round, square, nothing."),
        ({"kind": "round", "side": 1.0}, "drawing.shape.side: belongs to kind 'square', and kind is 'round' here."),
        ({"kind": "nothing", "side": 1}, "drawing.shape.side: belongs to kind 'square', and kind is 'nothing' here."),
        ({"kind": "round", "raduis": 1.0}, "unknown key 'drawing.shape.raduis'; did you mean 'radius'?"),
        ({"kind": "square", "side": 1.0}, "key 'drawing.shape.corners' is missing."),
        ({"kind": "round", "radius": "1"}, "drawing.shape.radius: a number is expected, '1' found."),
        ({"kind": "round", "radius": 0}, "drawing.shape.radius: must be positive."),
        (3, "drawing.shape: a table [drawing.shape] whose kind is one of round, square, nothing is expected."),
    ],
)
def test_a_table_of_one_of_several_kinds(shape, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(f"there: {sentence}")):
        build(Sheet, {"drawing": {"name": "a", "shape": shape}}, "there")


def test_a_key_of_another_kind_by_its_path():
    with pytest.raises(ConfigError, match=r"^drawing\.shape\.radius: belongs to kind 'round', and kind is 'square'"):
        SHEET.with_(drawing__shape__radius=1.0)


def test_tables_in_tables_go_to_toml_and_back(tmp_path):
    text = to_toml(SHEET)
    assert text == '[drawing]\nname = "a"\n\n[drawing.shape]\nkind = "square"\nside = 2.0\ncorners = 4\n'
    (tmp_path / "mine.toml").write_text(text)
    assert load_config(str(tmp_path / "mine.toml"), Sheet) == (SHEET, {})


def test_a_file_that_turns_a_table_of_its_base_to_another_kind(tmp_path):
    sources = '[source.drawing]\nname = "first"\n[source.drawing.shape]\n'
    sources += "".join(f'{key} = "first"\n' for key in ("kind", "side", "corners"))
    (tmp_path / "first.toml").write_text(to_toml(SHEET) + sources)
    for values, wanted, told in (
        ('kind = "round"\nradius = 1\n', Round(1.0), {"kind": "second", "radius": "second"}),
        ("side = 3\n", Square(3.0, 4), {"kind": "first", "side": "second", "corners": "first"}),
        ('kind = "square"\nside = 3\n', Square(3.0, 4), {"kind": "second", "side": "second", "corners": "first"}),
    ):
        own = "".join(f'{line.split(" ")[0]} = "second"\n' for line in values.splitlines())
        text = f'base = "first"\n[drawing.shape]\n{values}[source.drawing.shape]\n{own}'
        (tmp_path / "second.toml").write_text(text)
        made, sources_of = load_config(str(tmp_path / "second.toml"), Sheet)
        assert made == Sheet(Drawing(wanted, "a"))
        assert sources_of == {"drawing": {"name": "first", "shape": told}}
        assert set(flatten(sources_of)) == set(flatten(made))


def test_one_source_for_all_tables(tmp_path):
    (tmp_path / "mine.toml").write_text('source = "ours"\n' + to_toml(SHEET))
    _, sources = load_config(str(tmp_path / "mine.toml"), Sheet)
    assert flatten(sources) == dict.fromkeys(flatten(SHEET), "ours")


def test_difference():
    other = tiny(loss__alpha=0.3, optimiser__decay_steps=(5,))
    assert difference(tiny(), tiny()) == {}
    assert difference(tiny(), other) == {"loss.alpha": (0.2, 0.3), "optimiser.decay_steps": ((), (5,))}


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch__images": 1, "batch__random_negatives": 0}, "batch.images: at least 2"),
        ({"batch__images_per_identity": 1}, "batch.images_per_identity = 1: a number of at least 2"),
        ({"batch__random_negatives": 128}, "batch.random_negatives: fewer than batch.images are needed"),
        ({"batch__random_negatives": -1}, "batch.random_negatives = -1: a number of at least 0"),
        ({"model__batch_norm": "none", "batch__micro_batch": -64}, "batch.micro_batch = -64: a number of at least 0"),
        ({"model__batch_norm": "none", "batch__micro_batch": 48}, "batch.micro_batch: must divide batch.images"),
        ({"model__batch_norm": "none", "batch__micro_batch": 256}, "batch.micro_batch: must divide batch.images"),
        ({"model__input_size": (48, 0)}, "model.input_size = [48, 0]: numbers of at least 1"),
        ({"model__embedding_dim": 0}, "model.embedding_dim = 0: a number of at least 1"),
        ({"loss__alpha": 0.0}, "loss.alpha = 0.0: a number above 0"),
        ({"loss__classifier_weight": 0.1, "optimiser__name": "muon"}, 'optimiser.name: "muon" is for a network alone'),
        ({"loss__alpha": float("nan")}, "loss.alpha = nan: a number above 0"),
        ({"train__steps": 0}, "train.steps = 0: a number of at least 1"),
        ({"train__log_every": 0}, "train.log_every = 0: a number of at least 1"),
        ({"data__scale": 0.0}, "data.scale = 0.0: a number above 0"),
        ({"optimiser__learning_rate": 0.0}, "optimiser.learning_rate = 0.0: a number above 0"),
        ({"optimiser__warmup_steps": -1}, "optimiser.warmup_steps = -1: a number of at least 0"),
        ({"optimiser__decay": 0.0}, "optimiser.decay = 0.0: a number above 0"),
        ({"augment__zoom": 1.0}, "augment.zoom = 1.0: a number of at least 0 and below 1"),
        ({"augment__jpeg_quality": 96}, "augment.jpeg_quality = 96: a number of at least 0 and at most 95"),
        ({"evaluation__crop": (0.8, 0.2, 0.2, 0.8)}, "evaluation.crop: left, top, right, bottom"),
        ({"train__seed": -1}, "train.seed = -1: a number of at least 0"),
        ({"evaluation__far": 0.0}, "evaluation.far = 0.0: a number above 0"),
        ({"evaluation__far": 1.0}, "evaluation.far = 1.0: a number above 0 and below 1"),
        ({"model__batch_norm": "global", "batch__micro_batch": 64}, "batch.micro_batch: the gradient cache is"),
        ({"model__batch_norm": "per_device", "batch__micro_batch": 64}, "batch.micro_batch: the gradient cache is"),
    ],
)
def test_values_that_make_no_sense(changes, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        tiny(**changes)
    broken = tiny()
    for path, value in changes.items():
        table, key = path.split("__")
        broken = replace(broken, **{table: replace(getattr(broken, table), **{key: value})})
    with pytest.raises(ConfigError, match="^" + re.escape(f"there: {sentence}")):
        check(broken, "there")


@pytest.mark.parametrize("changes", [
    {},
    {"batch__images": 2, "batch__images_per_identity": 2, "batch__random_negatives": 1},
    {"model__batch_norm": "none", "batch__micro_batch": 32},
    {"train__evaluate_every": 0, "train__checkpoint_every": 0},
])  # fmt: skip
def test_values_that_do(changes):
    made = tiny(**changes)
    assert check(made, "there") is made


@dataclass(frozen=True)
class Signature:
    name: str


@dataclass(frozen=True)
class Signed(Checked):
    drawing: Drawing
    signature: Signature | None = None
    frame: Round | Square | None = None


def test_a_table_that_may_be_left_out(tmp_path):
    drawing = {"name": "a", "shape": {"kind": "nothing"}}
    bare = build(Signed, {"drawing": drawing})
    assert bare == Signed(Drawing(Nothing(), "a")) and "signature" not in to_toml(bare)
    whole = build(Signed, {"drawing": drawing, "signature": {"name": "b"}, "frame": {"kind": "round", "radius": 1}})
    assert whole == Signed(Drawing(Nothing(), "a"), Signature("b"), Round(1.0))
    for made in (bare, whole):
        (tmp_path / "mine.toml").write_text(to_toml(made))
        assert load_config(str(tmp_path / "mine.toml"), Signed) == (made, {})
    assert bare.with_(signature__name="b", frame=Round(1.0)) == whole
    with pytest.raises(ConfigError, match=r"^signature: a table \[signature\] is expected"):
        build(Signed, {"drawing": drawing, "signature": 3})
    with pytest.raises(ConfigError, match=r"^key 'signature\.name' is missing"):
        build(Signed, {"drawing": drawing, "signature": {}})
