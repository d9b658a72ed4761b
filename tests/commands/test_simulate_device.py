"""`gateway simulate KIND`: the virtual device lab from the command line."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

import pytest

from gateway.cli import main
from gateway.commands.simulate_device import KINDS
from gateway.sandbox.lab import KINDS as LAB
from gateway.sandbox.peripherals.faults import FAULT_WORDS, Faults, FaultsError, parse_faults
from gateway.sandbox.records import SfloatSpecial
from gateway.sandbox.schedule import ScheduleError, parse_schedule

MONDAY = datetime(2026, 3, 16, 12, 0)  # noqa: DTZ001 a device's wall clock


def run(capfd: pytest.CaptureFixture[str], command: str) -> tuple[int, list[dict[str, object]], str]:
    """Exit status, readings, and what was said beside them."""
    status = main(["simulate", *command.split()])
    captured = capfd.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def test_help_and_lab_know_the_same_kinds() -> None:
    """What can be asked for can be built, under the same words."""
    assert {name: kind.title for name, kind in LAB.items()} == KINDS


@pytest.mark.parametrize(
    ("kind", "metrics"),
    [
        ("glucose-meter", {"glucose_capillary"}),
        ("cgm", {"glucose_interstitial"}),
        ("scale", {"body_mass", "body_fat_percentage"}),
    ],
)
def test_device_is_read_back(capfd: pytest.CaptureFixture[str], kind: str, metrics: set[str]) -> None:
    """The real source reads every kind, and the same seed gives the same device."""
    command = f"{kind} --records 4 --days 9 --start 2026-03-16 --seed 3"
    status, readings, said = run(capfd, command)
    assert (0, metrics) == (status, {reading["metric"] for reading in readings})
    assert 4 == len({reading["effective_at"] for reading in readings})
    assert "readings" in said
    assert [r["value"] for r in readings] == [r["value"] for r in run(capfd, command)[1]]
    assert [r["value"] for r in readings] != [r["value"] for r in run(capfd, command + "1")[1]]


def test_device_goes_on_measuring(capfd: pytest.CaptureFixture[str]) -> None:
    """With a schedule it is used again and again, in its own time."""
    command = "glucose-meter --records 1 --schedule every=1h --speed 7200 --seconds 4 --start 2026-03-16"
    _, readings, _ = run(capfd, command)
    assert len(readings) >= 2


@pytest.mark.parametrize(
    ("faults", "status", "word"),
    [
        ("drop@2,duplicate", 0, "asleep"),
        ("silent", 1, "silent"),
        ("corrupt@1,contacts=1", 0, "not understood"),
    ],
)
def test_faults_are_obeyed_and_named(capfd: pytest.CaptureFixture[str], faults: str, status: int, word: str) -> None:
    """What went wrong can be seen, and the exit status says whether the device could be read."""
    found, readings, said = run(capfd, f"glucose-meter --records 4 --start 2026-03-16 --faults {faults}")
    assert (status, True) == (found, word in said)
    assert (0 if status else 4) == len(readings)


def test_wrong_passkey_is_said(capfd: pytest.CaptureFixture[str]) -> None:
    """A display that lies about its digits ends in the state a person must deal with."""
    status, readings, said = run(capfd, "scale --passkey 123456 --faults wrong-passkey --start 2026-03-16")
    assert (1, []) == (status, readings)
    assert "needs_pairing" in said


def test_transport_that_is_not_there(capfd: pytest.CaptureFixture[str]) -> None:
    """An error in words, with status 1."""
    assert 1 == main(["simulate", "cgm", "--transport", "vhci:/nowhere"])
    assert "the transport 'vhci:/nowhere' cannot be used" in capfd.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [
        "cgm --faults nonsense",
        "cgm --schedule sometimes",
        "cgm --schedule at=25:00",
        "scale --address 00:11:22:33:44:55",
        "scale --passkey 1000000",
        "scale --name a-name-that-is-far-too-long",
        "nothing",
    ],
)
def test_wrong_arguments_are_named(arguments: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Status 2 and a sentence."""
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", *arguments.split()])
    assert 2 == stopped.value.code
    assert "error:" in capfd.readouterr().err


# --- words ------------------------------------------------------------------------------------------------------------


def test_every_fault_word_is_understood() -> None:
    """Each word of the list, with each of its choices, changes something."""
    examples = {"K": "3", "N": "30", "S": "0.5", "DATE": "1970-01-01", "CODE": "8"}
    for shape in FAULT_WORDS:
        name, sign, values = shape.partition("@") if "@" in shape else shape.partition("=")
        for value in values.split("|"):
            text = f"{name}{sign}{examples.get(value, value)}"
            assert Faults() != parse_faults(text), text


def test_faults_of_a_text() -> None:
    """Words add up, and a repeated one collects."""
    faults = parse_faults("drop@12, drop@20,silent@3,clock=1970-01-01,memory=10,mtu=23,nan@2,hi=0.5")
    assert frozenset({12, 20}) == faults.drop.at
    assert (3, datetime(1970, 1, 1), 10, 23) == (faults.silent_after, faults.clock, faults.memory, faults.mtu)  # noqa: DTZ001
    assert SfloatSpecial.NAN == faults.special(2)
    assert Faults() == parse_faults(" ")


@pytest.mark.parametrize(
    "text",
    ["drop@", "drop@x", "drop=2", "mtu=22", "order=oldest", "clock=yesterday", "slow=-1", "answer=x", "!", "busy"],
)
def test_wrong_faults(text: str) -> None:
    """A sentence that names the word."""
    with pytest.raises(FaultsError, match=text):
        parse_faults(f"memory=3,{text}")


def test_shares_follow_from_the_seed() -> None:
    """The same seed hits the same items, another seed others, and about as many as asked for."""

    def hit(seed: int) -> list[int]:
        faults = parse_faults(f"corrupt=0.2,seed={seed}")
        return [number for number in range(1, 1001) if faults.corrupt.fires(number, "corrupt", faults.seed)]

    assert hit(1) == hit(1)
    assert hit(1) != hit(2)
    assert 150 < len(hit(1)) < 250


def test_schedules() -> None:
    """Every so often from now, or at times of day, today's remaining ones first."""
    times = parse_schedule("at=12:00,07:00,19:30").after(MONDAY)
    assert [(16, 19), (17, 7), (17, 12)] == [(due.day, due.hour) for due in (next(times) for _ in range(3))]
    every = parse_schedule("every=5min").after(MONDAY)
    assert [MONDAY + timedelta(minutes=5), MONDAY + timedelta(minutes=10)] == [next(every), next(every)]
    for text in ("every=0s", "at=", "at=7", "daily"):
        with pytest.raises(ScheduleError, match="write every="):
            parse_schedule(text)
