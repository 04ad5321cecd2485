"""`experiments.export`: a folder that other programs read, all of it or nothing; and the README's programs run."""

import json
import re
from pathlib import Path
from typing import Any

import jax.export
import numpy as np
import pytest

from experiments import export as main
from faces.mesh import make_mesh
from recognizer import export
from recognizer.model import embedder_of, open_model
from tests.experiments.setting import one_matrix_model, refused, run

README = Path(__file__).parents[2] / "README.md"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    """The folder of a model of one matrix that is given faces aligned by five points."""
    folder = one_matrix_model(tmp_path_factory.mktemp("models") / "one")
    described = folder / "model.toml"
    described.write_text(described.read_text().replace('"fixed_box"', '"five_points"'))
    return folder


def pictures(model: Path) -> np.ndarray:
    size = open_model(model).preprocessing.size
    return np.random.default_rng(0).integers(0, 256, (2, *size, 3)).astype(np.uint8)


def test_a_folder_for_programs_with_jax_alone(model: Path, tmp_path: Path, capsys: Any):
    pytest.importorskip("flatbuffers", reason="jax.export writes with flatbuffers")
    out = tmp_path / "exported"
    printed = run(main.main, [str(model), "--to", str(out), "--format", "stablehlo"])
    assert re.fullmatch(
        r"model\.stablehlo: [\d,]+ bytes; embeddings differ .* at most \d\.\de[+-]\d\d \(allowed: 0\.0001\)", printed[0]
    )
    files = sorted(path.name for path in out.iterdir() if not path.name.startswith("."))
    assert files == ["model.stablehlo", "model.toml", "preprocessing.json"]
    assert (out / "model.toml").read_text() == (model / "model.toml").read_text()
    assert list(json.loads((out / "preprocessing.json").read_text())["files"]) == ["model.stablehlo"]
    embed = jax.export.deserialize(bytearray((out / "model.stablehlo").read_bytes())).call
    expected = embedder_of(open_model(model), make_mesh(1))(pictures(model))
    np.testing.assert_allclose(np.asarray(embed(pictures(model))), expected, atol=1e-5)
    again = [str(model), "--to", str(out), "--format", "stablehlo"]
    refused(main.main, capsys, again, "holds results already", "--overwrite")
    refused(main.main, capsys, [str(out), *again[1:2], str(tmp_path / "b"), *again[3:]], "for other programs")


def test_what_differs_or_fails_leaves_nothing(
    model: Path, tmp_path: Path, capsys: Any, monkeypatch: pytest.MonkeyPatch
):
    pytest.importorskip("flatbuffers", reason="jax.export writes with flatbuffers")
    out = tmp_path / "exported"
    given = [str(model), "--to", str(out), "--format", "stablehlo"]
    refused(main.main, capsys, [str(tmp_path / "none"), *given[1:]], "nothing lies there")
    monkeypatch.setattr(export, "find_spec", lambda name: None if name == "jax2onnx" else "there")
    refused(main.main, capsys, given[:3], "jax2onnx", '".[export]"', "--format stablehlo")
    monkeypatch.setattr(export, "BOUND", -1.0)
    refused(main.main, capsys, given, "differ from the model's by", "Nothing was written")
    assert not out.exists()


def test_the_programs_of_the_readme_run(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """With nothing of this project imported in them."""
    pytest.importorskip("jax2onnx", reason="ONNX needs the extra [export]")
    pytest.importorskip("onnxruntime", reason="ONNX needs the extra [export]")
    monkeypatch.chdir(tmp_path)
    run(main.main, [str(model), "--to", "exported/y1"])
    programs = re.findall(r"^```py\n(.*?)^```", README.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)
    assert len(programs) == 2 and not any("recognizer" in text or "faces." in text for text in programs)
    names: dict[str, Any] = {}
    for text in programs:
        exec(text, names)
    photograph = pictures(model)[0]
    template = names["template"]
    embedding = names["embed"](photograph, template)
    expected = embedder_of(open_model(model), make_mesh(1))(photograph[None])[0]
    np.testing.assert_allclose(embedding, expected, atol=1e-4)
    np.testing.assert_allclose(np.asarray(names["embed_faces"](photograph[None]))[0], expected, atol=1e-5)
