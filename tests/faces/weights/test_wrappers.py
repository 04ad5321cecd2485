"""Words before the names of a network's tensors, alone and together, and what may lie beside it."""

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights.wrappers import unwrapped

NAMES = ("conv1.weight", "bn1.weight", "layer1.0.conv1.weight", "fc.weight", "features.weight")
NET = {name: np.zeros(1) for name in NAMES}
FIRST = ("conv1.weight", "input_layer.0.weight")


@pytest.mark.parametrize(
    "words",
    ["", "backbone.", "net.", "model.", "module.", "features.module.", "module.features.", "module.model.backbone.",
     "_orig_mod.module.", "net.module.encoder.", "network."],
)  # fmt: skip
@pytest.mark.parametrize("beside", [(), ("head.kernel", "fc.weight", "margin.weight")])
def test_words_are_taken_off(words: str, beside: tuple[str, ...]):
    given = {f"{words}{name}": one for name, one in NET.items()}
    found = unwrapped(given | ({name: np.ones(1) for name in beside} if words else {}), FIRST)
    assert found.wrapper == words
    assert found.tensors == NET


def test_unknown_names_and_words_stay():
    for given in ({"other.weight": np.zeros(1)}, {f"mine.{name}": one for name, one in NET.items()}):
        assert unwrapped(given, FIRST) == (given, "")


@pytest.mark.parametrize(
    ("one", "other"), [("model.", "ema_model."), ("net.", "model."), ("module.model.", "module.ema.")]
)
def test_two_networks_are_not_chosen_between(one: str, other: str):
    given = {f"{words}{name}": tensor for words in (one, other) for name, tensor in NET.items()}
    with pytest.raises(WeightsError, match=r"a network under the names \S+\* and another under \S+\*; save the one"):
        unwrapped(given, FIRST)
