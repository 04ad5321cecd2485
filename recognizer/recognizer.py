"""The door for programs: photographs to embeddings, in one object that holds a model and a detector.

    recognizer = Recognizer.open("inception_resnet_v1")  # with the detector that belongs to it
    embeddings = recognizer.embed(["a.jpg", "b.jpg"])  # (2, d)

A photograph is the path of a file, read by the rules of `faces.data.images` (orientation, alpha, 16 bits ...), or an
array of NumPy or JAX, uint8 (height, width, 3), RGB. What is computed is what `experiments.evaluate` computes of the
same file, where XLA takes the same routines: on a CPU commands choose them (`faces.start.choose_routines`), and others
round so that the face is cut a little differently (at most 2e-4 in the embeddings of 50 photographs).

Not here: opening models and detectors (`model.py`, `detectors.py`), many photographs with what is known of them kept on
disk (`pipeline.py`, `cached_embedder.py`).
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

from faces.cut_faces import Looked, look
from faces.detect.detections import RULES, Detector, Rule
from faces.errors import ConfigError, DataError, FaceNotFound
from faces.mesh import make_mesh
from faces.preprocessing import NEED_NO_FACE
from recognizer.detectors import open_detector
from recognizer.given import Photograph, as_number, as_path, listed, read
from recognizer.manifest import DEFAULT_MODEL, MANIFEST
from recognizer.model import Model, embedder_of, open_model
from recognizer.pipeline import check_looks, taken_whole
from recognizer.told import Told

NO_DETECTOR = "none"

FEW = 2
"""Faces that a CPU embeds at a time, each as quickly as in blocks of 32; one face then does not wait for 31 that are
none, 0.03 s for 0.6 with MobileFaceNet on two cores."""


@dataclass(frozen=True, eq=False)
class Face:
    """A face in a photograph.

    Coordinates are pixels of the photograph as it is decoded, x to the right, y down, (0, 0) the centre of the top left
    pixel.

    Attributes:
        box: float32 (4,): left, top, right, bottom; may reach beyond the photograph.
        points: float32 (5, 2), (x, y) of left eye, right eye, nose, left and right corner of the mouth, left and right
            as seen in the photograph.
        score: the detector's, 0 to 1.
        embedding: float32 (d,), of length 1.
    """

    box: np.ndarray
    points: np.ndarray
    score: float
    embedding: np.ndarray


@dataclass(frozen=True)
class Comparison:
    """Two faces.

    Attributes:
        cosine: of their embeddings, -1 to 1.
        threshold: cosine from which on two faces are taken for one person's; None where none was chosen.
        same: whether they are taken for one person's; None without a threshold.
    """

    cosine: float
    threshold: float | None
    same: bool | None


class Recognizer:
    """A model that embeds faces, with a detector that finds them.

    Without a detector a model whose alignment needs a face takes images that are aligned already, of exactly its
    input's size, and any other image is refused.
    """

    def __init__(
        self,
        model: Model,
        detect: Detector | None = None,
        *,
        select: Rule = "most_central",
        threshold: float | None = None,
    ):
        """Put what is open together; `Recognizer.open` opens it by its names.

        Args:
            model: of `open_model`; its preprocessing is kept.
            detect: of `open_detector`, or any function of that form; None where faces need not be looked for.
            select: which face of several in a photograph is meant, as `faces.detect.detections.select`.
            threshold: another cosine than the model's, from which on two faces are taken for one person's.
        Raises:
            ConfigError: a detector that would change nothing, no such rule, or a threshold that is no cosine.
        """
        if not isinstance(model, Model):
            raise ConfigError(
                f"model: one of open_model is expected, {type(model).__name__} is given; Recognizer.open opens a model "
                "by its name or path."
            )
        if detect is not None and not callable(detect):
            raise ConfigError(
                f"detect: a function of open_detector is expected, {type(detect).__name__} is given; Recognizer.open "
                "opens a detector by its name."
            )
        if detect is not None:
            check_looks(model.preprocessing.alignment, True)
        if select not in RULES:
            raise ConfigError(f'select = "{select}": there is no such rule; one of {", ".join(RULES)} is expected.')
        if threshold is not None:
            threshold = as_number(threshold, "threshold", "a cosine, -1 to 1,", -1, 1)
        self.model, self.threshold = model, model.threshold if threshold is None else threshold
        self._detect = detect
        self._select: Rule = select
        self._is_aligned = detect is None and model.preprocessing.alignment not in NEED_NO_FACE
        self._how = taken_whole(model.preprocessing) if self._is_aligned else model.preprocessing
        mesh = make_mesh()
        block = FEW if mesh.devices.flat[0].platform == "cpu" else None
        self._embed = embedder_of(model, mesh, block=block)

    @classmethod
    def open(
        cls,
        model: Path | str = DEFAULT_MODEL,
        *,
        network: str | None = None,
        symbol: Path | str | None = None,
        channels: Literal["rgb", "bgr"] | None = None,
        mean: float | Sequence[float] | None = None,
        scale: float | Sequence[float] | None = None,
        size: tuple[int, int] | int | None = None,
        insist: bool = False,
        detector: str | None = None,
        detector_weights: Path | str | None = None,
        detector_network: str | None = None,
        confidence: float | None = None,
        longest_side: int | None = None,
        select: Rule | None = None,
        threshold: float | None = None,
        manifest: Path | str = MANIFEST,
    ) -> "Recognizer":
        """Open a model, and the detector that finds its faces.

        Args:
            model: name in `models.toml`, which brings its detector with it; or folder of `experiments.convert` or of a
                training run, or a file of published weights.
            network, symbol: of a file, where it does not say itself what it is; as `convert.convert`.
            channels, mean, scale, size, insist: of a file, what its network takes, (x - mean) / scale of values of 0 to
                255, where the file does not say so itself; as `told.Told`.
            detector: "retinaface", "mtcnn" or "scrfd"; None for the one that belongs to a name, and for images that
                are aligned faces where the model is given by its path; "none" for those in any case.
            detector_weights: the detector's, file or folder; None for those that an installed package brings.
            detector_network, confidence, longest_side: of the detector; as `detectors.open_detector`.
            select, threshold: as for `Recognizer`; `select` None is the rule of a name whose own detector looks.
            manifest: names, and files that are known by their hash (`recognizer.manifest`).
        Raises:
            ConfigError: values that do not belong together, or as `Recognizer`.
            CheckpointError, WeightsError, DataError: what cannot be opened; as `open_model` and `open_detector`.
        """
        if detector in (None, NO_DETECTOR) and detector_weights is not None:
            raise ConfigError("detector_weights are of a detector; name it as detector.")
        is_name = not as_path(model, "model").exists()
        opened = open_model(model, network, symbol, manifest, Told(channels, mean, scale, size, insist))
        own = opened.description.detection
        if detector is None and is_name and own is not None:
            detector = own.detector
        detect = None
        if detector not in (None, NO_DETECTOR):
            of_it = (longest_side, confidence, detector_network)
            detect = open_detector(detector, detector_weights, *of_it, manifest=manifest)
        elif (detector_network, confidence, longest_side) != (None, None, None):
            raise ConfigError("detector_network, confidence and longest_side are of a detector, and none is given.")
        if select is None:
            select = own.select if is_name and own is not None and detector == own.detector else "most_central"
        return cls(opened, detect, select=select, threshold=threshold)

    @property
    def embedding_dim(self) -> int:
        """d, of what `embed` returns: twice the network's where the mirrored image's embedding stands behind."""
        dim = self.model.description.network.embedding_dim
        return 2 * dim if self.model.preprocessing.flip == "concatenate" else dim

    def embed(self, photographs: Photograph | Iterable[Photograph]) -> np.ndarray:
        """The embedding of one face of each photograph, the one that `select` means.

        Args:
            photographs: paths and arrays, in any order; one alone counts as a list of one. The aligned faces of all are
                in memory together, 38 kB each at 112x112.
        Returns:
            float32 (photographs, d), each of length 1.
        Raises:
            FaceNotFound: names every photograph in which no face is found.
            ImageError: a file that is no image, or cannot be read.
            DataError: an array that is no photograph, or an image that is no aligned face where those are expected.
        """
        names, looked = self._look(listed(photographs), self._select)
        lost = [one.row for one in looked if not one.chosen]
        if lost:
            raise FaceNotFound(
                f"no face is found in {len(lost):,} of {len(names):,} photographs: "
                f"{', '.join(names[row] for row in lost)}; look at what they show, or leave them out.",
                [names[row] for row in lost],
                lost,
            )
        return self._embeddings(looked)

    def faces(self, photograph: Photograph) -> list[Face]:
        """All faces of a photograph, the best score first; none where none is found.

        Raises:
            ConfigError: there is no detector.
            ImageError, DataError: as `embed`.
        """
        if self._detect is None:
            raise ConfigError("there is no detector to find faces; name one where the recognizer is opened.")
        _, looked = self._look([photograph], "all")
        found = looked[0].found
        assert found is not None  # somebody looks
        each = zip(found.boxes, found.points, found.scores.tolist(), self._embeddings(looked), strict=True)
        return [Face(*of_one) for of_one in each]

    def compare(self, first: Photograph, second: Photograph) -> Comparison:
        """How like the faces of two photographs are, and whether the threshold takes them for one person's.

        Raises:
            FaceNotFound, ImageError, DataError: as `embed`.
        """
        x, y = self.embed([first, second])
        cosine = float(np.clip(x @ y, -1, 1))
        return Comparison(cosine, self.threshold, None if self.threshold is None else cosine >= self.threshold)

    def _look(
        self, photographs: Iterable[Photograph], select: Rule | Literal["all"]
    ) -> tuple[list[str], list[Looked]]:
        """The photographs' names, and what is seen in each."""
        names: list[str] = []

        def images() -> Iterator[np.ndarray]:
            for row, photograph in enumerate(photographs):
                name, image = read(photograph, row)
                if self._is_aligned and image.shape[:2] != self._how.size:
                    raise DataError(
                        f"{name}: {image.shape[0]}x{image.shape[1]} pixels, and aligned faces of "
                        f"{self._how.size[0]}x{self._how.size[1]} are expected where nobody looks for faces; open the "
                        "recognizer with a detector."
                    )
                names.append(name)
                yield image

        return names, list(look(images(), self._how, self._detect, select, name_of=names.__getitem__))

    def _embeddings(self, looked: list[Looked]) -> np.ndarray:
        """Of all images in their order, float32 (images, d)."""
        pictures = [one.pictures for one in looked if len(one.pictures)]
        return self._embed(np.concatenate(pictures)) if pictures else np.empty((0, self.embedding_dim), np.float32)

