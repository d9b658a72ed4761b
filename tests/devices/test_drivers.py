"""Which driver claims which advertisement."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.advert import Advert, full_uuid, short_uuid
from gateway.devices.drivers import (
    GENERIC_DRIVERS,
    Driver,
    Opening,
    driver_for,
    driver_for_kind,
    load_drivers,
)
from gateway.devices.models import MODEL_DRIVERS
from gateway.errors import ConfigurationError
from gateway.model import DeviceKind

DRIVERS = GENERIC_DRIVERS
SERVICES = ("1808", "181f", "181d", "181b", "181c", "180a", "180f", "1805", "1810", "1822", "1809", "180d", "fe95")


def claims(advert: Advert) -> list[str]:
    return [driver.name for driver in DRIVERS if driver.matches(advert)]


def test_no_two_drivers_claim_one_advertisement() -> None:
    """For every set of service UUIDs, with and without service data, at most one driver feels meant."""
    for size in range(5):
        for services in itertools.combinations(SERVICES, size):
            for data in ({}, {"181d": b"x"}, {"181b": b"x"}, {"fe95": b"x"}):
                assert len(claims(Advert(services=frozenset(services), service_data=data))) <= 1


@given(st.sets(st.from_regex(r"[0-9a-f]{4}", fullmatch=True), max_size=4), st.text(max_size=12))
def test_no_two_drivers_claim_any_advertisement(services: set[str], name: str) -> None:
    """Nor for any other UUIDs and names."""
    assert len(claims(Advert(name=name, services=frozenset(services)))) <= 1


@pytest.mark.parametrize(
    ("service", "name"),
    [
        ("1808", "gatt.glucose_meter"),
        ("181f", "gatt.cgm"),
        ("181d", "gatt.scale"),
        ("181b", "gatt.scale"),
        ("1810", "gatt.blood_pressure"),
        ("1822", "gatt.pulse_oximeter"),
        ("1809", "gatt.thermometer"),
        ("180d", "gatt.heart_rate"),
    ],
)
def test_adopted_services_are_recognised(service: str, name: str) -> None:
    """Each measuring service has its driver, by short or full UUID."""
    driver = driver_for(Advert(services=frozenset({short_uuid(full_uuid(service.upper()))})), GENERIC_DRIVERS)
    assert driver is not None
    assert driver.open is not None
    assert name == driver.name
    assert driver.open(Opening(datetime(2025, 1, 1, tzinfo=UTC))).start()


def test_device_with_several_services_is_what_it_is_first() -> None:
    """A cuff or an oximeter that also shows a heart rate is a cuff or an oximeter; a scale stays a scale."""
    ranks = ("181f", "1808", "181d", "1810", "1822", "1809", "180d")
    for first, second in itertools.combinations(ranks, 2):
        alone = claims(Advert(services=frozenset({first})))
        assert 1 == len(alone)
        assert alone == claims(Advert(services=frozenset({first, second})))
    assert [] == claims(Advert(services=frozenset({"181b", "180d"}), service_data={"181b": bytes(13)}))


def test_broadcasting_scale_is_not_connected() -> None:
    """A scale that puts its result into the service data has nothing to be read over a connection."""
    assert [] == claims(Advert(services=frozenset({"181d"}), service_data={"181d": bytes(10)}))


def test_kind_decides_where_the_advertisement_is_silent() -> None:
    """A configured device may advertise no service at all."""
    found = {kind: driver_for_kind(kind, GENERIC_DRIVERS) for kind in DeviceKind}
    assert {
        DeviceKind.GLUCOSE_METER: "gatt.glucose_meter",
        DeviceKind.CGM: "gatt.cgm",
        DeviceKind.SCALE: "gatt.scale",
        DeviceKind.BODY_COMPOSITION_ANALYSER: "gatt.scale",
        DeviceKind.BLOOD_PRESSURE_MONITOR: "gatt.blood_pressure",
        DeviceKind.PULSE_OXIMETER: "gatt.pulse_oximeter",
        DeviceKind.THERMOMETER: "gatt.thermometer",
        DeviceKind.HEART_RATE_MONITOR: "gatt.heart_rate",
    } == {kind: driver.name for kind, driver in found.items() if driver is not None}


class _Entry:
    def __init__(self, name: str, value: object) -> None:
        self.name = name
        self._value = value

    def load(self) -> object:
        if isinstance(self._value, Exception):
            raise self._value
        return self._value


def test_entry_points_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """A driver of another package goes before the generic ones."""
    special = Driver("special", frozenset(), (), lambda _advert: False, GENERIC_DRIVERS[0].open)
    monkeypatch.setattr("gateway.devices.drivers.entry_points", lambda *, group: [_Entry("a", special)])
    assert ("special", *(driver.name for driver in (*MODEL_DRIVERS, *GENERIC_DRIVERS))) == tuple(
        d.name for d in load_drivers()
    )


@pytest.mark.parametrize("value", ["no driver", ImportError("gone"), GENERIC_DRIVERS[0]])
def test_unusable_entry_point_is_a_configuration_error(monkeypatch: pytest.MonkeyPatch, value: object) -> None:
    """What cannot be loaded, is no driver, or repeats a name stops the start with the entry's name."""
    monkeypatch.setattr("gateway.devices.drivers.entry_points", lambda *, group: [_Entry("a", value)])
    with pytest.raises(ConfigurationError, match=r"gateway\.devices"):
        load_drivers()
