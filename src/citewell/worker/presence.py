"""A worker process's row among the living: written at the start, touched now and then, removed."""

import asyncio
import os
import socket
from collections.abc import Sequence
from contextlib import suppress
from uuid import UUID

import structlog

from citewell.errors import CitewellError
from citewell.records.session import Database
from citewell.records.workers import (
    forget_worker,
    register_worker,
    remove_old_workers,
    touch_worker,
)

log = structlog.get_logger(__name__)

TOUCH_SECONDS = 15.0
FORGET_SECONDS = 3600.0
"""Rows of workers that were killed are removed after this."""


async def be_present(database: Database, queues: Sequence[str], concurrency: int) -> None:
    """Say that this process works, until cancelled."""
    worker_id: UUID | None = None
    try:
        while True:
            try:
                async with database.system_transaction() as connection:
                    if worker_id is None or not await touch_worker(connection, worker_id):
                        worker_id = await register_worker(
                            connection, socket.gethostname(), os.getpid(), queues, concurrency
                        )
                        await remove_old_workers(connection, FORGET_SECONDS)
            except CitewellError as error:
                log.warning("this worker could not say that it works", why=error.message)
            await asyncio.sleep(TOUCH_SECONDS)
    finally:
        if worker_id is not None:
            with suppress(CitewellError):
                async with database.system_transaction() as connection:
                    await forget_worker(connection, worker_id)
