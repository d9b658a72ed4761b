"""What a device says about itself."""

from __future__ import annotations

from datetime import datetime, timedelta

from gateway.devices.procedures import DeviceFacts, Facts, Read, Request
from gateway.sandbox.frames import encode_current_time, encode_date_time

WALL = datetime(2025, 2, 3, 7, 0)  # noqa: DTZ001 -- a device's clock has no zone
ANSWERS = {
    "2a29": b"Maker\0junk",
    "2a24": b"M-1",
    "2a25": b"S123",
    "2a26": b"1.0",
    "2a23": bytes.fromhex("0102030405aabbcc"),
    "2a19": b"\x50",
    "2a2b": encode_current_time(WALL),
}


def ask(facts: DeviceFacts, answers: dict[str, bytes]) -> list[str]:
    """Answer every read; the characteristics in the order in which they were asked for."""
    asked: list[str] = []
    todo: list[Request] = facts.start()
    while todo:
        request = todo.pop(0)
        assert isinstance(request, Read)
        asked.append(request.char)
        answer = answers.get(request.char)
        todo += facts.on_refused(request.char, 0x0A) if answer is None else facts.on_read(request.char, answer)
    assert facts.is_done
    return asked


def test_everything_is_learned_and_the_clock_is_last() -> None:
    """Identity, battery, then the clock, so that it can be compared at once."""
    inquiry = DeviceFacts()
    assert "2a2b" == ask(inquiry, ANSWERS)[-1]
    assert Facts("Maker", "M-1", "S123", "1.0", "CCBBAA0504030201", 80, WALL) == inquiry.facts
    assert timedelta(minutes=-5) == inquiry.facts.clock_offset(WALL - timedelta(minutes=5))


def test_identity_can_be_left_out() -> None:
    """It does not change: only battery and clock are read the next time."""
    assert ["2a19", "2a2b"] == ask(DeviceFacts(with_identity=False), ANSWERS)


def test_older_clock_is_found() -> None:
    """A meter without Current Time may keep a Date Time in its own service."""
    inquiry = DeviceFacts(with_identity=False)
    assert ["2a19", "2a2b", "2a08"] == ask(inquiry, {"2a08": encode_date_time(WALL)})
    assert WALL == inquiry.facts.device_time


def test_nothing_there_is_no_failure() -> None:
    """A device that says nothing about itself is read all the same."""
    inquiry = DeviceFacts()
    ask(inquiry, {})
    assert Facts() == inquiry.facts
    assert inquiry.facts.clock_offset(WALL) is None


def test_unreadable_answers_are_passed_over() -> None:
    """A malformed clock or battery is as good as none."""
    inquiry = DeviceFacts()
    ask(inquiry, dict.fromkeys(ANSWERS, b"\xff") | {"2a08": b""})
    assert inquiry.facts.battery_percent is None
    assert inquiry.facts.device_time is None
