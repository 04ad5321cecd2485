"""From photographs to embeddings: models and detectors by name or path, what they were trained as, and their cache.

    from recognizer import Recognizer

Networks of one paper under the loss of another meet here, as the papers' packages do not know each other.
"""

from faces.errors import FaceNotFound
from recognizer.detectors import open_detector
from recognizer.model import open_model
from recognizer.recognizer import Comparison, Face, Recognizer
from recognizer.told import Told

__all__ = ["Comparison", "Face", "FaceNotFound", "Recognizer", "Told", "open_detector", "open_model"]
