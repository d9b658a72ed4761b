"""Keys of scales that encrypt: files, the command, the page, and a whole gateway that opens what it hears."""

from __future__ import annotations

import socket
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from house_kit import gateway_on, house_settings, is_in, until_readings, visitor_of

from gateway.bind_keys import bind_key_of, read_bind_key, write_bind_key
from gateway.cli import main
from gateway.commands.pair import pair, unpair
from gateway.errors import ConfigurationError, GatewayError
from gateway.model import Metric
from gateway.sandbox.peripherals import VirtualBroadcaster
from gateway.sandbox.radio import VirtualAir
from gateway.sandbox.sealed_frames import encode_s400
from gateway.settings import Settings, load_settings

SCALE = "C0:FF:EE:00:00:77"
KEY, OTHER = bytes(range(16)), bytes(range(1, 17))
DEVICE = "body-composition-analyser-1"


@pytest.fixture
async def air() -> AsyncIterator[VirtualAir]:
    async with VirtualAir() as air:
        yield air


@pytest.fixture
def free_port() -> int:
    """One that nobody uses now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def key_file(folder: Path, text: str, mode: int = 0o600) -> Path:
    path = folder / "scale.key"
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
    path.chmod(mode)
    return path


def settings_in(folder: Path, free_port: int) -> Settings:
    return house_settings(folder, web={"port": free_port})


async def scale_on(air: VirtualAir) -> VirtualBroadcaster:
    scale = VirtualBroadcaster(air, SCALE, "MJTZC01YM", 0xFE95)
    await scale.start()
    return scale


def packets(counter: int, mass: str = "64.3") -> list[bytes]:
    """Three weigh-ins, a minute apart, the last of them just now."""
    now = datetime.now(UTC).replace(microsecond=0)
    return [
        encode_s400(KEY, SCALE, counter + number, now - timedelta(minutes=2 - number), mass_kg=Decimal(mass) + number)
        for number in range(3)
    ]


async def test_scale_is_added_with_its_key(
    air: VirtualAir, tmp_path: Path, free_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    """The command adds it; it is read at once and after a restart; the wrong key is told, and put right by the command;
    unpairing takes the key away."""
    scale, settings = await scale_on(air), settings_in(tmp_path, free_port)
    options: dict[str, Any] = {"name": "Balance", "person": "camille", "kind": "body_composition_analyser"}
    await scale.tell(packets(10)[0])
    async with gateway_on(air, settings) as running:
        wrong = key_file(tmp_path, OTHER.hex())
        await pair(settings, SCALE, bind_key_file=str(wrong), **options)
        kept = tmp_path / "bind-keys" / f"{DEVICE}.key"
        assert (OTHER, 0o600) == (read_bind_key(kept), stat.S_IMODE(kept.stat().st_mode))
        await scale.tell_each(packets(10))
        async with visitor_of(running) as visitor:
            state = await visitor.until(lambda state: state["devices"] and state["devices"][0]["cares"])
            assert ["key_refused"] == [care["concern"] for care in state["devices"][0]["cares"]]
            await pair(settings, DEVICE, bind_key_file=str(key_file(tmp_path, f"{KEY.hex()}\n")))
            assert f"{DEVICE}: its key is kept." in capsys.readouterr().out
            told = packets(20)
            await scale.tell_each(told)
            await until_readings(running, 3, DEVICE)
            await visitor.until(lambda state: not state["devices"][0]["cares"])
    async with gateway_on(air, settings) as running:
        await scale.tell_each([*told, *packets(30, "70.0")])
        await until_readings(running, 6, DEVICE)
        readings = await running.store.readings()
        assert 6 == len([each for each in readings if each.reading.metric is Metric.BODY_MASS])
        assert {()} == {each.reading.context.status for each in readings}
        await unpair(settings, DEVICE)
        assert not kept.exists()
    assert KEY.hex() not in capsys.readouterr().out


async def test_without_its_key_it_is_not_added(air: VirtualAir, tmp_path: Path) -> None:
    """The page says what is missing; a program that tries is refused, also with what is no key."""
    scale = await scale_on(air)
    await scale.tell(packets(10)[0])
    async with gateway_on(air, house_settings(tmp_path)) as running, visitor_of(running) as visitor:
        (row,) = (await visitor.until(lambda state: state["neighbours"]))["neighbours"]
        assert ("unreadable", "xiaomi.needs_key") == (row["status"], row["not_read"]["name"])
        assert 200 == (await visitor.act("pair", address=SCALE))[0]
        attempt = (await visitor.until(is_in("paired")))["attempt"]
        named = {"attempt": attempt["id"], "name": "Balance", "kind": "scale"}
        assert (400, "needs_key") == (lambda a: (a[0], a[1]["error"]))(await visitor.act("enrol", **named))
        answer = await visitor.act("enrol", **named, bind_key="12")
        assert (400, "bind_key") == (answer[0], answer[1]["error"])
        assert [] == (await visitor.state())["devices"]
    assert not (tmp_path / "bind-keys").exists()


async def test_key_of_the_configuration_opens(air: VirtualAir, tmp_path: Path) -> None:
    """`bind_key_file` of a device in the file; such a device takes no other key from the command."""
    scale = await scale_on(air)
    device = {"id": "scale", "kind": "scale", "name": "Balance", "address": SCALE}
    settings = house_settings(tmp_path, devices=[device | {"bind_key_file": key_file(tmp_path, KEY.hex())}])
    async with gateway_on(air, settings) as running, visitor_of(running) as visitor:
        await scale.tell_each(packets(10))
        await until_readings(running, 3, "scale")
        answer = await visitor.act("key", device="scale", bind_key=OTHER.hex())
        assert (400, "configured") == (answer[0], answer[1]["error"])
        assert (await visitor.state())["devices"][0]["not_read"] is None


@pytest.mark.parametrize(
    ("text", "mode", "why"),
    [
        ("00" * 12, 0o600, "24 digits"),
        ("00" * 15, 0o600, "32 hexadecimal digits"),
        ("zz" * 16, 0o600, "32 hexadecimal digits"),
        ("00" * 16, 0o644, "chmod 600"),
        ("", 0o600, "empty"),
    ],
)
async def test_a_file_that_is_no_key_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str, mode: int, why: str
) -> None:
    """By the command, and by the check of the configuration with its path in it; what the file holds is not shown."""
    path = key_file(tmp_path, text, mode)
    with pytest.raises(ConfigurationError, match=why):
        await pair(house_settings(tmp_path), SCALE, bind_key_file=str(path))
    config = tmp_path / "hub.toml"
    config.write_text(
        f'[[devices]]\nid = "s"\nkind = "scale"\nname = "s"\naddress = "{SCALE}"\nbind_key_file = "scale.key"\n',
        encoding="utf-8",
    )
    assert 0 != main(["check", "--config", str(config)])
    said = capsys.readouterr().err
    assert "devices[0].bind_key_file" in said
    assert why in said
    assert not text or text not in said


def test_without_the_package_the_extra_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A key that nothing could open would be silence: the start says what to install."""
    monkeypatch.setattr("gateway.bind_keys.find_spec", lambda _name: None)
    with pytest.raises(ConfigurationError, match=r"passerelle\[adverts\]"):
        read_bind_key(key_file(tmp_path, KEY.hex()))


def test_the_cipher_is_loaded_with_the_first_packet_only() -> None:
    """Who has no encrypted scale does not pay for it."""
    code = "import gateway.app, sys; print('cryptography' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert "False" == done.stdout.strip()


def test_keys_are_written_and_read(tmp_path: Path) -> None:
    """In either case of the digits, with spaces around; another key takes the place of the first."""
    path = tmp_path / "keys" / "one.key"
    write_bind_key(path, KEY)
    write_bind_key(path, OTHER)
    assert OTHER == read_bind_key(path)
    assert KEY == bind_key_of(f" {KEY.hex().upper()} ")
    assert bind_key_of("é" * 32) is None
    assert 0o700 == stat.S_IMODE(path.parent.stat().st_mode)


def test_a_key_belongs_to_an_address(tmp_path: Path) -> None:
    """It is part of what opens a packet."""
    path = tmp_path / "hub.toml"
    path.write_text('[[devices]]\nid = "s"\nkind = "scale"\nname = "s"\nbind_key_file = "k"\n', encoding="utf-8")
    with pytest.raises(GatewayError, match="address"):
        load_settings(path)
