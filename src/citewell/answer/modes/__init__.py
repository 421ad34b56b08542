"""Ways to answer a question. A new one is a file here and a line in ``MODES``."""

from citewell.answer.modes.crag import CRAG
from citewell.answer.modes.structured import STRUCTURED
from citewell.answer.path import Mode, QuestionPath, SelectStep, Toolbox
from citewell.errors import Unprocessable

STANDARD = Mode("standard")
MODES = {mode.name: mode for mode in (STANDARD, CRAG, STRUCTURED)}


def read_mode(name: str) -> Mode:
    """Return the mode of that name; ``crag+structured`` joins the steps of both.

    Raises:  Unprocessable – there is no such mode, or two of them write the answer.
    """
    chosen = sorted(set(name.split("+")))
    if unknown := [part for part in chosen if part not in MODES]:
        raise Unprocessable(
            f"There is no mode {unknown[0][:40]!r}. Modes are {', '.join(MODES)}; "
            "join them with +, as in crag+structured.",
            code="unknown_mode",
        )
    modes = [MODES[part] for part in chosen]
    writing = [mode for mode in modes if mode.write or mode.fill]
    if len(writing) > 1:
        names = " and ".join(mode.name for mode in writing)
        raise Unprocessable(
            f"The modes {names} both write the answer. Name one of them.", code="unknown_mode"
        )
    return Mode(
        name="+".join(part for part in chosen if part != "standard" or len(chosen) == 1),
        select=_in_turn([mode.select for mode in modes if mode.select]),
        write=next((mode.write for mode in writing), None),
        fill=next((mode.fill for mode in writing), None),
    )


def _in_turn(steps: list[SelectStep]) -> SelectStep | None:
    """Join selections: each goes on with what the one before kept, until one refuses."""
    if len(steps) < 2:
        return steps[0] if steps else None

    async def select(path: QuestionPath, toolbox: Toolbox) -> None:
        for step in steps:
            if path.refusal is None:
                await step(path, toolbox)

    return select
