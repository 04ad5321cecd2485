"""Prepared datasets: what goes in comes out, labels agree, nothing half-written, damage is refused."""

import json
import pickle
import sys
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import pytest
import tensorflow_datasets as tfds

from faces.data import prepared, preparing
from faces.data.image_folder import FolderSource
from faces.data.lfw import read_lfw
from faces.data.open import detect_kind, open_source
from faces.data.prepared import PreparedFaces
from faces.data.preparing import FEATURES, in_one_order, write_prepared
from faces.errors import DataError, OutputError
from tests.faces.data.makers import encoded, image_folder, insightface_rec, picture

PICTURES = [picture(seed, height=12 + seed, width=20) for seed in range(7)]
PNG = [encoded(pixels) for pixels in PICTURES]
PEOPLE = {"Zoë Å": PNG[:3], "ann": PNG[3:4], "Борис": PNG[4:7]}  # in the order of their code points


@pytest.fixture
def folder(tmp_path):
    return image_folder(tmp_path / "source", PEOPLE)


def listing(path):
    return sorted(str(p.relative_to(path)) for p in path.rglob("*"))


def test_round_trip_of_an_image_folder(folder, tmp_path):
    source = FolderSource(folder)
    summary = write_prepared(source, tmp_path / "out")
    prepared = PreparedFaces(tmp_path / "out")
    assert len(prepared) == len(source) == 7
    np.testing.assert_array_equal(prepared.identities, source.identities)
    assert prepared.identities.dtype == np.int32
    assert prepared.identity_names == source.identity_names
    for index in range(7):
        np.testing.assert_array_equal(prepared[index], source[index])
        assert prepared.encoded(index) == source.encoded(index)
        assert prepared.source_name(index) == source.source_name(index)
    assert summary.quarantined == []
    assert summary.images_per_identity.tolist() == [3, 1, 3]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["out", "source"]


def test_round_trip_of_records(tmp_path):
    rec = insightface_rec(tmp_path / "train.rec", [PNG[:2], PNG[2:3], PNG[3:]])
    write_prepared(open_source(rec).source, tmp_path / "out")
    prepared = open_source(tmp_path / "out").source
    assert prepared.identities.tolist() == [0, 0, 1, 2, 2, 2, 2]
    assert prepared.identity_names == ["0", "1", "2"]
    for index in range(7):
        np.testing.assert_array_equal(prepared[index], PICTURES[index])


def test_jpeg_bytes_are_kept_and_odd_ones_stored_as_png(tmp_path):
    jpeg = encoded(PICTURES[0], ".jpg")
    bitmap = encoded(PICTURES[1], ".bmp")
    write_prepared(FolderSource(image_folder(tmp_path / "in", {"a": [jpeg], "b": [bitmap]}, ".jpg")), tmp_path / "out")
    prepared = PreparedFaces(tmp_path / "out")
    assert prepared.encoded(0) == jpeg
    assert prepared.encoded(1).startswith(b"\x89PNG")
    np.testing.assert_array_equal(prepared[1], PICTURES[1])


def test_tfds_reads_it_without_tensorflow(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(preparing, "SHARD_BYTES", 1500)
    write_prepared(FolderSource(folder), tmp_path / "out")
    assert len(list((tmp_path / "out").glob("*.array_record-*"))) > 1
    examples = tfds.builder_from_directory(tmp_path / "out").as_data_source("train")
    prepared = PreparedFaces(tmp_path / "out")
    assert len(examples) == 7
    for index, example in enumerate(examples):
        np.testing.assert_array_equal(example["image"], prepared[index])
        assert example["identity"] == prepared.identities[index]
        assert example["identity_name"].decode() == prepared.identity_names[example["identity"]]
        assert example["source"].decode() == prepared.source_name(index)
    assert "tensorflow" not in sys.modules


def test_bad_images_are_quarantined_and_labels_stay_without_gaps(tmp_path):
    people = {"a": [b"text", PNG[0]], "b": [PNG[1][:40], b""], "c": [PNG[2], PNG[3]], "d": [PNG[4]]}
    summary = write_prepared(FolderSource(image_folder(tmp_path / "in", people)), tmp_path / "out")
    prepared = PreparedFaces(tmp_path / "out")
    assert prepared.identity_names == ["a", "c", "d"]
    assert prepared.identities.tolist() == [0, 1, 1, 2]
    np.testing.assert_array_equal(prepared[0], PICTURES[0])
    assert [name for name, _ in summary.quarantined] == ["a/a_0001.png", "b/b_0001.png", "b/b_0002.png"]
    lines = (tmp_path / "out" / "quarantine.csv").read_text("utf-8").splitlines()
    assert lines[0] == "source,reason"
    assert [line.split(",")[0] for line in lines[1:]] == ["a/a_0001.png", "b/b_0001.png", "b/b_0002.png"]
    assert lines[3] == "b/b_0002.png,no bytes in it."


def test_crop_and_size(folder, tmp_path):
    write_prepared(FolderSource(folder), tmp_path / "crop", crop=(2, 1, 9, 11))
    write_prepared(FolderSource(folder), tmp_path / "size", size=6)
    write_prepared(FolderSource(folder), tmp_path / "both", crop=(2, 1, 12, 11), size=5)
    crop, size, both = (PreparedFaces(tmp_path / name) for name in ("crop", "size", "both"))
    for index, pixels in enumerate(PICTURES):
        np.testing.assert_array_equal(crop[index], pixels[1:11, 2:9])
        height = pixels.shape[0]  # less than the width, 20
        left = (20 - height) // 2
        square = np.ascontiguousarray(pixels[:, left : left + height])
        np.testing.assert_array_equal(size[index], cv2.resize(square, (6, 6), interpolation=cv2.INTER_AREA))
        blocks = pixels[1:11, 2:12].reshape(5, 2, 5, 2, 3).astype(float).mean(axis=(1, 3))
        assert np.abs(both[index] - blocks).max() <= 0.5
    assert json.loads((tmp_path / "both" / "prepared.json").read_text())["crop"] == [2, 1, 12, 11]


def test_an_image_that_the_crop_does_not_fit_in_is_quarantined(folder, tmp_path):
    summary = write_prepared(FolderSource(folder), tmp_path / "out", crop=(0, 0, 20, 14))
    assert summary.quarantined == [
        (f"Zoë Å/Zoë Å_000{number}.png", f"the crop to 20, 14 does not fit in 20x{height} pixels.")
        for number, height in [(1, 12), (2, 13)]
    ]


def test_an_image_of_the_asked_size_keeps_its_bytes(tmp_path):
    files = [encoded(picture(seed, 8, 8), ".jpg") for seed in range(2)]
    source = FolderSource(image_folder(tmp_path / "in", {"a": files[:1], "b": files[1:]}, ".jpg"))
    write_prepared(source, tmp_path / "out", size=8, crop=(0, 0, 8, 8))
    assert [PreparedFaces(tmp_path / "out").encoded(i) for i in range(2)] == files


@pytest.mark.parametrize("error", [KeyboardInterrupt(), DataError("x"), OSError(28, "No space left on device")])
def test_nothing_is_left_behind(folder, tmp_path, error):
    def stop(images):
        raise error

    before = listing(tmp_path)
    with pytest.raises(OutputError if isinstance(error, OSError) else type(error)):
        write_prepared(FolderSource(folder), tmp_path / "new" / "out", progress=stop)
    assert listing(tmp_path) == before


def test_a_stopped_overwrite_leaves_the_old_dataset(folder, tmp_path):
    out = tmp_path / "out"
    write_prepared(FolderSource(folder), out, size=4)

    def stop(images):
        raise KeyboardInterrupt

    before = listing(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        write_prepared(FolderSource(folder), out, overwrite=True, progress=stop)
    assert listing(tmp_path) == before
    assert PreparedFaces(out)[0].shape == (4, 4, 3)
    write_prepared(FolderSource(folder), out, overwrite=True)
    assert PreparedFaces(out)[0].shape != (4, 4, 3)
    assert listing(tmp_path) == before


def test_where_it_may_not_write(folder, tmp_path):
    source = FolderSource(folder)
    write_prepared(source, tmp_path / "out")
    with pytest.raises(OutputError, match=r"holds results already; .*--overwrite"):
        write_prepared(source, tmp_path / "out")
    with pytest.raises(OutputError, match="is not empty, and no results of these commands"):
        write_prepared(source, folder, overwrite=True)
    with pytest.raises(OutputError, match="is a file"):
        write_prepared(source, folder / "ann" / "ann_0001.png", overwrite=True)
    (tmp_path / "empty").mkdir()
    write_prepared(source, tmp_path / "empty")
    assert len(PreparedFaces(tmp_path / "empty")) == 7


def test_one_identity_and_no_usable_image(tmp_path):
    one = FolderSource(image_folder(tmp_path / "one", {"ann": PNG[:3]}))
    left = FolderSource(image_folder(tmp_path / "left", {"ann": PNG[:1], "bob": [b"text"]}))
    none = FolderSource(image_folder(tmp_path / "none", {"ann": [b""], "bob": [b"text"]}))
    before = listing(tmp_path)
    for source in (one, left):
        with pytest.raises(DataError, match="usable images of 1 person; a dataset needs faces of at least two"):
            write_prepared(source, tmp_path / "out")
    with pytest.raises(DataError, match=r"none of its 2 images is usable, ann/ann_0001\.png: no bytes in it"):
        write_prepared(none, tmp_path / "out")
    assert listing(tmp_path) == before


def test_threads_and_pickle(folder, tmp_path):
    write_prepared(FolderSource(folder), tmp_path / "out")
    prepared = pickle.loads(pickle.dumps(PreparedFaces(tmp_path / "out")))
    source = FolderSource(folder)
    with ThreadPoolExecutor(8) as pool:
        for index, pixels in enumerate(pool.map(lambda i: prepared[i % 7], range(70))):
            np.testing.assert_array_equal(pixels, source[index % 7])


def test_a_stream_is_what_indexing_gives(folder, tmp_path, monkeypatch):
    monkeypatch.setattr(prepared, "FETCHED", 3)
    monkeypatch.setattr(preparing, "SHARD_BYTES", 1500)  # several files
    write_prepared(FolderSource(folder), tmp_path / "out")
    faces = PreparedFaces(tmp_path / "out")
    for indices in ([4], [6, 0, 3, 3, 1, 5, 0, 2], []):
        given = list(faces.stream(np.array(indices, np.int64)))
        assert len(given) == len(indices)
        for pixels, index in zip(given, indices, strict=True):
            np.testing.assert_array_equal(pixels, faces[index])


def test_damage_is_refused(folder, tmp_path):
    out = tmp_path / "out"

    def damage(name, change):
        write_prepared(FolderSource(folder), out, overwrite=True)
        (file,) = out.glob(name)
        file.write_bytes(change(file.read_bytes()))

    damage("*.array_record-*", lambda data: data[: len(data) // 2])
    with pytest.raises(DataError, match=r"is damaged .*; prepare it again"):
        PreparedFaces(out)
    damage("*.array_record-*", lambda data: data.replace(b"ann/ann_0001.png", b"ann/ann_0002.png"))
    damaged = PreparedFaces(out)
    with pytest.raises(DataError, match=r"image \d: the record is damaged") as one_by_one:
        [damaged[i] for i in range(7)]
    with pytest.raises(DataError) as in_a_stream:
        list(damaged.stream(np.arange(7)))
    assert str(in_a_stream.value) == str(one_by_one.value)
    damage("identities.npy", lambda data: data[:-3])
    with pytest.raises(DataError, match="is damaged"):
        PreparedFaces(out)
    np.save(out / "identities.npy", np.zeros(6, np.int32))
    with pytest.raises(DataError, match=r"identities\.npy holds int32 \(6,\), the record files hold 7 images"):
        PreparedFaces(out)
    np.save(out / "identities.npy", np.zeros(7, np.int32))
    with pytest.raises(DataError, match=r"the labels are not 0 to 2"):
        PreparedFaces(out)
    np.save(out / "identities.npy", np.array([{}] * 7, object), allow_pickle=True)
    with pytest.raises(DataError, match="is damaged"):
        PreparedFaces(out)
    damage("identity_names.json", lambda data: b"[")
    with pytest.raises(DataError, match="is damaged"):
        PreparedFaces(out)
    with pytest.raises(DataError, match=r"no prepared dataset \(prepared\.json is missing\)"):
        PreparedFaces(folder)


def test_kinds_are_told_apart(folder, tmp_path):
    rec = insightface_rec(tmp_path / "train.rec", [PNG[:2], PNG[2:3]])
    write_prepared(FolderSource(folder), tmp_path / "prepared")
    assert detect_kind(folder) == "folder"
    assert detect_kind(rec) == detect_kind(tmp_path) == "records"
    assert detect_kind(tmp_path / "prepared") == "prepared"
    (folder / "pairs.txt").write_text("x")
    assert detect_kind(folder) == "lfw"
    folder.rename(tmp_path / "LFW-crops")
    (tmp_path / "LFW-crops" / "pairs.txt").rename(tmp_path / "pairs.txt")
    assert detect_kind(tmp_path / "LFW-crops") == "lfw"
    (tmp_path / "file.zip").write_text("x")
    with pytest.raises(DataError, match=r"file\.zip: is a file; a folder of faces or a \.rec file is expected"):
        open_source(tmp_path / "file.zip")
    with pytest.raises(DataError, match=r"absent: no such file or folder"):
        open_source(tmp_path / "absent")
    (tmp_path / "other.rec").write_text("x")
    with pytest.raises(DataError, match=r"2 \.rec files in it; name the one to read"):
        open_source(tmp_path)


def test_lfw_keeps_its_pairs(tmp_path):
    image_folder(tmp_path / "in" / "lfw", {"A": PNG[:2], "B": [PNG[2], b"text"]})
    (tmp_path / "in" / "pairs.txt").write_text("1\t1\nA\t1\t2\nA\t1\tB\t2\n")
    opened = open_source(tmp_path / "in")
    write_prepared(opened.source, tmp_path / "out", pair_lists=opened.pair_lists)
    lfw = read_lfw(tmp_path / "out")
    assert lfw.missing == ("B/B_0002.jpg",)
    np.testing.assert_array_equal(lfw.load("A/A_0002.jpg"), PICTURES[1])
    again = open_source(tmp_path / "out")
    write_prepared(again.source, tmp_path / "again", pair_lists=again.pair_lists, size=4)
    assert read_lfw(tmp_path / "again").load("A/A_0001.jpg").shape == (4, 4, 3)
    (tmp_path / "in" / "pairs.txt").write_text("1\t1\nA\t1\t2\nA\t1\n")
    with pytest.raises(DataError, match=r"pairs\.txt, line 3"):
        open_source(tmp_path / "in")
    (tmp_path / "in" / "pairs.txt").unlink()
    with pytest.raises(DataError, match="neither in it nor beside it"):
        open_source(tmp_path / "in", "lfw")


def test_the_same_set_is_the_same_bytes_in_every_process(folder, tmp_path):
    """Features stand in one order, whatever the process would make of their names' hashes."""
    write_prepared(FolderSource(folder), tmp_path / "out")
    record = PreparedFaces(tmp_path / "out")._record(0)
    assert record == in_one_order(record)
    serialised = FEATURES.serialize_example({"image": b"x", "identity": 3, "identity_name": b"Zo", "source": b"a/b"})
    assert in_one_order(serialised) == in_one_order(in_one_order(serialised)) and len(serialised) == len(
        in_one_order(serialised)
    )
