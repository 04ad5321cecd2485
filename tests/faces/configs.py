"""The tiny config with changes, for tests of what reads a config."""

from typing import Any

from facenet_jax.config import Config
from faces.toml_config import load_config


def tiny(**changes: Any) -> Config:
    """The config "facenet/tiny"; changes as for `with_`."""
    config, _ = load_config("facenet/tiny", Config)
    return config.with_(**changes)
