"""Keeps workers running: the one place where an unexpected error is caught, logged and survived."""

from __future__ import annotations

import asyncio
import random
import traceback
from asyncio import CancelledError, current_task
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

import structlog

__all__ = ["contain", "supervise"]

T = TypeVar("T")

_log = structlog.get_logger()
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 300.0
_SOUND_S = 600.0
_FRAMES = 4


async def supervise(name: str, work: Callable[[], Awaitable[None]]) -> None:
    """Run `work` for ever: when it fails or ends, start it again after a pause that doubles, up to five minutes.

    A worker that was sound for ten minutes begins again at the short pause. Cancellation ends it.
    """
    loop = asyncio.get_running_loop()
    pause_s, failures = _FIRST_PAUSE_S, 0
    while True:
        started = loop.time()
        try:
            await work()
            _log.warning("worker.ended", worker=name)
        except Exception as error:  # noqa: BLE001 - the supervisor is where unexpected errors end
            failures += 1
            _log.error("worker.failed", worker=name, failures=failures, **_facts(error))
            _heed_cancellation()
        if loop.time() - started > _SOUND_S:
            pause_s = _FIRST_PAUSE_S
        await asyncio.sleep(pause_s * random.uniform(0.8, 1.2))  # noqa: S311 - jitter, not a secret
        pause_s = min(2 * pause_s, _LONGEST_PAUSE_S)


async def contain(
    name: str,
    work: Callable[[], Awaitable[T]],
    *,
    otherwise: Callable[[Exception], T],
    passing: type[Exception] | tuple[type[Exception], ...] = (),
) -> T:
    """The result of `work`; when it fails unexpectedly, what `otherwise` makes of the error, so that one item that no
    code foresaw does not stop the items after it.

    Errors of `passing` and cancellation come out.
    """
    try:
        return await work()
    except passing:
        raise
    except Exception as error:  # noqa: BLE001 - an item's unexpected error ends here, at the item
        _log.error("worker.item_failed", worker=name, **_facts(error))
        _heed_cancellation()
        return otherwise(error)


def _heed_cancellation() -> None:
    """An error in the tidying-up of something that was cancelled has taken the cancellation's place: raise that."""
    task = current_task()
    if task is not None and task.cancelling():
        raise CancelledError


def _facts(error: BaseException) -> dict[str, str]:
    """What happened and where, without the message: nobody knows what that quotes. Of a group, the first of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    frames = traceback.extract_tb(error.__traceback__)[-_FRAMES:]
    where = " < ".join(f"{Path(frame.filename).stem}.{frame.name}:{frame.lineno}" for frame in reversed(frames))
    return {"cause": type(error).__name__, "where": where}
