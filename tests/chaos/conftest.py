"""Installations that are faulted; they run after the tests of single parts."""

import pytest


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the fault tests last."""
    items.sort(key=lambda item: "chaos" in item.path.parts)
