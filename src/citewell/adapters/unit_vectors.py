"""What every embedder's vectors must be: the right shape, numbers, and of unit length."""

import numpy as np
from numpy.typing import ArrayLike

from citewell.errors import ProviderBadReply
from citewell.ports import Vectors

SHORTEST = 1e-6
"""A vector below it has no direction: it is what a broken model sends."""


def unit_rows(rows: ArrayLike, count: int, dimension: int) -> Vectors:
    """Return a model's vectors as float32 rows of unit length.

    Shapes:  anything → (count, dimension).
    Raises:  ProviderBadReply – another shape, a value that is no number, or a row of zeros.
    """
    try:
        vectors = np.asarray(rows)
    except ValueError as error:  # rows of different lengths
        raise _wrong(f"They must all have {dimension} numbers") from error
    if vectors.dtype.kind not in "fiu" or vectors.ndim != 2 or len(vectors) != count:
        raise _wrong(f"There must be {count} lists of numbers")
    if vectors.shape[1] != dimension:
        raise ProviderBadReply(
            f"The embedding model's vectors have {vectors.shape[1]} numbers, and {dimension} were "
            "expected. Set CITEWELL_EMBEDDER__DIMENSION to what the model has, then read all "
            "documents anew with `citewell reindex`."
        )
    with np.errstate(over="ignore", invalid="ignore"):
        vectors = vectors.astype(np.float64)
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    if not np.isfinite(lengths).all():
        raise _wrong("They hold values that are not numbers")
    if (lengths < SHORTEST).any():
        raise _wrong("One holds only zeros")
    return (vectors / lengths).astype(np.float32)


def _wrong(what: str) -> ProviderBadReply:
    return ProviderBadReply(
        f"The embedding model returned vectors that cannot be used. {what}; try again, or look at "
        "the model's server."
    )
