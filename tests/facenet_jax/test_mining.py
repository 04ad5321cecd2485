"""Mining against a brute-force oracle, and the laws that every rule keeps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from facenet_jax import mining, mining_fast
from tests.facenet_jax import oracle


def batch(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Embeddings (B, d) and identities (B,) of one kind. Ties are exact: whole numbers, whose squares float32 holds."""
    rng = np.random.default_rng(seed)
    identities = rng.integers(0, 7, size=24)
    if kind == "random":
        return rng.normal(size=(24, 5)).astype(np.float32), identities
    if kind == "tied":
        return rng.integers(-2, 3, size=(24, 2)).astype(np.float32), identities
    if kind == "collapsed":
        return np.ones((24, 3), np.float32), identities
    if kind == "inside out":  # positives far apart, all negatives nearer: no semi-hard one exists
        positions = np.arange(8.0)[:, None] * np.where(np.arange(8) % 2, 10, -10)[:, None]
        return positions.astype(np.float32), np.array([0, 0, 1, 2, 3, 4, 5, 5])
    if kind == "single identity":
        return rng.normal(size=(9, 4)).astype(np.float32), np.full(9, 3)
    if kind == "all different":
        return rng.normal(size=(9, 4)).astype(np.float32), np.arange(9)
    raise ValueError(kind)


KINDS = ("random", "tied", "collapsed", "inside out", "single identity", "all different")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize(
    ("form", "rule"), [("definition", "semi_hard"), ("fast", "semi_hard"), ("definition", "hardest")]
)
def test_equals_brute_force(form: str, rule: str, kind: str, seed: int):
    embeddings, identities = batch(kind, seed)
    negative, is_pair = run(rule, embeddings, identities, form=form)
    expected, expected_is_pair = getattr(oracle, rule)(embeddings, identities)
    assert negative.dtype == jnp.int32 and is_pair.dtype == jnp.bool_
    np.testing.assert_array_equal(is_pair, expected_is_pair)
    np.testing.assert_array_equal(np.asarray(negative)[expected_is_pair], expected[expected_is_pair])


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4, 7))
@pytest.mark.parametrize("rule", ["semi_hard", "random_violator"])
def test_the_fast_form_equals_the_definition(rule: str, kind: str, seed: int):
    embeddings, identities = batch(kind, seed)
    fast, defined = (run(rule, embeddings, identities, 0.7, seed, form) for form in ("fast", "definition"))
    np.testing.assert_array_equal(fast.negative, defined.negative)
    np.testing.assert_array_equal(fast.is_pair, defined.is_pair)


@pytest.mark.parametrize("images_of_one", [3, mining_fast.MOST_LOOKS + 1])
def test_few_and_many_images_of_a_person_go_by_the_same_rule(images_of_one: int):
    """The two ways inside the fast form: looks for each positive, and sorting where somebody has many images."""
    rng = np.random.default_rng(images_of_one)
    identities = jnp.asarray(np.concatenate([np.full(images_of_one, 99), rng.integers(0, 5, 80 - images_of_one % 7)]))
    embeddings = jnp.asarray(rng.integers(-3, 4, size=(len(identities), 3)).astype(np.float32))
    fast, defined = mining_fast.semi_hard(embeddings, identities), mining.semi_hard(embeddings, identities)
    np.testing.assert_array_equal(fast.negative, defined.negative)
    np.testing.assert_array_equal(fast.is_pair, defined.is_pair)


def test_worked_case():
    """Anchor at 0, its positive at 2; negatives at 1 (too hard), 3 (semi-hard) and 5 (farther than needed)."""
    embeddings = jnp.array([[0.0], [2.0], [1.0], [3.0], [5.0]])
    identities = jnp.array([0, 0, 1, 2, 3])
    assert int(run("semi_hard", embeddings, identities).negative[0, 1]) == 3
    assert int(run("hardest", embeddings, identities).negative[0, 1]) == 2


def test_without_a_semi_hard_negative_the_farthest_is_taken():
    embeddings = jnp.array([[0.0], [9.0], [1.0], [3.0], [-2.0]])
    identities = jnp.array([0, 0, 1, 2, 3])
    assert int(run("semi_hard", embeddings, identities).negative[0, 1]) == 3


@pytest.mark.parametrize("rule", ["semi_hard", "hardest", "random_violator"])
def test_never_a_same_identity_negative_nor_self_pair(rule: str):
    for kind in KINDS:
        embeddings, identities = batch(kind, 5)
        mined = run(rule, embeddings, identities)
        a, p = np.nonzero(np.asarray(mined.is_pair))
        n = np.asarray(mined.negative)[a, p]
        assert (identities[n] != identities[a]).all()
        assert (identities[p] == identities[a]).all() and (a != p).all()


@pytest.mark.parametrize("rule", ["semi_hard", "hardest"])
def test_invariant_to_the_batch_order(rule: str):
    embeddings, identities = batch("random", 1)
    order = np.random.default_rng(0).permutation(len(identities))
    plain = run(rule, embeddings, identities)
    shuffled = run(rule, embeddings[order], identities[order])
    expected = np.asarray(plain.is_pair)[np.ix_(order, order)]
    np.testing.assert_array_equal(shuffled.is_pair, expected)
    back = order[np.asarray(shuffled.negative)]
    np.testing.assert_array_equal(back[expected], np.asarray(plain.negative)[np.ix_(order, order)][expected])


def test_random_violators_are_all_the_violators_equally_often():
    embeddings, identities, alpha = *batch("random", 2), 0.8
    d = oracle.distances(embeddings)
    draws = [run("random_violator", embeddings, identities, alpha, seed) for seed in range(300)]
    checked = 0
    for a, p in zip(*np.nonzero(oracle.semi_hard(embeddings, identities)[1]), strict=True):
        violators = {n for n in range(24) if identities[n] != identities[a] and d[a, n] < d[a, p] + alpha}
        assert all(bool(draw.is_pair[a, p]) == bool(violators) for draw in draws[:5])
        if violators:
            seen = [int(draw.negative[a, p]) for draw in draws]
            assert set(seen) <= violators
            if len(violators) <= 6:
                share = np.bincount(seen, minlength=24)[sorted(violators)] / len(seen)
                np.testing.assert_allclose(share, 1 / len(violators), atol=5 * 0.5 / np.sqrt(len(seen)))
                checked += 1
    assert checked > 3


@pytest.mark.parametrize("rule", ["semi_hard", "random_violator"])
def test_memory_grows_with_the_square_of_the_batch(rule: str):
    """Twice the batch: arrays of four times the size, where a mask over (a, p, n) would have eight."""

    def largest(images: int) -> int:
        embeddings, identities = jnp.ones((images, 5)), jnp.arange(images) // 3
        extra = (0.2, jax.random.key(0)) if rule == "random_violator" else ()
        jaxpr = jax.make_jaxpr(getattr(mining_fast, rule))(embeddings, identities, *extra)
        return max(v.aval.size for eqn in walk(jaxpr.jaxpr) for v in eqn.outvars)

    assert largest(96) <= 4 * largest(48) < 8 * 48**2 * 4


def walk(jaxpr):
    for eqn in jaxpr.eqns:
        yield eqn
        for value in eqn.params.values():
            inner = getattr(value, "jaxpr", value)
            if hasattr(inner, "eqns"):
                yield from walk(inner)


FORMS = {"definition": mining, "fast": mining_fast}
COMPILED = {
    (form, rule): jax.jit(getattr(module, rule))
    for form, module in FORMS.items()
    for rule in ("semi_hard", "hardest", "random_violator")
    if hasattr(module, rule)
}


def run(rule: str, embeddings, identities, alpha: float = 0.2, seed: int = 0, form: str = "") -> mining.Mined:
    extra = (alpha, jax.random.key(seed)) if rule == "random_violator" else ()
    form = form or ("definition" if rule == "hardest" else "fast")
    return COMPILED[form, rule](jnp.asarray(embeddings), jnp.asarray(identities), *extra)
