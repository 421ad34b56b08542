"""OCR: the text of pages that are images, by models that are installed and never downloaded."""

import time
from functools import cache
from importlib import import_module
from math import floor
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from citewell.errors import DocumentRejected
from citewell.ingest.draft import Draft
from citewell.ingest.formats.page_layout import Line, page_text
from citewell.ingest.ocr import MOST_STAMP_CHARACTERS, OcrAllowance

Pixels = NDArray[np.uint8]
"""A page's image: height, width and the colours blue, green, red."""

LONGEST_SIDE = 2000
"""More pixels than this bring no more letters, but more time and memory."""

_DETECTION_SIDE = 1280
_DOTS_PER_POINT = 200 / 72
_IMAGE_OBJECT = 3  # FPDF_PAGEOBJ_IMAGE
_MODELS = {"Det": "PP-OCRv6_det_small.onnx", "Rec": "PP-OCRv6_rec_small.onnx",
           "Cls": "ch_ppocr_mobile_v2.0_cls_mobile.onnx"}  # fmt: skip
_LEAST_CONFIDENCE = 0.6
_LEAST_PAGE_CONFIDENCE = 0.75
_UPRIGHT_CONFIDENCE = 0.85
_BLANK_CONTRAST = 24
_LEAST_SIDE = 8
_OUT_OF_MEMORY = ("alloc", "memory", "failed to map segment")


class PageReader:
    """Reads one file's images within its time and notes in the draft how sure it was.

    Raises:  DocumentRejected – ``parser_timeout``, ``parser_memory``.
    """

    def __init__(self, allowance: OcrAllowance, draft: Draft) -> None:
        self._allowance = allowance
        self._draft = draft
        self._deadline = 0.0
        self._read = 0

    def take_time(self) -> None:
        """Grant the next page its time; call it before the page is drawn."""
        if not self._deadline:
            self._deadline = time.monotonic() + self._allowance.seconds
        elif time.monotonic() > self._deadline:
            raise self._out_of_time()
        self._allowance.before_page()

    def read(self, pixels: Pixels, page: int, known: str = "") -> str:
        """Return a page's lines in reading order; an empty line parts paragraphs.

        ``known`` is what stays if OCR does not find much more.
        """
        try:
            lines = _upright_lines(pixels)
        except MemoryError as error:
            raise _out_of_memory() from error
        self._read += 1
        if sum(len(line.text) for line in lines) <= 2 * len(known):
            return known
        if _confidence(lines) < _LEAST_PAGE_CONFIDENCE:
            self._draft.skip("pages that OCR could not read", "it was less than 75 % sure")
            return known
        sure = [line for line in lines if line.confidence >= _LEAST_CONFIDENCE]
        self._draft.skip(
            "lines that OCR could not read", "it was less than 60 % sure", len(lines) - len(sure)
        )
        confidence = floor(_confidence(sure) * 1000) / 1000
        self._draft.pages_by_ocr.append({"page": page, "confidence": confidence})
        return page_text(sure)

    def _out_of_time(self) -> DocumentRejected:
        return DocumentRejected(
            "parser_timeout",
            f"OCR read {self._read} {'page' if self._read == 1 else 'pages'} of the file within "
            f"{self._allowance.seconds:g} seconds, and more are left. Split the file, or raise "
            "CITEWELL_PARSE__OCR_SECONDS.",
        )


def read_scans(data: bytes, texts: list[str], draft: Draft) -> list[str]:
    """Return a PDF's pages, with those read that have no text, or only a stamp on an image."""
    short = [
        number for number, text in enumerate(texts) if len(text.strip()) <= MOST_STAMP_CHARACTERS
    ]
    if draft.ocr is None or not short:
        return texts
    pdfium = import_module("pypdfium2")
    reader = PageReader(draft.ocr, draft)
    try:
        document = pdfium.PdfDocument(data, password=draft.password)
    except pdfium.PdfiumError:
        draft.skip("pages without text", "they could not be drawn for OCR", len(short))
        return texts
    pages = list(texts)
    try:
        for number in short:
            known = texts[number].strip()
            reader.take_time()
            try:
                page = document[number]
                pixels = _drawn(page) if not known or _is_scan(page) else None
                page.close()
            except pdfium.PdfiumError:
                draft.skip("pages without text", "they could not be drawn for OCR")
                continue
            if pixels is not None:
                pages[number] = reader.read(pixels, number + 1, known)
    finally:
        document.close()
    return pages


def _drawn(page: Any) -> Pixels:
    """Draw a PDF's page, as its rotation says."""
    width, height = page.get_size()
    scale = min(_DOTS_PER_POINT, LONGEST_SIDE / max(width, height, 1.0))
    try:
        return np.ascontiguousarray(page.render(scale=scale).to_numpy()[..., :3])
    except MemoryError as error:
        raise _out_of_memory() from error


def _is_scan(page: Any) -> bool:
    """Say whether an image covers most of a page."""
    width, height = page.get_size()
    pictures = page.get_objects(filter=[_IMAGE_OBJECT])
    bounds = [picture.get_bounds() for picture in pictures]
    return any(
        (right - left) * (top - bottom) > 0.6 * width * height
        for left, bottom, right, top in bounds
    )


def _upright_lines(pixels: Pixels) -> list[Line]:
    """Read an image; one that reads badly is read once more upside down."""
    too_small = min(pixels.shape[:2]) < _LEAST_SIDE
    if too_small or int(pixels.max()) - int(pixels.min()) < _BLANK_CONTRAST:
        return []
    lines = _lines(pixels)
    if not lines or _confidence(lines) >= _UPRIGHT_CONFIDENCE:
        return lines
    turned = _lines(np.ascontiguousarray(pixels[::-1, ::-1]))
    return turned if turned and _confidence(turned) > _confidence(lines) else lines


def _lines(pixels: Pixels) -> list[Line]:
    """Find and read an image's lines; where most stand upright, the page is turned by 90°."""
    engine = _engine()
    try:
        found = engine(pixels, use_det=True, use_cls=False, use_rec=True)
    except _failures() as error:
        if _is_memory(error):
            raise MemoryError from error
        raise
    if found.txts is None:
        return []
    corners = _level(np.asarray(found.boxes, dtype=np.float64), pixels.shape[1])
    return [
        Line(" ".join(text.split()), float(score), *box.min(axis=0).tolist(),
             *box.max(axis=0).tolist())
        for text, score, box in zip(found.txts, found.scores, corners, strict=True)
        if text.strip()
    ]  # fmt: skip


def _level(boxes: NDArray[np.float64], width: int) -> NDArray[np.float64]:
    """Turn the lines' corners as if the page lay level; which side is up is not decided here.

    Shapes:  N lines × 4 corners × (x, y), and the same out.
    """
    sizes = boxes.max(axis=1) - boxes.min(axis=1)
    tall = int((sizes[:, 1] > 1.5 * sizes[:, 0]).sum())
    if tall > int((sizes[:, 0] > 1.5 * sizes[:, 1]).sum()):
        boxes = np.stack([boxes[:, :, 1], width - boxes[:, :, 0]], axis=2)
    edges = boxes[:, 1:3] - boxes[:, 0:2]
    longer = edges[np.arange(len(edges)), np.hypot(*edges.transpose(2, 0, 1)).argmax(axis=1)]
    tilts = (np.degrees(np.arctan2(longer[:, 1], longer[:, 0])) + 45) % 90 - 45
    tilt = np.radians(np.median(tilts))
    turn = np.array([[np.cos(tilt), -np.sin(tilt)], [np.sin(tilt), np.cos(tilt)]])
    return boxes @ turn


def _confidence(lines: list[Line]) -> float:
    """Return the mean over characters."""
    return sum(line.confidence * len(line.text) for line in lines) / sum(
        len(line.text) for line in lines
    )


@cache
def _engine() -> Any:
    """Load the models from the installed package, for one thread.

    Cost:    1 second and 100 MB.
    """
    try:
        rapidocr = import_module("rapidocr")
        reader = rapidocr.RapidOCR
        import_module("cv2").setNumThreads(1)
    except (ImportError, OSError) as error:
        if _is_memory(error):
            raise MemoryError from error
        raise
    folder = Path(str(rapidocr.__file__)).parent / "models"
    return reader(params={
        "Global.log_level": "critical",
        "Global.text_score": 0.0,
        "Global.max_side_len": LONGEST_SIDE,
        "EngineConfig.onnxruntime.intra_op_num_threads": 1,
        "EngineConfig.onnxruntime.inter_op_num_threads": 1,
        "Det.limit_type": "max",
        "Det.limit_side_len": _DETECTION_SIDE,
        "Rec.rec_batch_num": 1,
        **{f"{part}.model_path": str(folder / name) for part, name in _MODELS.items()},
    })  # fmt: skip


def _failures() -> tuple[type[Exception], ...]:
    """Return what the libraries raise, of kinds that share no base."""
    state = import_module("onnxruntime.capi.onnxruntime_pybind11_state")
    session = import_module("rapidocr.inference_engine.onnxruntime.main")
    return (import_module("cv2").error, session.ONNXRuntimeError, state.Fail,
            state.RuntimeException)  # fmt: skip


def _is_memory(error: Exception) -> bool:
    lowered = str(error).lower()
    return any(sign in lowered for sign in _OUT_OF_MEMORY)


def _out_of_memory() -> DocumentRejected:
    return DocumentRejected(
        "parser_memory",
        "OCR of the file needs more memory than one file may use. Scan it with fewer dots per "
        "inch, or raise CITEWELL_PARSE__MEMORY_BYTES.",
    )
