"""Laws of generated faces: what a picture depends on, where its features lie, how hard its pixels are to verify."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.data.source import ArraySource
from faces.data.synthetic import generated, shapes
from faces.data.synthetic.face_parameters import (
    Identity,
    Nuisance,
    sample_identity,
    sample_nuisance,
)
from faces.data.synthetic.generated import generated_faces, generated_pairs, render_batch
from faces.data.synthetic.renderer import HEAD_DEPTH, VIEW
from faces.errors import DataError

SIZE = 64
BATCH = 8

# a bald, closed-eyed, lamp-lit head before grey, without anything that tells its left from its right
PLAIN_IDENTITY = {
    "hair": -1.0, "hair_red": -1.0, "hair_grey": -1.0, "beard": -1.0, "mole": -1.0, "skin": 0.2, "eye_tone": 0.5,
    "hair_tone": 0.1, "head_width": 0.7, "head_height": 1.0, "jaw": 0.1, "eye_height": 0.08, "eye_spacing": 0.3,
    "eye_width": 0.17, "eye_opening": 0.1, "brow_height": 0.24, "brow_thickness": 0.03, "nose_length": 0.4,
    "nose_width": 0.14, "nose_bridge": 0.07, "mouth_height": -0.6, "mouth_width": 0.25, "lip_upper": 0.05,
    "lip_lower": 0.07, "lip_red": 0.4, "ear_size": 0.17, "hair_line": 0.6, "hair_volume": 0.1, "hair_end": 0.3,
}  # fmt: skip
PLAIN_NUISANCE = {
    "scale": 1.0, "light_strength": 0.5, "exposure": 1.0, "eyelids": -1.0, "glasses": -1.0, "occluder": -1.0,
    "clothes_value": 0.3, "background_value": 0.5, "background_waves": 1.0,
}  # fmt: skip


def draw(identities: list[dict], nuisances: list[dict]) -> np.ndarray:
    """Plain faces with these fields changed, float64 (faces, SIZE, SIZE, 3); always one compiled shape."""

    def stack(kind: type, plain: dict, changes: list[dict]) -> tuple:
        rows = [plain | change for change in changes]
        rows += rows[-1:] * (BATCH - len(rows))
        return kind(*(jnp.array([row.get(field, 0.0) for row in rows], jnp.float32) for field in kind._fields))

    count = len(identities)
    images = render_batch(
        stack(Identity, PLAIN_IDENTITY, identities), stack(Nuisance, PLAIN_NUISANCE, nuisances), SIZE
    )
    assert images.shape == (BATCH, SIZE, SIZE, 3)
    assert images.dtype == jnp.uint8
    return np.asarray(images)[:count].astype(np.float64)


def centre_of_change(before: np.ndarray, after: np.ndarray) -> tuple[float, float]:
    """Centre (x, y), in the renderer's frame, of the pixels that differ."""
    weight = np.abs(after - before).sum(axis=-1)
    assert weight.sum() > 0
    at = (np.arange(SIZE) + 0.5) * 2 * VIEW / SIZE - VIEW
    return float((weight.sum(axis=0) * at).sum() / weight.sum()), float((weight.sum(axis=1) * -at).sum() / weight.sum())


# what a source is made of


def test_a_source_holds_each_persons_pictures_in_turn():
    source = generated_faces(5, 4, SIZE, seed=3)
    assert len(source) == 20
    assert source.images.shape == (20, SIZE, SIZE, 3)
    assert source.images.dtype == np.uint8
    assert source.identities.dtype == np.int32
    assert source.identities.tolist() == [n for n in range(5) for _ in range(4)]
    assert source.images.std(axis=(1, 2)).min() > 3  # no picture is blank in any channel
    assert np.unique(source.images.reshape(20, -1), axis=0).shape[0] == 20


def test_a_picture_depends_on_seed_person_and_its_number_alone():
    many = generated_faces(9, 5, SIZE, seed=3)  # 45 pictures: three blocks, the last one not full
    again = generated_faces(9, 5, SIZE, seed=3)
    np.testing.assert_array_equal(many.images, again.images)
    late = generated_faces(2, 5, SIZE, seed=3, first_identity=7)
    np.testing.assert_array_equal(many.images[35:], late.images)
    assert late.identities.tolist() == [0] * 5 + [1] * 5
    fewer = generated_faces(9, 2, SIZE, seed=3)
    np.testing.assert_array_equal(many.images.reshape(9, 5, -1)[:, :2], fewer.images.reshape(9, 2, -1))
    other = generated_faces(2, 5, SIZE, seed=4)
    assert not (other.images == many.images[:10]).all(axis=(1, 2, 3)).any()


def test_the_device_does_not_matter():
    here = generated_faces(2, 3, SIZE, seed=3)
    with jax.default_device(jax.devices()[-1]):
        there = generated_faces(2, 3, SIZE, seed=3)
    np.testing.assert_array_equal(here.images, there.images)


@pytest.mark.parametrize("numbers", [(0, 1, SIZE, 0), (1, 0, SIZE, 0), (1, 1, 0, 0), (1, 1, SIZE, -1)])
def test_impossible_numbers_are_refused(numbers):
    identities, images_per_identity, size, first = numbers
    with pytest.raises(DataError, match="at least 1 identity, image and pixel"):
        generated_faces(identities, images_per_identity, size, 0, first)


@pytest.mark.parametrize(("kind", "sample"), [(Identity, sample_identity), (Nuisance, sample_nuisance)])
def test_every_field_fills_its_range(kind, sample):
    drawn = jax.jit(jax.vmap(sample))(jax.random.split(jax.random.key(0), 2000))
    for field, values in zip(kind._fields, drawn, strict=True):
        low, high = kind.__annotations__[field].__metadata__[0]
        assert values.dtype == jnp.float32, field
        assert low <= values.min() < low + 0.01 * (high - low), field
        assert high >= values.max() > high - 0.01 * (high - low), field


# where things lie


def test_a_mirrored_scene_is_the_mirrored_picture():
    pose = {"yaw": 0.4, "pitch": 0.1, "roll": 0.1, "shift_x": 0.05, "light_azimuth": 0.9}
    pose |= {"smile": 0.8, "mouth_open": 0.7, "glasses": 1.0}
    mirrored = pose | {"yaw": -0.4, "roll": -0.1, "shift_x": -0.05, "light_azimuth": -0.9}
    one, other = draw([{}, {}], [pose, mirrored])
    assert np.abs(one - one[:, ::-1]).mean() > 5  # the law is not met by any picture
    assert np.abs(one - other[:, ::-1]).max() <= 1.0  # of 255: rounding


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.45, 0.0), (-0.45, 0.2), (0.2, -0.25)])
def test_features_move_as_points_of_a_turning_ellipsoid(yaw, pitch):
    pose = {"yaw": yaw, "pitch": pitch}
    pale, red, marked = draw(
        [{"lip_red": 0.0}, {"lip_red": 0.7}, {"lip_red": 0.0, "mole": 1.0, "mole_x": 0.3, "mole_y": -0.4}], [pose] * 3
    )
    for changed, (x, y) in ((red, (0.0, -0.61)), (marked, (0.3, -0.4))):
        chin = max(-y, 0.0)
        x_round = x * (1 + 0.1 * chin**2)  # the jaw widens what is drawn on the ellipsoid
        z = HEAD_DEPTH * np.sqrt(1 - (x / 0.7) ** 2 - y**2)
        turned = np.array([[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]) @ [x_round, y, z]
        nod = np.array([[1, 0, 0], [0, np.cos(pitch), np.sin(pitch)], [0, -np.sin(pitch), np.cos(pitch)]])
        expected = nod @ turned
        np.testing.assert_allclose(centre_of_change(pale, changed), expected[:2], atol=1.0 * 2 * VIEW / SIZE)  # 1 pixel


def test_light_falls_from_its_side():
    lamps = [{"light_azimuth": -1.0}, {"light_azimuth": 1.0}, {"light_elevation": 0.8}, {"light_elevation": -0.8}]
    left, right, above, below = draw([{}] * 4, lamps)
    half = SIZE // 2
    assert left[:, :half].mean() > left[:, half:].mean() + 5
    assert right[:, half:].mean() > right[:, :half].mean() + 5
    brow, chin = np.s_[12:20, 28:36], np.s_[50:54, 28:36]
    assert above[brow].mean() - above[chin].mean() > below[brow].mean() - below[chin].mean() + 20


def test_absent_properties_leave_no_trace():
    plain, mole, glasses = draw([{"mole": -0.01}, {"mole": -0.01, "mole_x": 0.3}, {}], [{}, {}, {"glasses": -0.01}])
    np.testing.assert_array_equal(plain, mole)
    np.testing.assert_array_equal(plain, glasses)


def test_blur_keeps_the_mean_and_noise_has_its_deviation():
    sharp, blurred, noisy = draw([{}] * 3, [{}, {"blur": 0.03}, {"noise": 0.05, "noise_seed": 7.0}])
    assert abs(sharp.mean() - blurred.mean()) < 0.5
    assert np.abs(np.diff(blurred, axis=1)).mean() < 0.7 * np.abs(np.diff(sharp, axis=1)).mean()
    corner = (noisy - sharp)[:12, :12]  # grey background: nothing is clipped there
    assert corner.std() == pytest.approx(0.05 * 255, rel=0.15)


# the tools, against float64 NumPy


def test_rays_meet_the_ellipsoid():
    random = np.random.default_rng(0)
    u, v = random.uniform(-1.2, 1.2, (2, 6, 7))
    centre, radii = np.array([0.02, 0.03, -0.05]), np.array([0.7, 1.0, 0.9])
    turn = shapes.rotation(jnp.float32(0.4), jnp.float32(-0.2))
    surface = shapes.meet(jnp.float32(u), jnp.float32(v), turn, tuple(centre.tolist()), tuple(radii.tolist()))
    turn = np.asarray(turn, np.float64)
    np.testing.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    depths = np.linspace(2.0, -2.0, 40001)
    hits = 0
    for index in np.ndindex(u.shape):
        # walk along the ray from the viewer until it is inside
        points = np.array([u[index], v[index], 0.0])[None] + depths[:, None] * np.array([0.0, 0.0, 1.0])[None]
        scaled = (points @ turn - centre) / radii
        inside = np.flatnonzero((scaled**2).sum(axis=1) <= 1.0)
        assert (surface.outline[index] < 0) == (inside.size > 0)
        if inside.size:
            hits += 1
            found = np.array([surface.x[index], surface.y[index], surface.z[index]], np.float64)
            np.testing.assert_allclose(found, (points @ turn)[inside[0]], atol=2e-3)
            normal = (found - centre) / radii**2
            found_normal = [surface.normal_x[index], surface.normal_y[index], surface.normal_z[index]]
            np.testing.assert_allclose(found_normal, normal / np.linalg.norm(normal), atol=1e-4)
    assert 10 < hits < u.size


def test_masks_and_waves():
    x = np.linspace(-30.0, 30.0, 5001)
    assert np.abs(np.asarray(shapes.wave(jnp.float32(x))) - np.sin(x)).max() < 0.06
    mask = shapes.cover(jnp.array([-1.0, -0.05, 0.0, 0.025, 1.0]), jnp.float32(0.1))
    np.testing.assert_allclose(mask, [1.0, 1.0, 0.5, 0.25, 0.0], atol=1e-6)
    # a circle and a rectangle with corner 0, whose distances are plain
    px, py = np.random.default_rng(1).uniform(-2, 2, (2, 200))
    circle = shapes.ellipse(jnp.float32(px), jnp.float32(py), 0.8, 0.8)
    np.testing.assert_allclose(circle, np.hypot(px, py) - 0.8, atol=1e-4)
    found = shapes.box(jnp.float32(px), jnp.float32(py), 1.0, 0.5, 0.0)
    for distance, a, b in zip(np.asarray(found), np.abs(px) - 1.0, np.abs(py) - 0.5, strict=True):
        plain = np.hypot(max(a, 0), max(b, 0)) if max(a, b) > 0 else max(a, b)
        assert distance == pytest.approx(plain, abs=1e-4)


# pairs


def uneven_source(seed: int) -> ArraySource:
    """40 people with 3 .. 9 images each, in random order."""
    random = np.random.default_rng(seed)
    labels = random.permutation(np.repeat(np.arange(40), random.integers(3, 10, 40))).astype(np.int32)
    return ArraySource("uneven", np.zeros((len(labels), 1, 1, 3), np.uint8), labels)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_folds_are_balanced_and_share_nobody(seed):
    source = uneven_source(seed)
    pairs = generated_pairs(source, folds=5, pairs_per_fold=60, seed=seed)
    assert [field.dtype for field in pairs] == [np.int32, bool, np.int32, np.int32]
    assert all(field.shape == (300,) for field in pairs)
    first, second = source.identities[pairs.first], source.identities[pairs.second]
    np.testing.assert_array_equal(pairs.same, first == second)
    assert (pairs.first != pairs.second).all()
    assert len({frozenset(pair) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)}) == 300
    people = [{*first[pairs.fold == fold], *second[pairs.fold == fold]} for fold in range(5)]
    assert sum(map(len, people)) == len(set().union(*people))
    for fold in range(5):
        assert pairs.same[pairs.fold == fold].sum() == 30
        assert (pairs.fold == fold).sum() == 60


def test_pairs_follow_their_seed():
    source = uneven_source(0)
    one, again, other = (generated_pairs(source, 5, 60, seed) for seed in (1, 1, 2))
    for field in range(4):
        np.testing.assert_array_equal(one[field], again[field])
    assert (one.first != other.first).any()


def test_all_pairs_of_a_fold_can_be_had():
    labels = np.array([0, 0, 1, 1], np.int32)
    source = ArraySource("four", np.zeros((4, 1, 1, 3), np.uint8), labels)
    pairs = generated_pairs(source, folds=1, pairs_per_fold=4)
    found = [tuple(sorted(pair)) for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True)]
    assert sorted(found[:2]) == [(0, 1), (2, 3)]
    assert set(found[2:]) < {(0, 2), (0, 3), (1, 2), (1, 3)}
    with pytest.raises(DataError, match="four: fold 1 of 1 has 2 identities, too few for 3 pairs of one person"):
        generated_pairs(source, folds=1, pairs_per_fold=6)
    alone = ArraySource("alone", np.zeros((9, 1, 1, 3), np.uint8), np.zeros(9, np.int32))
    with pytest.raises(DataError, match="too few for 3 pairs of two people"):
        generated_pairs(alone, folds=1, pairs_per_fold=6)
    with pytest.raises(DataError, match="even number"):
        generated_pairs(source, folds=1, pairs_per_fold=3)


# how hard they are


def accuracy(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> float:
    """LFW's protocol in plain NumPy: the best threshold of nine folds, tried on the tenth; mean over folds."""
    accuracies = []
    for f in np.unique(fold):
        train, test = fold != f, fold == f
        best, threshold = -1.0, 0.0
        for candidate in distance[train]:
            right = ((distance[train] <= candidate) == same[train]).mean()
            if right > best:
                best, threshold = right, candidate
        accuracies.append(((distance[test] <= threshold) == same[test]).mean())
    return float(np.mean(accuracies))


def test_raw_pixels_verify_better_than_chance_and_badly():
    source = generated_faces(100, 8, SIZE, seed=0, first_identity=400)
    pairs = generated_pairs(source, pairs_per_fold=300, seed=0)
    pixels = source.images.reshape(len(source), -1).astype(np.float64) / 255
    pixels -= pixels.mean(axis=0)
    a, b = pixels[pairs.first], pixels[pairs.second]
    squared = ((a - b) ** 2).sum(axis=1)
    cosine = (a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1))
    assert 0.55 < accuracy(squared, pairs.same, pairs.fold) < 0.75
    assert 0.55 < accuracy(-cosine, pairs.same, pairs.fold) < 0.75


def test_drawing_by_number_is_drawing_by_vector():
    who, how = jax.random.split(jax.random.fold_in(jax.random.key(3), 6))
    identity = jax.tree.map(partial(jnp.broadcast_to, shape=(BATCH,)), sample_identity(who))
    nuisance = jax.vmap(lambda k: sample_nuisance(jax.random.fold_in(how, k)))(jnp.arange(BATCH))
    by_vector = np.asarray(render_batch(identity, nuisance, SIZE)).astype(int)
    by_number = generated_faces(1, BATCH, SIZE, seed=3, first_identity=6).images
    assert np.abs(by_vector - by_number).max() <= 1
    assert generated.BLOCK != BATCH
