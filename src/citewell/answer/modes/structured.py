"""The mode ``structured``."""

from citewell.answer.path import Mode

STRUCTURED = Mode("structured")
