"""Parameters and multiply-adds of any network of this project, layer by layer.

The papers print both for their networks, so counting them is the quickest proof that a network is the published one.
Parameters are counted from the shapes of the parameter tree, multiply-adds from the traced program: its convolutions
and matrix products, under the names of the Flax modules that made them. Neither needs values, so that a network of
140 million parameters is counted in the memory of its shapes.

Not here: element-wise work (biases, activations, pooling, normalisation), which the papers leave out or round away.
"""

import math
import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.extend.core import jaxprs_in_params

from faces.backbone import Backbone

TOTAL = "total"


def parameters(params: Mapping[str, Any], depth: int | None = 1) -> dict[str, int]:
    """Number of parameters of each layer.

    Args:
        params: tree of nested dicts whose leaves have a shape: arrays, or what `jax.eval_shape` returns.
        depth: how many names of a module's path make a layer: 1 gives one entry for each top-level module, None one
            for each module that owns parameters.

    Returns:
        `"inception_3a/conv_1x1" -> count`, the path cut to `depth` names, in the tree's order; last `"total"`.
    """
    counts: Counter[str] = Counter()
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        names = [str(entry.key) for entry in path]
        counts["/".join(names[:-1][:depth]) or names[-1]] += math.prod(leaf.shape)
    return {**counts, TOTAL: counts.total()}


def multiply_adds(fn: Callable[..., Any], *args: Any, depth: int | None = 1) -> dict[str, int]:
    """Multiply-adds of the convolutions and matrix products of `fn(*args)`, by the Flax module that asks for them.

    A convolution costs (elements of the output) x (elements of the kernel for one output channel). Positions in the
    padding are counted as if they held data, as the papers' tables do. `fn` is traced, never run. Loops are counted
    as often as they run, of a `lax.cond` the dearest branch; the count inside `shard_map` is that of one device.

    Args:
        fn: any function of arrays, for example `lambda images: backbone.apply(params, {}, images, False)`.
        *args: trees of arrays or of `jax.ShapeDtypeStruct`.
        depth: as for `parameters`. The network's own name, which starts every path, is not part of the key; what runs
            outside any module of a network is counted under the network's name, or under "" outside of networks.

    Returns:
        As `parameters`, in the order of the computation.

    Raises:
        ValueError: if `fn` holds a `lax.while_loop` with products in it, because their number depends on values.
    """
    counts = _count(jax.make_jaxpr(fn)(*args), ())
    layers: Counter[str] = Counter()
    for path, count in counts.items():
        layers["/".join(path[1:][:depth] or path)] += count
    return {**layers, TOTAL: layers.total()}


def layer_table(parameter_counts: Mapping[str, int], multiply_add_counts: Mapping[str, int]) -> str:
    """Both counts side by side as text, one layer a line, the total last."""
    layers = [name for name in {**multiply_add_counts, **parameter_counts} if name != TOTAL]
    width = max(map(len, [*layers, TOTAL]))
    lines = [f"{'layer':{width}}  {'parameters':>13}  {'multiply-adds':>15}"]
    lines += [
        f"{name:{width}}  {parameter_counts.get(name, 0):>13,}  {multiply_add_counts.get(name, 0):>15,}"
        for name in [*layers, TOTAL]
    ]
    return "\n".join(lines)


def network_table(backbone: Backbone) -> str:
    """`layer_table` of a network for one image of its size; no weights are made."""
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *backbone.input_size, 3), jnp.float32)
    operations = multiply_adds(lambda p, b, x: backbone.apply(p, b, x, False), params, batch_stats, image)
    return layer_table(parameters(params), operations)


Path = tuple[str, ...]


def _count(jaxpr: Any, outer: Path) -> Counter[Path]:
    """Multiply-adds of a jaxpr by module path; the names inside a nested jaxpr are relative to its caller's."""
    counts: Counter[Path] = Counter()
    for eqn in jaxpr.eqns:
        path = outer + _scopes(str(eqn.source_info.name_stack))
        kind = eqn.primitive.name
        inner = [_count(sub, path) for sub in jaxprs_in_params(eqn.params)]
        if kind == "conv_general_dilated":
            kernel = eqn.invars[1].aval.shape
            out_channels = kernel[eqn.params["dimension_numbers"].rhs_spec[0]]
            # Groups need no care: the kernel's input dimension already is the channels of one group.
            counts[path] += math.prod(eqn.outvars[0].aval.shape) * math.prod(kernel) // out_channels
        elif kind == "dot_general":
            (contracted, _), _ = eqn.params["dimension_numbers"]
            shape = eqn.invars[0].aval.shape
            counts[path] += math.prod(eqn.outvars[0].aval.shape) * math.prod(shape[axis] for axis in contracted)
        elif kind == "scan":
            for body in inner:
                counts.update({name: count * eqn.params["length"] for name, count in body.items()})
        elif kind == "cond":
            counts.update(max(inner, key=Counter.total))
        elif kind == "while" and any(inner):
            raise ValueError(
                f"{'/'.join(path) or 'the function'} multiplies inside a while_loop, whose number of rounds depends on "
                "values: count its body by itself"
            )
        else:
            for body in inner:
                counts.update(body)
    return counts


def _scopes(name_stack: str) -> Path:
    """Module names of a name stack: of "transpose(jvp(NN1))/NN1.head/fc1" they are NN1, fc1.

    Transformations wrap a name in parentheses; Flax writes a method that is not `__call__` behind its module's name.
    """
    names: list[str] = []
    for part in name_stack.split("/"):
        name, _, method = re.sub(r"^(?:\w+\()*|\)*$", "", part).partition(".")
        if name and not (method and names[-1:] == [name]):
            names.append(name)
    return tuple(names)
