"""The person's own face among several, against hand-made people on a circle."""

import numpy as np
import pytest

from faces.aligned.own_face import own_faces
from faces.errors import EvaluationError


def on_circle(*degrees: float) -> np.ndarray:
    angles = np.deg2rad(np.array(degrees))
    return np.stack([np.cos(angles), np.sin(angles)], axis=1).astype(np.float32)


def test_the_face_nearest_to_the_photographs_that_show_one():
    # photographs 5, 7, 9 show the person (near 0 degrees) alone; 2 and 4 others, larger, as well
    x = on_circle(0, 5, -5, 90, 8, 200, -10)
    photographs = np.array([5, 7, 9, 2, 2, 4, 4])
    areas = np.array([1.0, 1, 1, 50, 10, 60, 5])
    assert own_faces(x, photographs, np.zeros(7, int), areas).tolist() == [4, 6, 0, 1, 2]


def test_rows_and_people_in_any_order():
    x = on_circle(100, 0, 3, 180, 102, 98, 1, 30)
    photographs, people = np.array([10, 11, 10, 11, 12, 13, 14, 14]), np.array([1, 0, 1, 0, 1, 1, 0, 0])
    areas = np.ones(8)
    by_number = dict(zip(sorted(set(photographs)), own_faces(x, photographs, people, areas).tolist(), strict=True))
    assert by_number == {10: 0, 11: 1, 12: 4, 13: 5, 14: 6}


def test_one_photograph_of_another_person_does_not_turn_the_choice():
    # alone in four photographs, one of which shows somebody else; in the fifth both are
    x = on_circle(0, 4, -4, 120, 118, 2)
    assert own_faces(x, np.array([0, 1, 2, 3, 4, 4]), np.zeros(6, int), np.ones(6))[-1] == 5


def test_where_no_photograph_shows_one_face_the_largest_begin():
    # three photographs of two faces; the person is the larger in two of them, and near 0 degrees in all
    x = on_circle(0, 100, 3, 200, -3, 300)
    areas = np.array([9.0, 1, 9, 1, 1, 9])
    assert own_faces(x, np.array([0, 0, 1, 1, 2, 2]), np.zeros(6, int), areas).tolist() == [0, 2, 4]


def test_with_nothing_to_go_by_the_largest_is_meant():
    areas = np.array([1.0, 3, 3])
    assert own_faces(on_circle(0, 10, 20), np.zeros(3, int), np.zeros(3, int), areas).tolist() == [1]
    assert own_faces(np.zeros((0, 2)), np.zeros(0, int), np.zeros(0, int), np.zeros(0)).tolist() == []


def test_an_embedding_that_is_zero_is_refused():
    with pytest.raises(EvaluationError, match="zero or not finite"):
        own_faces(np.zeros((3, 2)), np.array([0, 0, 1]), np.zeros(3, int), np.ones(3))
