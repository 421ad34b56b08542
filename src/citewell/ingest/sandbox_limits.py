"""What one parser process may use."""

from dataclasses import dataclass

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class ParserLimits:
    """The limits of one file, and of the process that reads it.

    ``timeout_seconds`` is time on the wall, ``cpu_seconds`` time of the processor; ``max_threads``
    counts processes and threads together, where the system counts them for each parser. Without
    ``ocr_seconds``, pages that are images are not read.
    """

    timeout_seconds: float = 60.0
    cpu_seconds: int = 61
    memory_bytes: int = 1024 * MEBIBYTE
    max_written_bytes: int = 256 * MEBIBYTE
    max_threads: int = 64
    max_text_characters: int = 20_000_000
    ocr_seconds: float = 0.0

    @property
    def longest_seconds(self) -> float:
        """The time after which a file has hung, whatever it needs."""
        return self.timeout_seconds + self.ocr_seconds
