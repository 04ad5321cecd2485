"""What there is to run: `python -m experiments` lists the commands, a line each.

The lines are the beginnings of the mains' docstrings, read without importing them.
"""

import ast
import difflib
import sys
from pathlib import Path

from faces.terminal import make_console

FOLDER = Path(__file__).parent


def main(arguments: list[str]) -> int:
    """Print the list; or, with an argument, that it is none of them or how it is run. The exit code."""
    commands = listed()
    console = make_console(stderr=bool(arguments))
    if arguments and arguments[0] not in ("-h", "--help"):
        name = arguments[0].removesuffix(".py")
        near = difflib.get_close_matches(name, commands, 1, 0.4)
        known = f"did you mean python -m experiments.{near[0]}?" if near else "python -m experiments lists all."
        console.print(f"error: python -m experiments {arguments[0]}: commands are run as experiments.NAME; {known}")
        return 2
    width = max(map(len, commands))
    console.print("python -m experiments.NAME --help says more of each:\n")
    for name, line in commands.items():
        console.print(f"  {name:{width}}  {line}")
    return 0


def listed() -> dict[str, str]:
    """First line of each main, without the command that it gives, by the main's name."""
    found = {}
    for path in sorted(FOLDER.glob("*.py")):
        module = ast.parse(path.read_text(encoding="utf-8"))
        if path.stem != "__main__" and _is_main(module):
            line = (ast.get_docstring(module) or "").partition("\n")[0]
            found[path.stem] = line.partition(": `python -m")[0].rstrip(".:") + "."
    return found


def _is_main(module: ast.Module) -> bool:
    """Whether a module does something when it is run."""
    return any(isinstance(node, ast.If) and ast.unparse(node.test) == "__name__ == '__main__'" for node in module.body)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
