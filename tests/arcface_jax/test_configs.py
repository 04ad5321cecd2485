"""The configs of ArcFace against the paper's tables, typed here a second time from the paper."""

import dataclasses
import math
import re
from typing import NamedTuple

import pytest

from arcface_jax import margins
from arcface_jax.config import Config, MarginConfig, NoClassifierConfig, SoftmaxConfig
from arcface_jax.related.configs import SphereFaceConfig
from faces.errors import ConfigError
from faces.schedules import learning_rate
from faces.schema import build, flatten
from faces.toml_config import find_config, load_config, shipped_configs

NAMES = [name for name in shipped_configs() if name.startswith("arcface/")]
CONFIGS = {name.removeprefix("arcface/"): load_config(name, Config)[0] for name in NAMES}


def margin(m1: float, m2: float, m3: float, s: float, intra: float = 0, inter: float = 0) -> MarginConfig:
    """The classifier of a row with margins, whole from the first step."""
    return MarginConfig(m1, m2, m3, gradient="exact", s=s, margin_ramp_steps=0, intra=intra, inter=inter)


class Row(NamedTuple):
    """A row of Table 2: margins of Eq. (4), scale, weights of the added terms, and accuracies in percent."""

    classifier: SoftmaxConfig | MarginConfig | SphereFaceConfig | NoClassifierConfig
    accuracy: tuple[str, ...]  # LFW, CFP-FP, AgeDB-30
    triplet: float = 0


TABLE_2 = {
    "table2_arcface_040": Row(margin(1, 0.4, 0, 64), ("99.53", "95.41", "94.98")),
    "table2_arcface_045": Row(margin(1, 0.45, 0, 64), ("99.46", "95.47", "94.93")),
    "table2_arcface_050": Row(margin(1, 0.5, 0, 64), ("99.53", "95.56", "95.15")),
    "table2_arcface_055": Row(margin(1, 0.55, 0, 64), ("99.41", "95.32", "95.05")),
    "table2_sphereface_original": Row(SphereFaceConfig(4, 1000.0, 0.12, 5.0), ("99.42",)),
    "table2_sphereface_135": Row(margin(1.35, 0, 0, 64), ("99.11", "94.38", "91.70")),
    "table2_cosface_original": Row(margin(1, 0, 0.35, 64), ("99.33",)),
    "table2_cosface_035": Row(margin(1, 0, 0.35, 64), ("99.51", "95.44", "94.56")),
    "table2_cm1": Row(margin(1, 0.3, 0.2, 64), ("99.48", "95.12", "94.38")),
    "table2_cm2": Row(margin(0.9, 0.4, 0.15, 64), ("99.50", "95.24", "94.86")),
    "table2_softmax": Row(SoftmaxConfig(), ("99.08", "94.39", "92.33")),
    "table2_ns_s64": Row(margin(1, 0, 0, 64), ("98.56", "89.79", "88.72")),
    "table2_ns_s20": Row(margin(1, 0, 0, 20), ("99.20", "94.61", "92.65")),
    "table2_ns_s64_intra": Row(margin(1, 0, 0, 64, intra=1), ("98.75", "93.81", "90.92")),
    "table2_ns_s64_inter": Row(margin(1, 0, 0, 64, inter=1), ("98.68", "90.67", "89.50")),
    "table2_ns_s64_intra_inter": Row(margin(1, 0, 0, 64, intra=1, inter=1), ("98.73", "94.00", "91.41")),
    "table2_ns_s20_intra": Row(margin(1, 0, 0, 20, intra=1), ("99.30", "94.85", "93.58")),
    "table2_ns_s20_inter": Row(margin(1, 0, 0, 20, inter=1), ("99.22", "94.73", "92.94")),
    "table2_ns_s20_intra_inter": Row(margin(1, 0, 0, 20, intra=1, inter=1), ("99.31", "94.88", "93.76")),
    "table2_triplet_035": Row(NoClassifierConfig(), ("98.98", "91.90", "89.98"), triplet=1),
    "table2_arcface_intra": Row(margin(1, 0.5, 0, 64, intra=1), ("99.45", "95.37", "94.73")),
    "table2_arcface_inter": Row(margin(1, 0.5, 0, 64, inter=1), ("99.43", "95.25", "94.55")),
    "table2_arcface_intra_inter": Row(margin(1, 0.5, 0, 64, intra=1, inter=1), ("99.43", "95.42", "95.10")),
    "table2_arcface_triplet": Row(margin(1, 0.5, 0, 64), ("99.50", "95.51", "94.40"), triplet=1),
}
QUOTED = {"table2_sphereface_original", "table2_cosface_original"}  # from their own papers, with their own networks

# Epochs at which the rate falls and at which training ends, and millions of images (Sec. 4.1 and Table 1 of v4). What
# is left of MS1MV0 after the drop is taken to be as much as MS1MV3.
EPOCHS = {
    "casia_r50_v4": ((20, 28, 32), 0.5),
    "table7_vgg2_r50": ((6, 9, 12), 3.3),
    "table4_ms1mv3_r100": ((8, 14, 18), 5.1),
    "table4_ibug500k_r100": ((8, 14, 18), 11.96),
    "sub_centre_ms1mv0_k1": ((8, 14, 18), 10),
    "sub_centre_ms1mv0_k3": ((8, 14, 18), 10),
    "sub_centre_ms1mv0_k3_to_1": ((8, 14, 18), 5.1),
}
OURS = {"tiny", "small", "finetune", "robust"}
RELATED = {"deepface", "deepid2", "vgg_face", "vit_tiny", "vit_small"}  # other papers' networks under this one's losses
# Iterations, as published: rate falls at all but the last.
ITERATIONS = {
    "table2_arcface_050": (20_000, 28_000, 32_000),
    "table4_ms1mv2_r100": (100_000, 160_000, 180_000),
    "table2_sphereface_original": (16_000, 24_000, 28_000),
    "table2_cosface_original": (16_000, 24_000, 28_000, 30_000),
    "mobilefacenet_casia": (36_000, 52_000, 58_000, 60_000),
    "partial_fc_glint360k_r100": (200_000, 400_000, 500_000, 550_000, 600_000),
}


def test_the_configs_are_these():
    assert len(TABLE_2) == 24
    assert {name for name in CONFIGS if name.startswith("table2_")} == set(TABLE_2)
    assert set(CONFIGS) == {*TABLE_2, *EPOCHS, *ITERATIONS, *OURS, *RELATED}
    assert len(CONFIGS) == 24 + 14 + len(RELATED)


@pytest.mark.parametrize("name", TABLE_2)
def test_a_row_of_table_2_has_the_papers_loss(name):
    row, loss = TABLE_2[name], CONFIGS[name].loss
    assert (loss.triplet, loss.triplet_margin) == (row.triplet, 0.35 if row.triplet else 0)
    assert loss.classifier == row.classifier


@pytest.mark.parametrize("name", TABLE_2)
def test_a_row_of_table_2_expects_the_papers_numbers(name):
    head = find_config(f"arcface/{name}").read_text(encoding="utf-8").split("\n\n")[0]
    expected = re.search(r"^# expect: +paper: (.*)$", head, re.M)
    assert expected and re.findall(r"([\w-]+) (\d+\.\d+)%", expected[1]) == list(
        zip(("LFW", "CFP-FP", "AgeDB-30"), TABLE_2[name].accuracy, strict=False)
    )
    assert ("quoted" in expected[1]) == (name in QUOTED)


@pytest.mark.parametrize("name", sorted(set(TABLE_2) - QUOTED))
def test_rows_of_table_2_differ_in_nothing_but_the_loss(name):
    base, config = CONFIGS["table2_arcface_050"], CONFIGS[name]
    per_identity = 5 if TABLE_2[name].triplet else 0
    assert config == base.with_(loss=config.loss, batch__images_per_identity=per_identity)


def test_what_all_rows_share_is_the_papers():
    config = CONFIGS["table2_arcface_050"]
    model, optimiser = config.model, config.optimiser
    assert (model.name, model.input_size, model.embedding_dim, model.dropout) == ("iresnet50", (112, 112), 512, 0.4)
    assert (config.batch.images, optimiser.name, optimiser.momentum) == (512, "sgd", 0.9)
    assert optimiser.weight_decay == optimiser.head_weight_decay == 5e-4
    assert (config.data.mean, config.data.scale) == (127.5, 128) and config.augment.flip


def test_quoted_rows_have_the_settings_of_their_own_papers():
    for name in QUOTED:
        config = CONFIGS[name]
        assert (config.model.name, config.model.input_size) == ("sphereface64", (112, 96))
        assert (config.model.batch_norm, config.model.dropout, config.batch.images) == ("none", 0, 512)
        left, top, right, bottom = config.evaluation.crop  # SphereFace's template is ArcFace's, 8 columns to the left
        assert (round(left * 112, 6), top, round(right * 112, 6), bottom) == (8, 0, 104, 1)


@pytest.mark.parametrize("name", sorted(set(CONFIGS) - OURS - RELATED))
def test_the_devices_of_the_head_and_the_images_of_each_make_the_batch(name):
    """Whatever a config's sources say of one device, inherited or not, belongs to the devices that its head names."""
    head = find_config(f"arcface/{name}").read_text(encoding="utf-8").split("\n\n")[0]
    devices = re.search(r"(two|four|eight) (?:Tesla P40 )?GPUs(?: of (\d+) images)?", head)
    if devices is None:
        assert "MobileFaceNet's paper: hours not given" in head  # which does not say how many either
        return
    count, images = {"two": 2, "four": 4, "eight": 8}[devices[1]], CONFIGS[name].batch.images
    sources = flatten(load_config(f"arcface/{name}", Config)[1])
    each = [devices[2]] if devices[2] else []
    for key in ("model.batch_norm", "batch.images"):
        each += re.findall(r"(\d+) (?:images each|on each)", sources[key])
    assert each and all(int(part) * count == images for part in each)


def test_margins_are_those_of_the_package():
    for name, margin in {
        "table2_ns_s64": margins.NORM_SOFTMAX,
        "table2_sphereface_135": margins.SPHEREFACE,
        "table2_arcface_050": margins.ARCFACE,
        "table2_cosface_035": margins.COSFACE,
        "table2_cm1": margins.CM1,
        "table2_cm2": margins.CM2,
    }.items():
        loss = CONFIGS[name].loss.classifier
        assert margins.Margin(loss.m1, loss.m2, loss.m3, loss.gradient) == margin


@pytest.mark.parametrize("name", EPOCHS)
def test_epochs_become_steps(name):
    epochs, millions = EPOCHS[name]
    config = CONFIGS[name]
    *drops, stop = [math.floor(epoch * millions * 1e6 / config.batch.images + 0.5) for epoch in epochs]
    assert (config.optimiser.decay_steps, config.train.steps) == (tuple(drops), stop)
    assert config.optimiser.learning_rate == 0.1


@pytest.mark.parametrize("name", ITERATIONS)
def test_iterations_are_those_published(name):
    *drops, stop = ITERATIONS[name]
    config = CONFIGS[name]
    assert (config.optimiser.decay_steps, config.train.steps) == (tuple(drops), stop)
    assert (config.optimiser.learning_rate, config.batch.images) == (0.1, 512)


def test_the_rate_falls_by_ten_at_each_step():
    config = CONFIGS["table2_arcface_050"]
    rate = learning_rate(config.optimiser, config.train.steps)
    steps = (0, 19_999, 20_000, 27_999, 28_000, 31_999)
    assert [float(rate(step)) for step in steps] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001, 0.001])


def test_beyond_table_2():
    for name in ("table4_ms1mv2_r100", "table4_ms1mv3_r100", "table4_ibug500k_r100"):
        assert CONFIGS[name].model.name == "iresnet100"
        assert CONFIGS[name].loss == CONFIGS["table2_arcface_050"].loss
    assert [CONFIGS[f"sub_centre_ms1mv0_{k}"].head.sub_centres for k in ("k1", "k3", "k3_to_1")] == [1, 3, 1]
    partial = CONFIGS["partial_fc_glint360k_r100"]
    assert partial.head.sampling_rate == 0.1
    assert partial.loss.classifier == margin(1, 0, 0.4, 64)
    mobile = CONFIGS["mobilefacenet_casia"]
    assert (mobile.model.name, mobile.model.embedding_dim, mobile.model.dropout) == ("mobilefacenet", 128, 0)
    assert (mobile.optimiser.weight_decay, mobile.optimiser.head_weight_decay) == (4e-5, 4e-4)


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_our_runs_end_with_the_whole_margin(name):
    config = CONFIGS[name]
    loss = config.loss.classifier
    assert config.optimiser.warmup_steps <= loss.margin_ramp_steps < config.train.steps
    assert (loss.m1, loss.m2, loss.m3) == (1, 0.5, 0)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"kind": "arcface"}, "loss.classifier.kind = 'arcface'; known are softmax, margin, sphereface, l_softmax"),
        ({"kind": "sphereface"}, "key 'loss.classifier.m' is missing."),
        ({"kind": "softmax", "s": 64.0}, "loss.classifier.s: belongs to kind 'margin', 'norm_face', 'mv_softmax'"),
        ({"kind": "none", "intra": 1.0}, "loss.classifier.intra: belongs to kind 'margin', and kind is 'none' here."),
        ({"m": 4}, "loss.classifier.m: belongs to kind 'sphereface', 'l_softmax', 'circle'"),
        ({"m4": 4}, "unknown key 'loss.classifier.m4'; did you mean 'm"),
        ({"m1": 0}, "loss.classifier.m1 = 0.0: a number above 0 and at most 16 is expected."),
        ({"m2": -0.1}, "loss.classifier.m2 = -0.1: a number of at least 0 and at most 3.1416 is expected."),
        ({"s": 0}, "loss.classifier.s = 0.0: a number above 0 and at most 10,000 is expected."),
        ({"inter": -1}, "loss.classifier.inter = -1.0: a number of at least 0 and at most 1,000,000 is expected."),
        ({"margin_ramp_steps": -1}, "loss.classifier.margin_ramp_steps = -1: a number of at least 0 and"),
        ({"kind": "none"}, 'loss: with classifier.kind "none" there is nothing to minimise; set triplet.'),
    ],
)
def test_a_classifier_that_makes_no_sense(changes, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        CONFIGS["tiny"].with_(**{f"loss.classifier.{key}": value for key, value in changes.items()})


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"m": 0}, "loss.classifier.m = 0: a number of at least 1 and at most 16 is expected."),
        ({"m": 1.5}, "loss.classifier.m: a whole number is expected, 1.5 found."),
        ({"annealing_base": -1}, "loss.classifier.annealing_base = -1.0: a number of at least 0 and"),
    ],
)
def test_a_sphereface_that_makes_no_sense(changes, sentence):
    with pytest.raises(ConfigError, match="^" + re.escape(sentence)):
        CONFIGS["table2_sphereface_original"].with_(**{f"loss.classifier.{k}": v for k, v in changes.items()})


@pytest.mark.parametrize("head", [{"head__sub_centres": 3}, {"head__sampling_rate": 0.5}])
@pytest.mark.parametrize("classifier", [{"kind": "softmax"}, {"inter": 1.0}])
def test_sub_centres_and_sampling_do_not_go_with_all_classifiers(head, classifier):
    config = CONFIGS["tiny"].with_(optimiser__name="sgd")
    assert config.with_(**head)
    with pytest.raises(ConfigError, match=f"^{next(iter(head)).replace('__', '.')}: .*with loss.classifier.kind"):
        config.with_(**head, **{f"loss.classifier.{key}": value for key, value in classifier.items()})


FLAT = {
    **dict.fromkeys(("m2", "m3", "s", "intra", "inter", "triplet", "triplet_margin"), 0.0),
    "m1": 1.0, "gradient": "exact", "margin_ramp_steps": 0,
}


@pytest.mark.parametrize(
    ("name", "loss"),
    [
        ("table2_arcface_050", {"classifier": "margin", "m2": 0.5, "s": 64.0}),
        ("table2_ns_s20_intra_inter", {"classifier": "margin", "s": 20.0, "intra": 1.0, "inter": 1.0}),
        ("table2_softmax", {"classifier": "softmax"}),
        ("table2_sphereface_original", {"classifier": "sphereface", "m1": 4.0}),
        ("table2_triplet_035", {"classifier": "none", "triplet": 1.0, "triplet_margin": 0.35}),
    ],
)
def test_what_an_earlier_version_has_written_is_the_same_config(name, loss):
    """Keys of all kinds stood in [loss]."""
    tables = dataclasses.asdict(CONFIGS[name])
    tables["loss"] = {**FLAT, **loss}
    assert build(Config, Config.of_earlier(tables)) == CONFIGS[name]
    with pytest.raises(ConfigError, match=r"unknown key 'loss\.m2'"):
        build(Config, tables)
    now = dataclasses.asdict(CONFIGS[name])
    assert Config.of_earlier(now) == now
