"""YouTube Faces in small: people with videos of a few frames, in either official layout."""

from pathlib import Path

from tests.faces.data.makers import encoded, picture

ROWS = [
    ("Ann_A/0", "Ann_A/3", 1),
    ("Bo-B/1", "Bo-B/2", 1),
    ("Ann_A/0", "Bo-B/1", 0),
    ("Bo-B/2", "Ann_A/3", 0),
    ("Ann_A/0", "Ann_A/3", 1),
    ("Ann_A/3", "Bo-B/1", 0),
    ("Bo-B/1", "Bo-B/2", 1),
    ("Ann_A/0", "Bo-B/2", 0),
]
SPLIT_OF = (1, 1, 1, 1, 2, 2, 2, 2)
FRAMES = {"Ann_A/0": (9, 10, 100), "Ann_A/3": (2, 7), "Bo-B/1": (1, 2, 3, 4), "Bo-B/2": (618,)}


def splits_text(header: bool, end: str) -> str:
    rows = ["split number, pair number, first name, second name, is same"] if header else []
    for number, (split, (first, second, same)) in enumerate(zip(SPLIT_OF, ROWS, strict=True)):
        rows.append(f"{split}, {number % 4 + 1}, {first}, {second}, {same}")
    return end.join(rows)


def ytf(root: Path, aligned: bool = True, header: bool = False, end: str = "\r\n") -> Path:
    """The folder with its list and frames; frame NUMBER of video k is `picture(100 * k + NUMBER)`."""
    folder = root / ("aligned_images_DB" if aligned else "frame_images_DB")
    for k, (video, numbers) in enumerate(FRAMES.items()):
        (folder / video).mkdir(parents=True)
        clip = video.split("/")[1]
        for number in numbers:
            name = f"{'aligned_detect_' if aligned else ''}{clip}.{number}.jpg"
            (folder / video / name).write_bytes(encoded(picture(100 * k + number)))
    (root / "splits.txt").write_bytes(splits_text(header, end).encode())
    return root
