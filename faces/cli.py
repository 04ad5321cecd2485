"""What every main of `experiments/` does around its work: errors a user can mend become one sentence, not a traceback.

Not here: what happens before a main is imported (`start.py`), its arguments and its work.
"""

import sys
from collections.abc import Callable
from typing import NoReturn

from rich.text import Text

from faces import start
from faces.errors import FacesError
from faces.terminal import make_console


def run(main: Callable[[list[str]], None]) -> NoReturn:
    """Run `main` on the command line's arguments and exit; programs that JAX compiles are kept for the next time.

    Exit codes: 0; 2 with `error: <sentence>` on standard error for a `FacesError` (argument parsers use 2 as well); 130
    for Ctrl-C. Any other exception is a defect of ours and keeps its traceback.
    """
    start.choose_routines()
    start.keep_programs()
    sys.exit(exit_code(main, sys.argv[1:]))


def exit_code(main: Callable[[list[str]], None], arguments: list[str]) -> int:
    """Run `main` on `arguments`; the exit code that `run` would end with."""
    errors = make_console(stderr=True)
    try:
        main(arguments)
    except FacesError as error:
        errors.print(Text.assemble(("error: ", "bold red"), str(error)))
        return 2
    except KeyboardInterrupt:
        errors.print("interrupted.")
        return 130
    return 0
