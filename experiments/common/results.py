"""What the mains that evaluate or look for people do around their work: claim places, record and print the result.

Not here: the work, and how training runs start, whose folders grow (`start_run.py`).
"""

import argparse
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from rich.console import Console

from faces import cli
from faces.outputs import check_folder, results_folder, write_json
from faces.run_record import environment


def deliver(options: argparse.Namespace, console: Console, work: Callable[[Path], dict[str, Any]]) -> None:
    """Do the work of a command, with what `pipeline.add_options` gives it, and leave its results in `options.out`.

    Args:
        options: `out`, `overwrite`, `weights` (None where nothing is looked at) and `cache`.
        console: what is printed to.
        work: folder to write to -> content of `result.json`, which is also the last line printed. It begins when both
            places have been found to be writable.
    Raises:
        OutputError: one of the places cannot be written, or holds results that may not be replaced.
    """
    with (
        cli.interruptible(f"Faces found and embedded so far are kept in {options.cache}."),
        results_folder(options.out, options.overwrite) as out,
    ):
        if options.weights is not None:
            check_folder(options.cache)
        result = work(out)
        write_json(out / "result.json", result)
        write_json(out / "environment.json", environment())
    close(console, options.out, result)


def close(console: Console, folder: Path, result: Mapping[str, Any]) -> None:
    """The last two lines of a command that leaves a folder: which, and the result, as `result.json` holds it."""
    console.print(f"everything is in {folder}")
    print_result(result)


def print_result(result: Mapping[str, Any]) -> None:
    """The last line of a command, for programs that read what it prints."""
    print("result: " + json.dumps(result), flush=True)
