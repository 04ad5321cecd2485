"""What a training command refuses before it makes anything: networks, sizes and files of another kind."""

import pytest

import arcface_jax
import facenet_jax
from experiments import arcface, facenet
from faces.errors import ConfigError
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
