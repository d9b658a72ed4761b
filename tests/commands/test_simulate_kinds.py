"""Each kind of the virtual device lab: what it tells, what can go wrong with it, and what cannot."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from typing import Any

import pytest

from gateway.cli import main
from gateway.sandbox.lab import KINDS
from gateway.sandbox.peripherals.fault_needs import FAULT_NEEDS, Part, refuse, words_of
from gateway.sandbox.peripherals.faults import FAULT_WORDS, FaultsError, parse_faults
from gateway.sandbox.synthesis_vital_signs import SyntheticVitals

PRESSURES = {"blood_pressure_systolic", "blood_pressure_diastolic", "blood_pressure_mean", "heart_rate"}
METRICS = {
    "onetouch-meter": {"glucose_capillary"},
    "mi-scale": {"body_mass"},
    "mi-body-composition": {"body_mass", "impedance"},
    "bthome-scale": {"body_mass"},
    "blood-pressure-monitor": PRESSURES,
    "thermometer": {"body_temperature"},
    "pulse-oximeter": {"oxygen_saturation", "heart_rate"},
    "heart-rate-belt": {"heart_rate"},
}
EXAMPLES = {
    word: f"{word}@2" for word in ("drop", "corrupt", "duplicate", "unconfirmed", "nan", "nres", "hi", "lo")
} | {
    "silent": "silent@3",
    "slow": "slow=0.1",
    "order": "order=newest",
    "context": "context=late",
    "answer": "answer=early",
    "busy": "busy=1",
    "mtu": "mtu=23",
    "wrong-passkey": "wrong-passkey",
    "forget-bond": "forget-bond@1",
    "reset-counter": "reset-counter@1",
    "clock": "clock=2001-02-03",
    "memory": "memory=2",
    "counter": "counter=9",
    "contacts": "contacts=1",
}
Readings = list[dict[str, Any]]


def run(capfd: pytest.CaptureFixture[str], command: str) -> tuple[int, Readings, str]:
    """Exit status, readings, and what was said beside them."""
    status = main(["simulate", *command.split(), "--start", "2026-03-16"])
    captured = capfd.readouterr()
    return status, [json.loads(line) for line in captured.out.splitlines()], captured.err


def values(readings: Readings, metric: str) -> list[object]:
    """Oldest first."""
    return [r.get("value") for r in sorted(readings, key=lambda r: r["effective_at"]) if r["metric"] == metric]


def instants(readings: Readings) -> list[datetime]:
    """When, ascending."""
    return sorted(datetime.fromisoformat(reading["effective_at"]) for reading in readings)


@pytest.mark.parametrize("kind", METRICS)
def test_kind_is_read_back(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """The unchanged source reads it; the same seed gives the same device, each measurement at its own time."""
    status, readings, said = run(capfd, f"{kind} --records 3 --days 9 --seed 3")
    assert (0, METRICS[kind]) == (status, {reading["metric"] for reading in readings})
    assert 3 * len(METRICS[kind]) == len(readings)
    days = {str(reading["effective_at"])[:10] for reading in readings}
    assert days <= {f"2026-03-{number}" for number in range(7, 17)}
    assert len(days) >= 2
    assert f"{len(readings)} readings" in said
    found = [values(readings, metric)[-1:] for metric in sorted(METRICS[kind])]
    again, other = (run(capfd, f"{kind} --records 1 --days 9 --seed {seed}")[1] for seed in (3, 31))
    assert found == [values(again, metric) for metric in sorted(METRICS[kind])]
    assert found != [values(other, metric) for metric in sorted(METRICS[kind])]


@pytest.mark.parametrize("kind", METRICS)
def test_kind_goes_on_measuring(capfd: pytest.CaptureFixture[str], kind: str) -> None:
    """With a schedule it is used again and again, in its own time."""
    _, readings, _ = run(capfd, f"{kind} --records 0 --schedule every=1h --speed 7200 --seconds 3")
    assert len(readings) >= 2 * len(METRICS[kind])


@pytest.mark.parametrize(
    ("command", "count", "word"),
    [
        ("blood-pressure-monitor --faults drop@1,mtu=23,slow=0.05", 12, "12 readings;"),
        ("blood-pressure-monitor --faults unconfirmed@2", 12, "4 of them told again"),
        ("blood-pressure-monitor --faults corrupt@1", 8, "1 payloads not understood"),
        ("blood-pressure-monitor --faults memory=1", 4, "4 readings;"),
        ("thermometer --faults drop@2,duplicate", 3, "told again"),
        ("pulse-oximeter --faults order=newest,busy=1,contacts=1", 6, "6 readings;"),
        ("pulse-oximeter --faults memory=2", 4, "4 readings;"),
        ("onetouch-meter --faults drop@2,memory=2", 2, "2 readings;"),
        ("heart-rate-belt --passkey 123456", 3, "3 readings;"),
        ("mi-scale --faults duplicate", 3, "3 readings;"),
        ("mi-body-composition --faults silent@1", 2, "2 readings;"),
        ("bthome-scale --faults corrupt@2", 2, "2 readings"),
        ("scale --faults memory=1", 2, "2 readings"),
    ],
)
def test_faults_are_obeyed(capfd: pytest.CaptureFixture[str], command: str, count: int, word: str) -> None:
    """Nothing is lost or repeated that the fault itself does not lose, and what happened is said."""
    status, readings, said = run(capfd, f"{command} --records 3 --days 9")
    assert (0, count) == (status, len(readings))
    assert word in said


@pytest.mark.parametrize(
    ("kind", "clock", "quality"),
    [
        ("blood-pressure-monitor", "1990-01-01", "corrected"),
        ("thermometer", "1970-01-01", "corrected"),
        ("pulse-oximeter", "2000-01-01", "corrected"),
        ("onetouch-meter", "2005-01-01", "corrected"),
        ("mi-scale", "1970-01-01", "received"),
    ],
)
def test_wrong_clocks(capfd: pytest.CaptureFixture[str], kind: str, clock: str, quality: str) -> None:
    """The instants are right whatever the device's clock says; a scale that only broadcasts is heard at once."""
    right, wrong = (run(capfd, f"{kind} --records 2{faults}")[1] for faults in ("", f" --faults clock={clock}"))
    assert {quality} == {reading["time_quality"] for reading in wrong}
    assert len(right) == len(wrong)
    for expected, found in zip(instants(right), instants(wrong), strict=True):
        assert abs(expected - found) < timedelta(seconds=10)


def test_values_that_are_no_number(capfd: pytest.CaptureFixture[str]) -> None:
    """A cuff that failed, a fever beyond the range, a finger that was not in the oximeter."""
    pressure = run(capfd, "blood-pressure-monitor --records 1 --faults nan@1")[1]
    assert "absent" in next(r for r in pressure if r["metric"] == "blood_pressure_systolic")
    (temperature,) = run(capfd, "thermometer --records 1 --faults hi@1")[1]
    assert {"kind": "above"} == temperature["bound"]
    saturation = run(capfd, "pulse-oximeter --records 1 --faults nres@1")[1]
    assert "absent" in next(r for r in saturation if r["metric"] == "oxygen_saturation")


@pytest.mark.parametrize(
    ("command", "state"),
    [
        ("onetouch-meter --records 1 --faults silent", "reading"),
        ("onetouch-meter --records 1 --passkey 123456 --faults wrong-passkey", "needs_pairing"),
        ("heart-rate-belt --records 2 --passkey 123456 --faults forget-bond@1", "needs_pairing"),
    ],
)
def test_what_cannot_be_read_says_so(capfd: pytest.CaptureFixture[str], command: str, state: str) -> None:
    """Status 1 and the state."""
    status, _, said = run(capfd, command)
    assert 1 == status
    assert f"the device is {state}" in said


def test_forgotten_memory(capfd: pytest.CaptureFixture[str]) -> None:
    """A device that has lost its memory after a contact numbers from 1 again; what is measured later still arrives."""
    schedule = "--schedule every=1h --speed 7200 --seconds 4"
    command = f"onetouch-meter --records 3 --faults reset-counter@1 {schedule}"
    _, readings, _ = run(capfd, command)
    assert {0, 1} <= {reading["epoch"] for reading in readings}


# --- what a kind cannot have ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", KINDS)
def test_kind_refuses_exactly_what_it_cannot_have(kind: str) -> None:
    """Each word is either obeyed or refused, never passed over."""
    assert FAULT_NEEDS.keys() - {"seed"} == EXAMPLES.keys()
    for word, text in EXAMPLES.items():
        part = FAULT_NEEDS[word]
        if part is None or part in KINDS[kind].parts:
            KINDS[kind].check(parse_faults(text))
        else:
            with pytest.raises(FaultsError, match=f"'{word}' needs {part.value}"):
                KINDS[kind].check(parse_faults(f"seed=2,silent,{text}"))


def test_every_word_has_its_need() -> None:
    """What a text says is found again, and no word of the page is without a place in the table."""
    assert {word.partition("@")[0].partition("=")[0] for word in FAULT_WORDS} <= FAULT_NEEDS.keys()
    for word, text in EXAMPLES.items():
        assert {word} == words_of(parse_faults(text)), text
    assert frozenset() == words_of(parse_faults(""))
    refuse(parse_faults("drop@1"), {Part.LINK})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("heart-rate-belt --faults memory=3", "'memory' needs a memory"),
        ("mi-scale --faults drop@1", "'drop' needs a link"),
        ("bthome-scale --faults clock=1970-01-01", "'clock' needs a clock"),
        ("onetouch-meter --faults clock=1970-01-01", "cannot say a year before 2001"),
        ("scale --faults context=late", "'context' needs a context beside each value"),
    ],
)
def test_refusal_is_in_words(arguments: str, sentence: str, capfd: pytest.CaptureFixture[str]) -> None:
    """Status 2, and the sentence says what is lacking."""
    with pytest.raises(SystemExit) as stopped:
        main(["simulate", *arguments.split()])
    assert 2 == stopped.value.code
    assert sentence in capfd.readouterr().err


def test_vital_signs_follow_from_the_seed() -> None:
    """The same person has the same values, plausible ones, and another person others."""
    at = datetime(2026, 3, 16, 18, 0)  # noqa: DTZ001 a person's wall clock
    people = [SyntheticVitals(seed) for seed in range(200)]
    for person in people:
        pressure = person.blood_pressure(at)
        assert 50 < pressure.diastolic < pressure.mean < pressure.systolic < 180
        assert 35 < person.temperature_c(at) < 38
        assert 90 < person.saturation_percent(at) <= 100
        assert all(40 < rate < 150 for rate in person.walk(at, 60))
    assert people[3].blood_pressure(at) == SyntheticVitals(3).blood_pressure(at)
    assert len({person.blood_pressure(at) for person in people}) > 100
