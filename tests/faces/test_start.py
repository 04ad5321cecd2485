"""A command's start: once more with huge pages where they help, and where compiled programs are kept."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import pytest

from faces import start

REPOSITORY = Path(__file__).parent.parent.parent

CONVOLUTIONS = "--xla_cpu_experimental_ynn_fusion_type=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION"

PACKAGE = """
import os
from faces import start

if "DROPPED" in os.environ:
    os.environ.pop("GLIBC_TUNABLES", None)
start._page_mode = lambda: os.environ["PAGES"]
start._glibc = lambda: (2, 35)
start.find_spec = lambda name: None
start.take_huge_pages()
"""

MAIN = """
import json, os, sys

seen = {name: os.environ.get(name) for name in ("GLIBC_TUNABLES", "FACES_HUGE_PAGES")}
print(json.dumps({**seen, "arguments": sys.argv[1:], "flags": sys.warnoptions, "pid": os.getpid(), "in": input()}))
"""


def told(tmp_path: Path, arguments: tuple[str, ...] = (), **changes: str) -> tuple[dict, str]:
    """What a main of a package that takes huge pages sees of itself, and what stands on its standard error."""
    package = tmp_path / "mains"
    package.mkdir()
    (package / "__init__.py").write_text(PACKAGE)
    (package / "show.py").write_text(MAIN)
    unset = ("GLIBC_TUNABLES", start.SWITCH, "JAX_PLATFORMS")
    environment = {name: value for name, value in os.environ.items() if name not in unset}
    path = os.pathsep.join((str(tmp_path), str(REPOSITORY)))
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-m", "mains.show", *arguments],
        env={**environment, "PYTHONPATH": path, "PAGES": "madvise", **changes},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    printed, errors = process.communicate("a line\n", timeout=60)
    assert process.returncode == 0, errors
    seen = json.loads(printed)
    assert seen.pop("pid") == process.pid
    return seen, errors


linux = pytest.mark.skipif(sys.platform != "linux", reason="huge pages are asked for on Linux alone")


@linux
def test_it_starts_again_once_with_its_arguments_and_input(tmp_path: Path):
    seen, errors = told(tmp_path, ("one", "two words", "*", ""))
    assert seen == {
        "GLIBC_TUNABLES": "glibc.malloc.hugetlb=1",
        "FACES_HUGE_PAGES": "taken",
        "arguments": ["one", "two words", "*", ""],
        "flags": ["error"],
        "in": "a line",
    }
    assert errors == ""  # the result is the last that is seen; environment.json keeps the tunables


@linux
@pytest.mark.parametrize(
    ("changes", "tunables"),
    [
        ({"GLIBC_TUNABLES": "glibc.malloc.arena_max=4"}, "glibc.malloc.arena_max=4:glibc.malloc.hugetlb=1"),
        ({"JAX_PLATFORMS": "cpu"}, "glibc.malloc.hugetlb=1"),
        ({"JAX_PLATFORMS": "cuda,cpu"}, None),
        ({"GLIBC_TUNABLES": "glibc.malloc.hugetlb=0"}, "glibc.malloc.hugetlb=0"),
        ({"FACES_HUGE_PAGES": "0"}, None),
        ({"PAGES": "always"}, None),
        ({"PAGES": "never"}, None),
    ],
)
def test_what_is_set_is_kept_and_what_forbids_it_is_heeded(tmp_path: Path, changes: dict, tunables: str | None):
    seen, errors = told(tmp_path, **changes)
    assert seen["GLIBC_TUNABLES"] == tunables
    assert errors == ""


@linux
def test_it_never_loops_where_the_tunable_does_not_arrive(tmp_path: Path):
    seen, errors = told(tmp_path, DROPPED="1")
    assert (seen["GLIBC_TUNABLES"], seen["FACES_HUGE_PAGES"], errors) == (None, "taken", "")


def test_a_process_that_is_no_command_stays_what_it_is(monkeypatch):
    monkeypatch.setattr(start, "_huge_pages_help", lambda environment: True)
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("started again"))
    start.take_huge_pages()


def test_a_start_that_fails_is_none(monkeypatch):
    def refuse(*_):
        raise OSError("no such file")

    monkeypatch.setattr(start, "_huge_pages_help", lambda environment: True)
    monkeypatch.setattr(os, "execve", refuse)
    monkeypatch.setattr(sys, "argv", ["-m"])
    monkeypatch.setenv(start.SWITCH, "")
    start.take_huge_pages()


@pytest.mark.parametrize(
    ("told_platforms", "installed", "expected"),
    [("", [], True), ("", ["jax_plugins"], False), ("", ["libtpu"], False), ("cpu", ["jax_plugins"], True),
     ("cuda", [], False), ("cpu,cuda", [], False)],
)  # fmt: skip
def test_accelerators(monkeypatch, told_platforms: str, installed: list[str], expected: bool):
    monkeypatch.setattr(start, "find_spec", lambda name: name in installed or None)
    assert start.computes_on_cpu({"JAX_PLATFORMS": told_platforms}) is expected


@linux
def test_the_c_library_and_the_pages_are_known(tmp_path: Path, monkeypatch):
    assert len(start._glibc()) in (1, 2)
    assert start._page_mode() in ("always", "madvise", "never", "")
    modes = tmp_path / "enabled"
    modes.write_text("always [madvise] never\n")
    monkeypatch.setattr(start, "_PAGES", modes)
    assert start._page_mode() == "madvise"
    modes.unlink()
    assert start._page_mode() == ""


@pytest.fixture
def settings(monkeypatch) -> dict[str, object]:
    """What `keep_programs` tells JAX, in a process whose environment says nothing of caches."""
    given: dict[str, object] = {}
    for name in ("JAX_COMPILATION_CACHE_DIR", "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jax.config, "update", given.__setitem__)
    return given


def test_programs_are_kept_in_the_users_cache_one_folder_for_each_kind_of_processor(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start.keep_programs()
    folder = Path(str(settings["jax_compilation_cache_dir"]))
    assert folder.parent == tmp_path / "facenet-arcface-jax"
    assert folder.is_dir() and not folder.stat().st_mode & 0o077
    assert settings["jax_persistent_cache_min_compile_time_secs"] == 0.1
    before = dict(settings)
    start.keep_programs()
    assert settings == before
    monkeypatch.setattr("platform.machine", lambda: "another")
    start.keep_programs()
    assert settings["jax_compilation_cache_dir"] != str(folder)
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    start.keep_programs()
    assert str(settings["jax_compilation_cache_dir"]).startswith(str(tmp_path / "home" / ".cache"))


def test_the_environment_decides_where_it_says_something(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    monkeypatch.setenv("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "2")
    start.keep_programs()
    assert settings == {} and list(tmp_path.iterdir()) == []


def test_the_folder_in_use_can_be_asked_for():
    assert start.programs_folder() == os.environ["JAX_COMPILATION_CACHE_DIR"]  # the tests' own
    before = start.programs_folder()
    jax.config.update("jax_compilation_cache_dir", "")
    try:
        assert start.programs_folder() is None
    finally:
        jax.config.update("jax_compilation_cache_dir", before)


@pytest.mark.parametrize(("processes", "backend"), [(2, "cpu"), (1, "cpu"), (2, "gpu")])
def test_several_processes_on_cpus_keep_nothing(monkeypatch, processes: int, backend: str):
    given: dict[str, object] = {}
    monkeypatch.setattr(jax, "process_count", lambda: processes)
    monkeypatch.setattr(jax, "default_backend", lambda: backend)
    monkeypatch.setattr(jax.config, "update", given.__setitem__)
    start.compile_together()
    assert given == ({"jax_enable_compilation_cache": False} if (processes, backend) == (2, "cpu") else {})


def test_a_folder_that_others_may_write_or_nobody_can_make_is_not_used(tmp_path, monkeypatch, settings):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    start.keep_programs()
    folder = Path(str(settings.pop("jax_compilation_cache_dir")))
    folder.chmod(0o777)
    start.keep_programs()
    assert "jax_compilation_cache_dir" not in settings
    (tmp_path / "file").touch()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    start.keep_programs()
    assert "jax_compilation_cache_dir" not in settings


@pytest.mark.parametrize(
    ("jaxlib", "before", "after"),
    [
        ("0.10.2", None, CONVOLUTIONS),
        ("0.12.0.1", "--xla_dump_to=x", f"--xla_dump_to=x {CONVOLUTIONS}"),
        ("0.10.2", "--xla_cpu_experimental_ynn_fusion_type=", "--xla_cpu_experimental_ynn_fusion_type="),
        ("0.13.0", None, None),
    ],
)
def test_routines_are_chosen_where_xla_knows_the_flag(monkeypatch, jaxlib: str, before: str | None, after: str | None):
    monkeypatch.setattr(start, "version", lambda name: jaxlib)
    monkeypatch.setenv("XLA_FLAGS", before) if before else monkeypatch.delenv("XLA_FLAGS", raising=False)
    start.choose_routines()
    assert os.environ.get("XLA_FLAGS") == after


def test_xla_takes_the_flag():
    """In a process of its own, which XLA would end over a flag that it does not know."""
    code = "from faces import start; start.choose_routines(); import jax; print(float(jax.numpy.ones(2).sum()))"
    ended = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=False)
    assert ended.stdout == "2.0\n", ended.stderr


@pytest.mark.parametrize("platform", ["cuda", "tpu", "nonsense"])
def test_a_device_that_is_not_there_is_one_sentence(platform: str):
    script = "import jax; from faces import cli; cli.run(lambda _: jax.numpy.zeros(1))"
    ended = subprocess.run(
        [sys.executable, "-c", script],
        env={**os.environ, "JAX_PLATFORMS": platform, "CUDA_VISIBLE_DEVICES": ""},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    told = ended.stderr.strip().splitlines()[-1]
    assert ended.returncode == 2 and "Traceback" not in ended.stderr
    assert told.startswith(f"error: JAX_PLATFORMS={platform}: JAX finds no such device here") and "to cpu" in told


@pytest.mark.parametrize(
    "changes",
    [
        {
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
            **dict.fromkeys(("HOME", "XDG_CACHE_HOME", "XDG_CONFIG_HOME"), "/dev/null"),
        },
        {"MPLBACKEND": "nonsense", "MATPLOTLIBRC": "RC"},
    ],
    ids=["notebook, no home", "nonsense, TeX"],
)
def test_pictures_are_drawn_whatever_the_environment(tmp_path: Path, changes: dict[str, str]):
    (tmp_path / "matplotlibrc").write_text("text.usetex: True\nfont.family: Nowhere\nsavefig.format: nonsense\n")
    changes = {name: str(tmp_path / "matplotlibrc") if value == "RC" else value for name, value in changes.items()}
    script = """
import sys
from pathlib import Path
import experiments
from matplotlib.figure import Figure
from faces.evaluate.plots import save_figure, style
with style():
    figure = Figure(figsize=(1, 1))
    figure.suptitle("title_1 %")
    figure.add_subplot().set(xlabel="x & y")
    save_figure(figure, Path(sys.argv[1]))
"""
    ended = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "x.png")],
        env={**os.environ, **changes},
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "x.png").read_bytes().startswith(b"\x89PNG")
