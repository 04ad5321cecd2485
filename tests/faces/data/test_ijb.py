"""IJB's text files in small: rows, lists of the search, malformed files by line."""

import numpy as np
import pytest

from faces.data import ijb
from faces.errors import DataError

MEMBERS = "1.jpg 1 7\n2.jpg 1 8\n3.jpg 2 9\n3.jpg 5 9\n"
LANDMARKS = "".join(
    f"{name} {' '.join(str(10 * row + i + 0.5) for i in range(10))} 0.{row}5\n"
    for row, name in enumerate(["1.jpg", "2.jpg", "3.jpg", "3.jpg"])
)
PAIRS = "1 2 0\n1 5 1\n2 5 1\n"
GALLERY = "TEMPLATE_ID,SUBJECT_ID,FILENAME\n1,100,img/1.jpg\n1,100,img/2.jpg\n5,4,img/3.jpg\n"


@pytest.fixture
def meta(tmp_path):
    for name, text in (
        ("ijbc_face_tid_mid.txt", MEMBERS),
        ("ijbc_name_5pts_score.txt", LANDMARKS),
        ("ijbc_template_pair_label.txt", PAIRS),
        ("ijbc_1N_gallery_G1.csv", GALLERY),
        ("ijbc_1N_gallery_G2.csv", "TEMPLATE_ID,SUBJECT_ID\r\n2,101\r\n"),
        ("ijbc_1N_probe_mixed.csv", GALLERY),
    ):
        (tmp_path / name).write_bytes(text.encode())
    return tmp_path


def test_faces(meta):
    faces = ijb.read_ijb_faces(meta, "ijbc")
    assert faces.images == ("1.jpg", "2.jpg", "3.jpg", "3.jpg")
    np.testing.assert_array_equal(faces.template, [1, 1, 2, 5])
    np.testing.assert_array_equal(faces.media, [7, 8, 9, 9])
    np.testing.assert_allclose(faces.score, [0.05, 0.15, 0.25, 0.35])
    np.testing.assert_array_equal(faces.points[2], np.arange(20, 30).reshape(5, 2) + 0.5)
    assert faces.points.dtype == np.float32


def test_pairs(meta):
    pairs = ijb.read_template_pairs(meta, "ijbc")
    np.testing.assert_array_equal(np.stack([pairs.first, pairs.second]), [[1, 1, 2], [2, 5, 5]])
    np.testing.assert_array_equal(pairs.same, [False, True, True])


def test_galleries_and_probes(meta):
    first, second = ijb.read_galleries(meta, "ijbc")
    assert first.template.tolist() == [1, 5] and first.person.tolist() == [100, 4]
    assert second.template.tolist() == [2] and second.person.tolist() == [101]
    assert ijb.read_probes(meta, "ijbc").template.tolist() == [1, 5]
    (meta / "ijbb_1N_gallery_S1.csv").write_text(GALLERY)
    (meta / "ijbb_1N_gallery_S2.csv").write_text(GALLERY)
    assert ijb.read_galleries(meta, "ijbb")[1].person.tolist() == [100, 4]


READERS = {"faces": ijb.read_ijb_faces, "pairs": ijb.read_template_pairs, "galleries": ijb.read_galleries}


@pytest.mark.parametrize(
    ("reader", "file", "text", "message"),
    [
        ("faces", "face_tid_mid.txt", None, ": cannot be read"),
        ("faces", "face_tid_mid.txt", "1.jpg 1\n", ', line 1: "image template media" expected, found "1.jpg 1"'),
        ("faces", "face_tid_mid.txt", MEMBERS.replace("9", "nine"), ', line 3: "image template media"'),
        ("faces", "face_tid_mid.txt", MEMBERS.replace("2.jpg", "../2.jpg"), ', line 2: "../2.jpg" is no file'),
        ("faces", "name_5pts_score.txt", LANDMARKS[:-1].rsplit("\n", 1)[0], ": 3 rows, but .* has 4"),
        ("faces", "name_5pts_score.txt", LANDMARKS.replace("2.jpg", "4.jpg"), ', line 2: "2.jpg", ten coordinates'),
        ("faces", "name_5pts_score.txt", LANDMARKS.replace(" 0.25", ""), ', line 3: "3.jpg", ten coordinates'),
        ("faces", "name_5pts_score.txt", LANDMARKS.replace(" 0.25", " x"), ", line 3: eleven numbers expected"),
        ("faces", "name_5pts_score.txt", LANDMARKS.replace(" 0.25", " nan"), ", line 3: .* is not finite"),
        ("pairs", "template_pair_label.txt", None, ": cannot be read"),
        ("pairs", "template_pair_label.txt", "", ": no pair in it"),
        ("pairs", "template_pair_label.txt", "1 2\n", ": 2 numbers a row, three expected"),
        ("pairs", "template_pair_label.txt", "1 2 1\n1 x 0\n", ": rows of .* could not convert string 'x'"),
        ("pairs", "template_pair_label.txt", "1 2 1\n1 2\n", ": rows of .* the number of columns changed"),
        ("pairs", "template_pair_label.txt", "1 2 1\n1 2 3\n", ", row 2: the label is 3; 0 or 1 expected"),
        ("galleries", "1N_gallery_G2.csv", None, ": cannot be read"),
        ("galleries", "1N_gallery_G2.csv", "TEMPLATE_ID,SUBJECT_ID\n", ": no template in it"),
        ("galleries", "1N_gallery_G2.csv", "T,S\n1,2\nx,3\n", ', line 3: "template,person,..." expected'),
        (
            "galleries",
            "1N_gallery_G2.csv",
            "T,S\n1,2\n1,3\n",
            ", line 3: template 1 is of person 3 here and of 2 above",
        ),
    ],
)
def test_malformed_files(meta, reader, file, text, message):
    path = meta / f"ijbc_{file}"
    if text is None:
        path.unlink()
    else:
        path.write_text(text)
    with pytest.raises(DataError, match=rf"ijbc_{file}{message}"):
        READERS[reader](meta, "ijbc")
