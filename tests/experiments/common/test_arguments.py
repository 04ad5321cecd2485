"""Places and names on the command line: what cannot be a file's name is refused before anything else happens."""

import argparse
from pathlib import Path

import pytest

from experiments import angles, evaluate, image_quality
from experiments.common.arguments import AppendNamed, named_path, place

GOOD = ["lfw", "cfp_fp", "x [y] $z %s {0}", "李", "a" * 100, "-x"]
BAD = {"a/b": "slash", "..": "dot", ".x": "dot", "a\\b": "slash", "a\nb": "printed", "\x1b[31m": "printed",
       "\udcff": "printed", " a": "space", "ü" * 51: "longer"}  # fmt: skip


@pytest.mark.parametrize("name", GOOD)
def test_names_that_files_can_have(name: str):
    assert named_path(f"{name}=a=b") == (name, Path("a=b"))


@pytest.mark.parametrize("name", BAD)
def test_names_that_files_cannot_have(name: str):
    with pytest.raises(argparse.ArgumentTypeError, match=f"files are called after this name, and it .*{BAD[name]}"):
        named_path(f"{name}=DIR")


@pytest.mark.parametrize("text", ["", "=", "lfw", "lfw=", "=DIR"])
def test_what_is_no_pair(text: str):
    with pytest.raises(argparse.ArgumentTypeError, match="NAME=PATH is expected"):
        named_path(text)


def test_an_empty_path_is_not_the_current_folder():
    assert place("a b") == Path("a b")
    with pytest.raises(argparse.ArgumentTypeError, match="is empty"):
        place("")


@pytest.mark.parametrize("second", ["lfw", "LFW", "\uff4c\uff46\uff57"])
def test_two_sets_of_one_name_are_refused(second: str, capsys: pytest.CaptureFixture):
    parser = argparse.ArgumentParser()
    parser.add_argument("--data", action=AppendNamed, default=[], type=named_path)
    assert parser.parse_args([]).data == []
    assert parser.parse_args(["--data", "a=1", "--data", "b=2"]).data == [("a", Path("1")), ("b", Path("2"))]
    with pytest.raises(SystemExit):
        parser.parse_args(["--data", "lfw=A", "--data", "b=2", "--data", f"{second}=B"])
    assert f"--data lfw=A and {second}=B have one name" in capsys.readouterr().err
    assert parser.get_default("data") == []


def test_the_mains_ask_so(capsys: pytest.CaptureFixture):
    of_all = ["--weights", "M", "--out", "o", "--data"]
    for parse, arguments, words in (
        (evaluate.parse, [*of_all, "lfw=A", "--data", "lfw=B"], "have one name"),
        (evaluate.parse, [*of_all, "a/b=A"], "holds a slash"),
        (evaluate.parse, ["--weights", "M", "--data", "lfw=A", "--out", ""], "this one is empty"),
        (evaluate.parse, [*of_all, "lfw=A", "--cache", ""], "this one is empty"),
        (image_quality.parse, [*of_all, "a/b=A"], "holds a slash"),
        (angles.parse, ["RUN", "--eval", "a/b=A"], "holds a slash"),
    ):
        with pytest.raises(SystemExit):
            parse(arguments)
        assert words in capsys.readouterr().err
