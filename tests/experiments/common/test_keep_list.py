"""Lists of the images that stay: what is written is read back, and what is no such list is refused."""

import json
from pathlib import Path

import numpy as np
import pytest

from experiments.common import keep_list as kept
from faces.data.fingerprint import fingerprint
from faces.data.source import ArraySource
from faces.errors import DataError

LABELS = [2, 0, 1, 1, 2, 0, 2, 3]
SOURCE = ArraySource("eight", np.arange(8 * 4 * 4 * 3, dtype=np.uint8).reshape(8, 4, 4, 3), np.array(LABELS, np.int32))


def test_what_is_written_is_read_back_with_people_numbered_anew(tmp_path: Path):
    path = tmp_path / "kept.json"
    stays = np.array([1, 0, 1, 0, 1, 0, 0, 1], bool)
    kept.write(path, SOURCE, stays)
    assert [file.name for file in tmp_path.iterdir()] == ["kept.json"]
    source = kept.apply(path, SOURCE)
    assert source.identities.tolist() == [1, 0, 1, 2]  # of people 2, 1, 2, 3; nobody is left of person 0
    for position, index in enumerate([0, 2, 4, 7]):
        np.testing.assert_array_equal(source[position], SOURCE.images[index])


def test_a_list_of_another_training_set_names_the_difference(tmp_path: Path):
    path = tmp_path / "kept.json"
    kept.write(path, SOURCE, np.ones(8, bool))
    other = ArraySource("seven", SOURCE.images[:7], SOURCE.identities[:7])
    words = r"kept\.json: made for 8 images of 4 people of eight, and seven with 7 images of 3 people is another set"
    with pytest.raises(DataError, match=words + r": 1 person \(3\) was removed; give the same --data"):
        kept.apply(path, other)
    turned = ArraySource("as many", SOURCE.images[::-1], SOURCE.identities)
    with pytest.raises(DataError, match="is another set: the images of 4 are others"):
        kept.apply(path, turned)


@pytest.mark.parametrize(
    "content",
    [
        "",
        "not JSON",
        "[0, 1]",
        "8",
        "null",
        '{"kept": [0, 1]}',
        '{"images": 8, "kept": [0, 1]}',
        '{"training_set": THIS}',
        '{"training_set": {}, "kept": [0]}',
        *(f'{{"training_set": THIS, "kept": {listed}}}' for listed in (
            "[]", "3", "null", "[[0, 1]]", '["a"]', "[0, -1]", "[0, 8]", "[1e400]", "[1.5]", "[true, 2]", "[2, 2]",
            "[2, 1]", "[" * 100_000, "[100000000000000000000]",
        )),
    ],
)  # fmt: skip
def test_what_is_no_list_is_refused_by_name(tmp_path: Path, content: str):
    path = tmp_path / "foreign.json"
    path.write_text(content.replace("THIS", json.dumps(fingerprint(SOURCE).to_json())))
    with pytest.raises(DataError, match=r"foreign\.json(, line 1)?: (not a list that experiments\.clean|is damaged)"):
        kept.apply(path, SOURCE)


def test_a_file_that_is_not_text_or_not_there(tmp_path: Path):
    path = tmp_path / "kept.json"
    with pytest.raises(DataError, match=r"kept\.json: cannot be read"):
        kept.apply(path, SOURCE)
    path.write_bytes(json.dumps({"images": 8, "kept": [0]}).encode("utf-16"))
    with pytest.raises(DataError, match=r"kept\.json: is damaged"):
        kept.apply(path, SOURCE)
