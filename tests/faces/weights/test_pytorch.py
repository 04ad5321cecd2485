"""PyTorch's checkpoints: tensors as they look into storages, state dicts inside others, attacks; and PyTorch's own."""

import pickle
import struct
import zipfile

import numpy as np
import pytest

from faces.errors import WeightsError
from faces.weights import read_weights
from tests.faces.data.pair_makers import attacks
from tests.faces.weights import makers
from tests.faces.weights.makers import Global, Ordered, Storage, Tensor
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
    )
    read = read_weights(written(tmp_path, save(state)))
    np.testing.assert_array_equal(read["transposed"], FLAT.reshape(6, 4).T)
    np.testing.assert_array_equal(read["inner"], [[7, 9], [13, 15]])
    np.testing.assert_array_equal(read["last"], [23])
    np.testing.assert_array_equal(read["parameter"], FLAT.reshape(2, 3, 4))
    assert read["empty"].shape == (3, 0)
    assert np.shares_memory(read["transposed"], read["parameter"])


@pytest.mark.parametrize(
    ("offset", "shape", "strides", "message"),
    [
        (1, (24,), (1,), "w goes beyond its storage"),
        (0, (2, 2), (24, 1), "w goes beyond its storage"),
        (0, (5, 5), (0, 1), "w is larger than its storage"),
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


def test_what_is_no_state_dict(tmp_path, save):
    tensor = Tensor(Storage("0", FLAT), 0, (2,), (1,))
    for value, message in [
        ({"weights": {"w": tensor}, "epoch": 1}, r"no state dict under its keys \(weights, epoch\)"),
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
    checkpoint = {"epoch": 3, "state_dict": state, "optimizer": optimiser.state_dict(), "best": 0.25}
    for value in (state, checkpoint):
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
