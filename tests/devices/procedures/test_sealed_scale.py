"""Encrypted scales: what is new, what was kept already, what was played again, and whether the key fits."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.advert import Advert
from gateway.devices.procedures import BroadcastWeight, Keep, KeyedListener, SealedBthomeScale, SealedMiScale
from gateway.devices.procedures.sealed_scale import KEY_DOES_NOT_FIT, PLAYED_AGAIN
from gateway.devices.sealed import Lock
from gateway.sandbox.broadcast_frames import encode_bthome_mass
from gateway.sandbox.sealed_frames import encode_s400, encode_sealed_bthome

NOW = datetime(2025, 6, 2, 10, 0, tzinfo=UTC)
ADDRESS = "C0:FF:EE:00:00:11"
KEY, OTHER_KEY = bytes(range(16)), bytes(range(1, 17))
LOCK = Lock(ADDRESS, KEY)
ALICE, BOB = Decimal("64.3"), Decimal("81.2")
State = Mapping[str, str | int | bool | None]


class Ear:
    """Hears packets, and remembers what was kept; begun again, it knows what was durable."""

    def __init__(self, listener: KeyedListener) -> None:
        self.listener = listener
        self.keeps: list[Keep] = []

    def hear(self, service: str, *payloads: bytes) -> list[BroadcastWeight]:
        """The records that these payloads gave."""
        keeps = [
            keep
            for payload in payloads
            for keep in self.listener.on_advert(Advert(service_data={service: payload}), NOW)
        ]
        self.keeps += keeps
        return [record for keep in keeps for record in keep.records if isinstance(record, BroadcastWeight)]

    @property
    def state(self) -> State | None:
        marks = [keep.mark for keep in self.keeps if keep.mark is not None]
        return marks[-1].state if marks else None

    @property
    def details(self) -> list[str]:
        return [spoiled.detail for keep in self.keeps for spoiled in keep.spoiled]


def weigh_in(counter: int, at: datetime = NOW, mass: Decimal = ALICE, key: bytes = KEY) -> tuple[bytes, bytes]:
    """The two packets of an S400."""
    return (
        encode_s400(key, ADDRESS, counter, at, mass_kg=mass, heart_rate_per_min=72, impedance_ohm=Decimal("512.3")),
        encode_s400(key, ADDRESS, counter + 1, at, impedance_ohm=Decimal("470.1")),
    )


def s400(state: State | None = None, lock: Lock = LOCK) -> Ear:
    return Ear(SealedMiScale(state, lock))


def bthome(state: State | None = None) -> Ear:
    return Ear(SealedBthomeScale(state, LOCK))


def test_both_packets_are_one_weigh_in() -> None:
    """Mass, heart rate and two impedances share a name that the scale's own time gives; each packet counts once."""
    ear = s400()
    first, second = weigh_in(10)
    heard = ear.hear("fe95", first, first, second, first, second)
    assert ["2025-06-02T10:00:00Z"] * 2 == [record.weigh_in for record in heard]
    assert [(ALICE, 72, Decimal("512.3"), None), (None, None, None, Decimal("470.1"))] == [
        (record.mass, record.heart_rate_per_min, record.impedance_ohm, record.impedance_250_khz_ohm) for record in heard
    ]
    assert ([], True) == (ear.details, ear.listener.key_fits)
    assert all(record.is_proven and record.sent_at == NOW for record in heard)


@given(st.permutations([0, 1, 2, 3, 0, 1, 2, 3]))
def test_any_order_gives_the_same_of_the_last_weigh_in(order: list[int]) -> None:
    """Packets that overtake each other on two ways: the later weigh-in is whole, and nothing is told twice."""
    packets = (*weigh_in(10), *weigh_in(12, NOW + timedelta(minutes=5), BOB))
    heard = s400().hear("fe95", *(packets[number] for number in order))
    assert len(heard) == len({(record.weigh_in, record.mass) for record in heard})
    assert {BOB, None} == {record.mass for record in heard if record.sent_at != NOW}


def test_what_was_kept_is_not_kept_again_after_a_restart() -> None:
    """The counter comes from the checkpoint: repeats are silent, an older packet is set aside once, as played again."""
    old, kept = weigh_in(10), weigh_in(12, NOW + timedelta(minutes=5))
    ear = s400()
    assert 4 == len(ear.hear("fe95", *old, *kept))
    again = s400(ear.state)
    assert [] == again.hear("fe95", *kept)
    assert [] == again.details
    assert [] == again.hear("fe95", *old, *old, *kept)
    assert [PLAYED_AGAIN] == again.details
    assert 1 == len(again.hear("fe95", weigh_in(14, NOW + timedelta(minutes=9))[0]))


def test_new_batteries_do_not_silence_a_scale() -> None:
    """It counts from zero: a later time, sealed with the key, proves that the packet is new; an old one stays old."""
    ear = s400()
    before, after = weigh_in(1000), weigh_in(0, NOW + timedelta(days=1))
    assert 2 == len(ear.hear("fe95", *before))
    assert 2 == len(ear.hear("fe95", *after))
    assert [] == s400(ear.state).hear("fe95", *before)
    unset = weigh_in(0, datetime(1970, 1, 1, 0, 5, tzinfo=UTC))
    assert [] == ear.hear("fe95", *unset)
    assert [PLAYED_AGAIN] == ear.details
    assert 2 == len(ear.hear("fe95", *weigh_in(1002, datetime(1970, 1, 1, 0, 9, tzinfo=UTC))))


def test_a_new_key_begins_anew() -> None:
    """Nobody can have recorded anything under it: a low counter is new, and what was sealed with the old one is not."""
    ear = s400()
    old = weigh_in(500)
    ear.hear("fe95", *old)
    fresh = s400(ear.state, Lock(ADDRESS, OTHER_KEY))
    assert [] == fresh.hear("fe95", *old)
    assert 2 == len(fresh.hear("fe95", *weigh_in(3, key=OTHER_KEY)))
    assert str(OTHER_KEY.hex()) not in str(fresh.state)


def test_a_key_that_does_not_fit_is_blamed_after_three_packets() -> None:
    """Somebody's nonsense does not blame it; three in a row do, and one that opens takes the blame away."""
    ear = s400()
    wrong = [weigh_in(number, key=OTHER_KEY)[0] for number in range(10, 14)]
    verdicts = [ear.listener.key_fits]
    for packets in (wrong[:2], wrong[2:], weigh_in(20)):
        ear.hear("fe95", *packets)
        verdicts.append(ear.listener.key_fits)
    assert [None, None, False, True] == verdicts
    assert [KEY_DOES_NOT_FIT] == ear.details


def test_nobody_on_the_scale_says_nothing() -> None:
    """All zero, an idle frame, another service."""
    ear = s400()
    assert [] == ear.hear("fe95", encode_s400(KEY, ADDRESS, 9, NOW), bytes.fromhex("1059d53b06"))
    assert [] == ear.hear("181d", b"\x01")
    assert [] == ear.details
    assert ear.state is None


def test_encrypted_bthome_counts_packets() -> None:
    """Repeats with a new counter and the old packet number are one weigh-in; an old counter is played again."""
    ear = bthome()
    payloads = [encode_sealed_bthome(KEY, ADDRESS, *packet) for packet in ((5, ALICE, 1), (6, ALICE, 1), (7, BOB, 2))]
    assert [ALICE, BOB] == [record.mass for record in ear.hear("fcd2", *payloads)]
    again = bthome(ear.state)
    assert [] == again.hear("fcd2", payloads[2], payloads[0])
    assert [PLAYED_AGAIN] == again.details
    assert [ALICE] == [record.mass for record in again.hear("fcd2", encode_sealed_bthome(KEY, ADDRESS, 8, ALICE, 3))]


def test_in_the_clear_nobody_speaks_for_a_device_with_a_key() -> None:
    """An imitation without the key gives nothing."""
    assert [] == bthome().hear("fcd2", encode_bthome_mass(ALICE, 1))


@given(st.lists(st.binary(max_size=30)))
def test_any_bytes_are_survived(payloads: list[bytes]) -> None:
    """Nothing is raised, nothing is read, and at most one of each kind is set aside."""
    for ear, service in ((s400(), "fe95"), (bthome(), "fcd2")):
        assert [] == ear.hear(service, *payloads)
        assert len(ear.details) == len(set(ear.details))


@given(st.dictionaries(st.sampled_from(["key", "counter", "sealed_s", "kept"]), st.none() | st.integers() | st.text()))
def test_any_checkpoint_is_survived(state: dict[str, str | int | bool | None]) -> None:
    """One that was written by another release, or by nobody, does not keep a weigh-in away for ever."""
    later = NOW + timedelta(days=1)
    s400(state | {"key": LOCK.fingerprint}).hear("fe95", *weigh_in(7))
    assert 2 == len(s400(state | {"key": "other"}).hear("fe95", *weigh_in(7, later)))
