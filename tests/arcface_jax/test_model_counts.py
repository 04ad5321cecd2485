"""The networks are the published ones: parameters and multiply-adds of IResNet, MobileFaceNet and SphereFace."""

from functools import cache

import jax
import pytest

from arcface_jax.models import LAST_LAYER, NETWORKS, make_backbone
from arcface_jax.models.__main__ import main
from faces.counts import multiply_adds, parameters
from tests.network_laws import check_table

# Published parameters and G multiply-adds, with our exact ones.
IRESNETS = {
    "iresnet18": (24_025_600, "2.61", 2_609_954_816),
    "iresnet34": (34_139_328, "4.46", 4_459_642_880),
    "iresnet50": (43_590_848, "6.31", 6_309_330_944),
    "iresnet100": (65_156_160, "12.09", 12_089_606_144),
    "iresnet200": (118_833_920, "23.42", 23_418_945_536),
}


@cache
def count(name: str, embedding_dim: int = 512) -> tuple[dict[str, int], dict[str, int], int]:
    """Parameters, multiply-adds and running statistics, for one image of the published size; no array is made.

    `init` runs the network once, on an empty image, so that one trace gives all three.
    """
    backbone, key = make_backbone(name, embedding_dim), jax.random.key(0)
    params, batch_stats = jax.eval_shape(backbone.init, key)
    return parameters(params), multiply_adds(backbone.init, key), parameters(batch_stats)["total"]


@pytest.mark.parametrize("name", IRESNETS)
def test_iresnet_has_the_published_size(name):
    """Published counts hold every scale and shift, the last one, fixed at 1, too, and no running statistics."""
    published, billions, exact = IRESNETS[name]
    ours, operations, _ = count(name)
    assert ours["total"] + 512 == published
    assert operations["total"] == exact
    assert f"{exact / 1e9:.2f}" == billions


def test_iresnet18_layer_by_layer():
    """Worked by hand: unit = BN, 3x3, BN, PReLU, 3x3, BN, with a 1x1 and BN beside it where the shape changes."""
    expected_parameters, expected_operations = {"stem": 27 * 64 + 3 * 64}, {"stem": 112**2 * 27 * 64}
    side, inside = 112, 64
    for stage, width in enumerate((64, 128, 256, 512), start=1):
        out, name = side // 2, f"stage{stage}_unit"
        kernels = 9 * inside * width + 9 * width * width
        expected_parameters[f"{name}1"] = (
            2 * inside + kernels + 2 * width + width + 2 * width + inside * width + 2 * width
        )
        expected_parameters[f"{name}2"] = 2 * width + 18 * width * width + 5 * width
        expected_operations[f"{name}1"] = side**2 * 9 * inside * width + out**2 * 9 * width**2 + out**2 * inside * width
        expected_operations[f"{name}2"] = out**2 * 18 * width**2
        side, inside = out, width
    expected_parameters["head"] = 2 * 512 + (49 * 512 * 512 + 512) + 512
    expected_operations["head"] = 49 * 512 * 512
    for counted, expected in zip(count("iresnet18"), (expected_parameters, expected_operations), strict=False):
        grouped = {name: n for name, n in counted.items() if name.startswith("stage")}
        grouped["stem"] = sum(n for name, n in counted.items() if name.startswith("stem"))
        grouped["head"] = counted["total"] - sum(grouped.values())
        assert grouped == expected


def test_mobilefacenet_has_the_published_size():
    ours, operations, _ = count("mobilefacenet", 128)
    assert (ours["total"], operations["total"]) == (1_003_136, 220_965_376)


def test_mobilefacenet_y1_is_the_published_file():
    """Its tensors hold 1,003,264 numbers, 128 of them the fixed last scale, and 19,584 running statistics."""
    ours, operations, statistics = count("mobilefacenet_y1", 128)
    assert (ours["total"] + 128, statistics) == (1_003_264, 19_584)
    assert operations == count("mobilefacenet", 128)[1]


def test_mobilefacenet_mbf():
    """Worked from the rows: (inner, output) channels of each bottleneck and the map's side after it."""
    rows = [(128, 128, 28)] * 5 + [(256, 256, 14)] * 7 + [(512, 256, 7)] + [(256, 256, 7)] * 2
    weights, adds = 27 * 128 + 2 * 9 * 128 + 2 * 3 * 128, 56**2 * (27 * 128 + 2 * 9 * 128)
    inside, side = 128, 56
    for inner, out, after in rows:
        weights += inside * inner + 9 * inner + inner * out + 2 * 3 * inner + 2 * out
        adds += side**2 * inside * inner + after**2 * (9 * inner + inner * out)
        inside, side = out, after
    weights += 256 * 512 + 3 * 512 + 49 * 512 + 2 * 512 + 512 * 512 + 2 * 512
    adds += 49 * (256 * 512 + 512) + 512 * 512
    ours, operations, _ = count("mobilefacenet_mbf")
    assert (ours["total"], operations["total"]) == (weights, adds) == (2_059_520, 437_520_896)


@pytest.mark.parametrize(
    ("name", "units", "depth"), [("sphereface20", (1, 2, 4, 1), 20), ("sphereface64", (3, 8, 16, 3), 64)]
)
def test_sphereface(name, units, depth):
    weights, adds, inside, places, convolutions = 0, 0, 3, 112 * 96, 0
    for number, width in zip(units, (64, 128, 256, 512), strict=True):
        places //= 4
        kernels = 9 * inside * width + number * 18 * width**2
        weights += kernels + width + (1 + 2 * number) * width
        adds, inside, convolutions = adds + places * kernels, width, convolutions + 1 + 2 * number
    weights, adds = weights + 7 * 6 * 512 * 512 + 512, adds + 7 * 6 * 512 * 512
    assert convolutions == depth
    assert (count(name)[0]["total"], count(name)[1]["total"]) == (weights, adds)


def test_every_network_builds_and_the_small_ones_are_small():
    for name in NETWORKS:
        ours, operations, _ = count(name)
        assert 0 < ours[LAST_LAYER] < ours["total"]
        assert operations["total"] > 0
    assert count("iresnet_tiny")[1]["total"] < 10e6
    assert 60e6 < count("iresnet_small")[1]["total"] < 90e6


def test_table_on_the_command_line(capsys):
    lines = {1: "stem_conv 1,728 21,676,032", -1: "total 24,025,088 2,609,954,816"}
    check_table(main, capsys, "iresnet18", lines, known="iresnet18, iresnet34")
