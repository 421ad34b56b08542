"""A sliding window as the library ``limits`` keeps it, read: what is left, and how long to wait."""

import math

from limits import RateLimitItemPerMinute

from citewell.ports import Room, Window
from citewell.ports.limits import PERIOD_SECONDS

NAMESPACE = "limit"


def item_of(window: Window) -> RateLimitItemPerMinute:
    """Return a window as the library names it."""
    return RateLimitItemPerMinute(window.most, namespace=NAMESPACE)


def identifiers_of(window: Window) -> tuple[str, str]:
    """Return what tells the window from others."""
    return window.name, window.bucket


def room_of(
    window: Window,
    before: tuple[int, float],
    now: tuple[int, float],
    *,
    refused: bool,
) -> Room:
    """Return a window's room from its two counters, each with the seconds that it lives on.

    Holds:   the counter before weighs by its remaining share of the minute; the present one lives
             a minute longer than it is counted in.
    """
    (earlier, earlier_lives), (count, lives) = before, now
    weighted = math.floor(earlier * earlier_lives / PERIOD_SECONDS) + count
    reset = min(max(lives - PERIOD_SECONDS, 0.0), PERIOD_SECONDS) if count else earlier_lives
    if not refused or weighted < window.most:
        return Room(window, max(window.most - weighted, 0), reset or PERIOD_SECONDS)
    if count < window.most:
        wait = earlier_lives - (window.most - count) * PERIOD_SECONDS / earlier
    else:
        wait = reset + PERIOD_SECONDS - window.most * PERIOD_SECONDS / count
    return Room(window, 0, reset or PERIOD_SECONDS, max(wait, 0.001))
