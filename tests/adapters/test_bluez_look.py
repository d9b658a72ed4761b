"""What the doctor sees: real dbus-daemons in every bad mood, a fake BlueZ, and trees that look like /."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Annotated

import pytest
from dbus_fast import Message, PropertyAccess
from dbus_fast.aio import MessageBus
from dbus_fast.annotations import DBusBool, DBusSignature, DBusStr
from dbus_fast.service import ServiceInterface, dbus_property
from dbus_kit import private_bus

from gateway.adapters.sources.bluetooth.bluez.doctor import Severity, diagnose
from gateway.adapters.sources.bluetooth.bluez.host import BusAnswer, Container, HostFacts, Switch
from gateway.adapters.sources.bluetooth.bluez.look import look_at_host
from gateway.adapters.sources.bluetooth.bluez.unit import parse_unit, read_unit
from gateway.cli import main

ROOT = Path(__file__).resolve().parents[2]
NOBODY = 65534
POLICY = """<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig><type>system</type><listen>unix:path={socket}</listen><auth>EXTERNAL</auth>
<policy context="default">{policy}</policy></busconfig>
"""
OPEN = '<allow user="*"/><allow own="*"/><allow send_destination="*"/><allow receive_sender="*"/>'


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path that everybody may enter."""
    path = Path(tempfile.mkdtemp(prefix="bus-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


@asynccontextmanager
async def strict_bus(folder: Path, policy: str) -> AsyncIterator[str]:
    """A dbus-daemon with this policy; its address."""
    configuration = folder / "bus.conf"
    configuration.write_text(POLICY.format(socket=folder / "bus", policy=policy), encoding="utf-8")
    process = await asyncio.create_subprocess_exec(
        *("dbus-daemon", f"--config-file={configuration}", "--nofork", "--print-address"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        async with asyncio.timeout(10):
            assert await process.stdout.readline()
        yield f"unix:path={folder / 'bus'}"
    finally:
        process.kill()
        await process.wait()


class Adapter(ServiceInterface):
    """As much of org.bluez.Adapter1 as the doctor reads."""

    def __init__(self, *, is_powered: bool) -> None:
        super().__init__("org.bluez.Adapter1")
        self._is_powered = is_powered

    @dbus_property(access=PropertyAccess.READ)
    def Powered(self) -> DBusBool:  # noqa: N802
        return self._is_powered

    @dbus_property(access=PropertyAccess.READ)
    def Address(self) -> DBusStr:  # noqa: N802
        return "00:11:22:33:44:55"

    @dbus_property(access=PropertyAccess.READ)
    def Roles(self) -> Annotated[list[str], DBusSignature("as")]:  # noqa: N802
        return ["central", "peripheral"]


@asynccontextmanager
async def fake_bluez(address: str, *, is_powered: bool = True) -> AsyncIterator[None]:
    """Somebody called org.bluez with one adapter."""
    connection = await MessageBus(bus_address=address).connect()
    connection.export("/org/bluez/hci0", Adapter(is_powered=is_powered))
    await connection.request_name("org.bluez")
    try:
        yield
    finally:
        connection.disconnect()
        await connection.wait_for_disconnect()  # type: ignore[no-untyped-call]


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without the rights of root, where the test has them."""
    before = os.geteuid()
    if before == 0:
        os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(before)


async def look(address: str | None, root: Path, **environment: str) -> HostFacts:
    """The machine below `root`."""
    return await look_at_host(
        bus_address=address,
        root=root,
        environment=environment,
        wanted_adapter=None,
        is_enabled=None,
        is_local=True,
        clock_is_trusted=True,
    )


def faults(facts: HostFacts) -> list[str]:
    """Codes of what is wrong."""
    return [finding.code for finding in diagnose(facts) if finding.severity is Severity.FAULT]


def write(root: Path, **files: str) -> None:
    """Files below `root`; `__` in a name stands for `/`."""
    for name, content in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")


# --- the bus --------------------------------------------------------------------------------------------------------


async def test_a_working_bluez(tmp_path: Path) -> None:
    """An adapter that is on is no fault."""
    async with private_bus(tmp_path) as bus, fake_bluez(bus.address):
        facts = await look(bus.address, tmp_path)
    assert (BusAnswer.ANSWERS, ["hci0"]) == (facts.bus.answer, [adapter.name for adapter in facts.adapters])
    assert [] == faults(facts)


async def test_a_powered_off_adapter(tmp_path: Path) -> None:
    """An adapter that is off is named."""
    async with private_bus(tmp_path) as bus, fake_bluez(bus.address, is_powered=False):
        assert ["adapter_off"] == faults(await look(bus.address, tmp_path))


async def test_no_bluetoothd(tmp_path: Path) -> None:
    """A bus without BlueZ, on a machine where it is not installed."""
    async with private_bus(tmp_path) as bus:
        assert ["bluez_missing"] == faults(await look(bus.address, tmp_path))


async def test_no_socket(tmp_path: Path) -> None:
    """A container without the mount is told the mount."""
    write(tmp_path, **{".dockerenv": ""})
    facts = await look(f"unix:path={tmp_path / 'none'}", tmp_path)
    assert (Container.DOCKER, BusAnswer.NO_SOCKET) == (facts.container, facts.bus.answer)


async def test_a_folder_instead_of_the_socket(tmp_path: Path) -> None:
    """What docker makes of a mount whose source was missing."""
    facts = await look(f"unix:path={tmp_path}", tmp_path)
    assert BusAnswer.NOT_A_SOCKET == facts.bus.answer


async def test_a_socket_that_nobody_serves(folder: Path) -> None:
    """A bus that was killed leaves its socket behind."""
    async with strict_bus(folder, OPEN) as address:
        pass
    assert BusAnswer.NOBODY_LISTENS == (await look(address, folder)).bus.answer


async def test_a_socket_without_permission(folder: Path) -> None:
    """A socket that only its owner may open."""
    async with strict_bus(folder, OPEN) as address:
        (folder / "bus").chmod(0o000)
        with as_nobody():
            assert BusAnswer.SOCKET_FORBIDDEN == (await look(address, folder)).bus.answer


async def test_another_user_name_space(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The bus does not believe a user number that the kernel contradicts."""
    monkeypatch.setattr(os, "getuid", lambda: 23456)
    async with strict_bus(folder, OPEN) as address:
        assert BusAnswer.AUTH_REFUSED == (await look(address, folder)).bus.answer


async def test_a_policy_that_denies_the_user(folder: Path) -> None:
    """A bus that lets nobody in."""
    async with strict_bus(folder, '<deny user="*"/>') as address:
        facts = await look(address, folder)
    assert (BusAnswer.HELLO_DENIED, ["hello_denied"]) == (facts.bus.answer, faults(facts))


async def test_a_policy_that_denies_bluez(folder: Path) -> None:
    """BlueZ is there, and the policy of the bus keeps us from it."""
    policy = f'{OPEN}<deny send_destination="org.bluez"/>'
    async with strict_bus(folder, policy) as address, fake_bluez(address):
        facts = await look(address, folder)
    assert BusAnswer.BLUEZ_DENIED == facts.bus.answer
    assert ["bluez_denied"] == faults(facts)


async def test_apparmor_denies_hello(tmp_path: Path) -> None:
    """The bus's answer to Hello where AppArmor forbids it, in a container: the option of docker that lifts it."""
    words = 'An AppArmor policy prevents this sender from sending this message to this recipient; member="Hello"'
    has_ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while (line := await reader.readuntil(b"\r\n")) != b"BEGIN\r\n":
            writer.write(b"OK 0123456789abcdef0123456789abcdef\r\n" if b"AUTH" in line else b"AGREE_UNIX_FD\r\n")
        await reader.read(4096)
        hello = Message(destination="org.freedesktop.DBus", path="/", interface="a.b", member="Hello", serial=1)
        refusal = Message.new_error(hello, "org.freedesktop.DBus.Error.AccessDenied", words)
        refusal.serial = 1
        writer.write(refusal._marshall(False))
        await writer.drain()
        await reader.read()  # until the other side hangs up
        writer.close()
        await writer.wait_closed()
        has_ended.set()

    write(tmp_path, **{".dockerenv": "", "proc__self__attr__current": "docker-default (enforce)\n"})
    async with await asyncio.start_unix_server(serve, tmp_path / "bus"):
        facts = await look(f"unix:path={tmp_path / 'bus'}", tmp_path)
        await has_ended.wait()
    assert (BusAnswer.HELLO_DENIED, words) == (facts.bus.answer, facts.bus.words)
    (fault,) = (finding for finding in diagnose(facts) if finding.severity is Severity.FAULT)
    assert "docker run --security-opt apparmor=unconfined ..." == fault.fixes[0]
    assert "profile docker-default" in fault.text


# --- the machine ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("files", "environment", "container"),
    [
        ({}, {}, Container.NONE),
        ({".dockerenv": ""}, {}, Container.DOCKER),
        ({"proc__1__cgroup": "0::/system.slice/docker-0123.scope\n"}, {}, Container.DOCKER),
        ({"run__.containerenv": ""}, {}, Container.PODMAN),
        ({}, {"container": "podman"}, Container.PODMAN),
        ({}, {"container": "lxc"}, Container.OTHER),
        ({".dockerenv": ""}, {"KUBERNETES_SERVICE_HOST": "10.0.0.1"}, Container.OTHER),
        ({"proc__1__cgroup": "0::/init.scope\n"}, {}, Container.NONE),
    ],
)
async def test_containers(
    tmp_path: Path, files: dict[str, str], environment: dict[str, str], container: Container
) -> None:
    """The kind of container, by what each leaves."""
    write(tmp_path, **files)
    assert container == (await look(f"unix:path={tmp_path / 'none'}", tmp_path, **environment)).container


async def test_a_raspberry_pi(tmp_path: Path) -> None:
    """Board, switches, config.txt, service and firmware as a Pi shows them."""
    write(
        tmp_path,
        **{
            "proc__device-tree__model": "Raspberry Pi 4 Model B Rev 1.4\0",
            "sys__class__rfkill__rfkill0__type": "wlan\n",
            "sys__class__rfkill__rfkill0__soft": "1\n",
            "sys__class__rfkill__rfkill1__type": "bluetooth\n",
            "sys__class__rfkill__rfkill1__name": "hci0\n",
            "sys__class__rfkill__rfkill1__soft": "1\n",
            "sys__class__rfkill__rfkill1__hard": "0\n",
            "sys__class__bluetooth__hci0__uevent": "",
            "boot__firmware__config.txt": "# a remark\narm_64bit=1\n#dtoverlay=disable-bt\n dtoverlay=disable-bt\n",
            "lib__systemd__system__hciuart.service": "[Unit]\n",
            "usr__lib__firmware__brcm__BCM4345C0.hcd": "",
            "proc__77__comm": "bluetoothctl\n",
        },
    )
    facts = await look(f"unix:path={tmp_path / 'none'}", tmp_path)
    assert (Switch("hci0", is_soft_blocked=True, is_hard_blocked=False),) == facts.switches
    assert facts.board.is_pi
    assert ("hci0",) == facts.board.kernel_adapters
    assert (("/boot/firmware/config.txt", "dtoverlay=disable-bt"),) == facts.board.disabling_lines
    assert ("disabled", True) == (facts.board.hciuart, facts.board.has_pi_firmware)
    assert ("bluetoothctl",) == facts.agents
    assert ["no_socket", "rfkill_soft"] == faults(facts)


DPKG = """Package: blue
Status: install ok installed
Version: 9.9

Package: bluez
Status: {status}
Description: tools
 Version: 1.1
Version: {version}
"""


@pytest.mark.parametrize(
    ("status", "version", "expected"),
    [
        ("install ok installed", "5.66-1+deb12u2", (5, 66)),
        ("install ok installed", "1:5.55-3.1", (5, 55)),
        ("deinstall ok config-files", "5.66-1", None),
    ],
)
async def test_the_version_of_the_package(
    tmp_path: Path, status: str, version: str, expected: tuple[int, int] | None
) -> None:
    """dpkg's list tells the version where no program does; in a container it says nothing of the host."""
    write(tmp_path, var__lib__dpkg__status=DPKG.format(status=status, version=version))
    nowhere = f"unix:path={tmp_path / 'none'}"
    facts = await look(nowhere, tmp_path)
    assert (expected, expected is not None) == (facts.bluez_version, facts.is_bluez_installed)
    facts = await look(nowhere, tmp_path, container="docker")
    assert (None, None) == (facts.bluez_version, facts.is_bluez_installed)


async def test_the_version_of_the_program(tmp_path: Path) -> None:
    """bluetoothd itself tells its version."""
    write(tmp_path, usr__libexec__bluetooth__bluetoothd="#!/bin/sh\n[ $1 = --version ] && echo 5.82\n")
    (tmp_path / "usr/libexec/bluetooth/bluetoothd").chmod(0o755)
    assert (5, 82) == (await look(f"unix:path={tmp_path / 'none'}", tmp_path)).bluez_version


# --- the unit -------------------------------------------------------------------------------------------------------


async def test_our_own_unit_leaves_the_way_open(tmp_path: Path) -> None:
    """config/passerelle.service, installed, closes no way to BlueZ."""
    write(
        tmp_path,
        **{"etc__systemd__system__passerelle.service": (ROOT / "config/passerelle.service").read_text("utf-8")},
    )
    async with private_bus(tmp_path) as bus, fake_bluez(bus.address):
        facts = await look(bus.address, tmp_path)
    assert "unit" in {finding.code for finding in diagnose(facts) if finding.severity is Severity.FINE}


def test_a_drop_in_is_heeded(tmp_path: Path) -> None:
    """What an administrator adds counts after what the unit says; an empty line forgets."""
    write(
        tmp_path,
        **{
            "lib__systemd__system__passerelle.service": "[Service]\nUser=passerelle\nRestrictAddressFamilies=AF_UNIX\n",
            "etc__systemd__system__passerelle.service.d__x.conf": "[Service]\nRestrictAddressFamilies=\n"
            "RestrictAddressFamilies=~AF_UNIX \\\nAF_INET\nTemporaryFileSystem=/run:ro\n",
        },
    )
    unit = read_unit(tmp_path, "passerelle.service")
    assert unit is not None
    assert (frozenset({"AF_UNIX", "AF_INET"}), True) == (unit.address_families, unit.is_deny_list)
    assert ("/run",) == unit.hidden_paths


def test_a_unit_that_says_nothing() -> None:
    """Without restrictions there are none; lines outside [Service] do not count."""
    unit = parse_unit("/x", ["[Unit]\nPrivateUsers=yes\n[Service]\n=\n;PrivateUsers=yes\nExecStart=/bin/true\n"])
    assert (None, False, ()) == (unit.address_families, unit.private_users, unit.hidden_paths)


# --- the command ----------------------------------------------------------------------------------------------------


def test_the_command_fails_with_a_line_to_type(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A fault ends with status 1, in sentences and in JSON."""
    address = f"unix:path={tmp_path / 'none'}"
    assert 1 == main(["doctor", "--bus", address])
    assert "fault  " in capsys.readouterr().out
    assert 1 == main(["doctor", "--bus", address, "--json"])
    said = json.loads(capsys.readouterr().out)
    assert (False, "no_socket") == (said["is_well"], said["findings"][0]["code"])
