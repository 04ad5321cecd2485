"""Several sets as one: whose people they are, and what images are called."""

from pathlib import Path

import numpy as np

from faces.data.image_folder import FolderSource
from faces.data.joined import Joined
from faces.data.open import open_several
from tests.faces.data.makers import encoded, image_folder, picture

PNG = [encoded(picture(seed)) for seed in range(6)]


def two_sets(root: Path) -> list[Path]:
    one = image_folder(root / "x" / "set", {"Ann": PNG[:2], "Bob": PNG[2:3]})
    other = image_folder(root / "y" / "set", {"Ann": PNG[3:4], "Cleo": PNG[4:6]})
    return [one, other]


def test_people_of_several_sets_are_different_people(tmp_path: Path):
    joined = Joined([FolderSource(place) for place in two_sets(tmp_path)])
    assert joined.identity_names == ["Ann (set)", "Bob", "Ann (set-2)", "Cleo"]
    assert joined.own_names == ["Ann", "Bob", "Ann", "Cleo"] and joined.in_several == ["Ann"]
    assert joined.identities.tolist() == [0, 0, 1, 2, 3, 3] and joined.identities.dtype == np.int32
    assert [joined.encoded(row) for row in range(len(joined))] == PNG
    assert joined.source_name(3) == "set-2/Ann/Ann_0001.png" and joined.source_name(0) == "set/Ann/Ann_0001.png"
    np.testing.assert_array_equal(joined[5], picture(5))
    assert len(set(joined.marks().tolist())) == 6


def test_people_of_one_name_are_merged_where_that_is_asked_for(tmp_path: Path):
    opened = open_several(two_sets(tmp_path), merge_by_name=True)
    assert opened.source.identity_names == ["Ann", "Bob", "Cleo"]
    assert opened.source.identities.tolist() == [0, 0, 1, 0, 2, 2]
    assert opened.kind == "several sets" and not opened.aligned and opened.cut_as is None and len(opened.parts) == 2


def test_a_name_that_is_made_distinct_is_nobody_elses(tmp_path: Path):
    one = image_folder(tmp_path / "a", {"Ann": PNG[:1], "Ann (b)": PNG[1:2]})
    other = image_folder(tmp_path / "b", {"Ann": PNG[2:3]})
    joined = Joined([FolderSource(place) for place in (one, other)])
    assert joined.identity_names == ["Ann (a)", "Ann (b)", "Ann (b)-2"]
