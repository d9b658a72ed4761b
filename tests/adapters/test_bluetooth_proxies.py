"""Devices in another room: the unchanged source and the real aioesphomeapi against virtual ESP32 boards."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import timedelta
from decimal import Decimal
from pathlib import Path

import bleak
import pytest
import structlog
from bleak.exc import BleakError
from bluetooth_kit import NOW, PARIS, MemoryIntake, make_device, running, until_state
from hypothesis import given
from hypothesis import strategies as st
from proxy_kit import KEY, bluetooth_settings, key_file, proxied_source, until_report

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.proxies import link
from gateway.adapters.sources.bluetooth.proxies.client import ONLY_JUST_WORKS
from gateway.adapters.sources.bluetooth.proxies.payload import parse_payload
from gateway.adapters.sources.bluetooth.proxies.radios import proxy_radios
from gateway.adapters.sources.bluetooth.radio.parts import AdapterBlocked, Radio
from gateway.errors import ConfigurationError
from gateway.model import DeviceKind, Metric, RadioState
from gateway.sandbox.esphome_proxy import VirtualProxy
from gateway.sandbox.peripherals import VirtualMeter, VirtualScale
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.records import MeterRecord, WeighIn
from gateway.settings import BluetoothSettings

METER = "C0:FF:EE:00:00:01"
OTHER = "C0:FF:EE:00:00:02"
SCALE = "C0:FF:EE:00:00:04"
WALL = NOW.astimezone(PARIS).replace(tzinfo=None)


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


@pytest.fixture
async def proxy(air: VirtualAir) -> AsyncIterator[VirtualProxy]:
    async with VirtualProxy(air) as proxy:
        yield proxy


def records(first: int, last: int) -> list[MeterRecord]:
    return [
        MeterRecord(number, WALL - timedelta(days=2) + timedelta(minutes=number), Decimal(80 + number % 100))
        for number in range(first, last + 1)
    ]


async def make_meter(
    air: VirtualAir,
    memory: list[MeterRecord],
    *,
    address: str = METER,
    secure: bool = False,
    passkey: int | None = None,
) -> VirtualMeter:
    meter = VirtualMeter(air, address, "meter", "S-1", memory, clock=lambda: WALL, secure=secure, passkey=passkey)
    meter.stays_awake = True
    await meter.start()
    return meter


def sequences(intake: MemoryIntake) -> list[int]:
    return sorted(int(reading.record_key.split("@")[0]) for reading in intake.readings.values())


METER_DEVICE = make_device(METER, DeviceKind.GLUCOSE_METER)


# --- reading --------------------------------------------------------------------------------------------------------


async def test_a_meter_in_another_room(air: VirtualAir, proxy: VirtualProxy) -> None:
    """Scan, connection, services, record access and notifications all come over the board; there is no other radio."""
    await make_meter(air, records(1, 20))
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 20)
        await until_state(source, LinkState.ASLEEP)
        (report,) = source.reports()
        assert (RadioState.HEARING, "kitchen (F2:F1:F2:F3:F4:01)") == (report.state, report.name)
        assert {METER} == {neighbour.address for neighbour in source.neighbours()}
    assert list(range(1, 21)) == sequences(intake)
    assert 90 == intake.sightings[0].battery_percent


async def test_a_scale_in_another_room(air: VirtualAir, proxy: VirtualProxy) -> None:
    """Indications come through too, live."""
    scale = VirtualScale(air, SCALE, "scale", "S-2", clock=lambda: WALL, secure=False)
    await scale.start()
    intake = MemoryIntake()
    source = proxied_source({"kitchen": proxy}, make_device(SCALE, DeviceKind.SCALE))
    async with running(source, intake):
        await scale.weigh(WeighIn(Decimal("71.35"), time_stamp=WALL))
        await intake.until(lambda: len(intake.readings) >= 1)
    assert {(Metric.BODY_MASS, Decimal("71.350"))} == {(r.metric, r.value) for r in intake.readings.values()}


async def test_an_encrypted_proxy(air: VirtualAir, tmp_path: Path) -> None:
    """The same over Noise, with the key from a secret file."""
    await make_meter(air, records(1, 3))
    async with VirtualProxy(air, key=KEY) as proxy:
        intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE, key=key_file(tmp_path))
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 3)


async def test_a_meter_that_wants_a_bond_without_a_code(air: VirtualAir, proxy: VirtualProxy) -> None:
    """The device's ATT error comes through as a number, and the board pairs by Just Works."""
    await make_meter(air, records(1, 3), secure=True)
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)


async def test_a_meter_with_a_code_is_out_of_reach(air: VirtualAir, proxy: VirtualProxy) -> None:
    """No reading, and the state asks for a pairing; the error says that a local adapter is needed."""
    await make_meter(air, records(1, 3), secure=True, passkey=123456)
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    with structlog.testing.capture_logs() as logs:
        async with running(source, intake):
            await until_state(source, LinkState.NEEDS_PAIRING)
            await can_not_pair(source)
    assert not intake.readings
    assert [ONLY_JUST_WORKS] == [entry["hint"] for entry in logs if "hint" in entry]


async def can_not_pair(source: BluetoothSource) -> None:
    async with source.hold(METER):
        while (heard := source.heard(METER)) is None:
            await source.changed()
        device, radio = heard
        async with bleak.BleakClient(device, backend=radio.client) as client:
            with pytest.raises(BleakError, match="needs the hub's own adapter"):
                await client.pair()


# --- trouble --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("frames", [1, 12])
async def test_a_link_lost_midway_is_taken_up_again(air: VirtualAir, proxy: VirtualProxy, frames: int) -> None:
    """What came is kept, the rest is fetched at the next advertisement: every record, once."""
    meter = await make_meter(air, records(1, 20))
    meter.disconnect_after(frames)
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 20)
    assert list(range(1, 21)) == sequences(intake)


async def test_a_proxy_that_restarts_in_the_middle_of_a_fetch(air: VirtualAir, proxy: VirtualProxy) -> None:
    """The fetch goes on behind the watermark when the board is back, and the radio's report tells both."""
    meter = await make_meter(air, records(1, 300))
    proxy.cut_after(120)
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    with structlog.testing.capture_logs() as logs:
        async with running(source, intake):
            await proxy.was_cut.wait()
            await proxy.stop()
            async with asyncio.timeout(20):
                await until_report(source, RadioState.ABSENT, "proxy_offline")
            kept = len(intake.readings)
            assert 0 < kept < 300
            meter.log.clear()
            await proxy.start()
            await intake.until(lambda: len(intake.readings) == 300)
            async with asyncio.timeout(20):
                await until_report(source, RadioState.HEARING)
    assert list(range(1, 301)) == sequences(intake)
    assert ("2a52", b"\x01\x01") not in meter.log
    assert 1 == sum(entry["event"] == "bluetooth.no_adapter" for entry in logs)
    assert not any(METER in str(entry) for entry in logs)


async def test_slots_exhausted(air: VirtualAir) -> None:
    """With one connection to give, two devices are read one after the other, and neither is blamed."""
    async with VirtualProxy(air, slots=1) as proxy:
        await make_meter(air, records(1, 5))
        await make_meter(air, records(1, 5), address=OTHER)
        intake = MemoryIntake()
        both = make_device(METER, DeviceKind.GLUCOSE_METER), make_device(OTHER, DeviceKind.GLUCOSE_METER, "device-2")
        source = proxied_source({"kitchen": proxy}, *both)
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 10)
            assert LinkState.FAILED not in {state.state for state in source.states()}


async def test_two_rooms(air: VirtualAir) -> None:
    """A device is connected through the board that hears it clearly better."""
    async with (
        VirtualProxy(air, "kitchen", rssi_dbm=-85) as far,
        VirtualProxy(air, "bedroom", rssi_dbm=-45, address="F2:F1:F2:F3:F4:02") as near,
    ):
        await make_meter(air, records(1, 3))
        intake, source = MemoryIntake(), proxied_source({"kitchen": far, "bedroom": near})
        async with running(source, intake):
            while {RadioState.HEARING} != {report.state for report in source.reports()}:
                await source.changed()
            source.watch(METER_DEVICE)
            await intake.until(lambda: len(intake.readings) == 3)
        assert "BluetoothGATTWriteRequest" not in far.asked
        assert "BluetoothGATTWriteRequest" in near.asked


async def test_the_hubs_own_adapter_beside_a_proxy(air: VirtualAir) -> None:
    """An adapter and a board together: each reads what it hears, and a device that both hear is read once at a time."""
    async with VirtualAir() as kitchen, VirtualProxy(kitchen) as proxy:
        await make_meter(air, records(1, 3))
        await make_meter(kitchen, records(1, 4), address=OTHER)
        own = Radio("own", air.scanner_backend, air.client_backend)
        both = make_device(METER, DeviceKind.GLUCOSE_METER), make_device(OTHER, DeviceKind.GLUCOSE_METER, "device-2")
        intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, *both, others=(own,))
        async with running(source, intake):
            await intake.until(lambda: len(intake.readings) == 7)


@pytest.mark.parametrize(
    ("boards_key", "our_key", "advice"),
    [(KEY, None, "proxy_key"), (None, KEY, "proxy_key"), (KEY, KEY.replace("QRT", "AAA"), "proxy_key")],
    ids=["we have none", "it has none", "another"],
)
async def test_keys_that_do_not_fit(
    air: VirtualAir, tmp_path: Path, boards_key: str | None, our_key: str | None, advice: str
) -> None:
    """A wrong key is told apart from a board that is away, once."""
    async with VirtualProxy(air, key=boards_key) as proxy:
        key = key_file(tmp_path, our_key) if our_key else None
        source = proxied_source({"kitchen": proxy}, METER_DEVICE, key=key)
        async with running(source, MemoryIntake()), asyncio.timeout(20):
            await until_report(source, RadioState.BLOCKED, advice)


async def test_a_board_that_only_listens(air: VirtualAir) -> None:
    """Without `active: true` a board hears; a connection says why there is none."""
    async with VirtualProxy(air, features=0x21) as proxy:
        await make_meter(air, records(1, 1))
        source = proxied_source({"kitchen": proxy})
        async with running(source, MemoryIntake()), asyncio.timeout(20):
            while (heard := source.heard(METER)) is None:
                await source.changed()
            with pytest.raises(BleakError, match="active: true"):
                await bleak.BleakClient(heard[0], backend=heard[1].client).connect()


async def test_a_board_that_still_serves_another(
    air: VirtualAir, proxy: VirtualProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a crash of ours the board takes no notice of us for a while: we ask until it does."""
    monkeypatch.setattr(link, "_INSIST_S", [0.05])
    proxy.deaf_to = 3
    await make_meter(air, records(1, 3))
    intake, source = MemoryIntake(), proxied_source({"kitchen": proxy}, METER_DEVICE)
    async with running(source, intake):
        await intake.until(lambda: len(intake.readings) == 3)
    assert 4 == proxy.asked.count("SubscribeBluetoothLEAdvertisementsRequest")


async def test_firmware_without_bluetooth(air: VirtualAir) -> None:
    """A board whose firmware has no bluetooth_proxy is named as such."""
    async with VirtualProxy(air, features=0) as proxy:
        (radio,) = proxy_radios(bluetooth_settings(("kitchen", proxy.port, None)))
        assert radio.control is not None
        with pytest.raises(AdapterBlocked, match="proxy_firmware"):
            async with radio.control.attach():
                pass


# --- settings and payloads ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", ["", "no base64!", "QRTI"])
def test_a_key_that_is_none(tmp_path: Path, key: str) -> None:
    """A key file that holds something else stops the start, with its place in the file."""
    with pytest.raises(ConfigurationError) as error:
        proxy_radios(bluetooth_settings(("kitchen", 1, key_file(tmp_path, key))))
    assert "bluetooth.proxies[0].key_file" == error.value.problems[0][0]


def test_without_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where the library is missing the start says what to install; without proxies it is not missed."""
    for name in [name for name in sys.modules if name.startswith("gateway.adapters.sources.bluetooth.proxies.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.startswith("aioesphomeapi.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "aioesphomeapi", None)
    assert () == proxy_radios(BluetoothSettings())
    with pytest.raises(ConfigurationError, match="pip install"):
        proxy_radios(bluetooth_settings(("kitchen", 1, None)))


def test_the_library_is_not_loaded_in_vain() -> None:
    """A gateway without proxies does not pay for them."""
    code = "import gateway.app, gateway.adapters.sources.bluetooth, sys; sys.exit('aioesphomeapi' in sys.modules)"
    assert 0 == subprocess.run([sys.executable, "-c", code], check=False).returncode


@pytest.mark.parametrize(
    "wrong",
    [
        {"local": False},
        {"proxies": [{"name": "a", "host": "x"}, {"name": "a", "host": "y"}]},
        {"proxies": [{"name": "a", "host": ""}]},
    ],
)
def test_settings_that_make_no_sense(wrong: dict[str, object]) -> None:
    """No radio at all, a name twice, no host."""
    with pytest.raises(ValueError):
        BluetoothSettings.model_validate(wrong)


def test_a_payload() -> None:
    """Names, services of each width, service data and maker's data, as bleak gives them."""
    payload = parse_payload(
        bytes.fromhex("020106030308180b094d49424653") + bytes(5) + bytes.fromhex("04161d182205ff57010203")
    )
    assert "MIBFS" == payload.name
    assert ["00001808-0000-1000-8000-00805f9b34fb"] == payload.services
    assert {"0000181d-0000-1000-8000-00805f9b34fb": b"\x22"} == payload.service_data
    assert {0x0157: b"\x02\x03"} == payload.manufacturer_data


@given(st.binary(max_size=64))
def test_any_payload(octets: bytes) -> None:
    """Any octets give what makes sense of them, and no exception."""
    parse_payload(octets)
