"""RetinaFace's training against plain loops in float64: matching, losses, crops, and one step on 1 and 8 devices."""

import dataclasses
from functools import partial

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from faces.config import BatchConfig
from faces.detect.examples import Example, Examples
from faces.detect.losses import cross_entropy, largest
from faces.detect.monitor import DetectionMonitor
from faces.errors import TrainingStopped
from faces.initialisers import linear_init
from faces.mesh import make_mesh, place_batch
from faces.toml_config import load_config
from retinaface_jax.anchors import make_anchors
from retinaface_jax.augment import augment, cut, square
from retinaface_jax.config import Config, CropConfig, LossConfig
from retinaface_jax.decode import decode_boxes, decode_points
from retinaface_jax.examples import make_loader, to_batch
from retinaface_jax.losses import Sums, losses_of_image, smooth_l1
from retinaface_jax.matching import (
    BACKGROUND,
    IGNORED,
    Targets,
    assign,
    encode_boxes,
    encode_points,
    match,
)
from retinaface_jax.network import BODIES, STRIDES, Outputs
from retinaface_jax.train_step import init_state, make_train_step
from retinaface_jax.weights import from_pytorch, to_pytorch
from tests.retinaface_jax.oracle import random_tensors

ANCHORS = make_anchors(64, 64)
EDITION, PAPER, SCENES = (load_config(f"retinaface/{name}", Config)[0] for name in ("edition", "paper", "scenes"))


def random_faces(seed: int, faces: int) -> tuple[np.ndarray, np.ndarray]:
    """Boxes of many sizes and shapes, partly outside, and points in them."""
    rng = np.random.default_rng(seed)
    centres, sides = rng.uniform(0, 64, (faces, 2)), rng.uniform(5, 60, (faces, 1)) * rng.uniform(0.6, 1.6, (faces, 2))
    boxes = np.concatenate([centres - sides / 2, centres + sides / 2], axis=1)
    points = centres[:, None] + sides[:, None] * rng.uniform(-0.5, 0.5, (faces, 5, 2))
    return boxes.astype(np.float32), points.astype(np.float32)


def overlap_of(box: np.ndarray, anchor: np.ndarray) -> float:
    x, y, width, height = anchor.astype(float)
    left, top, right, bottom = box.astype(float)
    across = min(right, x + width / 2) - max(left, x - width / 2)
    down = min(bottom, y + height / 2) - max(top, y - height / 2)
    shared = max(across, 0.0) * max(down, 0.0)
    return shared / ((right - left) * (bottom - top) + width * height - shared)


def assigned(boxes: np.ndarray, is_face: np.ndarray, config: LossConfig) -> list[int]:
    """`assign` with loops, one anchor and one face at a time."""
    real = [face for face in range(len(boxes)) if is_face[face]]
    overlap = {face: [overlap_of(boxes[face], anchor) for anchor in ANCHORS] for face in real}
    result = []
    for anchor in range(len(ANCHORS)):
        best, own = -1.0, BACKGROUND
        for face in real:
            if overlap[face][anchor] > best:
                best, own = overlap[face][anchor], face
        if best < config.background_overlap:
            own = BACKGROUND
        elif best < config.face_overlap:
            own = IGNORED
        result.append(own)
    for face in real:
        best = max(overlap[face])
        if best >= config.forced_overlap:
            result[overlap[face].index(best)] = face
    return result


@pytest.mark.parametrize("config", [EDITION.loss, PAPER.loss], ids=["edition", "paper"])
def test_matching_equals_loops(config):
    assign_all = jax.jit(jax.vmap(partial(assign, anchors=jnp.asarray(ANCHORS), config=config)))
    boxes = np.stack([random_faces(seed, 6)[0] for seed in range(8)])
    is_face = np.random.default_rng(0).random((8, 6)) < 0.7
    is_face[0] = False
    found = np.asarray(assign_all(boxes, is_face))
    expected = np.array([assigned(*one, config) for one in zip(boxes, is_face, strict=True)])
    np.testing.assert_array_equal(found, expected)
    assert (found[0] == BACKGROUND).all() and (found[1:] >= 0).any(axis=1).sum() >= 5
    if config is PAPER.loss:
        assert (found == IGNORED).any()


def test_faces_that_no_anchor_overlaps_well_get_their_best():
    flat = np.array([[4, 10, 54, 22]], np.float32)  # best overlap 0.24
    far = np.array([[20, 20, 24, 24]], np.float32)  # 0.0625
    overlap = jax.jit(partial(assign, anchors=jnp.asarray(ANCHORS), config=EDITION.loss))
    one = np.asarray(overlap(flat, np.array([True])))
    assert (one == 0).sum() == 1
    anchor = ANCHORS[np.argmax(one == 0)]
    assert overlap_of(flat[0], anchor) == max(overlap_of(flat[0], other) for other in ANCHORS) < 0.35
    assert (np.asarray(overlap(far, np.array([True]))) == BACKGROUND).all()
    # The same box twice: the anchor that is forced goes to the later face.
    twice = np.asarray(overlap(np.repeat(flat, 2, axis=0), np.array([True, True])))
    assert (twice == 1).sum() == 1 and (twice == BACKGROUND).sum() == len(ANCHORS) - 1


def test_targets_are_what_decoding_gives_back():
    boxes, points = random_faces(3, 5)
    has_points = np.array([True, False, True, True, False])
    is_face = np.array([True, True, True, False, False])
    boxes[3:] = 0  # empty places
    expected = assigned(boxes, is_face, EDITION.loss)

    @jax.jit
    def there_and_back(*given: jax.Array) -> tuple[Targets, jax.Array, jax.Array]:
        targets = match(*given, jnp.asarray(ANCHORS), EDITION.loss)
        return targets, decode_boxes(targets.boxes, ANCHORS), decode_points(targets.points, ANCHORS)

    targets, *decoded = jax.device_get(there_and_back(boxes, points, has_points, is_face))
    assert set(expected) >= {0, 1, 2}
    for anchor, face in enumerate(expected):
        assert targets.is_face[anchor] == (face >= 0) and targets.is_background[anchor] == (face == BACKGROUND)
        assert targets.has_points[anchor] == (face >= 0 and has_points[face])
        if face >= 0:
            np.testing.assert_allclose(decoded[0][anchor], boxes[face], atol=1e-3)
            np.testing.assert_allclose(decoded[1][anchor], points[face], atol=1e-3)
    assert all(np.isfinite(offsets).all() for offsets in (targets.boxes, targets.points))
    # One worked case: an anchor at (12, 12) of side 16, a box 16 wide and 32 high about (14, 12).
    anchor = np.array([[12, 12, 16, 16]], np.float32)
    box = np.array([[6, -4, 22, 28]], np.float32)
    np.testing.assert_allclose(encode_boxes(box, anchor)[0], [1.25, 0, 0, np.log(2) / 0.2], atol=1e-5)
    np.testing.assert_allclose(encode_points(np.full((1, 5, 2), 20.0), anchor)[0], 5.0)


def costs(outputs: Outputs, targets: Targets, ratio: int) -> list[float]:
    """`losses_of_image` with loops."""
    classes, boxes, points = (np.asarray(part, np.float64) for part in outputs)
    is_face = np.asarray(targets.is_face)

    def entropy(anchor: int) -> float:
        logits = classes[anchor]
        top = max(logits)
        return top + np.log(sum(np.exp(logits - top))) - logits[int(is_face[anchor])]

    def smooth(offsets: np.ndarray, wanted: np.ndarray) -> float:
        return sum(0.5 * d * d if d < 1 else d - 0.5 for d in abs(offsets - np.asarray(wanted, np.float64)))

    faces = [anchor for anchor in range(len(classes)) if is_face[anchor]]
    with_points = [anchor for anchor in faces if targets.has_points[anchor]]
    negatives = [anchor for anchor in range(len(classes)) if targets.is_background[anchor]]
    negatives = sorted(negatives, key=entropy, reverse=True)[: ratio * len(faces)]
    return [
        sum(entropy(anchor) for anchor in faces + negatives),
        sum(smooth(boxes[anchor], targets.boxes[anchor]) for anchor in faces),
        sum(smooth(points[anchor], targets.points[anchor]) for anchor in with_points),
        len(faces),
        len(with_points),
    ]


@pytest.mark.parametrize("config", [EDITION.loss, PAPER.loss], ids=["edition", "paper"])
def test_losses_equal_loops(config):
    rng = np.random.default_rng(5)
    outputs = Outputs(*(rng.normal(size=(4, len(ANCHORS), n)).astype(np.float32) * 3 for n in (2, 4, 10)))
    boxes, points = (np.stack(parts) for parts in zip(*(random_faces(seed, 6) for seed in range(4)), strict=True))
    is_face, has_points = rng.random((4, 6)) < 0.6, rng.random((4, 6)) < 0.5
    is_face[2] = False

    @jax.jit
    @jax.vmap
    def both(outputs: Outputs, *annotated: jax.Array) -> tuple[Targets, Sums]:
        targets = match(*annotated, jnp.asarray(ANCHORS), config)
        return targets, losses_of_image(outputs, targets, config.negatives_per_face)

    targets, sums = jax.device_get(both(outputs, boxes, points, has_points, is_face))
    for picture in range(4):
        one = jax.tree.map(lambda x, picture=picture: x[picture], (outputs, targets))
        expected = costs(*one, config.negatives_per_face)
        np.testing.assert_allclose([float(part[picture]) for part in sums], expected, rtol=2e-5, atol=1e-6)
    assert sums.classification[2] == sums.faces[2] == 0
    assert 0 < sums.faces_with_points.sum() < sums.faces.sum()


def test_pieces_of_the_loss_and_their_gradients():
    losses, background = jnp.array([3.0, 5.0, 1.0, 5.0, 9.0, 0.0]), jnp.array([True, True, True, True, False, True])
    hardest = jax.jit(largest)
    for number, expected in ((0, []), (1, [1]), (2, [1, 3]), (4, [0, 1, 2, 3]), (99, [0, 1, 2, 3, 5])):
        assert np.flatnonzero(hardest(losses, background, jnp.float32(number))).tolist() == expected
    smooth = jax.jit(jax.vmap(jax.value_and_grad(smooth_l1)))(jnp.array([0.0, 0.5, -1.0, 3.0]))
    np.testing.assert_allclose(smooth, [[0, 0.125, 0.5, 2.5], [0, 0.5, -1, 1]])
    differences = jnp.linspace(-3, 3, 1001)
    np.testing.assert_array_equal(smooth_l1(differences), optax.huber_loss(differences))
    assert jax.grad(smooth_l1)(jnp.float32(1e-4)) == jnp.float32(1e-4)
    logits = jnp.array([[0.0, 1e4], [1e4, 0.0], [2.0, 2.0]])
    is_face = jnp.array([False, False, True])
    np.testing.assert_allclose(cross_entropy(logits, is_face), [1e4, 0, np.log(2)], rtol=1e-6)
    sure = cross_entropy(jnp.array([[20.0, 0.0], [19.0, 0.0]]), jnp.array([False, False]))
    np.testing.assert_allclose(sure, np.exp([-20.0, -19.0]), rtol=1e-6)  # not 0: the harder of two is known
    gradient = jax.grad(lambda logits: cross_entropy(logits, is_face).sum())(logits)
    np.testing.assert_allclose(gradient, [[-1, 1], [0, 0], [0.5, -0.5]], atol=1e-6)


def test_gradients_are_finite_without_faces_and_at_extremes():
    boxes, points = random_faces(1, 3)
    boxes[1] = [5, 5, 5, 5]  # without area
    annotated = np.ones(3, bool)

    @jax.jit
    @jax.value_and_grad
    def total(outputs: Outputs, is_face: np.ndarray) -> jax.Array:
        given = map(jnp.asarray, (boxes, points, annotated, is_face, ANCHORS))
        targets = match(*given, EDITION.loss)
        sums: Sums = losses_of_image(outputs, targets, 7)
        return sums.classification + sums.boxes + sums.points

    for value in (0.0, 1e6, -1e6):
        outputs = Outputs(*(np.full((len(ANCHORS), n), value, np.float32) for n in (2, 4, 10)))
        outputs.classes[::2, 0] = -value
        for is_face in (np.ones(3, bool), np.zeros(3, bool)):
            loss, gradients = total(outputs, is_face)
            assert np.isfinite(loss) and all(np.isfinite(part).all() for part in gradients)
            assert is_face.any() or loss == 0


def test_crops_move_boxes_and_points_as_they_move_pixels():
    # Faces are marked by their points: single bright pixels, found again after the cut.
    image = np.zeros((60, 80, 3), np.uint8)
    points = np.array([[[20, 12], [33, 12], [27, 20], [22, 28], [31, 28]]], np.float32)
    for x, y in points[0].astype(int):
        image[y, x] = 255
    boxes = np.array([[15.5, 5.5, 39.5, 33.5], [70, 40, 78, 50]], np.float32)
    example = Example(image, boxes, np.concatenate([points, points]), np.array([True, False]))
    for flip in (False, True):
        made = cut(example, 14, 4, 32, 64, flip)
        assert len(made.boxes) == 1 and made.has_points.tolist() == [True]  # the other face's centre is outside
        assert made.points[0, 0, 0] < made.points[0, 1, 0] and made.points[0, 3, 0] < made.points[0, 4, 0]
        for x, y in made.points[0]:
            window = made.image[int(y) - 2 : int(y) + 4, int(x) - 2 : int(x) + 4, 0].astype(float)
            rows, columns = np.mgrid[int(y) - 2 : int(y) + 4, int(x) - 2 : int(x) + 4]
            np.testing.assert_allclose((window * columns).sum() / window.sum(), x, atol=0.1)
            np.testing.assert_allclose((window * rows).sum() / window.sum(), y, atol=0.1)
        # Two for one, from the square's edge at (13.5, 3.5); all of the box is inside.
        left, right = (63 - 51.5, 63 - 3.5) if flip else (3.5, 51.5)
        np.testing.assert_allclose(made.boxes[0], [left, 3.5, right, 59.5], atol=1e-4)
    part = cut(example, 20, 4, 32, 32, False)  # a box that sticks out is cut, its points are not
    np.testing.assert_allclose(part.boxes[0], [-0.5, 1.5, 19.5, 29.5], atol=1e-4)
    assert part.points[0, 0, 0] == 0
    whole = cut(example, 0, 0, 80, 80, False)
    np.testing.assert_array_equal(whole.image[:60], image)
    np.testing.assert_array_equal(whole.boxes, boxes)


def test_squares_hold_a_whole_face():
    image = np.zeros((60, 80, 3), np.uint8)
    box = np.array([[50, 20, 65, 35]], np.float32)
    example = Example(image, box, np.zeros((1, 5, 2), np.float32), np.ones(1, bool))
    rng = np.random.default_rng(0)
    squares = [square(example, 0.3, rng) for _ in range(200)]
    sides = [side for _, _, side in squares]
    assert min(sides) >= 18 and max(sides) <= 60 and max(sides) - min(sides) > 30
    for left, top, side in squares:
        assert left <= 50.5 and left + side >= 65.5 and top <= 20.5 and top + side >= 35.5
    nobody = dataclasses.replace(example, boxes=np.zeros((0, 4), np.float32), points=np.zeros((0, 5, 2), np.float32))
    assert square(nobody, 0.3, rng) == (0, 0, 80)
    made = augment(nobody, 32, CropConfig(least_side=0.3, flip=True, colour=0.5), rng)
    assert made.image.shape == (32, 32, 3) and made.boxes.shape == (0, 4) and made.points.shape == (0, 5, 2)


class Patches(nn.Module):
    """A network that compiles at once: batch norm, and one matrix for each stride."""

    @nn.compact
    def __call__(self, images: jax.Array, sizes: jax.Array | None, train: bool) -> Outputs:
        x = nn.BatchNorm(use_running_average=not train, momentum=0.9, name="norm")(images)
        levels = []
        for stride in STRIDES:
            rows, columns = x.shape[1] // stride, x.shape[2] // stride
            patches = x.reshape(len(x), rows, stride, columns, stride, 3).swapaxes(2, 3)
            patches = patches.reshape(len(x), rows * columns, -1)  # (B, places, stride stride 3)
            levels.append(nn.Dense(32, kernel_init=linear_init, name=f"stride{stride}")(patches))
        of_anchors = jnp.concatenate([level.reshape(len(x), -1, 16) for level in levels], axis=1)
        return Outputs(*jnp.split(of_anchors, [2, 6], axis=-1))


@pytest.fixture
def patches(monkeypatch: pytest.MonkeyPatch) -> Config:
    """A config of 64-pixel pictures and that network."""
    monkeypatch.setitem(BODIES, "patches", Patches)
    optimiser = {"learning_rate": 0.01, "schedule": "constant", "warmup_steps": 0, "clip_norm": 5.0}
    return dataclasses.replace(
        SCENES,
        input=dataclasses.replace(SCENES.input, network="patches", size=64, faces=2),
        batch=BatchConfig(images=8),
        optimiser=dataclasses.replace(SCENES.optimiser, **optimiser),
    )


class Spots(Examples):
    """Pictures of noise with a bright disc, whose box is known."""

    name = "spots"

    def __len__(self) -> int:
        return 40

    def example(self, index: int) -> Example:
        rng = np.random.default_rng(index)
        side, (x, y) = rng.uniform(14, 30), rng.uniform(16, 48, 2)
        rows, columns = np.mgrid[:64, :64]
        disc = np.hypot(columns - x, rows - y) < side / 2
        image = np.where(disc[..., None], 230, rng.integers(0, 120, (64, 64, 3))).astype(np.uint8)
        box = np.array([[x - side / 2, y - side / 2, x + side / 2, y + side / 2]], np.float32)
        points = np.array([[x, y]], np.float32) + side / 4 * np.array([[-1, -1], [1, -1], [0, 0], [-1, 1], [1, 1]])
        return Example(image, box, points[None].astype(np.float32), np.array([index % 2 == 0]))


def test_batches_depend_on_seed_and_step_alone():
    config = dataclasses.replace(
        SCENES, input=dataclasses.replace(SCENES.input, size=32, faces=3), batch=BatchConfig(images=4)
    )
    loader = make_loader(Spots(), config)
    batches = [next(loader) for _ in range(12)]
    again = make_loader(Spots(), config)
    for _ in range(10):
        next(again)
    later = make_loader(Spots(), config)
    later.set_state(again.get_state())
    for mine, theirs in zip(jax.tree.leaves(batches[10]), jax.tree.leaves(next(later)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert batches[0]["images"].shape == (4, 32, 32, 3) and batches[0]["boxes"].shape == (4, 3, 4)
    assert (batches[0]["images"] != batches[10]["images"]).any()  # another epoch
    annotated = np.concatenate([batch["has_points"][:, 0] for batch in batches[:10]])
    assert annotated.sum() == 20  # each picture once in an epoch


def test_of_too_many_faces_the_largest_are_kept():
    boxes = np.array([[0, 0, 9, 9], [0, 0, 2, 2], [0, 0, 8, 8], [0, 0, 7, 7]], np.float32)
    points = np.arange(40, dtype=np.float32).reshape(4, 5, 2)
    example = Example(np.zeros((16, 16, 3), np.uint8), boxes, points, np.array([True, True, False, True]))
    batch = to_batch([example, dataclasses.replace(example, boxes=boxes[:2])], 3)
    np.testing.assert_array_equal(batch["boxes"][0], boxes[[0, 2, 3]])
    np.testing.assert_array_equal(batch["points"][0], points[[0, 2, 3]])
    assert batch["has_points"].tolist() == [[True, False, True], [True, True, False]]
    assert batch["is_face"].tolist() == [[True] * 3, [True, True, False]]


def test_a_step_lowers_the_loss_and_is_the_same_on_eight_devices(patches: Config):
    batch = next(make_loader(Spots(), patches))
    after, rows = {}, []
    for devices in (1, 8):
        mesh = make_mesh(devices)
        step, state, placed = make_train_step(patches, mesh), init_state(patches, mesh), place_batch(mesh, batch)
        for _ in range(20 if devices == 1 else 1):
            state, metrics = step(state, placed)
            rows.append({name: float(value) for name, value in metrics.items()})
            after.setdefault(devices, jax.device_get((state.params, state.batch_stats, state.opt_state)))
    *of_one, of_eight = rows
    assert of_one[-1]["loss"] < 0.7 * of_one[0]["loss"] and of_one[0]["faces"] >= 1
    assert of_one[0]["gradient_norm"] > 5 and all(np.isfinite(list(row.values())).all() for row in rows)
    weights = patches.loss
    total = of_one[0]["classification"] + 2 * of_one[0]["boxes"] + of_one[0]["points"]
    assert (weights.box_weight, weights.points_weight) == (2, 1) and total == pytest.approx(of_one[0]["loss"], rel=1e-5)
    for name, value in of_eight.items():
        np.testing.assert_allclose(value, of_one[0][name], rtol=1e-4)
    for mine, theirs in zip(jax.tree.leaves(after[1]), jax.tree.leaves(after[8]), strict=True):
        np.testing.assert_allclose(mine, theirs, rtol=1e-3, atol=1e-6)


def test_a_step_that_is_not_finite_changes_nothing(patches: Config):
    mesh, config = make_mesh(1), dataclasses.replace(patches, batch=BatchConfig(images=1))
    state = init_state(config, mesh)
    before = jax.device_get((state.params, state.batch_stats, state.opt_state))
    batch = next(make_loader(Spots(), config))
    batch["boxes"], batch["points"] = np.full((1, 2, 4), [8, 8, 40, 40], np.float32), np.full((1, 2, 5, 2), np.inf)
    batch["has_points"][:] = batch["is_face"][:] = True
    state, metrics = make_train_step(config, mesh)(state, batch)
    assert int(state.step) == 1 and not np.isfinite(metrics["loss"])
    after = jax.device_get((state.params, state.batch_stats, state.opt_state))
    jax.tree.map(np.testing.assert_array_equal, before, after)
    with pytest.raises(TrainingStopped, match="step 1: loss inf"):
        DetectionMonitor(config.optimiser).check(1, {name: float(value) for name, value in metrics.items()})


def test_the_losses_of_the_configs():
    for config, expected in ((EDITION, (2.0, 1.0, 7)), (PAPER, (0.25, 0.1, 3)), (SCENES, (2.0, 1.0, 7))):
        loss = config.loss
        assert (loss.box_weight, loss.points_weight, loss.negatives_per_face) == expected


def test_epochs_are_of_whole_batches_of_wider_face():
    epoch = 12_880 // EDITION.batch.images
    assert EDITION.optimiser.decay_steps == (190 * epoch, 220 * epoch) and EDITION.train.steps == 250 * epoch
    assert PAPER.optimiser.decay_steps == (55 * epoch, 68 * epoch) and PAPER.train.steps == 80 * epoch
    assert PAPER.optimiser.warmup_steps == 5 * epoch and EDITION.optimiser.warmup_steps == 0


def test_weights_go_to_the_published_names_and_back():
    tensors = {name: x for name, x in random_tensors(0).items() if not name.endswith("num_batches_tracked")}
    there = to_pytorch(from_pytorch(tensors))
    assert there.keys() == tensors.keys()
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(there[name], np.asarray(tensor, np.float32))
