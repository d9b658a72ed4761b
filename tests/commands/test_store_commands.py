"""The commands that work on a database: import, readings, summary, outbox, audit, consent, check."""

from __future__ import annotations

import csv
import io
import json
import sqlite3
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from gateway.cli import main

CONFIG = """
[store]
path = "passerelle.db"
[[people]]
id = "camille"
name = "Camille"
[[people]]
id = "noe"
name = "Noé"
glucose_unit = "mmol/L"
[[devices]]
id = "sensor"
kind = "cgm"
name = "Capteur"
person = "camille"
[[devices]]
id = "scale"
kind = "scale"
name = "Balance"
person = "noe"
[[devices]]
id = "spare"
kind = "glucose_meter"
name = "Lecteur"
[[destinations]]
id = "mes"
name = "Mon espace santé"
base_url = "https://mes.example/api"
token_url = "https://mes.example/token"
solution_oid = "2.999.8"
patient_authority_oid = "2.999.8.1"
[[destinations.accounts]]
person = "camille"
patient_id = "idpe-camille"
client_id = "client"
client_secret_file = "mes-secret"
"""


def _line(device: str, record: str, metric: str, value: str, unit: str, at: datetime) -> str:
    return (
        f'{{"device":"{device}","record":"{record}","metric":"{metric}","value":{value},"unit":"{unit}",'
        f'"effective_at":"{at.isoformat()}","utc_offset_min":60}}'
    )


@dataclass
class Home:
    """A folder with a configuration, and its commands."""

    folder: Path
    capsys: pytest.CaptureFixture[str]
    now: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0))

    @property
    def config(self) -> Path:
        return self.folder / "hub.toml"

    def write(self, name: str, *lines: str) -> str:
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
        return str(path)

    def run(self, *arguments: str, config: bool = True) -> tuple[int, str, str]:
        """Exit status, standard output, standard error."""
        status = main([*arguments, *(["--config", str(self.config)] if config else [])])
        captured = self.capsys.readouterr()
        return status, captured.out, captured.err

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        status, out, err = self.run(*arguments)
        assert (0, "") == (status, err)
        return [json.loads(line, parse_float=Decimal) for line in out.splitlines()]


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    """A house with two people and three devices, without a database yet."""
    found = Home(tmp_path, capsys)
    found.config.write_text(CONFIG, encoding="utf-8")
    return found


@pytest.fixture
def filled(home: Home) -> Home:
    """The same with some readings of the last two hours."""
    at = home.now - timedelta(hours=2)
    lines = [
        *(
            _line("sensor", f"s{n}", "glucose_interstitial", "120", "mg/dL", at + timedelta(minutes=5 * n))
            for n in range(6)
        ),
        _line("scale", "w1", "body_mass", "154.32", "lb", at),
        _line("spare", "=1+1", "glucose_capillary", "5.6", "mmol/L", at),
    ]
    status, out, err = home.run("import", home.write("in.jsonl", *lines))
    assert (0, "8 readings read: 8 new, 0 corrected, 0 known already.\n", "") == (status, out, err)
    return home


def test_importing_twice_adds_nothing(filled: Home) -> None:
    """The second import of a file finds everything known already, and the store is unchanged."""
    before = filled.objects("readings")
    status, out, _ = filled.run("import", str(filled.folder / "in.jsonl"))
    assert (0, "8 readings read: 0 new, 0 corrected, 8 known already.\n") == (status, out)
    assert before == filled.objects("readings")


def test_an_export_can_be_imported(filled: Home) -> None:
    """What `readings` writes, `import` reads: an empty house gets the same readings, digit for digit."""
    target = filled.folder / "export.jsonl"
    assert 0 == filled.run("readings", "--output", str(target))[0]
    before = filled.objects("readings")
    (filled.folder / "passerelle.db").rename(filled.folder / "old.db")
    status, out, _ = filled.run("import", str(target))
    assert (0, "8 readings read: 8 new, 0 corrected, 0 known already.\n") == (status, out)
    assert before == filled.objects("readings")
    assert 0o600 == target.stat().st_mode & 0o777


def test_readings_keep_what_was_said(filled: Home) -> None:
    """A value is shown in the canonical unit with the original beside it, and belongs to the owner of its device."""
    (weight,) = filled.objects("readings", "--metric", "body_mass")
    assert (Decimal("69.9983745384"), "kg") == (weight["value"], weight["unit"])
    assert {"value": Decimal("154.32"), "unit": "lb"} == weight["original"]
    assert "noe" == weight["person"]
    (stick,) = filled.objects("readings", "--metric", "glucose_capillary")
    assert "person" not in stick


def test_readings_can_be_narrowed(filled: Home) -> None:
    """By person, by metric, and to the newest of each."""
    assert 6 == len(filled.objects("readings", "--person", "camille"))
    assert 2 == len(filled.objects("readings", "--metric", "body_mass", "--metric", "glucose_capillary"))
    latest = filled.objects("readings", "--latest")
    assert {"s5", "w1", "=1+1"} == {item["record"] for item in latest}
    assert ["s5"] == [item["record"] for item in filled.objects("readings", "--latest", "--person", "camille")]


def test_csv_runs_no_formula(filled: Home) -> None:
    """In the CSV for spreadsheets, text that begins like a formula is quoted; numbers stay numbers."""
    status, out, _ = filled.run("readings", "--format", "csv")
    rows = list(csv.DictReader(io.StringIO(out)))
    assert (0, 8) == (status, len(rows))
    assert ["'=1+1"] == [row["record"] for row in rows if row["device"] == "spare"]
    for row in rows:
        assert Decimal(row["value"]) > 0
        assert not [cell for cell in row.values() if cell and cell[0] in "=+-@\t\r"]


def test_bad_lines_do_not_stop_an_import(home: Home) -> None:
    """Bad lines are named on standard error and give status 2; good ones are stored."""
    path = home.write(
        "in.jsonl",
        "{",
        _line("sensor", "s1", "glucose_interstitial", "2222", "mg/dL", home.now),
        _line("sensor", "s2", "glucose_interstitial", "99", "mg/dL", home.now),
        _line("sensor", "s3", "glucose_interstitial", "99", "mg/dL", home.now),
    )
    status, out, err = home.run("import", path)
    assert (2, "2 readings read: 2 new, 0 corrected, 0 known already.\n") == (status, out)
    assert ["gateway import: line 1", "gateway import: line 2"] == [
        ":".join(line.split(":")[:2]) for line in err.splitlines()
    ]
    assert "2222" not in err


def test_a_dry_run_stores_nothing(home: Home) -> None:
    """`--dry-run` counts, and leaves the store as it was."""
    path = home.write("in.jsonl", _line("sensor", "s1", "glucose_interstitial", "99", "mg/dL", home.now))
    assert (
        "1 readings could be imported, 1 of them not stored yet; nothing was stored (dry run).\n"
        == home.run("import", "--dry-run", path)[1]
    )
    assert "1 readings read: 1 new, 0 corrected, 0 known already.\n" == home.run("import", path)[1]


def test_a_correction_is_told(filled: Home) -> None:
    """The same record with another value, received later, corrects."""
    later = _line("scale", "w1", "body_mass", "70", "kg", filled.now)
    assert (
        "1 readings read: 0 new, 1 corrected, 0 known already.\n" == filled.run("import", filled.write("c", later))[1]
    )
    assert [Decimal(70)] == [item["value"] for item in filled.objects("readings", "--metric", "body_mass")]


@pytest.mark.parametrize(
    "command", [["readings"], ["summary"], ["outbox"], ["audit"], ["consent", "list"]], ids=" ".join
)
def test_without_a_database(home: Home, command: list[str]) -> None:
    """A command that reads does not make an empty database: it says that there is none."""
    status, out, err = home.run(*command)
    assert (2, "") == (status, out)
    assert "store.path" in err
    assert not (home.folder / "passerelle.db").exists()


def test_a_database_from_the_future(filled: Home) -> None:
    """A database of a newer release is refused with a sentence."""
    with sqlite3.connect(filled.folder / "passerelle.db") as connection:
        connection.execute("PRAGMA user_version = 9999")
    connection.close()
    status, out, err = filled.run("readings")
    assert (1, "") == (status, out)
    assert err.startswith("gateway: ")


def test_summary(filled: Home) -> None:
    """The figures of everybody, as text with the person's own unit and as exact JSON."""
    camille, noe = filled.objects("summary", "--format", "json")
    assert ("camille", "noe") == (camille["person"], noe["person"])
    counted = camille["today"]["count"] + camille["fortnight"]["count"]
    assert 6 == counted
    assert camille["weight"] is None
    assert Decimal("69.9984") == noe["weight"]["last_kg"]
    _, text, _ = filled.run("summary")
    assert "Camille (camille)" in text
    assert "weight: 70.00 kg" in text


def test_a_summary_of_one_person_forgets_nobody(filled: Home) -> None:
    """Asking for one person's figures leaves the others' to be computed when they are asked for."""
    assert ["noe"] == [item["person"] for item in filled.objects("summary", "--format", "json", "--person", "noe")]
    (camille,) = filled.objects("summary", "--format", "json", "--person", "camille")
    assert 6 == camille["today"]["count"] + camille["fortnight"]["count"]


def test_figures_are_computed_again(filled: Home) -> None:
    """After the order of the sources was changed past days follow when they are told to, and not by themselves."""
    at = filled.now - timedelta(hours=2)
    copies = [
        _line("a-phone", f"p{n}", "glucose_interstitial", "300", "mg/dL", at + timedelta(minutes=5 * n))
        for n in range(6)
    ]
    phone = '[[devices]]\nid = "a-phone"\nkind = "cgm"\nname = "Phone"\nperson = "camille"\n'
    filled.config.write_text(CONFIG.replace("[[destinations]]", phone + "[[destinations]]", 1), encoding="utf-8")
    assert 0 == filled.run("import", filled.write("copies.jsonl", *copies))[0]

    def means(*words: str) -> set[Decimal]:
        (camille,) = filled.objects("summary", "--format", "json", "--person", "camille", *words)
        return {Decimal(camille[part]["mean_mg_dl"]) for part in ("today", "fortnight") if camille[part]["count"]}

    assert {Decimal(300)} == means()
    mine = 'name = "Camille"\nglucose_sources = ["sensor"]'
    text = filled.config.read_text(encoding="utf-8")
    filled.config.write_text(text.replace('name = "Camille"', mine, 1), encoding="utf-8")
    assert {Decimal(300)} == means()
    assert {Decimal(120)} == means("--again")


def test_consent_from_grant_to_withdrawal(filled: Home) -> None:
    """A consent is listed, audited and withdrawn; the trail holds both acts and is whole."""
    who = ("--person", "camille", "--data", "glucose", "--to", "mes")
    assert [] == filled.objects("consent", "list")
    assert 0 == filled.run("consent", "grant", *who, "--since", "2026-01-01", "--until", "2999-01-01")[0]
    (consent,) = filled.objects("consent", "list")
    assert ("active", "2025-12-31T23:00:00+00:00", "2998-12-31T23:00:00+00:00") == (
        consent["state"],
        consent["covers_from"],
        consent["expires_at"],
    )
    status, out, _ = filled.run("consent", "withdraw", *who)
    assert (0, True) == (status, out.startswith("Withdrawn. 0 waiting items"))
    assert ["withdrawn"] == [item["state"] for item in filled.objects("consent", "list")]
    kinds = [event["kind"] for event in filled.objects("audit")]
    assert ["consent_withdrawn", "consent_granted", "attributed"] == kinds
    assert ["attributed"] == [event["kind"] for event in filled.objects("audit", "--person", "noe")]
    assert (0, "The audit trail is whole.\n", "") == filled.run("audit", "--verify")


@pytest.mark.parametrize(
    ("act", "person", "destination", "words"),
    [
        ("grant", "nobody", "mes", "camille, noe"),
        ("grant", "camille", "nowhere", "mes"),
        ("withdraw", "camile", "mes", "no such consent"),
        ("withdraw", "camille", "ms", "glucose to mes"),
    ],
)
def test_a_mistyped_consent(filled: Home, act: str, person: str, destination: str, words: str) -> None:
    """Nobody is told "granted" or "withdrawn" because of a typing error."""
    filled.run("consent", "grant", "--person", "camille", "--data", "glucose", "--to", "mes")
    status, out, err = filled.run("consent", act, "--person", person, "--data", "glucose", "--to", destination)
    assert (2, "") == (status, out)
    assert words in err


def test_an_edited_audit_trail_is_noticed(filled: Home) -> None:
    """Whoever changes the trail by hand is found out, with status 1."""
    filled.run("consent", "grant", "--person", "camille", "--data", "glucose", "--to", "mes")
    filled.run("consent", "withdraw", "--person", "camille", "--data", "glucose", "--to", "mes")
    with sqlite3.connect(filled.folder / "passerelle.db") as connection:
        names = [row[0] for row in connection.execute("SELECT name FROM sqlite_master WHERE type = 'trigger'")]
        for name in names:
            connection.execute(f"DROP TRIGGER {name}")
        assert 1 == connection.execute("DELETE FROM audit WHERE rowid = 1").rowcount
    connection.close()
    status, out, _ = filled.run("audit", "--verify")
    assert (1, True) == (status, out.startswith("Changed by hand at event "))


def test_an_empty_outbox(filled: Home) -> None:
    """Nothing was sent: the outbox lists nothing, in any state."""
    assert [] == filled.objects("outbox")
    assert [] == filled.objects("outbox", "--state", "done", "--person", "camille", "--content")


def test_check(home: Home) -> None:
    """`check` looks at the secret files, names each that cannot be used, and then says what will happen."""
    status, out, err = home.run("check")
    assert (2, "") == (status, out)
    assert err.startswith("gateway: destinations[0].accounts[0].client_secret_file: ")
    secret = home.folder / "mes-secret"
    secret.write_text("hunter2\n", encoding="utf-8")
    secret.chmod(0o644)
    assert "chmod 600" in home.run("check")[2]
    secret.chmod(0o600)
    status, out, err = home.run("check")
    assert (0, "") == (status, err)
    assert "The configuration is sound." in out
    assert "spare has no owner: its readings wait." in out
    assert "Nothing leaves without their consent." in out
    assert "hunter2" not in out


def test_check_of_a_wrong_file(home: Home) -> None:
    """Every fault of a file is one line with its path."""
    home.config.write_text("[web]\nport = 0.5\n[mqtt]\nhots = 'x'\n", encoding="utf-8")
    status, out, err = home.run("check")
    assert (2, "") == (status, out)
    assert ["gateway: web.port", "gateway: mqtt.hots"] == [":".join(line.split(":")[:2]) for line in err.splitlines()]
