"""What a training command refuses before it makes anything: networks, sizes and files of another kind."""

import pytest

import arcface_jax
import facenet_jax
from experiments import arcface, facenet
from faces.errors import ConfigError, DataError
from faces.toml_config import to_toml


@pytest.mark.parametrize(
    ("main", "arguments", "sentence"),
    [
        (facenet, ["--model.input-size", "1", "1"], r"^model\.input_size = \[1, 1\]: the layers of tiny cannot"),
        (facenet, ["--model.input-size", "21", "21"], r"^model\.input_size = \[21, 21\]: the layers of tiny cannot"),
        (facenet, ["--model.name", "inception_resnet_v1"], r"model\.input_size = \[48, 48\].*for \[160, 160\]"),
        (facenet, ["--model.name", "tinny"], 'there is no network "tinny"; the nearest is "tiny"'),
        (arcface, ["--head.sub-centres", "1000000000"], r"head\.sub_centres = 1000000000: a number of at least 1 and"),
        (arcface, ["--loss.classifier.m2", "1e9"], r"loss\.classifier\.m2 = 1000000000\.0: a number of at least 0"),
        (arcface, ["--loss.m2", "0.4"], r"--loss\.m2: no such option; did you mean '--loss\.classifier\.m2'"),
        (arcface, ["--model.batch-norm", "running"], r'model\.batch_norm = "running": .*no --init'),
    ],
)
def test_an_option(main, arguments, sentence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=sentence):
        main.main(arguments)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("paper", "values"),
    [
        ("facenet", {"model__input_size": (1, 1)}),
        ("facenet", {"model__input_size": (21, 21)}),
        ("facenet", {"model__name": "inception_resnet_v1"}),
        ("facenet", {"model__name": "tinny"}),
        ("facenet", {"model__batch_norm": "running"}),
        ("arcface", {"model__input_size": (21, 21)}),
        ("arcface", {"model__name": "iresnet_tin"}),
        ("arcface", {"model__batch_norm": "running"}),
        ("arcface", {"model__name": "mobilefacenet", "model__dropout": 0.5}),
    ],
)
def test_a_program_is_refused_in_the_same_words(paper, values, tmp_path, monkeypatch):
    """Before a face is opened."""
    monkeypatch.chdir(tmp_path)
    package, main = {"facenet": (facenet_jax, facenet), "arcface": (arcface_jax, arcface)}[paper]
    options = [word for path, value in values.items() for word in _option(path, value)]
    with pytest.raises(ConfigError) as of_main:
        main.main(options)
    with pytest.raises(ConfigError) as of_program:
        package.fit("nowhere", package.Config.load(f"{paper}/tiny").with_(**values))
    of_both = [str(refused.value).partition(" (all: ")[0] for refused in (of_main, of_program)]
    assert of_both[0] == of_both[1]  # but for the list of all networks, of which a main knows more


def _option(path, value):
    words = [str(one) for one in value] if isinstance(value, tuple) else [str(value)]
    return [f"--{path.replace('__', '.').replace('_', '-')}", *words]


def test_statistics_of_a_backbone_of_ones_own_may_stay():
    config = facenet_jax.Config.load("facenet/tiny").with_(model__batch_norm="running")
    with pytest.raises(DataError, match="nowhere: no such"):
        facenet_jax.fit("nowhere", config, backbone=facenet_jax.make_backbone("tiny", 64))


def test_a_config_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "mine").write_text(to_toml(facenet_jax.Config.load("facenet/tiny")))
    with pytest.raises(ConfigError, match=r"mine: a config file's name ends in \.toml; rename it to mine\.toml"):
        facenet.main(["--config", str(tmp_path / "mine")])
    (tmp_path / "mine").rename(tmp_path / "mine.toml")
    of_other = r"mine\.toml: a config of another paper \(facenet, not arcface\); run it with .*experiments\.facenet"
    with pytest.raises(ConfigError, match=of_other):
        arcface.main(["--config", str(tmp_path / "mine.toml")])
    with pytest.raises(ConfigError, match=of_other):
        arcface_jax.fit("nowhere", str(tmp_path / "mine.toml"))
    with pytest.raises(ConfigError, match="a config of another paper"):
        facenet_jax.fit("nowhere", "arcface/small")
    assert [path.name for path in tmp_path.iterdir()] == ["mine.toml"]
