"""YouTube Faces: its list of video pairs, and the frames at hand.

`splits.txt` has a row for each pair, `split, pair, Name/video, Name/video, same`, with or without a line of headings.
Frames lie in one of two folders: `aligned_images_DB/Name/video/aligned_detect_VIDEO.FRAME.jpg`, faces that were cut out
(2.2 times the detected box) and aligned, or `frame_images_DB/Name/video/VIDEO.FRAME.jpg`, whole frames; beside the
latter `frame_images_DB/Name.labeled_faces.txt` lists every frame, rows
`Name\\video\\VIDEO.FRAME.jpg,_,x,y,width,height,_,_`, x and y being the middle of the face.

Not here: the protocol that makes an accuracy of pairs (`faces.evaluate.ytf`).
"""

import re
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from faces.data.images import read_image
from faces.data.lists import read_lines
from faces.data.named_files import NamedFiles, folded
from faces.errors import DataError

SPLITS = "splits.txt"
Images = Literal["aligned_images_DB", "frame_images_DB"]
FOLDERS: tuple[Images, ...] = ("aligned_images_DB", "frame_images_DB")
SHORTEST_VIDEO = 48
"""Frames of the shortest of the 3,425 videos; one with fewer at hand is not whole."""

_FRAME = re.compile(r"(?:aligned_detect_)?([0-9]{1,9})\.([0-9]{1,9})\.jpe?g", re.IGNORECASE)


@dataclass(frozen=True)
class VideoPairs:
    """Pairs of videos in their splits, in the order of the file.

    Args:
        videos: the distinct videos as "Name/video", sorted.
        first, second: positions in `videos`, int32 (pairs,).
        same: whether a pair shows one person, bool (pairs,).
        fold: the file's splits, 1 to 10 in the official one, int32 (pairs,).
    """

    videos: tuple[str, ...]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray


def read_splits(path: Path | str) -> VideoPairs:
    """Read a list of video pairs.

    Raises:
        DataError: a malformed row, by its line; a name that would leave the folder; splits of unequal size.
    """
    path = Path(path)
    fold, first, second, same = [], [], [], []
    for number, (line, text) in enumerate(read_lines(path)):
        fields = [field.strip() for field in text.split(",")]
        if number == 0 and len(fields) == 5 and not fields[0].isdigit():
            continue
        if len(fields) != 5 or not _is_number(fields[0]) or not _is_number(fields[1]) or fields[4] not in ("0", "1"):
            raise DataError(
                f'{path}, line {line}: "split, pair, Name/video, Name/video, 1 or 0" expected, found "{text[:80]}".'
            )
        fold.append(int(fields[0]))
        first.append(_video(path, line, fields[2]))
        second.append(_video(path, line, fields[3]))
        same.append(fields[4] == "1")
    sizes = Counter(fold)
    if not sizes:
        raise DataError(f"{path}: no pair in it; a list of video pairs is expected.")
    wrong = next((split for split in sizes if sizes[split] != sizes[fold[0]]), None)
    if wrong is not None:
        raise DataError(
            f"{path}: split {wrong} holds {sizes[wrong]:,} pairs, split {fold[0]} {sizes[fold[0]]:,}; the file was cut "
            "or lines were added: fetch it again."
        )
    videos = tuple(sorted({*first, *second}))
    position = {video: index for index, video in enumerate(videos)}
    return VideoPairs(
        videos,
        np.array([position[video] for video in first], np.int32),
        np.array([position[video] for video in second], np.int32),
        np.array(same, bool),
        np.array(fold, np.int32),
    )


def _is_number(field: str) -> bool:
    return field.isascii() and field.isdigit() and len(field) < 10


def _video(path: Path, line: int, name: str) -> str:
    parts = name.split("/")
    if len(parts) != 2 or not _is_number(parts[1]) or parts[0] in ("", ".", "..") or set(parts[0]) & set("\\\0:"):
        raise DataError(f'{path}, line {line}: "{name[:80]}" is no video of a person, Name/0 is expected.')
    return name


@dataclass(frozen=True)
class Ytf:
    """A list of video pairs and the frames at hand.

    Args:
        pairs: the list.
        root: the folder of the people's folders.
        frames: paths of each video's frames relative to `root`, in the order of their numbers; as `pairs.videos`.
        expected: number of frames that each video should have at least, int32 (videos,): those that
            Name.labeled_faces.txt lists where that file is there, else 48.
    """

    pairs: VideoPairs
    root: Path
    frames: tuple[tuple[str, ...], ...]
    expected: np.ndarray

    def load(self, frame: str) -> np.ndarray:
        """A frame: uint8 (height, width, 3), RGB. ImageError where it cannot be read."""
        return read_image(self.root / frame)


def read_ytf(path: Path | str, images: Images | None = None, splits: str = SPLITS) -> Ytf:
    """Open YouTube Faces for evaluation.

    Args:
        path: the folder that holds `splits.txt` and a folder of frames.
        images: which folder of frames; may be left out where only one is there.
        splits: file name of the list.
    Raises:
        DataError: no list, a malformed one; no folder of frames, or two to choose from; two frames of one number.
            Missing videos and frames raise nothing: they are empty and short in `frames`.
    """
    folder = Path(path)
    pairs = read_splits(folder / splits)
    found = [name for name in ([images] if images else FOLDERS) if (folder / name).is_dir()]
    if len(found) != 1:
        what = "are both in it; say which to read" if found else "not in it; put the frames there"
        raise DataError(f"{folder}: {' and '.join([images] if images else FOLDERS)} {what}.")
    root = folder / found[0]
    files = NamedFiles(root)
    frames = tuple(_frames(files, root, video) for video in pairs.videos)
    listed = {}
    for person in sorted({video.split("/")[0] for video in pairs.videos}):
        listed |= _listed_frames(files.file(f"{person}.labeled_faces.txt"), person)
    expected = np.array([listed.get(video, SHORTEST_VIDEO) for video in pairs.videos], np.int32)  # (videos,)
    return Ytf(pairs, root, frames, expected)


def _frames(files: NamedFiles, root: Path, video: str) -> tuple[str, ...]:
    """Paths of a video's frames by number, relative to the root; none where there is no such folder."""
    folder = files.find(video)
    if folder is None or not folder.is_dir():
        return ()
    by_number: dict[int, str] = {}
    for name in sorted(entry.name for entry in folder.iterdir()):
        match = _FRAME.fullmatch(name)
        if match is None or int(match[1]) != int(video.split("/")[1]):
            continue
        number = int(match[2])
        if number in by_number:
            raise DataError(f"{folder}: {Path(by_number[number]).name} and {name} are both frame {number}; remove one.")
        by_number[number] = (folder / name).relative_to(root).as_posix()
    return tuple(by_number[number] for number in sorted(by_number))


def _listed_frames(path: Path | None, person: str) -> dict[str, int]:
    """Number of frames of each of a person's videos by the person's labeled_faces.txt; nothing where there is none."""
    if path is None:
        return {}
    frames: set[tuple[str, str]] = set()
    for line, text in read_lines(path):
        parts = text.split(",")[0].replace("\\", "/").split("/")
        match = _FRAME.fullmatch(parts[-1])
        if len(parts) != 3 or match is None or folded(parts[0]) != folded(person) or parts[1] != match[1]:
            raise DataError(f'{path}, line {line}: "{person}\\0\\0.1.jpg,..." expected, found "{text[:80]}".')
        frames.add((f"{person}/{parts[1]}", match[2]))
    return dict(Counter(video for video, _ in frames))
