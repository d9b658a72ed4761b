"""Body Composition Service: every flag, split measurements joined without mixing people."""

from __future__ import annotations

import contextlib
import itertools
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest
from encoders_scale import STAMP, STAMP_OCTETS, body_composition, date_time
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.body_composition import (
    BodyCompositionMeasurement,
    PacketMerger,
    parse_body_composition_feature,
    parse_body_composition_measurement,
)
from gateway.errors import MalformedFrame
from gateway.model import Unit

METRIC = {
    3: ("basal_metabolism_kj", "1"),
    4: ("muscle_percent", "0.1"),
    5: ("muscle_mass", "0.005"),
    6: ("fat_free_mass", "0.005"),
    7: ("soft_lean_mass", "0.005"),
    8: ("body_water_mass", "0.005"),
    9: ("impedance_ohm", "0.1"),
    10: ("weight", "0.005"),
    11: ("height", "0.001"),
}
IMPERIAL = METRIC | {bit: (METRIC[bit][0], "0.01") for bit in (5, 6, 7, 8, 10)} | {11: ("height", "0.1")}
WORD = st.integers(0, 0xFFFF)


def multi(fat: int, words: dict[int, int], *, user: int | None = None, at: datetime | None = None) -> bytes:
    """One part of a split measurement."""
    stamp = None if at is None else date_time(at)
    return body_composition(fat, words, user=user, time_stamp=stamp, is_multiple=True)


def feed(*frames: bytes) -> list[BodyCompositionMeasurement]:
    """What a merger gives for these indications and the end of the connection."""
    merger = PacketMerger()
    out = [done for frame in frames for done in merger.add(parse_body_composition_measurement(frame))]
    last = merger.close()
    assert not merger.is_open
    return out if last is None else [*out, last]


def test_worked_frame() -> None:
    """The worked example gives each of its fields."""
    expected = BodyCompositionMeasurement(
        body_fat_percent=Decimal("25.1"),
        mass_unit=Unit.KG,
        height_unit=Unit.M,
        time_stamp=STAMP,
        user_index=2,
        impedance_ohm=Decimal("498.0"),
        weight=Decimal("71.25"),
        raw_weight=14250,
    )
    assert expected == parse_body_composition_measurement(bytes.fromhex("0606fb00e9070203040506027413aa37"))


@pytest.mark.parametrize("present", range(512))
def test_every_combination_of_fields(present: int) -> None:
    """Each of the 512 combinations of fields is decoded in the order of the specification, in either unit system."""
    words = {bit: 1000 + 17 * bit for bit in range(3, 12) if present >> (bit - 3) & 1}
    for is_imperial, table in ((False, METRIC), (True, IMPERIAL)):
        decoded = parse_body_composition_measurement(body_composition(251, words, is_imperial=is_imperial))
        expected = {name: words[bit] * Decimal(step) if bit in words else None for bit, (name, step) in table.items()}
        assert expected == {name: getattr(decoded, name) for name in expected}
        units = (Unit.LB, Unit.INCH) if is_imperial else (Unit.KG, Unit.M)
        assert units == (decoded.mass_unit, decoded.height_unit)


@given(
    fat=WORD,
    words=st.dictionaries(st.integers(3, 11), WORD),
    is_imperial=st.booleans(),
    has_time=st.booleans(),
    user=st.none() | st.integers(0, 255),
    is_multiple=st.booleans(),
    reserved=st.integers(0, 7).map(lambda bits: bits << 13),
)
def test_round_trip(
    fat: int,
    words: dict[int, int],
    is_imperial: bool,
    has_time: bool,
    user: int | None,
    is_multiple: bool,
    reserved: int,
) -> None:
    """Whatever was encoded is decoded again; 0xFFFF is no number in any field."""
    decoded = parse_body_composition_measurement(
        body_composition(
            fat,
            words,
            is_imperial=is_imperial,
            time_stamp=STAMP_OCTETS if has_time else None,
            user=user,
            is_multiple=is_multiple,
            reserved=reserved,
        )
    )
    for bit, (name, step) in (IMPERIAL if is_imperial else METRIC).items():
        raw = words.get(bit, 0xFFFF)
        assert (None if raw == 0xFFFF else raw * Decimal(step)) == getattr(decoded, name)
    assert (None if fat == 0xFFFF else fat * Decimal("0.1")) == decoded.body_fat_percent
    assert words.get(10) == decoded.raw_weight
    assert (STAMP if has_time else None) == decoded.time_stamp
    assert (None if user == 255 else user) == decoded.user_index
    assert (is_multiple, reserved) == (decoded.is_multiple_packet, decoded.reserved_flags)


@given(st.dictionaries(st.integers(3, 11), WORD), st.booleans(), st.booleans())
def test_other_lengths_are_malformed(words: dict[int, int], has_time: bool, has_user: bool) -> None:
    """One octet less or more than the flags announce is refused."""
    frame = body_composition(
        1, words, time_stamp=STAMP_OCTETS if has_time else None, user=3 if has_user else None, is_multiple=True
    )
    for wrong in (frame[:-1], frame + b"\0"):
        with pytest.raises(MalformedFrame):
            parse_body_composition_measurement(wrong)


@given(st.binary(max_size=40))
def test_any_frame_parses_or_is_malformed(frame: bytes) -> None:
    """No byte string makes either parser raise anything else."""
    with contextlib.suppress(MalformedFrame):
        parse_body_composition_measurement(frame)
    with contextlib.suppress(MalformedFrame):
        parse_body_composition_feature(frame)


def test_feature_names_its_fields() -> None:
    """Each bit of the feature word has one name, and resolutions are read from their own bits."""
    names = [parse_body_composition_feature((1 << bit).to_bytes(4, "little")).supported for bit in range(11)]
    assert names == [
        ("time_stamp",),
        ("multiple_users",),
        ("basal_metabolism",),
        ("muscle_percentage",),
        ("muscle_mass",),
        ("fat_free_mass",),
        ("soft_lean_mass",),
        ("body_water_mass",),
        ("impedance",),
        ("weight",),
        ("height",),
    ]
    feature = parse_body_composition_feature((3 << 11 | 2 << 15).to_bytes(4, "little"))
    assert feature.mass_resolution is not None
    assert feature.height_resolution is not None
    assert (Decimal("0.1"), Decimal("0.005")) == (feature.mass_resolution.metric, feature.height_resolution.metric)


def test_split_measurement_becomes_one() -> None:
    """Consecutive packets with the continuation flag give one measurement with all their fields."""
    first = multi(251, {3: 6500, 5: 6000}, user=2, at=STAMP)
    second = multi(0xFFFF, {9: 4980, 10: 14250})
    whole = body_composition(251, {3: 6500, 5: 6000, 9: 4980, 10: 14250}, user=2, time_stamp=STAMP_OCTETS)
    expected = replace(parse_body_composition_measurement(whole), is_multiple_packet=True)
    assert [expected] == feed(first, second)


def test_first_valid_fat_counts() -> None:
    """Body fat comes from the first packet that has a valid one, repeated or not."""
    for fats in ((0xFFFF, 251, 251), (251, 251, 0xFFFF), (251, 0xFFFF, 251)):
        frames = [multi(fat, {bit: 5000}, at=STAMP) for fat, bit in zip(fats, (3, 5, 10), strict=True)]
        assert [Decimal("25.1")] == [done.body_fat_percent for done in feed(*frames)]


def test_known_field_opens_the_next_group() -> None:
    """A field that is there already belongs to the next measurement."""
    out = feed(multi(251, {5: 6000}), multi(0xFFFF, {10: 14250}), multi(300, {5: 7000}), multi(0xFFFF, {10: 15000}))
    assert [(Decimal("25.1"), 14250), (Decimal("30.0"), 15000)] == [(m.body_fat_percent, m.raw_weight) for m in out]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (multi(251, {5: 6000}, user=1), multi(0xFFFF, {10: 14250}, user=2)),
        (multi(251, {5: 6000}, at=STAMP), multi(0xFFFF, {10: 14250}, at=STAMP + timedelta(seconds=1))),
        (multi(251, {5: 6000}), body_composition(0xFFFF, {10: 14250}, is_imperial=True, is_multiple=True)),
        (multi(251, {5: 6000}), body_composition(0xFFFF, {10: 14250})),
    ],
    ids=["user", "time", "unit", "complete packet"],
)
def test_what_never_merges(first: bytes, second: bytes) -> None:
    """Another user, time, unit system, or a complete measurement is never mixed into an open group."""
    expected = [parse_body_composition_measurement(first), parse_body_composition_measurement(second)]
    assert expected == feed(first, second)


def test_single_packets_pass_through() -> None:
    """A measurement in one packet is complete at once."""
    packet = parse_body_composition_measurement(body_composition(251, {10: 14250}))
    merger = PacketMerger()
    assert (packet,) == merger.add(packet)
    assert merger.close() is None


@given(st.permutations(range(3, 12)), st.lists(st.integers(1, 8), max_size=4))
def test_any_split_gives_the_whole(order: list[int], cuts: list[int]) -> None:
    """However the fields are spread over packets, the joined measurement is the same."""
    words = {bit: 900 + bit for bit in order}
    bounds = [0, *sorted(set(cuts)), len(order)]
    frames = [
        multi(251, {bit: words[bit] for bit in order[start:end]}, user=4, at=STAMP)
        for start, end in itertools.pairwise(bounds)
    ]
    whole = parse_body_composition_measurement(multi(251, words, user=4, at=STAMP))
    assert [whole] == feed(*frames)
