"""Estimate how many tokens a text takes, for models whose tokenizer is not at hand."""

BYTES_PER_TOKEN = 4
"""Of English text; counting bytes rather than characters keeps other scripts from being
underestimated."""


def estimate_tokens(*texts: str) -> int:
    """Return about how many tokens the texts take together."""
    return sum(len(text.encode()) // BYTES_PER_TOKEN + 1 for text in texts)
