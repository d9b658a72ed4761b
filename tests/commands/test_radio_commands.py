"""`gateway scan` and `gateway radio`."""

from __future__ import annotations

import argparse
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from gateway.adapters.sources.bluetooth.radio.parts import Radio
from gateway.cli import build_parser
from gateway.commands import radio as radio_command
from gateway.commands import scan as scan_command
from gateway.devices.drivers import GENERIC_DRIVERS
from gateway.devices.models import not_read_named
from gateway.model import DeviceId, DeviceKind, Neighbour, RadioState
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord
from gateway.settings import Settings

NOW = datetime(2026, 3, 20, 11, 0, tzinfo=UTC)
METER = "C0:FF:EE:00:00:01"


def parsed(*arguments: str) -> argparse.Namespace:
    return build_parser().parse_args(arguments)


async def test_scan_hears_and_connects_to_nothing() -> None:
    """A meter on the air is heard, known, and left alone, even one that is configured."""
    settings = Settings.model_validate(
        {"devices": [{"id": "meter", "kind": "glucose_meter", "name": "Lecteur", "address": METER}]}
    )
    async with VirtualAir() as air:
        wall = datetime(2026, 3, 1, 8, 0)  # noqa: DTZ001 - a meter's own clock
        record = MeterRecord(1, wall, Decimal(100))
        meter = VirtualMeter(air, METER, "meter 12345678", "S-1", [record], clock=lambda: wall)
        await meter.start()
        radios = [Radio("virtual", air.scanner_backend, air.client_backend)]
        (heard,), (report,) = await scan_command.listened(settings, 0.5, radios)
        assert 0 == meter.connections
    assert (METER, "gatt.glucose_meter", DeviceId("meter")) == (heard.address, heard.driver, heard.device_id)
    assert RadioState.HEARING is report.state


def test_scan_names_the_three_kinds_of_device_and_no_serial() -> None:
    """New, configured, known but not readable; a serial number in a name is left out."""
    neighbour = Neighbour(METER, "meter+01234567", -60, "gatt.scale", DeviceKind.SCALE, None, NOW, NOW)
    drivers = {driver.name: driver for driver in GENERIC_DRIVERS}
    drivers["acme"] = replace(GENERIC_DRIVERS[0], name="acme", open=None, title="Acme Meter")
    rows = [
        scan_command._row(neighbour, drivers),
        scan_command._row(replace(neighbour, device_id=DeviceId("bath")), drivers),
        scan_command._row(replace(neighbour, driver="acme"), drivers),
    ]
    assert ["new", "configured", "not_readable"] == [row["status"] for row in rows]
    assert f"{METER}    -60 dBm  scale  meter+…  new" == scan_command._sentence(rows[0])
    assert scan_command._sentence(rows[1]).endswith("configured as bath")
    assert scan_command._sentence(rows[2]).endswith("Acme Meter  meter+…  known, but cannot be read")


def test_scan_says_why_a_known_device_is_not_read() -> None:
    """The reason and the way round, in the sentence and for programs."""
    neighbour = Neighbour(METER, "eufy T9140", -60, None, None, None, NOW, NOW, "eufy.own_protocol")
    assert scan_command._is_known(neighbour)
    assert not scan_command._is_known(replace(neighbour, not_read=None))
    row = scan_command._row(neighbour, {})
    entry = not_read_named("eufy.own_protocol")
    assert entry is not None
    assert entry.route is not None
    assert ("not_readable", "eufy.own_protocol") == (row["status"], row["not_read"])
    assert (entry.reason[1], entry.route[1]) == (row["reason"], row["route"])
    assert [
        f"{METER}    -60 dBm  {entry.title}  eufy T…  known, but cannot be read",
        f"    {entry.reason[1]}",
        f"    {entry.route[1]}",
    ] == scan_command._sentence(row).splitlines()


async def test_radio_listens_by_itself_when_nobody_answers(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And says so; without D-Bus there is no radio."""
    monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", f"unix:path={tmp_path / 'none'}")
    configuration = tmp_path / "hub.toml"
    configuration.write_text("[bluetooth]\nenabled = true\n[web]\nenabled = false\n", encoding="utf-8")
    assert 1 == await radio_command._run(parsed("radio", "--config", str(configuration)))
    assert [
        "No running gateway answers: this command has listened by itself.",
        "There is no Bluetooth radio. The system's D-Bus does not answer.",
    ] == capsys.readouterr().out.splitlines()


@pytest.mark.parametrize("text", ["0", "-1", "301", "ten"])
def test_seconds_are_bounded(text: str) -> None:
    """A scan of no time or of hours is a mistake."""
    with pytest.raises(argparse.ArgumentTypeError):
        scan_command.seconds(text)
