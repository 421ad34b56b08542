"""Citewell answers questions from your documents and shows the exact span behind every sentence."""

from importlib.metadata import version

__version__ = version("citewell")
