"""PyTorch's checkpoints: tensors as they look into storages, state dicts inside others, attacks; and PyTorch's own."""

import argparse
import pickle
import struct
import zipfile
from pathlib import Path

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import read_weights
from tests.faces.data.pair_makers import attacks
from tests.faces.weights import makers
from tests.faces.weights.makers import Call, Global, Ordered, Persistent, Storage, Tensor
from tests.faces.weights.test_read_weights import written

FORMS = {"zip": makers.torch_zip, "legacy": makers.torch_legacy}
FLAT = np.arange(24, dtype=np.float32)


@pytest.fixture(params=FORMS)
def save(request):
    return FORMS[request.param]


def test_strides_and_offsets(tmp_path, save):
    storage = Storage("0", FLAT)
    state = Ordered(
        transposed=Tensor(storage, 0, (4, 6), (1, 4)),
        inner=Tensor(storage, 7, (2, 2), (6, 2)),
        last=Tensor(storage, 23, (1,), (10**30,)),
        parameter=Tensor(storage, 0, (2, 3, 4), (12, 4, 1), parameter=True),
        empty=Tensor(storage, 10**6, (3, 0), (1, 1)),
        expanded=Tensor(storage, 2, (5, 6), (0, 1)),
    )
    read = read_weights(written(tmp_path, save(state)))
    np.testing.assert_array_equal(read["transposed"], FLAT.reshape(6, 4).T)
    np.testing.assert_array_equal(read["inner"], [[7, 9], [13, 15]])
    np.testing.assert_array_equal(read["last"], [23])
    np.testing.assert_array_equal(read["parameter"], FLAT.reshape(2, 3, 4))
    assert read["empty"].shape == (3, 0)
    np.testing.assert_array_equal(read["expanded"], [FLAT[2:8]] * 5)
    assert np.shares_memory(read["transposed"], read["parameter"])


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "message"),
    [
        (1, (24,), (1,), "w goes beyond its storage"),
        (0, (2, 2), (24, 1), "w goes beyond its storage"),
        (0, (2**22, 8), (0, 1), "more than twice its size in memory|declared larger than the file"),
        (0, (-2, -2), (1, 1), "_rebuild_tensor_v2 with other arguments"),
        (0, (2, 2), (1,), "_rebuild_tensor_v2 with other arguments"),
        (-4, (2,), (1,), "_rebuild_tensor_v2 with other arguments"),
        (0, ("2",), (1,), "_rebuild_tensor_v2 with other arguments"),
    ],
)
def test_tensors_that_do_not_fit(tmp_path, save, offset, shape, strides, message):
    state = Ordered(w=Tensor(Storage("0", FLAT), offset, shape, strides))
    with pytest.raises(WeightsError, match=message):
        read_weights(written(tmp_path, save(state)))


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "net", "backbone"])
@pytest.mark.parametrize("protocol", [2, 4])
def test_a_state_dict_inside_a_checkpoint(tmp_path, save, key, protocol):
    optimiser = {"state": {0: {"step": 5, "exp_avg": Tensor(Storage("9", FLAT), 0, (24,), (1,))}}, "lr": [1e-3]}
    checkpoint = {
        "epoch": 7,
        "best": 0.5,
        "optimizer": optimiser,
        key: Ordered(w=Tensor(Storage("0", FLAT), 0, (2, 3), (3, 1))),
    }
    read = read_weights(written(tmp_path, save(checkpoint, protocol)))
    assert list(read) == ["w"]
    np.testing.assert_array_equal(read["w"], FLAT[:6].reshape(2, 3))


W = Tensor(Storage("0", FLAT), 0, (2, 3), (3, 1))
OTHER = Tensor(Storage("8", np.arange(4, dtype=np.uint8)), 0, (4,), (1,))
DEVICE = Call(Global("torch", "device"), ("cpu",))
INSIDE = Call(
    Global("torch._utils", "_rebuild_tensor_v2"),
    (Persistent(("storage", Global("torch", "FloatStorage"), "0", "cpu", 24, ("1", 0, 4))), 0, (4,), (1,)),
)
NEIGHBOURS = {
    "a generator's state": OTHER,
    "NumPy's generator": ("MT19937", np.arange(3, dtype=np.uint32), 624, 0, 0.0),
    "an array": np.eye(2),
    "an array of text": np.array(["a", "bc"]),
    "an array of objects": np.array([1, "x"], object),
    "an array of records": np.zeros(2, [("a", "f4")]),
    "a scalar": np.float64(0.9),
    "a date": np.datetime64("2020-01-01"),
    "settings": Call(Global("argparse", "Namespace"), (), {"lr": 0.1, "t": OTHER, "to": DEVICE}, "NEWOBJ"),
    "the same of protocol 0": Call(Global("argparse", "Namespace"), (), {"lr": 0.1}),
    "an optimiser": {"state": {0: {"step": OTHER, "exp_avg": OTHER}}, "param_groups": [{"betas": (0.9, 0.9)}]},
    "a class derived from dict": Call(Global("easydict", "EasyDict"), (), {"a": 1}, items=(("a", 1), ("b", OTHER))),
    "sets": [{1, "b"}, frozenset([2])],
    "a function": Global("torch.nn.functional", "relu"),
    "a module": Call(Global("torch.nn.modules.linear", "Linear"), (), {"weight": OTHER}, "NEWOBJ"),
    "a module with its source": Call(
        Persistent(("module", Global("own", "Net"), "net.py", "class Net: ...")), (), {"weight": OTHER}, "NEWOBJ"
    ),
    "a dtype": Global("torch", "float32"),
    "a complex number": 1 + 2j,
    "odd keys": {(1, (2, 3)): 1, 0.5: 2, None: 3, 2**70: 4},
    "complex tensors": Tensor(Storage("9", np.zeros(4, complex), "ComplexDouble"), 0, (2,), (1,)),
    "a sparse tensor": Call(Global("torch._utils", "_rebuild_sparse_tensor"), (DEVICE, (OTHER, OTHER))),
    "a tensor of a class": Call(
        Global("torch._tensor", "_rebuild_from_type_v2"),
        (Global("torch._utils", "_rebuild_tensor_v2"), Global("own", "Tensor"), (), {}),
    ),
    "an attack": Call(Global("posix", "system"), ("touch marker",)),
    "an attack on an attack": Call(Call(Global("builtins", "getattr"), (DEVICE, "x")), ("touch marker",)),
}  # fmt: skip


@pytest.mark.parametrize("name", NEIGHBOURS)
@pytest.mark.parametrize("protocol", [2, 4])
def test_what_lies_beside_a_state_dict_is_passed_over(tmp_path, save, name, protocol):
    neighbour = NEIGHBOURS[name]
    for checkpoint in ({"x": neighbour, "state_dict": Ordered(w=W)}, {"my_net": {"w": W}, "x": [neighbour]}):
        read = read_weights(written(tmp_path, save(checkpoint, protocol)))
        assert list(read) == ["w"]
        np.testing.assert_array_equal(read["w"], FLAT[:6].reshape(2, 3))
    assert not (tmp_path / "marker").exists()


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict", "state_dict_backbone", "ema", "weights"])
def test_which_state_dict_is_read(tmp_path, save, key):
    both = {"best": OTHER, "head": {"h": OTHER}, key: Ordered(w=W)}
    if key == "weights":
        with pytest.raises(WeightsError, match=r"under head, weights and single tensors.* --state-dict KEY \(state"):
            read_weights(written(tmp_path, save(both)))
    else:
        assert list(read_weights(written(tmp_path, save(both)))) == ["w"]
    path = written(tmp_path, save(both))
    assert list(read_weights(path, key)) == ["w"]
    assert list(read_weights(path, "head")) == ["h"]
    with pytest.raises(WeightsError, match=f"no state dict lies under best; those under head, {key} are there"):
        read_weights(path, "best")
    with pytest.raises(WeightsError, match="no checkpoint of PyTorch, and the key of a state dict is for those alone"):
        read_weights(written(tmp_path, makers.npz({"w": FLAT})), key)


@pytest.mark.parametrize(
    ("saved", "message"),
    [
        ({"state_dict": {"w": W}, "ema_state_dict": {"w": OTHER}}, "under state_dict, ema_state_dict, and which"),
        ({"generator": {"w": W}, "discriminator": {"w": OTHER}}, "under generator, discriminator, and which"),
        ({"rng": OTHER, "my_net": {"w": W}}, "under my_net and single tensors beside"),
        ({"model": Call(Global("yolo", "Net"), (), {"w": W}, "NEWOBJ"), "epoch": 1}, r"asks for yolo\.Net; only"),
        (Call(Global("yolo", "Net"), (), {"w": W}, "NEWOBJ"), r"asks for yolo\.Net; only"),
        ({"w": W, "q": NEIGHBOURS["a sparse tensor"]}, r"asks for torch\._utils\._rebuild_sparse_tensor; only"),
        ({"w": W, "q": NEIGHBOURS["a tensor of a class"]}, r"asks for torch\._tensor\.\w+ of own\.Tensor; only"),
        ({"w": W, "q": NEIGHBOURS["an array of text"]}, "q is an array of no plain numbers"),
        ({"w": W, "q": NEIGHBOURS["complex tensors"]}, "q is a tensor of no plain numbers"),
        ({"w": W, (1, 2): W}, "a name that is no text"),
        ({"model": {"a": 1}, "net": {"b": 1}}, r"no state dict under its keys \(model, net\)"),
        ({"w": INSIDE}, "asks for torch.*_rebuild_tensor_v2 of torch storages inside others, as its first versions"),
    ],
)
def test_state_dicts_that_are_not_understood(tmp_path, saved, message):
    with pytest.raises(WeightsError, match=message):
        read_weights(written(tmp_path, makers.torch_zip(saved)))


def test_kinds_of_state_dicts(tmp_path, save):
    """The same one twice, a class derived from dict, and tensors with attributes."""
    state = Ordered(w=W)
    attributes = Call(
        Global("torch._tensor", "_rebuild_from_type_v2"),
        (
            Global("torch._utils", "_rebuild_tensor_v2"),
            Global("torch", "Tensor"),
            (W.storage, W.offset, W.shape, W.strides, False, Ordered()),
            {"note": DEVICE},
        ),
    )
    own = Call(Global("mine", "StateDict"), (), {"_metadata": {"version": 1}}, items=(("w", W),))
    parameter = Call(Global("torch._utils", "_rebuild_parameter_with_state"), (W, True, Ordered(), {"note": DEVICE}))
    for saved in (
        {"model": state, "state_dict": state},
        {"epoch": 1, "model": {"state_dict": {"backbone": state, "head": {"h": OTHER}}, "args": DEVICE}},
        own,
        {"state_dict": own},
        {"w": attributes},
        {"w": parameter, "args": NEIGHBOURS["settings"]},
    ):
        read = read_weights(written(tmp_path, save(saved)))
        assert list(read) == ["w"]
        np.testing.assert_array_equal(read["w"], FLAT[:6].reshape(2, 3))


def test_what_is_no_state_dict(tmp_path, save):
    tensor = Tensor(Storage("0", FLAT), 0, (2,), (1,))
    for value, message in [
        ({"weights": {"net": {"w": tensor}}, "epoch": 1}, r"no state dict under its keys \(weights, epoch\)"),
        ([tensor], "no dict of tensors"),
        ({}, "no state dict under its keys"),
        ({3: tensor}, "a name that is no text"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_weights(written(tmp_path, save(value)))


def test_nothing_is_executed(tmp_path):
    """Each attack is shown to work on Python's own reader, then put where PyTorch has its pickle."""
    marker = tmp_path / "marker"
    system = {"protocol_version": 1001, "little_endian": True}
    for name, pickles in attacks(marker).items():
        for data in pickles:
            pickle.loads(data)
            assert marker.exists()
            marker.unlink()
            head = [pickle.dumps(value, 2) for value in (makers.LEGACY_MAGIC, 1001, system)]
            header = b"{'descr': '|O', 'fortran_order': False, 'shape': (), }\n"
            npy = b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + data
            for file in (makers.zipped({"a/data.pkl": data}), b"".join([*head, data]), b"".join([head[0], data]), npy):
                with pytest.raises(WeightsError) as caught:
                    read_weights(written(tmp_path, file))
                assert f"asks for {name};" in str(caught.value)
                assert str(caught.value).endswith("nothing was executed.")
                assert not marker.exists()


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        (Global("facenet_pytorch", "InceptionResnetV1"), "facenet_pytorch.InceptionResnetV1"),
        (Global("torch", "load"), "torch.load"),
        (Global("torch.jit._pickle", "build_intlist"), "torch.jit._pickle.build_intlist"),
        (Global("torch._utils", "_rebuild_tensor_v2.__globals__"), "torch._utils._rebuild_tensor_v2.__globals__"),
    ],
)
def test_other_names_are_refused(tmp_path, save, name, asked):
    with pytest.raises(WeightsError, match=f"asks for {asked}; only numbers, .* nothing was executed"):
        read_weights(written(tmp_path, save({"w": name})))


def test_damaged_zip_files(tmp_path):
    state = Ordered(w=Tensor(Storage("0", FLAT), 0, (24,), (1,)))
    pickled, _ = makers.pickled(state)
    values = FLAT.tobytes()
    for members, message in [
        ({"a/data.pkl": pickled}, "it lacks the storage 0"),
        ({"a/data.pkl": pickled, "a/data/0": values[:-4]}, "has 92 bytes where its shape takes 96"),
        ({"a/data.pkl": pickled, "a/data/0": values, "a/byteorder": b"big"}, "the other byte order"),
        ({"a/data.pkl": pickled, "b/data.pkl": pickled}, "2 pickles in one checkpoint"),
        ({"a/data.pkl": pickled, "a/data/0": values, "a/constants.pkl": b""}, "a TorchScript program"),
    ]:
        with pytest.raises(WeightsError, match=message):
            read_weights(written(tmp_path, makers.zipped(members)))
    data = bytearray(makers.torch_zip(state))
    data[data.index(values[4:24])] ^= 1
    with pytest.raises(WeightsError, match="another checksum"):
        read_weights(written(tmp_path, data))
    packed = makers.torch_zip(state, method=zipfile.ZIP_DEFLATED)
    np.testing.assert_array_equal(read_weights(written(tmp_path, packed))["w"], FLAT)


def test_against_pytorch(tmp_path):
    torch = pytest.importorskip("torch")
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.PReLU(4))
    state = net.state_dict()
    base = torch.randn(6, 8)
    state |= {"transposed": base.T, "slice": base[1:4, ::2], "half": base.half(), "brain": base.bfloat16()}
    state |= {"parameter": torch.nn.Parameter(base), "mask": base > 0, "byte": base.abs().byte(), "long": base.long()}
    optimiser = torch.optim.AdamW(net.parameters())
    net(torch.randn(2, 3, 5, 5)).sum().backward()
    optimiser.step()
    state |= {"expanded": base[:1].expand(4, 8), "none": base[:0], "buffer": base.clone()}
    state["buffer"].note = "an attribute of a tensor"
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": optimiser.state_dict(), "best": 0.25}
    beside = {"rng": torch.get_rng_state(), "np_rng": np.random.RandomState(0).get_state(), "best": np.float64(0.9)}
    beside |= {"args": argparse.Namespace(lr=0.1, path=Path("a"), device=torch.device("cpu")), "names": np.array(["a"])}
    beside |= {
        "generator": np.random.default_rng(0),
        "dtype": torch.float32,
        "net": net,
        "eight": base.to(torch.uint16),
    }
    beside |= {"complex": base.to(torch.complex64), "sparse": torch.eye(2).to_sparse(), "odd": {(1, 2): 3, None: 4}}
    beside |= {"loss": torch.nn.functional.relu, "set": {1}}
    for value in (state, checkpoint, checkpoint | beside):
        for new in (True, False):
            path = tmp_path / "model.pth"
            torch.save(value, path, _use_new_zipfile_serialization=new)
            read = read_weights(path)
            assert list(read) == list(state)
            for name, tensor in state.items():
                expected = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).detach().numpy()
                np.testing.assert_array_equal(read[name], expected, strict=True)
    torch.save(net, tmp_path / "module.pth")
    with pytest.raises(WeightsError, match=r"asks for torch\.nn\.modules\.container\.Sequential"):
        read_weights(tmp_path / "module.pth")
