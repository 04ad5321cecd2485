"""`experiments.angles` on runs that were never trained, with a network of one matrix: every figure against loops."""

import json
import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

import facenet_jax.train_step
from arcface_jax.train_step import init_state
from experiments import angles
from experiments.common import training_faces
from faces import backbone, cli, run_record
from faces.checkpoint import Checkpoints
from faces.data.fingerprint import fingerprint
from faces.data.open import open_source
from faces.data.source import ArraySource
from faces.errors import DataError, EvaluationError
from faces.evaluate.pair_set import PairSet
from faces.mesh import make_mesh
from recognizer import model as recognizer_model
from tests.arcface_jax import setting
from tests.arcface_jax.test_angles import loop_table3
from tests.faces import configs

IMAGES_OF = {"Ann": 3, "Bob": 5, "Cleo": 1, "Dan": 4, "Eve": 2}
LINES = ["1\t2", "Ann\t1\t2", "Bob\t3\t5", "Ann\t1\tBob\t2", "Cleo\t1\tDan\t4"]


@pytest.fixture(scope="module")
def faces_folder(tmp_path_factory) -> Path:
    """`train/` and `lfw/` with the same people of flat colour and noise, and a list of four pairs."""
    root = tmp_path_factory.mktemp("faces")
    rng = np.random.default_rng(0)
    for name in ("train", "lfw"):
        for person, count in IMAGES_OF.items():
            colour = rng.integers(60, 196, size=3)
            (root / name / person).mkdir(parents=True)
            for picture in range(1, count + 1):
                pixels = np.clip(colour + rng.integers(-60, 60, size=(*setting.SIZE, 3)), 0, 255).astype(np.uint8)
                cv2.imwrite(str(root / name / person / f"{person}_{picture:04d}.png"), pixels)
    (root / "lfw" / "pairs.txt").write_text("\n".join(LINES) + "\n")
    return root


@pytest.fixture(scope="module")
def run(tmp_path_factory, faces_folder: Path) -> Path:
    """The folder of a run of five people."""
    return save_run(tmp_path_factory.mktemp("run"), faces_folder / "train")


@pytest.fixture
def no_picture(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(angles, "_draw", lambda *_: None)


@pytest.fixture(autouse=True)
def one_matrix(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(recognizer_model, "backbone_of", lambda model, trained_as: setting.linear())


def save_run(folder: Path, data: Path, **changes: Any) -> Path:
    """The folder of an ArcFace run on those people of `data` before its first step; changes as for `setting.config`."""
    config = setting.config(**changes)
    state = init_state(config, make_mesh(2), setting.linear(), len(IMAGES_OF))
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(state, {}, config)
    run_record.write_start(folder, config, fingerprint(open_source(data).source))
    return folder


def embed(folder: Path, path: Path, people: dict[str, int]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """By the matrix itself: float64 embeddings of a folder's images in order, their labels, and the run's centres."""
    run = angles.open_run(folder)
    matrix, bias = (np.float64(run.params["fc"][key]) for key in ("kernel", "bias"))
    labels = np.repeat(np.arange(len(people)), list(people.values()))
    files = [path / person / f"{person}_{n + 1:04d}.png" for person, count in people.items() for n in range(count)]
    images = np.stack([cv2.imread(str(file))[..., ::-1] for file in files])
    pixels = (images.reshape(len(images), -1) - run.config.data.mean) / run.config.data.scale
    return pixels @ matrix + bias, labels, run.centres


def result_of(capsys, *given: object) -> dict[str, Any]:
    angles.main([str(argument) for argument in given])
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1].removeprefix("result: "))


def check(result: dict[str, Any], expected: dict[str, float | None], suffix: str) -> None:
    for key, value in expected.items():
        key = key if key.startswith("w_") else key + suffix
        assert result[key] == (None if value is None else pytest.approx(value, abs=1e-3)), key


def test_six_quantities_and_outputs(run: Path, faces_folder: Path, tmp_path: Path, capsys):
    out = tmp_path / "out"
    data = ["--data", str(faces_folder / "train"), "--eval", f"lfw={faces_folder / 'lfw'}"]
    angles.main([str(run), *data, "--out", str(out)])
    printed = capsys.readouterr().out
    result = json.loads(printed.strip().splitlines()[-1].removeprefix("result: "))
    assert result == json.loads((out / "angles.json").read_text())
    assert {path.name for path in out.iterdir()} == {".contents", "angles.json", "angles.png"}
    assert cv2.imread(str(out / "angles.png")).std() > 5

    x, labels, centres = embed(run, faces_folder / "train", IMAGES_OF)
    assert len(centres) == 64  # padded
    check(result, loop_table3(x, labels, centres[:5]), "1")
    in_list = {"Ann": [0, 1], "Bob": [1, 2, 4], "Cleo": [0], "Dan": [3]}
    y, _, _ = embed(run, faces_folder / "lfw", IMAGES_OF)
    first = dict(zip(IMAGES_OF, np.cumsum([0, *IMAGES_OF.values()]), strict=False))
    rows = [first[person] + n for person, numbers in in_list.items() for n in numbers]
    test = loop_table3(y[rows], np.repeat(np.arange(4), [2, 3, 1, 1]))
    check(result, {key: test[key] for key in ("intra", "inter")}, "2")
    assert result["test"]["people_with_one_image"] == 2 and result["train"]["people_with_one_image"] == 1
    assert (result["train"]["images"], result["train"]["people"]) == (15, 5)

    def angle(i: int, j: int) -> float:
        return float(np.degrees(np.arccos(y[i] @ y[j] / np.linalg.norm(y[i]) / np.linalg.norm(y[j]))))

    ann, bob, cleo, dan = (first[name] for name in ("Ann", "Bob", "Cleo", "Dan"))
    same = (angle(ann, ann + 1) + angle(bob + 2, bob + 4)) / 2
    different = (angle(ann, bob + 1) + angle(cleo, dan + 3)) / 2
    assert result["test"]["positive_pairs"] == pytest.approx(same, abs=1e-3)
    assert result["test"]["negative_pairs"] == pytest.approx(different, abs=1e-3)
    for number in (result["w_ec"], 44.26, 14.29, 55.94):
        assert f"{number:.2f}" in printed


@pytest.mark.usefixtures("no_picture")
def test_some_people_are_measured_as_if_they_were_all(run: Path, faces_folder: Path, tmp_path: Path, capsys):
    result = result_of(capsys, run, "--data", faces_folder / "train", "--images", 12, "--out", tmp_path)
    x, labels, centres = embed(run, faces_folder / "train", IMAGES_OF)
    order, taken = np.random.default_rng(0).permutation(5), []
    while sum(list(IMAGES_OF.values())[person] for person in [*taken, order[len(taken)]]) <= 12:
        taken.append(order[len(taken)])
    taken = sorted(taken)
    assert 2 <= len(taken) < 5 and taken != list(range(len(taken)))
    rows = np.isin(labels, taken)
    check(result, loop_table3(x[rows], np.searchsorted(taken, labels[rows]), centres[taken]), "1")
    assert result["train"]["people"] == len(taken)
    assert result["test"] is None and result["intra2"] is None and result["inter2"] is None


@pytest.mark.usefixtures("no_picture")
def test_other_heads(faces_folder: Path, tmp_path: Path, capsys):
    data = faces_folder / "train"
    linear = save_run(tmp_path / "linear", data, loss__classifier__kind="softmax")
    x, labels, centres = embed(linear, data, IMAGES_OF)
    assert centres.shape == (64, 7)
    check(result_of(capsys, linear, "--data", data), loop_table3(x, labels, centres[:5, :6]), "1")
    triplets = {"loss__classifier__kind": "none", "loss__triplet": 1.0, "loss__triplet_margin": 0.35}
    alone = save_run(tmp_path / "alone", data, **triplets, batch__images_per_identity=2)
    angles.main([str(alone), "--data", str(data)])
    printed = capsys.readouterr().out
    assert "no class centres" in printed
    result = json.loads(printed.splitlines()[-1].removeprefix("result: "))
    check(result, loop_table3(*embed(alone, data, IMAGES_OF)[:2]), "1")


@pytest.mark.usefixtures("no_picture")
def test_a_facenet_run(faces_folder: Path, tmp_path: Path, capsys):
    config = configs.tiny(model__input_size=setting.SIZE, model__embedding_dim=6)
    state = facenet_jax.train_step.init_state(config, make_mesh(1), backbone.normalised(setting.linear()))
    with Checkpoints(tmp_path / "checkpoints") as checkpoints:
        checkpoints.save(state, {}, config)
    run_record.write_start(tmp_path, config, fingerprint(open_source(faces_folder / "train").source))
    result = result_of(capsys, tmp_path, "--data", faces_folder / "train")
    check(result, loop_table3(*embed(tmp_path, faces_folder / "train", IMAGES_OF)[:2]), "1")
    assert (tmp_path / "angles.json").is_file() and result["w_inter"] is None


def pair_set(names: list[str], same: list[bool], missing: tuple[str, ...] = ()) -> PairSet:
    """Images 0 and 1 are the first pair, 2 and 3 the second, and so on."""
    images = np.random.default_rng(1).integers(0, 256, size=(len(names), *setting.SIZE, 3)).astype(np.uint8)
    rows = np.arange(len(names), dtype=np.int32).reshape(-1, 2)
    fold = np.zeros(len(rows), np.int32)
    first, second = rows.T
    return PairSet("made up", images, tuple(names), first, second, np.array(same), fold, missing, generated=True)


@pytest.mark.usefixtures("no_picture")
def test_generated_faces_are_the_default(run: Path, tmp_path: Path, capsys, monkeypatch: pytest.MonkeyPatch):
    names = [f"identity {n}, image {k}" for n, k in ((400, 0), (400, 7), (401, 2), (402, 0))]
    labels = np.repeat(np.arange(5), 3).astype(np.int32)
    faces = ArraySource("generated", np.random.default_rng(0).integers(0, 256, (15, 8, 8, 3)).astype(np.uint8), labels)
    monkeypatch.setattr(training_faces, "generated_faces", lambda **_: faces)
    monkeypatch.setattr(training_faces, "generated_pair_set", lambda **_: pair_set(names, [True, False]))
    own = tmp_path / "run"
    shutil.copytree(run, own)
    run_record.write_start(own, setting.config(), fingerprint(faces))
    result = result_of(capsys, own, "--out", tmp_path / "out")
    assert (result["train"]["images"], result["train"]["people"]) == (15, 5)
    assert (result["test"]["images"], result["test"]["people"], result["test"]["people_with_one_image"]) == (4, 3, 2)


@pytest.mark.parametrize(
    "names",
    [
        ["identity 4, image 1", "identity 4, image 11", "identity 4, image 2", "identity 41, image 2"],
        ["A_B/A_B_0001.jpg", "A_B/A_B_0002.jpg", "A_B/A_B_0003.jpg", "A_C/A_C_0001.jpg"],
        ["I/004/frontal/1.jpg", "I/004/profile/1.jpg", "I/004/frontal/2.jpg", "I/007/profile/1.jpg"],
        ["A_B_0001.jpg", "A_B_0002.jpg", "A_B_0003.jpg", "A_C_0001.jpg"],
    ],
    ids=["generated", "LFW", "CFP", "CALFW"],
)
def test_people_of_every_layout(names: list[str]):
    assert angles.people_of(pair_set(names, [True, False])).tolist() == [0, 0, 0, 1]
    with pytest.raises(DataError, match=f"{names[0]} and {names[1]} are a pair of two people by the list"):
        angles.people_of(pair_set(names, [False, False]))


def test_a_missing_image_is_left_out_only_if_asked(tmp_path: Path):
    names = ["A/A_1.jpg", "A/A_2.jpg", "A/A_3.jpg", "B/B_1.jpg", "C/C_1.jpg", "C/C_2.jpg"]
    test = pair_set(names, [True, False, True], missing=("B/B_1.jpg",))
    with pytest.raises(EvaluationError, match=r"1 images are missing \(B/B_1.jpg\); .*--allow-missing"):
        angles.people_of(test)
    assert angles.people_of(test, allow_missing=True).tolist() == [0, 0, 0, -1, 1, 1]


def test_what_does_not_fit_is_one_sentence(
    run: Path, faces_folder: Path, tmp_path: Path, capsys
):
    def refused(*given: object, words: str) -> None:
        assert cli.exit_code(angles.main, [str(argument) for argument in given]) == 2
        message = capsys.readouterr().err.strip()
        assert message.startswith("error: ") and words in message and len(message.splitlines()) == 1, message

    own, data = tmp_path / "run", faces_folder / "train"
    shutil.copytree(run, own)
    refused(tmp_path, words="no run lies there")
    refused(own, "--data", data, "--images", 2, words="--images 2: does not hold two people's images")
    refused(own, "--data", data, "--only", own / "result.json", words="result.json: cannot be read")
    refused(own, "--data", data, "--out", own / "config.toml", words="config.toml: is a file")
    refused(own, "--data", faces_folder / "lfw", words="is another set: the images of 5 are others, first")
    (own / "training_set.json").unlink()
    refused(own, "--data", data, words="does not tell what it was trained on")
    (own / "environment.json").unlink()
    refused(own, "--data", data, words="environment.json: cannot be read")
    with pytest.raises(DataError, match=r"a \.bin file has none"):
        angles.people_of(pair_set([f"image {number}" for number in range(4)], [True, False]))
