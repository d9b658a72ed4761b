"""A driver needs no device to be tested: what is heard goes in, what is to be kept comes out."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from passerelle_acme import DRIVER, FeatherScale

from gateway.devices.advert import Advert
from gateway.devices.drivers import driver_for, load_drivers
from gateway.devices.procedures.requests import BroadcastWeight, Keep
from gateway.model import Unit

NOW = datetime(2026, 3, 1, 6, 12, tzinfo=UTC)


def heard(payload: str) -> Advert:
    """An advertisement of the scale."""
    return Advert(manufacturer_data={0xFFFF: bytes.fromhex(payload)})


def weights(kept: list[Keep]) -> list[tuple[Decimal | None, Unit]]:
    """Mass and unit of what is kept."""
    records = [record for keep in kept for record in keep.records]
    return [(record.mass, record.unit) for record in records if isinstance(record, BroadcastWeight)]


def test_the_gateway_finds_the_driver() -> None:
    """Installed, it goes before the built-in ones, and claims its own advertisements only."""
    assert DRIVER is driver_for(heard("a50701df1b"), load_drivers())
    assert not DRIVER.matches(Advert(manufacturer_data={0xFFFF: b"\xaa\xbb"}))


def test_one_weigh_in_is_one_record() -> None:
    """Unsettled weights are none; repeats add nothing, also after a restart; the next person counts."""
    scale = FeatherScale()
    assert [] == scale.on_advert(heard("a507000a1a"), NOW)
    first = scale.on_advert(heard("a50701df1b"), NOW)
    assert [(Decimal("71.35"), Unit.KG)] == weights(first)
    assert [] == scale.on_advert(heard("a50701df1b"), NOW)
    assert first[0].mark is not None
    assert [] == FeatherScale(first[0].mark.state).on_advert(heard("a50701df1b"), NOW)
    assert [(Decimal("157.30"), Unit.LB)] == weights(scale.on_advert(heard("a50803723d"), NOW))


def test_a_payload_that_does_not_fit_is_set_aside() -> None:
    """It is kept with a reason, and nothing is raised."""
    (keep,) = FeatherScale().on_advert(heard("a507"), NOW)
    assert ("not five octets", b"\xa5\x07") == (keep.spoiled[0].detail, keep.spoiled[0].frame.payload)
