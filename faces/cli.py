"""What every main of `experiments/` does around its work: errors a user can mend become one sentence, not a traceback.

Not here: what happens before a main is imported (`start.py`), its arguments and its work.
"""

import contextlib
import io
import os
import sys
import traceback
from collections.abc import Callable, Iterator
from types import TracebackType
from typing import NoReturn

from rich.text import Text

from faces import memory, partners, reading, start, stopping
from faces.errors import FacesError
from faces.printable import escaped, sentence
from faces.private import keep_private
from faces.refused import REFUSED, is_full, refusal
from faces.terminal import make_console

MENDABLE = 2
NOBODY_READS = 141  # 128 + SIGPIPE
_TOO_LITTLE = "there is too little memory ({}); give fewer or smaller pictures at a time, or a smaller batch."


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Run `main` on the command line's arguments and exit; programs that JAX compiles are kept for the next time.

    Exit codes: 0; 2 with `error: <sentence>` on standard error for a `FacesError`, a full disk or too little memory
    (argument parsers use 2 as well); 130 for Ctrl-C, 75 where a scheduler's signal has ended it, and 69 where another
    process of the run is gone (`partners.py`), all three with the command that goes on as the last line; 141, silently,
    when the reader of the output has closed it, as `head` does.
    Any other exception is a defect of ours and keeps its traceback.
    """
    for stream in (sys.stdout, sys.stderr):  # what a terminal cannot show is escaped, and stops nothing
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    sys.excepthook = _defect
    keep_private()
    stopping.install()
    start.choose_routines()
    start.keep_programs()
    code = exit_code(main, sys.argv[1:])
    partners.ended_with(code)
    if reading.is_stuck():  # whatever it reads from does not answer, and Python would wait for it
        partners.leave_at_once(code)
    sys.exit(code)


def exit_code(main: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run `main` on `arguments`; the exit code that `run` would end with."""
    try:
        main(arguments)
        sys.stdout.flush()
    except FacesError as error:
        return _told(str(error))
    except KeyboardInterrupt as interrupt:
        kept, command = (*interrupt.args, "", "")[:2]
        console = make_console(stderr=True)
        console.print(f"{stopping.word_of(interrupt)}. {kept}".rstrip())
        console.print(f"go on with: {command or stopping.command()}")
        return stopping.PREEMPTED if isinstance(interrupt, stopping.Preempted) else stopping.INTERRUPTED
    except BrokenPipeError:
        _abandon_output()
        return NOBODY_READS
    except MemoryError as error:
        return _told(_TOO_LITTLE.format(error))
    except (OSError, ValueError, RuntimeError, AssertionError) as error:
        if no_device := start.no_device(error):
            return _told(no_device)
        if memory.is_out_of_memory(error):
            return _told(_TOO_LITTLE.format(str(error).partition("\n")[0]))
        refused = refusal(error)
        if refused is None or refused.errno not in REFUSED:
            raise
        place = refused.filename or "a file or the output"
        _abandon_output()
        way = "make room" if is_full(refused) else "name another place"
        return _told(f"{place}: cannot be written or read ({refused.strerror}); {way}.")
    return 0


@contextlib.contextmanager
def interruptible(kept: str, command: str = "") -> Iterator[None]:
    """A block in which Ctrl-C, or a scheduler's signal, loses no more than the sentence `kept` says.

    Args:
        kept: printed then.
        command: that goes on, the last line printed; "" for the same one again.
    """
    try:
        yield
    except KeyboardInterrupt as interrupt:
        interrupt.args = interrupt.args or (kept, command)
        raise


def _defect(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Python's own traceback, with escapes in place of what an error quotes and would command the terminal."""
    sys.stderr.write(escaped("".join(traceback.format_exception(kind, error, trace))))


def _told(told: str) -> int:
    make_console(stderr=True).print(Text.assemble(("error: ", "bold red"), sentence(told)))
    return MENDABLE


def _abandon_output() -> None:
    """Discard output that cannot be written, of which Python would complain once more at its end."""
    with contextlib.suppress(OSError, ValueError):  # it may be no file at all
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
