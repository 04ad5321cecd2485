"""Verification sets as arrays: layouts, crops, lowered quality, missing images, generated faces."""

import dataclasses
from functools import cache

import numpy as np
import pytest

from faces.data import augment
from faces.errors import DataError, EvaluationError
from faces.evaluate import pair_set
from faces.evaluate.pair_set import generated_pair_set, open_pair_set
from tests.faces.configs import tiny
from tests.faces.data.makers import encoded, image_folder, picture
from tests.faces.data.pair_makers import CALFW, FRONTAL, MIXED, cfp, pair_bin, two_line_list

PEOPLE = ("Di", "Ann", "Bo", "Cy")
PICTURES = {person: [picture(10 * i + j, 32, 32) for j in range(2)] for i, person in enumerate(PEOPLE)}
LIST = [
    "2\t2",
    "Ann\t1\t2", "Bo\t1\t2", "Ann\t1\tBo\t2", "Bo\t1\tAnn\t2",
    "Cy\t1\t2", "Di\t1\t2", "Cy\t1\tDi\t1", "Di\t2\tCy\t2",
]  # fmt: skip
NAMES = ("Ann/Ann_0001.jpg", "Ann/Ann_0002.jpg", "Bo/Bo_0001.jpg", "Bo/Bo_0002.jpg",
         "Cy/Cy_0001.jpg", "Cy/Cy_0002.jpg", "Di/Di_0001.jpg", "Di/Di_0002.jpg")  # fmt: skip
WHOLE = (0.0, 0.0, 1.0, 1.0)
UNEVEN = (0.25, 0.5, 0.75, 0.875)  # columns 8 to 24, rows 16 to 28


@pytest.fixture
def folder(tmp_path):
    files = {person: [encoded(pixels) for pixels in pictures] for person, pictures in PICTURES.items()}
    image_folder(tmp_path / "lfw", files)
    (tmp_path / "lfw" / "pairs.txt").write_text("\n".join(LIST) + "\n")
    return tmp_path / "lfw"


def evaluation(**changes):
    return dataclasses.replace(tiny().evaluation, **{"crop": WHOLE, "jpeg_quality": 0, "pixels": 0, **changes})


def original(name):
    person, number = name.removesuffix(".jpg").split("/")[1].split("_")
    return PICTURES[person][int(number) - 1]


def test_pairs_and_crops_of_the_list(folder):
    pairs = open_pair_set("lfw", folder, (12, 16), evaluation(crop=UNEVEN))
    assert pairs.name == "lfw" and not pairs.generated and pairs.missing == ()
    assert pairs.names == NAMES
    assert pairs.images.shape == (8, 12, 16, 3) and pairs.images.dtype == np.uint8
    for name, image in zip(NAMES, pairs.images, strict=True):
        np.testing.assert_array_equal(image, original(name)[16:28, 8:24])
    listed = [(pairs.names[i][:-4], pairs.names[j][:-4]) for i, j in zip(pairs.first, pairs.second, strict=True)]
    assert listed[2] == ("Ann/Ann_0001", "Bo/Bo_0002")
    assert listed[5] == ("Di/Di_0001", "Di/Di_0002")
    assert listed[7] == ("Di/Di_0002", "Cy/Cy_0002")
    assert pairs.same.tolist() == [True, True, False, False] * 2
    assert pairs.fold.tolist() == [0] * 4 + [1] * 4


def test_jpeg_quality_is_lowered_on_the_face_at_its_own_scale(folder):
    config = evaluation(crop=UNEVEN, jpeg_quality=10)
    same, smaller = (open_pair_set("lfw", folder, size, config).images for size in ((12, 16), (6, 8)))
    for name, image, small in zip(NAMES, same, smaller, strict=True):
        face = original(name)[16:28, 8:24]
        np.testing.assert_array_equal(image, augment.recompress(face, 10))
        np.testing.assert_array_equal(small, augment.crop(image, (6, 8)))
        assert (image != face).any()


def test_pixels_are_those_of_the_face(folder):
    """The face's 12 x 16 pixels become 6 x 8 = 48 means, which are then brought to the network's size."""
    shrunk, enlarged = (
        open_pair_set("lfw", folder, size, evaluation(crop=UNEVEN, pixels=48)).images for size in ((6, 8), (12, 16))
    )
    for name, small, large in zip(NAMES, shrunk, enlarged, strict=True):
        face = original(name)[16:28, 8:24]
        np.testing.assert_allclose(small, face.reshape(6, 2, 8, 2, 3).mean(axis=(1, 3)), atol=0.51)
        np.testing.assert_array_equal(large, augment.crop(small, (12, 16)))
        assert (large != face).any()


def test_a_number_of_pixels_that_shrinks_nothing_is_said_to(folder):
    """Faces of 12x16 = 192 pixels: 191 shrink them, 192 and more do not, and the tests' remark says so."""
    remarks = [
        open_pair_set("lfw", folder, (12, 16), evaluation(crop=UNEVEN, pixels=pixels)).remark
        for pixels in (0, 191, 192, 25_600)
    ]
    assert remarks[:2] == ["", ""]
    for pixels, remark in zip(("192", "25,600"), remarks[2:], strict=True):
        assert f"pixels = {pixels} shrinks nothing: all 8 faces have no more (12x16 = 192 at most)" in remark
    (folder / "Di" / "Di_0001.png").write_bytes(encoded(picture(0, 64, 64)))
    remark = open_pair_set("lfw", folder, (12, 16), evaluation(pixels=1024)).remark
    assert remark == "pixels = 1,024 shrinks 1 of 8 faces; the others have no more"


def test_pixels_are_lowered_before_the_quality(folder):
    pairs = open_pair_set("lfw", folder, (16, 16), evaluation(pixels=256, jpeg_quality=30))
    for name, image in zip(NAMES, pairs.images, strict=True):
        np.testing.assert_array_equal(image, augment.recompress(augment.reduce_pixels(original(name), 256), 30))


def embeddings_of_people():
    """Each person in another direction, the two images of each a little apart."""
    angle = np.repeat(np.arange(4) * 1.3, 2) + np.tile([0.0, 0.1], 4)  # (images,)
    return np.stack([np.cos(angle), np.sin(angle)], axis=1).astype(np.float32)


def test_judge(folder):
    pairs = open_pair_set("lfw", folder, (8, 8), evaluation())
    result = pairs.evaluate(embeddings_of_people(), far=0.01)
    assert (result.accuracy, result.val, result.coverage, result.far_target) == (1.0, 1.0, 1.0, 0.01)
    swapped = embeddings_of_people()
    swapped[[1, 2]] = swapped[[2, 1]]  # the second Ann and the first Bo
    assert pairs.evaluate(swapped, far=0.01).accuracy < 1.0


def test_a_missing_image_is_named_and_refused_unless_allowed(folder):
    (folder / "Bo" / "Bo_0002.png").unlink()
    pairs = open_pair_set("lfw", folder, (8, 8), evaluation())
    assert pairs.missing == ("Bo/Bo_0002.jpg",)
    assert pairs.names == NAMES
    assert not pairs.images[3].any()
    embeddings = embeddings_of_people()
    embeddings[3] = np.nan  # a black image may give anything
    with pytest.raises(EvaluationError, match=r"2 of 8 pairs lack a picture \(Bo/Bo_0002\.jpg\)"):
        pairs.evaluate(embeddings, far=0.01)
    result = pairs.evaluate(embeddings, far=0.01, allow_missing=True)
    assert (result.pairs, result.listed, result.coverage) == (6, 8, 0.75)
    assert result.missing == ("Bo/Bo_0002.jpg",)
    assert result.accuracy == 1.0


# 64 pixels, as in the tests of the generator: one compilation serves both.
GENERATED = {"identities": 20, "images_per_identity": 13, "size": (64, 64), "seed": 3, "first_identity": 7}


def test_generated_pairs():
    pairs = generated_pair_set(**GENERATED, config=evaluation())
    assert pairs.generated and pairs.missing == () and pairs.name == "generated"
    assert pairs.images.shape == (260, 64, 64, 3) and pairs.images.dtype == np.uint8
    assert pairs.names[0] == "identity 7, image 0" and pairs.names[-1] == "identity 26, image 12"
    assert len(set(pairs.names)) == 260
    assert np.bincount(pairs.fold).tolist() == [300] * 10
    person = np.array([int(name.split(",")[0].removeprefix("identity ")) for name in pairs.names])
    np.testing.assert_array_equal(person[pairs.first] == person[pairs.second], pairs.same)
    assert pairs.same.mean() == 0.5
    for one in range(10):
        inside = pairs.fold == one
        mine, others = ({*person[pairs.first[at]], *person[pairs.second[at]]} for at in (inside, ~inside))
        assert len(mine) == 2 and not mine & others
    assert pairs.evaluate(np.eye(20, dtype=np.float32)[person - 7], far=0.01).accuracy == 1.0


def test_the_quality_of_generated_faces_is_lowered_as_of_others(monkeypatch):
    monkeypatch.setattr(pair_set, "generated_faces", cache(pair_set.generated_faces))
    plain, degraded, as_large, narrow = (
        generated_pair_set(**{**GENERATED, "size": size}, config=evaluation(crop=UNEVEN, **changes))
        for size, changes in (
            *(((64, 64), changes) for changes in ({}, {"pixels": 256, "jpeg_quality": 20}, {"pixels": 4096})),
            ((64, 48), {}),
        )
    )
    np.testing.assert_array_equal(narrow.images[5], augment.crop(plain.images[5], (64, 48)))
    expected = augment.recompress(augment.reduce_pixels(plain.images[5], 256), 20)
    np.testing.assert_array_equal(degraded.images[5], augment.crop(expected, (64, 64)))
    assert (plain.remark, degraded.remark) == ("", "")
    assert "shrinks nothing: all 260 faces have no more (64x64 = 4,096 at most)" in as_large.remark


def test_bin_is_aligned_and_never_cropped(tmp_path):
    path = pair_bin(tmp_path / "agedb_30.bin")
    pairs = open_pair_set("agedb_30", path, (20, 16), evaluation(crop=UNEVEN))
    assert pairs.names == tuple(f"image {number}" for number in range(40))
    assert pairs.images.shape == (40, 20, 16, 3) and pairs.images.dtype == np.uint8
    for seed, image in enumerate(pairs.images):
        np.testing.assert_array_equal(image, picture(seed))
    assert pairs.same.tolist() == MIXED and pairs.remark == "" and not pairs.generated
    smaller = open_pair_set("agedb_30", path, (10, 8), evaluation(crop=UNEVEN))
    np.testing.assert_array_equal(smaller.images[7], augment.crop(picture(7), (10, 8)))
    degraded = open_pair_set("agedb_30", path, (20, 16), evaluation(jpeg_quality=10))
    np.testing.assert_array_equal(degraded.images[7], augment.recompress(picture(7), 10))


def test_bin_with_one_kind_after_the_other_is_judged_with_a_note(tmp_path):
    path = pair_bin(tmp_path / "x.bin", same=[True] * 10 + [False] * 10)
    pairs = open_pair_set("x", path, (8, 8), evaluation())
    assert "not the official ones" in pairs.remark
    embeddings = np.eye(40, dtype=np.float32)
    for first, second in zip(pairs.first[pairs.same], pairs.second[pairs.same], strict=True):
        embeddings[second] = embeddings[first]
    assert pairs.evaluate(embeddings, far=0.1).accuracy == 1.0


@pytest.mark.parametrize(("name", "protocol", "profiles"), [("cfp_fp", "FP", 8), ("cfp_ff", "FF", 0)])
def test_cfp_by_its_name(tmp_path, name, protocol, profiles):
    expected = cfp(tmp_path)[protocol]
    (tmp_path / "Data" / "Images" / "001" / "frontal" / "01.jpg").unlink()
    pairs = open_pair_set(name, tmp_path, (8, 4), evaluation(crop=UNEVEN))
    assert pairs.fold.tolist() == [fold for fold, *_ in expected]
    assert pairs.same.tolist() == [same for _, same, *_ in expected]
    assert pairs.missing == ("Data/Images/001/frontal/01.jpg",)
    assert sum("profile" in image for image in pairs.names) <= profiles and len(pairs.names) > 8
    row = pairs.first[0]
    a = expected[0][2]
    assert pairs.names[row].endswith(f"{(a - 1) % FRONTAL + 1:02d}.jpg")
    np.testing.assert_array_equal(pairs.images[row], augment.crop(picture(a - 1), (8, 4), UNEVEN))
    with pytest.raises(EvaluationError, match=r"pairs lack a picture \(Data/Images/001/frontal/01\.jpg\)"):
        pairs.evaluate(np.eye(len(pairs.names), dtype=np.float32), far=0.1)


def test_two_line_lists(tmp_path):
    first, _ = two_line_list(tmp_path / "pairs_CALFW.txt", CALFW)
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / first[0]).write_bytes(encoded(picture(0)))
    pairs = open_pair_set("calfw", tmp_path, (20, 16), evaluation())
    assert len(pairs.missing) == 119 and "not the official ones" in pairs.remark
    np.testing.assert_array_equal(pairs.images[pairs.first[0]], picture(0))


def test_what_cannot_be_opened(tmp_path, folder):
    cfp(tmp_path / "cfp")
    (tmp_path / "x.txt").write_text("text")
    for name, path, message in [
        ("cfp", tmp_path / "cfp", r'is CFP; call it cfp_fp \(frontal-profile\) or cfp_ff \(frontal\), not "cfp"'),
        ("lfw", tmp_path / "absent", "a .bin file of pairs or the folder of a verification set expected"),
        ("lfw", tmp_path / "x.txt", "a .bin file of pairs or the folder of a verification set expected"),
        ("lfw", tmp_path / "absent.bin", "cannot be read"),
        ("lfw", folder / "Ann", r"pairs\.txt is neither in it nor beside it"),
    ]:
        if path == folder / "Ann":
            (folder / "pairs.txt").unlink()
        with pytest.raises(DataError, match=message):
            open_pair_set(name, path, (8, 8), evaluation())


@pytest.mark.realdata
def test_real_bin(faces_data):
    pairs = open_pair_set("lfw_fold1", faces_data / "bin" / "lfw_fold1.bin", (112, 112), evaluation(crop=UNEVEN))
    assert pairs.images.shape == (807, 112, 112, 3)
    assert np.bincount(pairs.fold).tolist() == [60] * 10
    pixels = pairs.images[:, ::8, ::8].reshape(807, -1).astype(np.float32)
    pixels -= pixels.mean(axis=1)[:, None]
    result = pairs.evaluate(pixels / np.linalg.norm(pixels, axis=1)[:, None], far=0.1)
    assert 0.55 < result.accuracy < 0.75  # what raw pixels of aligned faces reach
