"""Looks at the machine for the doctor: files of the kernel and the system, and one conversation with the bus.

Nothing is changed, and nothing that cannot be read is taken for broken: it is not known.
"""

from __future__ import annotations

import asyncio
import grp
import os
import pwd
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from dbus_fast.errors import AuthError

from gateway.adapters.sources.bluetooth.bluez.bus import Bluez, BluezRefused, BusUnavailable, HelloRefused
from gateway.adapters.sources.bluetooth.bluez.host import (
    AdapterFacts,
    BoardFacts,
    BusAnswer,
    BusFacts,
    Container,
    HostFacts,
    Switch,
    UserFacts,
)
from gateway.adapters.sources.bluetooth.bluez.unit import read_unit

__all__ = ["look_at_host"]

_SYSTEM_BUS: Final = "unix:path=/run/dbus/system_bus_socket"
_ACCESS_DENIED: Final = "org.freedesktop.DBus.Error.AccessDenied"
_NOBODY: Final = frozenset({"org.freedesktop.DBus.Error.ServiceUnknown", "org.freedesktop.DBus.Error.NameHasNoOwner"})
_ADAPTER: Final = "org.bluez.Adapter1"
_PROGRAM_S: Final = 5.0
_PROGRAMS: Final = (
    "usr/libexec/bluetooth/bluetoothd",
    "usr/lib/bluetooth/bluetoothd",
    "usr/sbin/bluetoothd",
    "usr/bin/bluetoothctl",
)
_AGENTS: Final = frozenset({"bluetoothctl", "bt-agent", "blueman-applet", "gnome-shell", "kded5", "kded6"})
_DISABLING: Final = re.compile(r"dtoverlay=(?:pi3-)?disable-bt")
_VERSION: Final = re.compile(r"(\d+)\.(\d+)")


async def look_at_host(
    *,
    bus_address: str | None,
    root: Path,
    environment: Mapping[str, str],
    wanted_adapter: str | None,
    is_enabled: bool | None,
    is_local: bool,
    clock_is_trusted: bool,
) -> HostFacts:
    """Everything the rules want to know.

    Args:
        bus_address: of another bus than the system's; None: that of `environment`, else the usual one.
        root: where the file system begins; `/` but for tests.
        environment: of the process.
        wanted_adapter, is_enabled, is_local: from the configuration.
        clock_is_trusted: what the clock says of itself.
    """
    container = _container(root, environment)
    address = bus_address or environment.get("DBUS_SYSTEM_BUS_ADDRESS") or _SYSTEM_BUS
    bus, adapters = await _ask(address)
    program = next((root / name for name in _PROGRAMS if (root / name).is_file()), None)
    is_contained = container is not Container.NONE
    version = None
    if not is_contained:  # a container's own BlueZ says nothing of the host's
        version = (await _program_version(program) if program is not None else None) or _package_version(root)
    return HostFacts(
        container=container,
        user=_user(),
        bus=bus,
        apparmor=_apparmor(root),
        is_bluez_installed=None if is_contained else program is not None or version is not None,
        bluez_version=version,
        switches=tuple(_switches(root)),
        adapters=adapters,
        wanted_adapter=wanted_adapter,
        board=_board(root, is_contained=is_contained),
        agents=tuple(sorted(_running(root) & _AGENTS)),
        unit=read_unit(root, "passerelle.service"),
        is_enabled=is_enabled,
        is_local=is_local,
        clock_is_trusted=clock_is_trusted,
    )


def _text(path: Path) -> str | None:
    """A small file's text without the white space and zero octets around it; None: it cannot be read."""
    try:
        return path.read_text(encoding="utf-8", errors="replace").strip(" \t\r\n\0")
    except OSError:
        return None


def _names(folder: Path) -> list[str]:
    try:
        return sorted(path.name for path in folder.iterdir())
    except OSError:
        return []


# --- the bus --------------------------------------------------------------------------------------------------------


async def _ask(address: str) -> tuple[BusFacts, tuple[AdapterFacts, ...]]:
    """As far as BlueZ's objects; nothing is started, nothing is set."""
    try:
        async with Bluez.connect(address) as bluez:
            if not await bluez.has_owner():
                return BusFacts(address, BusAnswer.NO_BLUEZ), ()
            adapters = tuple(
                _adapter(path, interfaces[_ADAPTER])
                for path, interfaces in sorted((await bluez.objects()).items())
                if _ADAPTER in interfaces
            )
    except BluezRefused as refused:
        return BusFacts(address, _refusal(refused.name), refused.text), ()
    except HelloRefused as error:
        return BusFacts(address, BusAnswer.HELLO_DENIED, error.reason), ()
    except BusUnavailable as error:
        facts = BusFacts(address, BusAnswer.BROKEN, error.reason)
        return BusFacts(address, _failure(error.__cause__, Path(facts.socket)), error.reason), ()
    return BusFacts(address, BusAnswer.ANSWERS), adapters


def _refusal(name: str) -> BusAnswer:
    if name in _NOBODY:
        return BusAnswer.NO_BLUEZ
    return BusAnswer.BLUEZ_DENIED if name == _ACCESS_DENIED else BusAnswer.BROKEN


def _failure(cause: BaseException | None, socket: Path) -> BusAnswer:
    match cause:
        case PermissionError():
            return BusAnswer.SOCKET_FORBIDDEN
        case FileNotFoundError() | NotADirectoryError():
            return BusAnswer.NO_SOCKET
        case ConnectionRefusedError():
            return BusAnswer.NOT_A_SOCKET if socket.is_dir() else BusAnswer.NOBODY_LISTENS
        case AuthError():
            return BusAnswer.AUTH_REFUSED
        case EOFError() | ConnectionResetError() | BrokenPipeError():
            return BusAnswer.HELLO_DENIED  # a policy that denies a user ends the connection without a word
        case _:
            return BusAnswer.BROKEN


def _adapter(path: str, properties: Mapping[str, Any]) -> AdapterFacts:
    roles = properties.get("Roles")
    return AdapterFacts(
        name=path.rpartition("/")[2],
        address=str(properties.get("Address", "")),
        is_powered=bool(properties.get("Powered", False)),
        roles=None if roles is None else frozenset(map(str, roles)),
    )


# --- the process ----------------------------------------------------------------------------------------------------


def _container(root: Path, environment: Mapping[str, str]) -> Container:
    said = environment.get("container", "")
    if (root / "run/.containerenv").exists() or said == "podman":
        return Container.PODMAN
    if "KUBERNETES_SERVICE_HOST" in environment:
        return Container.OTHER
    if (root / ".dockerenv").exists() or said == "docker":
        return Container.DOCKER
    groups = _text(root / "proc/1/cgroup") or ""
    if "docker" in groups:
        return Container.DOCKER
    is_other = said or (root / "run/systemd/container").exists() or re.search(r"lxc|kubepods|machine-", groups)
    return Container.OTHER if is_other else Container.NONE


def _user() -> UserFacts:
    uid = os.getuid()
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        name = str(uid)
    return UserFacts(uid, name, frozenset(_group(number) for number in {os.getgid(), *os.getgroups()}))


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)


def _apparmor(root: Path) -> str | None:
    """The file's other format is SELinux's label, which has no mode in brackets."""
    for name in ("proc/self/attr/apparmor/current", "proc/self/attr/current"):
        said = _text(root / name)
        if said is not None and said.endswith(")") and not said.startswith("unconfined"):
            return said
    return None


def _running(root: Path) -> frozenset[str]:
    numbers = [name for name in _names(root / "proc") if name.isdigit()]
    return frozenset(_text(root / "proc" / number / "comm") or "" for number in numbers)


# --- BlueZ, kernel, board -------------------------------------------------------------------------------------------


async def _program_version(program: Path) -> tuple[int, int] | None:
    try:
        process = await asyncio.create_subprocess_exec(
            program, "--version", stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL
        )
    except OSError:
        return None
    try:
        async with asyncio.timeout(_PROGRAM_S):
            said, _ = await process.communicate()
    except TimeoutError:
        process.kill()
        await process.wait()
        return None
    return _version(said.decode("utf-8", "replace"))


def _package_version(root: Path) -> tuple[int, int] | None:
    """From dpkg's own list; the number before `:` is the epoch of the package."""
    for paragraph in (_text(root / "var/lib/dpkg/status") or "").split("\n\n"):
        fields = dict(line.split(": ", 1) for line in paragraph.splitlines() if ": " in line and line[0] != " ")
        if fields.get("Package") == "bluez" and fields.get("Status", "").endswith(" installed"):
            return _version(fields.get("Version", "").rpartition(":")[2])
    return None


def _version(text: str) -> tuple[int, int] | None:
    found = _VERSION.search(text)
    return None if found is None else (int(found[1]), int(found[2]))


def _switches(root: Path) -> Iterator[Switch]:
    folder = root / "sys/class/rfkill"
    for name in _names(folder):
        if _text(folder / name / "type") == "bluetooth":
            yield Switch(
                name=_text(folder / name / "name") or name,
                is_soft_blocked=_text(folder / name / "soft") == "1",
                is_hard_blocked=_text(folder / name / "hard") == "1",
            )


def _board(root: Path, *, is_contained: bool) -> BoardFacts:
    model = _text(root / "proc/device-tree/model") or _text(root / "sys/firmware/devicetree/base/model")
    is_pi = model is not None and model.startswith("Raspberry Pi")
    disabling = [
        (f"/{name}", found[0])
        for name in ("boot/firmware/config.txt", "boot/config.txt")
        for line in (_text(root / name) or "").splitlines()
        if (found := _DISABLING.match(line.strip())) is not None
    ]
    firmware = [root / name for name in ("lib/firmware/brcm", "usr/lib/firmware/brcm")]
    return BoardFacts(
        model=model,
        has_bluetooth_module=(root / "sys/module/bluetooth").exists(),
        kernel_adapters=tuple(name for name in _names(root / "sys/class/bluetooth") if name.startswith("hci")),
        disabling_lines=tuple(disabling),
        hciuart=None if is_contained else _hciuart(root),
        has_pi_firmware=any(name.endswith(".hcd") for folder in firmware for name in _names(folder))
        if is_pi and not is_contained
        else None,
    )


def _hciuart(root: Path) -> str | None:
    units = ("lib/systemd/system/hciuart.service", "usr/lib/systemd/system/hciuart.service")
    if not any((root / unit).exists() for unit in units):
        return None
    link = root / "etc/systemd/system/multi-user.target.wants/hciuart.service"
    return "enabled" if link.is_symlink() or link.exists() else "disabled"
