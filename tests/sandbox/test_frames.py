from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from gateway.model import Unit
from gateway.sandbox import frames
from gateway.sandbox.records import CgmSample, MeterContext, MeterRecord, SfloatSpecial, WeighIn

WHEN = datetime(2025, 2, 3, 4, 5, 6)  # noqa: DTZ001 a device's wall clock


def test_check_value_of_the_crc() -> None:
    """The E2E-CRC has the catalogue's check value."""
    assert 0x6F91 == frames.mcrf4xx(b"123456789")


def test_worked_examples() -> None:
    """Frames worked out by hand are encoded octet for octet."""
    assert (
        "0bd204e9070203040506b5ff89b0114000"
        == frames.encode_glucose_measurement(
            MeterRecord(1234, WHEN, Decimal(137), time_offset_min=-75, status=0x40)
        ).hex()
    )
    assert (
        "060700e90702030405063ac018"
        == frames.encode_glucose_measurement(MeterRecord(7, WHEN, Decimal("5.8"), Unit.MMOL_L, sample_type=8)).hex()
    )
    assert (
        "03d204022dd001"
        == frames.encode_glucose_context(
            1234, MeterContext(meal=1, carbohydrate_kind=2, carbohydrate_g=Decimal(45))
        ).hex()
    )
    assert "080065002c018145" == frames.encode_cgm_measurement(CgmSample(300, Decimal(101)), crc=True).hex()
    assert (
        "0921a400d50220f3ff"
        == frames.encode_cgm_measurement(CgmSample(725, Decimal(164), Decimal("-1.3"), warning=0x20), crc=False).hex()
    )
    assert (
        "0eaa37e907020304050602f300b006"
        == frames.encode_weight_measurement(WeighIn(Decimal("71.25"), 2, WHEN, Decimal("24.3"), Decimal("1.712"))).hex()
    )
    assert ["0606fb00e9070203040506027413aa37"] == [
        frame.hex()
        for frame in frames.encode_body_composition(
            WeighIn(Decimal("71.25"), 2, WHEN, fat_percent=Decimal("25.1"), impedance_ohm=Decimal(498))
        )
    ]


def test_record_without_value_or_clock() -> None:
    """A record with a status only has no concentration field, and an unset clock is all zero."""
    assert (
        "0801000000000000000002" + "00"
        == frames.encode_glucose_measurement(MeterRecord(1, None, None, status=0x0002)).hex()
    )


@pytest.mark.parametrize(
    ("value", "word"),
    [("0", 0x0000), ("137E-5", 0xB089), ("-0.1", 0xFFFF), ("2045", 0x07FD), ("20470000000", 0x77FF), ("20.47", 0xE7FF)],
)
def test_sfloat(value: str, word: int) -> None:
    """Exact decimals become the shortest SFLOAT."""
    assert word.to_bytes(2, "little") == frames.encode_sfloat(Decimal(value))


@pytest.mark.parametrize("value", ["2046", "2047", "-2048", "1.2345", "1E20", "NaN"])
def test_sfloat_refuses_what_it_cannot_hold(value: str) -> None:
    """A value without an exact SFLOAT, or whose word is a special, raises."""
    with pytest.raises(ValueError):
        frames.encode_sfloat(Decimal(value))
    assert b"\xff\x07" == frames.encode_sfloat(SfloatSpecial.NAN)


def test_session_start_tells_zone_and_summer_time() -> None:
    """Local time, standard zone and DST offset add up to the instant; a start never set is zero."""
    paris = ZoneInfo("Europe/Paris")
    summer = datetime(2025, 7, 1, 6, 30, tzinfo=UTC).astimezone(paris)
    winter = datetime(2025, 1, 1, 6, 30, tzinfo=UTC).astimezone(paris)
    assert "e9070701081e000404" == frames.encode_session_start(summer, crc=False).hex()
    assert "e9070101071e000400" == frames.encode_session_start(winter, crc=False).hex()
    assert bytes(9) == frames.encode_session_start(None, crc=False)


def test_system_id_is_the_eui64_of_the_address() -> None:
    """Little-endian, FFFE in the middle."""
    assert "010000feffeeffc0" == frames.encode_system_id("C0:FF:EE:00:00:01").hex()
