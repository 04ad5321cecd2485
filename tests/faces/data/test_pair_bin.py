"""InsightFace's .bin files: pairs, folds, damage, the real file."""

import pickle

import numpy as np
import pytest

from faces.data.pair_bin import read_pair_bin
from faces.errors import DataError, ImageError
from tests.faces.data.makers import encoded, picture
from tests.faces.data.pair_makers import IMAGES, MIXED, attacks, pair_bin


def test_pair_i_is_images_2i_and_2i_plus_1(tmp_path):
    pairs = read_pair_bin(pair_bin(tmp_path / "x.bin"))
    assert pairs.encoded == tuple(IMAGES) and pairs.numbers == tuple(range(40))
    assert pairs.first.tolist() == list(range(0, 40, 2)) and pairs.second.tolist() == list(range(1, 40, 2))
    assert pairs.same.tolist() == MIXED and pairs.same.dtype == bool
    assert pairs.fold.tolist() == np.repeat(np.arange(10), 2).tolist() and pairs.remark == ""
    for seed, image in enumerate(pairs.decoded()):
        np.testing.assert_array_equal(image, picture(seed))


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_bytes_and_of_labels_are_read_alike(tmp_path, protocol):
    expected = read_pair_bin(pair_bin(tmp_path / "x.bin"))
    flat = [np.frombuffer(data, np.uint8) for data in IMAGES]
    column = [np.frombuffer(data, np.uint8)[:, None] for data in IMAGES]
    for images, same in ((flat, np.array(MIXED)), (column, [np.bool_(one) for one in MIXED]), (IMAGES, [1, 0] * 10)):
        read = read_pair_bin(pair_bin(tmp_path / "x.bin", images, same, protocol))
        assert read.encoded == expected.encoded
        assert read.same.tolist() == MIXED


def test_equal_bytes_are_one_image(tmp_path):
    images = [*IMAGES[:37], IMAGES[5], bytes(bytearray(IMAGES[7])), IMAGES[39]]
    pairs = read_pair_bin(pair_bin(tmp_path / "x.bin", images))
    assert len(pairs.encoded) == 38 and pairs.numbers == (*range(37), 39)
    both = np.stack([pairs.first, pairs.second], axis=1).ravel()
    assert [pairs.encoded[position] for position in both] == images


def test_one_kind_after_the_other_is_cut_kind_by_kind(tmp_path):
    same = [True] * 12 + [False] * 10
    pairs = read_pair_bin(pair_bin(tmp_path / "x.bin", [*IMAGES, *IMAGES[:4]], same))
    assert pairs.fold.tolist() == [0, 0, 1, 1, 2, 3, 4, 5, 6, 7, 8, 9, *range(10)]
    assert pairs.remark.startswith("folds of our own, not the official ones")


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ((IMAGES, MIXED[:-1]), "40 images for 19 pairs, two for each expected"),
        ((IMAGES[:-1], MIXED), "39 images for 20 pairs"),
        (([], []), "0 of 0 pairs are of one person"),
        ((IMAGES[:18], MIXED[:9]), "5 of 9 pairs are of one person; ten folds that each hold both kinds need ten"),
        ((IMAGES, [True] * 20), "0 of 20 pairs are of two people"),
        (IMAGES, "a list of images and a list of labels expected"),
        ((IMAGES, MIXED, None), "a list of images and a list of labels expected"),
        (b"bytes", "a list of images and a list of labels expected"),
        ((b"bytes", MIXED), "its first half is no list of images"),
        ((IMAGES, b"bytes"), "its second half is no list of labels"),
        ((IMAGES, np.zeros((20, 2), bool)), "its second half is no list of labels"),
        ((["text"] * 40, MIXED), "image 0: not the bytes of an encoded image"),
        (([*IMAGES[:39], None], MIXED), "image 39: not the bytes of an encoded image"),
        (([*IMAGES[:39], np.zeros((20, 16, 3))], MIXED), "image 39: not the bytes of an encoded image"),
        ((IMAGES, [*MIXED[:7], 2, *MIXED[8:]]), "pair 7: its label is neither True nor False"),
        ((IMAGES, [*MIXED[:7], None, *MIXED[8:]]), "pair 7: its label is neither True nor False"),
        ((IMAGES, np.full(20, 0.5)), "pair 0: its label is neither True nor False"),
    ],
)
def test_other_content_is_refused(tmp_path, value, message):
    (tmp_path / "x.bin").write_bytes(pickle.dumps(value))
    with pytest.raises(DataError, match=rf"x\.bin(: |, ){message}.*\.$"):
        read_pair_bin(tmp_path / "x.bin")


def test_images_of_other_sizes_and_broken_images_are_named(tmp_path):
    other = encoded(picture(0, 16, 20))
    pairs = read_pair_bin(pair_bin(tmp_path / "x.bin", [*IMAGES[:17], other, *IMAGES[18:]]))
    with pytest.raises(DataError, match=r"x\.bin, image 17: 20x16 pixels, but image 0 has 16x20"):
        list(pairs.decoded())
    pairs = read_pair_bin(pair_bin(tmp_path / "x.bin", [*IMAGES[:23], IMAGES[23][:-30], *IMAGES[24:]]))
    with pytest.raises(ImageError, match=r"x\.bin, image 23: PNG image that does not decode"):
        list(pairs.decoded())
    with pytest.raises(ImageError, match=r"x\.bin, image 0: is text"):
        list(read_pair_bin(pair_bin(tmp_path / "x.bin", [b"text"] * 40)).decoded())


def test_attacks_cuts_and_other_files(tmp_path):
    marker = tmp_path / "marker"
    for name, pickles in attacks(marker).items():
        for data in pickles:
            (tmp_path / "lfw.bin").write_bytes(data)
            with pytest.raises(DataError, match=f"lfw.bin, byte .* asks for {name};.*nothing was executed"):
                read_pair_bin(tmp_path / "lfw.bin")
            assert not marker.exists()
    whole = pair_bin(tmp_path / "x.bin").read_bytes()
    for data in (whole[: len(whole) // 2], b"", b"10\t300\n", IMAGES[0], encoded(picture(0), ".jpg")):
        (tmp_path / "x.bin").write_bytes(data)
        with pytest.raises(DataError, match=r"x\.bin(, byte \d+: |: cannot be read \(the file is empty)"):
            read_pair_bin(tmp_path / "x.bin")
    with pytest.raises(DataError, match=r"absent\.bin: cannot be read"):
        read_pair_bin(tmp_path / "absent.bin")


@pytest.mark.realdata
def test_real_file(faces_data):
    path = faces_data / "bin" / "lfw_fold1.bin"
    images, same = pickle.loads(path.read_bytes())  # a file of our own making
    pairs = read_pair_bin(path)
    both = np.stack([pairs.first, pairs.second], axis=1).ravel()
    assert [pairs.encoded[position] for position in both] == images
    assert pairs.same.tolist() == same == [True] * 300 + [False] * 300
    assert len(pairs.encoded) == len(set(images)) == 807
    assert pairs.fold.tolist() == np.repeat(np.arange(10), 30).tolist() * 2
    assert "not the official ones" in pairs.remark
    assert {image.shape for image in pairs.decoded()} == {(112, 112, 3)}
