"""The radio manager over unchanged bleak, against a stand-in for BlueZ on a real dbus-daemon."""

from __future__ import annotations

import asyncio
import sys
import types
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import structlog
from bluetooth_kit import PARIS, FrozenClock, MemoryIntake, make_device, running
from bluez_radio_kit import FakeAdapter, fake_bluez
from dbus_kit import PrivateBus, private_bus

from gateway.adapters.sources.bluetooth import BluetoothSource, LinkState
from gateway.adapters.sources.bluetooth.bluez.adapters import BluezAdapter
from gateway.adapters.sources.bluetooth.radio.ladder import Pace
from gateway.adapters.sources.bluetooth.radio.parts import Radio, RungFailed
from gateway.commands.scan import listened
from gateway.model import DeviceKind, RadioReport, RadioState
from gateway.settings import BluetoothSettings, Settings

OURS, OTHERS = "00:1A:7D:DA:71:13", "00:1A:7D:DA:71:14"
METER, STRANGER = "C0:FF:EE:00:00:01", "C0:FF:EE:00:00:02"
IN_PROGRESS = ("org.bluez.Error.InProgress", "Operation already in progress")
QUICK = Pace(
    quiet_s=0.1,
    silence_s=0.3,
    listen_s=0.2,
    rung_s=5.0,
    start_s=2.0,
    stop_s=1.0,
    first_pause_s=0.05,
    longest_pause_s=0.1,
)


def adapter(name: str = "hci0", address: str = OURS, **options: object) -> FakeAdapter:
    made = FakeAdapter(name, address, devices=[STRANGER])
    for option, value in options.items():
        setattr(made, option, value)
    return made


@pytest.fixture
async def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[PrivateBus]:
    async with private_bus(tmp_path) as bus:
        monkeypatch.setenv("DBUS_SYSTEM_BUS_ADDRESS", bus.address)
        yield bus


def make_source(
    *wanted: str | None, pace: Pace = QUICK, scanning: str = "active", **settings: object
) -> BluetoothSource:
    return BluetoothSource(
        BluetoothSettings.model_validate(
            {"enabled": True, "retry_s": 0.2, "connect_timeout_s": 2.0, "scanning": scanning, **settings}
        ),
        [make_device(METER, DeviceKind.GLUCOSE_METER)],
        zone_of=lambda _device_id: PARIS,
        clock=FrozenClock(),
        radios=[Radio(name or "adapter", control=BluezAdapter(name)) for name in wanted or (None,)],
        pace=pace,
    )


async def until(source: BluetoothSource, is_so: Callable[[RadioReport], bool]) -> RadioReport:
    """The first report of the first radio that is so."""
    async with asyncio.timeout(20):
        while not is_so(source.reports()[0]):
            await source.changed()
    return source.reports()[0]


async def until_state(source: BluetoothSource, state: RadioState) -> RadioReport:
    return await until(source, lambda report: report.state is state)


@asynccontextmanager
async def at_work(source: BluetoothSource) -> AsyncIterator[None]:
    async with running(source, MemoryIntake()):
        yield


async def test_radio_hears_and_names_its_adapter(bus: PrivateBus) -> None:
    """The neighbour is counted and shown; the report tells which adapter, with its address."""
    async with fake_bluez(bus.address, adapter()), at_work(source := make_source()):
        report = await until_state(source, RadioState.HEARING)
        assert (OURS, 1, f"adapter (hci0, {OURS})") == (report.address, report.devices_heard, report.name)
        (neighbour,) = source.neighbours()
    assert (STRANGER, -60, "gatt.glucose_meter", None) == (
        neighbour.address,
        neighbour.rssi_dbm,
        neighbour.driver,
        neighbour.device_id,
    )


async def test_adapter_that_comes_back_as_hci1_is_followed(bus: PrivateBus) -> None:
    """C2: named hci0 in the settings, it is followed by its address; another dongle that is hci0 now is left alone."""
    async with fake_bluez(bus.address, adapter()) as bluez, at_work(source := make_source("hci0")):
        await until_state(source, RadioState.HEARING)
        gone = bluez.unplug("hci0")
        assert "no_adapter" == (await until(source, lambda report: report.advice is not None)).advice
        bluez.plug(adapter("hci0", OTHERS))
        gone.name = "hci1"
        gone.is_discovering = False
        bluez.plug(gone)
        await until_state(source, RadioState.HEARING)
        assert f"hci0 (hci1, {OURS})" == source.reports()[0].name
        assert "hci1.StartDiscovery" in bluez.calls
        assert 1 == bluez.calls.count("hci0.StartDiscovery")


async def test_what_another_adapter_heard_is_no_handle_any_more(bus: PrivateBus) -> None:
    """The adapter comes back as hci1: a device that it has not heard since is not offered by its object of hci0."""
    async with fake_bluez(bus.address, adapter(devices=[METER])) as bluez, at_work(source := make_source(OURS)):
        await until_state(source, RadioState.HEARING)
        assert source.heard(METER) is not None
        back = bluez.unplug("hci0")
        await until_state(source, RadioState.ABSENT)
        back.name, back.devices = "hci1", []
        bluez.plug(back)
        await bluez.until_called("hci1.StartDiscovery")
        assert source.heard(METER) is None


async def test_bluetoothd_that_restarts_is_survived(bus: PrivateBus) -> None:
    """C3: killed without a word and started again, it is scanning for us again."""
    async with fake_bluez(bus.address, adapter()) as bluez, at_work(source := make_source(OURS)):
        await until_state(source, RadioState.HEARING)
        await bluez.stop()
        assert "no_service" == (await until(source, lambda report: report.advice is not None)).advice
        await bluez.start()
        await until_state(source, RadioState.HEARING)
        assert 2 == bluez.calls.count("hci0.StartDiscovery")


async def test_bus_that_dies_is_survived(bus: PrivateBus) -> None:
    """C3: the socket of D-Bus dies; with a new bus everything goes on."""
    async with fake_bluez(bus.address, adapter()) as bluez, at_work(source := make_source(OURS)):
        await until_state(source, RadioState.HEARING)
        await bus.kill()
        assert "no_bus" == (await until(source, lambda report: report.advice is not None)).advice
        await bluez.stop()
        await bus.start()
        await bluez.start()
        await until_state(source, RadioState.HEARING)


async def test_scan_in_progress_is_started_again(bus: PrivateBus) -> None:
    """C1: InProgress once; the first rung, a new start, is enough, and nothing is switched off."""
    stuck = adapter(errors={"StartDiscovery": IN_PROGRESS})
    async with fake_bluez(bus.address, stuck) as bluez:
        with structlog.testing.capture_logs() as lines:
            async with at_work(source := make_source()):
                await bluez.until_called("hci0.StartDiscovery")
                stuck.errors.clear()
                await until_state(source, RadioState.HEARING)
    assert [] == [call for call in bluez.calls if "Powered" in call]
    assert ["restart_scan"] == [line["rung"] for line in lines if line["event"] == "bluetooth.recovery"]


@pytest.mark.parametrize(
    "trouble",
    [{"errors": {"StartDiscovery": IN_PROGRESS}}, {"is_deaf": True}],
    ids=["in-progress", "deaf"],
)
async def test_power_cycle_brings_it_back(bus: PrivateBus, trouble: dict[str, object]) -> None:
    """C1: what a new start does not cure, off and on does; each rung is logged once, and the reset is not needed."""
    stuck = adapter(cure="Powered=False")
    for name, value in trouble.items():
        setattr(stuck, name, value)
    with structlog.testing.capture_logs() as lines:
        async with fake_bluez(bus.address, stuck) as bluez, at_work(source := make_source()):
            await until_state(source, RadioState.HEARING)
    assert ["Powered=False", "Powered=True"] == [call[5:] for call in bluez.calls if "Powered" in call]
    rungs = [line["rung"] for line in lines if line["event"] == "bluetooth.recovery"]
    assert ["restart_scan", "power_cycle"] == rungs


async def test_ladder_is_climbed_once_and_the_person_told(bus: PrivateBus) -> None:
    """C1: nothing helps: every rung once, then deaf with an advice; later it is only listened, and it may come back."""
    stuck = adapter(errors={"StartDiscovery": IN_PROGRESS})
    with structlog.testing.capture_logs() as lines:
        async with fake_bluez(bus.address, stuck) as bluez, at_work(source := make_source()):
            assert "adapter_fails" == (await until_state(source, RadioState.DEAF)).advice
            before = bluez.calls.count("hci0.StartDiscovery")
            await bluez.until_called("hci0.StartDiscovery", before + 3)
            stuck.errors.clear()
            await until_state(source, RadioState.HEARING)
    assert ["restart_scan", "power_cycle", "reset"] == [
        line["rung"] for line in lines if line["event"] == "bluetooth.recovery"
    ]
    assert 1 == sum(line["event"] == "bluetooth.recovery_exhausted" for line in lines)
    assert 1 == bluez.calls.count("hci0.Powered=False")
    assert not any(address in str(lines) for address in (OURS, STRANGER, METER))


async def test_lonely_radio_is_quiet_and_not_deaf(bus: PrivateBus) -> None:
    """Where nobody was ever heard, the ladder is climbed, and the radio is still not called deaf."""
    async with fake_bluez(bus.address, adapter(devices=[])), at_work(source := make_source()):
        await until_state(source, RadioState.QUIET)
        await until(source, lambda report: report.advice == "bring_a_device")
        assert RadioState.QUIET is source.reports()[0].state


async def test_radio_that_has_heard_is_called_deaf_since_the_last_packet(bus: PrivateBus) -> None:
    """A place that was heard falls silent, and no rung helps: deaf since the last packet."""
    falling = adapter()
    async with fake_bluez(bus.address, falling), at_work(source := make_source()):
        await until_state(source, RadioState.HEARING)
        falling.is_deaf = True
        report = await until_state(source, RadioState.DEAF)
    assert ("replug_adapter", report.last_heard_at) == (report.advice, report.since)


async def test_adapter_that_is_off_is_switched_on(bus: PrivateBus) -> None:
    """At the start, and again when somebody switches it off."""
    off = adapter(is_powered=False)
    async with fake_bluez(bus.address, off) as bluez, at_work(source := make_source()):
        await until_state(source, RadioState.HEARING)
        bluez.power(off, is_on=False)
        await until_state(source, RadioState.ABSENT)
        await until_state(source, RadioState.HEARING)
    assert 2 == bluez.calls.count("hci0.Powered=True")


async def test_switch_that_keeps_it_off_is_named(bus: PrivateBus) -> None:
    """rfkill: blocked, and back when the switch is moved."""
    blocked = adapter(is_powered=False, is_blocked=True)
    async with fake_bluez(bus.address, blocked), at_work(source := make_source()):
        assert "rfkill" == (await until_state(source, RadioState.BLOCKED)).advice
        blocked.is_blocked = False
        await until_state(source, RadioState.HEARING)


async def test_passive_scan_that_is_refused_becomes_active(bus: PrivateBus) -> None:
    """One log line, and the scan runs."""
    with structlog.testing.capture_logs() as lines:
        async with fake_bluez(bus.address, adapter()), at_work(source := make_source(scanning="passive")):
            await until_state(source, RadioState.HEARING)
    assert ["bluetooth.passive_scan_refused"] == [line["event"] for line in lines if line["log_level"] == "warning"]


async def test_passive_scan_that_hears_nothing_becomes_active(bus: PrivateBus) -> None:
    """BlueZ takes the patterns, the kernel refuses them, nobody says so: after the first silence the scan is active."""
    with structlog.testing.capture_logs() as lines:
        async with (
            fake_bluez(bus.address, adapter(takes_monitors=True)) as bluez,
            at_work(source := make_source(scanning="passive")),
        ):
            await until_state(source, RadioState.HEARING)
    assert bluez.calls.index("hci0.RegisterMonitor") < bluez.calls.index("hci0.StartDiscovery")
    assert "bluetooth.passive_scan_silent" in {line["event"] for line in lines}


async def test_links_of_a_process_that_was_killed_are_ended(bus: PrivateBus) -> None:
    """BlueZ keeps them and their devices do not advertise: those of our devices are ended, others are left alone."""
    with structlog.testing.capture_logs() as lines:
        async with (
            fake_bluez(bus.address, adapter(linked=[METER, STRANGER])) as bluez,
            at_work(source := make_source()),
        ):
            await until_state(source, RadioState.HEARING)
    assert 1 == bluez.calls.count("hci0.Disconnect")
    assert bluez.calls.index("hci0.Disconnect") < bluez.calls.index("hci0.StartDiscovery")
    assert [1] == [line["links"] for line in lines if line["event"] == "bluetooth.leftover_links_ended"]


async def test_guest_ends_no_link(bus: PrivateBus) -> None:
    """`gateway scan` beside a running gateway leaves that one's links alone."""
    async with fake_bluez(bus.address, adapter(linked=[METER])) as bluez:
        settings = Settings.model_validate(
            {
                "bluetooth": {"enabled": True},
                "people": [{"id": "p", "name": "P", "time_zone": "Europe/Paris"}],
                "devices": [{"id": "d", "kind": "glucose_meter", "name": "d", "person": "p", "address": METER}],
            }
        )
        await listened(settings, 0.3)
        assert "hci0.StartDiscovery" in bluez.calls
        assert "hci0.Disconnect" not in bluez.calls


async def test_link_to_a_device_that_is_added_later_is_ended(bus: PrivateBus) -> None:
    """The same for a device that is watched only after the radio is up."""
    async with fake_bluez(bus.address, adapter(linked=[OTHERS])) as bluez, at_work(source := make_source()):
        await until_state(source, RadioState.HEARING)
        assert 0 == bluez.calls.count("hci0.Disconnect")
        source.watch(make_device(OTHERS, DeviceKind.SCALE, "device-2"))
        await bluez.until_called("hci0.Disconnect")


async def test_slots_that_are_exhausted_are_waited_for(bus: PrivateBus) -> None:
    """C5: "no available connection slot" is no failure of the device: it is tried again, with a pause."""
    full = adapter(devices=[METER], errors={"Connect": ("org.bluez.Error.Failed", "no available connection slot")})
    async with fake_bluez(bus.address, full) as bluez, at_work(source := make_source()):
        await bluez.until_called("hci0.Connect", 2)
        assert source.states()[0].detail is None
        assert source.states()[0].state in {LinkState.ASLEEP, LinkState.CONNECTING}


async def test_two_adapters_are_two_radios(bus: PrivateBus) -> None:
    """Each runs by itself: one that is gone does not stop the other."""
    both = adapter(), adapter("hci1", OTHERS)
    async with fake_bluez(bus.address, *both) as bluez, at_work(source := make_source(OURS, OTHERS)):
        async with asyncio.timeout(10):
            while {RadioState.HEARING} != {report.state for report in source.reports()}:
                await source.changed()
            bluez.unplug("hci0")
            while RadioState.ABSENT is not source.reports()[0].state:
                await source.changed()
        assert RadioState.HEARING is source.reports()[1].state
        assert 1 == len(source.neighbours())


async def test_scan_that_bluez_forgot_is_started_again(bus: PrivateBus) -> None:
    """C1: silent, and "No discovery started" when it is stopped: started again, and heard again."""
    forgetful = adapter()
    async with fake_bluez(bus.address, forgetful) as bluez, at_work(source := make_source()):
        await until_state(source, RadioState.HEARING)
        forgetful.is_deaf = True
        forgetful.errors["StopDiscovery"] = ("org.bluez.Error.Failed", "No discovery started")
        forgetful.cure = "StartDiscovery"
        await until(source, lambda report: report.state is not RadioState.HEARING)
        await until_state(source, RadioState.HEARING)
    assert [] == [call for call in bluez.calls if "Powered" in call]


async def test_private_address_is_known_by_its_identity(bus: PrivateBus) -> None:
    """C12: BlueZ tells the identity of a bonded device whose address on the air changes: it is ours, and is tried."""
    rotating = "4A:00:00:00:00:01"
    private = adapter(devices=[rotating], identities={rotating: METER})
    async with fake_bluez(bus.address, private) as bluez, at_work(source := make_source()):
        await bluez.until_called("hci0.Connect")
        (neighbour,) = source.neighbours()
    assert (METER, "device-1") == (neighbour.address, neighbour.device_id)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [(True, None), (False, "CAP_NET_ADMIN"), (PermissionError(), "no right to reset it"), (None, "radio-recovery")],
    ids=["works", "no-effect", "no-right", "no-extra"],
)
async def test_reset_goes_through_the_library_or_says_why_not(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch, answer: object, reason: str | None
) -> None:
    """The extra is asked with number and address; without it, or without rights, the rung fails in plain words."""
    asked: list[tuple[int, str, bool]] = []

    async def recover_adapter(hci: int, mac: str, gone_silent: bool = False) -> bool:
        asked.append((hci, mac, gone_silent))
        if isinstance(answer, Exception):
            raise answer
        return bool(answer)

    library = types.ModuleType("bluetooth_auto_recovery")
    if answer is not None:
        library.recover_adapter = recover_adapter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bluetooth_auto_recovery", library)
    async with fake_bluez(bus.address, adapter("hci3")), BluezAdapter(OURS).attach() as session:
        if reason is None:
            await session.reset()
        else:
            with pytest.raises(RungFailed, match=reason):
                await session.reset()
    assert ([] if answer is None else [(3, OURS, True)]) == asked


async def test_reset_that_brings_the_adapter_back_is_a_rung_like_others(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The adapter leaves the bus while it is reset and comes back deaf, as hci1: one reset, then a person is told."""
    falling = adapter()
    resets = 0

    async def recover_adapter(_hci: int, _mac: str, gone_silent: bool = False) -> bool:
        nonlocal resets
        resets += 1
        if resets == 1:
            bluez.unplug("hci0")
            bluez.plug(adapter("hci1", is_deaf=True))
        return gone_silent

    library = types.ModuleType("bluetooth_auto_recovery")
    library.recover_adapter = recover_adapter  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "bluetooth_auto_recovery", library)
    async with fake_bluez(bus.address, falling) as bluez, at_work(source := make_source()):
        await until_state(source, RadioState.HEARING)
        falling.is_deaf = True
        await until_state(source, RadioState.DEAF)
    assert 1 == resets


async def test_scan_command_switches_nothing_off(bus: PrivateBus) -> None:
    """It hears what is there beside a running gateway, and of a stuck BlueZ it says so, and leaves it as it is."""
    settings = Settings.model_validate({"bluetooth": {"enabled": True}})
    async with fake_bluez(bus.address, adapter()):
        (neighbour,), (report,) = await listened(settings, 1.0)
    assert (STRANGER, RadioState.HEARING) == (neighbour.address, report.state)
    stuck = adapter(errors={"StartDiscovery": IN_PROGRESS})
    async with fake_bluez(bus.address, stuck) as bluez:
        neighbours, (report,) = await listened(settings, 10.0)
    assert ((), RadioState.DEAF, "adapter_fails") == (neighbours, report.state, report.advice)
    assert [] == [call for call in bluez.calls if "Powered" in call]
