"""The doctor's rules: each fault of a machine is named, with the line that puts it right."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.adapters.sources.bluetooth.bluez.doctor import Severity, diagnose
from gateway.adapters.sources.bluetooth.bluez.host import (
    AdapterFacts,
    BoardFacts,
    BusAnswer,
    BusFacts,
    Container,
    HostFacts,
    Switch,
    UnitFacts,
    UserFacts,
)

ADDRESS = "unix:path=/run/dbus/system_bus_socket"
HCI0 = AdapterFacts("hci0", "00:11:22:33:44:55", is_powered=True, roles=frozenset({"central", "peripheral"}))
UNIT = UnitFacts(
    "/etc/systemd/system/passerelle.service",
    user="passerelle",
    groups=frozenset({"passerelle", "bluetooth"}),
    address_families=frozenset({"AF_UNIX", "AF_INET"}),
    is_deny_list=False,
    private_users=False,
    hidden_paths=(),
)
WELL = HostFacts(
    container=Container.NONE,
    user=UserFacts(1000, "passerelle", frozenset({"bluetooth"})),
    bus=BusFacts(ADDRESS, BusAnswer.ANSWERS),
    apparmor=None,
    is_bluez_installed=True,
    bluez_version=(5, 66),
    switches=(Switch("hci0", is_soft_blocked=False, is_hard_blocked=False),),
    adapters=(HCI0,),
    wanted_adapter=None,
    board=BoardFacts(has_bluetooth_module=True, kernel_adapters=("hci0",)),
    agents=(),
    unit=UNIT,
    is_enabled=True,
    is_local=True,
    clock_is_trusted=True,
)
PI = BoardFacts(model="Raspberry Pi 4 Model B Rev 1.4", has_pi_firmware=True, has_bluetooth_module=True)
MOUNT = "--volume /run/dbus/system_bus_socket:/run/dbus/system_bus_socket"


def bus(answer: BusAnswer, words: str = "", **changes: object) -> HostFacts:
    """A machine whose bus answers so."""
    facts = replace(WELL, bus=BusFacts(ADDRESS, answer, words), adapters=(), unit=None)
    return replace(facts, **changes)  # type: ignore[arg-type]


def radio(board: BoardFacts) -> HostFacts:
    """A machine on which BlueZ has no adapter."""
    return replace(WELL, adapters=(), board=board)


def test_a_sound_machine_has_no_fault() -> None:
    """Nothing is complained about where everything is right, and the good is said."""
    findings = diagnose(WELL)
    assert {Severity.FINE} == {finding.severity for finding in findings}
    assert ["bus_reached", "bluez_answers", "bluez_version", "adapter_on", "unit"] == [f.code for f in findings]


DOCKER = Container.DOCKER
PODMAN = Container.PODMAN
FAULTS = [
    (bus(BusAnswer.NO_SOCKET), "no_socket", "sudo systemctl start dbus.socket"),
    (bus(BusAnswer.NO_SOCKET, container=DOCKER), "no_socket", f"docker run {MOUNT} ..."),
    (bus(BusAnswer.NO_SOCKET, container=PODMAN), "no_socket", f"podman run {MOUNT} ..."),
    (
        bus(BusAnswer.NO_SOCKET, container=DOCKER),
        "no_socket",
        'compose: volumes: ["/run/dbus/system_bus_socket:/run/dbus/system_bus_socket"]',
    ),
    (bus(BusAnswer.NO_SOCKET, container=Container.OTHER), "no_socket", "mount the host's"),
    (bus(BusAnswer.NOT_A_SOCKET, container=DOCKER), "not_a_socket", "sudo rmdir /run/dbus/system_bus_socket"),
    (bus(BusAnswer.SOCKET_FORBIDDEN), "socket_forbidden", "sudo chmod 666 /run/dbus/system_bus_socket"),
    (bus(BusAnswer.SOCKET_FORBIDDEN, container=PODMAN), "socket_forbidden", "podman run --security-opt label=disable"),
    (bus(BusAnswer.NOBODY_LISTENS), "nobody_listens", "sudo systemctl restart dbus.socket"),
    (bus(BusAnswer.NOBODY_LISTENS, container=DOCKER), "nobody_listens", "docker restart passerelle"),
    (bus(BusAnswer.AUTH_REFUSED), "auth_refused", "PrivateUsers=no"),
    (bus(BusAnswer.AUTH_REFUSED, container=PODMAN), "auth_refused", "podman run --userns=keep-id ..."),
    (bus(BusAnswer.AUTH_REFUSED, container=DOCKER), "auth_refused", 'compose: userns_mode: "host"'),
    (bus(BusAnswer.AUTH_REFUSED, container=Container.OTHER), "auth_refused", "the host's user ids"),
    (
        bus(BusAnswer.HELLO_DENIED, "An AppArmor policy prevents this sender", container=DOCKER),
        "apparmor",
        "docker run --security-opt apparmor=unconfined ...",
    ),
    (
        bus(BusAnswer.HELLO_DENIED, "An AppArmor policy prevents this sender", container=DOCKER),
        "apparmor",
        'compose: security_opt: ["apparmor=unconfined"]',
    ),
    (
        bus(BusAnswer.HELLO_DENIED, container=PODMAN, apparmor="containers-default (enforce)"),
        "apparmor",
        "podman run --security-opt apparmor=unconfined ...",
    ),
    (bus(BusAnswer.HELLO_DENIED, apparmor="passerelle (enforce)"), "apparmor", "sudo aa-complain passerelle"),
    (bus(BusAnswer.HELLO_DENIED, "refused"), "hello_denied", "sudoedit /etc/dbus-1/system.d/passerelle.conf"),
    (bus(BusAnswer.BROKEN, "strange"), "bus_broken", "sudo systemctl status dbus"),
    (bus(BusAnswer.NO_BLUEZ), "bluez_not_running", "sudo systemctl enable --now bluetooth"),
    (bus(BusAnswer.NO_BLUEZ, is_bluez_installed=False), "bluez_missing", "sudo apt install bluez"),
    (
        bus(BusAnswer.NO_BLUEZ, is_bluez_installed=None, container=DOCKER),
        "bluez_not_running",
        "sudo systemctl enable --now bluetooth",
    ),
    (
        bus(BusAnswer.BLUEZ_DENIED, user=UserFacts(1000, "camille", frozenset({"camille"}))),
        "bluez_denied",
        "sudo usermod --append --groups bluetooth camille",
    ),
    (bus(BusAnswer.BLUEZ_DENIED), "bluez_denied", '<policy user="passerelle"><allow send_destination="org.bluez"/>'),
    (
        bus(BusAnswer.BLUEZ_DENIED, container=DOCKER),
        "bluez_denied",
        "docker run --group-add $(getent group bluetooth | cut -d: -f3) ...",
    ),
    (replace(WELL, bluez_version=(5, 55)), "bluez_old", "sudo apt update && sudo apt install bluez"),
    (replace(WELL, switches=(Switch("hci0", True, False),)), "rfkill_soft", "sudo rfkill unblock bluetooth"),
    (replace(WELL, switches=(Switch("hci0", False, True),)), "rfkill_hard", "rfkill list bluetooth"),
    (replace(WELL, adapters=(replace(HCI0, is_powered=False),)), "adapter_off", "bluetoothctl power on"),
    (replace(WELL, adapters=(replace(HCI0, roles=frozenset()),)), "adapter_without_le", "bluetoothctl show"),
    (replace(WELL, wanted_adapter="hci7"), "adapter_not_there", 'adapter = "hci0"'),
    (radio(BoardFacts()), "no_adapter", "sudo modprobe btusb"),
    (radio(BoardFacts(kernel_adapters=("hci0",))), "adapter_unmanaged", "sudo systemctl restart bluetooth"),
    (
        radio(replace(PI, disabling_lines=(("/boot/firmware/config.txt", "dtoverlay=disable-bt"),))),
        "pi_disabled",
        "sudo sed -i 's/^dtoverlay=disable-bt/#&/' /boot/firmware/config.txt && sudo reboot",
    ),
    (radio(replace(PI, has_pi_firmware=False)), "pi_firmware", "sudo apt install bluez-firmware && sudo reboot"),
    (radio(replace(PI, hciuart="disabled")), "pi_hciuart", "sudo systemctl enable --now hciuart"),
    (radio(PI), "no_adapter", "sudo dmesg | grep -i -e bluetooth -e brcm"),
    (
        replace(WELL, unit=replace(UNIT, address_families=frozenset({"AF_INET"}))),
        "unit_families",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ),
    (
        replace(WELL, unit=replace(UNIT, address_families=frozenset({"AF_UNIX"}), is_deny_list=True)),
        "unit_families",
        "RestrictAddressFamilies=AF_UNIX AF_INET AF_INET6",
    ),
    (replace(WELL, unit=replace(UNIT, hidden_paths=("/run",))), "unit_hides_bus", "BindPaths=/run/dbus/system_bus"),
    (replace(WELL, unit=replace(UNIT, private_users=True)), "unit_private_users", "PrivateUsers=no"),
]


@pytest.mark.parametrize(("facts", "code", "fix"), FAULTS, ids=[f"{n}-{code}" for n, (_, code, _) in enumerate(FAULTS)])
def test_a_fault_is_named_with_its_line(facts: HostFacts, code: str, fix: str) -> None:
    """One thing wrong gives one fault, and the line for it."""
    faults = [finding for finding in diagnose(facts) if finding.severity is Severity.FAULT]
    assert [code] == [finding.code for finding in faults]
    assert any(fix in line for line in faults[0].fixes)


@pytest.mark.parametrize(
    ("facts", "code"),
    [
        (replace(WELL, bluez_version=None), "bluez_version_unknown"),
        (replace(WELL, bluez_version=None, is_bluez_installed=None, container=DOCKER), "bluez_version_unknown"),
        (replace(WELL, agents=("bluetoothctl",)), "other_agent"),
        (replace(WELL, user=UserFacts(0, "root", frozenset({"root"}))), "runs_as_root"),
        (replace(WELL, unit=replace(UNIT, groups=frozenset())), "unit_group"),
        (replace(WELL, clock_is_trusted=False), "clock"),
        (replace(WELL, is_enabled=False), "bluetooth_off"),
        (bus(BusAnswer.NO_SOCKET, is_local=False), "proxies_alone"),
    ],
)
def test_a_note_is_no_fault(facts: HostFacts, code: str) -> None:
    """What works, or cannot be known from here, does not fail the check."""
    findings = [finding for finding in diagnose(facts) if finding.severity is not Severity.FINE]
    assert [(code, Severity.NOTE)] == [(finding.code, finding.severity) for finding in findings]


def test_an_adapter_may_be_named_by_its_address() -> None:
    """The configuration's adapter is found by name or by address, in any case of letters."""
    assert "adapter_on" in {finding.code for finding in diagnose(replace(WELL, wanted_adapter="00:11:22:33:44:55"))}
