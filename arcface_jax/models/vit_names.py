"""Published weights of vision transformers by their names (ArcFace, arXiv 1801.07698, Sec. 3.1, in arcface_torch).

    patch_embed.proj.weight, pos_embed       the patches' vectors, and one added to each place
    blocks.3.attn.qkv.weight                 block 3, from 0: queries, keys and values, one matrix
    feature.0.weight ... feature.3.weight    matrix, batch norm, matrix, batch norm

Not here: which file is which (`published.py`).
"""

import numpy as np

from arcface_jax.models.torch_names import torch_norm
from faces.errors import WeightsError
from faces.weights.layouts import Row, Tensors, batch_norm, kernel, matrix, same

FIRST, LAST = "patch_embed.proj.weight", "feature.3.bias"
"""Of the patches, and of the embedding."""
MASK = "mask_token"
"""What training puts in the place of masked patches; no part of the network in use."""
EPSILON = 2e-5
"""Of both batch norms, here and there."""
WIDTHS = {256: "vit_tiny", 512: "vit_small"}
"""Our names by the width, both of 12 blocks."""
BLOCKS = 12


def network_of(tensors: Tensors) -> str:
    """The network of ours, by the width of a patch's vector and the blocks that the names count.

    Raises:
        WeightsError: there is none.
    """
    width, blocks = len(tensors[FIRST]), len({name.split(".")[1] for name in tensors if name.startswith("blocks.")})
    if width not in WIDTHS or blocks != BLOCKS:
        known = "; ".join(f"{name}: {width}" for width, name in WIDTHS.items())
        raise WeightsError(
            f"a vision transformer of width {width} and {blocks} blocks; those here have {BLOCKS} blocks and a width "
            f"of {known}."
        )
    return WIDTHS[width]


def vit_rows(blocks: int = BLOCKS) -> list[Row]:
    """One row for each parameter of a vision transformer of so many blocks."""
    rows = [
        Row("params/patches/kernel", (FIRST,), kernel),
        Row("params/patches/bias", ("patch_embed.proj.bias",), same),
        Row("params/places/kernel", ("pos_embed",), _only),
    ]
    for block in range(blocks):
        ours, theirs = f"params/block{block + 1}", f"blocks.{block}"
        rows += _layer_norm(f"{ours}/norm1", f"{theirs}.norm1") + _layer_norm(f"{ours}/norm2", f"{theirs}.norm2")
        rows.append(Row(f"{ours}/queries_keys_values/kernel", (f"{theirs}.attn.qkv.weight",), matrix))
        for name, of_theirs in (("projection", "attn.proj"), ("hidden", "mlp.fc1"), ("output", "mlp.fc2")):
            rows.append(Row(f"{ours}/{name}/kernel", (f"{theirs}.{of_theirs}.weight",), matrix))
            rows.append(Row(f"{ours}/{name}/bias", (f"{theirs}.{of_theirs}.bias",), same))
    rows += _layer_norm("params/norm", "norm")
    rows.append(Row("params/feature/kernel", ("feature.0.weight",), matrix))  # place by place on both sides
    rows += batch_norm("feature_norm", torch_norm("feature.1", EPSILON), EPSILON)
    rows.append(Row("params/fc/kernel", ("feature.2.weight",), matrix))
    return rows + batch_norm("embedding_norm", torch_norm("feature.3", EPSILON), EPSILON)


def _layer_norm(ours: str, theirs: str) -> list[Row]:
    return [Row(f"{ours}/scale", (f"{theirs}.weight",), same), Row(f"{ours}/bias", (f"{theirs}.bias",), same)]


def _only(batch: np.ndarray) -> np.ndarray:
    """The one element of a batch, (1, patches, width) as (patches, width)."""
    (one,) = batch
    return one
