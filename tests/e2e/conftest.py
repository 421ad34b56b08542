"""Data folders for whole programs; everything in them is gone afterwards."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from citewell import embedded
from records.databases import new_folder


@pytest.fixture(scope="module")
def data() -> Iterator[Path]:
    """A data folder that is not there yet, in a folder of its own."""
    with new_folder() as folder:
        yield folder / "data"
        embedded.remove_data(folder / "data")
