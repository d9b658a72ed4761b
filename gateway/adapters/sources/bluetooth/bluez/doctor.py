"""Rules: what is known about the machine -> what is wrong, and the line that puts it right. Pure.

Source: dbus-daemon(1) (policy, AppArmor mediation); docker-run(1), podman-run(1); systemd.exec(5); rfkill(8);
Raspberry Pi firmware `overlays/README` (disable-bt).
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final

from gateway.adapters.sources.bluetooth.bluez.host import AdapterFacts, BusAnswer, Container, HostFacts

__all__ = ["EARLIEST_BLUEZ", "Finding", "Severity", "diagnose"]

EARLIEST_BLUEZ: Final = (5, 66)
_HOST_SOCKET: Final = "/run/dbus/system_bus_socket"
_POLICY_FILE: Final = "/etc/dbus-1/system.d/passerelle.conf"
_ENABLE_SERVICE: Final = "sudo systemctl enable --now bluetooth"


class Severity(enum.StrEnum):
    """How bad a finding is."""

    FINE = "fine"
    NOTE = "note"
    """Works, or cannot be known from here; worth reading."""
    FAULT = "fault"
    """Bluetooth cannot be used until this is put right."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One answer of the doctor.

    Attributes:
        code: a stable word, for machines.
        severity: how bad.
        text: a sentence in English.
        fixes: lines to type or to write; where there are several, the text says which is for whom.
    """

    code: str
    severity: Severity
    text: str
    fixes: tuple[str, ...] = ()


def diagnose(facts: HostFacts) -> tuple[Finding, ...]:
    """Every finding, in the order in which things must be put right: a later one may vanish with an earlier one.

    Where only proxies are used, this machine's own Bluetooth is not looked at.
    """
    rules = _RULES if facts.is_local else (_configured, _clock)
    return tuple(finding for rule in rules for finding in rule(facts))


def _fault(code: str, text: str, *fixes: str) -> Finding:
    return Finding(code, Severity.FAULT, text, fixes)


def _note(code: str, text: str, *fixes: str) -> Finding:
    return Finding(code, Severity.NOTE, text, fixes)


def _fine(code: str, text: str) -> Finding:
    return Finding(code, Severity.FINE, text)


# --- the bus --------------------------------------------------------------------------------------------------------


def _bus(facts: HostFacts) -> Iterator[Finding]:
    socket, words = facts.bus.socket, facts.bus.words
    is_contained = facts.container is not Container.NONE
    match facts.bus.answer:
        case BusAnswer.NO_SOCKET if is_contained:
            yield _fault("no_socket", f"The container has no D-Bus socket at {socket}.", *_mounts(facts.container))
        case BusAnswer.NO_SOCKET:
            yield _fault(
                "no_socket",
                f"There is no D-Bus socket at {socket}: dbus is not running or not installed.",
                "sudo systemctl start dbus.socket",
                "sudo apt install dbus",
            )
        case BusAnswer.NOT_A_SOCKET:
            yield _fault(
                "not_a_socket",
                f"{socket} is a folder: the host had no D-Bus socket when the container was made. On the host, start "
                "D-Bus and remove the empty folder; then make the container again.",
                f"sudo rmdir {_HOST_SOCKET}; sudo systemctl restart dbus.socket",
                *_mounts(facts.container),
            )
        case BusAnswer.SOCKET_FORBIDDEN:
            yield from _socket_forbidden(facts)
        case BusAnswer.NOBODY_LISTENS:
            again = " Then make the container again: it still holds the old socket." if is_contained else ""
            yield _fault(
                "nobody_listens",
                f"Nobody listens at {socket}: D-Bus has stopped or was restarted.{again}",
                "sudo systemctl restart dbus.socket" if not is_contained else _restart(facts.container),
            )
        case BusAnswer.AUTH_REFUSED:
            yield from _auth_refused(facts)
        case BusAnswer.HELLO_DENIED:
            yield from _hello_denied(facts)
        case BusAnswer.BROKEN:
            yield _fault("bus_broken", f"D-Bus at {socket} cannot be used: {words}", "sudo systemctl status dbus")
        case BusAnswer.NO_BLUEZ | BusAnswer.BLUEZ_DENIED | BusAnswer.ANSWERS:
            yield _fine("bus_reached", f"D-Bus answers at {socket}.")


def _mounts(container: Container) -> tuple[str, ...]:
    mount = f"{_HOST_SOCKET}:{_HOST_SOCKET}"
    compose = f'volumes: ["{mount}"]'
    match container:
        case Container.PODMAN:
            return (f"podman run --volume {mount} ...", f"compose: {compose}")
        case Container.OTHER:
            return (f"mount the host's {_HOST_SOCKET} at the same path in the container",)
        case _:
            return (f"docker run --volume {mount} ...", f"compose: {compose}")


def _restart(container: Container) -> str:
    return "podman restart passerelle" if container is Container.PODMAN else "docker restart passerelle"


def _socket_forbidden(facts: HostFacts) -> Iterator[Finding]:
    socket, user = facts.bus.socket, facts.user.name
    if facts.container is Container.PODMAN:
        yield _fault(
            "socket_forbidden",
            f"User {user} may not open {socket}: SELinux keeps containers from it.",
            "podman run --security-opt label=disable ...",
            'compose: security_opt: ["label=disable"]',
        )
    else:
        yield _fault(
            "socket_forbidden",
            f"User {user} may not open {socket}: a socket of the system's bus is open to everybody, this one is not.",
            f"sudo chmod 666 {socket}",
            "sudo systemctl restart dbus.socket",
        )


def _auth_refused(facts: HostFacts) -> Iterator[Finding]:
    fixes: tuple[str, ...]
    text = f"D-Bus does not accept user {facts.user.uid}: the container has a user name space of its own."
    match facts.container:
        case Container.PODMAN:
            fixes = ("podman run --userns=keep-id ...", 'compose: userns_mode: "keep-id"')
        case Container.DOCKER:
            fixes = ("docker run --userns=host ...", 'compose: userns_mode: "host"')
        case Container.OTHER:
            fixes = ("give the container the host's user ids",)
        case Container.NONE:
            text = f"D-Bus does not accept user {facts.user.uid}: {facts.bus.words or 'authentication failed'}"
            fixes = ("PrivateUsers=no    (in the systemd unit, if it has PrivateUsers=yes)",)
    yield _fault("auth_refused", text, *fixes)


def _hello_denied(facts: HostFacts) -> Iterator[Finding]:
    if "apparmor" not in facts.bus.words.lower() and facts.apparmor is None:
        yield _fault(
            "hello_denied",
            f"The bus's policy refuses the first call of user {facts.user.name}: {facts.bus.words}",
            f"sudoedit {_POLICY_FILE}    (an <allow> for this user; then: sudo systemctl reload dbus)",
        )
        return
    name = facts.apparmor.split(" ")[0] if facts.apparmor is not None else None
    fixes: tuple[str, ...]
    text = f"AppArmor{f' (profile {name})' if name else ''} keeps this program from D-Bus: it denies Hello."
    match facts.container:
        case Container.PODMAN:
            fixes = ("podman run --security-opt apparmor=unconfined ...",)
        case Container.NONE:
            fixes = (
                f"sudo aa-complain {name or 'PROFILE'}",
                "dbus bus=system,    (a line for the profile instead; then: sudo systemctl reload apparmor)",
            )
        case _:
            fixes = ("docker run --security-opt apparmor=unconfined ...",)
    if facts.container is not Container.NONE:
        fixes += ('compose: security_opt: ["apparmor=unconfined"]',)
    yield _fault("apparmor", text, *fixes)


# --- BlueZ ----------------------------------------------------------------------------------------------------------


def _bluez(facts: HostFacts) -> Iterator[Finding]:
    match facts.bus.answer:
        case BusAnswer.ANSWERS:
            yield _fine("bluez_answers", "BlueZ answers.")
        case BusAnswer.BLUEZ_DENIED:
            yield from _bluez_denied(facts)
        case BusAnswer.NO_BLUEZ if facts.is_bluez_installed is False:
            yield _fault("bluez_missing", "BlueZ is not installed.", "sudo apt install bluez")
        case BusAnswer.NO_BLUEZ if facts.container is not Container.NONE:
            yield _fault(
                "bluez_not_running",
                "No bluetoothd runs on the host. On the host:",
                _ENABLE_SERVICE,
                "sudo apt install bluez    (if there is no such service)",
            )
        case BusAnswer.NO_BLUEZ:
            yield _fault("bluez_not_running", "BlueZ is installed, but bluetoothd is not running.", _ENABLE_SERVICE)
        case _:
            return


def _bluez_denied(facts: HostFacts) -> Iterator[Finding]:
    text = f"The bus's policy does not let user {facts.user.name} talk to BlueZ (AccessDenied)."
    if facts.container is not Container.NONE:
        program = "podman" if facts.container is Container.PODMAN else "docker"
        yield _fault(
            "bluez_denied",
            f"{text} Give the container the host's group bluetooth; its number there: getent group bluetooth",
            f"{program} run --group-add $(getent group bluetooth | cut -d: -f3) ...",
            'compose: group_add: ["NUMBER"]',
        )
    elif "bluetooth" in facts.user.groups:
        allow = (
            f'<busconfig><policy user="{facts.user.name}"><allow send_destination="org.bluez"/></policy></busconfig>'
        )
        yield _fault(
            "bluez_denied",
            f"{text} It is in the group bluetooth; the policy wants something else.",
            f"echo '{allow}' | sudo tee {_POLICY_FILE} && sudo systemctl reload dbus",
        )
    else:
        yield _fault(
            "bluez_denied",
            f"{text} It is not in the group bluetooth. Log in again (or restart the service) afterwards.",
            f"sudo usermod --append --groups bluetooth {facts.user.name}",
        )


def _version(facts: HostFacts) -> Iterator[Finding]:
    wanted = ".".join(map(str, EARLIEST_BLUEZ))
    if facts.bluez_version is None:
        if facts.bus.answer is BusAnswer.ANSWERS or facts.is_bluez_installed:
            where = " from inside the container; on the host" if facts.container is not Container.NONE else " from here"
            yield _note(
                "bluez_version_unknown",
                f"The version of BlueZ cannot be seen{where}; {wanted} or later is wanted.",
                "bluetoothctl --version",
            )
        return
    found = ".".join(map(str, facts.bluez_version))
    if facts.bluez_version < EARLIEST_BLUEZ:
        yield _fault(
            "bluez_old",
            f"BlueZ {found} is too old; {wanted} or later is wanted (Debian 12 and Raspberry Pi OS 12 have it).",
            "sudo apt update && sudo apt install bluez",
        )
    else:
        yield _fine("bluez_version", f"BlueZ is version {found}.")


# --- radio ----------------------------------------------------------------------------------------------------------


def _switches(facts: HostFacts) -> Iterator[Finding]:
    if any(switch.is_hard_blocked for switch in facts.switches):
        yield _fault(
            "rfkill_hard",
            "A switch or key of the machine itself keeps Bluetooth off; no program can turn it on.",
            "rfkill list bluetooth    (shows it; move the switch, or look in the machine's set-up)",
        )
    if any(switch.is_soft_blocked for switch in facts.switches):
        where = " On the host:" if facts.container is not Container.NONE else ""
        yield _fault("rfkill_soft", f"Bluetooth is switched off (rfkill).{where}", "sudo rfkill unblock bluetooth")


def _adapter(facts: HostFacts) -> Iterator[Finding]:
    if facts.bus.answer is not BusAnswer.ANSWERS:
        return
    if not facts.adapters:
        yield from _no_adapter(facts)
        return
    adapter = _chosen(facts)
    if adapter is None:
        names = ", ".join(adapter.name for adapter in facts.adapters)
        yield _fault(
            "adapter_not_there",
            f"The configuration names the adapter {facts.wanted_adapter}; there is: {names}.",
            f'adapter = "{facts.adapters[0].name}"    (in hub.toml, section [bluetooth])',
        )
        return
    if adapter.roles is not None and not adapter.roles & {"central", "central-peripheral"}:
        yield _fault(
            "adapter_without_le",
            f"The adapter {adapter.name} cannot do Bluetooth Low Energy; another adapter is needed (4.0 or later).",
            "bluetoothctl show    (Roles must name central)",
        )
    elif not adapter.is_powered:
        yield _fault(
            "adapter_off",
            f"The adapter {adapter.name} is switched off.",
            "bluetoothctl power on",
            "AutoEnable=true    (in /etc/bluetooth/main.conf, section [Policy]: on after every start)",
        )
    else:
        yield _fine("adapter_on", f"The adapter {adapter.name} is on.")


def _chosen(facts: HostFacts) -> AdapterFacts | None:
    wanted = facts.wanted_adapter
    for adapter in facts.adapters:
        if wanted is None or wanted == adapter.name or wanted.upper() == adapter.address.upper():
            return adapter
    return None


def _no_adapter(facts: HostFacts) -> Iterator[Finding]:
    board = facts.board
    if board.kernel_adapters:
        yield _fault(
            "adapter_unmanaged",
            f"The kernel has {', '.join(board.kernel_adapters)}, but BlueZ does not use it.",
            "sudo systemctl restart bluetooth",
        )
    elif board.disabling_lines:
        path, line = board.disabling_lines[0]
        yield _fault(
            "pi_disabled",
            f"The Raspberry Pi's Bluetooth is switched off by the line {line} of {path}.",
            f"sudo sed -i 's/^{line}/#&/' {path} && sudo reboot",
        )
    elif board.is_pi and board.has_pi_firmware is False:
        yield _fault(
            "pi_firmware",
            "The firmware of the Pi's radio is missing.",
            "sudo apt install bluez-firmware && sudo reboot",
        )
    elif board.is_pi and board.hciuart == "disabled":
        yield _fault(
            "pi_hciuart",
            "The service that starts the Pi's radio is off.",
            "sudo systemctl enable --now hciuart",
        )
    elif board.is_pi:
        yield _fault(
            "no_adapter",
            "BlueZ has no adapter, and the kernel has none either. On a Raspberry Pi the kernel's log says why:",
            "sudo dmesg | grep -i -e bluetooth -e brcm",
        )
    else:
        module = "" if board.has_bluetooth_module else " The kernel's module for it is not loaded."
        yield _fault(
            "no_adapter",
            f"There is no Bluetooth adapter.{module} Plug one in; if it is in, load its driver:",
            "sudo modprobe btusb",
        )


# --- the rest -------------------------------------------------------------------------------------------------------


def _agents(facts: HostFacts) -> Iterator[Finding]:
    if facts.agents:
        yield _note(
            "other_agent",
            f"{', '.join(facts.agents)}: runs too, and may answer requests of devices to pair. BlueZ does not tell who "
            "answers them. If a pairing goes wrong, stop that program for its length.",
        )


def _user(facts: HostFacts) -> Iterator[Finding]:
    if facts.user.uid == 0:
        yield _note(
            "runs_as_root",
            "This runs as root, which Bluetooth does not need; the service's user may fare differently.",
            "sudo -u passerelle gateway doctor",
        )


def _unit(facts: HostFacts) -> Iterator[Finding]:
    unit = facts.unit
    if unit is None:
        return
    clean = True
    families = unit.address_families
    if families is not None and ("AF_UNIX" in families) is unit.is_deny_list:
        clean = False
        yield _fault(
            "unit_families",
            f"{unit.path} keeps the service from Unix sockets, and so from D-Bus.",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6    (in the unit; then: sudo systemctl daemon-reload)",
        )
    hidden = [path for path in unit.hidden_paths if f"{_HOST_SOCKET}/".startswith(f"{path.rstrip('/')}/")]
    if hidden:
        clean = False
        yield _fault(
            "unit_hides_bus",
            f"{unit.path} hides {hidden[0]} from the service, and so D-Bus.",
            f"BindPaths={_HOST_SOCKET}    (in the unit, or take {hidden[0]} away; then: sudo systemctl daemon-reload)",
        )
    if unit.user not in (None, "root", "0"):
        if unit.private_users:
            clean = False
            yield _fault(
                "unit_private_users",
                f"{unit.path} has PrivateUsers: the service loses its groups, and the bus does not know it.",
                "PrivateUsers=no    (in the unit; then: sudo systemctl daemon-reload)",
            )
        if "bluetooth" not in unit.groups:
            clean = False
            yield _note(
                "unit_group",
                f"{unit.path} does not give the service the group bluetooth, which many systems want.",
                "SupplementaryGroups=bluetooth    (in the unit; then: sudo systemctl daemon-reload)",
            )
    if clean:
        yield _fine("unit", f"{unit.path} leaves the way to BlueZ open.")


def _clock(facts: HostFacts) -> Iterator[Finding]:
    if not facts.clock_is_trusted:
        yield _note(
            "clock",
            "The machine's clock cannot be right: times of readings are marked as doubtful until it is.",
            "sudo timedatectl set-ntp true",
        )


def _configured(facts: HostFacts) -> Iterator[Finding]:
    if facts.is_enabled is False:
        yield _note(
            "bluetooth_off",
            "Bluetooth is off in the configuration.",
            "enabled = true    (in hub.toml, section [bluetooth])",
        )
    if not facts.is_local:
        yield _note(
            "proxies_alone",
            "The configuration uses proxies alone (local = false): this machine's own Bluetooth is not needed.",
            "gateway radio    (says how each proxy is)",
        )


_RULES: Final[tuple[Callable[[HostFacts], Iterator[Finding]], ...]] = (
    _configured,
    _bus,
    _bluez,
    _version,
    _switches,
    _adapter,
    _unit,
    _agents,
    _user,
    _clock,
)
