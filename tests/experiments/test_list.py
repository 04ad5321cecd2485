"""`python -m experiments`: every command with what it is for, at once."""

import subprocess
import sys
from importlib import import_module
from pathlib import Path

from experiments import __main__ as command

ROOT = Path(__file__).parents[2]


def test_every_main_is_listed_with_a_line_and_nothing_else_is():
    listed = command.listed()
    ending = 'if __name__ == "__main__":\n    cli.run(main)\n'
    files = [path for path in (ROOT / "experiments").glob("*.py") if not path.stem.startswith("__")]
    mains = {path.stem for path in files if path.read_text().endswith(ending)}
    assert mains == {path.stem for path in files}, "helpers of mains lie in experiments/common"
    assert set(listed) == mains and {"facenet", "evaluate", "detect", "search"} <= mains
    for name, line in listed.items():
        assert 10 < len(line) < 120 and line.endswith(".") and "`" not in line, line
        assert (import_module(f"experiments.{name}").__doc__ or "").startswith(line.rstrip("."))


def test_it_takes_no_time_and_says_what_was_meant():
    run = [sys.executable, "-X", "importtime", "-m", "experiments"]
    done = subprocess.run(run, cwd=ROOT, capture_output=True, text=True, check=True)
    assert "\n  evaluate " in done.stdout and " jax" not in done.stderr


def test_a_name_that_is_none(capsys):
    assert command.main(["evalute"]) == 2
    assert capsys.readouterr().err.endswith("did you mean python -m experiments.evaluate?\n")
    assert command.main(["--help"]) == 0
