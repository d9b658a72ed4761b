"""The supervisor: one worker that fails stops nobody."""

from __future__ import annotations

import asyncio
import types
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import pytest
from structlog.testing import capture_logs

from gateway import supervisor
from gateway.supervisor import contain, supervise


class _Loop:
    """A loop's clock, moved by hand."""

    def __init__(self) -> None:
        self.instant = 0.0

    def time(self) -> float:
        return self.instant


class _Enough(BaseException):
    """Ends a supervised worker in a test."""


@contextmanager
def _time_by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[_Loop, list[float]]]:
    """Pauses are noted instead of waited for."""
    loop, pauses = _Loop(), list[float]()

    async def pause(seconds: float) -> None:
        pauses.append(seconds)
        loop.instant += seconds

    stand_in = types.SimpleNamespace(get_running_loop=lambda: loop, sleep=pause)
    with monkeypatch.context() as patched:
        patched.setattr(supervisor, "asyncio", stand_in)
        patched.setattr(supervisor, "random", types.SimpleNamespace(uniform=lambda low, high: (low + high) / 2))
        yield loop, pauses


def _failing(times: int, loop: _Loop, *, seconds: float = 0.0) -> Callable[[], Awaitable[None]]:
    left = times

    async def work() -> None:
        nonlocal left
        loop.instant += seconds
        if left == 0:
            raise _Enough
        left -= 1
        raise RuntimeError("worker")

    return work


async def test_the_pause_doubles_up_to_five_minutes(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that fails again and again is started again ever more rarely, at least every five minutes."""
    with _time_by_hand(monkeypatch) as (loop, pauses), pytest.raises(_Enough):
        await supervise("radio", _failing(11, loop))
    assert [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300] == pauses


async def test_a_sound_worker_begins_at_the_short_pause(monkeypatch: pytest.MonkeyPatch) -> None:
    """After ten minutes without a failure, a failure is like the first one."""
    with _time_by_hand(monkeypatch) as (loop, pauses), pytest.raises(_Enough):
        await supervise("radio", _failing(3, loop, seconds=601))
    assert [1, 1, 1] == pauses


async def test_a_worker_that_ends_is_started_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker that returns is as little wanted as one that fails."""
    runs = 0

    async def work() -> None:
        nonlocal runs
        runs += 1
        if runs == 3:
            raise _Enough

    with _time_by_hand(monkeypatch) as (_, pauses), capture_logs() as lines, pytest.raises(_Enough):
        await supervise("radio", work)
    assert [1, 2] == pauses
    assert ["worker.ended", "worker.ended"] == [line["event"] for line in lines]


async def test_every_failure_is_logged_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each failure is one line with the worker's name and how many there have been."""
    with _time_by_hand(monkeypatch) as (loop, _), capture_logs() as lines, pytest.raises(_Enough):
        await supervise("radio", _failing(2, loop))
    assert [("worker.failed", "radio", 1, "error"), ("worker.failed", "radio", 2, "error")] == [
        (line["event"], line["worker"], line["failures"], line["log_level"]) for line in lines
    ]


async def test_cancellation_ends_it() -> None:
    """Being cancelled is not a failure: the supervisor ends at once, and the others in its group go on."""
    started, other_done = asyncio.Event(), asyncio.Event()

    async def work() -> None:
        started.set()
        await asyncio.Event().wait()

    async def other() -> None:
        await other_done.wait()

    async with asyncio.TaskGroup() as tasks:
        supervised = tasks.create_task(supervise("radio", work))
        sound = tasks.create_task(other())
        await started.wait()
        supervised.cancel()
        await asyncio.wait([supervised])
        assert (True, False) == (supervised.cancelled(), sound.done())
        other_done.set()


async def test_an_item_that_fails_unexpectedly_is_contained() -> None:
    """An unforeseen error becomes an answer and a log line without its message; what may pass, and cancellation, do."""

    async def fails(error: BaseException) -> str:
        raise error

    async def works() -> str:
        return "well"

    def otherwise(error: Exception) -> str:
        return type(error).__name__

    assert await contain("lane", works, otherwise=otherwise) == "well"
    with capture_logs() as logs:
        assert await contain("lane", lambda: fails(KeyError("7.1 mmol/L")), otherwise=otherwise) == "KeyError"
    (line,) = logs
    assert ("worker.item_failed", "lane", "KeyError") == (line["event"], line["worker"], line["cause"])
    assert "mmol" not in str(line)
    with pytest.raises(ValueError, match="passes"):
        await contain("lane", lambda: fails(ValueError("passes")), otherwise=otherwise, passing=ValueError)
    with pytest.raises(asyncio.CancelledError):
        await contain("lane", lambda: fails(asyncio.CancelledError()), otherwise=otherwise)


@pytest.mark.parametrize("is_contained", [True, False], ids=["contained", "supervised"])
async def test_an_error_while_tidying_up_does_not_hide_a_cancellation(is_contained: bool) -> None:
    """What is stopped and fails in its last words is stopped all the same."""
    begun = asyncio.Event()

    async def work() -> None:
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            raise AssertionError

    async def contained() -> None:
        await contain("test", work, otherwise=lambda _error: None)
        await asyncio.Event().wait()

    task = asyncio.create_task(contained() if is_contained else supervise("test", work))
    await begun.wait()
    task.cancel()
    await asyncio.wait([task], timeout=1)
    assert task.cancelled()
