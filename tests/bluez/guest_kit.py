"""The inside of the guest: a system bus, bluetoothd, an adapter behind /dev/vhci, a person, and a source.

Nothing here stands in for BlueZ or bleak. The virtual devices are in the same process as the source, but everything
between them passes bleak, the bus, bluetoothd and the kernel.
"""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Callable, Sequence
from datetime import timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import bumble.device
from bluetooth_kit import NOW, PARIS, FrozenClock, MemoryIntake
from bumble import hci
from bumble.core import AdvertisingData
from bumble.device import DeviceConfiguration
from bumble.gatt import Characteristic
from bumble.keys import MemoryKeyStore

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.bluez.bus import Bluez
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.devices.drivers import GENERIC_DRIVERS, Driver
from gateway.model import Device
from gateway.ports import Clock
from gateway.sandbox._central import make_device
from gateway.sandbox.peripherals import VirtualMeter
from gateway.sandbox.records import MeterRecord
from gateway.sandbox.vhci import KernelAir
from gateway.settings import BluetoothSettings

__all__ = [
    "ADAPTER",
    "WALL",
    "BluezStack",
    "Person",
    "kernel_source",
    "make_meter",
    "numbers",
    "powered",
    "records",
    "shout",
    "switched_off",
    "until",
    "until_told",
]

WALL = NOW.astimezone(PARIS).replace(tzinfo=None)
ADAPTER = "org.bluez.Adapter1"
_PROGRAMS = ("/usr/sbin/bluetoothd", "/usr/libexec/bluetooth/bluetoothd", "/usr/lib/bluetooth/bluetoothd")
_PATIENCE_S = 60.0
_PATIENT = Pace()


class BluezStack:
    """The system bus and bluetoothd of this guest, as processes that a test may kill and start again."""

    def __init__(self, folder: Path) -> None:
        self._log = (folder / "bluetoothd.log").open("ab")
        self._bus: subprocess.Popen[bytes] | None = None
        self._bluetoothd: subprocess.Popen[bytes] | None = None

    def start_bus(self) -> None:
        """Until it takes connections."""
        command = ("dbus-daemon", "--system", "--nofork", "--nopidfile", "--print-address")
        self._bus = subprocess.Popen(command, stdout=subprocess.PIPE)
        assert self._bus.stdout is not None
        with self._bus.stdout as says:
            assert says.readline()

    def start_bluetoothd(self, *options: str) -> None:
        """Does not wait for it: BlueZ announces itself on the bus."""
        program = next(path for path in _PROGRAMS if Path(path).exists())
        self._bluetoothd = subprocess.Popen((program, "-n", *options), stdout=self._log, stderr=self._log)

    def has_bluetoothd_died(self) -> bool:
        """Whether it has ended by itself."""
        return self._bluetoothd is not None and self._bluetoothd.poll() is not None

    def kill_bluetoothd(self) -> None:
        """SIGKILL."""
        assert self._bluetoothd is not None
        self._bluetoothd.kill()
        self._bluetoothd.wait()

    def stop(self) -> None:
        """Everything."""
        for process in (self._bluetoothd, self._bus):
            if process is not None:
                process.kill()
                process.wait()
        self._log.close()


async def until(bluez: Bluez, is_so: Callable[[], Any]) -> None:
    """Wait until `is_so`, asked again whenever BlueZ says anything."""
    stirred = asyncio.Event()
    await bluez.listen(lambda *_: stirred.set())
    async with asyncio.timeout(_PATIENCE_S):
        while not await is_so():
            stirred.clear()
            await stirred.wait()


async def powered(bluez: Bluez, address: str) -> str:
    """Wait until BlueZ has powered the adapter with this address; its path."""
    return await _adapter(bluez, address, is_powered=True)


async def switched_off(bluez: Bluez, address: str) -> None:
    """Have BlueZ switch the adapter off, which ends every link in good order."""
    path = await _adapter(bluez, address, is_powered=True)
    await bluez.set(path, ADAPTER, "Powered", "b", False)
    await _adapter(bluez, address, is_powered=False)


async def _adapter(bluez: Bluez, address: str, *, is_powered: bool) -> str:
    paths: list[str] = []

    async def is_so() -> bool:
        if not await bluez.has_owner():
            return False
        for path, interfaces in (await bluez.objects()).items():
            if (adapter := interfaces.get(ADAPTER)) and (adapter["Address"], adapter["Powered"]) == (
                address,
                is_powered,
            ):
                paths.append(path)
        return bool(paths)

    await until(bluez, is_so)
    return paths[0]


class Person:
    """Somebody at the screen while a device is paired; implements what a pairing asks.

    Attributes:
        asked: how often digits were wanted.
    """

    def __init__(self, digits: int | None = None, *, is_away: bool = False) -> None:
        """`digits`: what is typed; `is_away`: no question is ever answered."""
        self._digits = digits
        self._is_away = is_away
        self.asked = 0
        self.was_asked = asyncio.Event()

    def connected(self) -> None:
        """The device has been reached."""

    async def passkey(self) -> int:
        """The digits on the device's display."""
        self.asked += 1
        self.was_asked.set()
        if self._is_away or self._digits is None:
            await asyncio.Event().wait()
        assert self._digits is not None
        return self._digits

    async def is_same(self, digits: int) -> bool:
        """Not with these devices."""
        raise AssertionError(digits)

    def show(self, digits: int) -> None:
        """Not with these devices."""
        raise AssertionError(digits)

    def allows_unproven(self) -> bool:
        """Whether Just Works will do: where there are no digits to type."""
        return self._digits is None


def kernel_source(
    *devices: Device,
    clock: Clock | None = None,
    drivers: Sequence[Driver] = GENERIC_DRIVERS,
    pace: Pace = _PATIENT,
    **settings: Any,
) -> BluetoothSource:
    """A source as the gateway makes it: bleak's own backend."""
    chosen = {
        "connect_timeout_s": 20.0,
        "procedure_timeout_s": 20.0,
        "quiet_s": 1.0,
        "retry_s": 2.5,  # BlueZ keeps a link for 2 s after it was given back
        "revisit_s": 2.5,
    } | settings
    return BluetoothSource(
        BluetoothSettings.model_validate({"enabled": True} | chosen),
        devices,
        zone_of=lambda _device_id: PARIS,
        clock=clock or FrozenClock(),
        drivers=drivers,
        pace=pace,
    )


async def until_told(source: BluetoothSource, state: LinkState) -> None:
    """Wait until the first device is in `state`, which may take a few contacts that hang."""
    async with asyncio.timeout(2 * _PATIENCE_S):
        while source.states()[0].state is not state:
            await source.state_changed()


def records(first: int, last: int) -> list[MeterRecord]:
    """One test a minute, two days ago."""
    return [
        MeterRecord(number, WALL - timedelta(days=2) + timedelta(minutes=number), Decimal(80 + number % 100))
        for number in range(first, last + 1)
    ]


class _Meter(VirtualMeter):
    """A meter with something timed to its frames."""

    at_frame: tuple[int, Callable[[], None]] | None = None

    async def send_measurement(self, characteristic: Characteristic[bytes], frame: bytes) -> bool:
        went_out = await super().send_measurement(characteristic, frame)
        if self.at_frame is not None and self.sent >= self.at_frame[0]:
            _, happens = self.at_frame
            self.at_frame = None
            happens()
        return went_out


async def make_meter(
    air: KernelAir,
    memory: list[MeterRecord],
    *,
    address: str,
    name: str = "meter",
    passkey: int | None = None,
    secure: bool = False,
    stays_awake: bool = False,
    max_mtu: int = 517,
    at_frame: tuple[int, Callable[[], None]] | None = None,
) -> VirtualMeter:
    """A meter that is on and advertises; `at_frame`: what happens once when that many measurements have gone out."""
    meter = _Meter(air, address, name, "S-1", memory, clock=lambda: WALL, passkey=passkey, secure=secure)
    meter.at_frame = at_frame
    meter.stays_awake = stays_awake
    meter.max_mtu = max_mtu
    await meter.start()
    return meter


def numbers(intake: MemoryIntake) -> list[int]:
    """The sequence numbers of every record that was handed in, in that order and as often as it was."""
    return [int(reading.record_key.split("@")[0]) for batch in intake.batches for reading in batch.readings]


async def shout(air: KernelAir, address: str, name: str, service: int, payload: bytes) -> bumble.device.Device:
    """A device that says all it has to say in its advertisement: service data of `service`."""
    config = DeviceConfiguration(
        name=name, address=hci.Address(address), advertising_interval_min=50, advertising_interval_max=50
    )
    device = make_device(air.controller(name), config, MemoryKeyStore())
    device.advertising_data = bytes(
        AdvertisingData(
            [
                (AdvertisingData.FLAGS, b"\x06"),
                (AdvertisingData.SERVICE_DATA_16_BIT_UUID, service.to_bytes(2, "little") + payload),
                (AdvertisingData.COMPLETE_LOCAL_NAME, name.encode()),
            ]
        )
    )
    await device.power_on()
    await device.start_advertising(auto_restart=False)
    return device
