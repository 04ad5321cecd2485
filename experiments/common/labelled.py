"""How far clusters are the people whom folders name: the option, and the comparison.

Not here: the numbers themselves (`faces.evaluate.clusters`).
"""

import argparse

import numpy as np
from rich.console import Console

from experiments.common import passed_over
from faces.evaluate.clusters import agreement
from recognizer.photographs import Faces


def add_labelled(parser: argparse.ArgumentParser) -> None:
    """`--labelled`."""
    parser.add_argument("--labelled", action="store_true", help="folders name the people: evaluate the clusters")


def agreement_of(faces: Faces, labels: np.ndarray, console: Console) -> dict[str, float]:
    """How far clusters are the folders' people, for `result.json`."""
    judged = np.flatnonzero(faces.is_main)
    names, people = np.unique(np.array([faces.folder(face) for face in judged]), return_inverse=True)
    passed_over.tell_alike(console, names.tolist(), "are different people here")
    found = agreement(labels[judged], people)
    others = len(faces) - len(judged)
    console.print(
        f"against {found.people:,} people: pairs precision {found.precision:.2%}, recall {found.recall:.2%}, F "
        f"{found.f:.2%}; BCubed precision {found.bcubed_precision:.2%}, recall {found.bcubed_recall:.2%}, F "
        f"{found.bcubed_f:.2%}; {len(judged):,} of {len(faces.photographs):,} photographs"
        + (f", the most central face of each; {others:,} other faces have no name and are not judged" if others else "")
    )
    return {
        "people": found.people,
        "precision": found.precision,
        "recall": found.recall,
        "f": found.f,
        "bcubed_precision": found.bcubed_precision,
        "bcubed_recall": found.bcubed_recall,
        "bcubed_f": found.bcubed_f,
        "judged": len(judged),
        "coverage": len(judged) / len(faces.photographs),
    }
