"""Strictness for every test: 8 virtual CPU devices, no silent rank promotion, shapes checked at run time."""

import os
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

# Programs here are small and run once: XLA shall not spend its time on making them quick. The older emitters compile in
# half the time; jaxlib above 0.10 does not know that flag and aborts.
os.environ["XLA_FLAGS"] = (
    os.environ.get("XLA_FLAGS", "")
    + " --xla_force_host_platform_device_count=8 --xla_backend_optimization_level=0"
    + (" --xla_cpu_use_fusion_emitters=false" if version("jaxlib").startswith("0.10.") else "")
)
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parent.parent / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "1")

import jax
import pytest
from jaxtyping import install_import_hook

install_import_hook(
    [
        *(f"faces.{module}" for module in ("ops", "align", "warp")),
        "faces.evaluate",
        *(f"facenet_jax.{module}" for module in ("losses", "mining", "mining_fast", "auxiliary", "related", "summary")),
        *(f"arcface_jax.{module}" for module in ("margins", "losses", "related", "head", "centres", "angles")),
        *(f"arcface_jax.{module}" for module in ("partial_fc", "sub_center")),
        "scrfd_jax.decode",
    ],
    "beartype.beartype",
)
jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(autouse=True)
def same_flags() -> Iterator[None]:
    """XLA's flags, which a test's own processes inherit, are what they were: others would compute other roundings."""
    before = os.environ["XLA_FLAGS"]
    yield
    assert os.environ["XLA_FLAGS"] == before


@pytest.fixture(scope="session")
def faces_data() -> Path:
    """The folder of real faces that FACES_DATA names; the test is skipped where it is unset."""
    folder = os.environ.get("FACES_DATA")
    if not folder:
        pytest.skip("needs real faces: set FACES_DATA to the folder that holds lfw/, train/ and odd/")
    return Path(folder).resolve()


@pytest.fixture(scope="module")
def one_matrix() -> Iterator[list[str]]:
    """Options that take `setting.OneMatrix` for the network."""
    import arcface_jax.models
    from tests.experiments import setting

    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(arcface_jax.models.NETWORKS, setting.ONE_MATRIX, setting.NETWORK)
        yield ["--model.name", setting.ONE_MATRIX]
