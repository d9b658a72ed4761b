"""What is known about the machine as far as Bluetooth needs it: plain values, without a way to get them.

Source: systemd.exec(5); kernel `Documentation/ABI/stable/sysfs-class-rfkill`; BlueZ `doc/org.bluez.Adapter.rst`.
"""

from __future__ import annotations

import enum
from dataclasses import dataclass

__all__ = [
    "AdapterFacts",
    "BoardFacts",
    "BusAnswer",
    "BusFacts",
    "Container",
    "HostFacts",
    "Switch",
    "UnitFacts",
    "UserFacts",
]


class Container(enum.StrEnum):
    """What kind of container the program runs in."""

    NONE = "none"
    DOCKER = "docker"
    PODMAN = "podman"
    OTHER = "other"
    """Kubernetes, LXC, systemd-nspawn...: the lines for docker do not apply literally."""


class BusAnswer(enum.StrEnum):
    """How far the way to BlueZ was open; each word is the first thing that failed."""

    NO_SOCKET = "no_socket"
    NOT_A_SOCKET = "not_a_socket"
    """A folder: docker makes one where the host had no socket when the container was made."""
    SOCKET_FORBIDDEN = "socket_forbidden"
    """The operating system does not let this user open the socket."""
    NOBODY_LISTENS = "nobody_listens"
    AUTH_REFUSED = "auth_refused"
    """The bus does not believe who we are: another user name space."""
    HELLO_DENIED = "hello_denied"
    """The bus let us in and refused the first call."""
    BROKEN = "broken"
    """Anything else; see the words."""
    NO_BLUEZ = "no_bluez"
    """The bus works; nobody holds the name org.bluez."""
    BLUEZ_DENIED = "bluez_denied"
    """The bus's policy does not let us talk to BlueZ."""
    ANSWERS = "answers"


@dataclass(frozen=True, slots=True)
class BusFacts:
    """The way to BlueZ.

    Attributes:
        address: D-Bus address that was tried, such as `unix:path=/run/dbus/system_bus_socket`.
        answer: how far it went.
        words: what the operating system, the bus or BlueZ said about it; empty when nothing failed.
    """

    address: str
    answer: BusAnswer
    words: str = ""

    @property
    def socket(self) -> str:
        """Path of the socket in `address`; the system's own where the address has none."""
        for part in self.address.removeprefix("unix:").split(","):
            if part.startswith("path="):
                return part.removeprefix("path=")
        return "/run/dbus/system_bus_socket"


@dataclass(frozen=True, slots=True)
class UserFacts:
    """As whom the program runs. `groups`: names, or numbers where a group has no name here."""

    uid: int
    name: str
    groups: frozenset[str]


@dataclass(frozen=True, slots=True)
class Switch:
    """One rfkill switch of type bluetooth."""

    name: str
    is_soft_blocked: bool
    is_hard_blocked: bool


@dataclass(frozen=True, slots=True)
class AdapterFacts:
    """One adapter as BlueZ shows it.

    Attributes:
        name: such as hci0.
        address: its own Bluetooth address.
        is_powered: property Powered.
        roles: property Roles; None: BlueZ does not tell. An adapter without LE has no role.
    """

    name: str
    address: str
    is_powered: bool
    roles: frozenset[str] | None


@dataclass(frozen=True, slots=True)
class UnitFacts:
    """The installed systemd unit of the gateway with its drop-ins, as far as it can close the way to BlueZ.

    Attributes:
        path: of the unit.
        user: `User=`; None: root.
        groups: `SupplementaryGroups=` and `Group=`.
        address_families: `RestrictAddressFamilies=`; None: no restriction.
        is_deny_list: the families are those forbidden (`~`), not those allowed.
        private_users: `PrivateUsers=`.
        hidden_paths: `InaccessiblePaths=` and `TemporaryFileSystem=`, without prefixes and options.
    """

    path: str
    user: str | None
    groups: frozenset[str]
    address_families: frozenset[str] | None
    is_deny_list: bool
    private_users: bool
    hidden_paths: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class BoardFacts:
    """The kernel and the board under it.

    Attributes:
        model: name in the device tree, such as "Raspberry Pi 4 Model B Rev 1.4"; None: no device tree.
        has_bluetooth_module: the kernel's Bluetooth subsystem is there.
        kernel_adapters: adapters that the kernel shows, such as hci0.
        disabling_lines: lines of the Raspberry Pi's config.txt that switch Bluetooth off, with the file's path.
        hciuart: "enabled", "disabled", or None where there is no such service.
        has_pi_firmware: firmware of the Pi's radio is installed; None: not a Pi, or not to be seen from here.
    """

    model: str | None = None
    has_bluetooth_module: bool = False
    kernel_adapters: tuple[str, ...] = ()
    disabling_lines: tuple[tuple[str, str], ...] = ()
    hciuart: str | None = None
    has_pi_firmware: bool | None = None

    @property
    def is_pi(self) -> bool:
        """Whether this is a Raspberry Pi."""
        return self.model is not None and self.model.startswith("Raspberry Pi")


@dataclass(frozen=True, slots=True)
class HostFacts:
    """Everything the rules look at.

    Attributes:
        container: around the program.
        user: as whom it runs.
        bus: the way to BlueZ.
        apparmor: profile that confines this process, such as "docker-default (enforce)"; None: none, or not known.
        is_bluez_installed: None where that cannot be seen (in a container).
        bluez_version: of the installed package or program; None: not known.
        switches: rfkill switches of Bluetooth.
        adapters: as BlueZ shows them; empty when BlueZ could not be asked.
        wanted_adapter: name or address from the configuration; None: any.
        board: kernel and board.
        agents: running programs that usually make themselves the default pairing agent.
        unit: the installed systemd unit; None: there is none.
        is_enabled: Bluetooth is on in the configuration; None: no configuration was read.
        is_local: this machine's own adapter is wanted; False: proxies alone.
        clock_is_trusted: the machine's clock can be right.
    """

    container: Container
    user: UserFacts
    bus: BusFacts
    apparmor: str | None
    is_bluez_installed: bool | None
    bluez_version: tuple[int, int] | None
    switches: tuple[Switch, ...]
    adapters: tuple[AdapterFacts, ...]
    wanted_adapter: str | None
    board: BoardFacts
    agents: tuple[str, ...]
    unit: UnitFacts | None
    is_enabled: bool | None
    is_local: bool
    clock_is_trusted: bool
