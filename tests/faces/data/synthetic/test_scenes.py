"""Composed scenes: what they depend on, and that boxes and points lie where the pixels are."""

from dataclasses import replace

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.align import TEMPLATE
from faces.data.open import open_source
from faces.data.source import ArraySource
from faces.data.synthetic import scenes
from faces.data.synthetic.crops import face_points, generated_crops
from faces.data.synthetic.face_parameters import sample_identity, sample_nuisance
from faces.data.synthetic.generated import render_batch
from faces.data.synthetic.scenes import Scene, SceneConfig, compose_scene, face_box, numbered_scene
from faces.errors import ConfigError, DataError
from recognizer.detectors import open_detector

SIZE = (150, 200)
DRAWN, SIDE = 8, 64  # the program that test_generated.py compiles as well
BARE = SceneConfig(faces=(1, 1), decoys=(0, 0), smallest=40, noise=0)


def marked_crops(side: int = 112) -> ArraySource:
    """A grey crop with a coloured disc at each of the five points, and others without."""
    image = np.full((side, side, 3), 128, np.uint8)
    for x, y in (TEMPLATE + 0.5) * side / 112 - 0.5:
        cv2.circle(image, (round(float(x) * 16), round(float(y) * 16)), 60 * side // 112, (255, 0, 0), -1, shift=4)
    return ArraySource("marked", image[None], np.zeros(1, np.int32))


@pytest.fixture
def on_grey(monkeypatch):
    """Nothing behind the face, and its colours and rim as they are."""
    monkeypatch.setattr(scenes, "paint_background", lambda faces, size, rng: np.full((*size, 3), 128, np.float32))
    monkeypatch.setattr(scenes, "recolour", lambda image, rng: image)


def red_centres(scene: Scene) -> np.ndarray:
    """Centre of mass of the red around each point, within a fifth of the distance between the eyes."""
    redness = scene.image[..., 0].astype(float) - scene.image[..., 1]
    reach = 0.2 * np.hypot(*(scene.points[0, 1] - scene.points[0, 0]))
    y, x = np.mgrid[: redness.shape[0], : redness.shape[1]]
    centres = []
    for px, py in scene.points[0]:
        weight = redness * (np.hypot(x - px, y - py) < reach)
        centres.append([(weight * x).sum() / weight.sum(), (weight * y).sum() / weight.sum()])
    return np.array(centres)


@pytest.mark.usefixtures("on_grey")
@pytest.mark.parametrize("side", [112, 224])
def test_points_lie_where_the_pixels_are(side):
    errors = []
    for number in range(12):
        scene = numbered_scene(marked_crops(side), SIZE, 3, number, replace(BARE, turn=60, smallest=50))
        errors.append(np.abs(red_centres(scene) - scene.points[0]).max())
    assert max(errors) < 0.35


@pytest.mark.usefixtures("on_grey")
def test_boxes_bound_what_the_face_covers():
    """A white ellipse in the face's box of the crop fills the box in the scene."""
    left, top, right, bottom = scenes.FACE_BOX
    y, x = np.mgrid[:112, :112]
    inside = ((x - (left + right) / 2) / (right - left)) ** 2 + ((y - (top + bottom) / 2) / (bottom - top)) ** 2 <= 0.25
    image = np.where(inside, 255, 128).astype(np.uint8)[..., None].repeat(3, 2)
    crops = ArraySource("ellipse", image[None], np.zeros(1, np.int32))
    for number in range(6):
        scene = numbered_scene(crops, SIZE, 5, number, replace(BARE, turn=90, smallest=60))
        rows, columns = np.nonzero(scene.image[..., 0] > 160)
        seen = np.array([columns.min(), rows.min(), columns.max(), rows.max()])
        gap = (seen - scene.boxes[0]) * [1, 1, -1, -1]
        side = (scene.boxes[0, 2:] - scene.boxes[0, :2]).max()
        # the soft rim and the crop's lower border hide a little of the chin, wherever the chin is
        assert gap.min() > -1.5 and np.median(gap) < 1.5 and gap.max() < 0.2 * side


def test_box_of_a_similarity():
    np.testing.assert_allclose(face_box(np.array([[2.0, 0, 7], [0, 2, -3]])), [38, 16, 200, 228])
    left, top, right, bottom = scenes.FACE_BOX
    np.testing.assert_allclose(face_box(np.array([[0.0, -1, 0], [1, 0, 0]])), [-bottom, left, -top, right])
    angle = np.linspace(0, 2 * np.pi, 20000)
    outline = np.stack([81 / 2 * np.cos(angle) + 56, 106 / 2 * np.sin(angle) + 62.5])
    turn = 0.7 * np.array([[np.cos(0.5), -np.sin(0.5)], [np.sin(0.5), np.cos(0.5)]])
    turned = turn @ outline
    bounds = [*turned.min(axis=1), *turned.max(axis=1)]
    np.testing.assert_allclose(face_box(np.column_stack([turn, [0, 0]])), bounds, atol=1e-4)


@pytest.fixture(scope="module")
def crops() -> ArraySource:
    """Coarse noise in the place of faces."""
    images = np.random.default_rng(0).integers(0, 256, (8, 14, 14, 3), np.uint8).repeat(8, 1).repeat(8, 2)
    return ArraySource("noise", images, np.arange(8, dtype=np.int32))


def test_a_scene_depends_on_its_seed_and_number_alone(crops):
    one, again = numbered_scene(crops, SIZE, 1, 5), numbered_scene(crops, SIZE, 1, 5)
    for a, b in zip(one, again, strict=True):
        np.testing.assert_array_equal(a, b)
    direct = compose_scene(crops, SIZE, np.random.default_rng((1, 5)), SceneConfig())
    np.testing.assert_array_equal(direct.image, one.image)
    for other in (numbered_scene(crops, SIZE, 1, 6), numbered_scene(crops, SIZE, 2, 5)):
        assert (other.image != one.image).mean() > 0.5


def test_what_scenes_contain(crops):
    config = SceneConfig(faces=(0, 5), smallest=12, largest=0.5, overlap=0.1)
    made = [numbered_scene(crops, SIZE, 0, number, config) for number in range(40)]
    sides = []
    for scene in made:
        assert scene.image.shape == (*SIZE, 3) and scene.image.dtype == np.uint8
        assert scene.boxes.dtype == scene.points.dtype == np.float32
        assert scene.points.shape == (len(scene.boxes), 5, 2) and scene.boxes.shape[1] == 4
        assert (scene.boxes >= -1e-3).all() and (scene.boxes[:, 2:] <= np.array([199, 149]) + 1e-3).all()
        sides += (scene.boxes[:, 2:] - scene.boxes[:, :2]).max(axis=1).tolist()
        for i, a in enumerate(scene.boxes):
            assert ((scene.points[i] > a[:2]) & (scene.points[i] < a[2:])).all()
            for b in scene.boxes[:i]:
                shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
                assert shared <= 0.101 * min(np.prod(a[2:] - a[:2]), np.prod(b[2:] - b[:2]))
    counts = {len(scene.boxes) for scene in made}
    assert {0, 5} <= counts and 12 <= min(sides) < 16 and 60 < max(sides) <= 75.01
    assert np.std([scene.image.mean() for scene in made]) > 15


def test_refusals(crops):
    rng = np.random.default_rng(0)
    with pytest.raises(ConfigError, match=r"scenes of 20x200 pixels: the largest face is 0\.5"):
        compose_scene(crops, (20, 200), rng, SceneConfig())
    with pytest.raises(ConfigError, match="scenes of 3 to 2 faces"):
        compose_scene(crops, SIZE, rng, SceneConfig(faces=(3, 2)))
    oblong = ArraySource("oblong", np.zeros((1, 112, 96, 3), np.uint8), np.zeros(1, np.int32))
    with pytest.raises(DataError, match="oblong: a crop of 112x96 pixels; square ones"):
        compose_scene(oblong, SIZE, rng, SceneConfig())
    with pytest.raises(DataError, match="Generated crops: 0 people"):
        generated_crops(0, 1, 0)


def test_points_of_generated_faces():
    """What changes when the eyes look elsewhere, or nose and lips are others, is where the points say."""
    people = jax.vmap(sample_identity)(jax.random.split(jax.random.key(1), DRAWN))
    views = jax.vmap(sample_nuisance)(jax.random.split(jax.random.key(2), DRAWN))
    clear = {"noise": 0.0, "blur": 0.0, "glasses": -1.0, "occluder": -1.0, "smile": 0.0, "mouth_open": 0.0}
    clear |= {"gaze_x": -1.0, "gaze_y": 0.0, "eyelids": 1.15}
    views = views._replace(**{name: jnp.full(DRAWN, value) for name, value in clear.items()})
    people = people._replace(hair=jnp.full(DRAWN, -1.0), beard=jnp.full(DRAWN, -1.0), mole=jnp.full(DRAWN, -1.0))
    points = np.asarray(face_points(people, views, SIDE))
    y, x = np.mgrid[:SIDE, :SIDE]

    def change(who, how) -> np.ndarray:
        pair = [np.asarray(render_batch(a, b, SIDE)).astype(float) for a, b in ((people, views), (who, how))]
        return np.abs(pair[0] - pair[1]).sum(axis=3)  # (DRAWN, SIDE, SIDE)

    def centre(weight) -> np.ndarray:
        return np.array([(weight * x).sum(), (weight * y).sum()]) / weight.sum()

    eyes = change(people, views._replace(gaze_x=jnp.full(DRAWN, 1.0)))
    nose = change(people._replace(nose_width=1.3 * people.nose_width), views)
    lips = change(people._replace(lip_red=people.lip_red + 0.6), views)
    for i in range(DRAWN):
        across = points[i, 1] - points[i, 0]
        middle = points[i, :2].mean(axis=0)
        is_right = (x - middle[0]) * across[0] + (y - middle[1]) * across[1] > 0
        assert np.abs(centre(eyes[i] * ~is_right) - points[i, 0]).max() < 1.2
        assert np.abs(centre(eyes[i] * is_right) - points[i, 1]).max() < 1.2
        assert np.abs(centre(nose[i] > 40) - points[i, 2]).max() < 3
        corner, width = points[i, 3], points[i, 4] - points[i, 3]
        along = ((x - corner[0]) * width[0] + (y - corner[1]) * width[1]) / np.square(width).sum()
        reach = along[lips[i] > 20]  # 0 at one corner, 1 at the other
        assert -0.1 < reach.min() < 0.25 and 0.75 < reach.max() < 1.1


def test_generated_crops_are_aligned_pictures(monkeypatch):
    monkeypatch.setattr("faces.data.synthetic.crops.BLOCK", DRAWN)
    monkeypatch.setattr("faces.data.synthetic.crops.DRAWN", SIDE)
    crops = generated_crops(8, 1, seed=0)
    assert crops.images.shape == (8, 112, 112, 3) and crops.identities.tolist() == list(range(8))
    later = generated_crops(2, 2, seed=0, first_person=4)
    np.testing.assert_array_equal(later.images[[0, 2]], crops.images[4:6])
    key = jax.random.split(jax.random.fold_in(jax.random.key(0), 4))
    identity, nuisance = sample_identity(key[0]), sample_nuisance(jax.random.fold_in(key[1], 0))
    identity, nuisance = jax.tree.map(lambda field: jnp.repeat(field[None], DRAWN), (identity, nuisance))
    points = np.asarray(face_points(identity, nuisance, SIDE))[0]
    # the least-squares similarity by its normal equations: x' = a x - b y + c, y' = b x + a y + d
    rows = [row for u, v in points for row in ([u, -v, 1, 0], [v, u, 0, 1])]
    a, b, c, d = np.linalg.lstsq(np.array(rows), TEMPLATE.astype(np.float64).ravel(), rcond=None)[0]
    image = np.asarray(render_batch(identity, nuisance, SIDE))[0]
    aligned = cv2.warpAffine(image, np.array([[a, -b, c], [b, a, d]]), (112, 112))
    assert np.abs(aligned.astype(int) - crops.images[4]).mean() < 1


@pytest.mark.realdata
def test_a_published_detector_agrees_with_the_boxes(faces_data):
    weights = faces_data.parent / "weights/retinaface_mnet025/mobilenet0.25_Final.pth"
    if not weights.is_file():
        pytest.skip(f"needs {weights}")
    faces = open_source(faces_data / "train").source
    config = SceneConfig(faces=(1, 1), decoys=(0, 0), smallest=60, turn=10)
    made = [numbered_scene(faces, (192, 192), 9, number, config) for number in range(32)]
    overlaps, errors = [], []
    for scene, found in zip(made, open_detector("retinaface", weights)([scene.image for scene in made]), strict=True):
        if len(found):
            a, b = found.boxes[0], scene.boxes[0]
            shared = np.prod(np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0))
            overlaps.append(shared / (np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2]) - shared))
            errors.append(np.abs(found.points[0] - scene.points[0]).mean() / (b[3] - b[1]))
    assert len(overlaps) >= 28 and np.median(overlaps) > 0.75 and np.median(errors) < 0.04
