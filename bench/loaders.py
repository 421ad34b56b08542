"""Read a folder of real and hostile files in the sandbox and compare with a list of what they hold.

    python -m bench.loaders --folder ../shared/data/loaders

The list is ``bench/loaders.csv``: the path, its kind (good, image, hostile), and what is expected:
``phrase``, found in the text with its white space made even; ``reason``, one of the codes; or
``ocr phrase``, for which a server with OCR is asked. Prints a table; exits with 1 on a difference.
"""

import argparse
import asyncio
import csv
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from citewell.domain import Chunking, ParseReport
from citewell.errors import DocumentRejected
from citewell.ingest.ocr import is_installed
from citewell.ingest.sandbox import ParserPool
from citewell.ingest.sandbox_limits import ParserLimits
from citewell.wiring import MINILM_COUNT_TOKENS

LIST = Path(__file__).with_suffix(".csv")
LIMIT_SECONDS = 30.0
LIMIT_BYTES = 1024 * 1024 * 1024
OCR_SECONDS = 60.0


@dataclass
class Expected:
    """What the list says of one file."""

    path: str
    kind: str
    values: dict[str, list[str]] = field(default_factory=dict[str, list[str]])


@dataclass
class Outcome:
    """How a file ended: as text or as a reason."""

    text: str
    reason: str
    seconds: float
    report: ParseReport | None


def read_list() -> list[Expected]:
    """Return the list, a file an entry, in its order."""
    found: dict[str, Expected] = {}
    with LIST.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            entry = found.setdefault(row["path"], Expected(row["path"], row["kind"]))
            entry.values.setdefault(row["expects"], []).append(row["value"])
    return list(found.values())


async def read_file(pool: ParserPool, path: Path) -> Outcome:
    started = time.perf_counter()
    text, reason, report = "", "", None
    try:
        async for part in pool.read(str(path), path.name):
            text, report = text + part.text, part.head.report
    except DocumentRejected as error:
        reason = error.reason
    return Outcome(" ".join(text.split()), reason, time.perf_counter() - started, report)


def difference(expected: Expected, outcome: Outcome, *, ocr: bool) -> str:
    """Say what is other than the list has it, or nothing."""
    limit = LIMIT_SECONDS + (OCR_SECONDS if ocr and expected.kind == "image" else 0.0)
    if outcome.seconds > limit:
        return f"took {outcome.seconds:.1f} s"
    if outcome.report is not None and outcome.report.peak_memory_bytes > LIMIT_BYTES:
        return f"took {outcome.report.peak_memory_bytes >> 20} MiB"
    phrases = expected.values.get("phrase", [])
    reasons = "|".join(expected.values.get("reason", [])).split("|")
    if ocr and "ocr phrase" in expected.values:
        phrases, reasons = expected.values["ocr phrase"], []
    if phrases:
        if outcome.reason:
            return f"ended as {outcome.reason}"
        missing = [each for each in phrases if each not in outcome.text]
        return f"does not hold {missing[0]!r}" if missing else ""
    if outcome.reason in reasons:
        return ""
    return f"ended as {outcome.reason or 'text'}, not as {' or '.join(reasons)}"


async def run(folder: Path, *, ocr: bool) -> int:
    expectations = read_list()
    differences = 0
    counts: Counter[str] = Counter()
    slowest, largest = 0.0, 0
    limits = ParserLimits(
        timeout_seconds=LIMIT_SECONDS,
        memory_bytes=LIMIT_BYTES,
        ocr_seconds=OCR_SECONDS if ocr else 0.0,
    )
    async with ParserPool(
        chunking=Chunking(200, 0, 256), count_tokens=MINILM_COUNT_TOKENS, processes=1, limits=limits
    ) as pool:
        for expected in expectations:
            outcome = await read_file(pool, folder / expected.path)
            wrong = difference(expected, outcome, ocr=ocr)
            differences += bool(wrong)
            counts[expected.kind] += not wrong
            slowest = max(slowest, outcome.seconds)
            memory = outcome.report.peak_memory_bytes if outcome.report else 0
            largest = max(largest, memory)
            ended = outcome.reason or f"{len(outcome.text):,} characters"
            print(
                f"{'WRONG' if wrong else 'ok':5}  {expected.kind:7}  {expected.path:44}  "
                f"{outcome.seconds:6.2f} s  {memory >> 20:4} MiB  {ended}"
            )
            if wrong:
                print(f"       {wrong}")
    totals = Counter(expected.kind for expected in expectations)
    listed = ", ".join(f"{counts[kind]} of {totals[kind]} {kind}" for kind in totals)
    print(f"\n{listed} as listed; slowest {slowest:.2f} s, largest {largest >> 20} MiB.")
    return min(differences, 1)


def unlisted(folder: Path) -> list[str]:
    """Return the files of the folder that the list does not name."""
    listed = {expected.path for expected in read_list()} | {"MANIFEST.csv"}
    found = {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}
    return sorted(found - listed)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--folder", type=Path, required=True, help="where the files are")
    parser.add_argument("--ocr", action="store_true", help="OCR is enabled: expect its phrases")
    options = parser.parse_args(arguments)
    if options.ocr and not is_installed():
        sys.exit("OCR is not installed. Run `uv sync --extra ocr` first.")
    strangers = unlisted(options.folder)
    for path in strangers:
        print(f"WRONG  {path} is not on the list")
    return max(asyncio.run(run(options.folder, ocr=options.ocr)), min(len(strangers), 1))


if __name__ == "__main__":
    sys.exit(main())
