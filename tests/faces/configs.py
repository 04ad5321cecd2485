"""The tiny config with changes, for tests of what reads a config."""

import dataclasses
from typing import Any

from facenet_jax.config import Config
from faces.toml_config import load_config


def tiny(**changes: Any) -> Config:
    """The config "facenet/tiny"; changes as "section__field"."""
    config, _ = load_config("facenet/tiny", Config)
    for key, value in changes.items():
        section, field = key.split("__")
        config = dataclasses.replace(
            config, **{section: dataclasses.replace(getattr(config, section), **{field: value})}
        )
    return config
