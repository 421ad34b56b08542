"""A partner of the pipelines with some of its methods changed, to see what notices it."""

from typing import Any


class Altered:
    """A port whose named methods are others; all the rest is the real one's."""

    def __init__(self, real: Any, **methods: Any) -> None:
        self._real = real
        self.__dict__.update(methods)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def unchanged(value: Any) -> Any:
    """Return what was given: the part of a harm that does none."""
    return value
