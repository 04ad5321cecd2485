"""What the code says about the papers holds: tags, deviations, the section map, the heads and sources of configs."""

import ast
import itertools
import re
import shlex
import tomllib
from functools import cache, partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import pytest

import arcface_jax.config
import facenet_jax.config
import mtcnn_jax.config
import retinaface_jax.config
from experiments import arcface, facenet, mtcnn, retinaface
from faces.config import RunConfig
from faces.mesh import make_mesh
from faces.schema import Checked, flatten
from faces.toml_config import load_config, paper_of, shipped_configs
from recognizer.networks import backbone_of
from tests.prose import ROOT, name_of, prose

CONFIGS = ROOT / "paper_configs"

PAPERS = ("facenet", "arcface", "mtcnn", "retinaface")
PACKAGES = (*PAPERS, "scrfd")
"""Also that of a paper whose networks are not trained here, and which has no configs."""
TITLES = {"facenet": "FaceNet", "arcface": "ArcFace", "mtcnn": "MTCNN", "retinaface": "RetinaFace", "scrfd": "SCRFD"}
MAINS = {"facenet": facenet, "arcface": arcface, "mtcnn": mtcnn, "retinaface": retinaface}
SCHEMAS = {
    "facenet": facenet_jax.config.Config,
    "arcface": arcface_jax.config.Config,
    "mtcnn": mtcnn_jax.config.Config,
    "retinaface": retinaface_jax.config.Config,
}
OURS_ALONE = {f"{paper}/{name}" for paper in ("facenet", "arcface") for name in ("small", "tiny")}
"""Configs that have one source for all values."""
OURS = OURS_ALONE | {"arcface/robust", "mtcnn/scenes", "retinaface/scenes"}
PUBLIC_MODULES = {
    "facenet": (
        *("losses", "mining", "mining_fast", "sampling", "train_step", "gradient_cache", "auxiliary", "monitor"),
        *("fitting", "summary", "related/pairs", "related/objective"),
        *(f"related/{kind}" for kind in ("contrastive", "deepid2", "triplet_variant", "batch_hard", "batch_all")),
        *(f"related/{kind}" for kind in ("batch_all_fast", "margin_loss", "coupled_clusters", "lifted_structure")),
        *("related/n_pair", "related/circle"),
    ),
    "arcface": (
        *("margins", "losses", "head", "head_blocks", "centres", "partial_fc", "sub_center"),
        *("angles", "sampling", "train_step", "monitor", "fitting", "classifiers"),
        *(f"related/{kind}" for kind in ("l_softmax", "center_loss", "sphereface", "norm_face", "mv_softmax")),
        *(f"related/{kind}" for kind in ("curricular_face", "circle", "magface", "adaface", "elastic_face")),
        *("related/focal", "related/ohem"),
    ),
    "mtcnn": (
        *("networks", "pyramid", "stages", "detector", "windows", "examples", "losses", "train_step", "weights"),
    ),
    "retinaface": (
        *("network", "bodies", "layers", "anchors", "decode", "detector", "matching", "losses", "train_step"),
        *("augment", "examples", "weights"),
    ),
    "scrfd": (
        *("architectures", "layers", "bodies", "network", "decode", "detector", "weights", "onnx_names"),
    ),
}
MODULES = [(paper, module) for paper in PACKAGES for module in PUBLIC_MODULES[paper]]
# What the section map must reach: FaceNet's equations 1 to 7 are all, ArcFace's 7 is v4's.
PLACES = {
    "facenet": [
        *("Sec. 3", "Sec. 3.1", "Sec. 3.2", "Sec. 3.3", "Sec. 4", "Sec. 5.6"),
        *(f"Eq. {number}" for number in range(1, 8)),
        *(f"Table {number}" for number in range(1, 7)),
    ],
    "arcface": [
        *("Sec. 3.1", "Sec. 3.2", "Table 2", "Table 3", "Table 4"),
        *(f"Eq. {number}" for number in range(1, 8)),
    ],
    "mtcnn": [
        *("Sec. II-A", "Sec. II-B", "Sec. II-C", "Sec. III-A", "Fig. 1", "Fig. 2", "Table I"),
        *(f"Eq. {number}" for number in range(1, 5)),
    ],
    "retinaface": ["Sec. 3.1", "Sec. 4.2", "Eq. 1", "Table 2"],
    "scrfd": ["Sec. 4", "Sec. 5"],
}
PAPER_CODE = [(paper, path) for paper in PACKAGES for path in sorted((ROOT / f"{paper}_jax").rglob("*.py"))]
FOLDERS = ("faces", "recognizer", "experiments", "examples")
ALL_CODE = sorted([path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py")])
ALL_CODE += [path for _, path in PAPER_CODE]

DEVIATION = re.compile(r"\bD\d{2}\b")
FOREIGN_TAG = re.compile(r"\b(?:TODO|FIXME|XXX|HACK|BUG|NOTE|WARNING)\b|\b(?i:todo|fixme|hack|note|warning)\s?:")
LIKE_A_TAG = re.compile(r"^\W*([A-Z]{3,})(?: [^.:\n]{0,20}(?:\.\s?\d[\d.]*)?)?:", re.M)
PLACE = re.compile(r"(Sec\. (?:\d|[IVX]+\b)|Tables? (?:\d|[IVX]+\b)|Eq\. \(?\d|Appendix)")
SOURCES = ("Sec. ", "Table ", "Eq. ", "Appendix", "inferred: ", "ours: ")
REPOSITORY = re.compile(r"[\w.-]+/[\w.-]+: \S")
"""A source that is somebody's code, by its owner and name: "biubug6/Pytorch_Retinaface: image_size 640"."""


def wrong_tags(text: str) -> list[str]:
    """Tag-like words of a comment or docstring that are none of PAPER, CHOICE and DEVIATION Dnn."""
    found = [match.group() for match in FOREIGN_TAG.finditer(text)]
    found += [m.group() for m in LIKE_A_TAG.finditer(text) if m.group(1) not in ("PAPER", "CHOICE", "DEVIATION")]
    found += re.findall(r"\b(?:paper|choice|deviation)\s?:|\b(?:Paper|Choice|Deviation):", text)
    return found + re.findall(r"\bDEVIATIONS?\b(?! D\d\d\b)(?!S?\.md)", text)


@pytest.mark.parametrize(
    "comment",
    [
        "# TODO later",
        "# x is y  # fixme: no",
        "Note: the mean",
        "# PERF: slow",
        "# Choice: we take it",
        "# DEVIATION: the sum",
        "# DEVIATION 1: the sum",
        "FACT Sec. 3.2: so it is",
    ],
)
def test_foreign_tags_are_seen(comment):
    assert wrong_tags(comment)


@pytest.mark.parametrize(
    "comment",
    [
        "# CHOICE: this",
        "# PAPER Sec. 3.2: that",
        "(PAPER, without a number)",
        "# DEVIATION D01: the sum",
        "see DEVIATIONS.md",
        "Args:\n    x: y",
        "counts the ROC: at every threshold",
    ],
)
def test_tags_of_the_house_pass(comment):
    assert not wrong_tags(comment)


def test_only_the_three_tags():
    assert not [(name_of(path), tag) for path in ALL_CODE for text in prose(path) for tag in wrong_tags(text)]


def test_deviations_are_tagged_and_explained():
    text = (ROOT / "DEVIATIONS.md").read_text(encoding="utf-8")
    entries = re.split(r"^## ", text, flags=re.M)[1:]
    numbers = [entry[:3] for entry in entries]
    assert numbers == sorted(set(numbers)), "each number once, in order; gaps are for what has been taken back"
    for entry in entries:
        assert re.match(r"D\d\d: \S", entry)
        assert re.findall(r"^- \*\*([\w ]+)\*\*", entry, re.M) == ["The paper", "Here", "Why", "Effect"]

    texts = {name_of(path): "\n".join(prose(path)) for path in ALL_CODE}
    texts |= {name_of(path): path.read_text(encoding="utf-8") for path in CONFIGS.rglob("*.toml")}
    tagged = {number for text in texts.values() for number in re.findall(r"DEVIATION (D\d\d):", text)}
    assert tagged == set(numbers)
    texts |= {name_of(path): path.read_text(encoding="utf-8") for path in ROOT.glob("*_jax/README.md")}
    mentioned = {(place, number) for place, text in texts.items() for number in DEVIATION.findall(text)}
    assert not [(place, number) for place, number in sorted(mentioned) if number not in numbers]


# The section map.


@cache
def defined_names(path: Path) -> frozenset[str]:
    """Functions, classes and constants of a file, and the methods and fields of its classes as Class.name."""

    def of_body(body: list[ast.stmt], prefix: str) -> set[str]:
        names = set()
        for node in body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef):
                names.add(prefix + node.name)
                if isinstance(node, ast.ClassDef):
                    names |= of_body(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                names |= {prefix + target.id for target in targets if isinstance(target, ast.Name)}
        return names

    return frozenset(of_body(ast.parse(path.read_text(encoding="utf-8")).body, ""))


def readme(paper: str) -> str:
    return (ROOT / f"{paper}_jax" / "README.md").read_text(encoding="utf-8")


def code_references(paper: str) -> list[tuple[str, str]]:
    """(file, name) of each `file.py:name` in the package's README."""
    return re.findall(r"`([\w/]+\.py):([\w.]+)`", readme(paper))


@pytest.mark.parametrize("paper", PACKAGES)
def test_section_map_points_at_code(paper):
    references = code_references(paper)
    assert len(references) > (40 if paper in PAPERS else 30)
    lost = []
    for file, name in references:
        path = (ROOT if file.startswith(("faces/", "recognizer/", "experiments/")) else ROOT / f"{paper}_jax") / file
        if not path.is_file() or name not in defined_names(path):
            lost.append(f"{file}:{name}")
    assert not lost


@pytest.mark.parametrize("paper", PACKAGES)
def test_section_map_covers_the_paper(paper):
    places = " ".join(line.split("|")[1] for line in readme(paper).splitlines() if line.startswith("|"))
    assert not [place for place in PLACES[paper] if not re.search(re.escape(place) + r"(?!\.?\d)", places)]


@pytest.mark.parametrize(("paper", "module"), MODULES)
def test_section_map_names_all_public_functions(paper, module):
    named = set(code_references(paper))
    assert not {(f"{module}.py", node.name) for node in public(paper, module)} - named


@pytest.mark.parametrize("paper", PAPERS)
def test_section_map_names_all_configs(paper):
    patterns = re.findall(r"`(paper_configs/[^`]*\.toml)`", readme(paper))
    matched = [sorted(ROOT.glob(pattern)) for pattern in patterns]
    assert all(matched), patterns
    expected = [CONFIGS / f"{name}.toml" for name in shipped_configs() if paper_of(name) == paper]
    assert sorted(path for paths in matched for path in paths) == sorted(expected)


# Docstrings.


def public(paper: str, module: str) -> list[ast.FunctionDef | ast.ClassDef]:
    """Public functions and classes of a module of the paper's package."""
    body = ast.parse((ROOT / f"{paper}_jax" / f"{module}.py").read_text(encoding="utf-8")).body
    return [n for n in body if isinstance(n, ast.FunctionDef | ast.ClassDef) and not n.name.startswith("_")]


@pytest.mark.parametrize(("paper", "module"), MODULES)
def test_public_functions_are_documented(paper, module):
    assert public(paper, module)
    assert not [node.name for node in public(paper, module) if not ast.get_docstring(node)]


@pytest.mark.parametrize(("paper", "path"), PAPER_CODE, ids=[name_of(path) for _, path in PAPER_CODE])
def test_module_headers(paper, path):
    header = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
    is_named = PLACE.search(header) or f"{TITLES[paper]} has none" in header
    assert is_named, "the header names no section or table of the paper"
    assert re.search(r"^Not here: \S", header, re.M)


# Configs.


def load(name: str) -> tuple[Checked, dict[str, Any]]:
    """A shipped config by its paper's schema, and its sources."""
    return load_config(name, SCHEMAS[paper_of(name)])


def head(name: str) -> str:
    """The comment that opens a config's file."""
    lines = (CONFIGS / f"{name}.toml").read_text(encoding="utf-8").splitlines()
    return "\n".join(itertools.takewhile(lambda line: line.startswith("#"), lines))


def test_there_are_configs_for_every_table():
    names = shipped_configs()
    assert len(names) == len([*CONFIGS.rglob("*.toml")])
    assert set(names) > OURS
    assert {paper_of(name) for name in names} == set(PAPERS)


@pytest.mark.parametrize("name", shipped_configs())
def test_every_value_has_a_source(name):
    config, sources = load(name)
    flat = flatten(sources)
    assert set(flat) == set(flatten(config))
    starts = ("ours",) if name in OURS_ALONE else SOURCES
    unknown = {key: source for key, source in flat.items() if not source.startswith(starts)}
    assert not {key: source for key, source in unknown.items() if not REPOSITORY.match(source)}


def test_sources_of_another_kind_are_seen():
    for source in ("biubug6/Pytorch_Retinaface: 0.35", "deepinsight/insightface: scale 64"):
        assert REPOSITORY.match(source)
    for source in ("the PyTorch edition: 0.35", "biubug6: 0.35", "a guess", "biubug6/Pytorch_Retinaface:"):
        assert not REPOSITORY.match(source) and not source.startswith(SOURCES)


@pytest.mark.parametrize("name", shipped_configs())
def test_what_differs_from_the_base_brings_its_own_source(name):
    tables = tomllib.loads((CONFIGS / f"{name}.toml").read_text(encoding="utf-8"))
    if "base" in tables:
        sources = tables.pop("source")
        del tables["base"]
        assert set(flatten(tables)) <= set(flatten(sources))


@pytest.mark.parametrize("name", shipped_configs())
def test_head_of_config(name):
    text = head(name)
    fields = dict(re.findall(r"^# (run|takes|expect): +(\S.*)$", text, re.M))
    assert list(fields) == ["run", "takes", "expect"]
    assert "Run by us." in text or "Ours: not run" in text
    assert ("Ours, not the paper's" in text) == (name in OURS)
    if name not in OURS:
        assert PLACE.search(text.splitlines()[0]), "the first line names no section or table of the paper"

    words = shlex.split(fields["run"])
    assert words[:3] == ["python", "-m", f"experiments.{paper_of(name)}"]
    options, config = MAINS[paper_of(name)].parse(words[3:])
    assert options.config == name
    assert config == load(name)[0]


BY_NAME = [(paper_of(name), load(name)[0]) for name in shipped_configs()]
MODELS = sorted({(paper, config.model) for paper, config in BY_NAME if isinstance(config, RunConfig)}, key=str)


@pytest.mark.parametrize(("paper", "model"), MODELS, ids=[f"{p}-{m.name}-{m.embedding_dim}" for p, m in MODELS])
def test_network_of_config_builds(paper, model):
    backbone = backbone_of(model, paper)
    params, batch_stats = jax.eval_shape(backbone.init, jax.random.key(0))
    assert bool(batch_stats) == (model.batch_norm != "none")
    images = jax.ShapeDtypeStruct((2, *model.input_size, 3), jnp.float32)
    embeddings, _ = jax.eval_shape(lambda p, b, x: backbone.apply(p, b, x, False), params, batch_stats, images)
    assert (embeddings.shape, embeddings.dtype) == ((2, model.embedding_dim), jnp.float32)


DETECTORS = [name for name in shipped_configs() if paper_of(name) in ("mtcnn", "retinaface")]


@pytest.mark.parametrize("name", DETECTORS)
def test_networks_of_a_detector_build(name):
    config, mesh = load(name)[0], make_mesh(1)
    if isinstance(config, mtcnn_jax.Config):
        states = [partial(mtcnn_jax.init_state, net, config.stage(net), mesh) for net in mtcnn_jax.NAMES]
    else:
        assert isinstance(config, retinaface_jax.Config)
        states = [partial(retinaface_jax.init_state, config, mesh)]
    for state in map(jax.eval_shape, states):
        assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves((state.params, state.batch_stats)))
