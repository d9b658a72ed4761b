"""Scales that only broadcast: exactly one reading for each weigh-in."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.advert import Advert
from gateway.devices.procedures import BroadcastWeight, BthomeScale, Keep, Listener, MiScale
from gateway.sandbox.broadcast_frames import encode_bthome_mass, encode_mi_body_composition, encode_mi_scale

NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
STAMP = datetime(2025, 6, 2, 12, 0)  # noqa: DTZ001 -- a scale's clock has no zone
ALICE, BOB = Decimal("64.35"), Decimal("81.2")


@dataclass
class Ear:
    """Hears payloads, one a second, and collects what is kept."""

    listener: Listener
    service: str
    at: datetime = NOW
    keeps: list[Keep] = field(default_factory=list)

    def hear(self, payloads: Iterable[bytes], *, after: timedelta = timedelta(seconds=1)) -> Ear:
        for payload in payloads:
            self.at += after
            self.keeps += self.listener.on_advert(Advert(service_data={self.service: payload}), self.at)
        return self

    @property
    def records(self) -> list[BroadcastWeight]:
        return [record for keep in self.keeps for record in keep.records if isinstance(record, BroadcastWeight)]

    @property
    def masses(self) -> list[Decimal]:
        return [record.mass for record in self.records if record.mass is not None]

    @property
    def state(self) -> dict[str, str | int | bool | None]:
        marks = [keep.mark for keep in self.keeps if keep.mark is not None]
        return dict(marks[-1].state) if marks else {}


def mi(state: dict[str, str | int | bool | None] | None = None) -> Ear:
    return Ear(MiScale("181d", state), "181d")


def body(state: dict[str, str | int | bool | None] | None = None) -> Ear:
    return Ear(MiScale("181b", state), "181b")


def weigh_in(mass: Decimal, stamp: datetime | None) -> list[bytes]:
    """Unstable, stable, removed, each repeated."""
    unsettled = [encode_mi_scale(mass * share / 10, stamp, is_stable=False) for share in (3, 7, 9)]
    removed = encode_mi_scale(mass, stamp, is_removed=True)
    return unsettled + [encode_mi_scale(mass, stamp)] * 5 + [removed] * 5


def composition(mass: Decimal, stamp: datetime | None, impedance_ohm: int | None) -> list[bytes]:
    said = [encode_mi_body_composition(mass / 2, stamp, is_stable=False)]
    said += [encode_mi_body_composition(mass, stamp)] * 3
    said += [encode_mi_body_composition(mass, stamp, impedance_ohm=impedance_ohm)] * 3
    return [*said, encode_mi_body_composition(mass, stamp, impedance_ohm=impedance_ohm, is_removed=True)]


@pytest.mark.parametrize("stamp", [STAMP, datetime(1970, 1, 1, 0, 3), datetime(2015, 1, 1, 0, 3), None])  # noqa: DTZ001
def test_one_reading_for_each_weigh_in(stamp: datetime | None) -> None:
    """Unstable, stable, removed, repeated minutes later, next person: one each, whatever the scale's clock says."""
    ear = mi().hear(weigh_in(ALICE, stamp))
    ear.hear([encode_mi_scale(ALICE, stamp, is_removed=True)] * 3, after=timedelta(minutes=3))
    later = None if stamp is None else stamp + timedelta(minutes=11)
    ear.hear(weigh_in(BOB, later))
    assert [ALICE, BOB] == ear.masses
    assert 2 == len({record.weigh_in for record in ear.records})
    assert {stamp == STAMP} == {record.time_stamp is not None for record in ear.records}
    assert all(keep.is_told_once for keep in ear.keeps)


def test_same_weight_again_is_another_weigh_in() -> None:
    """Two people, or one person twice, with equal weights."""
    ear = mi().hear(weigh_in(ALICE, STAMP)).hear(weigh_in(ALICE, STAMP + timedelta(minutes=2)))
    assert [ALICE, ALICE] == ear.masses
    assert [ALICE, ALICE] == mi().hear(weigh_in(ALICE, None)).hear(weigh_in(ALICE, None)).masses


def test_unstable_weights_alone_are_nothing() -> None:
    """Somebody who steps off too soon has not been weighed."""
    assert [] == mi().hear(weigh_in(ALICE, STAMP)[:3]).keeps


def test_restart_in_a_weigh_in_makes_no_second_reading() -> None:
    """What was told is in the checkpoint that goes with it."""
    said = weigh_in(ALICE, STAMP)
    for cut in range(len(said)):
        first = mi().hear(said[:cut])
        second = mi(first.state or None)
        second.at = first.at
        second.hear(said[cut:])
        assert [ALICE] == first.masses + second.masses


def test_result_that_was_missed_is_taken_from_its_repeat() -> None:
    """The gateway was started too late: the repeat says when it was, and is not called live."""
    ear = mi().hear(weigh_in(ALICE, STAMP)[-3:])
    assert [ALICE] == ear.masses
    assert not ear.records[0].is_live
    assert [] == mi().hear(weigh_in(ALICE, None)[-3:]).masses


def test_impedance_joins_its_weigh_in() -> None:
    """The weight is told at once, the impedance seconds later under the same name, once."""
    ear = body().hear(composition(ALICE, STAMP, 487))
    weight, impedance = ear.records
    assert (ALICE, None) == (weight.mass, weight.impedance_ohm)
    assert (None, Decimal(487)) == (impedance.mass, impedance.impedance_ohm)
    assert weight.weigh_in == impedance.weigh_in


def test_impedance_that_never_comes_is_not_waited_for() -> None:
    """In socks: a weight, and nothing else."""
    assert [(ALICE, None)] == [(r.mass, r.impedance_ohm) for r in body().hear(composition(ALICE, STAMP, None)).records]


@pytest.mark.parametrize("stamp", [STAMP, None])
def test_impedance_is_never_given_to_the_next_person(stamp: datetime | None) -> None:
    """The one who stepped off without keeps none; the next one's impedance is the next one's."""
    ear = body().hear(composition(ALICE, stamp, None))
    ear.hear(composition(BOB, None if stamp is None else stamp + timedelta(minutes=1), 512))
    by_name = {record.weigh_in: record.mass for record in ear.records if record.mass is not None}
    (impedance,) = [record for record in ear.records if record.impedance_ohm is not None]
    assert BOB == by_name[impedance.weigh_in]


def test_rate_is_limited_and_the_excess_is_set_aside_once() -> None:
    """A spoofed flood under the scale's address: ten readings in ten minutes, then a note, then silence."""
    ear = mi()
    for number in range(40):
        ear.hear(weigh_in(ALICE + number, STAMP + timedelta(seconds=number)), after=timedelta(milliseconds=50))
    assert 10 == len(ear.masses)
    assert 1 == sum(len(keep.spoiled) for keep in ear.keeps)
    ear.at += timedelta(minutes=11)
    ear.hear(weigh_in(BOB, STAMP + timedelta(minutes=20)))
    assert BOB == ear.masses[-1]


def test_old_broadcast_played_again_is_nothing() -> None:
    """Recorded weeks ago under the scale's address: its own time stamp gives it away. A lost clock does not."""
    state = mi().hear(weigh_in(ALICE, STAMP)).state
    assert [] == mi(state).hear(weigh_in(BOB, STAMP - timedelta(days=30))).masses
    assert [BOB] == mi(state).hear(weigh_in(BOB, datetime(2015, 1, 1))).masses  # noqa: DTZ001


@pytest.mark.parametrize("year", [1971, 2015, 2016, 2019, 2024])
def test_clock_that_was_never_set_again_hides_nobody(year: int) -> None:
    """Batteries changed once, and the clock has run on from its first year for years: each weigh-in is told."""
    state = mi().hear(weigh_in(ALICE, STAMP)).state
    ear = mi(state)
    for day in range(3):
        ear.hear(weigh_in(BOB, datetime(year, 3, 1 + day, 8, 0)), after=timedelta(hours=1))  # noqa: DTZ001
    assert [BOB] * 3 == ear.masses
    assert {None} == {record.time_stamp for record in ear.records}


def test_broadcast_of_any_day_since_the_first_is_nothing_played_again() -> None:
    """Also of a day long after the first that was heard, and long before the last."""
    ear = mi().hear(weigh_in(ALICE, STAMP))
    ear.at += timedelta(days=400)
    state = ear.hear(weigh_in(ALICE, STAMP + timedelta(days=400))).state
    later = mi(state)
    later.at = ear.at
    assert [] == later.hear(weigh_in(BOB, STAMP + timedelta(days=200))).masses


def test_weight_far_from_the_one_before_is_marked() -> None:
    """Also over a restart; the first weight has nothing to be compared with."""
    ear = mi().hear(weigh_in(ALICE, STAMP))
    again = mi(ear.state).hear(weigh_in(BOB, STAMP + timedelta(hours=1)))
    near = mi(ear.state).hear(weigh_in(ALICE + 1, STAMP + timedelta(hours=1)))
    assert [False, True, False] == [e.records[0].is_unusual for e in (ear, again, near)]


def bthome(state: dict[str, str | int | bool | None] | None = None) -> Ear:
    return Ear(BthomeScale(state), "fcd2")


def test_bthome_packet_numbers_count_weigh_ins() -> None:
    """The same number is a repeat, also after a restart; the next one is a weigh-in, also past 255."""
    ear = bthome().hear([encode_bthome_mass(ALICE, 254)] * 4 + [encode_bthome_mass(ALICE, 255)] * 2)
    ear.hear([encode_bthome_mass(BOB, 0)] * 3)
    assert [ALICE, ALICE, BOB] == ear.masses
    again = bthome(ear.state).hear([encode_bthome_mass(BOB, 0)])
    assert [] == again.keeps


def test_bthome_number_that_goes_back_is_a_replay() -> None:
    """Unless the device was silent for a minute, in which it may have started again."""
    ear = bthome().hear([encode_bthome_mass(ALICE, 40), encode_bthome_mass(BOB, 39), encode_bthome_mass(BOB, 12)])
    assert [ALICE] == ear.masses
    ear.at += timedelta(minutes=2)
    assert [ALICE, BOB] == ear.hear([encode_bthome_mass(BOB, 0)]).masses


def test_bthome_number_that_has_come_round_is_another_weigh_in() -> None:
    """It counts packets without a mass too: hours later the same number with another mass is no repeat."""
    ear = bthome().hear([encode_bthome_mass(ALICE, 40)] * 2 + [encode_bthome_mass(BOB, 40)])
    assert [ALICE] == ear.masses
    assert [ALICE, BOB] == ear.hear([encode_bthome_mass(BOB, 40)] * 2, after=timedelta(hours=2)).masses


def test_bthome_without_numbers_tells_one_person_twice() -> None:
    """The scale showed nothing in between: the same mass is another weigh-in."""
    alice, nobody = encode_bthome_mass(ALICE), encode_bthome_mass(Decimal(0))
    assert [ALICE, ALICE] == bthome().hear([alice, alice, nobody, nobody, alice, alice]).masses
    assert [ALICE] == bthome().hear([alice, nobody]).masses


def test_bthome_without_numbers_tells_by_its_mass() -> None:
    """A device that counts nothing."""
    ear = bthome().hear(
        [encode_bthome_mass(ALICE)] * 3 + [encode_bthome_mass(BOB)] * 3 + [encode_bthome_mass(Decimal(0))]
    )
    assert [ALICE, BOB] == ear.masses


@given(st.lists(st.tuples(st.sampled_from(["181d", "181b", "fcd2", "fe95"]), st.binary(max_size=20)), max_size=10))
def test_no_octets_make_a_listener_raise(words: list[tuple[str, bytes]]) -> None:
    """Total; a damaged payload is set aside once."""
    for listener in (MiScale("181d"), MiScale("181b"), BthomeScale()):
        kept = [keep for s, data in words for keep in listener.on_advert(Advert(service_data={s: data}), NOW)]
        assert sum(len(keep.spoiled) for keep in kept) <= 1
        assert listener.wait_s is None
        assert [] == listener.on_silence()


Step = tuple[int, bool, int, int, bool]


@given(st.lists(st.tuples(st.integers(9000, 9300), st.booleans(), st.integers(1, 4), st.integers(0, 3), st.booleans())))
def test_any_queue_of_people_gives_one_reading_each(steps: list[Step]) -> None:
    """Whoever steps on, however often each payload is repeated, and with a restart between any two people: one weight
    each, and an impedance for exactly those who had one, under the name of their own weight."""
    ear, records, state = body(), list[BroadcastWeight](), dict[str, str | int | bool | None]()
    for place, (raw, has_impedance, repeats, after_removal, is_restarted) in enumerate(steps[:20]):
        mass, stamp = Decimal(raw) / 200, STAMP + timedelta(minutes=2 * place)
        ohm = 400 + place if has_impedance else None
        stable = encode_mi_body_composition(mass, stamp)
        final = encode_mi_body_composition(mass, stamp, impedance_ohm=ohm)
        removed = encode_mi_body_composition(mass, stamp, impedance_ohm=ohm, is_removed=True)
        ear.hear([encode_mi_body_composition(mass / 3, stamp, is_stable=False)] * repeats)
        ear.hear([stable] * repeats + [final] * repeats + [removed] * after_removal)
        ear.hear([removed] * after_removal, after=timedelta(seconds=30))
        state = ear.state or state
        if is_restarted:
            records += ear.records
            later, ear = ear.at, body(state)
            ear.at = later
        ear.at += timedelta(minutes=1)
    records += ear.records
    weights = [record for record in records if record.mass is not None]
    assert [Decimal(raw) / 200 for raw, *_ in steps[:20]] == [record.mass for record in weights]
    by_name = {weights[place].weigh_in: 400 + place for place, step in enumerate(steps[:20]) if step[1]}
    assert by_name == {r.weigh_in: int(r.impedance_ohm) for r in records if r.impedance_ohm is not None}
