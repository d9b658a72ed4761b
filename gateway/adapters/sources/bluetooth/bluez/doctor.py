"""Rules: what is known about the machine -> what is wrong, and the line that puts it right. Pure.

Source: systemd.exec(5); rfkill(8); BlueZ `doc/org.bluez.Adapter.rst`; Raspberry Pi firmware `overlays/README`
(disable-bt).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from gateway.adapters.sources.bluetooth.bluez.doctor_bus import HOST_SOCKET, bluez_rule, bus_rule, version_rule
from gateway.adapters.sources.bluetooth.bluez.findings import Finding, Severity, fault, fine, note
from gateway.adapters.sources.bluetooth.bluez.host import AdapterFacts, BusAnswer, Container, HostFacts

__all__ = ["Finding", "Severity", "diagnose"]


def diagnose(facts: HostFacts) -> tuple[Finding, ...]:
    """Every finding, in the order in which things must be put right: a later one may vanish with an earlier one.

    Where only proxies are used, this machine's own Bluetooth is not looked at.
    """
    rules = _RULES if facts.is_local else (_configured, _clock)
    return tuple(finding for rule in rules for finding in rule(facts))


# --- radio ----------------------------------------------------------------------------------------------------------


def _switches(facts: HostFacts) -> Iterator[Finding]:
    if any(switch.is_hard_blocked for switch in facts.switches):
        yield fault(
            "rfkill_hard",
            "A switch or key of the machine itself keeps Bluetooth off; no program can turn it on.",
            "rfkill list bluetooth    (shows it; move the switch, or look in the machine's set-up)",
        )
    if any(switch.is_soft_blocked for switch in facts.switches):
        where = " On the host:" if facts.container is not Container.NONE else ""
        yield fault("rfkill_soft", f"Bluetooth is switched off (rfkill).{where}", "sudo rfkill unblock bluetooth")


def _adapter(facts: HostFacts) -> Iterator[Finding]:
    if facts.bus.answer is not BusAnswer.ANSWERS:
        return
    if not facts.adapters:
        yield from _no_adapter(facts)
        return
    adapter = _chosen(facts)
    if adapter is None:
        names = ", ".join(adapter.name for adapter in facts.adapters)
        yield fault(
            "adapter_not_there",
            f"The configuration names the adapter {facts.wanted_adapter}; there is: {names}.",
            f'adapter = "{facts.adapters[0].name}"    (in hub.toml, section [bluetooth])',
        )
        return
    if adapter.roles is not None and not adapter.roles & {"central", "central-peripheral"}:
        yield fault(
            "adapter_without_le",
            f"The adapter {adapter.name} cannot do Bluetooth Low Energy; another adapter is needed (4.0 or later).",
            "bluetoothctl show    (Roles must name central)",
        )
    elif not adapter.is_powered:
        yield fault(
            "adapter_off",
            f"The adapter {adapter.name} is switched off.",
            "bluetoothctl power on",
            "AutoEnable=true    (in /etc/bluetooth/main.conf, section [Policy]: on after every start)",
        )
    else:
        yield fine("adapter_on", f"The adapter {adapter.name} is on.")


def _chosen(facts: HostFacts) -> AdapterFacts | None:
    wanted = facts.wanted_adapter
    for adapter in facts.adapters:
        if wanted is None or wanted == adapter.name or wanted.upper() == adapter.address.upper():
            return adapter
    return None


def _no_adapter(facts: HostFacts) -> Iterator[Finding]:
    board = facts.board
    if board.kernel_adapters:
        yield fault(
            "adapter_unmanaged",
            f"The kernel has {', '.join(board.kernel_adapters)}, but BlueZ does not use it.",
            "sudo systemctl restart bluetooth",
        )
    elif board.disabling_lines:
        path, line = board.disabling_lines[0]
        yield fault(
            "pi_disabled",
            f"The Raspberry Pi's Bluetooth is switched off by the line {line} of {path}.",
            f"sudo sed -i 's/^{line}/#&/' {path} && sudo reboot",
        )
    elif board.is_pi and board.has_pi_firmware is False:
        yield fault(
            "pi_firmware",
            "The firmware of the Pi's radio is missing.",
            "sudo apt install bluez-firmware && sudo reboot",
        )
    elif board.is_pi and board.hciuart == "disabled":
        yield fault(
            "pi_hciuart",
            "The service that starts the Pi's radio is off.",
            "sudo systemctl enable --now hciuart",
        )
    elif board.is_pi:
        yield fault(
            "no_adapter",
            "BlueZ has no adapter, and the kernel has none either. On a Raspberry Pi the kernel's log says why:",
            "sudo dmesg | grep -i -e bluetooth -e brcm",
        )
    else:
        module = "" if board.has_bluetooth_module else " The kernel's module for it is not loaded."
        yield fault(
            "no_adapter",
            f"There is no Bluetooth adapter.{module} Plug one in; if it is in, load its driver:",
            "sudo modprobe btusb",
        )


# --- the rest -------------------------------------------------------------------------------------------------------


def _agents(facts: HostFacts) -> Iterator[Finding]:
    if facts.agents:
        yield note(
            "other_agent",
            f"{', '.join(facts.agents)}: runs too, and may answer requests of devices to pair. BlueZ does not tell who "
            "answers them. If a pairing goes wrong, stop that program for its length.",
        )


def _user(facts: HostFacts) -> Iterator[Finding]:
    if facts.user.uid == 0:
        yield note(
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
        yield fault(
            "unit_families",
            f"{unit.path} keeps the service from Unix sockets, and so from D-Bus.",
            "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6    (in the unit; then: sudo systemctl daemon-reload)",
        )
    hidden = [path for path in unit.hidden_paths if f"{HOST_SOCKET}/".startswith(f"{path.rstrip('/')}/")]
    if hidden:
        clean = False
        yield fault(
            "unit_hides_bus",
            f"{unit.path} hides {hidden[0]} from the service, and so D-Bus.",
            f"BindPaths={HOST_SOCKET}    (in the unit, or take {hidden[0]} away; then: sudo systemctl daemon-reload)",
        )
    if unit.user not in (None, "root", "0"):
        if unit.private_users:
            clean = False
            yield fault(
                "unit_private_users",
                f"{unit.path} has PrivateUsers: the service loses its groups, and the bus does not know it.",
                "PrivateUsers=no    (in the unit; then: sudo systemctl daemon-reload)",
            )
        if "bluetooth" not in unit.groups:
            clean = False
            yield note(
                "unit_group",
                f"{unit.path} does not give the service the group bluetooth, which many systems want.",
                "SupplementaryGroups=bluetooth    (in the unit; then: sudo systemctl daemon-reload)",
            )
    if clean:
        yield fine("unit", f"{unit.path} leaves the way to BlueZ open.")


def _clock(facts: HostFacts) -> Iterator[Finding]:
    if not facts.clock_is_trusted:
        yield note(
            "clock",
            "Nothing shows that the machine's clock is right: until something does, times of reception are unknown and "
            "nothing leaves.",
            "sudo timedatectl set-ntp true",
            'clock = "trusted"    (in hub.toml, section [gateway], where the clock is right all the same)',
        )


def _configured(facts: HostFacts) -> Iterator[Finding]:
    if facts.is_enabled is False:
        yield note(
            "bluetooth_off",
            "Bluetooth is off in the configuration.",
            "enabled = true    (in hub.toml, section [bluetooth])",
        )
    if not facts.is_local:
        yield note(
            "proxies_alone",
            "The configuration uses proxies alone (local = false): this machine's own Bluetooth is not needed.",
            "gateway radio    (says how each proxy is)",
        )


_RULES: Final[tuple[Callable[[HostFacts], Iterator[Finding]], ...]] = (
    _configured,
    bus_rule,
    bluez_rule,
    version_rule,
    _switches,
    _adapter,
    _unit,
    _agents,
    _user,
    _clock,
)
