"""MTCNN's training against plain loops in float64: windows, their pixels, the networks' targets, losses, a step."""

import dataclasses

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from faces.config import BatchConfig
from faces.detect.detections import Detections
from faces.errors import DataError
from faces.mesh import make_mesh, place_batch
from faces.toml_config import load_config
from mtcnn_jax import stages
from mtcnn_jax.config import NAMES, Config, StageConfig
from mtcnn_jax.detector import Options, make_detector
from mtcnn_jax.examples import (
    Batch,
    batch_shares,
    cut,
    cut_windows,
    load_windows,
    make_loader,
    save_windows,
    to_windows,
)
from mtcnn_jax.losses import hardest, losses_of_batch
from mtcnn_jax.networks import Outputs, make_net
from mtcnn_jax.train_step import init_state, make_train_step
from mtcnn_jax.weights import to_facenet_pytorch, to_params
from mtcnn_jax.windows import (
    NEGATIVE,
    PART,
    POINTS,
    POSITIVE,
    UNUSED,
    choose,
    draw_windows,
    label,
    mirrored,
    targets,
)
from tests.retinaface_jax.test_training import Spots

SCENES, _ = load_config("mtcnn/scenes", Config)
WINDOWS = SCENES.windows


def small(name: str, **changes) -> StageConfig:
    """A stage's config with another batch or number of windows."""
    stage = SCENES.stage(name)
    net = dataclasses.replace(stage.net, **changes)
    return dataclasses.replace(stage, net=net, batch=BatchConfig(net.images))


def test_windows_are_named_by_their_overlap():
    boxes = np.array([[10, 10, 29, 34], [40, 20, 60, 44]], np.float32)
    rng = np.random.default_rng(0)
    windows = draw_windows(boxes, (64, 80), 20.0, rng)
    kinds, faces = label(windows, boxes, WINDOWS)
    for window, kind, face in zip(windows, kinds, faces, strict=True):
        x, y, w, h = window.tolist()
        overlaps = []
        for left, top, right, bottom in boxes.astype(float):
            across = min(right, x + w - 0.5) - max(left, x - 0.5)
            down = min(bottom, y + h - 0.5) - max(top, y - 0.5)
            shared = max(across, 0.0) * max(down, 0.0)
            overlaps.append(shared / ((right - left) * (bottom - top) + w * h - shared))
        best = max(overlaps)
        expected = POSITIVE if best > 0.65 else PART if best >= 0.4 else UNUSED if best >= 0.3 else NEGATIVE
        assert kind == expected and (best == 0 or overlaps[face] == best)
    assert all((kinds == kind).sum() > 5 for kind in (NEGATIVE, PART, POSITIVE, UNUSED))
    assert (windows[:, 2] == windows[:, 3]).all()
    anywhere = windows[160:]
    assert (anywhere[:, :2] >= 0).all() and (anywhere[:, :2] + anywhere[:, 2:] <= [80, 64]).all()
    assert anywhere[:, 2].min() < 24 and anywhere[:, 2].max() > 55
    nobody = np.zeros((0, 4), np.float32)
    assert (label(anywhere, nobody, WINDOWS)[0] == NEGATIVE).all()
    assert draw_windows(nobody, (16, 80), 20.0, rng).shape == (0, 4)


def test_which_windows_are_chosen():
    boxes = np.array([[-5, 10, 15, 34], [40, 20, 60, 44]], np.float32)
    rng = np.random.default_rng(1)
    annotated, size = np.array([False, True]), (64, 80)
    first = choose(boxes, annotated, size, None, (9, 4, 3, 5), WINDOWS, rng)
    assert np.bincount(first.kinds).tolist() == [9, 4, 3, 5]
    assert (first.windows[:, :2] >= 0).all()  # as P-net's windows are
    assert (first.faces[first.kinds == POINTS] == 1).all()
    kinds, _ = label(first.windows, boxes, WINDOWS)
    assert (kinds == np.where(first.kinds == POINTS, POSITIVE, first.kinds)).all()
    # Of those that passed come all negatives, and the others first.
    passed = np.array([[39, 20, 24, 24], [60, 30, 12, 12], [0, 50, 14, 14], [41, 15, 24, 24]])
    later = choose(boxes, annotated, size, passed, (9, 4, 1, 0), WINDOWS, rng)
    assert sorted(later.windows[later.kinds == NEGATIVE].tolist()) == sorted(passed[1:3].tolist())
    assert later.windows[later.kinds == POSITIVE].tolist() == [passed[0].tolist()]
    assert np.bincount(later.kinds).tolist() == [2, 4, 1]
    nobody = choose(boxes[:0], annotated[:0], size, passed[:0], (9, 4, 3, 5), WINDOWS, rng)
    assert len(nobody.windows) == 0


def test_the_stages_make_the_face_of_what_the_networks_shall_say():
    boxes = np.array([[10.25, 12.5, 29.75, 36.0], [3.0, 4.0, 20.5, 30.0]], np.float32)
    points = boxes[:, None, :2] + np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    windows = np.array([[8, 11, 25, 25], [-2, 5, 30, 30]])
    corners = np.concatenate([windows[:, :2] + 1, windows[:, :2] + windows[:, 2:]], axis=1).astype(np.float32)
    offsets, places = targets("o", windows, boxes, points)
    crops = stages.Boxes(corners[None], np.array([[0.9, 0.8]], np.float32), np.ones((1, 2), bool))
    made, five = stages.finish(crops, offsets[None], places[None], threshold=0.5, suppression=1.0)
    np.testing.assert_allclose(made.boxes[0], boxes + 1, atol=1e-4)  # boxes count from 1
    np.testing.assert_allclose(five[0], points, atol=1e-4)
    assert (targets("r", windows, boxes, points)[0] == offsets).all()
    # P-net's fourth window of a row of nine, on a level where 20 pixels are 12.
    window = np.array([[2 * 2 * 20 // 12, 2 * 3 * 20 // 12, 20, 20]])
    offsets, _ = targets("p", window, boxes[:1], points[:1])
    of_stage = stages._window_boxes(jnp.array([[3 * 9 + 2]]), 9, 9, 12 / 20)
    moved = stages._move(of_stage, jnp.asarray(offsets)[None], inclusive=False)
    np.testing.assert_allclose(moved[0], boxes[:1] + 1, atol=1.5)  # up to the fractions that the stages drop


def test_pixels_are_the_mean_over_the_window():
    rng = np.random.default_rng(0)
    images = [rng.integers(0, 256, (40, 50, 3), np.uint8), rng.integers(0, 256, (30, 31, 3), np.uint8)]
    windows = [np.array([[5, 6, 24, 24], [30, -4, 36, 35], [20, 20, 5, 7]]), np.array([[0, 0, 30, 30]])]
    for image, of_image, pixels in zip(images, windows, cut(images, windows, 12), strict=True):
        padded = np.pad(image.astype(float), ((60, 60), (60, 60), (0, 0)))
        for (left, top, width, height), found in zip(of_image.tolist(), pixels, strict=True):
            part = padded[60 + top : 60 + top + height, 60 + left : 60 + left + width]
            # Each pixel twelvefold, so that every cell has whole parts of pixels.
            fine = part.repeat(12, axis=0).repeat(12, axis=1)
            expected = fine.reshape(12, height, 12, width, 3).mean(axis=(1, 3))
            np.testing.assert_allclose(found, expected, atol=0.51)
    assert [len(found) for found in cut(images, [windows[0][:0], windows[1]], 12)] == [0, 1]


class Discs(Spots):
    """Discs with a bright spot of another colour for each point."""

    def example(self, index: int):
        one = super().example(index)
        image = one.image // 2
        for x, y in one.points[0]:
            cv2.circle(image, (round(float(x)), round(float(y))), 1, (255, 0, 0), -1)
        return dataclasses.replace(one, image=image, points=np.rint(one.points))


@pytest.mark.parametrize("name", NAMES)
def test_what_is_cut_shows_what_it_teaches(name: str):
    """A face that is a bright disc: where a window's pixels are bright, there its target says the face is."""
    examples, before = Discs(), None
    if name != "p":

        def before(images):
            """Windows that lie over the disc, and one that does not."""
            corners = np.array([[3, 3, 40, 40], [20, 20, 50, 50], [0, 0, 12, 12]], np.float32)
            return [Detections(corners, np.zeros((3, 5, 2), np.float32), np.ones(3, np.float32)) for _ in images]

    done = []
    pool = cut_windows(name, examples, before, small(name, windows=1400), done.append)
    side, kinds = make_net(name).size, pool["kinds"]
    assert pool["images"].shape == (len(kinds), side, side, 3) and pool["images"].dtype == np.uint8 and done == [40]
    counts = np.bincount(kinds)
    assert counts[POSITIVE] == 200 and 190 < counts[POINTS] <= 200  # of 400: every second face has no points
    if name == "p":
        assert counts[:3].tolist() == [600, 200, 200]
    else:
        assert 20 <= counts[NEGATIVE] <= 40 + 80  # only windows that passed
    blue = pool["images"][..., 2].astype(float)
    for row in np.flatnonzero(kinds == POSITIVE)[::7]:
        rows, columns = np.nonzero(blue[row] > 85)
        left, top, right, bottom = pool["boxes"][row]
        if name == "p":  # offsets from 1/12 to the end, in elevenths
            left, top, right, bottom = 1 + 11 * left, 1 + 11 * top, 12 + 11 * right, 12 + 11 * bottom
        else:
            left, top, right, bottom = side * left, side * top, side * (1 + right), side * (1 + bottom)
        for found, expected in ((columns, (left, right)), (rows, (top, bottom))):
            inside = np.clip(expected, 0, side)
            np.testing.assert_allclose([found.min(), found.max() + 1], inside, atol=0.09 * side)
    red = pool["images"][..., 0].astype(float) - pool["images"][..., 2]
    if name == "o":
        for row in np.flatnonzero(kinds == POINTS)[::7]:
            for x, y in pool["points"][row]:
                x, y = round(float(x * side)), round(float(y * side))
                if min(x, y) >= 2 and max(x, y) < side - 2:
                    assert red[row, y - 1 : y + 3, x - 1 : x + 3].max() > 60
        order = pool["points"][kinds == POINTS]
        assert (order[:, 0, 0] < order[:, 1, 0]).all() and (order[:, 3, 0] < order[:, 4, 0]).all()  # mirrored or not


def test_mirroring_twice_changes_nothing():
    boxes = np.array([[10, 12, 29, 36]], np.float32)
    points = np.arange(10, dtype=np.float32).reshape(1, 5, 2)
    window = np.array([[8, 11, 25, 25]])
    once = mirrored(window, boxes, points)
    assert once[0].tolist() == [[11, 12, 30, 36]]  # 8..32 is turned about 20
    assert once[1][0, 0].tolist() == [40 - points[0, 1, 0], points[0, 1, 1]]
    twice = mirrored(window, *once)
    assert (twice[0] == boxes).all() and (twice[1] == points).all()


def test_windows_of_detections_are_whole_pixels():
    found = Detections(np.array([[1, 2, 20, 21], [5, 5, 4, 9]], np.float32), np.zeros((2, 5, 2)), np.ones(2))
    assert to_windows(found).tolist() == [[0, 1, 20, 20]]


def costs(outputs: Outputs, kinds: np.ndarray, boxes: np.ndarray, points: np.ndarray, share: float) -> list[float]:
    """`losses_of_batch` with loops."""
    face, box, five = (np.asarray(part, np.float64) for part in outputs)
    entropies, right, of_boxes, of_points = [], [], [], []
    for row, kind in enumerate(kinds):
        if kind in (NEGATIVE, POSITIVE):
            own = 1 if kind == POSITIVE else 0
            entropies.append(np.log(np.exp(face[row]).sum()) - face[row, own])
            right.append((face[row, 1] > face[row, 0]) == (own == 1))
        if kind in (POSITIVE, PART):
            of_boxes.append(((box[row] - boxes[row]) ** 2).sum())
        if kind == POINTS:
            of_points.append(((five[row] - points[row]) ** 2).sum())
    hard = sorted(entropies, reverse=True)[: max(1, int(share * len(entropies) + 1e-6))] or [0.0]
    return [float(np.mean(each or [0.0])) for each in (hard, of_boxes, of_points, right)]


@pytest.mark.parametrize("kinds", [None, NEGATIVE, PART, POINTS])
def test_losses_equal_loops(kinds: int | None):
    rng = np.random.default_rng(5)
    outputs = Outputs(*(2 * rng.normal(size=(37, *shape)).astype(np.float32) for shape in ((2,), (4,), (5, 2))))
    of_rows = rng.integers(0, 4, 37) if kinds is None else np.full(37, kinds)
    boxes, points = rng.normal(size=(37, 4)).astype(np.float32), rng.normal(size=(37, 5, 2)).astype(np.float32)
    terms = jax.jit(losses_of_batch, static_argnums=4)(outputs, of_rows, boxes, points, 0.7)
    np.testing.assert_allclose(np.array(terms), costs(outputs, of_rows, boxes, points, 0.7), rtol=2e-5, atol=1e-6)


def test_only_the_hardest_windows_have_a_gradient():
    losses, counts = jnp.array([3.0, 5.0, 1.0, 5.0, 9.0, 0.0, 2.0]), jnp.array([True] * 4 + [False] + [True] * 2)
    for share, expected in ((0.0, [1]), (0.35, [1, 3]), (0.5, [0, 1, 3]), (1.0, [0, 1, 2, 3, 5, 6])):
        assert np.flatnonzero(hardest(losses, counts, share)).tolist() == expected
    ten = jnp.arange(10.0)
    assert hardest(ten, ten >= 0, 0.7).sum() == 7
    kinds = jnp.array([NEGATIVE, NEGATIVE, POSITIVE, PART, POINTS])
    zeros = Outputs(jnp.array([[0, 1], [3.0, 0], [0, 2.0], [0, 0], [0, 0]]), jnp.zeros((5, 4)), jnp.zeros((5, 5, 2)))

    def total(outputs: Outputs) -> jax.Array:
        terms = losses_of_batch(outputs, kinds, jnp.ones((5, 4)), jnp.ones((5, 5, 2)), 0.7)
        return terms.classification + terms.boxes + terms.points

    gradient = jax.grad(total)(zeros)
    for part, taught in zip(gradient, ([0, 2], [2, 3], [4]), strict=True):  # row 1 is the easiest of three
        assert np.flatnonzero(np.abs(part).reshape(5, -1).sum(axis=1)).tolist() == taught
    for value in (1e4, -1e4):
        far = jax.tree.map(lambda x, value=value: jnp.full_like(x, value).at[..., 0].set(-value), zeros)
        assert all(np.isfinite(part).all() for part in jax.grad(total)(far))


def test_batches_depend_on_seed_and_step_alone(tmp_path):
    stage = small("p", images=28, windows=700)
    pool = cut_windows("p", Discs(), None, stage)
    save_windows(pool, tmp_path / "p" / "windows.npz")
    loader, again = make_loader(pool, stage), make_loader(load_windows(tmp_path / "p" / "windows.npz"), stage)
    batches = [next(loader) for _ in range(4)]
    for _ in range(3):
        next(again)
    for mine, theirs in zip(jax.tree.leaves(batches[3]), jax.tree.leaves(next(again)), strict=True):
        np.testing.assert_array_equal(mine, theirs)
    assert np.bincount(batches[0]["kinds"]).tolist() == [12, 4, 4, 8]
    assert (batches[0]["images"] != batches[1]["images"]).any()
    assert batch_shares([5, 5, 5, 0], stage) == [18, 5, 5, 0]  # nobody's points are annotated
    nobody = Spots()
    nobody.example = lambda index: dataclasses.replace(  # type: ignore[method-assign]
        Spots().example(index), boxes=np.zeros((0, 4), np.float32), points=np.zeros((0, 5, 2), np.float32),
        has_points=np.zeros(0, bool),
    )  # fmt: skip
    with pytest.raises(DataError, match="spots: no positives for P-net"):
        cut_windows("p", nobody, None, stage)


@pytest.mark.parametrize("name", ["p", "r"])
def test_a_step_lowers_the_loss_and_is_the_same_on_eight_devices(name: str):
    stage = small(name, images=56, windows=700)
    stage = dataclasses.replace(
        stage, optimiser=dataclasses.replace(stage.optimiser, warmup_steps=0, schedule="constant", learning_rate=3e-3)
    )
    rng = np.random.default_rng(0)
    batch: Batch = {
        "images": rng.integers(0, 256, (56, *2 * [make_net(name).size], 3), np.uint8),
        "kinds": np.repeat([NEGATIVE, PART, POSITIVE, POINTS], [24, 8, 8, 16]).astype(np.uint8),
        "boxes": rng.normal(size=(56, 4)).astype(np.float32) / 5,
        "points": rng.random((56, 5, 2)).astype(np.float32),
    }
    rows, after = [], {}
    for devices in (1, 8):
        mesh = make_mesh(devices)
        step, state = make_train_step(name, stage, mesh), init_state(name, stage, mesh)
        placed = place_batch(mesh, batch)
        for _ in range(30 if devices == 1 else 1):
            state, metrics = step(state, placed)
            rows.append({key: float(value) for key, value in metrics.items()})
            after.setdefault(devices, jax.device_get((state.params, optax.tree.get(state.opt_state, "mu"))))
    *of_one, of_eight = rows
    assert of_one[-1]["loss"] < 0.7 * of_one[0]["loss"]
    first = of_one[0]
    assert first["loss"] == pytest.approx(first["classification"] + 0.5 * first["boxes"] + 0.5 * first["points"])
    for key, value in of_eight.items():
        np.testing.assert_allclose(value, first[key], rtol=1e-4)

    def same(params: np.ndarray, first_moment: np.ndarray, of_eight: np.ndarray, moment_of_eight: np.ndarray) -> None:
        """Gradients agree up to the rounding of sums, and weights up to what Adam makes of that rounding.

        After one step the first moment is 0.1 g and the step 3e-3 g / (|g| + 1e-8): its length hardly depends on that
        of g, so of a gradient that is all rounding the sign alone counts, and weights may be apart by up to 6e-3.
        """
        one, eight = (moment.astype(np.float64) / 0.1 for moment in (first_moment, moment_of_eight))
        np.testing.assert_allclose(one, eight, rtol=1e-4, atol=1e-5 * np.abs(one).max())
        one, eight = (g / (np.abs(g) + 1e-8) for g in (one, eight))
        assert (np.abs(params - of_eight) <= 3e-3 * np.abs(one - eight) + 1e-6).all()

    jax.tree.map(same, *after[1], *after[8])
    if name == "p":
        batch["boxes"] = np.full((56, 4), np.inf, np.float32)
        before = jax.device_get(state.params)
        state, metrics = step(state, place_batch(mesh, batch))
        assert int(state.step) == 2 and not np.isfinite(metrics["loss"])
        jax.tree.map(np.testing.assert_array_equal, before, jax.device_get(state.params))


@pytest.mark.parametrize("name", ["scenes", "wider"])
def test_what_the_paper_gives_is_in_all_configs(name: str):
    config, _ = load_config(f"mtcnn/{name}", Config)
    assert (config.loss.hard_share, config.loss.box_weight) == (0.7, 0.5)
    assert [config.stage(net).net.points_weight for net in NAMES] == [0.5, 0.5, 1.0]
    assert (config.windows.negative, config.windows.part, config.windows.positive) == (0.3, 0.4, 0.65)
    assert config.windows.shares == (3, 1, 1, 2)


def test_weights_go_to_the_published_names_and_back():
    params = {name: jax.device_get(make_net(name, points=True).init(jax.random.key(ord(name)))) for name in NAMES}
    params = jax.tree.map(lambda x: x + np.arange(x.size, dtype=np.float32).reshape(x.shape), params)
    back = to_params({f"{net}.npz": arrays for net, arrays in to_facenet_pytorch(params).items()})
    for name in NAMES:
        if name != "o":  # published without it
            params[name]["heads"].pop("points")
        jax.tree.map(np.testing.assert_array_equal, back[name], params[name])


def test_the_first_networks_alone_find_what_the_next_sees():
    params = {name: make_net(name).init(jax.random.key(ord(name))) for name in NAMES}
    options = Options(min_face=23, factor=0.6, thresholds=(0.5, 0.4, 0.3))
    image = np.random.default_rng(0).integers(0, 256, (40, 44, 3), np.uint8)
    cascades = [{name: params[name] for name in NAMES[: count + 1]} for count in range(2)]
    of_p, of_r = (make_detector(cascade, options)([image])[0] for cascade in cascades)
    assert len(of_p) >= len(of_r) > 0
    for found in (of_p, of_r):
        assert (found.boxes == np.trunc(found.boxes)).all() and not found.points.any()
        assert (np.abs(np.ptp(found.boxes[:, ::2], axis=1) - np.ptp(found.boxes[:, 1::2], axis=1)) <= 1).all()
    assert of_p.scores.min() >= 0.5 and of_r.scores.min() > 0.4
