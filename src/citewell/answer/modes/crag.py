"""The mode ``crag``."""

from citewell.answer.path import Mode

CRAG = Mode("crag")
