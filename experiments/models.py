"""Models and detectors by name: `python -m experiments.models` lists them, and with a NAME says more of that one.

Of each: where its file lies on this machine, or how to come by it; its size and licence; published numbers, and ours. A
name is what `--weights` and `--detector` take.

Not here: the list itself (`recognizer/models.toml`), opening what it names.
"""

import argparse

from rich.console import Console

from experiments.common.arguments import add_manifest
from faces import cli
from faces.errors import ConfigError
from faces.schema import flatten, nearest_of_all
from faces.terminal import make_console
from recognizer.manifest import DEFAULT_MODEL, Entry, known_files, read_manifest


def main(arguments: list[str]) -> None:
    """Parse, then print all or one."""
    options, console = parse(arguments), make_console()
    entries = read_manifest(options.manifest)
    if options.name is None:
        list_all(entries, console)
        return
    if options.name not in entries:
        raise ConfigError(f"{options.name}: no model or detector has this name; "
                          f"{nearest_of_all(options.name, tuple(entries))}.")  # fmt: skip
    hashes = [sha256 for sha256, known in known_files(options.manifest).items() if known.name == options.name]
    tell(options.name, entries[options.name], hashes, console)


def parse(arguments: list[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m experiments.models", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("name", nargs="?", metavar="NAME", help="of one of them, of which more is said")
    add_manifest(parser)
    return parser.parse_args(arguments)


def list_all(entries: dict[str, Entry], console: Console) -> None:
    """A paragraph of each."""
    for name, entry in entries.items():
        how = f"--weights {name}" if entry.kind == "model" else f"--detector {entry.detector}"
        console.print(f"{name}: {entry.kind}, {how}{', the default' if name == DEFAULT_MODEL else ''}")
        console.print(f"  {entry.what}")
        _tell_place(entry, console)
        _tell_numbers(entry, console)
    console.print("python -m experiments.models NAME says more of one.")


def tell(name: str, entry: Entry, hashes: list[str], console: Console) -> None:
    """All of one."""
    console.print(f"{name}: {entry.kind}")
    console.print(f"  {entry.what}")
    _tell_place(entry, console)
    console.print(f"  files: {', '.join(entry.files)}; network {entry.network}")
    if entry.preprocessing is not None:
        seen = ", ".join(f"{key} {value}" for key, value in flatten(entry.preprocessing).items())
        console.print(f"  preprocessing: {seen}")
    if entry.detection is not None:
        own = entry.detection
        missing = "the number is refused" if own.undetected == "refuse" else own.undetected
        console.print(f"  faces: found by {own.detector}, of several {own.select}, where none is found {missing}")
    for what, cosine in (("two faces", entry.verification), ("clusters, average linkage", entry.clustering)):
        if cosine is not None:
            console.print(f"  cosine for {what}: {cosine.threshold:g}; {cosine.how}")
    _tell_numbers(entry, console)
    for sha256 in hashes:
        console.print(f"  known by its SHA-256: {sha256}")


def _tell_place(entry: Entry, console: Console) -> None:
    place = entry.located()
    if place is not None:
        console.print(f"  on this machine: {place}")
    else:
        console.print(f"  {entry.get}" if entry.package is None else f"  not on this machine; {entry.get}")
    size = "" if entry.bytes is None else f"{entry.bytes / 1e6:.1f} MB; "
    console.print(f"  {size}licence: {entry.licence}")


def _tell_numbers(entry: Entry, console: Console) -> None:
    for whose, numbers in (("published", entry.published), ("ours", entry.ours)):
        for number in numbers:
            console.print(f"  {whose}: {number}")


if __name__ == "__main__":
    cli.run(main)
