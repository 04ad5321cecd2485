"""How a training run starts: its folder is claimed, and several processes meet.

Not here: the folder's rules (`run_folder.py`), how processes meet (`faces.processes`), the run itself.
"""

import argparse
import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from experiments.common import hosts
from experiments.common.run_folder import claim, how_to_go_on, says_how_to_go_on
from experiments.common.training_faces import ALL, Faces, Selection, find_faces, pair_sets
from faces import processes, start
from faces.backbone import check_statistics
from faces.config import RunConfig
from faces.evaluate.pair_set import PairSet
from faces.meeting import Meeting
from faces.partners import Watch
from faces.schema import flatten
from faces.terminal import make_console

_OF_ALL = ("config", "out", "resume", "keep", "init", "devices", "allow_missing")
"""Options that all processes of a run must have alike; data may lie elsewhere on another machine."""


class Run(NamedTuple):
    """A run that may begin.

    Args:
        folder: claimed by process 0.
        faces: found already where several processes have compared theirs, else None.
    """

    folder: Path
    faces: Faces | None


@contextlib.contextmanager
def start_run(
    main: str,
    options: argparse.Namespace,
    config: RunConfig,
    arguments: list[str],
    selection: Selection = ALL,
) -> Iterator[Run]:
    """A block in which the run's folder is this command's; where there are several processes, JAX has joined them.

    Args:
        main: "facenet" or "arcface".
        options, config: of `training_options.parse`.
        arguments: that it has parsed.
        selection: as for `find_faces`.
    Raises:
        FacesError: as `claim`; in every process, what one of them has refused.
        ConfigError: statistics of batch norm are to stay as they came, and there is nothing that they come with.
    """
    check_statistics(config.model.batch_norm, options.init is not None or options.resume)
    where = hosts.place_of(options)
    with contextlib.ExitStack() as stack:
        if where is None:
            folder, faces = claim(options, stack), None
        else:
            folder, faces, watch = _meet(where, options, config, selection, stack)
            stack.enter_context(watch.guarding(lambda: how_to_go_on(main, arguments, folder)))
        with says_how_to_go_on(main, arguments, folder, writes=where is None or where.process == 0):
            yield Run(folder, faces)


def _meet(
    where: Meeting,
    options: argparse.Namespace,
    config: RunConfig,
    selection: Selection,
    stack: contextlib.ExitStack,
) -> tuple[Path, Faces | None, Watch]:
    """The folder that process 0 has claimed, the faces, where they are at a path and all have found the same, and the
    watch on the other processes."""
    faces = list[Faces]()

    def prepare() -> tuple[str, dict[str, str]]:
        """Whatever can fail in one process alone, and asks no device, which JAX must not meet before."""
        folder = claim(options, stack) if where.process == 0 else ""
        if options.data is None:  # faces are generated on devices
            return str(folder), _told_of(pair_sets(options, config) if options.eval else [])
        faces.append(find_faces(options, config, make_console(quiet=where.process > 0), selection))
        training_set = faces[0].training_set
        found = {"training set": f"{training_set.counts()}, {training_set.digest}"}
        return str(folder), found | _told_of(faces[0].tests)

    started_with = {**flatten(config), **{key: str(getattr(options, key)) for key in _OF_ALL}}
    settled, watch = processes.join(where, started_with, prepare)
    start.compile_together()
    return Path(settled), faces[0] if faces else None, watch


def _told_of(tests: list[PairSet]) -> dict[str, str]:
    """The test sets, which processes embed together, by what they are called when one has others."""
    told = "; ".join(f"{test.name} of {len(test.names):,} images, {test.digest()}" for test in tests)
    return {"choice of test sets": told or "none"}
