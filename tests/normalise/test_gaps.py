"""Holes of a series and of a numbering: each is found, cut where the evidence changes, and none is invented."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.model import Outage, OutageReason
from gateway.normalise.gaps import (
    Gap,
    GapReason,
    Numbered,
    Seen,
    Session,
    cadence_of,
    gaps_of_numbers,
    gaps_of_series,
    record_number,
)

START = datetime(2026, 3, 20, 6, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
FIVE = 5 * MINUTE


def at(minutes: float) -> datetime:
    """So many minutes after the start."""
    return START + minutes * MINUTE


def series(steps: int, *holes: tuple[int, int], pace: timedelta = FIVE, sensor: str = "s") -> list[Seen]:
    """Results 0..steps-1 but those of `holes` (first missing, last missing)."""
    missing = {step for first, last in holes for step in range(first, last + 1)}
    return [Seen(START + step * pace, sensor) for step in range(steps) if step not in missing]


def told(gaps: Sequence[Gap]) -> list[tuple[float, float, GapReason, int]]:
    """Minutes after the start, reason, how many are missing."""
    return [((g.start - START) / MINUTE, (g.end - START) / MINUTE, g.reason, g.missing) for g in gaps]


@pytest.mark.parametrize("minutes", [1, 3, 5, 10, 15])
def test_the_pace_is_found(minutes: int) -> None:
    """One, three, five, ten and fifteen minutes, with jitter, single losses and results heard twice."""
    pace = minutes * MINUTE
    instants = [
        each.at + timedelta(seconds=step % 3) for step, each in enumerate(series(60, (7, 7), (30, 33), pace=pace))
    ]
    twice = sorted([*instants, *(instant + timedelta(seconds=2) for instant in instants[::4])])
    assert pace == cadence_of(twice)


@pytest.mark.parametrize("minutes", [2, 60, 1440])
def test_what_has_no_pace_has_none(minutes: int) -> None:
    """Weigh-ins are no sensor."""
    assert cadence_of([at(minutes * step) for step in range(20)]) is None
    assert () == gaps_of_series([Seen(at(minutes * step), "s") for step in (0, 1, 2, 9, 10)])


def test_a_hole_without_evidence_is_unknown() -> None:
    """Three missing results are a hole; two are single losses; nothing before and after is claimed."""
    gaps = gaps_of_series(series(60, (10, 12), (30, 31)))
    assert [(45, 65, GapReason.UNKNOWN, 3)] == told(gaps)
    assert () == gaps[0].also


def test_one_lost_result_of_a_slow_sensor_is_a_hole() -> None:
    """A sensor with one result in a quarter of an hour has lost a quarter of an hour."""
    assert [(75, 105, GapReason.UNKNOWN, 1)] == told(gaps_of_series(series(20, (6, 6), pace=15 * MINUTE)))


def test_a_hole_is_cut_where_the_evidence_changes() -> None:
    """Off for an hour, then nobody knows: two pieces, whose counts add up."""
    outage = Outage("gateway", OutageReason.GATEWAY_OFF, at(47), at(107))
    gaps = gaps_of_series(series(60, (10, 40)), outages=[outage])
    assert [(45, 107, GapReason.GATEWAY_OFF, 12), (107, 205, GapReason.UNKNOWN, 19)] == told(gaps)


def test_an_outage_at_the_edge_of_a_hole_explains_it_whole() -> None:
    """An outage that begins after the last result and ends before the next explains all of it."""
    outage = Outage("bluetooth", OutageReason.RADIO_DEAF, at(48), at(93))
    assert [(45, 95, GapReason.RADIO_DEAF, 9)] == told(gaps_of_series(series(60, (10, 18)), outages=[outage]))


def test_the_stronger_evidence_comes_first_and_the_other_is_named() -> None:
    """While the gateway is off its radio hears nothing either: both hold, one leads."""
    outages = [
        Outage("bluetooth", OutageReason.RADIO_DEAF, at(40), at(120)),
        Outage("gateway", OutageReason.GATEWAY_OFF, at(40), at(120)),
    ]
    (gap,) = gaps_of_series(series(60, (10, 18)), outages=outages)
    assert (GapReason.GATEWAY_OFF, (GapReason.RADIO_DEAF,)) == (gap.reason, gap.also)


def test_an_outage_without_a_hole_says_nothing() -> None:
    """What came in later from the sensor's memory is not missing."""
    assert () == gaps_of_series(series(60), outages=[Outage("gateway", OutageReason.GATEWAY_OFF, at(10), at(200))])


def test_between_sensors_and_warm_up() -> None:
    """Where the start of the next session is known, the hole is cut there; a warm-up lasts two hours at most."""
    later = [Seen(at(400 + 5 * step), "next") for step in range(20)]
    known = gaps_of_series([*series(20), *later], sessions=[Session("next", at(340))])
    assert [(95, 340, GapReason.BETWEEN_SENSORS, 49), (340, 400, GapReason.WARM_UP, 11)] == told(known)
    early = gaps_of_series([*series(20), *later], sessions=[Session("next", at(200))])
    assert [GapReason.BETWEEN_SENSORS, GapReason.WARM_UP, GapReason.UNKNOWN] == [gap.reason for gap in early]
    assert (320, 400) == told(early)[-1][:2]
    unknown = gaps_of_series([*series(20), *later])
    assert [(95, 400, GapReason.BETWEEN_SENSORS, 60)] == told(unknown)


def test_a_new_sensor_may_have_another_pace() -> None:
    """Each sensor's holes are measured by its own pace."""
    slow = [Seen(at(100 + 15 * step), "slow") for step in range(12) if step != 6]
    assert [(175, 205, GapReason.UNKNOWN, 1)] == told(gaps_of_series([*series(20), *slow]))


def test_the_hole_that_is_still_open() -> None:
    """After the last result, up to now; an outage that still lasts is its reason."""
    lasting = Outage("device:s", OutageReason.DEVICE_OFFLINE, at(96), None)
    (gap,) = gaps_of_series(series(20), outages=[lasting], until=at(200))
    assert (at(95), at(200), GapReason.DEVICE_OFFLINE, True, 20) == (
        gap.start,
        gap.end,
        gap.reason,
        gap.is_open,
        gap.missing,
    )
    assert () == gaps_of_series(series(20), until=at(105))


@given(
    holes=st.lists(st.tuples(st.integers(1, 300), st.integers(1, 40)), max_size=8),
    order=st.randoms(use_true_random=False),
)
def test_every_injected_hole_is_found_and_no_other(holes: list[tuple[int, int]], order: object) -> None:
    """Whatever is cut out of a series, in whatever order it came, repeated: the holes are those that were cut."""
    missing = {step for first, size in holes for step in range(first, first + size)}
    kept = [step for step in range(400) if step not in missing]
    seen = [Seen(START + step * FIVE, "s") for step in kept]
    shuffled = [*seen, *seen[::3]]
    order.shuffle(shuffled)  # type: ignore[attr-defined]
    expected = [(before, after, after - before - 1) for before, after in pairwise(kept) if after - before - 1 >= 3]
    found = [
        (round((g.start - START) / FIVE), round((g.end - START) / FIVE), g.missing) for g in gaps_of_series(shuffled)
    ]
    assert expected == found


@pytest.mark.parametrize(
    ("key", "number"), [("17", 17), ("17@2026-03-20T07:00:00", 17), ("t2026-03-20T07:00:00Z", None), ("r1", None)]
)
def test_the_number_of_a_record(key: str, number: int | None) -> None:
    """A key that begins with a number and ends there, or goes on with its time."""
    assert number == record_number(key)


def numbered(*numbers: int) -> list[Numbered]:
    """Records an hour apart by number."""
    return [Numbered(number, at(60 * number)) for number in numbers]


def test_a_hole_in_the_numbers() -> None:
    """What a full broker queue has dropped is missed by its numbers (and by nothing else)."""
    (gap,) = gaps_of_numbers(numbered(1, 2, 3, 7, 8))
    assert (at(180), at(420), GapReason.UNKNOWN, 3, "records 4 to 6") == (
        gap.start,
        gap.end,
        gap.reason,
        gap.missing,
        gap.detail,
    )
    lost = Outage("mqtt", OutageReason.BROKER_SESSION_LOST, at(200), at(300))
    assert [GapReason.BROKER_SESSION_LOST] == [g.reason for g in gaps_of_numbers(numbered(1, 2, 3, 7), outages=[lost])]


def test_what_the_meter_says_it_has_overwritten() -> None:
    """The meter's own word is the strongest."""
    off = Outage("gateway", OutageReason.GATEWAY_OFF, at(200), at(300))
    (gap,) = gaps_of_numbers(numbered(1, 2, 3, 7), outages=[off], lost=[(4, 6, "why")])
    assert (GapReason.MEMORY_WRAPPED, (GapReason.GATEWAY_OFF,)) == (gap.reason, gap.also)


def test_numbers_that_do_not_grow_with_time_are_no_numbering() -> None:
    """A device that names its records by chance, or backwards, has no holes."""
    backwards = [Numbered(10 - number, at(60 * number)) for number in (1, 2, 3, 7)]
    assert () == gaps_of_numbers(backwards)
    assert () == gaps_of_numbers(numbered(1, 9))
