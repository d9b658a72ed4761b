"""Scales whose first slot is not 0."""

from __future__ import annotations

from gateway.devices.procedures import Close, Outcome, ScaleSession, ScaleUser, Subscribe, WeightSample, Write
from gateway.devices.procedures.requests import Keep


def test_slot_below_the_first_is_never_asked_for() -> None:
    """Refusals can lock a slot: a number that cannot be right is not tried; what the scale tells everybody is kept."""
    session = ScaleSession(ScaleUser(0, 1234), first_slot=1)
    requests = session.start()
    assert not any(isinstance(request, Write) for request in requests)
    assert Subscribe("2a9f") not in requests
    (keep,) = session.on_notify("2a9d", bytes.fromhex("004632"))
    assert isinstance(keep, Keep)
    assert isinstance(keep.records[0], WeightSample)
    assert [Close(Outcome.CONSENT_REFUSED, "the slots of this scale begin with 1")] == session.on_silence()


def test_the_first_slot_is_asked_for() -> None:
    """From there on consent is asked as ever."""
    requests = ScaleSession(ScaleUser(1, 1234), first_slot=1).start()
    assert any(isinstance(request, Write) and request.char == "2a9f" for request in requests)
