"""`gateway pair` and `gateway unpair`, beside a running gateway and by themselves."""

from __future__ import annotations

import io
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from house_kit import gateway_on, house_settings, until_readings, visitor_of
from pairing_kit import METER, PASSKEY, Comparing, meter_on

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.app import BluetoothBackends
from gateway.clock import SystemClock
from gateway.commands.pair import pair, unpair
from gateway.errors import ConfigurationError, GatewayError
from gateway.sandbox.radio import VirtualAir
from gateway.settings import Settings


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def settings_in(folder: Path, **web: object) -> Settings:
    return house_settings(folder, web={"port": free_port(), **web})


def types(monkeypatch: pytest.MonkeyPatch, *lines: str) -> None:
    """What a person types, line by line; then the input ends."""
    monkeypatch.setattr("sys.stdin", io.StringIO("".join(f"{line}\n" for line in lines)))


def secret(folder: Path, text: str, mode: int = 0o600) -> str:
    path = folder / "digits"
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return str(path)


@pytest.mark.parametrize("with_code", [False, True])
async def test_beside_a_running_gateway(
    air: VirtualAir,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    with_code: bool,
) -> None:
    """A person chooses from what is in range, types digits, name and owner; the running gateway reads it at once."""
    await meter_on(air)
    code = tmp_path / "code"
    code.write_text("bon-courage", encoding="utf-8")
    code.chmod(0o600)
    settings = settings_in(tmp_path, **({"access_code_file": code} if with_code else {}))
    async with gateway_on(air, settings) as running:
        types(monkeypatch, "7", "1", "12", f"{PASSKEY}", "Mon lecteur", "camille")
        await pair(settings, None)
        said = capsys.readouterr().out
        assert ", meter+51 (C0:FF:EE:00:00:51): glucose meter" in said
        assert "Type the six digits" in said
        assert "Exactly six digits" in said
        assert f"{PASSKEY}" not in said
        assert "glucose-meter-1: paired and added" in said
        await until_readings(running, 3, "glucose-meter-1")
        await unpair(settings, "glucose-meter-1")
        assert "glucose-meter-1: the pairing is forgotten" in capsys.readouterr().out
        assert frozenset() == await air.bonds.bonded()
        with pytest.raises(GatewayError, match="not there any more"):
            await unpair(settings, "glucose-meter-1")


async def test_by_itself(air: VirtualAir, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without a running gateway and without a person: digits from a file, everything else as options."""
    meter = await meter_on(air)
    settings = settings_in(tmp_path)
    backends = BluetoothBackends(air.scanner_backend, air.client_backend, air.bonds)
    options: dict[str, Any] = {"name": "Lecteur", "person": "camille", "kind": "glucose_meter"}
    await pair(settings, "METER+51", passkey_file=secret(tmp_path, f"{PASSKEY}\n"), backends=backends, **options)
    assert "glucose-meter-1: paired and added" in capsys.readouterr().out
    assert meter.is_bonded
    async with SqliteStore.open(settings.store.path, clock=SystemClock()) as store:
        (enrolment,) = await store.enrolments.enrolments()
    assert ("Lecteur", "camille", METER) == (
        enrolment.device.display_name,
        enrolment.device.person_id,
        enrolment.device.address,
    )
    await unpair(settings, "glucose-meter-1", backends=backends)
    assert frozenset() == await air.bonds.bonded()


async def test_wrong_digits_from_a_file(air: VirtualAir, tmp_path: Path) -> None:
    """The command fails with the reason in words, and nothing was added."""
    await meter_on(air)
    settings = settings_in(tmp_path)
    async with gateway_on(air, settings) as running:
        with pytest.raises(GatewayError, match="not those of the device"):
            await pair(settings, METER, passkey_file=secret(tmp_path, "654321"))
        async with visitor_of(running) as visitor:
            assert [] == (await visitor.state())["devices"]


@pytest.mark.parametrize("answer", ["yes", "no"])
async def test_comparing_in_a_terminal(
    air: VirtualAir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], answer: str
) -> None:
    """Digits to compare are shown, and the answer decides."""
    owner = Comparing()
    await meter_on(air, passkey=None, delegate=owner)
    settings = settings_in(tmp_path)
    async with gateway_on(air, settings):
        types(monkeypatch, answer, "", "")
        if answer == "yes":
            await pair(settings, METER.lower())
        else:
            with pytest.raises(GatewayError, match="digits were different"):
                await pair(settings, METER.lower())
    digits = f"{owner.shown:06d}"
    assert f"{digits[:3]} {digits[3:]}" in capsys.readouterr().out


async def test_input_that_ends_gives_up(air: VirtualAir, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-D at the question leaves no attempt running."""
    await meter_on(air)
    settings = settings_in(tmp_path)
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        types(monkeypatch)
        with pytest.raises(GatewayError, match="given up"):
            await pair(settings, METER)
        assert "cancelled" == (await visitor.state())["attempt"]["state"]


async def test_digits_that_others_can_read_are_refused(air: VirtualAir, tmp_path: Path) -> None:
    """A passkey file is a secret file."""
    with pytest.raises(ConfigurationError, match="chmod 600"):
        await pair(settings_in(tmp_path), METER, passkey_file=secret(tmp_path, "123456", 0o644))
    assert frozenset() == await air.bonds.bonded()
