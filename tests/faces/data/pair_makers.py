"""Makers of small verification sets for the tests, and of pickles that attack their reader."""

import os
import pickle

import numpy as np

from tests.faces.data.makers import encoded, picture

IMAGES = [encoded(picture(seed)) for seed in range(40)]
MIXED = [True, False] * 10
CALFW = [fold for fold in range(1, 11) for _ in range(3)] + [0] * 30  # tokens: folds of same pairs, then different ones
PEOPLE, FRONTAL, PROFILES = 4, 3, 2  # people of CFP in small, and images of each


def pair_bin(path, images=IMAGES, same=MIXED, protocol=4):
    path.write_bytes(pickle.dumps((images, same), protocol))
    return path


def two_line_list(path, tokens):
    """A list in which pair i is images A_i and B_i, and what it should be read as."""
    first = [f"A_{i:04d}.jpg" for i in range(len(tokens))]
    second = [f"B-C_{i:04d}.jpg" for i in range(len(tokens))]
    path.write_text("".join(f"{a} {token}\n{b} {token}\n" for a, b, token in zip(first, second, tokens, strict=True)))
    return tuple(first), tuple(second)


def cfp(root, end="\n", per_file=2):
    """CFP in small, and its pairs as numbers: (fold, same, a, b) of each protocol."""
    for kind, name, count in (("F", "frontal", FRONTAL), ("P", "profile", PROFILES)):
        paths = [f"../Data/Images/{p + 1:03d}/{name}/{i + 1:02d}.jpg" for p in range(PEOPLE) for i in range(count)]
        lines = [f"{number} {path}" for number, path in enumerate(paths, start=1)]
        (root / "Protocol").mkdir(parents=True, exist_ok=True)
        (root / "Protocol" / f"Pair_list_{kind}.txt").write_bytes((end.join(lines) + end).encode())
        for seed, path in enumerate(paths):
            file = root / path.removeprefix("../")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(encoded(picture(seed + 100 * (kind == "P"))))
    rng = np.random.default_rng(0)
    expected = {"FF": [], "FP": []}
    for protocol, others in (("FF", FRONTAL), ("FP", PROFILES)):
        for fold in range(10):
            folder = root / "Protocol" / "Split" / protocol / f"{fold + 1:02d}"
            folder.mkdir(parents=True)
            for name in ("same", "diff"):
                people = [rng.permutation(PEOPLE)[:2] for _ in range(per_file)]
                people = [(a, a if name == "same" else b) for a, b in people]
                pairs = [(a * FRONTAL + rng.integers(FRONTAL) + 1, b * others + rng.integers(others) + 1)
                         for a, b in people]  # fmt: skip
                (folder / f"{name}.txt").write_bytes("".join(f"{a},{b}{end}" for a, b in pairs).encode())
                expected[protocol] += [(fold, name == "same", a, b) for a, b in pairs]
    return expected


class Calls:
    """Pickled as a call."""

    def __init__(self, function, *arguments):
        self.call = function, arguments

    def __reduce__(self):
        return self.call


def attacks(marker):
    """Pickles that create a file when Python reads them, and the name that each asks for."""
    code = f"open({str(marker)!r}, 'w').close()"
    shell = f"touch {marker}"
    line = shell.encode() + b"'\n"
    touch = b"\x8c" + bytes([len(shell)]) + shell.encode()
    return {
        "posix.system": [pickle.dumps(Calls(os.system, shell), protocol) for protocol in range(2, 6)],
        "os.system": [
            b"cos\nsystem\n(S'" + line + b"tR.",
            b"(S'" + line + b"ios\nsystem\n.",
            b"(cos\nsystem\nS'" + line + b"o.",
            b"\x80\x04\x8c\x02os\x8c\x06system\x93" + touch + b"\x85R.",
        ],
        "builtins.exec": [pickle.dumps(([b"image"], Calls(exec, code)), 4)],
        "__builtin__.exec": [pickle.dumps(Calls(exec, code), 0)],
        "numpy.testing._private.utils.runstring": [
            b"cnumpy.testing._private.utils\nrunstring\n(V" + code.encode() + b"\n}tR."
        ],
    }
