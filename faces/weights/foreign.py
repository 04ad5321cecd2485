"""What a file is that holds no weights, or holds them in a format that is not read, and what its owner does about it.

By the bytes where these tell: text by what it says, archives and other frameworks' files by their signatures. Otherwise
by the suffix.

Not here: formats that are read, and what is damaged in them.
"""

import codecs
import os
import re
from collections.abc import Collection, Iterable
from itertools import islice
from pathlib import Path

from faces.unpickle.pickled_arrays import shown
from faces.weights.weights_file import WeightsFile

_EXPORT = "which is not read; give the network as ONNX, or the file that it was made from"
_UNPACK = "unpack it and give the file in it that holds the weights"
_FETCH = "and not the weights themselves; download the file again"
_OF_ONNX = "if it holds the values of an ONNX model, give the .onnx beside it, which names it"
_FROZEN_INSTEAD = "which is not read; give the frozen graph, .pb"
_TABLE_END = bytes.fromhex("57fb808b247547db")  # of TensorFlow's tables, which are LevelDB's

# Bytes at a place of the file.
_SIGNS = (
    (0, b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras writes, {_EXPORT}"),
    (4, b"TFL3", f"a TensorFlow Lite model, {_EXPORT}"),
    (4, b"ORTM", f"a model of ONNX Runtime's own format, {_EXPORT}"),
    (0, b"GGUF", f"a GGUF file, {_EXPORT}"),
    (0, b"RKNN", f"a model of Rockchip's RKNN, {_EXPORT}"),
    (0, b"ptrt", f"an engine of TensorRT, {_EXPORT}"),
    (0, b"ftrt", f"an engine of TensorRT, {_EXPORT}"),
    (0, b"MATLAB 5.0", "a file of MATLAB, which is not read; save its arrays as .npz"),
    (0, b"\x1f\x8b", f"compressed with gzip; {_UNPACK}"),
    (0, b"BZh", f"compressed with bzip2; {_UNPACK}"),
    (0, b"\xfd7zXZ\x00", f"compressed with xz; {_UNPACK}"),
    (0, b"\x28\xb5\x2f\xfd", f"compressed with zstd; {_UNPACK}"),
    (0, b"7z\xbc\xaf\x27\x1c", f"a 7z archive; {_UNPACK}"),
    (0, b"Rar!\x1a\x07", f"a RAR archive; {_UNPACK}"),
    (257, b"ustar", f"a tar archive; {_UNPACK}"),
    (0, b"\xff\xd8\xff", "a photograph (JPEG) and no weights; give the file of weights"),
    (0, b"\x89PNG", "a picture (PNG) and no weights; give the file of weights"),
    (0, b"%PDF", "a PDF and no weights; give the file of weights"),
    (0, b"\x0a\x23\xd7\xce", "MXNet's RecordIO, which holds photographs and no weights; give the .params file"),
)
# Text, by what stands in it; in this order.
_WEB = r"<(!doctype html|html|head|body|script|style|meta|div)\b"
_TEXTS = tuple(
    (re.compile(pattern, re.IGNORECASE | re.DOTALL), what)
    for pattern, what in (
        (r"version https://git-lfs", "a pointer of Git LFS, not the file itself; fetch it with `git lfs pull`"),
        (rf"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?{_WEB}", f"a web page {_FETCH}, by the link that gives the file itself"),
        (r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<net\b",
         f"OpenVINO's network, whose weights lie in the .bin beside it, {_EXPORT}"),
        (r"(<\?xml[^>]*>\s*)?(<!--.*?-->\s*)?<opencv_storage\b",
         f"OpenCV's own storage, as its cascades have it, {_EXPORT}"),
        (r"<[a-z!?/]", f"XML, a web page perhaps, {_FETCH}"),
        (r"[{\[].*\"weight_map\"", "the index of a model in several safetensors files; join those into one, or give "
         "the only one"),
        (r"[{\[].*\"(nodes|arg_nodes)\"", "MXNet's network without its weights, perhaps; give the .params file beside "
         "it, and this one as its symbol"),
        (r"[{\[].*\"(modelTopology|weightsManifest)\"", f"a model of TensorFlow.js, {_EXPORT}"),
        (r"[{\[]", "JSON and no weights, perhaps a network without them; give the file of weights beside it"),
        (r"7767517\s", f"ncnn's network without its weights, {_EXPORT}"),
        (r"4\s+1\s+3\s+V 1\s", f"a file of Torch 7 (Lua), {_EXPORT}"),
        (r"node\s*\{", "TensorFlow's graph as text, which is not read; give the frozen graph, .pb"),
        (r"(#[^\n]*\n\s*)*(name|layer|input)\s*[:{]", f"Caffe's network without its weights, {_EXPORT}"),
        (r"%YAML", f"YAML, as OpenCV stores its models, {_EXPORT}"),
        (r"(all_)?model_checkpoint_path\w*\s*:", f"the list of TensorFlow's checkpoints, {_FROZEN_INSTEAD}"),
        (r"", f"text {_FETCH}"),
    )
)  # fmt: skip
_SUFFIXES = {
    ".h5": f"named as a file of Keras and none, {_EXPORT}",
    ".keras": f"named as a file of Keras and none, {_EXPORT}",
    ".tflite": f"a TensorFlow Lite model by its name, {_EXPORT}",
    ".t7": f"a file of Torch 7 (Lua) by its name, {_EXPORT}",
    ".pdparams": f"Paddle's weights by its name, {_EXPORT}",
    ".pdiparams": f"Paddle's weights by its name, {_EXPORT}",
    ".pdopt": f"the state of Paddle's optimiser by its name, {_EXPORT}",
    ".pdmodel": f"Paddle's network by its name, {_EXPORT}",
    ".bin": "of no format that is read; if it belongs to OpenVINO's .xml or ncnn's .param, give the network as ONNX",
    ".caffemodel": f"Caffe's weights by its name, {_EXPORT}",
    ".binaryproto": "Caffe's mean image by its name, and no weights; give the file of weights",
    ".mlmodel": f"a model of Core ML by its name, {_EXPORT}",
    ".mnn": f"a model of MNN by its name, {_EXPORT}",
    ".om": f"a model of Ascend by its name, {_EXPORT}",
    ".engine": f"an engine of TensorRT by its name, {_EXPORT}",
    ".meta": f"a part of a TensorFlow checkpoint by its name, {_FROZEN_INSTEAD}",
    ".index": f"a part of a TensorFlow checkpoint by its name, {_FROZEN_INSTEAD}",
    ".data": f"of no format that is read; {_OF_ONNX}",
    ".onnx_data": f"of no format that is read; {_OF_ONNX}",
    ".dat": "of no format that is read; if it is a model of dlib, give the network as ONNX",
    ".weights": f"weights of Darknet by its name, {_EXPORT}",
    ".msgpack": f"a file of Flax's by its name, {_EXPORT}",
}
_OF_PROTOBUF = frozenset({".pdmodel", ".caffemodel", ".binaryproto", ".mlmodel", ".meta"})
"""Begin as graphs of TensorFlow or models of ONNX do: protocol buffers do not say what they are."""

_SAVED_MODEL = re.compile(rb"\x08\x01\x12[\x80-\xff]*[\x00-\x7f]\x0a")  # its version, then a graph and its head
_FROZEN = "which has its weights in a folder beside it; give the frozen graph, .pb"
_PADDLE = b"StructuredToParameterName@@"
_OLD_TORCH = (b"sys_info", b"pickle", b"storages", b"tensors")  # members of its tar archives
_START = 4096
_BOMS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16-le"), (codecs.BOM_UTF16_BE, "utf-16-be"))
_CONTROL = re.compile(r"[\x00-\x08\x0e-\x1f\x7f]")
_PART = re.compile(r"\.data-\d{5}-of-\d{5}$")
_NO_EMBEDDER = re.compile(r"(?i)(^|[/_-])(det_|scrfd|retinaface|genderage|1k3d68|2d106det|landmark)")
"""Names of what lies beside the network that embeds in InsightFace's packs."""
_SHOWN = 3
_MOST_NAMES = 1_000
_WEIGHTS = (".onnx", ".params", ".pth", ".pt", ".ckpt", ".safetensors", ".npy", ".npz", ".pb")


def told_by_bytes(file: WeightsFile) -> str | None:
    """What the file's bytes say that it is, of what is not read, and what to do: the half of a sentence."""
    if file.data[:9].rstrip(b"\0") in _OLD_TORCH:
        return "a checkpoint of PyTorch before 0.2, which is not read; load it with a later one and save it again"
    for at, sign, what in _SIGNS:
        if file.data[at : at + len(sign)] == sign:
            return what
    if (text := _text(file)) is not None:
        return next(what for pattern, what in _TEXTS if pattern.match(text))
    start = file.data[:_START]
    if _SAVED_MODEL.match(start):
        return f"TensorFlow's SavedModel, {_FROZEN}"
    if start[:1] in (b"\x03", b"\x04") and b"V 1" in start[:24]:
        return f"a file of Torch 7 (Lua), {_EXPORT}"
    if start.startswith(b"\x80") and file.data.find(_PADDLE) >= 0:
        return f"Paddle's weights, {_EXPORT}"
    if file.data[-len(_TABLE_END) :] == _TABLE_END:
        return f"a part of a TensorFlow checkpoint, {_FROZEN_INSTEAD}"
    suffix = _suffix(file)
    return _SUFFIXES[suffix] if suffix in _OF_PROTOBUF else None


def told_by_name(file: WeightsFile) -> str | None:
    """What the file's suffix says that it is, as `told_by_bytes`; for bytes that say nothing."""
    if _PART.search(file.name):
        return f"a part of a TensorFlow checkpoint by its name, {_FROZEN_INSTEAD}"
    if file.data[:1] == b"\x80" and _suffix(file) not in (".pdparams", ".pdopt"):
        return "a pickle that PyTorch did not write; save the arrays as .npz"
    return _SUFFIXES.get(_suffix(file))


def told_by_members(names: Collection[str]) -> str | None:
    """What a zip file is by the names of its members, as `told_by_bytes`; None where one is NumPy's."""
    if not names or any(name.endswith(".npy") for name in names):
        return None
    if "model.weights.h5" in names:
        return f"a model of Keras, {_EXPORT}"
    if any(name.endswith("saved_model.pb") for name in names):
        return f"a zip archive with TensorFlow's SavedModel, {_FROZEN}"
    if any(name.endswith(("archive_format", "serialized_exported_program.json")) for name in names):
        return "a program of torch.export; save the network's state_dict() instead"
    if any("com.apple.CoreML" in name for name in names):
        return f"a zip archive with a model of Core ML, {_EXPORT}"
    return f"a zip archive and no weights itself; {_UNPACK}{_such(names)}"


def told_by_folder(folder: Path) -> str:
    """What a folder is by the names in it, as `told_by_bytes`."""
    try:
        names = [entry.name for entry in islice(os.scandir(folder), _MOST_NAMES)]
    except OSError:
        names = []
    if "saved_model.pb" in names:
        return f"the folder of TensorFlow's SavedModel, {_FROZEN}"
    if "Manifest.json" in names and folder.suffix == ".mlpackage":
        return f"a model of Core ML, {_EXPORT}"
    if not any(name.lower().endswith(_WEIGHTS) for name in names):
        if any(name.endswith(".xml") and f"{name.removesuffix('.xml')}.bin" in names for name in names):
            return f"a folder with OpenVINO's network, {_EXPORT}"
        if any(_PART.search(name) or name.endswith((".ckpt.meta", ".ckpt.index")) for name in names):
            return f"a folder with TensorFlow's checkpoint, {_FROZEN_INSTEAD}"
    return f"a folder, where a file of weights is expected; give the file in it that holds them{_such(names)}"


def _such(names: Iterable[str]) -> str:
    """Of files by their names, those that may hold a network that embeds faces: the end of a sentence."""
    weights = sorted(name for name in names if name.lower().endswith(_WEIGHTS))
    embeds = [name for name in weights if not _NO_EMBEDDER.search(name)]
    shortened = [shown(name) for name in (embeds or weights)[:_SHOWN]]
    return f", such as {' or '.join(shortened)}" if shortened else ""


def _suffix(file: WeightsFile) -> str:
    match = re.search(r"\.\w+$", file.name)
    return match[0].lower() if match else ""


def _text(file: WeightsFile) -> str | None:
    """The start of a file that is text, without white space before it."""
    start = file.data[:_START]
    encoding = "utf-8"
    for bom, of_bom in _BOMS:
        if start.startswith(bom):
            start, encoding = start[len(bom) :], of_bom
    text = codecs.getincrementaldecoder(encoding)("replace").decode(start).lstrip()
    is_unicode = "\ufffd" not in text or text.startswith("<")  # web pages have other encodings as well
    return text if text and is_unicode and not _CONTROL.search(text) else None
