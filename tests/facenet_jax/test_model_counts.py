"""The networks are the published ones, layer by layer: parameters and multiply-adds against Tables 1 and 2."""

from functools import cache

import jax
import jax.numpy as jnp
import pytest

from facenet_jax.models import NETWORKS, make_backbone
from facenet_jax.models.__main__ import main
from facenet_jax.models.inception import NN2_ROWS
from facenet_jax.models.openface import OpenFaceNet
from faces.counts import multiply_adds, parameters
from tests.network_laws import check_table

# Table 1: (parameters, FLOPs) as printed. K is thousands, M millions.
TABLE_1 = {
    "conv1": ("9K", "115M"),
    "conv2a": ("4K", "13M"),
    "conv2": ("111K", "335M"),
    "conv3a": ("37K", "29M"),
    "conv3": ("664K", "521M"),
    "conv4a": ("148K", "29M"),
    "conv4": ("885K", "173M"),
    "conv5a": ("66K", "13M"),
    "conv5": ("590K", "116M"),
    "conv6a": ("66K", "13M"),
    "conv6": ("590K", "116M"),
    "fc1": ("103M", "103M"),
    "fc2": ("34M", "34M"),
    "fc7128": ("524K", "0.5M"),
    "total": ("140M", "1.6B"),
}
TABLE_2 = {
    "conv1": ("9K", "119M"),
    "inception_2": ("115K", "360M"),
    "inception_3a": ("164K", "128M"),
    "inception_3b": ("228K", "179M"),
    "inception_3c": ("398K", "108M"),
    "inception_4a": ("545K", "107M"),
    "inception_4b": ("595K", "117M"),
    "inception_4c": ("654K", "128M"),
    "inception_4d": ("722K", "142M"),
    "inception_4e": ("717K", "56M"),
    "inception_5a": ("1.6M", "78M"),
    "inception_5b": ("1.6M", "78M"),
    "fc": ("131K", "0.1M"),
    "total": ("7.5M", "1.6B"),
}
# Worked by hand from the shapes of Tables 1 and 2: kernel x kernel x in x out (+ out biases), times places.
NN1_PARAMETERS = {
    "conv1": 7 * 7 * 3 * 64 + 64,
    "conv2a": 64 * 64 + 64,
    "conv2": 9 * 64 * 192 + 192,
    "conv3a": 192 * 192 + 192,
    "conv3": 9 * 192 * 384 + 384,
    "conv4a": 384 * 384 + 384,
    "conv4": 9 * 384 * 256 + 256,
    "conv5a": 256 * 256 + 256,
    "conv5": 9 * 256 * 256 + 256,
    "conv6a": 256 * 256 + 256,
    "conv6": 9 * 256 * 256 + 256,
    "fc1": 7 * 7 * 256 * 4096 * 2,
    "fc2": 4096 * 4096 * 2,
    "fc7128": 4096 * 128,
}
NN1_MULTIPLY_ADDS = {
    "conv1": 110**2 * 7 * 7 * 3 * 64,
    "conv2a": 55**2 * 64 * 64,
    "conv2": 55**2 * 9 * 64 * 192,
    "conv3a": 28**2 * 192 * 192,
    "conv3": 28**2 * 9 * 192 * 384,
    "conv4a": 14**2 * 384 * 384,
    "conv4": 14**2 * 9 * 384 * 256,
    "conv5a": 14**2 * 256 * 256,
    "conv5": 14**2 * 9 * 256 * 256,
    "conv6a": 14**2 * 256 * 256,
    "conv6": 14**2 * 9 * 256 * 256,
    "fc1": 7 * 7 * 256 * 4096 * 2,
    "fc2": 4096 * 4096 * 2,
    "fc7128": 4096 * 128,
}
NN2_PARAMETERS = {
    "conv1": 9_472,
    "inception_2": 114_944,
    "inception_3a": 163_696,
    "inception_3b": 227_776,
    "inception_3c": 397_792,
    "inception_4a": 545_536,
    "inception_4b": 595_216,
    "inception_4c": 654_112,
    "inception_4d": 722_224,
    "inception_4e": 717_408,
    "inception_5a": 1_588_464,
    "inception_5b": 1_588_464,
    "fc": 131_200,
}
NN2_MULTIPLY_ADDS = {
    "conv1": 112**2 * 7 * 7 * 3 * 64,
    "inception_2": 56**2 * (64 * 64 + 9 * 64 * 192),
    "inception_3a": 28**2 * (192 * (64 + 96 + 16 + 32) + 9 * 96 * 128 + 25 * 16 * 32),
    "inception_3b": 28**2 * (256 * (64 + 96 + 32 + 64) + 9 * 96 * 128 + 25 * 32 * 64),
    "inception_3c": 28**2 * 320 * (128 + 32) + 14**2 * (9 * 128 * 256 + 25 * 32 * 64),
    "inception_4a": 14**2 * (640 * (256 + 96 + 32 + 128) + 9 * 96 * 192 + 25 * 32 * 64),
    "inception_4b": 14**2 * (640 * (224 + 112 + 32 + 128) + 9 * 112 * 224 + 25 * 32 * 64),
    "inception_4c": 14**2 * (640 * (192 + 128 + 32 + 128) + 9 * 128 * 256 + 25 * 32 * 64),
    "inception_4d": 14**2 * (640 * (160 + 144 + 32 + 128) + 9 * 144 * 288 + 25 * 32 * 64),
    "inception_4e": 14**2 * 640 * (160 + 64) + 7**2 * (9 * 160 * 256 + 25 * 64 * 128),
    "inception_5a": 7**2 * (1024 * (384 + 192 + 48 + 128) + 9 * 192 * 384 + 25 * 48 * 128),
    "inception_5b": 7**2 * (1024 * (384 + 192 + 48 + 128) + 9 * 192 * 384 + 25 * 48 * 128),
    "fc": 1024 * 128,
}


@cache
def count(name: str, depth: int | None = 1) -> tuple[dict[str, int], dict[str, int]]:
    """Parameters and multiply-adds of a network for one image of its published size; no array is made."""
    backbone = make_backbone(name, 128)
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    image = jax.ShapeDtypeStruct((1, *backbone.input_size, 3), jnp.float32)
    operations = multiply_adds(lambda *args: backbone.apply(*args, False), params, batch_stats, image, depth=depth)
    return parameters(params, depth), operations


def operations_with_biases(name: str) -> dict[str, int]:
    """The papers' FLOPs: a layer's bias counts as one multiply-add at each place, as its weights do."""
    params, _ = jax.eval_shape(make_backbone(name, 128).init, jax.random.key(0))
    layers = {"total": 0}
    for path, operations in count(name, depth=None)[1].items():
        if path == "total":
            continue
        layer = params
        for key in path.split("/"):
            layer = layer[key]
        places = operations // layer["kernel"].size
        with_biases = operations + places * (layer["bias"].size if "bias" in layer else 0)
        top = path.split("/")[0]
        layers[top] = layers.get(top, 0) + with_biases
        layers["total"] += with_biases
    return layers


def rounds_to(value: int, printed: str) -> bool:
    """Whether a count prints as the paper prints it; it cuts 545,536 to 545K, so a little more than half is allowed."""
    number, unit = float(printed[:-1]), {"K": 1e3, "M": 1e6, "B": 1e9}[printed[-1]]
    last_digit = 10.0 ** -len(printed[:-1].partition(".")[2])
    return abs(value / unit - number) <= 0.54 * last_digit


@pytest.mark.parametrize(
    ("name", "expected_parameters", "expected_operations"),
    [("nn1", NN1_PARAMETERS, NN1_MULTIPLY_ADDS), ("nn2", NN2_PARAMETERS, NN2_MULTIPLY_ADDS)],
)
def test_exact_counts(name, expected_parameters, expected_operations):
    counted_parameters, counted_operations = count(name)
    assert counted_parameters == {**expected_parameters, "total": sum(expected_parameters.values())}
    assert counted_operations == {**expected_operations, "total": sum(expected_operations.values())}
    assert list(counted_operations) == [*expected_operations, "total"]


def test_published_totals():
    assert [sum(counts.values()) for counts in (NN1_PARAMETERS, NN1_MULTIPLY_ADDS)] == [140_009_152, 1_605_944_064]
    assert [sum(counts.values()) for counts in (NN2_PARAMETERS, NN2_MULTIPLY_ADDS)] == [7_456_304, 1_596_530_688]


@pytest.mark.parametrize(("name", "table"), [("nn1", TABLE_1), ("nn2", TABLE_2)])
def test_counts_print_as_in_the_paper(name, table):
    counted_parameters, counted_operations = count(name)[0], operations_with_biases(name)
    assert counted_parameters.keys() == counted_operations.keys() == table.keys()
    for layer, (printed_parameters, printed_operations) in table.items():
        assert rounds_to(counted_parameters[layer], printed_parameters), (layer, counted_parameters[layer])
        assert rounds_to(counted_operations[layer], printed_operations), (layer, counted_operations[layer])


def test_other_networks_of_the_paper():
    assert count("nn3")[0] == count("nn2")[0]
    assert count("nn3")[1]["total"] == 814_620_672
    # 6.6M is the lower end of the paper's "6.6M to 7.5M" parameters, 285M what it says of NN4
    assert (count("nn4")[0]["total"], count("nn4")[1]["total"]) == (6_607_888, 284_741_632)
    assert rounds_to(count("nn4")[0]["total"], "6.6M")
    assert rounds_to(count("nn4")[1]["total"], "285M")


@pytest.mark.parametrize(
    ("name", "published_parameters", "published_operations"), [("nns1", 26e6, 220e6), ("nns2", 4.3e6, 20e6)]
)
def test_unpublished_layers_meet_published_totals(name, published_parameters, published_operations):
    assert count(name)[0]["total"] == pytest.approx(published_parameters, rel=0.02)
    assert count(name)[1]["total"] == pytest.approx(published_operations, rel=0.02)


def test_openface_has_the_parameters_torch_reports():
    """Torch counts weights, biases, and batch norm's scale and shift; running statistics are not parameters."""
    assert count("openface_nn4_small2")[0]["total"] == 3_733_968
    assert count("openface_nn4")[0]["total"] == 6_959_088
    nn2 = OpenFaceNet(128, NN2_ROWS)
    image = jnp.zeros((1, 224, 224, 3))
    variables = jax.eval_shape(lambda key: nn2.init(key, image, train=False), jax.random.key(0))
    assert parameters(variables["params"])["total"] == 7_472_144


def test_every_network_counts_and_builds():
    for name in NETWORKS:
        counted_parameters, counted_operations = count(name)
        assert counted_parameters["total"] > 0
        assert counted_operations["total"] > 0


def test_table_on_the_command_line(capsys):
    lines = {1: "conv1 9,472 118,013,952", -1: "total 7,456,304 1,596,530,688"}
    check_table(main, capsys, "nn2", lines, known="nn1, nn2")
