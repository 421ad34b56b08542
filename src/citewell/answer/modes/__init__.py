"""Ways to answer a question. A new one is a file here and a line in ``MODES``."""

from citewell.answer.modes.crag import CRAG
from citewell.answer.modes.structured import STRUCTURED
from citewell.answer.path import Mode
from citewell.errors import Unprocessable

STANDARD = Mode("standard")
MODES = {mode.name: mode for mode in (STANDARD, CRAG, STRUCTURED)}


def read_mode(name: str) -> Mode:
    """Return the mode of that name; ``crag+structured`` joins the steps of both.

    Raises:  Unprocessable – there is no such mode; the message lists those that there are.
    """
    chosen = sorted(set(name.split("+")))
    if unknown := [part for part in chosen if part not in MODES]:
        raise Unprocessable(
            f"There is no mode {unknown[0][:40]!r}. Modes are {', '.join(MODES)}; "
            "join them with +, as in crag+structured.",
            code="unknown_mode",
        )
    modes = [MODES[part] for part in chosen]
    return Mode(
        name="+".join(part for part in chosen if part != "standard" or len(chosen) == 1),
        select=next((mode.select for mode in modes if mode.select), None),
        write=next((mode.write for mode in modes if mode.write), None),
        fill=next((mode.fill for mode in modes if mode.fill), None),
    )
