"""One result under two names is one result; two results that look alike are two."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Bound, BoundKind, DeviceId, Metric, Provenance, Reading, SourceKind, TimeQuality
from gateway.normalise.repeats import is_same_result, without_repeats

AT = datetime(2025, 6, 2, 10, 0, 37)  # noqa: DTZ001 -- a meter's clock has no zone


def result(sequence: int, at: datetime, *, epoch: int = 0, mg_dl: int = 100) -> Reading:
    """One record of a meter in UTC."""
    return Reading(
        device_id=DeviceId("meter"),
        epoch=epoch,
        record_key=f"{sequence}@{at.isoformat()}",
        metric=Metric.GLUCOSE_CAPILLARY,
        effective_at=at.replace(tzinfo=UTC),
        utc_offset_min=0,
        time_quality=TimeQuality.DEVICE,
        received_at=datetime(2025, 6, 3, tzinfo=UTC),
        provenance=Provenance(SourceKind.BLUETOOTH, "gatt.2a18"),
        value=Decimal(mg_dl),
        device_time=at,
    )


ZERO = AT.replace(second=0)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        (result(7, AT), True),  # another number, the same second
        (result(1, AT, epoch=1), True),  # numbered anew
        (result(1, ZERO, epoch=1), True),  # numbered anew, seconds cut off
        (result(7, ZERO), False),  # within one life only the very second is believed
        (result(1, AT + timedelta(seconds=5), epoch=1), False),
        (result(1, AT, epoch=1, mg_dl=101), False),
        (result(5, AT), False),  # the record itself
    ],
)
def test_rule(other: Reading, expected: bool) -> None:
    """Same value and time, as far as both can tell, and another name."""
    assert expected == is_same_result(result(5, AT), other)
    assert expected == is_same_result(other, result(5, AT))


def test_d10_two_results_of_a_meter_without_seconds_are_kept() -> None:
    """Equal values in one minute, both stamped with second 0, next to each other in the memory."""
    both = (result(5, ZERO), result(6, ZERO))
    assert both == without_repeats(both, ())


def test_d10_two_results_within_a_minute_are_kept() -> None:
    """Tested twice because the first was doubted: equal values, half a minute apart."""
    both = (result(5, AT), result(6, AT + timedelta(seconds=20)))
    assert both == without_repeats(both, ())


def test_d9_memory_that_is_told_again_under_new_numbers_adds_nothing() -> None:
    """After a reset with the memory kept, only the new result is new."""
    old = [result(number, AT + timedelta(minutes=number)) for number in range(5)]
    again = [replace(r, epoch=1, record_key=f"{n}@{r.device_time}") for n, r in enumerate(old, start=40)]
    new = result(45, AT + timedelta(hours=1), epoch=1)
    assert (new,) == without_repeats([*again, new], old)


def named_by_time(mg_dl: int, at: datetime, *, occurrence: int = 0) -> Reading:
    """The record of a meter whose numbers name nothing."""
    key = f"{at.isoformat()}#0.00{mg_dl}" + (f"#{occurrence + 1}" if occurrence else "")
    return replace(result(0, at, mg_dl=mg_dl), record_key=key)


@pytest.mark.parametrize("at", [AT, ZERO])
@pytest.mark.parametrize("epoch", [0, 3])
def test_memory_that_was_stored_by_its_numbers_adds_nothing_by_its_times(at: datetime, epoch: int) -> None:
    """A meter that an earlier version read by its numbers, as one that numbers backwards: only the new is new."""
    old = [result(number, at + timedelta(minutes=number), epoch=epoch) for number in range(5)]
    again = [named_by_time(100, at + timedelta(minutes=number)) for number in range(5)]
    new = named_by_time(100, at + timedelta(hours=1))
    assert (new,) == without_repeats([*again, new], old)
    assert () == without_repeats(old, again)


def test_each_known_result_stands_for_one() -> None:
    """Two tests of one minute, of which one was stored under another name: the other one is new."""
    both = (named_by_time(100, ZERO), named_by_time(100, ZERO, occurrence=1))
    assert both[1:] == without_repeats(both, [result(5, ZERO)])
    assert both[1:] == without_repeats(both, [result(5, ZERO), both[1]])
    assert () == without_repeats(both, [result(5, ZERO), result(6, ZERO)])
    anew = (result(1, ZERO, epoch=1), result(2, ZERO, epoch=1))
    assert anew[1:] == without_repeats(anew, [result(5, ZERO)])
    assert () == without_repeats([result(1, AT, epoch=1), result(2, AT, epoch=1)], [result(5, AT)])


def test_hi_that_is_told_again_is_one_result() -> None:
    """Above the range once is above the range once, whatever its number."""
    high = replace(result(5, AT), value=None, bound=Bound(BoundKind.ABOVE))
    again = replace(high, epoch=1, record_key=f"1@{AT}")
    assert () == without_repeats([again], [high])
    low = replace(again, bound=Bound(BoundKind.BELOW))
    assert (low,) == without_repeats([low], [high])


def test_known_record_goes_on_to_the_store() -> None:
    """A record under its own name may be corrected; that is the store's decision."""
    known = result(5, AT)
    corrected = replace(known, value=Decimal(90))
    assert (corrected,) == without_repeats([corrected], [known, result(6, AT, mg_dl=90)])


@given(
    st.lists(
        st.builds(
            result,
            st.integers(0, 9),
            st.builds(lambda s: AT.replace(second=s), st.sampled_from([0, 1, 37])),
            epoch=st.integers(0, 2),
            mg_dl=st.sampled_from([100, 101]),
        ),
        max_size=20,
    )
)
def test_told_again_adds_nothing(readings: list[Reading]) -> None:
    """What was kept is kept again under its names and nothing else comes in, however often it is told."""
    kept = without_repeats(readings, ())
    again = without_repeats(readings, kept)
    assert {r.key for r in again} <= {r.key for r in kept}
