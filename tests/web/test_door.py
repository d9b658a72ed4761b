"""The access code cannot be guessed at leisure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from pydantic import SecretStr

from gateway.errors import ConfigurationError
from gateway.web.door import Door


class SteppedClock:
    """A clock that moves when told."""

    def __init__(self) -> None:
        self.seconds = 0.0

    @property
    def is_trusted(self) -> bool:
        """Always."""
        return True

    def now(self) -> datetime:
        """Not used here."""
        return datetime(2026, 3, 1, tzinfo=UTC)

    def monotonic(self) -> float:
        """What it was told."""
        return self.seconds


def test_wrong_codes_close_the_door_for_longer_and_longer() -> None:
    """Five tries are free; then each wrong one doubles the pause, and even the right code waits for its end."""
    clock = SteppedClock()
    door = Door(SecretStr("bon-courage"), clock)
    assert not any(door.opens(b"guess") for _ in range(5))
    assert 1.0 == door.wait_s()
    assert not door.opens(b"bon-courage")
    clock.seconds += 1.0
    assert not door.opens(b"guess")
    assert 2.0 == door.wait_s()
    clock.seconds += 2.0
    assert door.opens(b"bon-courage")
    assert not door.opens(b"guess")
    assert 0.0 == door.wait_s(), "after a right code counting begins anew"


def test_the_pause_has_a_ceiling() -> None:
    """Nobody is locked out for more than five minutes."""
    clock = SteppedClock()
    door = Door(SecretStr("bon-courage"), clock)
    for _ in range(60):
        clock.seconds += door.wait_s()
        door.opens(b"guess")
    assert 300.0 == door.wait_s()


def test_a_short_code_is_refused() -> None:
    """Eight characters at least, said with the path of the setting."""
    with pytest.raises(ConfigurationError, match="8 characters") as refused:
        Door(SecretStr("1234567"), SteppedClock())
    assert "web.access_code_file" == refused.value.problems[0][0]
