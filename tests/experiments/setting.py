"""Small runs of the mains for the tests: their options, what they print, and how they refuse."""

import contextlib
import io
import json
import socket
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from faces import cli
from faces.backbone import Network
from faces.config import ModelConfig
from faces.initialisers import linear_init
from faces.preprocessing import WHOLE, Preprocessing
from recognizer.model import Description, Model, NetworkConfig, Origin, write_model
from recognizer.networks import backbone_of

ONE_MATRIX = "iresnet_of_one_matrix"  # a name that is given `model.dropout`
OF_ALL = ["--optimiser.schedule", "constant", "--train.log-every", "1", "--train.checkpoint-every", "3"]
SMALL = {
    "facenet": [
        *("--config", "facenet/tiny", "--model.input-size", "16", "16", "--model.embedding-dim", "8"),
        *("--batch.images", "16", "--batch.images-per-identity", "4", "--batch.random-negatives", "4"),
        *("--train.evaluate-every", "0", *OF_ALL),
    ],
    "arcface": [
        *("--config", "arcface/tiny", "--model.input-size", "16", "16", "--model.embedding-dim", "8"),
        *("--batch.images", "16", "--train.evaluate-every", "0", *OF_ALL),
    ],
}


class OneMatrix(nn.Module):
    """A network that compiles at once, with what the mains must carry along: batch norm and dropout."""

    embedding_dim: int
    dtype: DTypeLike
    dropout: float = 0.0

    @nn.compact
    def __call__(self, images: jax.Array, train: bool) -> jax.Array:
        x = images.reshape(images.shape[0], -1)  # (B, H W 3)
        x = nn.Dropout(self.dropout, deterministic=not train)(x)
        x = nn.Dense(self.embedding_dim, kernel_init=linear_init, name="fc")(x)
        return nn.BatchNorm(use_running_average=not train, momentum=0.9, dtype=jnp.float32, name="norm")(x)


NETWORK = Network(OneMatrix, (16, 16))


def run(main: Callable[[list[str]], None], given: list[str]) -> list[str]:
    """The lines that a main prints."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        main(given)
    return printed.getvalue().strip().splitlines()


def run_in_parts(main: Callable[[list[str]], None], given: list[str], places: Path, processes: int) -> list[str]:
    """The lines that a command's processes print; they are threads here, with nothing but options in common.

    Their cache is `places/cache`, and the results of number N go to `places/ofN`.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        joined = ["--coordinator", f"127.0.0.1:{free.getsockname()[1]}", "--processes", str(processes), "--process"]

    def part(number: int) -> None:
        main([*given, "--cache", str(places / "cache"), "--out", str(places / f"of{number}"), *joined, str(number)])

    def together(_: list[str]) -> None:
        with ThreadPoolExecutor(processes) as pool:
            list(pool.map(part, range(processes)))

    return run(together, [])


def result_of(printed: list[str]) -> dict[str, Any]:
    """The numbers of the last line."""
    assert printed[-1].startswith("result: "), printed
    return json.loads(printed[-1].removeprefix("result: "))


def rows_of(path: Path) -> list[dict[str, Any]]:
    """The lines of a log."""
    return [json.loads(line) for line in path.read_text().splitlines()]


def refused(main: Callable[[list[str]], None], capsys: Any, given: list[str], *words: str) -> None:
    """Exit code 2, one sentence with these words, no traceback."""
    assert cli.exit_code(main, given) == 2
    message = capsys.readouterr().err.strip()
    assert message.startswith("error: ") and "Traceback" not in message and len(message.splitlines()) == 1, message
    for word in words:
        assert word in message, message


def one_matrix_model(folder: Path) -> Path:
    """A converted model's folder with `OneMatrix` in it, untrained; wants the fixture `one_matrix`."""
    config = ModelConfig(ONE_MATRIX, (16, 16), 8, "float32", "global")
    backbone = backbone_of(config, "arcface")
    params, batch_stats = jax.device_get(backbone.init(jax.random.key(0)))
    how = Preprocessing((16, 16), "rgb", 127.5, 128.0, "fixed_box", 0.0, 0, WHOLE, "sum")
    description = Description(NetworkConfig(ONE_MATRIX, 8), how, Origin("made for the tests", "0" * 64))
    write_model(Model(description, params, batch_stats, backbone.apply), folder)
    return folder
