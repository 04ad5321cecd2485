"""The door for programs: photographs to embeddings, the same as the commands compute, and what is refused."""

import dataclasses
import io
import pickle
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

from faces.detect.detections import Detections
from faces.errors import CheckpointError, ConfigError, DataError, FacesError, ImageError, WeightsError
from faces.preprocessing import align
from recognizer import Comparison, FaceNotFound, Recognizer, open_detector, open_model
from recognizer import recognizer as module
from recognizer.cached_embedder import CachedEmbedder
from recognizer.description import Model, Verification
from recognizer.pipeline import Search, SearchSettings
from tests.experiments import setting


def columns(images: Sequence[np.ndarray]) -> list[Detections]:
    """A face in every 24 columns that are not black, the last with the best score."""
    found = []
    for image in images:
        left = np.array([x for x in range(0, image.shape[1], 24) if image[:, x : x + 24].any()][::-1], np.float32)
        boxes = np.stack([left, 0 * left, left + 24, 0 * left + 24], axis=1)  # (faces, 4)
        points = boxes[:, None, :2] + np.float32([[7, 8], [17, 8], [12, 12], [8, 17], [16, 17]])[None]
        found.append(Detections(boxes, points, np.linspace(0.9, 0.6, len(left), dtype=np.float32)))
    return found


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    """A model whose alignment needs no face, and photographs: a.png with one face, b.png with three, none.png."""
    root = tmp_path_factory.mktemp("recognizer")
    setting.one_matrix_model(root / "model")
    rng = np.random.default_rng(3)
    for name, places in (("a", 1), ("b", 3), ("none", 0)):
        picture = np.zeros((30, 24 * (places or 2), 3), np.uint8)
        picture[:, : 24 * places] = rng.integers(40, 200, (30, 24 * places, 3))
        cv2.imwrite(str(root / f"{name}.png"), picture)
    return root


def by_five_points(folder: Path, **changes) -> Model:
    """The model, aligned by five points."""
    model = open_model(folder / "model")
    how = dataclasses.replace(model.preprocessing, alignment="five_points", **changes)
    return dataclasses.replace(model, description=dataclasses.replace(model.description, preprocessing=how))


@pytest.fixture(scope="module")
def opened(folder: Path) -> Recognizer:
    return Recognizer(by_five_points(folder), columns)


def picture(path: Path) -> np.ndarray:
    return cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB)


@pytest.mark.parametrize("flip", ["none", "sum", "concatenate"])
def test_embeddings_are_those_of_the_commands(folder: Path, tmp_path: Path, monkeypatch, flip: str):
    model, paths = by_five_points(folder, flip=flip), [folder / "a.png", folder / "b.png"]
    of_program = Recognizer(model, columns, select="largest")
    x = of_program.embed(paths)
    (tmp_path / "detector.pth").write_bytes(b"made up")
    monkeypatch.setattr("recognizer.pipeline.open_detector", lambda name, weights, network, manifest: columns)
    search = Search(SearchSettings("retinaface", tmp_path / "detector.pth", None, "largest", cache=tmp_path))
    console = Console(file=io.StringIO())
    cut = search.cut(map(picture, paths), 2, "photographs", model.preprocessing, console)
    y = CachedEmbedder(model, tmp_path)(cut.faces, console)
    assert x.dtype == np.float32 and x.shape == y.shape == (2, of_program.embedding_dim)
    np.testing.assert_allclose(x, y, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(x, axis=1), 1, atol=1e-6)


def test_paths_words_and_arrays_are_one_photograph(opened: Recognizer, folder: Path):
    path = folder / "b.png"
    x = opened.embed([path, str(path), picture(path)])
    np.testing.assert_array_equal(x, np.repeat(x[:1], 3, axis=0))
    for one in (path, str(path), picture(path)):
        np.testing.assert_array_equal(opened.embed(one), x[:1])
    np.testing.assert_array_equal(opened.embed(np.stack([picture(path)] * 2)), x[:2])
    np.testing.assert_array_equal(opened.embed(np.array([str(path)] * 2)), x[:2])
    np.testing.assert_array_equal(opened.embed(one for one in (path, path)), x[:2])
    assert opened.embed([]).shape == (0, 8)


def test_arrays_of_other_kinds_are_photographs_too(opened: Recognizer, folder: Path):
    path, image = folder / "b.png", picture(folder / "b.png")
    x = opened.embed(path)
    wide = np.zeros((60, 144, 3), np.uint8)
    wide[::2, ::2] = image
    others = [jnp.array(image), np.asfortranarray(image), wide[::2, ::2], np.array(str(path)), image.astype(">u1")]
    for other in others:
        np.testing.assert_array_equal(opened.embed(other), x)
    np.testing.assert_array_equal(opened.embed(jnp.array([image, image])), np.repeat(x, 2, axis=0))
    assert len(opened.faces(jnp.array(image))) == 3


@pytest.mark.parametrize("threshold", ["0.3", float("nan"), True, [0.3], 2, None])
def test_thresholds_of_a_program(opened: Recognizer, threshold: Any):
    if threshold is None:
        for given in (np.float32(0.5), jnp.array(0.5), np.array(0.5), 1 / 2):
            assert Recognizer(opened.model, columns, threshold=given).threshold == 0.5  # pyright: ignore
        return
    with pytest.raises(ConfigError, match=re.escape(f"threshold = {threshold!r}: a cosine, -1 to 1, is expected.")):
        Recognizer(opened.model, columns, threshold=threshold)


@pytest.mark.parametrize("given", [None, 3, b"model", ["model"], "", np.zeros(2)])
def test_what_is_no_path_to_open(folder: Path, given: Any):
    words = "model: a path is expected, " + ("and this one is empty" if isinstance(given, str) else ".* is given")
    for asked in (Recognizer.open, open_model):
        with pytest.raises(ConfigError, match=words):
            asked(given)
    if given is not None:
        for options in ({"symbol": given}, {"manifest": given}, {"detector": "mtcnn", "detector_weights": given}):
            with pytest.raises(ConfigError, match=f"{list(options)[-1]}: a path is expected, "):
                Recognizer.open(folder / "model", **options)


def test_what_is_no_model_and_no_detector(opened: Recognizer, folder: Path):
    given: Any
    for given in (None, str(folder / "model")):
        with pytest.raises(ConfigError, match=r"^model: one of open_model is expected, .* Recognizer.open opens"):
            Recognizer(given)
    given = "mtcnn"
    with pytest.raises(ConfigError, match=r"^detect: a function of open_detector is expected, str is given"):
        Recognizer(opened.model, given)
    of_looks = ({"confidence": "0.5"}, {"confidence": float("nan")}, {"longest_side": "128"}, {"longest_side": [1]})
    for options in ({"name": 3}, *of_looks):
        with pytest.raises(ConfigError, match=r'no detector "3"|(confidence|longest_side) = .* is expected'):
            open_detector(**{"name": "mtcnn", **options})
    with pytest.raises(ConfigError, match="network: a name is expected, int is given"):
        open_model(folder / "a.png", network=3)  # pyright: ignore[reportArgumentType]


def test_every_face_of_a_photograph(opened: Recognizer, folder: Path):
    found, image = opened.faces(folder / "b.png"), picture(folder / "b.png")
    (expected,) = columns([image])
    assert [face.score for face in found] == expected.scores.tolist() and len(found) == 3
    np.testing.assert_array_equal([face.box for face in found], expected.boxes)
    np.testing.assert_array_equal([face.points for face in found], expected.points)
    middle = opened.embed(folder / "b.png")[0]
    np.testing.assert_allclose([face.embedding @ middle > 1 - 1e-5 for face in found], [False, True, False])
    for rule, face in (("best", found[0]), ("most_central", found[1])):
        one = Recognizer(opened.model, columns, select=rule).embed(image)
        np.testing.assert_allclose(one[0], face.embedding, atol=1e-6)
    assert opened.faces(folder / "none.png") == []


def test_who_is_compared(opened: Recognizer, folder: Path):
    a, b = folder / "a.png", folder / "b.png"
    x = opened.embed([a, b])
    assert opened.compare(a, b) == Comparison(pytest.approx(float(x[0] @ x[1]), abs=1e-6), None, None)
    told = Recognizer(opened.model, columns, threshold=0.9).compare(a, a)
    assert told == Comparison(pytest.approx(1.0), 0.9, True) and told.cosine <= 1
    cosine = opened.compare(a, b).cosine
    for threshold, same in ((cosine, True), (cosine + 1e-4, False)):
        assert Recognizer(opened.model, columns, threshold=threshold).compare(a, b).same is same


def test_the_threshold_of_a_model(folder: Path):
    description = open_model(folder / "model").description
    calibrated = dataclasses.replace(description, verification=Verification(0.4))
    model = dataclasses.replace(open_model(folder / "model"), description=calibrated)
    assert Recognizer(model).threshold == 0.4 and Recognizer(model, threshold=-0.1).threshold == -0.1


def test_photographs_without_a_face_are_all_named(opened: Recognizer, folder: Path):
    none, black = folder / "none.png", np.zeros((9, 9, 3), np.uint8)
    with pytest.raises(FaceNotFound) as told:
        opened.embed([folder / "a.png", none, folder / "b.png", black])
    assert told.value.names == (str(none), "photographs[3]") and told.value.rows == (1, 3)
    assert f"in 2 of 4 photographs: {none}, photographs[3]; " in str(told.value) and isinstance(told.value, FacesError)
    again = pickle.loads(pickle.dumps(told.value))
    assert (str(again), again.names) == (str(told.value), told.value.names)
    with pytest.raises(FaceNotFound, match=re.escape(str(none))):
        opened.compare(folder / "a.png", none)


@pytest.mark.parametrize(
    ("photographs", "sentence"),
    [
        ([np.zeros((9, 9), np.uint8)], r"photographs\[0\]: an array of uint8 .* uint8 \(9, 9\) is given"),
        ([np.zeros((9, 9, 3))], r"photographs\[0\]: an array of uint8 .* float64 \(9, 9, 3\) is given"),
        ([np.zeros((9, 9, 4), np.uint8)], r"uint8 \(9, 9, 4\) is given"),
        ([np.zeros((0, 9, 3), np.uint8)], r"uint8 \(0, 9, 3\) is given"),
        (np.zeros(3, np.uint8), r"uint8 \(3,\) is given"),
        (["a.png", 3], r"photographs\[1\]: a path or an array is expected, int is given"),
        ([""], r"photographs\[0\]: a path is expected, and this one is empty"),
        ("a\0b", r"^a.x00b: cannot be read \(no name that a file can have\)"),
        (b"a.png", r"photographs\[0\]: a path or an array is expected, bytes is given"),
        ({"a.png"}, r"photographs\[0\]: a path or an array is expected, set is given"),
        ({"a.png": 1}, r"photographs\[0\]: a path or an array is expected, dict is given"),
        (io.BytesIO(b"x"), r"photographs\[0\]: a path or an array is expected, BytesIO is given"),
        (memoryview(np.zeros((9, 9, 3), np.uint8)), r"a path or an array is expected, memoryview is given"),
        ([["a.png", "a.png"]], r"photographs\[0\]: a path or an array is expected, list is given"),
        (np.array(3, np.uint8), r"uint8 \(\) is given\.$"),
        (np.array([["a.png"]]), r"<U5 \(1, 1\) is given\.$"),
        (jnp.zeros((9, 9, 3)), r"float32 \(9, 9, 3\) is given; bring values to 0 to 255 and round them to uint8"),
        (np.zeros((9, 9, 1), np.uint8), "is given; give grey three times"),
        (np.zeros((9, 9, 4), np.uint8), "is given; leave the fourth channel out"),
        (np.zeros((3, 9, 9), np.uint8), "is given; channels come last"),
        (None, r"photographs\[0\]: a path or an array is expected, NoneType is given"),
    ],
)
def test_what_is_no_photograph(opened: Recognizer, folder: Path, monkeypatch, photographs, sentence: str):
    monkeypatch.chdir(folder)
    with pytest.raises(DataError, match=sentence):
        opened.embed(photographs)


def test_files_are_read_as_everywhere(opened: Recognizer, folder: Path, tmp_path: Path):
    (tmp_path / "broken.jpg").write_bytes(b"no picture")
    for path in (tmp_path / "broken.jpg", tmp_path / "absent.jpg"):
        with pytest.raises(ImageError, match=path.name):
            opened.embed([folder / "a.png", path])
        with pytest.raises(ImageError, match=path.name):
            opened.faces(path)
    with pytest.raises(DataError, match="a path or an array is expected, list is given"):
        opened.faces([folder / "a.png"])  # type: ignore[arg-type]


def test_a_face_that_cannot_be_cut_out_names_its_photograph(opened: Recognizer, folder: Path):
    def one_place(images: Sequence[np.ndarray]) -> list[Detections]:
        found = columns(images)
        return [Detections(one.boxes, 0 * one.points, one.scores) for one in found]

    path = folder / "b.png"
    for asked in (lambda r: r.embed([folder / "none.png", path]), lambda r: r.faces(path)):
        with pytest.raises(DataError, match=f"^{re.escape(str(path))}: the five points all lie at"):
            asked(Recognizer(opened.model, one_place))


def test_without_a_detector(folder: Path):
    whole = Recognizer.open(folder / "model")
    assert whole.embed([folder / "none.png", folder / "b.png"]).shape == (2, 8)
    with pytest.raises(ConfigError, match="no detector to find faces"):
        whole.faces(folder / "a.png")
    aligned = Recognizer(by_five_points(folder))
    face = align(whole.model.preprocessing, picture(folder / "a.png"), None, None)
    np.testing.assert_allclose(aligned.embed(face), whole.embed(folder / "a.png"), atol=1e-6)
    with pytest.raises(DataError, match=r"a\.png: 30x24 pixels, and aligned faces of 16x16 are expected"):
        aligned.embed(folder / "a.png")


def test_what_does_not_belong_together(folder: Path, tmp_path: Path):
    model = str(folder / "model")
    for options, sentence in (
        ({"detector_weights": "a.pth"}, "detector_weights are of a detector; name it as detector"),
        ({"confidence": 0.5}, "are of a detector, and none is given"),
        ({"select": "nearest"}, 'select = "nearest": there is no such rule; one of largest'),
        ({"threshold": 2}, "threshold = 2: a cosine"),
        ({"network": "iresnet50"}, "is a folder and says itself what it holds"),
        ({"detector": "yolo", "detector_weights": "a.pth"}, 'there is no detector "yolo"'),
    ):
        with pytest.raises(ConfigError, match=sentence):
            Recognizer.open(model, **options)
    with pytest.raises(ConfigError, match="alignment fixed_box: takes the same part of every photograph"):
        Recognizer(open_model(model), columns)
    with pytest.raises(CheckpointError, match="nothing lies there"):
        Recognizer.open(tmp_path / "nowhere")
    with pytest.raises(WeightsError, match="retinaface_mobilenet025: no package brings it: fetch mobilenet0"):
        Recognizer.open(model, detector="retinaface")


def test_any_number_of_photographs_is_one_compiled_program(folder: Path):
    """However many are asked for; a CPU does not wait for a full block of the commands'."""
    model, shapes = by_five_points(folder), []

    def apply(params, batch_stats, images, train, key=None):
        shapes.append(images.shape)
        return model.apply(params, batch_stats, images, train, key)

    opened = Recognizer(dataclasses.replace(model, apply=apply), columns)
    for count in (1, 2, 3, 40):
        assert opened.embed([folder / "a.png"] * count).shape == (count, 8)
    assert shapes == [(8 * module.FEW, 16, 16, 3)] * 2  # and mirrored


@pytest.mark.realdata
def test_people_in_photographs(faces_data: Path):
    """With published weights: one person's two photographs are more alike than two people's, as the threshold says."""
    weights = faces_data.parent / "weights"
    y1 = weights / "mobilefacenet_y1" / "model-0000.params"
    retinaface = weights / "retinaface_mnet025" / "mobilenet0.25_Final.pth"
    if not (y1.is_file() and retinaface.is_file()):
        pytest.skip(f"needs the published weights of MobileFaceNet y1 and RetinaFace in {weights}")
    opened = Recognizer.open(y1, detector="retinaface", detector_weights=retinaface)
    people = [[faces_data / "photos" / f"person_{n:02d}" / f"{k}.jpg" for k in (0, 1)] for n in (2, 7)]
    same, different = opened.compare(*people[0]), opened.compare(people[0][0], people[1][0])
    assert opened.threshold == 0.35 and same.same and different.same is False
    assert same.cosine > 0.35 > different.cosine
    (face,) = opened.faces(people[0][0])
    np.testing.assert_allclose(face.embedding, opened.embed(people[0][0])[0], atol=1e-5)
