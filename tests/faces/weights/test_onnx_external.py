"""ONNX models whose values lie in files beside them: read where these are sound, refused where they lead elsewhere."""

import os
from pathlib import Path

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import read_onnx_locations, read_weights
from tests.faces.weights import makers

VALUES = np.arange(12, dtype=np.float32).reshape(3, 4)
INSIDE = {"small": np.ones(2, np.float32)}


def model(folder: Path, **entries: object) -> Path:
    """A model with a tensor "w" in a file beside it, and one inside."""
    external = {"w": ((3, 4), "float32", {"location": "m.onnx.data", **entries})}
    (folder / "m.onnx").write_bytes(makers.onnx(INSIDE, external=external))
    return folder / "m.onnx"


@pytest.mark.parametrize("entries", [{}, {"offset": 0, "length": 48}, {"offset": 8}, {"checksum": "a", "offset": "8"}])
def test_values_beside_the_model(entries: dict, tmp_path: Path):
    front = b"01234567" if entries.get("offset") else b""
    (tmp_path / "m.onnx.data").write_bytes(front + VALUES.tobytes() + b"more")
    read = read_weights(model(tmp_path, **entries))
    np.testing.assert_array_equal(read["w"], VALUES, strict=True)
    np.testing.assert_array_equal(read["small"], INSIDE["small"])


def test_values_in_a_folder_below_and_in_many_files(tmp_path: Path):
    (tmp_path / "w").mkdir()
    external = {}
    for number in range(3):
        (tmp_path / "w" / f"{number}.bin").write_bytes((VALUES + number).tobytes())
        external[f"w{number}"] = ((3, 4), "float32", {"location": f"w/{number}.bin"})
    (tmp_path / "m.onnx").write_bytes(makers.onnx(INSIDE, external=external))
    read = read_weights(tmp_path / "m.onnx")
    for number in range(3):
        np.testing.assert_array_equal(read[f"w{number}"], VALUES + number)


@pytest.mark.parametrize(
    ("entries", "message"),
    [
        ({"location": "../secret"}, r"m\.onnx: w lies in '\.\./secret', which is no file beside the model and is"),
        ({"location": "a/../../secret"}, "is no file beside the model"),
        ({"location": "/etc/passwd"}, "is no file beside the model"),
        ({"location": r"..\\secret"}, "is no file beside the model"),
        ({"location": "C:secret"}, "is no file beside the model"),
        ({"location": ""}, "is no file beside the model"),
        ({"location": "a\0b"}, "is no file beside the model"),
        ({"location": "link"}, "is a link out of the model's folder"),
        ({"location": "inner/secret"}, "is a link out of the model's folder"),
        ({"location": "round"}, "cannot be opened|is not beside it"),
        ({"location": "x" * 5000}, "cannot be opened|is not beside it"),
        ({"location": "absent"}, r"its weights lie in 'absent', which is not beside it; copy it there\."),
        ({"location": "folder"}, "its weights lie in 'folder', which is not beside it"),
        ({"location": "pipe"}, "its weights lie in 'pipe', which is not beside it"),
        ({"offset": 4}, "w is cut: the file ends before its last value"),
        ({"offset": 10**17}, "w is cut"),
        ({"length": 44}, "w has 44 bytes where its shape takes 48"),
        ({"length": 10**17}, "w is cut"),
        ({"offset": -4}, "w has the offset -4"),
        ({"length": "4e1"}, "w has the length 4e1"),
        ({"offset": "9" * 30}, "w has the offset 9"),
    ],
)
def test_what_leads_elsewhere_or_lacks_bytes(entries: dict, message: str, tmp_path: Path):
    folder = tmp_path / "model"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(VALUES.tobytes())
    (folder / "m.onnx.data").write_bytes(VALUES.tobytes())
    (folder / "folder").mkdir()
    (folder / "link").symlink_to(tmp_path / "secret")
    (folder / "inner").symlink_to(tmp_path)
    (folder / "round").symlink_to("round")
    os.mkfifo(folder / "pipe")
    with pytest.raises(WeightsError, match=message) as caught:
        read_weights(model(folder, **entries))
    assert "\n" not in str(caught.value)
    if "location" in entries:
        with pytest.raises(WeightsError):
            read_onnx_locations(model(folder, **entries))


def test_a_shape_larger_than_the_file_takes_no_memory(tmp_path: Path):
    (tmp_path / "d").write_bytes(b"1234")
    external = {"w": ((2**20, 2**20), "float32", {"location": "d"})}
    (tmp_path / "m.onnx").write_bytes(makers.onnx(INSIDE, external=external))
    with pytest.raises(WeightsError, match=r"w is declared larger than the file|impossible shape"):
        read_weights(tmp_path / "m.onnx")


def test_what_onnx_itself_writes(tmp_path: Path):
    onnx = pytest.importorskip("onnx")
    tensor = onnx.numpy_helper.from_array(np.arange(4096, dtype=np.float32).reshape(64, 64), "w")
    node = onnx.helper.make_node("MatMul", ["x", "w"], ["y"])
    values = [onnx.helper.make_tensor_value_info(name, 1, (1, 64)) for name in "xy"]
    made = onnx.helper.make_model(onnx.helper.make_graph([node], "g", values[:1], values[1:], [tensor]))
    onnx.save(made, str(tmp_path / "m.onnx"), save_as_external_data=True, location="m.onnx.data")
    assert (tmp_path / "m.onnx").stat().st_size < 4096
    np.testing.assert_array_equal(read_weights(tmp_path / "m.onnx")["w"], np.arange(4096).reshape(64, 64))


def test_the_files_that_belong_to_a_model(tmp_path: Path):
    (tmp_path / "w").mkdir()
    for name in "ab":
        (tmp_path / "w" / name).write_bytes(VALUES.tobytes())
    external = {name: ((3, 4), "float32", {"location": f"w/{name}"}) for name in "ba"}
    external["c"] = external["a"]
    (tmp_path / "m.onnx").write_bytes(makers.onnx(INSIDE, external=external))
    assert read_onnx_locations(tmp_path / "m.onnx") == (tmp_path / "w" / "b", tmp_path / "w" / "a")
    (tmp_path / "m.onnx").write_bytes(makers.onnx(INSIDE))
    assert read_onnx_locations(tmp_path / "m.onnx") == ()
