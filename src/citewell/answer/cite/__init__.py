"""Check each sentence against its sources before a reader sees it."""

from citewell.answer.cite.check import Citer
from citewell.answer.cite.policy import must_hide

__all__ = ["Citer", "must_hide"]
