"""How a command starts, so that its work is quicker: huge pages, routines for convolutions, compiled programs kept.

Huge pages. On a CPU each result is a fresh buffer from malloc, and the first touch of each of its pages is a page
fault, which can cost more than the arithmetic. With `glibc.malloc.hugetlb=1` in GLIBC_TUNABLES, malloc asks Linux for
pages of 2 MiB in place of 4 KiB. It reads this once, when a process starts; so the process starts itself again.

Routines. On a CPU jaxlib 0.10 hands convolutions to a library (YNNPACK) that takes up to three times as long for them
as the one before it (Eigen), which a flag of XLA brings back (`benchmarks/NOTES.md`).

Compiled programs. JAX can keep on disk what XLA has compiled, under a key made of the program, versions, flags and
devices. A folder for each kind of processor makes sure that no program meets a processor without its instructions.

Not here: errors and exit codes (`cli.py`). JAX is not imported with this module, which is the first to run.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

SWITCH = "FACES_HUGE_PAGES"
"""Environment variable: "0" leaves malloc alone; "taken" is what a process tells the one it becomes."""
TUNABLE = "glibc.malloc.hugetlb"

_PAGES = Path("/sys/kernel/mm/transparent_hugepage/enabled")
_SHORTEST_COMPILATION = 0.1  # seconds; JAX's default of 1 leaves out the many small programs of a start


def take_huge_pages() -> None:
    """Replace this process by the same command with huge pages for malloc, where that helps and nothing forbids it.

    To be called from the `__init__.py` of a package of mains: `python -m PACKAGE.MAIN` runs it first, before the long
    imports, so that starting twice costs a bare interpreter's start. At any other import of the package, as by tests,
    it does nothing. The process keeps its number, arguments, folder and standard streams.

    It happens once: afterwards the tunable is in the environment, and so is the switch. It does not happen where the
    tunable is set to anything already, the switch is "0", the system is not Linux with glibc 2.35 or newer, Linux does
    not leave the choice to the program ("madvise"), or JAX may compute on an accelerator.
    """
    if sys.argv[:1] != ["-m"]:  # so it is while Python looks for the module
        return
    if _huge_pages_help(os.environ):
        with contextlib.suppress(OSError):  # then it goes on as it is
            os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], with_huge_pages(os.environ))


def with_huge_pages(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment with the tunable added to those that are there."""
    tunables = [environment["GLIBC_TUNABLES"]] if environment.get("GLIBC_TUNABLES") else []
    return {**environment, "GLIBC_TUNABLES": ":".join([*tunables, f"{TUNABLE}=1"]), SWITCH: "taken"}


def _huge_pages_help(environment: Mapping[str, str]) -> bool:
    return (
        sys.platform == "linux"
        and environment.get(SWITCH) not in ("0", "taken")
        and TUNABLE not in environment.get("GLIBC_TUNABLES", "")
        and bool(sys.executable)
        and computes_on_cpu(environment)
        and _glibc() >= (2, 35)
        and _page_mode() == "madvise"  # with "always" they come unasked, with "never" not at all
    )


def computes_on_cpu(environment: Mapping[str, str]) -> bool:
    """Whether JAX, not yet imported, can only take the CPU: by its settings, or because nothing else is installed."""
    told = environment.get("JAX_PLATFORMS")
    return told == "cpu" if told else not (find_spec("jax_plugins") or find_spec("libtpu"))


def _glibc() -> tuple[int, ...]:
    """Version of the C library; (0,) for another one than glibc."""
    if "CS_GNU_LIBC_VERSION" not in os.confstr_names:
        return (0,)
    name, _, version = (os.confstr("CS_GNU_LIBC_VERSION") or "").partition(" ")
    return tuple(map(int, version.split(".")[:2])) if name == "glibc" else (0,)


def _page_mode() -> str:
    """What Linux does about transparent huge pages: "always", "madvise", "never", or "" where it does not say."""
    try:
        return _PAGES.read_text().partition("[")[2].partition("]")[0]
    except OSError:
        return ""


def draw_to_files() -> None:
    """Have matplotlib draw to files, whatever window or notebook MPLBACKEND names; to be called before its import.

    A name that this interpreter does not know, such as that of the notebook which a command is started from, would end
    the import. Within a notebook itself nothing is changed.
    """
    if "IPython" not in sys.modules:
        os.environ["MPLBACKEND"] = "agg"


def choose_routines() -> None:
    """Have XLA on CPUs compute convolutions with Eigen; to be called before JAX meets its first array.

    Only with the versions of jaxlib that it was measured with: XLA ends a process over a flag that it does not know.
    What XLA_FLAGS says about the library already stays as it is.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if _LIBRARY_FLAG not in flags and version("jaxlib").startswith(_MEASURED_JAXLIB):
        os.environ["XLA_FLAGS"] = f"{flags} --{_LIBRARY_FLAG}=-LIBRARY_FUSION_TYPE_INDIVIDUAL_CONVOLUTION".strip()


_LIBRARY_FLAG = "xla_cpu_experimental_ynn_fusion_type"
_MEASURED_JAXLIB = ("0.10.", "0.12.")


def no_device(error: BaseException) -> str:
    """The sentence for an error by which JAX says that it finds no device of those it was set to use; "" for others.

    Of a GPU that is not there it says so by an assertion without a message, which it raises again at every later call.
    """
    is_bare = isinstance(error, AssertionError) and not error.args and not _finds_devices()
    if not is_bare and not (isinstance(error, RuntimeError) and "Unable to initialize backend" in str(error)):
        return ""
    told, reason = os.environ.get("JAX_PLATFORMS", ""), " ".join(str(error).split()).partition(" (set JAX_")[0]
    return (
        f"JAX_PLATFORMS={told}: JAX finds no such device here{f' ({reason})' if reason else ''}; set it to cpu or "
        'leave it out, or install JAX for the device, as pip install ".[cuda]" does for GPUs of NVIDIA.'
    )


def _finds_devices() -> bool:
    import jax

    try:
        return bool(jax.devices())
    except (AssertionError, RuntimeError):
        return False


def keep_programs() -> None:
    """Have JAX keep compiled programs in the user's cache folder.

    What JAX's own environment variables (`JAX_COMPILATION_CACHE_DIR`, `JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS`) say
    stays as it is. A folder that cannot be made, or that others may write, is not used: what lies there is run.
    """
    import jax

    if "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS" not in os.environ:
        jax.config.update("jax_persistent_cache_min_compile_time_secs", _SHORTEST_COMPILATION)
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _private_folder()):
        jax.config.update("jax_compilation_cache_dir", str(folder))


def programs_folder() -> str | None:
    """Where JAX keeps compiled programs now, by `keep_programs` or the environment; None where it keeps none."""
    import jax

    settings: Any = jax.config  # which knows its fields at run time alone
    return (settings.jax_enable_compilation_cache and settings.jax_compilation_cache_dir) or None


def compile_together() -> None:
    """Where several processes make one run on CPUs, keep no programs: all compile, at the same time.

    JAX lets process 0 alone write its cache, and on CPUs the key tells the processes apart. So at a second start
    process 0 would find its programs, run ahead, and wait for the others, who compile; Gloo gives up after 30 seconds.
    """
    import jax

    if jax.process_count() > 1 and jax.default_backend() == "cpu":
        jax.config.update("jax_enable_compilation_cache", False)


def _private_folder() -> Path | None:
    """The user's folder of programs for this kind of processor, made if need be."""
    try:
        cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        folder = cache / "facenet-arcface-jax" / f"programs-{_processor()}"
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except (OSError, RuntimeError):  # no home, or none that can be written
        return None
    is_private = not hasattr(os, "getuid") or (found.st_uid == os.getuid() and not found.st_mode & 0o022)
    return folder if is_private else None


def _processor() -> str:
    """A short name of the kind of processor: model and instructions, hashed."""
    import hashlib
    import platform

    try:
        first = Path("/proc/cpuinfo").read_text().partition("\n\n")[0]
        lines = [line for line in first.splitlines() if line.split("\t")[0].strip(" :") in _KIND_OF_PROCESSOR]
    except OSError:
        lines = []
    described = "\n".join([platform.machine(), *(lines or [platform.processor()])])
    return hashlib.sha256(described.encode()).hexdigest()[:8]


_KIND_OF_PROCESSOR = ("model name", "flags", "CPU implementer", "CPU part", "Features")
