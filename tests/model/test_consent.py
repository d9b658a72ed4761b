"""What a consent says at a given moment."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.model import Consent, ConsentState, DataType, DestinationId, PersonId

GRANTED = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)
CONSENT = Consent(PersonId("camille"), DataType.WEIGHT, DestinationId("mes"), granted_at=GRANTED, covers_from=GRANTED)
LIMITED = replace(CONSENT, expires_at=GRANTED + DAY)
WITHDRAWN = replace(CONSENT, withdrawn_at=GRANTED + DAY)


@pytest.mark.parametrize(
    ("consent", "instant", "expected"),
    [
        (CONSENT, GRANTED - TICK, ConsentState.NOT_YET),
        (CONSENT, GRANTED, ConsentState.ACTIVE),
        (CONSENT, GRANTED + 10_000 * DAY, ConsentState.ACTIVE),
        (LIMITED, GRANTED + DAY - TICK, ConsentState.ACTIVE),
        (LIMITED, GRANTED + DAY, ConsentState.EXPIRED),
        (WITHDRAWN, GRANTED - TICK, ConsentState.WITHDRAWN),
        (WITHDRAWN, GRANTED + DAY - TICK, ConsentState.WITHDRAWN),
        (WITHDRAWN, GRANTED + DAY, ConsentState.WITHDRAWN),
        (replace(LIMITED, withdrawn_at=GRANTED + DAY), GRANTED + DAY, ConsentState.WITHDRAWN),
    ],
)
def test_state_at(consent: Consent, instant: datetime, expected: ConsentState) -> None:
    """A consent holds from its first to its last microsecond; a withdrawal holds even when the clock steps back."""
    assert expected is consent.state_at(instant)
