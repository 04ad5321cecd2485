"""The head against float64 loops and against PyTorch; the same on every number of devices and in blocks; its memory."""

import re
from collections.abc import Callable
from functools import cache, partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from arcface_jax import centres as class_centres
from arcface_jax import head, margins
from arcface_jax.head import Head
from arcface_jax.margins import Margin
from faces.errors import DataError
from faces.mesh import make_mesh, sharded
from tests.arcface_jax import head_oracle

EXACT, STRAIGHT = Margin(0.9, 0.4, 0.15), Margin(0.9, 0.4, 0.15, "straight_through")
ARCFACE, NORM_SOFTMAX = Margin(), Margin(1.0, 0.0, 0.0)
S = 16.0


def lowered_cosine(cos_theta: jax.Array) -> jax.Array:
    """A target function that is no `Margin`."""
    return cos_theta - 0.35


LOWERED = (1.0, 0.0, 0.35)  # what the oracle calls it
HEADS = {
    "exact": head.margin_head(EXACT, S),
    "sub_centres": head.margin_head(EXACT, S),
    "times_norm": Head("cosine_times_norm", lowered_cosine),
    "linear": head.softmax_head(),
}


def problem(seed: int, images: int = 16, classes: int = 11, d: int = 6, k: int = 1) -> tuple[np.ndarray, ...]:
    """Embeddings and centres of unequal lengths, in float32; unequal numbers of images per class."""
    rng = np.random.default_rng(seed)
    x = (rng.normal(size=(images, d)) * rng.uniform(0.5, 3.0, size=(images, 1))).astype(np.float32)
    w = rng.normal(size=(classes, d) if k == 1 else (classes, k, d)).astype(np.float32)
    return x, w, rng.integers(0, classes, size=(2, images)).min(axis=0).astype(np.int32)


def of_head(name: str, seed: int = 0) -> tuple[tuple[np.ndarray, ...], tuple[np.ndarray, ...]]:
    """The problem that a head is tried on, and the oracle's losses and gradients of it."""
    x, w, labels = problem(seed, k=3 if name == "sub_centres" else 1)
    if name == "linear":
        w = problem(seed, d=x.shape[1] + 1)[1]
        return (x, w, labels), head_oracle.softmax_loss(x, w, labels)
    if name == "times_norm":
        return (x, w, labels), head_oracle.margin_loss(x, w, labels, LOWERED, S, times_norm=True)
    expected = head_oracle.margin_loss(x, w, labels, (0.9, 0.4, 0.15), S, name == "straight_through")
    return (x, w, labels), expected


def assert_equal(result: Any, expected: Any, tolerance: float = 1e-5) -> None:
    """Equal relative to the largest number of each array."""
    for ours, theirs in zip(result, expected, strict=True):
        assert ours.dtype == np.float32
        np.testing.assert_allclose(ours, theirs, rtol=tolerance, atol=tolerance * np.abs(theirs).max())


def graded(loss: Any) -> Callable[..., Any]:
    """Losses (B,) of (x, w, labels) and the gradients of their sum by x and w, compiled once for all seeds."""

    def total(x: jax.Array, w: jax.Array, labels: jax.Array) -> tuple[jax.Array, jax.Array]:
        per_image = loss(x, w, labels)
        return jnp.sum(per_image), per_image

    grade = jax.jit(jax.value_and_grad(total, argnums=(0, 1), has_aux=True))

    def call(x: np.ndarray, w: np.ndarray, labels: np.ndarray) -> Any:
        (_, per_image), gradients = grade(x, w, labels.astype(np.int32))
        return jax.device_get((per_image, *gradients))

    return call


@pytest.mark.parametrize("name", ["exact", "straight_through", "sub_centres"])
def test_margin_softmax_equals_the_oracle(name: str):
    margin = STRAIGHT if name == "straight_through" else EXACT
    ours = graded(partial(head.margin_softmax_loss, margin=margin, s=S))
    for seed in range(3):
        arrays, expected = of_head(name, seed)
        assert_equal(ours(*arrays), expected)


def test_softmax_equals_the_oracle():
    ours = graded(head.softmax_loss)
    for seed in range(3):
        arrays, expected = of_head("linear", seed)
        assert_equal(ours(*arrays), expected)


@pytest.mark.parametrize(
    ("name", "devices", "block"),
    [
        *(("exact", devices, 0) for devices in (2, 4, 8)),
        *(("exact", devices, 2) for devices in (1, 8)),
        ("sub_centres", 4, 2),
        ("times_norm", 4, 2),
        ("linear", 2, 2),
    ],
)
def test_sharded_and_in_blocks_equal_the_oracle(name: str, devices: int, block: int):
    """11 classes divide by no number of devices, nor 11 or 3 rows by the block; on 8 devices two hold padding alone."""
    mesh, rows = make_mesh(devices), class_centres.padded_classes(11, devices)
    ours = graded(partial(head.class_loss, head=HEADS[name], mesh=mesh, valid=11, block=block))
    for seed in range(2):
        (x, w, labels), expected = of_head(name, seed)
        padded = np.concatenate([w, np.full((rows - 11, *w.shape[1:]), 7.0, np.float32)])
        losses, of_x, of_w = ours(x, padded, labels)
        assert_equal((losses, of_x, of_w[:11]), expected)
        assert not of_w[11:].any()


def test_loss_is_divided_as_the_embeddings():
    x, w, labels = problem(0, classes=12)
    mesh = make_mesh(4)
    losses = jax.jit(lambda *a: head.class_loss(*a, HEADS["exact"], mesh, 12))(x, w, labels)
    assert [shard.data.shape for shard in losses.addressable_shards] == [(4,)] * 4


def test_rows_that_are_no_class_take_no_part():
    """Padding may lie anywhere where a mask says which rows are classes."""
    x, w, labels = problem(1, classes=7)
    place = np.array([0, 2, 3, 5, 8, 9, 10])
    spread = np.full((12, w.shape[1]), 3.0, np.float32)
    spread[place] = w
    expected = head_oracle.margin_loss(x, w, labels, (0.9, 0.4, 0.15), S)
    is_class = jnp.asarray(np.isin(np.arange(12), place))
    loss = partial(head.class_loss, head=HEADS["exact"], mesh=make_mesh(4), valid=is_class, block=2)
    losses, of_x, of_w = graded(loss)(x, spread, place[labels])
    assert_equal((losses, of_x, of_w[place]), expected)
    assert not np.delete(of_w, place, axis=0).any()


def test_equals_torch():
    """Loss and both gradients of a plain PyTorch implementation in float64, exact and straight-through."""
    torch = pytest.importorskip("torch")
    x, w, labels = problem(2, images=24, classes=101, d=16)
    for margin in (EXACT, STRAIGHT):
        of_x, of_w = (torch.tensor(a, dtype=torch.float64, requires_grad=True) for a in (x, w))
        normalize = torch.nn.functional.normalize
        cosine = normalize(of_x) @ normalize(of_w).T
        index = torch.arange(len(labels)), torch.tensor(labels, dtype=torch.int64)
        target = torch.cos(margin.m1 * torch.acos(cosine[index]) + margin.m2) - margin.m3
        if margin.gradient == "straight_through":
            target = cosine[index] + (target - cosine[index]).detach()
        logits = S * cosine.index_put(index, target)
        losses = torch.nn.functional.cross_entropy(logits, index[1], reduction="none")
        losses.sum().backward()
        expected = losses.detach().numpy(), of_x.grad.numpy(), of_w.grad.numpy()
        ours = graded(partial(head.margin_softmax_loss, margin=margin, s=S))(x, w, labels)
        assert_equal(ours, expected)


def test_without_margin_it_is_norm_softmax():
    x, w, labels = problem(3)

    def norm_softmax(x: jax.Array, w: jax.Array, labels: jax.Array) -> jax.Array:  # Eq. (2)
        x, w = (v / jnp.linalg.norm(v, axis=1, keepdims=True) for v in (x, w))
        return -jax.nn.log_softmax(S * x @ w.T)[jnp.arange(len(labels)), labels]

    ours = graded(partial(head.margin_softmax_loss, margin=NORM_SOFTMAX, s=S))(x, w, labels)
    assert_equal(ours, graded(norm_softmax)(x, w, labels))


def test_order_of_classes_and_length_of_centres_do_not_matter():
    x, w, labels = problem(4)
    order = np.random.default_rng(4).permutation(len(w))
    loss = jax.jit(partial(head.margin_softmax_loss, margin=ARCFACE, s=S))
    moved = loss(x, 3 * w[order], np.argsort(order)[labels])
    np.testing.assert_allclose(moved, loss(x, w, labels), rtol=1e-5)


def test_small_losses_keep_their_digits():
    """A well-classified image: the loss is about 1e-17, far below float32's resolution at 1."""
    x, w = np.eye(3, dtype=np.float32), np.eye(3, dtype=np.float32)
    w[0, 1] = 0.25
    labels = np.arange(3, dtype=np.int32)
    expected = head_oracle.margin_loss(x[:1], w, labels[:1], (1.0, 0.0, 0.0), 40.0)
    ours = graded(partial(head.margin_softmax_loss, margin=NORM_SOFTMAX, s=40.0))(x[:1], w, labels[:1])
    assert 0 < expected[0] < 1e-15
    np.testing.assert_allclose(ours[0], expected[0], rtol=1e-5)
    np.testing.assert_allclose(ours[1], expected[1], rtol=1e-5)


@pytest.mark.parametrize(("name", "block"), [("exact", 0), ("times_norm", 2), ("linear", 0)])
def test_gradients_are_finite_at_the_poles_and_at_zero_vectors(name: str, block: int):
    x = np.array([[0, 0, 0], [1, 0, 0], [-1, 0, 0], [2, 0, 0]], np.float32)
    w = np.array([[1, 0, 0], [0, 0, 0], [-3, 0, 0]], np.float32)
    if name == "linear":
        w = np.pad(w, ((0, 0), (0, 1)))
    loss = partial(head.class_loss, head=HEADS[name], mesh=make_mesh(1), valid=3, block=block)
    for array in graded(loss)(x, w, np.array([0, 0, 0, 1])):
        assert np.isfinite(array).all()


def test_a_class_alone_has_no_loss_and_what_is_not_finite_shows():
    x, w, labels = problem(5, classes=1)
    result = graded(partial(head.margin_softmax_loss, margin=NORM_SOFTMAX, s=S))(x, w, labels)
    assert all((array == 0).all() for array in result)
    x, w, labels = problem(5)
    x[3, 0] = np.nan
    losses = graded(partial(head.margin_softmax_loss, margin=ARCFACE, s=S))(x, w, labels)[0]
    assert np.flatnonzero(np.isnan(losses)).tolist() == [3]


def test_bfloat16_embeddings_are_widened_before_anything_else():
    x, w, labels = problem(6)
    narrow = jnp.asarray(x, jnp.bfloat16)
    loss = jax.jit(partial(head.margin_softmax_loss, margin=ARCFACE, s=S))
    np.testing.assert_array_equal(loss(narrow, w, labels), loss(narrow.astype(jnp.float32), w, labels))


def test_target_may_depend_on_what_the_step_computes():
    """Annealing: the function holds a traced number; in blocks and over devices."""
    x, w, labels = problem(7, classes=12)
    mesh = make_mesh(2)

    @jax.jit
    @jax.value_and_grad
    def loss(x: jax.Array, w: jax.Array, m3: jax.Array) -> jax.Array:
        lowered = Head("cosine", lambda cosine: cosine - m3, S)
        return jnp.sum(head.class_loss(x, w, jnp.asarray(labels), lowered, mesh, 12, block=4))

    expected = head_oracle.margin_loss(x, w, labels, LOWERED, S)
    value, gradient = loss(x, w, 0.35)
    np.testing.assert_allclose(value, expected[0].sum(), rtol=1e-5)
    np.testing.assert_allclose(gradient, expected[1], rtol=1e-4, atol=1e-5)


IMAGES, ROWS, BLOCK, DEVICES = 64, 20000, 500, 2
SCORES = 4 * IMAGES * ROWS // DEVICES  # bytes, on a device


@cache
def compiled(rows: int, block: int) -> Any:
    """Loss and both gradients, compiled for arrays that need not exist."""
    mesh, d = make_mesh(DEVICES), 16

    def mean(x: jax.Array, w: jax.Array, labels: jax.Array) -> jax.Array:
        return jnp.mean(head.class_loss(x, w, labels, HEADS["exact"], mesh, rows, block))

    shapes = ((IMAGES, d), jnp.float32), ((rows, d), jnp.float32), ((IMAGES,), jnp.int32)
    arguments = [jax.ShapeDtypeStruct(shape, dtype, sharding=sharded(mesh)) for shape, dtype in shapes]
    return jax.jit(jax.value_and_grad(mean, argnums=(0, 1))).lower(*arguments).compile()


def test_no_full_scores_in_blocks():
    """The optimised program has no array (batch, rows on a device) of any kind; without blocks it has."""
    full, part = (rf"\[(?:{IMAGES},{n}|{n},{IMAGES})\]" for n in (ROWS // DEVICES, BLOCK))
    dense, in_blocks = (compiled(ROWS, block).as_text() for block in (0, BLOCK))
    assert re.search(full, dense) and not re.search(part, dense)
    assert re.search(part, in_blocks) and not re.search(full, in_blocks)


def test_memory_is_that_of_the_scores_or_of_a_block():
    """Beside arguments and results: scores and their gradient, no third copy; in blocks, those of a block, and two
    numbers per image and block."""
    dense, small, large = (
        compiled(rows, block).memory_analysis().temp_size_in_bytes
        for rows, block in ((ROWS, 0), (ROWS, BLOCK), (10 * ROWS, BLOCK))
    )
    assert 1.5 * SCORES < dense < 2.2 * SCORES
    assert small < 4 * (4 * IMAGES * BLOCK)
    assert large - small < 6 * (4 * IMAGES * 9 * ROWS // DEVICES // BLOCK)


@pytest.mark.parametrize("devices", [1, 4])
@pytest.mark.parametrize("k", [1, 3])
def test_own_centre_and_target_cosine(k: int, devices: int):
    x, w, labels = problem(8, classes=12, k=k)
    mesh = make_mesh(devices)
    unit = [v / np.linalg.norm(v, axis=-1, keepdims=True) for v in (x.astype(np.float64), w.astype(np.float64))]
    with_k = unit[1].reshape(12, k, -1)
    nearest = [max(range(k), key=lambda j: with_k[y, j] @ unit[0][i]) for i, y in enumerate(labels)]
    expected = [w.reshape(12, k, -1)[y, j] for y, j in zip(labels, nearest, strict=True)]
    own = jax.jit(lambda w, y, x: class_centres.own_centre(w, y, mesh, x))(w, labels, x)
    np.testing.assert_array_equal(own, expected)
    cosine, of_x, of_w = graded(partial(class_centres.target_cosine_of, mesh=mesh))(x, w, labels)
    true_cosine = [with_k[y, j] @ unit[0][i] for i, (y, j) in enumerate(zip(labels, nearest, strict=True))]
    np.testing.assert_allclose(cosine, true_cosine, rtol=1e-5, atol=1e-6)
    expected_x, expected_w = np.zeros(x.shape), np.zeros((12, k, x.shape[1]))
    for i, (y, j) in enumerate(zip(labels, nearest, strict=True)):
        expected_x[i] = (with_k[y, j] - true_cosine[i] * unit[0][i]) / np.linalg.norm(x[i])
        of_own = unit[0][i] - true_cosine[i] * with_k[y, j]
        expected_w[y, j] += of_own / np.linalg.norm(w.reshape(12, k, -1)[y, j])
    np.testing.assert_allclose(of_x, expected_x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(of_w, expected_w.reshape(w.shape), rtol=1e-4, atol=1e-6)


def test_own_centre_of_several_needs_embeddings():
    _, w, labels = problem(8, classes=12, k=3)
    with pytest.raises(ValueError, match="give the embeddings"):
        jax.eval_shape(lambda w, y: class_centres.own_centre(w, y, make_mesh(1)), w, labels)


def test_centres_before_training():
    key, init = jax.random.key(0), class_centres.init_centres
    made = np.asarray(jax.jit(lambda key: init(key, 300, 40, linear=True))(key))
    assert made.shape == (300, 41) and not made[:, 40].any()
    assert made[:, :40].std() == pytest.approx(0.01, rel=0.03) and abs(made.mean()) < 5e-4
    assert jax.eval_shape(lambda: init(key, 300, 40)).shape == (300, 40)
    assert jax.eval_shape(lambda: init(key, 300, 40, k=3)).shape == (300, 3, 40)
    assert [class_centres.padded_classes(101, devices) for devices in (1, 2, 4, 8)] == [101, 102, 104, 104]


def test_labels_that_are_no_class_are_refused():
    class_centres.check_labels(np.array([0, 10, 3]), 11)
    class_centres.check_labels(np.array([], np.int32), 11)
    with pytest.raises(DataError, match=r"0 \.\. 10, these lie in 1 \.\. 11: if they start at 1"):
        class_centres.check_labels(np.arange(1, 12), 11)
    with pytest.raises(DataError, match=r"these lie in 0 \.\. 11"):
        class_centres.check_labels(np.arange(12), 11)
    with pytest.raises(DataError, match=r"these lie in -1 \.\. 3"):
        class_centres.check_labels(np.array([3, -1]), 11)


def test_memory_estimate_has_the_papers_figures():
    """v3 Appendix 5.1: 8 GPUs, B = 512, d = 512, a million classes: 256 MB of centres, 256 MB of scores, 1 MB of x."""
    items = class_centres.memory_estimate(512, 1_000_000, 512, 8)
    assert items["centres"] == items["momentum"] == items["gradient of centres"] == 256_000_000
    assert items["scores"] == items["gradient of scores"] == 256_000_000
    assert items["embeddings"] == 2**20
    line = class_centres.describe_memory(512, 1_000_000, 512, 8)
    assert line.startswith("memory of the head on each of 8 devices: 1,282.1 MB (centres 256.0, ") and "\n" not in line


def test_memory_estimate_of_blocks_samples_and_sub_centres():
    whole = class_centres.memory_estimate(256, 1001, 128, 4)
    assert class_centres.memory_estimate(256, 1001, 128, 4, block=50)["scores"] == 4 * 256 * 50
    assert class_centres.memory_estimate(256, 1001, 128, 4, block=5000) == whole
    three = class_centres.memory_estimate(256, 1001, 128, 4, sub_centres=3)
    assert all(three[item] == 3 * whole[item] for item in ("centres", "momentum", "scores"))
    sampled = class_centres.memory_estimate(16, 1001, 128, 4, sampling_rate=0.1)
    assert sampled["scores"] == 4 * 16 * 26 and sampled["centres"] == whole["centres"]
    assert sampled["sampled centres"] == sampled["sampled momentum"] == sampled["gradient of centres"] == 4 * 128 * 26


def padded_case(batch: int = 6, classes: int = 11, d: int = 5, seed: int = 4):
    rng = np.random.default_rng(seed)
    x, w = (rng.normal(size=shape).astype(np.float32) for shape in ((batch, d), (classes, d)))
    return jnp.asarray(x), jnp.asarray(w), jnp.asarray(rng.integers(0, classes, batch))


@pytest.mark.parametrize("devices", [1, 3, 8])
def test_class_loss_takes_a_margin_and_any_numbers_on_any_axis(devices: int):
    """Neither 6 images nor 11 classes can be shared by 8 devices evenly, and the axis has another name."""
    x, w, labels = padded_case()
    auto = (jax.sharding.AxisType.Auto,) * 2
    mesh = jax.make_mesh((1, devices), ("copies", "shards"), axis_types=auto, devices=jax.devices()[:devices])

    def sharded(x, w):
        return jnp.sum(head.class_loss(x, w, labels, ARCFACE, mesh, s=16.0, axis="shards"))

    def dense(x, w):
        return jnp.sum(head.margin_softmax_loss(x, w, labels, ARCFACE, 16.0))

    ours, theirs = (jax.jit(jax.value_and_grad(f, (0, 1)))(x, w) for f in (sharded, dense))
    for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-5, atol=2e-5)


@pytest.mark.parametrize("label", [-1, 11, 12, 99])
def test_a_label_that_is_no_class_is_refused_or_nan(label: int):
    x, w, labels = padded_case()
    wrong = labels.at[2].set(label)
    with pytest.raises(DataError, match=r"labels of 11 classes must lie in 0 \.\. 10"):
        head.class_loss(x, w, wrong, ARCFACE, make_mesh(4))
    compiled = (
        lambda labels: head.class_loss(x, w, labels, ARCFACE, make_mesh(4)),
        lambda labels: head.margin_softmax_loss(x, w, labels, ARCFACE, 64.0),
    )
    for loss in compiled:
        found, sound = jax.jit(loss)(wrong), jax.jit(loss)(labels)
        assert np.isnan(found[2]) and np.isfinite(sound).all()
        np.testing.assert_array_equal(np.delete(found, 2), np.delete(sound, 2))


def test_logits_are_what_the_loss_scores():
    x, w, labels = padded_case()
    logits = head.class_logits(x, w, head.margin_head(margins.NORM_SOFTMAX, 8.0))
    theirs = -jax.nn.log_softmax(logits)[jnp.arange(6), labels]
    np.testing.assert_allclose(head.margin_softmax_loss(x, w, labels, margins.NORM_SOFTMAX, 8.0), theirs, rtol=1e-5)
    unit = [v / np.linalg.norm(v, axis=1, keepdims=True) for v in (x, w)]
    np.testing.assert_allclose(head.class_logits(x, w, ARCFACE, s=1.0), unit[0] @ unit[1].T, atol=1e-6)
