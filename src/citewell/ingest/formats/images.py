"""Image files: each frame is a page, read by OCR."""

import io
from importlib import import_module
from typing import Any

import numpy as np

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft, title_from_name
from citewell.ingest.formats.ocr import LONGEST_SIDE, PageReader, Pixels
from citewell.ingest.formats.pdf import write_pages

_FORMATS = ("PNG", "JPEG", "TIFF", "WEBP", "BMP")
_MOST_PIXELS = 120_000_000


def read_image(data: bytes, draft: Draft) -> None:
    """Read an image's frames: all of a TIFF file's, the first of the others.

    Raises:  DocumentRejected – ``corrupt``; ``no_text``; ``parser_memory``: more than 120 million
             pixels; ``parser_timeout``.
    """
    if draft.ocr is None:
        raise AssertionError("an image is detected as a document only where there is OCR")
    reader = PageReader(draft.ocr, draft)
    draft.title = title_from_name(draft.name)
    library: Any = import_module("PIL.Image")
    library.MAX_IMAGE_PIXELS = None  # checked below, with our own message
    try:
        with library.open(io.BytesIO(data), formats=_FORMATS) as image:
            frames = int(getattr(image, "n_frames", 1)) if image.format == "TIFF" else 1
            texts: list[str] = []
            for number in range(frames):
                reader.take_time()
                image.seek(number)
                texts.append(reader.read(_pixels(image), number + 1))
    except (OSError, SyntaxError, ValueError, EOFError, TypeError, KeyError) as error:
        raise DocumentRejected(
            "corrupt",
            "The image is damaged or of a rare kind. Open it in its own program, save it anew as "
            "PNG and upload that.",
        ) from error
    draft.images = len(texts)
    if not write_pages(texts, draft):
        raise DocumentRejected(
            "no_text",
            "OCR found nothing in the image that it can read. It knows Latin, Chinese and Japanese "
            "letters.",
        )


def _pixels(image: Any) -> Pixels:
    """Return a frame upright as its camera noted, on white, no larger than OCR needs."""
    width, height = image.size
    if width * height > _MOST_PIXELS:
        raise DocumentRejected(
            "parser_memory",
            f"The image has more than {_MOST_PIXELS // 1_000_000} million pixels. Make it smaller.",
        )
    image.draft("RGB", (LONGEST_SIDE, LONGEST_SIDE))
    frame = _in_colours(image)
    frame.thumbnail((LONGEST_SIDE, LONGEST_SIDE), reducing_gap=2.0)
    frame = import_module("PIL.ImageOps").exif_transpose(frame)
    return np.ascontiguousarray(np.asarray(frame.convert("RGB"))[..., ::-1])


def _in_colours(image: Any) -> Any:
    """Return the frame as grey or RGB, what is transparent as white."""
    if image.mode in {"1", "L"} and "transparency" not in image.info:
        return image.convert("L")
    if image.mode.startswith("I;16"):
        grey = (np.asarray(image) >> 8).astype(np.uint8)
        return import_module("PIL.Image").fromarray(grey)
    if image.has_transparency_data:
        layers = image.convert("RGBA")
        white = import_module("PIL.Image").new("RGBA", layers.size, "white")
        return import_module("PIL.Image").alpha_composite(white, layers).convert("RGB")
    return image.convert("RGB")
