"""The faces of a source as a finished run's network sees them.

Not here: compiling a network for evaluation (`faces.embed`), test sets (`faces.evaluate.pair_set`).
"""

from collections.abc import Callable
from functools import partial

import jax
import numpy as np
from rich.console import Console

from faces.data import augment
from faces.data.source import FaceSource
from faces.embed import make_embedder
from faces.mesh import make_mesh, replicated
from faces.terminal import make_progress
from recognizer.networks import backbone_of
from recognizer.runs import Run

BLOCK = 1024
"""Images read at a time."""


def embedder_of(run: Run) -> Callable[[np.ndarray], np.ndarray]:
    """The run's network in its evaluation form, without mirror images.

    Returns:
        uint8 images (n, rows, columns, 3) -> float32 (n, d) of length 1.
    """
    mesh = make_mesh()
    embed = make_embedder(backbone_of(run.config.model, run.trained_as).apply, run.config.data, False, mesh)
    return partial(embed, *jax.device_put((run.params, run.batch_stats), replicated(mesh)))


def embed_faces(
    embed: Callable[[np.ndarray], np.ndarray], source: FaceSource, size: tuple[int, int], console: Console
) -> np.ndarray:
    """Embeddings of all images of a source, whole and without random changes, in blocks, with a bar of progress.

    Args:
        embed: as `embedder_of` returns.
        source: the images.
        size: rows and columns of the network's input.
        console: where the bar is drawn, if it is a terminal.
    Returns:
        float32 (images, d), of length 1.
    """
    rows = []
    with make_progress(console) as bar:
        task = bar.add_task("embedding", total=len(source))
        for start in range(0, len(source), BLOCK):
            part = range(start, min(start + BLOCK, len(source)))
            rows.append(embed(np.stack([augment.crop(source[index], size) for index in part])))
            bar.advance(task, len(part))
    return np.concatenate(rows)
