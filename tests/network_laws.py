"""What every network of both papers keeps: finite gradients, float32 beside bfloat16, initial values, counts.

Each paper's tests name their networks, and add what is theirs alone.

Not here: the networks, and what they must equal.
"""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from faces.backbone import Backbone, Network
from faces.errors import ConfigError

Initialised = tuple[Backbone, Any, Any]
"""A network, its parameters and its batch statistics."""


def colour_fields(seed: int, number: int, size: tuple[int, int]) -> jax.Array:
    """Smooth random images (number, H, W, 3): as faces do, they differ in more than their noise."""
    coarse = jax.random.normal(jax.random.key(seed), (number, 4, 4, 3))
    return jax.image.resize(coarse, (number, *size, 3), "linear")


def initialise(models: Any, kinds: Mapping[str, Network], name: str, dtype: Any = jnp.float32) -> Initialised:
    """One of `kinds`, made by a paper's `models` as if it were one of its networks, d = 16."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(models.NETWORKS, name, kinds[name])
        backbone = models.make_backbone(name, 16, dtype)
    return backbone, *backbone.init(jax.random.key(0))


def embeddings_with_finite_gradients(network: Initialised, never_zero: tuple[str, ...]) -> np.ndarray:
    """Embeddings of four images in training, (4, 16), after a look at the gradients, those of black images too.

    Args:
        network: as `initialise` makes it.
        never_zero: kinds of parameters each of which has a gradient.
    """
    backbone, params, batch_stats = network

    @jax.jit
    def step(params: Any, images: jax.Array) -> Any:
        def loss(params: Any, images: jax.Array) -> Any:
            embeddings, updated = backbone.apply(params, batch_stats, images, True, jax.random.key(5))
            return jnp.square(embeddings[0] - embeddings[1]).sum(), (embeddings, updated)

        return jax.grad(loss, argnums=(0, 1), has_aux=True)(params, images)

    images = colour_fields(1, 4, backbone.input_size)
    (of_params, of_images), (embeddings, updated) = jax.device_get(step(params, images))
    assert (embeddings.shape, embeddings.dtype) == ((4, 16), np.float32)
    assert jax.tree.structure(updated) == jax.tree.structure(batch_stats)
    assert np.isfinite(of_images).all() and of_images[:2].any()
    assert batch_stats or not of_images[2:].any()  # without batch norm each image stands by itself
    for path, leaf in jax.tree.leaves_with_path(of_params):
        assert np.isfinite(leaf).all(), path
        assert path[-1].key not in never_zero or leaf.any(), path

    black = jax.device_get(step(params, jnp.zeros_like(images)))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(black))
    return embeddings


def embeddings_in_both_types(full: Initialised, half: Initialised) -> tuple[np.ndarray, np.ndarray]:
    """Of four images, by bfloat16 and by float32: not the same; parameters are float32 in both."""
    backbone, params, batch_stats = full
    assert {leaf.dtype for leaf in jax.tree.leaves(half[1:])} == {jnp.dtype("float32")}
    images = colour_fields(1, 4, backbone.input_size)
    rounded = jax.jit(half[0].apply, static_argnums=3)(params, batch_stats, images.astype(jnp.bfloat16), False)[0]
    exact = jax.jit(backbone.apply, static_argnums=3)(params, batch_stats, images, False)[0]
    assert rounded.dtype == exact.dtype == jnp.float32
    assert not np.array_equal(rounded, exact)
    return np.asarray(rounded), np.asarray(exact)


def outputs_by_batch_and_by_statistics(network: Initialised, images: jax.Array) -> tuple[np.ndarray, Any]:
    """Embeddings and statistics after a step of training, which use the batch; at evaluation they do not."""
    backbone, params, batch_stats = network
    apply = jax.jit(backbone.apply, static_argnums=3)
    trained, updated = jax.device_get(apply(params, batch_stats, images, True, jax.random.key(0)))
    used, unchanged = jax.device_get(apply(params, batch_stats, images, False))
    assert not np.allclose(trained, used, atol=1e-3)
    assert jax.tree.all(jax.tree.map(np.array_equal, unchanged, batch_stats))
    return trained, updated


def check_initial_kernels(params: Any, variance_times_fan_in: Callable[[Any, np.ndarray], float]) -> None:
    """Kernels are drawn with the variance asked for, around 0, each from a random key of its own."""
    heads = list[float]()
    for path, leaf in jax.tree.leaves_with_path(jax.device_get(params)):
        if path[-1].key == "kernel":
            expected = np.sqrt(variance_times_fan_in(path, leaf) / np.prod(leaf.shape[:-1]))
            assert leaf.std() == pytest.approx(expected, rel=5.0 / np.sqrt(2 * leaf.size)), path
            assert abs(leaf.mean()) < 5.0 * expected / np.sqrt(leaf.size), path
            heads.append(round(float(leaf.flat[0] / expected), 4))
    assert heads and len(set(heads)) == len(heads)


def check_table(
    main: Callable[[list[str]], None], capsys: Any, name: str, lines: Mapping[int, str], known: str
) -> None:
    """What `python -m PAPER.models NAME` prints: some lines of the table; help and mistakes.

    Args:
        main: the command's.
        capsys: pytest's.
        name: a network's.
        lines: words of the table's lines, by their numbers.
        known: how the help begins its list of networks.
    """
    main([name])
    printed = capsys.readouterr().out.splitlines()
    assert {number: printed[number].split() for number in lines} == {n: line.split() for n, line in lines.items()}
    for given, words in (([], "NETWORK"), (["--help"], f"Networks: {known}")):
        with pytest.raises(SystemExit):
            main(given)
        told = capsys.readouterr()
        assert words in " ".join((told.out + told.err).split())
    with pytest.raises(ConfigError, match='there is no network "nn"'):
        main(["nn"])
