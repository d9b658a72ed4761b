"""Rules about the way to BlueZ: D-Bus, containers, AppArmor, policies, bluetoothd and its version. Pure.

Source: dbus-daemon(1) (policy, AppArmor mediation); docker-run(1), podman-run(1).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

from gateway.adapters.sources.bluetooth.bluez.findings import Finding, fault, fine, note
from gateway.adapters.sources.bluetooth.bluez.host import BusAnswer, Container, HostFacts

__all__ = ["EARLIEST_BLUEZ", "HOST_SOCKET", "bluez_rule", "bus_rule", "version_rule"]

EARLIEST_BLUEZ: Final = (5, 66)
HOST_SOCKET: Final = "/run/dbus/system_bus_socket"
_POLICY_FILE: Final = "/etc/dbus-1/system.d/passerelle.conf"
_ENABLE_SERVICE: Final = "sudo systemctl enable --now bluetooth"


# --- the bus --------------------------------------------------------------------------------------------------------


def bus_rule(facts: HostFacts) -> Iterator[Finding]:
    """Can the bus be reached and talked to?"""
    socket, words = facts.bus.socket, facts.bus.words
    is_contained = facts.container is not Container.NONE
    match facts.bus.answer:
        case BusAnswer.NO_SOCKET if is_contained:
            yield fault("no_socket", f"The container has no D-Bus socket at {socket}.", *_mounts(facts.container))
        case BusAnswer.NO_SOCKET:
            yield fault(
                "no_socket",
                f"There is no D-Bus socket at {socket}: dbus is not running or not installed.",
                "sudo systemctl start dbus.socket",
                "sudo apt install dbus",
            )
        case BusAnswer.NOT_A_SOCKET:
            yield fault(
                "not_a_socket",
                f"{socket} is a folder: the host had no D-Bus socket when the container was made. On the host, start "
                "D-Bus and remove the empty folder; then make the container again.",
                f"sudo rmdir {HOST_SOCKET}; sudo systemctl restart dbus.socket",
                *_mounts(facts.container),
            )
        case BusAnswer.SOCKET_FORBIDDEN:
            yield from _socket_forbidden(facts)
        case BusAnswer.NOBODY_LISTENS:
            again = " Then make the container again: it still holds the old socket." if is_contained else ""
            yield fault(
                "nobody_listens",
                f"Nobody listens at {socket}: D-Bus has stopped or was restarted.{again}",
                "sudo systemctl restart dbus.socket" if not is_contained else _restart(facts.container),
            )
        case BusAnswer.AUTH_REFUSED:
            yield from _auth_refused(facts)
        case BusAnswer.HELLO_DENIED:
            yield from _hello_denied(facts)
        case BusAnswer.BROKEN:
            yield fault("bus_broken", f"D-Bus at {socket} cannot be used: {words}", "sudo systemctl status dbus")
        case BusAnswer.NO_BLUEZ | BusAnswer.BLUEZ_DENIED | BusAnswer.ANSWERS:
            yield fine("bus_reached", f"D-Bus answers at {socket}.")


def _mounts(container: Container) -> tuple[str, ...]:
    mount = f"{HOST_SOCKET}:{HOST_SOCKET}"
    compose = f'volumes: ["{mount}"]'
    match container:
        case Container.PODMAN:
            return (f"podman run --volume {mount} ...", f"compose: {compose}")
        case Container.OTHER:
            return (f"mount the host's {HOST_SOCKET} at the same path in the container",)
        case _:
            return (f"docker run --volume {mount} ...", f"compose: {compose}")


def _restart(container: Container) -> str:
    return "podman restart passerelle" if container is Container.PODMAN else "docker restart passerelle"


def _socket_forbidden(facts: HostFacts) -> Iterator[Finding]:
    socket, user = facts.bus.socket, facts.user.name
    if facts.container is Container.PODMAN:
        yield fault(
            "socket_forbidden",
            f"User {user} may not open {socket}: SELinux keeps containers from it.",
            "podman run --security-opt label=disable ...",
            'compose: security_opt: ["label=disable"]',
        )
    else:
        yield fault(
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
    yield fault("auth_refused", text, *fixes)


def _hello_denied(facts: HostFacts) -> Iterator[Finding]:
    if "apparmor" not in facts.bus.words.lower() and facts.apparmor is None:
        yield fault(
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
    yield fault("apparmor", text, *fixes)


# --- BlueZ ----------------------------------------------------------------------------------------------------------


def bluez_rule(facts: HostFacts) -> Iterator[Finding]:
    """Is BlueZ there, and may we talk to it?"""
    match facts.bus.answer:
        case BusAnswer.ANSWERS:
            yield fine("bluez_answers", "BlueZ answers.")
        case BusAnswer.BLUEZ_DENIED:
            yield from _bluez_denied(facts)
        case BusAnswer.NO_BLUEZ if facts.is_bluez_installed is False:
            yield fault("bluez_missing", "BlueZ is not installed.", "sudo apt install bluez")
        case BusAnswer.NO_BLUEZ if facts.container is not Container.NONE:
            yield fault(
                "bluez_not_running",
                "No bluetoothd runs on the host. On the host:",
                _ENABLE_SERVICE,
                "sudo apt install bluez    (if there is no such service)",
            )
        case BusAnswer.NO_BLUEZ:
            yield fault("bluez_not_running", "BlueZ is installed, but bluetoothd is not running.", _ENABLE_SERVICE)
        case _:
            return


def _bluez_denied(facts: HostFacts) -> Iterator[Finding]:
    text = f"The bus's policy does not let user {facts.user.name} talk to BlueZ (AccessDenied)."
    if facts.container is not Container.NONE:
        program = "podman" if facts.container is Container.PODMAN else "docker"
        yield fault(
            "bluez_denied",
            f"{text} Give the container the host's group bluetooth; its number there: getent group bluetooth",
            f"{program} run --group-add $(getent group bluetooth | cut -d: -f3) ...",
            'compose: group_add: ["NUMBER"]',
        )
    elif "bluetooth" in facts.user.groups:
        allow = (
            f'<busconfig><policy user="{facts.user.name}"><allow send_destination="org.bluez"/></policy></busconfig>'
        )
        yield fault(
            "bluez_denied",
            f"{text} It is in the group bluetooth; the policy wants something else.",
            f"echo '{allow}' | sudo tee {_POLICY_FILE} && sudo systemctl reload dbus",
        )
    else:
        yield fault(
            "bluez_denied",
            f"{text} It is not in the group bluetooth. Log in again (or restart the service) afterwards.",
            f"sudo usermod --append --groups bluetooth {facts.user.name}",
        )


def version_rule(facts: HostFacts) -> Iterator[Finding]:
    """Is it new enough?"""
    wanted = ".".join(map(str, EARLIEST_BLUEZ))
    if facts.bluez_version is None:
        if facts.bus.answer is BusAnswer.ANSWERS or facts.is_bluez_installed:
            where = " from inside the container; on the host" if facts.container is not Container.NONE else " from here"
            yield note(
                "bluez_version_unknown",
                f"The version of BlueZ cannot be seen{where}; {wanted} or later is wanted.",
                "bluetoothctl --version",
            )
        return
    found = ".".join(map(str, facts.bluez_version))
    if facts.bluez_version < EARLIEST_BLUEZ:
        yield fault(
            "bluez_old",
            f"BlueZ {found} is too old; {wanted} or later is wanted (Debian 12 and Raspberry Pi OS 12 have it).",
            "sudo apt update && sudo apt install bluez",
        )
    else:
        yield fine("bluez_version", f"BlueZ is version {found}.")
