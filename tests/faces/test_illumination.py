"""Light brought to one against loops over pixels in float64 and against OpenCV; the same in training and evaluation."""

import dataclasses
import math

import cv2
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import arcface_jax.config
import facenet_jax.config
from faces import illumination, ops
from faces.config import DataConfig
from faces.embed import embedding_form
from faces.errors import ConfigError
from faces.mesh import make_mesh, sharded
from faces.preprocessing import Preprocessing
from faces.toml_config import to_toml
from recognizer import runs
from recognizer.model import as_trained, preprocessing_of
from tests.experiments.setting import NETWORK, ONE_MATRIX
from tests.faces.data.makers import picture

equalised, tan_triggs = jax.jit(illumination.equalised), jax.jit(illumination.tan_triggs)
network_input = jax.jit(illumination.network_input, static_argnums=1)
IMAGES = np.stack([picture(n, 9, 7) for n in range(3)])
GREY = np.repeat(np.random.default_rng(0).integers(20, 90, (2, 11, 8, 1), dtype=np.uint8), 3, axis=3)


def luma(pixel):
    return 0.299 * float(pixel[0]) + 0.587 * float(pixel[1]) + 0.114 * float(pixel[2])


def equalised_by_loops(image):
    rows, columns, _ = image.shape
    levels = [[round(luma(image[i, j])) for j in range(columns)] for i in range(rows)]
    flat = sorted(level for row in levels for level in row)
    least = flat.count(flat[0])
    out = np.zeros(image.shape)
    for i in range(rows):
        for j in range(columns):
            not_brighter = sum(level <= levels[i][j] for level in flat)
            new = round(255 * (not_brighter - least) / (len(flat) - least))
            for k in range(3):
                out[i, j, k] = min(max(float(image[i, j, k]) + new - levels[i][j], 0), 255)
    return out


def tan_triggs_by_loops(image):
    rows, columns, _ = image.shape
    powers = [[luma(image[i, j]) ** 0.2 for j in range(columns)] for i in range(rows)]

    def blurred(deviation):
        reach = math.ceil(3 * deviation)
        weight = {k: math.exp(-0.5 * (k / deviation) ** 2) for k in range(-reach, reach + 1)}
        out = [[0.0] * columns for _ in range(rows)]
        for i in range(rows):
            for j in range(columns):
                for a, down in weight.items():
                    for b, across in weight.items():
                        at = powers[min(max(i + a, 0), rows - 1)][min(max(j + b, 0), columns - 1)]
                        out[i][j] += down * across * at / sum(weight.values()) ** 2
        return np.array(out)

    band = blurred(1.0) - blurred(2.0)
    band = band / np.mean(np.abs(band) ** 0.1) ** 10
    band = band / np.mean(np.minimum(10, np.abs(band)) ** 0.1) ** 10
    return 127.5 + 127.5 * np.tanh(band / 10)


def test_equalised_is_the_loops():
    given = np.asarray(equalised(jnp.asarray(IMAGES)))
    for one, image in zip(given, IMAGES, strict=True):
        np.testing.assert_allclose(one, equalised_by_loops(image), atol=1.0)  # of a luma half-way between two
        assert (np.abs(one - equalised_by_loops(image)) > 1e-3).mean() < 0.05


def test_a_grey_image_is_equalised_as_opencv_does():
    given = np.asarray(equalised(jnp.asarray(GREY)))
    for one, image in zip(given, GREY, strict=True):
        np.testing.assert_array_equal(one, np.repeat(cv2.equalizeHist(image[..., 0])[..., None], 3, axis=2))
        assert one.min() == 0 and one.max() == 255


def test_tan_triggs_is_the_loops():
    given = np.asarray(tan_triggs(jnp.asarray(IMAGES)))
    for one, image in zip(given, IMAGES, strict=True):
        np.testing.assert_allclose(one, np.repeat(tan_triggs_by_loops(image)[..., None], 3, axis=2), atol=0.05)


def test_tan_triggs_hardly_sees_how_bright_a_face_is():
    """A factor on all values is one on all powers, and contrast equalisation takes that out."""
    face = np.clip(picture(4, 40, 40), 8, 120)
    first, second = (np.asarray(tan_triggs(jnp.asarray((face * k)[None].astype(np.float32)))) for k in (0.5, 2.0))
    np.testing.assert_allclose(first, second, atol=0.05)
    assert np.ptp(first) > 20


@pytest.mark.parametrize("value", [0, 1, 128, 255])
def test_a_flat_image_is_no_noise(value):
    flat = jnp.full((2, 12, 12, 3), value, jnp.uint8)
    np.testing.assert_array_equal(equalised(flat), flat)
    np.testing.assert_array_equal(tan_triggs(flat), np.full(flat.shape, 127.5))


@pytest.mark.parametrize("kind", ["histogram", "tan_triggs"])
def test_each_image_is_for_itself_and_a_mirror_image_is_mirrored(kind):
    data = DataConfig(images=0, mean=127.5, scale=128.0, illumination=kind)
    many = np.asarray(network_input(jnp.asarray(IMAGES), data))
    for one, image in zip(many, IMAGES, strict=True):
        alone = np.asarray(network_input(jnp.asarray(image[None]), data))[0]
        np.testing.assert_allclose(one, alone, atol=1e-5)
        mirrored = np.asarray(network_input(jnp.asarray(image[None, :, ::-1]), data))[0]
        np.testing.assert_allclose(mirrored, alone[:, ::-1], atol=1e-4)
    assert np.abs(many).max() <= 1.0 and np.isfinite(many).all()


@pytest.mark.parametrize("kind", ["histogram", "tan_triggs"])
def test_eight_devices_are_one(kind):
    data, mesh = DataConfig(images=0, mean=127.5, scale=128.0, illumination=kind), make_mesh(8)
    images = np.stack([picture(n, 8, 8) for n in range(16)])
    compiled = jax.jit(lambda x: illumination.network_input(x, data), in_shardings=sharded(mesh))
    placed = compiled(images)
    np.testing.assert_allclose(placed, network_input(jnp.asarray(images), data), atol=1e-5)


def test_without_it_only_the_range_changes():
    data = DataConfig(images=0, mean=3.0, scale=7.0)
    assert data.illumination is None
    given, range_alone = network_input(jnp.asarray(IMAGES), data), ops.normalise(jnp.asarray(IMAGES), 3.0, 7.0)
    np.testing.assert_array_equal(given, range_alone)


@pytest.mark.parametrize("package", [facenet_jax, arcface_jax])
def test_a_run_stores_it_and_its_model_does_it(package):
    config = package.config.Config.load(f"{package.__name__.removesuffix('_jax')}/tiny")
    assert config.data.illumination is None and "illumination" not in to_toml(config)
    light = config.with_(data__illumination="tan_triggs")
    assert 'illumination = "tan_triggs"' in to_toml(light)
    assert preprocessing_of(light).illumination == "tan_triggs" and preprocessing_of(config).illumination is None
    with pytest.raises(ConfigError, match=r"data\.illumination = 'tan_trigs'; did you mean 'tan_triggs'"):
        config.with_(data__illumination="tan_trigs")
    network = {key: None for key in runs.OF_NETWORK if key == "data.illumination"}
    with pytest.raises(ConfigError, match=r"has data\.illumination = none, and tan_triggs is asked for"):
        runs.check_network("run", network, light)


@pytest.mark.parametrize("channels", ["rgb", "bgr"])
@pytest.mark.parametrize("scale", [128.0, (2.0, 3.0, 4.0)])
def test_a_model_embeds_faces_in_one_light(channels, scale):
    """Light is of the picture as it is, red first; order and range of channels come after."""
    way = ("fixed_box", 0.0, 0, (0.0, 0.0, 1.0, 1.0), "none")
    seen = Preprocessing((9, 7), channels, 5.0, scale, *way, illumination="histogram")

    class Mean:
        preprocessing = seen

        @staticmethod
        def apply(params, batch_stats, images, train, key=None):
            return images.mean(axis=(1, 2)), batch_stats

    form = embedding_form(*as_trained(Mean), unit=False)
    lit = np.asarray(equalised(jnp.asarray(IMAGES)))
    ordered = lit[..., ::-1] if channels == "bgr" else lit
    expected = ((ordered - 5.0) / np.array(scale)).mean(axis=(1, 2))
    np.testing.assert_allclose(form({}, {}, jnp.asarray(IMAGES)), expected, rtol=1e-5, atol=1e-5)
    assert dataclasses.replace(seen, illumination=None) != seen and illumination.TAU == 10.0


@pytest.mark.parametrize("package", [facenet_jax, arcface_jax])
def test_training_sees_what_evaluation_sees(package, monkeypatch):
    """A step on grey faces with it is one without it on faces equalised before, which are whole numbers."""
    name = package.__name__.removesuffix("_jax")
    monkeypatch.setitem(package.models.NETWORKS, ONE_MATRIX, NETWORK)
    config = package.config.Config.load(f"{name}/tiny").with_(
        model__name=ONE_MATRIX, model__input_size=(11, 8), model__embedding_dim=4, batch__images=8, train__steps=2,
        augment__flip=False, augment__shift=0.0, augment__zoom=0.0, augment__colour=0.0, train__evaluate_every=0,
        train__log_every=1, optimiser__schedule="constant", batch__images_per_identity=4 if name == "facenet" else 0,
        **({"batch__random_negatives": 0} if name == "facenet" else {}),
    )  # fmt: skip
    grey = np.repeat(np.random.default_rng(1).integers(20, 90, (16, 11, 8, 1), dtype=np.uint8), 3, axis=3)
    before = np.asarray(equalised(jnp.asarray(grey))).astype(np.uint8)
    people = np.repeat(np.arange(4), 4)
    lit = package.fit((grey, people), config.with_(data__illumination="histogram"))
    plain, without = package.fit((before, people), config), package.fit((grey, people), config)
    losses = [[step["loss"] for step in one.history] for one in (lit, plain, without)]
    np.testing.assert_allclose(losses[0], losses[1], rtol=1e-5)
    assert abs(losses[0][0] - losses[2][0]) > 1e-4
    np.testing.assert_allclose(lit.embed(grey), plain.embed(before), atol=1e-5)


def test_the_form_for_other_programs_is_the_same():
    """Of comparisons alone; flat images among them."""
    images = jnp.asarray(np.concatenate([IMAGES, np.full((1, 9, 7, 3), 77, np.uint8)]))
    with ops.by_definition():
        given = jax.jit(lambda x: illumination.equalised(x))(images)
    np.testing.assert_array_equal(given, equalised(images))
