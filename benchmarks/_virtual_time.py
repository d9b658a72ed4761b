"""An event loop in which waiting costs nothing: when everybody sleeps, time jumps to the next alarm.

Work in other threads (a database) takes real time, during which virtual time must stand still: whoever starts such work
says so with `loop.real_work()`.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

__all__ = ["VirtualTimeLoop", "run_in_virtual_time"]

_T = TypeVar("_T")


class _Jumping(selectors.DefaultSelector):
    """Asks `jump` to pass the time when nothing happens."""

    def __init__(self) -> None:
        super().__init__()
        self.jump: Callable[[float], bool] = lambda _seconds: False

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        if timeout is None or timeout <= 0:
            return super().select(timeout)
        events = super().select(0)
        if events or self.jump(timeout):
            return events
        return super().select(timeout)


class VirtualTimeLoop(asyncio.SelectorEventLoop):
    """Its clock stands still while there is something to do, and jumps when there is not."""

    def __init__(self) -> None:
        selector = _Jumping()
        super().__init__(selector)
        self._virtual_s = 0.0
        self._working = 0
        selector.jump = self._jump

    def time(self) -> float:
        """Virtual seconds since the start."""
        return self._virtual_s

    def _jump(self, seconds: float) -> bool:
        if self._working:
            time.sleep(0.0002)  # the other thread needs the processor; look again soon, at the same virtual time
        else:
            self._virtual_s += seconds
        return True

    @contextmanager
    def real_work(self) -> Iterator[None]:
        """Time stands still until the block ends."""
        self._working += 1
        try:
            yield
        finally:
            self._working -= 1


def run_in_virtual_time(work: Callable[[VirtualTimeLoop], Coroutine[Any, Any, _T]]) -> _T:
    """The result of `work`."""
    with asyncio.Runner(loop_factory=VirtualTimeLoop) as runner:
        loop = runner.get_loop()
        assert isinstance(loop, VirtualTimeLoop)
        return runner.run(work(loop))
