"""The LFW protocol: laws (perfect, tied, missing, shuffled, folds as listed) and a slow oracle of all of it."""

import math

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate import metrics, verification
from tests.faces.evaluate import pairs as oracle


def unbalanced_list(seed: int, tied: bool = False) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three folds numbered 4, 7, 9 of different sizes, in random order."""
    same_pairs, different_pairs = 53, 71
    distance, same = oracle.random_pairs(seed, same_pairs, different_pairs, tied)
    fold = np.random.default_rng(seed + 100).choice([4, 7, 9], distance.size, p=[0.2, 0.3, 0.5])
    return distance, same, fold


def lfw_sized(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Labels and folds of 10 x (4 same + 5 different)."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(90)
    return np.tile(np.arange(9) < 4, 10)[order], np.repeat(np.arange(10), 9)[order]


def numbers(result: verification.VerificationResult) -> tuple:
    """All that a report prints."""
    return (
        result.accuracy, result.accuracy_se, result.accuracy_interval, result.val, result.val_se, result.far,
        result.eer, result.auc, result.pairs, result.coverage, result.folds,
    )  # fmt: skip


@pytest.mark.parametrize("seed", [0, 1, 2])
@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("far", [1e-3, 0.2])
def test_protocol_equals_the_loop(seed, tied, far):
    distance, same, fold = unbalanced_list(seed, tied)
    result = verification.evaluate_pairs(distance, same, fold, far)
    accuracies, vals, fars = [], [], []
    for number, got in zip((4, 7, 9), result.folds, strict=True):
        inside, outside = fold == number, fold != number
        threshold = oracle.best_threshold(distance[outside], same[outside])
        val_threshold, _, _ = oracle.val_at_far(distance[outside], same[outside], far)
        accuracies.append(oracle.rates(distance[inside], same[inside], threshold)[0])
        _, val, met = oracle.rates(distance[inside], same[inside], val_threshold)
        vals.append(val)
        fars.append(met)
        assert (got.fold, got.pairs) == (number, inside.sum())
        assert got.threshold == pytest.approx(threshold, abs=1e-12)
        assert (got.accuracy, got.val, got.far, got.val_threshold) == (accuracies[-1], val, met, val_threshold)
        np.testing.assert_array_equal(result.threshold[inside], got.threshold)
    assert result.accuracy == pytest.approx(sum(accuracies) / 3)
    assert result.accuracy_se == pytest.approx(np.std(accuracies, ddof=1) / math.sqrt(3))
    assert result.val == pytest.approx(sum(vals) / 3)
    assert result.val_se == pytest.approx(np.std(vals, ddof=1) / math.sqrt(3))
    assert result.far == pytest.approx(sum(fars) / 3)
    assert result.eer == pytest.approx(oracle.eer(distance, same), abs=1e-12)
    assert result.auc == pytest.approx(oracle.auc(distance, same), abs=1e-14)
    correct = sum(a * np.sum(fold == number) for a, number in zip(accuracies, (4, 7, 9), strict=True))
    assert result.accuracy_interval == pytest.approx(metrics.wilson_interval(round(correct), distance.size))


def test_two_folds_by_hand():
    distance = np.array([1.0, 3.0, 2.0, 6.0])
    same, fold = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    result = verification.evaluate_pairs(distance, same, fold)
    assert [one.threshold for one in result.folds] == [4.0, 2.0]  # the middle of [2, 6), and of [1, 3)
    assert [one.accuracy for one in result.folds] == [0.5, 1.0]  # 4 accepts both of fold 1
    assert (result.accuracy, result.accuracy_se) == (0.75, pytest.approx(0.25))
    assert [one.val_threshold for one in result.folds] == [math.nextafter(6.0, 0), math.nextafter(3.0, 0)]
    assert (result.val, result.val_se, result.far) == (1.0, 0.0, 0.5)  # the 3 of fold 1 is below 6


@pytest.mark.parametrize("seed", range(20))
def test_a_perfect_model_has_val_one(seed):
    same, fold = lfw_sized(seed)
    rng = np.random.default_rng(seed + 1)
    distance = np.where(same, rng.uniform(0, 1, 90), rng.uniform(1 + 1e-9, 4, 90))
    result = verification.evaluate_pairs(distance, same, fold)
    assert (result.val, result.val_se, result.auc, result.eer) == (1.0, 0.0, 1.0, 0.0)


def test_a_perfect_model_with_a_gap_has_accuracy_one():
    same, fold = lfw_sized(0)
    result = verification.evaluate_pairs(np.where(same, 0.0, 2.0), same, fold)
    assert (result.accuracy, result.accuracy_se, result.val, result.far) == (1.0, 0.0, 1.0, 0.0)
    assert {one.threshold for one in result.folds} == {1.0}


def test_all_pairs_tied():
    same, fold = np.tile([True, False], 10), np.repeat(np.arange(5), 4)
    result = verification.evaluate_pairs(np.full(20, 0.7), same, fold)
    assert (result.accuracy, result.accuracy_se, result.val, result.far) == (0.5, 0.0, 0.0, 0.0)
    assert (result.auc, result.eer) == (0.5, 0.5)


def test_the_worst_model():
    same, fold = lfw_sized(1)
    result = verification.evaluate_pairs(np.where(same, 2.0, 0.0), same, fold)
    assert (result.val, result.auc, result.eer) == (0.0, 0.0, 1.0)
    assert result.accuracy == pytest.approx(5 / 9)  # "never the same" is all that is left


@pytest.mark.parametrize("tied", [False, True])
def test_shuffled_pairs_give_the_same_numbers(tied):
    distance, same, fold = unbalanced_list(3, tied)
    expected = numbers(verification.evaluate_pairs(distance, same, fold))
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(distance.size)
        assert numbers(verification.evaluate_pairs(distance[order], same[order], fold[order])) == expected


def test_folds_are_those_of_the_list():
    # Fold 0 lives at other distances than folds 1 and 2: its own best threshold would be 11, theirs is 1.
    same = np.tile([True, False], 6)
    fold = np.repeat([0, 1, 2], 4)
    distance = np.where(same, 0.0, 2.0) + np.where(fold == 0, 10.0, 0.0)
    result = verification.evaluate_pairs(distance, same, fold)
    assert [one.accuracy for one in result.folds] == [0.5, 1.0, 1.0]
    redrawn = verification.evaluate_pairs(distance, same, np.tile([0, 0, 1, 1, 2, 2], 2))
    assert [one.accuracy for one in redrawn.folds] != [one.accuracy for one in result.folds]


def test_a_fold_has_no_say_in_its_own_threshold():
    distance, same, fold = unbalanced_list(4)
    before = verification.evaluate_pairs(distance, same, fold)
    after = verification.evaluate_pairs(np.where(fold == 7, distance * 3 + 1, distance), same, fold)
    assert after.folds[1].threshold == before.folds[1].threshold
    assert after.folds[1].val_threshold == before.folds[1].val_threshold
    assert after.folds[0].threshold != before.folds[0].threshold


def test_fewer_than_two_folds_are_refused():
    distance, same, _ = unbalanced_list(0)
    with pytest.raises(EvaluationError, match="two folds or more"):
        verification.evaluate_pairs(distance, same, np.zeros(distance.size, int))


@pytest.mark.parametrize(("label", "counts"), [(True, "3 same and 0 different"), (False, "0 same and 3 different")])
def test_a_fold_of_one_kind_is_refused(label, counts):
    same = np.array([True, False, True, label, label, label])
    with pytest.raises(EvaluationError, match=f"fold 2 has {counts}"):
        verification.evaluate_pairs(np.arange(6.0), same, np.array([1, 1, 1, 2, 2, 2]))


@pytest.mark.parametrize("far", [-0.1, 1.5, math.nan])
def test_an_impossible_far_is_refused(far):
    with pytest.raises(EvaluationError, match="between 0 and 1"):
        verification.evaluate_pairs(*unbalanced_list(0), far)


@pytest.fixture
def people():
    """Forty embedded pictures of ten people and two folds of pairs of them; p39 is in no pair."""
    rng = np.random.default_rng(0)
    centres = rng.normal(size=(10, 8))
    embeddings = (np.repeat(centres, 4, axis=0) + 0.8 * rng.normal(size=(40, 8))).astype(np.float32)
    embeddings /= np.linalg.norm(embeddings, axis=1, keepdims=True)
    couples = [(a, b) for a in range(39) for b in range(a + 1, 39) if a // 4 == b // 4 or (a + 3 * b) % 7 == 0]
    first, second = np.array(couples).T
    same = first // 4 == second // 4
    fold = np.arange(len(couples)) % 2
    return {
        "embeddings": embeddings, "names": [f"p{row}" for row in range(40)], "first": first, "second": second,
        "same": same, "fold": fold,
    }  # fmt: skip


def test_pair_distances_equal_the_loop(people):
    got = verification.pair_distances(people["embeddings"], people["first"], people["second"])
    for distance, a, b in zip(got, people["first"], people["second"], strict=True):
        expected = sum((float(x) - float(y)) ** 2 for x, y in zip(*people["embeddings"][[a, b]], strict=True))
        assert distance == pytest.approx(expected, rel=1e-13)


def test_verify_evaluates_the_distances(people):
    distance = verification.pair_distances(people["embeddings"], people["first"], people["second"])
    expected = verification.evaluate_pairs(distance, people["same"], people["fold"])
    result = verification.verify(**people)
    assert numbers(result) == numbers(expected)
    assert (result.coverage, result.missing) == (1.0, ())


def test_missing_images_refuse_the_number(people):
    lost = np.isin(people["first"], [3, 20]) | np.isin(people["second"], [3, 20])
    with pytest.raises(EvaluationError, match=rf"^{lost.sum()} of {len(lost)} pairs lack a picture \(p3, p20\)"):
        verification.verify(**people, missing=["p20", "p3"])


def test_images_without_a_face_are_not_called_missing(people):
    with pytest.raises(EvaluationError) as raised:
        verification.verify(**people, undetected=["p20", "p3"])
    assert "no face was found in 2 pictures that are there (p3, p20)" in str(raised.value)
    assert "--undetected centre_crop" in str(raised.value) and "add" not in str(raised.value)
    with pytest.raises(EvaluationError, match=r"1 pictures are missing \(p20\), and no .* \(p3\); add the missing"):
        verification.verify(**people, missing=["p20"], undetected=["p3"])
    result = verification.verify(**people, missing=["p20"], undetected=["p3"], allow_missing=True)
    assert (result.missing, result.undetected) == (("p20",), ("p3",))
    both = verification.verify(**people, missing=["p20", "p3"], allow_missing=True)
    assert result.pairs == both.pairs and result.accuracy == both.accuracy


def test_missing_images_allowed_are_counted(people):
    lost = np.isin(people["first"], [3, 20]) | np.isin(people["second"], [3, 20])
    people["embeddings"][[3, 20]] = np.nan  # rows of missing images are never read
    result = verification.verify(**people, missing=["p20", "p3"], allow_missing=True)
    kept = {key: people[key][~lost] for key in ("first", "second", "same", "fold")}
    expected = verification.verify(
        np.nan_to_num(people["embeddings"]), people["names"], **kept
    )
    assert result.accuracy == expected.accuracy
    assert (result.val, result.eer, result.auc) == (expected.val, expected.eer, expected.auc)
    assert (result.pairs, result.listed) == ((~lost).sum(), len(lost))
    assert result.coverage == pytest.approx(1 - lost.mean())
    assert result.missing == ("p3", "p20")
    np.testing.assert_array_equal(result.pair, np.flatnonzero(~lost))


def test_a_missing_image_that_no_pair_uses_costs_nothing(people):
    result = verification.verify(**people, missing=["p39"])
    assert (result.coverage, result.missing) == (1.0, ())


def test_an_unknown_missing_name_is_refused(people):
    with pytest.raises(EvaluationError, match="nobody_0001 reported missing"):
        verification.verify(**people, missing=["nobody_0001"], allow_missing=True)


def test_a_fold_emptied_by_missing_images_is_refused():
    embeddings = np.arange(8, dtype=np.float32)[:, None]
    first, second = np.array([0, 2, 4, 6]), np.array([1, 3, 5, 7])
    same, fold = np.array([True, False, True, False]), np.array([1, 1, 2, 2])
    with pytest.raises(EvaluationError, match="fold 2 has 0 same and 1 different"):
        verification.verify(
            embeddings, [f"p{n}" for n in range(8)], first, second, same, fold, missing=["p5"], allow_missing=True
        )


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_non_finite_embeddings_are_refused_by_name(people, bad):
    people["embeddings"][[5, 6, 7, 8, 9, 10], 2] = bad
    with pytest.raises(EvaluationError, match=r"6 of 40 embeddings are not finite \(p5, p6, p7, p8, p9 and 1 more\)"):
        verification.verify(**people)


def test_two_images_of_one_name_are_refused(people):
    people["names"][1] = "p0"
    with pytest.raises(EvaluationError, match="40 embeddings came with 39 distinct image names"):
        verification.verify(**people)


def test_hardest_errors_equal_the_loop():
    distance, same, fold = unbalanced_list(5)
    result = verification.evaluate_pairs(distance, same, fold)
    rejects, accepts = [], []
    for index in range(distance.size):
        threshold = next(one.threshold for one in result.folds if one.fold == fold[index])
        if same[index] and distance[index] > threshold:
            rejects.append((-distance[index], index))
        if not same[index] and distance[index] <= threshold:
            accepts.append((distance[index], index))
    got_rejects, got_accepts = verification.hardest_errors(result, 5)
    assert len(rejects) > 5
    assert len(accepts) > 5
    assert list(got_rejects) == [index for _, index in sorted(rejects)[:5]]
    assert list(got_accepts) == [index for _, index in sorted(accepts)[:5]]


def test_a_perfect_model_has_no_hardest_errors():
    same, fold = lfw_sized(0)
    rejects, accepts = verification.hardest_errors(
        verification.evaluate_pairs(np.where(same, 0.0, 2.0), same, fold), 5
    )
    assert (rejects.size, accepts.size) == (0, 0)
