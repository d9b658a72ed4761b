"""`gateway simulate readings | gateway fhir`: from synthetic readings to what would be sent."""

from __future__ import annotations

import json
from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main
from gateway.fhir.r4 import Bundle, from_json_as
from gateway.fhir.rules import check_transaction

EXAMPLE_OID = "2.999.5.1"
CONFIG = """
[[people]]
id = "camille"
name = "Camille"
time_zone = "America/Martinique"
[[destinations]]
id = "mes"
name = "Mon espace santé"
base_url = "https://mes.example/api"
token_url = "https://mes.example/token"
solution_oid = "2.999.8"
patient_authority_oid = "2.999.8.1"
terminology = "2025"
[[destinations.accounts]]
person = "camille"
patient_id = "idpe-camille"
client_id = "client"
client_secret_file = "secret"
"""


@pytest.fixture(scope="module")
def lines(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Fifteen days of synthetic readings."""
    path = tmp_path_factory.mktemp("simulated") / "readings.jsonl"
    assert 0 == main(["simulate", "readings", "--days", "15", "--seed", "7", "--output", str(path)])
    return path


def _bundles(tmp_path: Path, *arguments: str) -> tuple[int, list[dict[str, Any]]]:
    target = tmp_path / "bundles.jsonl"
    status = main(["fhir", "--target", "mes", "--output", str(target), *arguments])
    text = target.read_text(encoding="utf-8")
    return status, [json.loads(line, parse_float=Decimal) for line in text.splitlines()]


def _observation(bundle: dict[str, Any]) -> dict[str, Any]:
    (found,) = (e["resource"] for e in bundle["entry"] if e["resource"]["resourceType"] == "Observation")
    assert isinstance(found, dict)
    return found


def _all_codes(bundles: list[dict[str, Any]]) -> set[str]:
    return {code for bundle in bundles for code in _codes(bundle)}


def _codes(bundle: dict[str, Any]) -> set[str]:
    return {coding["code"] for coding in _observation(bundle)["code"]["coding"]}


@pytest.mark.parametrize("terminology", ["2024", "2025", "both"])
def test_every_line_is_a_transaction_that_the_space_accepts(lines: Path, tmp_path: Path, terminology: str) -> None:
    """Each line is one transaction bundle without a breach of the published rules, in each terminology."""
    status, _ = _bundles(tmp_path, "--input", str(lines), "--terminology", terminology)
    assert 0 == status
    written = (tmp_path / "bundles.jsonl").read_text(encoding="utf-8").splitlines()
    assert 60 < len(written) < 90
    for line in written:
        bundle = from_json_as(Bundle, line)
        assert "transaction" == bundle.type
        assert [] == check_transaction(bundle, solution_oid=EXAMPLE_OID)


def test_sensor_values_stay_at_home(lines: Path, tmp_path: Path) -> None:
    """Of four thousand sensor readings, the mean and the indicator of one closed fortnight leave, nothing else."""
    _, bundles = _bundles(tmp_path, "--input", str(lines))
    simulated = Counter(json.loads(line)["metric"] for line in lines.read_text(encoding="utf-8").splitlines())
    counts = Counter(
        "gmi" if "MED-972" in codes else "mean" if "MED-969" in codes else "weight" if "29463-7" in codes else "stick"
        for codes in map(_codes, bundles)
    )
    assert {"weight": simulated["body_mass"], "stick": simulated["glucose_capillary"], "mean": 1, "gmi": 1} == counts


def test_the_fortnight_stands_for_its_readings(lines: Path, tmp_path: Path) -> None:
    """Mean and indicator are those of the first 14 days, computed here from the lines; the 15th day stays out."""
    _, bundles = _bundles(tmp_path, "--input", str(lines))
    values = []
    for line in lines.read_text(encoding="utf-8").splitlines():
        reading = json.loads(line)
        if reading["metric"] == "glucose_interstitial" and reading["effective_at"] < "2026-03-14T23:00:00Z":
            bound = reading.get("bound")
            values.append(
                reading["value"] if bound is None else bound["limit"] + (1 if bound["kind"] == "above" else -1)
            )
    mean = sum(values) / len(values)
    (sent_mean,) = (_observation(b) for b in bundles if "MED-969" in _codes(b))
    (sent_gmi,) = (_observation(b) for b in bundles if "MED-972" in _codes(b))
    assert abs(mean - float(sent_mean["valueQuantity"]["value"])) <= 0.5
    assert abs(3.31 + 0.02392 * mean - float(sent_gmi["valueQuantity"]["value"])) <= 0.05
    assert "2026-03-15T00:00:00+01:00" == sent_mean["effectiveDateTime"] == sent_gmi["effectiveDateTime"]


def test_the_same_input_gives_the_same_bytes(lines: Path, tmp_path: Path) -> None:
    """What would be sent depends on the readings only: not on today, nor on their order of arrival."""
    first = _bundles(tmp_path, "--input", str(lines))[1]
    shuffled = tmp_path / "reversed.jsonl"
    shuffled.write_text("\n".join(reversed(lines.read_text(encoding="utf-8").splitlines())), encoding="utf-8")
    second = _bundles(tmp_path, "--input", str(shuffled))[1]
    assert sorted(map(str, first)) == sorted(map(str, second))


def test_account_and_zone_come_from_the_configuration(lines: Path, tmp_path: Path) -> None:
    """With a configuration, the person's account, zone and terminology are used, and nobody else's readings."""
    config = tmp_path / "hub.toml"
    config.write_text(CONFIG, encoding="utf-8")
    status, bundles = _bundles(tmp_path, "--input", str(lines), "--config", str(config), "--person", "camille")
    assert 0 == status
    for bundle in bundles:
        observation = _observation(bundle)
        assert {"system": "urn:oid:2.999.8.1", "value": "idpe-camille"} == observation["subject"]["identifier"]
        assert "urn:oid:2.999.8" == observation["meta"]["source"]
    assert {"99504-3"} <= _all_codes(bundles)
    assert not {"MED-969"} & _all_codes(bundles)


def test_a_bad_line_is_named_and_the_rest_is_written(
    lines: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A line that cannot be used gives its number on standard error and status 2; all others become bundles."""
    weights = [line for line in lines.read_text(encoding="utf-8").splitlines() if '"body_mass"' in line][:2]
    mixed = tmp_path / "mixed.jsonl"
    mixed.write_text("\n".join([weights[0], "{", weights[1]]), encoding="utf-8")
    status, bundles = _bundles(tmp_path, "--input", str(mixed))
    assert (2, 2) == (status, len(bundles))
    assert "gateway fhir: line 2: not a JSON object\n" == capsys.readouterr().err


def test_without_a_full_fortnight_no_figures_leave(lines: Path, tmp_path: Path) -> None:
    """Thirteen days and a half are no fortnight: neither mean nor indicator leave."""
    begun = tmp_path / "begun.jsonl"
    kept = [
        line
        for line in lines.read_text(encoding="utf-8").splitlines()
        if json.loads(line)["effective_at"] < "2026-03-14T12:00:00Z"
    ]
    begun.write_text("\n".join(kept), encoding="utf-8")
    _, bundles = _bundles(tmp_path, "--input", str(begun))
    assert not {"MED-969", "MED-972"} & _all_codes(bundles)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["fhir", "--target", "mes", "--input", "/nonexistent/x"], "there is no file"),
        (["simulate", "readings", "--days", "1", "--output", "/nonexistent/x"], "cannot write"),
    ],
)
def test_files_that_cannot_be_used(arguments: list[str], words: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A file that is not there is a sentence and status 2, not a traceback."""
    assert 2 == main(arguments)
    assert words in capsys.readouterr().err
