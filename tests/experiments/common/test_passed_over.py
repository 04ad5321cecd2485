"""What commands say of what they pass over, and that training says it too."""

import io
from pathlib import Path

from arcface_jax.config import Config
from experiments.common import passed_over
from experiments.common.training_faces import training_faces
from faces.terminal import make_console
from faces.toml_config import load_config
from tests.faces.data.makers import encoded, image_folder, picture


def test_reasons_with_their_first_names_the_most_frequent_first():
    text = io.StringIO()
    passed_over.tell(make_console(file=text), {"a": "one", **{f"[b{n}]": "many" for n in range(7)}})
    passed_over.tell(make_console(file=text), {})
    assert text.getvalue() == "passed over: 8\n  many: [b0], [b1], [b2], [b3], [b4] and 2 more\n  one: a\n"


def test_training_on_a_folder_says_what_it_passed_over(tmp_path: Path):
    root = image_folder(tmp_path / "in", {name: [encoded(picture(0))] * 2 for name in ("ann", "bob")})
    (root / "bob" / "raw.NEF").write_bytes(b"MM\0*")
    text = io.StringIO()
    config, _ = load_config("arcface/tiny", Config)
    source = training_faces(root, config, make_console(file=text))
    assert len(source) == 4
    assert text.getvalue().splitlines() == [
        f"passed over in {root}: 1",
        "  a raw camera file; export it as JPEG or TIFF: bob/raw.NEF",
    ]
