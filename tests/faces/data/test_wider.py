"""WIDER FACE's annotations in their official layout, and malformed ones."""

import cv2
import numpy as np
import pytest
from scipy.io import savemat

from faces.data import wider
from faces.errors import DataError, ImageError

PARADE, RIOT, DANCE = "0--Parade/0_Parade_a_1_849.jpg", "3--Riot/3_Riot_b_2_5.jpg", "4--Dancing/4_Dancing_c_7.jpg"
BOXES = f"""{PARADE}
2
449 330 122 149 0 0 0 0 0 0 
361 98 0 26 2 0 1 0 1 1 
{RIOT}
0
0 0 0 0 0 0 0 0 0 0 
{DANCE}
1
-3 2 10 20 1 1 0 1 2 0 
"""  # noqa: W291, the file ends its lines so
POINTS = f"""# {PARADE}
449 330 122 149 488.906 373.643 0.0 542.089 376.442 0.0 515.031 412.83 1.0 485.174 425.893 0.0 538.357 431.491 0.0 0.82
361 98 20 26 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 -1.0 0.2
# {RIOT}
# {DANCE}
1 2 3 4
"""


def test_official_boxes(tmp_path):
    (tmp_path / "gt.txt").write_text(BOXES)
    parade, riot, dance = wider.read_boxes(tmp_path / "gt.txt")
    assert [parade.path, riot.path, dance.path] == [PARADE, RIOT, DANCE]
    assert parade.boxes.tolist() == [[449, 330, 571, 479], [361, 98, 361, 124]] and parade.boxes.dtype == np.float32
    assert parade.attributes.tolist() == [[0] * 6, [2, 0, 1, 0, 1, 1]] and not parade.has_points.any()
    assert riot.boxes.shape == (0, 4) and riot.points.shape == (0, 5, 2) and riot.attributes.shape == (0, 6)
    assert dance.boxes.tolist() == [[-3, 2, 7, 22]]
    assert [image.is_usable.tolist() for image in (parade, riot, dance)] == [[True, False], [], [False]]
    # the line of zeros may be absent
    (tmp_path / "gt.txt").write_text(BOXES.replace("0 0 0 0 0 0 0 0 0 0 \n4--", "4--"))
    assert [len(image.boxes) for image in wider.read_boxes(tmp_path / "gt.txt")] == [2, 0, 1]


def test_points_of_retinaface(tmp_path):
    (tmp_path / "label.txt").write_text(POINTS)
    parade, riot, dance = wider.read_points(tmp_path / "label.txt")
    assert parade.has_points.tolist() == [True, False] and dance.has_points.tolist() == [False]
    assert parade.boxes.tolist() == [[449, 330, 571, 479], [361, 98, 381, 124]]
    np.testing.assert_allclose(parade.points[0, [0, 2, 4]], [[488.906, 373.643], [515.031, 412.83], [538.357, 431.491]])
    assert not parade.points[1].any() and parade.points.dtype == np.float32
    assert len(riot.boxes) == 0 and (dance.attributes == -1).all() and dance.is_usable.all()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("361 98 0 26 2 0 1 0 1 1 ", "361 98 0 26 2 0 1 0 1", "line 4: 10 numbers expected, 9 found"),
        ("361 98 0 26 2", "361 x 0 26 2", "line 4: 10 numbers of pixels expected"),
        ("361 98 0 26 2", "361 nan 0 26 2", "line 4: 10 numbers of pixels expected"),
        ("361 98 0 26 2", "361 98 -1 26 2", "line 4: a width or height below 0"),
        ("361 98 0 26 2", "361 98 0 26 3", "line 4: six marks of 0, 1 or 2"),
        ("jpg\n2\n", "jpg\n4\n", "line 5: 10 numbers expected, 1 found"),
        ("jpg\n2\n", "jpg\n900000\n", "line 2: 900,000 faces declared, 8 lines follow"),
        ("jpg\n2\n", "jpg\ntwo\n", 'line 2: the number of faces of "0--Parade/0_Parade_a_1_849.jpg" expected'),
        ("jpg\n2\n", "jpg\n1\n", "line 4: EVENT/NAME.jpg expected"),
        ("3--Riot/", "../", 'line 5: EVENT/NAME.jpg expected, found "../3_Riot'),
        ("3--Riot/", "/", "line 5: EVENT/NAME.jpg expected"),
        ("3--Riot/", "a/b/", "line 5: EVENT/NAME.jpg expected"),
        ("3--Riot/", "C:/", "line 5: EVENT/NAME.jpg expected"),
        (BOXES, "\n", "no image in it"),
        (BOXES, f"{PARADE}\n", 'line 2: the number of faces of .* expected, found ""'),
    ],
)
def test_malformed_boxes(tmp_path, old, new, message):
    assert old in BOXES
    (tmp_path / "gt.txt").write_text(BOXES.replace(old, new, 1))
    with pytest.raises(DataError, match=rf"gt\.txt(, |: ){message}"):
        wider.read_boxes(tmp_path / "gt.txt")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("0.82", "", None),  # 19 numbers are as good
        ("0.0 0.82", "", r"line 2: 4 or 19 or 20 numbers expected, 18 found"),
        ("1 2 3 4", "1 2 3 4 5", r"line 6: 4 or 19 or 20 numbers expected, 5 found"),
        ("1 2 3 4", "1 2 3 inf", "line 6: 4 or 19 or 20 numbers of pixels expected"),
        (f"# {RIOT}", "# ../x.jpg", "line 4: EVENT/NAME.jpg expected"),
        (f"# {PARADE}", PARADE, 'line 1: "# EVENT/NAME.jpg" expected'),
    ],
)
def test_malformed_points(tmp_path, old, new, message):
    (tmp_path / "label.txt").write_text(POINTS.replace(old, new, 1))
    if message is None:
        assert wider.read_points(tmp_path / "label.txt")[0].has_points[0]
        return
    with pytest.raises(DataError, match=rf"label\.txt, {message}"):
        wider.read_points(tmp_path / "label.txt")


def test_the_folder(tmp_path):
    with pytest.raises(DataError, match=r"images: no such folder; unpack WIDER_val\.zip"):
        wider.open_wider(tmp_path, "val")
    (tmp_path / "wider_face_split").mkdir()
    (tmp_path / "wider_face_split/wider_face_val_bbx_gt.txt").write_text(BOXES)
    folder = tmp_path / "WIDER_val/images/0--Parade"
    folder.mkdir(parents=True)
    pixels = np.zeros((4, 6, 3), np.uint8)
    pixels[..., 2] = 200  # red, in OpenCV's order
    cv2.imwrite(str(tmp_path / "WIDER_val/images" / PARADE), pixels)
    faces = wider.open_wider(tmp_path, "val")
    assert len(faces) == 3 and faces.missing == [RIOT, DANCE]
    assert faces.load(0).shape == (4, 6, 3) and faces.load(0)[0, 0, 0] > 150
    with pytest.raises(ImageError, match="cannot be read"):
        faces.load(1)
    (tmp_path / "label.txt").write_text(POINTS)
    assert wider.open_wider(tmp_path, "val", tmp_path / "label.txt").images[0].has_points.any()


def cell(items) -> np.ndarray:
    box = np.empty((len(items), 1), object)
    box[:, 0] = items
    return box


def subset_file(path, places, names=True):
    """In the layout of wider_easy_val.mat: a cell of events, each a cell of images."""
    images = [PARADE, RIOT, DANCE]
    lists = [cell([np.array(one, np.float64).reshape(-1, 1)]) for one in places]
    variables = {"gt_list": cell(lists)}
    listed = {
        "event_list": cell([image.split("/")[0] for image in images]),
        "file_list": cell([cell([image.split("/")[1].removesuffix(".jpg")]) for image in images]),
    }
    savemat(path, variables | (listed if names else {}))
    return listed


def test_subsets(tmp_path):
    (tmp_path / "gt.txt").write_text(BOXES)
    images = wider.read_boxes(tmp_path / "gt.txt")
    expected = [[False, True], [], [True]]
    subset_file(tmp_path / "wider_easy_val.mat", [[2], [], [1]])
    assert [mark.tolist() for mark in wider.read_subset(tmp_path / "wider_easy_val.mat", images)] == expected
    listed = subset_file(tmp_path / "bare.mat", [[2], [], [1]], names=False)
    savemat(tmp_path / "wider_face_val.mat", listed)
    assert [mark.tolist() for mark in wider.read_subset(tmp_path / "bare.mat", images)] == expected
    (tmp_path / "easy.txt").write_text(f"{PARADE}\t2\n{DANCE}\t1\n")
    assert [mark.tolist() for mark in wider.read_subset(tmp_path / "easy.txt", images)] == expected

    with pytest.raises(DataError, match="is not among the 2 images; give the same part"):
        wider.read_subset(tmp_path / "easy.txt", images[:2])
    for text, message in [
        (f"{PARADE}\t3", "face 3 of 0--Parade/0_Parade_a_1_849.jpg is named, which has 2, from 1"),
        (f"{PARADE}\t0", "face 0 of"),
        (f"{PARADE} 1", "line 1: EVENT/NAME.jpg expected"),
        (f"{PARADE}\tone", "line 1: a path and numbers, tab-separated, expected"),
    ]:
        (tmp_path / "bad.txt").write_text(text)
        with pytest.raises(DataError, match=rf"bad\.txt(, |: ){message}"):
            wider.read_subset(tmp_path / "bad.txt", images)
    subset_file(tmp_path / "short.mat", [[2], []])
    with pytest.raises(DataError, match=r"short\.mat: event_list, file_list and gt_list of the same"):
        wider.read_subset(tmp_path / "short.mat", images)
    subset_file(tmp_path / "inf.mat", [[np.inf], [], [1]])
    with pytest.raises(DataError, match=r"inf\.mat: event_list"):
        wider.read_subset(tmp_path / "inf.mat", images)
