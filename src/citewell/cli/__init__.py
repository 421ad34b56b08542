"""The command line's door: one file a group of commands."""

from citewell.cli.app import main

__all__ = ["main"]
