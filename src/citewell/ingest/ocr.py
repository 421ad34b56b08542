"""Whether pages that are images may be read, for how long, and how to enable it."""

from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec

MOST_STAMP_CHARACTERS = 100
"""A page of a PDF with no more text may be a scan with a stamp or a number on it."""

_PACKAGES = ("rapidocr", "pypdfium2", "PIL")


@dataclass(frozen=True, slots=True)
class OcrAllowance:
    """How long OCR may take for one file; ``before_page`` may grant each page time on the CPU."""

    seconds: float
    before_page: Callable[[], None] = lambda: None


def is_installed() -> bool:
    """Say whether the extra ``ocr`` is installed, without importing it."""
    return all(find_spec(package) for package in _PACKAGES)


def is_enabled(choice: str) -> bool:
    """Say whether the setting ``auto`` or ``off`` means OCR in this installation."""
    return choice == "auto" and is_installed()


def how_to_enable() -> str:
    """Return two sentences for a person whose file needs OCR where there is none."""
    step = (
        "set CITEWELL_PARSE__OCR=auto"
        if is_installed()
        else "run pip install 'citewell[ocr]', or uv sync --extra ocr in a checkout"
    )
    return (
        f"OCR is not enabled on this server. To enable it, {step}, and restart; or run OCR on the "
        "file first and upload the result."
    )
