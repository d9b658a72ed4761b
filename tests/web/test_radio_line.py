"""What people are told of the radio: the sentence, the page, and the address for machines."""

from __future__ import annotations

import argparse
import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest
from web_kit import DEVICES, NOW, PARIS, serve

from gateway.cli import build_parser
from gateway.commands import radio as radio_command
from gateway.model import Device, DeviceId, DeviceKind, Neighbour, RadioReport, RadioState
from gateway.web.radio_words import _ADVICE, _STATES, RadioLine, is_well, radio_sentence

SCALE = Device(DeviceId("bath"), DeviceKind.SCALE, "Balance", address="C0:FF:EE:00:00:04")
REPORT = RadioReport("adapter (hci0)", None, RadioState.HEARING, NOW - timedelta(hours=5, minutes=50), NOW, 14)


class StandIn:
    """Radios that say what the test wants."""

    def __init__(self, *reports: RadioReport, heard: tuple[str, ...] = ()) -> None:
        self._reports = reports
        self._heard = heard

    def neighbours(self) -> tuple[Neighbour, ...]:
        return tuple(Neighbour(address, None, None, None, None, None, NOW, NOW) for address in self._heard)

    def reports(self) -> tuple[RadioReport, ...]:
        return self._reports

    async def changed(self) -> None:
        await asyncio.Event().wait()

    @asynccontextmanager
    async def hold(self, address: str) -> AsyncIterator[None]:
        yield


def say(report: RadioReport, *asleep: str, language: str = "en") -> str:
    (line,) = RadioLine.of([report], asleep, PARIS)
    return radio_sentence(line, language, NOW)


def test_asleep_scale_is_told_from_deaf_radio() -> None:
    """The two that everything turns on."""
    assert "The Bluetooth radio hears 14 devices; Balance is asleep or out of reach." == say(REPORT, "Balance")
    assert "La radio Bluetooth entend 14 appareils ; Balance est endormi ou trop loin." == say(
        REPORT, "Balance", language="fr"
    )
    deaf = replace(REPORT, state=RadioState.DEAF, advice="replug_adapter")
    assert say(deaf, "Balance").startswith("The Bluetooth radio is deaf since 06:10. Nothing that the gateway tried")
    assert say(deaf, language="fr").startswith("La radio Bluetooth est sourde depuis 06:10. Rien de ce que")


def test_numbers_and_names_agree() -> None:
    """One, several, none; yesterday with its day."""
    assert "The Bluetooth radio hears 1 device." == say(replace(REPORT, devices_heard=1))
    assert "La radio Bluetooth entend 1 appareil." == say(replace(REPORT, devices_heard=1), language="fr")
    assert say(REPORT, "A", "B", "C").endswith("; A, B and C are asleep or out of reach.")
    yesterday = replace(REPORT, state=RadioState.QUIET, since=NOW - timedelta(days=1))
    assert "La radio Bluetooth n'entend personne depuis 19/03 12:00." == say(yesterday, language="fr")


@pytest.mark.parametrize("language", ["fr", "en"])
def test_every_state_and_advice_has_words(language: str) -> None:
    """Nothing that a report can say is left without a sentence; an unknown advice is left out."""
    assert set(RadioState) - {RadioState.HEARING} == set(_STATES)
    for state in RadioState:
        for advice in (None, *_ADVICE, "something_new"):
            sentence = say(replace(REPORT, state=state, advice=advice), language=language)
            assert sentence.endswith((".", "`."))
            assert "{" not in sentence
    assert [RadioState.STARTING, RadioState.HEARING, RadioState.QUIET] == [
        state for state in RadioState if is_well(replace(REPORT, state=state))
    ]


async def get(url: str, **options: object) -> tuple[int, str]:
    async with aiohttp.ClientSession() as session, session.get(url, **options) as answer:  # type: ignore[arg-type]
        return answer.status, await answer.text()


async def test_page_shows_the_radio_only_when_bluetooth_is_on(tmp_path: Path) -> None:
    """With the device that is asleep by name; several radios by their names."""
    (tmp_path / "on").mkdir()
    devices = (*DEVICES, SCALE)
    async with serve(tmp_path / "on", devices=devices, radios=StandIn(REPORT)) as site:
        assert "La radio Bluetooth entend 14 appareils ; Balance est endormi ou trop loin." in (await get(site.url))[1]
        assert "The Bluetooth radio hears 14 devices; Balance is asleep" in (await get(f"{site.url}?lang=en"))[1]
    async with serve(tmp_path / "on", devices=devices, radios=StandIn(REPORT, heard=(str(SCALE.address),))) as site:
        assert "La radio Bluetooth entend 14 appareils." in (await get(site.url))[1]
    (tmp_path / "off").mkdir()
    async with serve(tmp_path / "off") as site:
        assert "La radio Bluetooth" not in (await get(site.url))[1]
        assert 404 == (await get(f"{site.url}/api/radio"))[0]


async def test_machines_are_told_behind_the_same_guard(tmp_path: Path) -> None:
    """No foreign host name, no visitor without the code; no address of a device in the answer."""
    async with serve(tmp_path, devices=(SCALE,), radios=StandIn(REPORT), access_code="12345678") as site:
        url = f"{site.url}/api/radio"
        assert 421 == (await get(url, headers={"Host": "evil.example"}))[0]
        assert 401 == (await get(url))[0]
        status, text = await get(url, headers={"Authorization": "Basic eDoxMjM0NTY3OA=="})
    assert 200 == status
    assert '"state": "hearing"' in text
    assert '"asleep": ["Balance"]' in text
    assert str(SCALE.address) not in text


@pytest.mark.parametrize(("state", "status"), [(RadioState.HEARING, 0), (RadioState.DEAF, 1)])
async def test_radio_asks_the_running_gateway(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, state: RadioState, status: int
) -> None:
    """The verdict of the gateway that runs, with the access code of its pages, and an exit status that follows it."""
    monkeypatch.setattr(radio_command, "utc_now", lambda: NOW)
    report: RadioReport = replace(REPORT, state=state, since=NOW - timedelta(hours=5))

    def parsed(*arguments: str) -> argparse.Namespace:
        return build_parser().parse_args(["radio", *arguments])

    async with serve(tmp_path, radios=StandIn(report), access_code="12345678") as site:
        code = tmp_path / "code"
        code.touch(0o600)
        code.write_text("12345678\n", encoding="utf-8")
        configuration = tmp_path / "hub.toml"
        configuration.write_text(
            f'[bluetooth]\nenabled = true\n[web]\nport = {site.port}\naccess_code_file = "code"\n', encoding="utf-8"
        )
        capsys.readouterr()
        assert status == await radio_command._run(parsed("--config", str(configuration)))
        assert status == await radio_command._run(parsed("--json", "--config", str(configuration)))
    sentence, answer = capsys.readouterr().out.splitlines()
    expected = "hears 14 devices." if state is RadioState.HEARING else "is deaf since 07:00."
    assert f"The Bluetooth radio {expected}" == sentence
    assert ("gateway", state.value) == (json.loads(answer)["source"], json.loads(answer)["radios"][0]["state"])
