"""Identification, IJB and MegaFace from pictures to the number, against loops over embeddings made one at a time."""

import functools
import json
import re
import shutil
from pathlib import Path
from types import ModuleType

import cv2
import numpy as np
import pytest

from experiments import identify, ijb, megaface
from faces.data.ijb import read_ijb_faces
from faces.data.image_folder import FolderSource
from faces.data.images import decode_image
from faces.data.megaface import feature_path, read_feature
from faces.preprocessing import Preprocessing, align
from recognizer.model import open_model
from tests.experiments import protocol_maker
from tests.experiments.protocol_maker import picture
from tests.experiments.setting import one_matrix_model, refused, result_of, run, run_in_parts


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory, one_matrix: list[str]) -> Path:
    return one_matrix_model(tmp_path_factory.mktemp("protocols") / "model")


opened_once = functools.lru_cache(open_model)


def embed(model: Path, image: np.ndarray, points: np.ndarray | None = None) -> np.ndarray:
    """Of one picture, float64, with the length that the network gives."""
    opened = opened_once(model)
    how: Preprocessing = opened.preprocessing
    if points is not None:
        how = Preprocessing(how.size, "rgb", how.mean, how.scale, "five_points", 0.0, 0, how.box, how.flip)
    pixels = (align(how, image, None, points).astype(np.float32) - how.mean) / how.scale
    both = [opened.apply(opened.params, opened.batch_stats, p[None], False)[0][0] for p in (pixels, pixels[:, ::-1])]
    return np.sum(np.array(both, np.float64), axis=0)


def unit(x: np.ndarray) -> np.ndarray:
    return x / np.sqrt(np.sum(np.square(x), axis=-1, keepdims=True))


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight people with one to four pictures."""
    root, rng = tmp_path_factory.mktemp("people"), np.random.default_rng(1)
    for person, count in enumerate((1, 3, 2, 1, 4, 2, 1, 3)):
        folder, colour = root / f"P_{person}", rng.integers(60, 196, size=3)
        folder.mkdir()
        for number in range(1, count + 1):
            cv2.imwrite(str(folder / f"P_{person}_{number:04d}.png"), picture(rng, colour))
    return root


def test_identification_is_the_loop(model: Path, people: Path, tmp_path: Path, capsys):
    given = ["--weights", str(model), "--data", str(people), "--cache", str(tmp_path / "cache"), "--out"]
    refused(identify.main, capsys, [*given, str(tmp_path / "none")], "17 pictures, the whole set has 13,233")
    assert not (tmp_path / "none").exists()
    printed = run(identify.main, [*given, str(tmp_path / "out"), "--whole", "17"])
    result = result_of(printed)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert "17 photographs, taken whole, as alignment fixed_box says; no face was looked for" in printed
    source = FolderSource(people)
    x = unit(np.stack([embed(model, source[row]) for row in range(len(source))]))
    first = [int(np.flatnonzero(source.identities == person)[0]) for person in range(8)]
    probes = [row for row in range(17) if row not in first]

    def search(row: int, gallery: list[int]) -> tuple[int, float]:
        return max(((source.identities[g], float(x[row] @ x[g])) for g in gallery), key=lambda pair: pair[1])

    hits = [search(row, first)[0] == source.identities[row] for row in probes]
    assert result["rank_1"] == pytest.approx(np.mean(hits)) and 0 < np.mean(hits) <= 1
    known = [row for row in first if np.sum(source.identities == source.identities[row]) > 1]
    threshold = max(search(row, known)[1] for row in set(first) - set(known))  # no distractor of three may pass
    found = [(person == source.identities[row], score) for row in probes for person, score in [search(row, known)]]
    assert result["dir_at_far_1e-2"] == pytest.approx(np.mean([hit and score > threshold for hit, score in found]))
    assert result["threshold"] == pytest.approx(threshold, abs=1e-5)
    assert result["closed_set"] == {"gallery": 8, "probes": 9} and not result["partial"] and result["coverage"] == 1
    assert result["open_set"] == {"gallery": 5, "probes": 9, "distractors": 3}
    for name in ("cmc", "dir"):
        assert cv2.imread(str(tmp_path / "out" / f"{name}.png")).std() > 5
    partial = result_of(run(identify.main, [*given, str(tmp_path / "some"), "--allow-missing"]))
    assert partial["partial"] and partial["remark"].startswith("PARTIAL: 17 of 13,233") and partial["rank_1"] > 0


@pytest.mark.parametrize(("persons", "sentence"), [((0, 3), "one picture"), ((1, 2), "several pictures")])
def test_identification_needs_distractors_and_others(
    model: Path, people: Path, tmp_path: Path, capsys, persons: tuple[int, ...], sentence: str
):
    for person in persons:
        shutil.copytree(people / f"P_{person}", tmp_path / "some" / f"P_{person}")
    given = ["--weights", str(model), "--data", str(tmp_path / "some"), "--cache", str(tmp_path / "cache")]
    given += ["--whole", "0", "--out", str(tmp_path / "out")]
    refused(identify.main, capsys, given, f"everybody has {sentence}; there must be people with several")
    assert not (tmp_path / "cache").exists() and not (tmp_path / "out").exists()  # before anything is looked at


@pytest.fixture(scope="module")
def ijbc(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return protocol_maker.ijbc(tmp_path_factory.mktemp("ijbc"))


def loop_templates(model: Path, root: Path, whole: bool) -> dict[int, np.ndarray]:
    """Feature of each template; `whole` keeps lengths, weighs by score, and takes the mean of media, not of faces."""
    faces, features = read_ijb_faces(root / "meta", "ijbc"), {}
    for template in sorted(set(faces.template.tolist())):
        total = 0.0
        for media in sorted(set(faces.media[faces.template == template].tolist())):
            rows = [row for row in np.flatnonzero(faces.template == template) if faces.media[row] == media]
            each = []
            for row in rows:
                path = root / "loose_crop" / faces.images[row]
                x = embed(model, decode_image(path.read_bytes(), ""), faces.points[row])
                each.append(x * float(faces.score[row]) if whole else unit(x))
            total = total + sum(each) / (len(each) if whole else 1)
        features[template] = unit(np.asarray(total))
    return features


@pytest.mark.parametrize("whole", [True, False])
def test_ijb_is_the_loop(model: Path, ijbc: Path, tmp_path: Path, whole: bool):
    given = ["--weights", str(model), "--data", str(ijbc), "--set", "ijbc", "--alignment", "five_points"]
    given += [] if whole else ["--face-length", "unit", "--score", "ignore", "--centre", "faces"]
    printed = run(ijb.main, [*given, "--cache", str(tmp_path / "cache"), "--out", str(tmp_path / "out")])
    result = result_of(printed)
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    assert result["centre"] == ("media" if whole else "faces")
    x = loop_templates(model, ijbc, whole)
    scores = {(g, p): float(x[g] @ x[p]) for g in range(6) for p in range(10, 16)}
    wrong = sorted((s for (g, p), s in scores.items() if p != 10 + g), reverse=True)
    tar = np.mean([scores[g, 10 + g] > wrong[3] for g in range(6)])  # 3 of 30 may pass
    assert result["tar_at_far"]["1e-1"] == pytest.approx(tar)
    best = [max(range(6), key=lambda g, p=p: scores[g, p]) == p - 10 for p in range(10, 16)]
    assert result["rank_1_joined"] == pytest.approx(np.mean(best))
    halves = [(range(3), range(10, 13)), (range(3, 6), range(13, 16))]
    ranks = [np.mean([max(gs, key=lambda g, p=p: scores[g, p]) == p - 10 for p in ps]) for gs, ps in halves]
    assert result["cmc"][0] == pytest.approx(np.mean(ranks))
    assert (result["same_pairs"], result["different_pairs"], result["partial"]) == (6, 30, False)
    for name in ("roc", "cmc"):
        assert cv2.imread(str(tmp_path / "out" / f"{name}.png")).std() > 5


@pytest.mark.parametrize("main", [ijb, identify])
def test_several_processes_are_one(main: ModuleType, model: Path, ijbc: Path, people: Path, tmp_path: Path):
    given = ["--weights", str(model), "--data", str(ijbc if main is ijb else people)]
    given += ["--set", "ijbc", "--alignment", "five_points"] if main is ijb else ["--whole", "0"]
    alone = run(main.main, [*given, "--cache", str(tmp_path / "own"), "--out", str(tmp_path / "one")])
    printed = run_in_parts(main.main, given, tmp_path, 3)
    assert [entry.name for entry in tmp_path.glob("of*")] == ["of0"]
    one, of_three = ({**result_of(lines), "images_per_second": 0} for lines in (alone, printed))
    assert one == of_three
    embedded = [int(re.findall(r"(\d+) faces embedded", line)[0]) for line in printed if line.startswith("process ")]
    count = len(list((ijbc / "loose_crop").iterdir())) if main is ijb else 17
    assert sum(embedded) == count and max(embedded) - min(embedded) <= 1 and len(embedded) == 3
    assert f"embeddings of {count} pictures are from the cache" in printed


def test_ijb_without_a_face(model: Path, ijbc: Path, tmp_path: Path, capsys):
    folder = tmp_path / "ijbc"
    shutil.copytree(ijbc, folder)
    (folder / "loose_crop" / "0.png").unlink()
    given = ["--weights", str(model), "--data", str(folder), "--set", "ijbc", "--cache", str(tmp_path / "cache")]
    given += ["--out", str(tmp_path / "out")]
    refused(ijb.main, capsys, given, "1 of the faces that the list names are missing (0.png)")
    assert not (tmp_path / "out").exists() and not (tmp_path / "cache").exists()
    result = result_of(run(ijb.main, [*given, "--allow-missing"]))
    assert result["partial"] and result["remark"].startswith("PARTIAL IJBC: ")
    refused(ijb.main, capsys, [*given, "--set", "ijbb", "--overwrite"], "ijbb_face_tid_mid.txt: cannot be read")


@pytest.fixture(scope="module")
def crowd(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return protocol_maker.megaface(tmp_path_factory.mktemp("megaface"))


def test_megaface_is_the_loop(model: Path, crowd: Path, tmp_path: Path, capsys):
    features = tmp_path / "features"
    given = ["--data", str(crowd), "--features", str(features), "--far", "0.1", "--out", str(tmp_path / "out")]
    refused(megaface.main, capsys, given, "9 of 9 features of facescrub by ours are missing (P_0/P_0_0.png")
    refused(megaface.main, capsys, [*given, "--flip", "sum", "--select", "best"],
            "--select and --flip change nothing: without --weights no face is looked at")  # fmt: skip
    by_model = [*given, "--weights", str(model), "--cache", str(tmp_path / "cache")]
    result = result_of(run(megaface.main, by_model))
    assert result == json.loads((tmp_path / "out" / "result.json").read_text())
    known = [f"P_{p}/P_{p}_{n}.png" for p in range(3) for n in range(3)]
    x = np.stack([unit(embed(model, decode_image((crowd / f"facescrub_images/{n}").read_bytes(), ""))) for n in known])
    stored = np.stack([read_feature(feature_path(features, "facescrub", name, "ours")) for name in known])
    np.testing.assert_allclose(stored, x, atol=1e-5)
    paths = [feature_path(features, "megaface", f"01/{s}@N/0.png", "ours") for s in range(10)]
    distractors = np.stack([read_feature(path) for path in paths])
    against = stored.astype(np.float64) @ distractors.T
    trials = [(i, float(stored[i] @ stored[j])) for i in range(9) for j in range(9) if i // 3 == j // 3 and i != j]
    assert result["trials"] == 18
    assert result["rank_1"] == pytest.approx(np.mean([against[i].max() < match for i, match in trials]))
    cut = np.sort(against.ravel())[::-1][9]  # 9 of 90 may pass
    assert result["tar_at_far_1e-1"] == pytest.approx(np.mean([match > cut for _, match in trials]))
    assert cv2.imread(str(tmp_path / "out" / "cmc.png")).std() > 5

    refused(megaface.main, capsys, given, "holds results already; name another folder, or replace them with --over")
    given, by_model = [*given, "--overwrite"], [*by_model, "--overwrite"]
    without_model = result_of(run(megaface.main, given))  # the features are there
    assert {key: without_model[key] for key in ("rank_1", "cmc", "far", "partial")} == {
        key: result[key] for key in ("rank_1", "cmc", "far", "partial")
    }
    dropped = result_of(run(megaface.main, [*given, "--noises", "drop"]))
    assert (dropped["probes"], dropped["distractors"], dropped["trials"]) == (8, 9, 14)
    feature_path(features, "megaface", "01/7@N/0.png", "ours").unlink()
    refused(megaface.main, capsys, given, "1 of 10 features of megaface by ours are missing (01/7@N/0.png)")
    partial = result_of(run(megaface.main, [*given, "--allow-missing"]))
    assert partial["partial"] and partial["distractors"] == 9
    refused(megaface.main, capsys, [*by_model, "--flip", "none"], "was made by flip sum, and here is flip none")
    again = result_of(run(megaface.main, by_model))  # one picture is embedded, and only that one
    assert again["rank_1"] == result["rank_1"] and not again["partial"]
    (features / "ours_made_by.txt").unlink()
    refused(megaface.main, capsys, by_model, "19 features by ours are there, and ours_made_by.txt", "--algorithm")


def test_megaface_without_a_picture(model: Path, crowd: Path, tmp_path: Path, capsys):
    data = tmp_path / "data"
    shutil.copytree(crowd, data)
    (data / "megaface_images/01/3@N/0.png").unlink()
    given = ["--data", str(data), "--features", str(tmp_path / "f"), "--out", str(tmp_path / "out"), "--weights"]
    refused(megaface.main, capsys, [*given, str(model)], "1 of the pictures that the lists name are missing", "01/3@N")
    assert not (tmp_path / "f").exists()
