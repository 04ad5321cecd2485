"""By what the best checkpoint of a run is chosen, and going on with a run that has none."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import pytest

from experiments import arcface
from experiments.common import checkpoints, verification
from faces.checkpoint import Checkpoints
from faces.errors import CheckpointError, ConfigError
from faces.keep import Keep
from faces.outputs import write_text
from faces.run_record import Log
from faces.toml_config import to_toml
from faces.train_state import TrainState
from tests.faces.configs import tiny


def test_what_is_logged_of_an_evaluation_chooses_the_best(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(verification, "brief", lambda results: {"accuracy": next(iter(results.values())).accuracy})
    accuracies, asked = {"cfp": 0.5, "agedb": 0.6, "lfw": 0.9}, list[list[str]]()

    def evaluate(state: Any, tests: Any) -> dict[str, Any]:
        asked.append([test.name for test in tests])
        return {test.name: SimpleNamespace(accuracy=accuracies[test.name]) for test in tests}

    tests: Any = [SimpleNamespace(name=name) for name in accuracies]
    state: Any = None
    assert verification.on_the_way(evaluate, tests, Keep(), state) == {"accuracy": 0.5}
    keep = Keep(best="lfw")
    row = verification.on_the_way(evaluate, tests, keep, state)
    assert row == {"accuracy": 0.5, "lfw_accuracy": 0.9} and asked == [["cfp"], ["cfp", "lfw"]]
    log = Log(tmp_path, "evaluations.jsonl", 0)
    log.add({"step": 3, "minutes": 0.1, **row})
    log.add({"step": 6, "minutes": 0.2, "accuracy": 1.0})  # of a part of the run that kept by nothing
    assert checkpoints.scores(tmp_path, Keep()) == {}
    assert keep.of([3, 6, 9, 12], checkpoints.scores(tmp_path, keep)) == {3, 9, 12}


def test_the_command_line_says_what_is_kept():
    kept = arcface.parse(["--keep", "newest:1", "every:100", "best:generated", "--train.evaluate-every", "50"])[0].keep
    assert kept == Keep(1, 100, "generated")
    with pytest.raises(ConfigError, match=r"--keep best:lfw: no --eval has that name; the run's are generated"):
        arcface.parse(["--keep", "best:lfw"])


def test_a_run_without_a_checkpoint_begins_anew_with_the_config_that_it_had(tmp_path: Path):
    state = TrainState(jnp.int32(0), {}, {}, {}, {}, jax.random.key(0))
    with Checkpoints(tmp_path / "checkpoints") as opened:
        assert checkpoints.restore(opened, tmp_path, state, tiny()) is None
        write_text(tmp_path / "config.toml", to_toml(tiny()))
        assert checkpoints.restore(opened, tmp_path, state, tiny()) is None
        with pytest.raises(CheckpointError, match=r"made with loss\.alpha = 0\.2, and this run asks for 0\.3"):
            checkpoints.restore(opened, tmp_path, state, tiny(loss__alpha=0.3))
