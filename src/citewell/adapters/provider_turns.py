"""Who may call a provider, and when: fair turns among workspaces, and a pause after failures.

``GuardedLanguageModel`` puts both around any language model.
"""

import asyncio
from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from time import monotonic
from typing import Literal

from citewell.domain import Usage, WorkspaceId
from citewell.errors import ProviderBadReply, ProviderBusy, ProviderError, ProviderTimeout
from citewell.ports import LanguageModel, ModelCall
from citewell.ports.models import ShapeT

PATIENCE_SECONDS = 5.0
"""A call that had less time than this says nothing about the provider when it ends too late."""
Outcome = Literal["worked", "failed", "unknown"]
REFUSED = "provider_refused"
"""The code of a ProviderError that the same call would meet again: the provider works."""


class Turns:
    """At most ``most`` turns at once; those who wait are served in rotation over workspaces."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._free = most
        self._waiting: OrderedDict[WorkspaceId, deque[asyncio.Future[None]]] = OrderedDict()

    @property
    def taken(self) -> int:
        """How many turns are taken now."""
        return self._most - self._free

    @property
    def waiting(self) -> int:
        """How many calls wait for a turn."""
        return sum(map(len, self._waiting.values()))

    async def take(self, workspace_id: WorkspaceId) -> None:
        """Wait for a turn; whoever stops waiting takes none."""
        if self._free:
            self._free -= 1
            return
        turn = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(workspace_id, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                self._forget(workspace_id, turn)
            else:  # it was handed over in the same moment
                self.give_back()
            raise

    def give_back(self) -> None:
        """Hand a turn to the workspace that has waited longest for one; it then goes last."""
        while self._waiting:
            workspace_id, queue = self._waiting.popitem(last=False)
            turn = queue.popleft()
            if queue:
                self._waiting[workspace_id] = queue
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1

    def _forget(self, workspace_id: WorkspaceId, turn: asyncio.Future[None]) -> None:
        queue = self._waiting.get(workspace_id)
        if queue is not None and turn in queue:
            queue.remove(turn)
            if not queue:
                del self._waiting[workspace_id]


class Breaker:
    """Leaves a provider alone for a while after calls that failed in a row, then lets one try."""

    def __init__(
        self, failures: int, seconds: float, clock: Callable[[], float] = monotonic
    ) -> None:
        self._most_failures = failures
        self._seconds = seconds
        self._clock = clock
        self._failures = 0
        self._closed_until = 0.0
        self._trying = False

    def check(self) -> None:
        """Pass while the provider is not left alone.

        Raises:  ProviderBusy – it is; carries how long still.
        """
        if self._failures < self._most_failures:
            return
        left = self._closed_until - self._clock()
        if left > 0 or self._trying:
            raise ProviderBusy(
                "The model failed several times in a row and is left alone for a moment; "
                "try again soon.",
                retry_after_seconds=max(1.0, left),
            )

    def enter(self) -> bool:
        """Pass as ``check`` does; return whether this call tries the provider, alone."""
        self.check()
        alone = self._failures >= self._most_failures
        self._trying = self._trying or alone
        return alone

    def leave(self, outcome: Outcome, *, alone: bool) -> None:
        """Learn how a call that entered ended."""
        if alone:
            self._trying = False
        if outcome == "worked":
            self._failures = 0
        elif outcome == "failed":
            self._failures += 1
            self._closed_until = self._clock() + self._seconds


class GuardedLanguageModel:
    """A language model that is called in turns, and not at all while it is broken.

    Holds:   waiting for a turn counts against the deadline; every way out frees the turn.
    Raises:  ProviderBusy – no turn until the deadline, or the model is left alone.
    """

    def __init__(
        self,
        model: LanguageModel,
        turns: Turns,
        breaker: Breaker,
        close: Callable[[], Awaitable[None]] | None = None,
    ) -> None:
        self._model = model
        self._turns = turns
        self._breaker = breaker
        self._close = close
        self.name = model.name
        self.window_tokens = model.window_tokens

    async def stream(self, call: ModelCall) -> AsyncGenerator[str | Usage]:
        """Yield pieces of text as they come, and the usage last."""
        async with self._turn(call) as turn:
            pieces = self._model.stream(turn.call)
            try:
                async for piece in pieces:
                    turn.outcome = "worked"
                    yield piece
            finally:
                await pieces.aclose()

    async def extract(self, call: ModelCall, shape: type[ShapeT]) -> tuple[ShapeT, Usage]:
        """Return the reply as a validated value of ``shape``."""
        async with self._turn(call) as turn:
            reply = await self._model.extract(turn.call, shape)
            turn.outcome = "worked"
            return reply

    def estimate_cost(self, input_tokens: int, output_tokens: int) -> float | None:
        """Return what so many tokens cost in US dollars; None where no price is known."""
        return self._model.estimate_cost(input_tokens, output_tokens)

    async def close(self) -> None:
        """Close the connections that calls left open for the next ones."""
        if self._close is not None:
            await self._close()

    @asynccontextmanager
    async def _turn(self, call: ModelCall) -> AsyncGenerator["_Turn"]:
        self._breaker.check()
        started = monotonic()
        try:
            async with asyncio.timeout(call.deadline_seconds):
                await self._turns.take(call.workspace_id)
        except TimeoutError as error:
            raise ProviderBusy(
                "Too many questions wait for the model; wait and ask again, or raise "
                "CITEWELL_MODEL__MAX_CONCURRENT."
            ) from error
        try:
            alone = self._breaker.enter()
            left = max(0.0, call.deadline_seconds - (monotonic() - started))
            turn = _Turn(replace(call, deadline_seconds=left))
            try:
                yield turn
            except ProviderError as error:
                turn.outcome = _judge(error, left)
                raise
            finally:
                self._breaker.leave(turn.outcome, alone=alone)
        finally:
            self._turns.give_back()


class _Turn:
    """A call that has its turn, with the time that is left, and how it went."""

    def __init__(self, call: ModelCall) -> None:
        self.call = call
        self.outcome: Outcome = "unknown"


def _judge(error: ProviderError, seconds: float) -> Outcome:
    """Say what an error tells about the provider: one that refuses or errs in its reply works."""
    if isinstance(error, ProviderBadReply) or error.reason == REFUSED:
        return "worked"
    if isinstance(error, ProviderTimeout) and seconds < PATIENCE_SECONDS:
        return "unknown"
    return "failed"
