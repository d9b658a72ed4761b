"""How long to wait before a departure is tried again. Pure."""

from __future__ import annotations

import random
from dataclasses import dataclass

__all__ = ["DispatchPolicy", "retry_delay_s"]


@dataclass(frozen=True, slots=True)
class DispatchPolicy:
    """The dispatcher's delays, seconds.

    Attributes:
        base_s: delay after the first transient failure; it doubles with each further one.
        ceiling_s: longest delay, also for what a space asks for in `Retry-After`.
        settle_s: delay between a lost answer and reading back, so that a slow space has finished.
        park_s: how long an account that needs a person is left alone by this process; also how long a row that nobody
            can read back, or that failed for an unforeseen reason, waits.
        poll_s: how often due rows are looked for at least.
        pause_after: failures in a row (transient, or the answer lost) after which the whole destination is left alone
            for a while.
    """

    base_s: float = 5.0
    ceiling_s: float = 3600.0
    settle_s: float = 10.0
    park_s: float = 86_400.0
    poll_s: float = 15.0
    pause_after: int = 3


def retry_delay_s(policy: DispatchPolicy, failures: int, chance: random.Random, *, at_least_s: float = 0.0) -> float:
    """Exponential delay with jitter, never below `at_least_s` and never above `policy.ceiling_s`.

    Args:
        failures: how many times it failed, from 1; the delay is 50 to 100 % of `base_s * 2**(failures-1)`.
        at_least_s: what the other side asked for; any number, nonsense is bounded.
    """
    exponent = min(max(failures, 1) - 1, 32)
    whole = min(policy.base_s * 2.0**exponent, policy.ceiling_s)
    drawn = whole * (0.5 + chance.random() / 2)
    return min(max(drawn, at_least_s, 0.0), policy.ceiling_s)
