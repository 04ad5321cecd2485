"""Which face of a photograph is the person's own, where it shows several: the one nearest to the person's centre.

The first centre comes from the photographs that show one face alone, and where a person has none, from the largest face
of each. By it a face is meant in every photograph, and those make a second centre, by which a face is meant again. Some
of what makes a centre may be another's: so of its faces the half nearest to their mean counts. No face helps itself:
for the faces of a photograph the centre is that of the other photographs.

Not here: rules that need no other photograph (`faces.detect.detections.select`), embeddings.
"""

import numpy as np
from jaxtyping import Float, Float64, Int, Int64

from faces.unit import unit_rows


def own_faces(
    embeddings: Float[np.ndarray, "faces d"],
    photographs: Int[np.ndarray, " faces"],
    people: Int[np.ndarray, " faces"],
    areas: Float[np.ndarray, " faces"],
) -> Int64[np.ndarray, " photographs"]:
    """The row of the face that is meant of each photograph, in the order of the photographs' numbers.

    Of a person without another photograph to go by, the largest face is meant; the first of equals everywhere.

    Args:
        embeddings: of all faces, of any length but 0.
        photographs: the photograph of each face, any whole numbers.
        people: the person of each face, one for all faces of a photograph.
        areas: of the faces' boxes.
    Raises:
        EvaluationError: an embedding that is zero or not finite.
    """
    order = np.lexsort((np.arange(len(people)), photographs, people))
    first_of_person = np.flatnonzero(np.diff(people[order])) + 1
    chosen = np.concatenate(
        [np.zeros(0, np.int64), *(_of_person(embeddings, photographs, areas, rows)
                                  for rows in np.split(order, first_of_person) if rows.size)]
    )  # fmt: skip
    return chosen[np.argsort(photographs[chosen], kind="stable")]


def _of_person(
    embeddings: Float[np.ndarray, "faces d"],
    photographs: Int[np.ndarray, " faces"],
    areas: Float[np.ndarray, " faces"],
    rows: Int64[np.ndarray, " own"],
) -> Int64[np.ndarray, " own_photographs"]:
    """The same for one person, of whom `rows` are all faces, sorted by photograph."""
    several = np.split(rows, np.flatnonzero(np.diff(photographs[rows])) + 1)
    largest = np.array([of_one[np.argmax(areas[of_one])] for of_one in several])
    if len(several) == 1 or len(rows) == len(several):
        return largest
    x = unit_rows(embeddings[rows].astype(np.float64), "faces'")
    unit = dict(zip(rows.tolist(), x, strict=True))
    is_alone = np.array([len(of_one) == 1 for of_one in several])
    meant, counts = largest, is_alone if is_alone.any() else np.ones_like(is_alone)
    for _ in range(2):
        by = np.stack([unit[row] for row in meant.tolist()])  # (photographs, d)
        new = meant.copy()
        for number, of_one in enumerate(several):
            others = counts & (np.arange(len(several)) != number)
            if len(of_one) > 1 and others.any():
                centre = _centre(by[others])
                new[number] = of_one[np.argmax([unit[row] @ centre for row in of_one.tolist()])]
        meant, counts = new, np.ones_like(is_alone)
    return meant


def _centre(x: Float64[np.ndarray, "faces d"]) -> Float64[np.ndarray, " d"]:
    """The mean of the half of the faces that is nearest to the mean of all; only its direction counts."""
    near = x @ x.mean(axis=0)
    return x[near >= np.median(near)].mean(axis=0)
