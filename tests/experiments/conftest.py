"""What the tests of the mains share: faces on disk, and a network that compiles at once."""

from pathlib import Path

import pytest

from tests.experiments.protocol_maker import faces


@pytest.fixture(scope="session")
def faces_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`train/` and `lfw/`, twelve people of flat colour and noise in each, with a list of two folds in the second."""
    return faces(tmp_path_factory.mktemp("faces"))
