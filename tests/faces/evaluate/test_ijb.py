"""Templates, 1:1 and 1:N against loops from the definitions."""

import math

import numpy as np
import pytest

from faces.errors import EvaluationError
from faces.evaluate import ijb
from tests.faces.evaluate import pairs as oracle
from tests.faces.evaluate.test_identification import loop_dir, loop_search


def faces_of(seed: int, templates: int = 12, d: int = 4):
    """Faces in mixed order; media are shared between templates, and hold 1 to 4 faces of each."""
    rng = np.random.default_rng(seed)
    rows = [
        (10 * number + 3, int(media))
        for number in rng.permutation(templates)
        for media in rng.integers(100, 106, rng.integers(1, 4))
        for _ in range(rng.integers(1, 5))
    ]
    template, media = rng.permutation(rows).T
    centres = rng.normal(size=(templates // 3, d))
    embeddings = centres[template // 30] + 0.5 * rng.normal(size=(len(rows), d))
    embeddings *= rng.uniform(0.5, 2, (len(rows), 1))
    return embeddings.astype(np.float32), template, media, rng.uniform(0.1, 1, len(rows)).astype(np.float32)


def loop_template(embeddings, template, media, score, number, keep_length, centre) -> np.ndarray:
    total = np.zeros(embeddings.shape[1])
    for one_media in sorted({int(m) for m, t in zip(media, template, strict=True) if t == number}):
        faces = []
        for row in range(len(embeddings)):
            if template[row] == number and media[row] == one_media:
                face = embeddings[row].astype(np.float64)
                face = face if keep_length else face / math.sqrt(float(face @ face))
                faces.append(face * (1.0 if score is None else float(score[row])))
        total += sum(faces) / (len(faces) if centre == "media" else 1)
    return total / math.sqrt(float(total @ total))


@pytest.mark.parametrize("centre", ijb.CENTRES)
@pytest.mark.parametrize("keep_length", [True, False])
@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("at_once", [7, 2**16])
def test_templates_are_the_loops(weighted, keep_length, at_once, centre, monkeypatch):
    monkeypatch.setattr(ijb, "FACES_AT_ONCE", at_once)
    embeddings, template, media, score = faces_of(at_once)
    weights = score if weighted else None
    numbers, features = ijb.template_features(
        embeddings, template, media, weights, keep_length=keep_length, centre=centre
    )
    assert numbers.tolist() == sorted(set(template.tolist()))
    for number, feature in zip(numbers, features, strict=True):
        expected = loop_template(embeddings, template, media, weights, number, keep_length, centre)
        np.testing.assert_allclose(feature, expected, atol=1e-12)


def test_a_video_counts_as_one_picture():
    embeddings = np.array([[1, 0], [0, 1], [0, 1], [0, 1]], np.float32)
    _, (feature,) = ijb.template_features(embeddings, np.zeros(4, int), np.array([0, 1, 1, 1]))
    np.testing.assert_allclose(feature, [0.5**0.5, 0.5**0.5])


def test_the_papers_centre_counts_every_frame():
    """One picture and nine frames of a video at right angles to it: 38.7 degrees between the two rules."""
    embeddings, media = np.array([[1, 0]] + 9 * [[0, 1]], np.float32), np.array([0] + 9 * [1])
    one = np.zeros(10, int)
    (of_media,), (of_faces,) = (
        ijb.template_features(embeddings, one, media, centre=centre)[1] for centre in ijb.CENTRES
    )
    np.testing.assert_allclose(of_faces, np.array([1, 9]) / 82**0.5)
    assert math.degrees(math.acos(of_media @ of_faces)) == pytest.approx(38.66, abs=0.005)


@pytest.mark.parametrize("at_once", [7, 100_000])
def test_verification_is_the_loop(at_once, monkeypatch):
    monkeypatch.setattr(ijb, "PAIRS_AT_ONCE", at_once)
    embeddings, template, media, score = faces_of(3)
    numbers, features = ijb.template_features(embeddings, template, media, score)
    i, j = np.triu_indices(len(numbers), 1)
    order = np.random.default_rng(0).permutation(i.size)
    first, second = numbers[i[order]], numbers[j[order]]
    same = first // 30 == second // 30
    fars = (0.5, 0.1, 0.02, 1e-6)
    result = ijb.verify_templates(numbers, features, first, second, same, fars)
    assert (result.same_pairs, result.different_pairs) == (same.sum(), (~same).sum())
    row = {int(number): features[k] for k, number in enumerate(numbers)}
    cosines = np.array([float(row[int(a)] @ row[int(b)]) for a, b in zip(first, second, strict=True)])
    np.testing.assert_allclose(result.similarity, cosines, atol=1e-12)
    for far, point in zip(fars, result.points, strict=True):
        threshold, tar, met = oracle.val_at_far(-result.similarity, same, far)
        assert (point.far_target, point.tar, point.far, point.threshold) == (far, tar, met, -threshold)
    assert result.auc == pytest.approx(oracle.auc(-result.similarity, same), abs=1e-12)


def test_identification_is_the_mean_over_galleries():
    embeddings, template, media, score = faces_of(5, templates=24)
    numbers, features = ijb.template_features(embeddings, template, media, score)
    person = numbers // 30
    probe = np.arange(len(numbers)) % 3 > 0
    galleries = [(numbers[rows], person[rows]) for rows in (~probe & (person < 4), ~probe & (person >= 4))]
    result = ijb.identify_templates(
        numbers, features, galleries, (numbers[probe], person[probe]), fpirs=(0.3, 0.1), up_to=3
    )
    curves, points = [], []
    for templates, owners in galleries:
        rows = [numbers.tolist().index(one) for one in templates]
        found = loop_search(features[probe], person[probe], features[rows], owners)
        ranks = [rank for _, _, rank in found if rank]
        curves.append([sum(rank <= k for rank in ranks) / len(ranks) for k in (1, 2, 3)])
        mate, other, rank = map(np.array, zip(*found, strict=True))
        searched = ijb.search(features[probe], person[probe], features[rows], owners)
        np.testing.assert_allclose(searched.mate, mate, atol=1e-12)
        np.testing.assert_allclose(searched.best_other, other, atol=1e-12)
        np.testing.assert_array_equal(searched.rank, rank)
        points.append([loop_dir(searched, fpir, 1) for fpir in (0.3, 0.1)])
    np.testing.assert_allclose(result.cmc, np.mean(curves, axis=0))
    for k, point in enumerate(result.open_set):
        expected = np.mean([one[k] for one in points], axis=0)
        np.testing.assert_allclose((point.threshold, point.far, point.dir), expected)
    assert result.mated == probe.sum() and result.unmated == probe.sum()


def test_one_joined_gallery_has_ranks_alone():
    embeddings, template, media, _ = faces_of(6)
    numbers, features = ijb.template_features(embeddings, template, media)
    person = numbers // 30
    gallery, probes = (numbers[::3], person[::3]), (numbers[1::3], person[1::3])
    result = ijb.identify_templates(numbers, features, [gallery], probes, fpirs=())
    assert result.open_set == () and result.unmated == 0 and 0 < result.cmc[0] <= result.cmc[-1] == 1
    with pytest.raises(EvaluationError, match="have a mate in the gallery and 0 have none"):
        ijb.identify_templates(numbers, features, [gallery], probes)


def test_refusals():
    embeddings, template, media, _ = faces_of(7)
    numbers, features = ijb.template_features(embeddings, template, media)
    one = np.array([numbers[0]])
    with pytest.raises(EvaluationError, match="1 templates of the list have no face, the first is 4;"):
        ijb.verify_templates(numbers, features, one, np.array([4]), np.array([True]))
    with pytest.raises(EvaluationError, match=r"lies between 0 and 1, but 2\.0 was asked for"):
        ijb.verify_templates(numbers, features, one, one, np.array([True]), fars=(2.0,))
    with pytest.raises(EvaluationError, match="identification needs a gallery"):
        ijb.identify_templates(numbers, features, [], (one, one))
    embeddings[4] = np.inf
    with pytest.raises(EvaluationError, match=r"the embedding of face 4 of .*, counted from 0, is not finite"):
        ijb.template_features(embeddings, template, media)
    with pytest.raises(EvaluationError, match="1 of 1 templates' embeddings are zero"):
        ijb.template_features(np.array([[1.0, 0], [-1, 0]]), np.zeros(2, int), np.arange(2))
