"""Config files: what is accepted, what is refused and in which words, and the way back to TOML."""

import dataclasses
import re
from pathlib import Path

import pytest

from facenet_jax.config import Config
from faces import toml_config as config
from faces.errors import ConfigError
from faces.schema import flatten
from tests.faces.configs import tiny

TEXT = config.to_toml(tiny())


def write(folder, text, name="mine.toml"):
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return str(path)


def replaced(line, by):
    """The tiny config's text with one line exchanged."""
    assert TEXT.count(line + "\n") == 1
    return TEXT.replace(line + "\n", by + "\n")


def test_a_file_of_ones_own(tmp_path):
    made, sources = config.load_config(write(tmp_path, replaced("embedding_dim = 64", "embedding_dim = 32")), Config)
    assert made == tiny(model__embedding_dim=32)
    assert sources == {}


def test_whole_numbers_serve_as_numbers_but_not_the_other_way(tmp_path):
    made, _ = config.load_config(write(tmp_path, replaced("alpha = 0.2", "alpha = 1")), Config)
    assert type(made.loss.alpha) is float and made.loss.alpha == 1.0
    with pytest.raises(ConfigError, match=r"train\.steps: a whole number is expected, 250\.0 found"):
        config.load_config(write(tmp_path, replaced("steps = 250", "steps = 250.0")), Config)


@pytest.mark.parametrize(
    ("line", "by", "message"),
    [
        ("alpha = 0.2", "alpah = 0.2", "unknown key 'loss.alpah'; did you mean 'alpha'?"),
        ("alpha = 0.2", "alpha = 0.2\nzzz = 1", "unknown key 'loss.zzz'; known are kind, alpha, mining, reduction, cl"),
        ("classifier_weight = 0.0", "classifier = 0.0", "unknown key 'loss.classifier'; did you mean 'classifier_w"),
        ("[loss]", "[los]", "unknown key 'los'; did you mean 'loss'?"),
        ("alpha = 0.2", "", "key 'loss.alpha' is missing."),
        ("alpha = 0.2", 'alpha = "0.2"', "loss.alpha: a number is expected, '0.2' found."),
        ("alpha = 0.2", "alpha = true", "loss.alpha: a number is expected, True found."),
        ("seed = 0", "seed = true", "train.seed: a whole number is expected, True found."),
        ("seed = 0", "seed = [0]", "train.seed: a whole number is expected, [0] found."),
        ('name = "tiny"', "name = 3", "model.name: a string is expected, 3 found."),
        ("flip = true", "flip = 1", "augment.flip: true or false is expected, 1 found."),
        ("input_size = [48, 48]", "input_size = 48", "model.input_size: a list of 2 values is expected, 48 found."),
        ("input_size = [48, 48]", "input_size = [48]", "model.input_size: a list of 2 values is expected, [48] found."),
        ("input_size = [48, 48]", "input_size = [48, 0.5]", "model.input_size: a whole number is expected, 0.5 found."),
        ("decay_steps = []", "decay_steps = 5", "optimiser.decay_steps: a list is expected, 5 found."),
        ("decay_steps = []", 'decay_steps = ["5"]', "optimiser.decay_steps: a whole number is expected, '5' found."),
        ('dtype = "float32"', 'dtype = "float23"', "model.dtype = 'float23'; did you mean 'float32'?"),
        ('dtype = "float32"', 'dtype = "!"', "model.dtype = '!'; known are float32, bfloat16."),
        ('dtype = "float32"', "dtype = 32", "model.dtype = 32; did you mean 'float32'?"),
        ("[loss]", "[loss", "not valid TOML: "),
        ("alpha = 0.2", "alpha = -0.2", "loss.alpha = -0.2: a number above 0 and at most 4 is expected."),
    ],
)
def test_a_wrong_file_is_refused_in_one_sentence(tmp_path, line, by, message):
    path = write(tmp_path, replaced(line, by))
    with pytest.raises(ConfigError, match="^" + re.escape(f"{path}: {message}")):
        config.load_config(path, Config)


def test_a_value_where_a_table_belongs(tmp_path):
    for source in ("", 'source = "ours"\n'):
        path = write(tmp_path, source + "model = 3\n" + TEXT[TEXT.index("[batch]"):])  # fmt: skip
        with pytest.raises(ConfigError, match=r"mine\.toml: model: a table \[model\] is expected\."):
            config.load_config(path, Config)


def test_bytes_that_are_no_text_and_a_file_that_is_not_there(tmp_path):
    (tmp_path / "mine.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(ConfigError, match=r"mine\.toml: not valid TOML"):
        config.load_config(str(tmp_path / "mine.toml"), Config)
    with pytest.raises(ConfigError, match=r"absent\.toml: no such config file\."):
        config.load_config(str(tmp_path / "absent.toml"), Config)


def test_a_base_gives_what_the_file_leaves_out(tmp_path):
    write(tmp_path, TEXT + '[source.loss]\nalpha = "first"\nmining = "first"\n', "first.toml")
    second = 'base = "first"\n[loss]\nalpha = 0.4\n[train]\nsteps = 5\nseed = 5\n[source.loss]\nalpha = "second"\n'
    write(tmp_path, second, "second.toml")
    third = 'base = "second"\n[optimiser]\ndecay_steps = [5, 9]\n[train]\nseed = 6\n'
    made, sources = config.load_config(write(tmp_path, third, "third.toml"), Config)
    assert made == tiny(loss__alpha=0.4, train__steps=5, train__seed=6, optimiser__decay_steps=(5, 9))
    assert sources == {"loss": {"alpha": "second", "mining": "first"}}


def test_a_base_with_one_source_for_all_gives_it_to_each_value(tmp_path):
    write(tmp_path, 'source = "ours: a guess"\n' + TEXT, "first.toml")
    second = 'base = "first"\n[loss]\nalpha = 0.4\n[source.loss]\nalpha = "second"\n'
    made, sources = config.load_config(write(tmp_path, second, "second.toml"), Config)
    flat = flatten(sources)
    assert set(flat) == set(flatten(made)) and flat.pop("loss.alpha") == "second"
    assert set(flat.values()) == {"ours: a guess"}


@pytest.mark.parametrize("files", [
    {"a": "a"},
    {"a": "b", "b": "a"},
    {"a": "b", "b": "c", "c": "b"},
    {"a": "../{folder}/a"},
])  # fmt: skip
def test_a_base_that_leads_back(tmp_path, files):
    for name, base in files.items():
        write(tmp_path, f'base = "{base.format(folder=tmp_path.name)}"\n' + TEXT, f"{name}.toml")
    with pytest.raises(ConfigError, match="leads back to this file"):
        config.load_config(str(tmp_path / "a.toml"), Config)


def test_a_base_that_is_not_there_or_no_name(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.toml: cannot be read: No such file"):
        config.load_config(write(tmp_path, 'base = "absent"\n' + TEXT), Config)
    with pytest.raises(ConfigError, match="base: the name of a file beside this one is expected, 3 found"):
        config.load_config(write(tmp_path, "base = 3\n" + TEXT), Config)


def test_one_source_for_all_values(tmp_path):
    made, sources = config.load_config(write(tmp_path, 'source = "ours: a guess"\n' + TEXT), Config)
    assert made == tiny()
    assert {key: list(values) for key, values in sources.items()} == {
        table: [key for key, value in values.items() if value is not None]
        for table, values in dataclasses.asdict(made).items()
    }
    assert set(flatten(sources).values()) == {"ours: a guess"}
    with pytest.raises(ConfigError, match=r"mine\.toml: source: a sentence or a table is expected, 3 found\."):
        config.load_config(write(tmp_path, "source = 3\n" + TEXT), Config)


@pytest.mark.parametrize("changes", [
    {},
    {"optimiser__learning_rate": 1e-7, "evaluation__far": 1e-5, "data__images": 10**9},
    {"optimiser__decay_steps": (3, 10**6), "model__name": 'a "name" \\ é', "augment__flip": False},
])  # fmt: skip
def test_to_toml_and_back(tmp_path, changes):
    made = tiny(**changes)
    assert config.load_config(write(tmp_path, config.to_toml(made)), Config) == (made, {})


def test_a_changed_file_is_seen_by_its_last_line(tmp_path):
    text = config.with_sum(TEXT)
    assert config.load_config(write(tmp_path, text), Config)[0] == tiny()
    words = r"mine\.toml: is not as it was written, by the checksum .* take that line out if you have changed it"
    other, longer, shorter = text.replace("alpha = 0.2", "alpha = 0.6"), text.replace("above: ", "above: 0"), text[:-2]
    for changed in (other, longer, shorter, text + "\n"):
        with pytest.raises(ConfigError, match=words):
            config.read_toml(write(tmp_path, changed))
    by_hand = TEXT.replace("alpha = 0.2", "alpha = 0.6")
    assert config.load_config(write(tmp_path, by_hand), Config)[0] == tiny(loss__alpha=0.6)


def test_shipped_configs_are_found_by_name():
    names = config.shipped_configs()
    assert {"facenet/nn1", "facenet/nn2", "facenet/tiny"} <= set(names)
    for name in names:
        assert config.find_config(name).read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("facenet/nm2", "config 'facenet/nm2': not in paper_configs/; did you mean 'facenet/n"),
        ("facenet/tny", "config 'facenet/tny': not in paper_configs/; did you mean 'facenet/tiny'?"),
        ("tiny", "config 'tiny': not in paper_configs/; did you mean 'facenet/tiny'?"),
        ("!", "config '!': not in paper_configs/; known are arcface/"),
    ],
)
def test_a_mistyped_name(name, message):
    with pytest.raises(ConfigError, match="^" + re.escape(message)):
        config.find_config(name)


def test_a_path_is_the_users_own_file_wherever_it_lies(tmp_path, monkeypatch):
    write(tmp_path, TEXT, "nn2.toml")
    monkeypatch.chdir(tmp_path)
    assert config.find_config("nn2.toml").samefile(tmp_path / "nn2.toml")
    assert config.find_config("facenet/nn2").parent.name == "facenet"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = " + "[" * 5000, "within each other without end|not valid TOML"),
        ("a = " + "[" * 60 + "]" * 60, "more than 32 levels"),
        (".".join(["a"] * 50_000) + " = 1", "line 1: a key of more than 32 names joined by dots"),
        ("\n[" + " . ".join(["'a'"] * 50) + "]", "line 2: a key of more than 32 names"),
        ("a = " + "9" * 5000, "not valid TOML"),
        ("a = 1\n" * 60_000, "cannot be read: .*more than the"),
        ("a = '\x1b[2J'", r"not valid TOML: .*\\x1b"),
    ],
)
def test_toml_without_end_is_refused(tmp_path: Path, text: str, words: str):
    path = write(tmp_path, text)
    with pytest.raises(ConfigError, match=words) as caught:
        config.read_toml(path)
    assert "\x1b" not in str(caught.value)


def test_many_dots_are_no_long_key(tmp_path: Path):
    text = f"a = [{', '.join(['0.25'] * 100)}]\n# {'.' * 100}\nb = '{'.' * 100}'\n"
    assert config.read_toml(write(tmp_path, text))["b"] == "." * 100


def test_a_long_chain_of_bases_is_refused(tmp_path: Path):
    for number in range(20):
        (tmp_path / f"c{number}.toml").write_text(f'base = "c{number + 1}"\n')
    with pytest.raises(ConfigError, match="the 16th file that builds on another"):
        config.load_config(str(tmp_path / "c0.toml"), Config)
    for base in ("a\\u0000b", "x" * 5000):
        with pytest.raises(ConfigError, match="base: the name of a file beside this one is expected"):
            config.load_config(str(write(tmp_path, f'base = "{base}"\n')), Config)
