"""The numbers of a training run: what its network reaches on the test sets, and what is reached without one.

Not here: the protocol (`faces.evaluate`), tables and figures (`report.py`).
"""

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from jax.sharding import Mesh

from faces.backbone import Backbone
from faces.config import RunConfig
from faces.data import augment
from faces.data.source import FaceSource
from faces.embed import make_embedder
from faces.evaluate import baselines as simple
from faces.evaluate.pair_set import PairSet
from faces.evaluate.report import result_dict
from faces.evaluate.verification import VerificationResult
from faces.keep import Keep
from faces.train_state import TrainState

PCA_FACES = 10_000
"""At most so many training faces are used to fit the eigenfaces."""
PCA_COMPONENTS = 100

Evaluate = Callable[[TrainState, Sequence[PairSet]], dict[str, VerificationResult]]
"""(state, test sets) -> their results by name."""


def make_evaluate(backbone: Backbone, config: RunConfig, mesh: Mesh, allow_missing: bool) -> Evaluate:
    """Compile a backbone's evaluation form; several processes embed together, each its part, and all have the results.

    Args:
        backbone: of the run.
        config: pixels, mirrored images, false accept rate.
        mesh: that the states are on.
        allow_missing: give a number although test images are missing.
    """
    embed = make_embedder(backbone.apply, config.data, config.evaluation.flip, mesh)

    def evaluate(state: TrainState, tests: Sequence[PairSet]) -> dict[str, VerificationResult]:
        results = dict[str, VerificationResult]()
        for test in tests:
            embeddings = embed(state.params, state.batch_stats, test.images)
            results[test.name] = test.evaluate(embeddings, config.evaluation.far, allow_missing)
        return results

    return evaluate


def brief(results: Mapping[str, VerificationResult]) -> dict[str, float]:
    """What changes from one evaluation of a run to the next, of its main test set; {} without one."""
    main = next(iter(results.values()), None)
    numbers = result_dict(main) if main else {}
    return {key: value for key, value in numbers.items() if key not in ("pairs", "coverage", "thresholds")}


def on_the_way(evaluate: Evaluate, tests: Sequence[PairSet], keep: Keep, state: TrainState) -> dict[str, float]:
    """The numbers of a state while it is trained: the main test set's, and those by which checkpoints are kept."""
    chosen = [test for number, test in enumerate(tests) if number == 0 or test.name == keep.best]
    results = evaluate(state, chosen)
    return brief(results) | ({keep.score: results[keep.best].accuracy} if keep.best else {})


def baselines(
    tests: Sequence[PairSet], source: FaceSource, config: RunConfig, allow_missing: bool
) -> dict[str, VerificationResult]:
    """What chance, raw pixels and eigenfaces reach on the main test set's crops; {} without one.

    The eigenfaces are fitted on training faces, cropped as the network sees them but not changed at random.
    """
    if not tests:
        return {}
    chosen = np.random.default_rng(config.train.seed).permutation(len(source))[:PCA_FACES]
    training = np.stack([augment.crop(source[int(index)], config.model.input_size) for index in chosen])
    pixels = simple.raw_pixels(tests[0].images)
    training_pixels = simple.raw_pixels(training)
    components = min(PCA_COMPONENTS, len(training) - 1)
    eigenfaces = simple.fit_eigenfaces(training_pixels, components)
    embeddings = {
        "chance": simple.chance(len(tests[0].images)),
        "raw pixels": pixels,
        f"PCA, {components} components": eigenfaces.embed(pixels),
    }
    far = config.evaluation.far
    return {name: tests[0].evaluate(embedding, far, allow_missing) for name, embedding in embeddings.items()}
