"""The commands about what was set aside, about logs and about gaps, on a real database."""

from __future__ import annotations

import asyncio
import base64
import json
import subprocess
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.adapters.stores.sqlite import SqliteStore
from gateway.cli import main
from gateway.clock import SystemClock
from gateway.commands.quarantine import shown_text
from gateway.intake_log import BadLine, LoggedMessage, LoggedRequest, parse_log_line
from gateway.model import (
    Batch,
    DeviceId,
    Metric,
    Outage,
    OutageReason,
    Provenance,
    Quarantined,
    QuarantineReason,
    RawFrame,
    Reading,
    SourceKind,
    TimeQuality,
)
from gateway.sandbox.broker import run_mosquitto

CONFIG = """
[store]
path = "passerelle.db"
[[people]]
id = "camille"
name = "Camille"
[[devices]]
id = "scale"
kind = "scale"
name = "Balance"
person = "camille"
[[devices]]
id = "sensor"
kind = "cgm"
name = "Capteur"
person = "camille"
"""
AT = datetime(2026, 3, 20, 7, 0, tzinfo=UTC)
GOOD = '{"record":"1","time":"2026-03-20T06:58:00Z","measurements":[{"metric":"body_mass","value":71.20,"unit":"kg"}]}'


@dataclass
class Home:
    """A folder with a configuration, and its commands."""

    folder: Path
    capsys: pytest.CaptureFixture[str]

    def run(self, *arguments: str) -> tuple[int, list[str], str]:
        """Status, lines of standard output, standard error."""
        status = main([*arguments, "--config", str(self.folder / "hub.toml")])
        answered = self.capsys.readouterr()
        return status, answered.out.splitlines(), answered.err

    def objects(self, *arguments: str) -> list[dict[str, Any]]:
        """The JSON lines of a command that ends well."""
        status, lines, _ = self.run(*arguments)
        assert 0 == status
        return [json.loads(line) for line in lines]

    def store(self, work: Callable[[SqliteStore], Awaitable[None]]) -> None:
        """Do something with the store, as the gateway would."""

        async def run() -> None:
            async with SqliteStore.open(self.folder / "passerelle.db", clock=SystemClock()) as store:
                await work(store)

        asyncio.run(run())
        self.capsys.readouterr()

    def plant(self, *items: Quarantined) -> None:
        """Set payloads aside, one after the other."""

        async def work(store: SqliteStore) -> None:
            for item in items:
                await store.readings.commit(Batch(quarantined=(item,)))

        self.store(work)


@pytest.fixture
def home(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Home:
    """A house with a scale and a sensor."""
    (tmp_path / "hub.toml").write_text(CONFIG, encoding="utf-8")
    return Home(tmp_path, capsys)


def aside(
    payload: bytes,
    reason: QuarantineReason = QuarantineReason.MALFORMED,
    *,
    minute: int = 0,
    topic: str = "gateway/scale/reading",
    device: str | None = "scale",
    source: SourceKind = SourceKind.MQTT,
) -> Quarantined:
    """A message that was set aside."""
    device_id = None if device is None else DeviceId(device)
    frame = RawFrame(device_id, source, topic, payload, AT + timedelta(minutes=minute))
    return Quarantined(frame, reason, "a sentence", False, 1)


# --- gateway quarantine -----------------------------------------------------------------------------------------------


def test_the_list_says_everything_but_the_payload(home: Home) -> None:
    """Number, when, whence, whose, why and how long; newest first; chosen by reason, source and device."""
    home.plant(
        aside(GOOD.encode()),
        aside(b"71.2 kg", QuarantineReason.IDENTITY_MISMATCH, minute=1, device=None),
        aside(b"\x00", minute=2, device="sensor", topic="2aa7", source=SourceKind.BLUETOOTH),
    )
    rows = home.objects("quarantine", "list")
    assert [3, 2, 1] == [row["number"] for row in rows]
    assert {
        "number": 2,
        "received_at": "2026-03-20T07:01:00+00:00",
        "source": "mqtt",
        "channel": "gateway/scale/reading",
        "reason": "identity_mismatch",
        "detail": "a sentence",
        "size": 7,
    } == rows[1]
    assert "71.2" not in json.dumps(rows)
    for arguments, numbers in (
        (("--reason", "identity_mismatch"), [2]),
        (("--source", "bluetooth"), [3]),
        (("--device", "scale"), [1]),
        (("--limit", "1"), [3]),
    ):
        assert numbers == [row["number"] for row in home.objects("quarantine", "list", *arguments)]


def test_a_replay_after_a_fix(home: Home) -> None:
    """What can be read now is stored for its owner and leaves the list; the rest stays, and the totals say so."""
    home.plant(aside(GOOD.encode()), aside(b"no", minute=1))
    first, second = home.objects("quarantine", "replay", "--all")
    assert ("read", 1) == (first["outcome"], first["added"])
    assert ("still", "malformed") == (second["outcome"], second["reason"])
    (reading,) = home.objects("readings")
    assert ("camille", "2026-03-20T07:00:00Z") == (reading["person"], reading["received_at"])
    assert [2] == [row["number"] for row in home.objects("quarantine", "list")]
    rows = home.objects("quarantine", "list", "--all-states")
    assert [(2, None), (1, "read again: 1 reading")] == [(row["number"], row.get("resolution")) for row in rows]
    assert "1 looked at: 0 resolved, 1 left; 0 new readings." in home.run("quarantine", "replay", "2")[2]
    assert [] == home.objects("quarantine", "replay", "--reason", "too_large")


def test_a_number_that_is_none(home: Home) -> None:
    """An unknown number is said, with status 2."""
    home.plant(aside(b"no"))
    for act in ("show", "replay"):
        status, lines, complaint = home.run("quarantine", act, "7")
        assert (2, []) == (status, lines)
        assert "under the number 7" in complaint


def test_showing_json_as_it_was_written(home: Home) -> None:
    """Set out line by line; every token stands as it came, also the digits of a number."""
    home.plant(aside(b'{"a":[1.50,{"b":"x:y,{"}],"empty":{},"n":null}'))
    _, lines, _ = home.run("quarantine", "show", "1")
    assert "number: 1" == lines[0]
    assert "retained: no" in lines
    shown = [line.removeprefix("  ") for line in lines[lines.index("payload:") + 1 :]]
    assert "x:y,{" in "".join(shown)
    assert json.loads(b'{"a":[1.50,{"b":"x:y,{"}],"empty":{},"n":null}') == json.loads("".join(shown))
    assert any("1.50" in line for line in shown)
    assert len(shown) > 5


@pytest.mark.parametrize(
    "payload",
    [
        b"\x1b[2J\x1b]0;owned\x07",
        "\u202egnp.exe".encode(),
        b'{"a":"\x1b[31m"}',
        '{"a":"\u202e\u2028"}'.encode(),
        b"\xff\xfe\x00",
        b"[" * 5000,
        bytes(70_000),
        b"",
    ],
    ids=["escape", "bidi", "json-escape", "json-bidi", "binary", "deep", "long", "empty"],
)
def test_nothing_of_a_payload_acts_on_the_terminal(home: Home, payload: bytes) -> None:
    """Whatever was received, what is printed is printable text, and not endless."""
    home.plant(aside(payload, topic="a\x1b[31mtopic"))
    status, lines, _ = home.run("quarantine", "show", "1")
    assert 0 == status
    assert all(line.isprintable() for line in lines)
    assert len("".join(lines)) < 60_000


@given(st.text() | st.binary().map(lambda octets: octets.decode("latin-1")))
def test_shown_text_is_printable_and_says_everything(text: str) -> None:
    """Nothing unprintable is left, and no two texts look the same."""
    shown = shown_text(text)
    assert shown.isprintable()
    assert text == shown.encode("latin-1", "backslashreplace").decode("unicode_escape")


# --- gateway intake replay ------------------------------------------------------------------------------------------


def log_line(payload: str = GOOD, **more: object) -> str:
    """One MQTT message of a log."""
    return json.dumps({"topic": "gateway/scale/reading", "payload": payload, "received_at": AT.isoformat()} | more)


def write_log(folder: Path, lines: Sequence[str]) -> str:
    """A log file."""
    path = folder / "log.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return str(path)


LOG = (
    log_line(),
    log_line(retain=True, qos=0),
    log_line(GOOD.replace("71.20", "71.40"), received_at="2026-03-20T08:30:00+01:00"),
    log_line(GOOD.replace("71.20", "7140")),
    log_line("online", topic="gateway/scale/status"),
    log_line(GOOD, topic="elsewhere"),
)


def test_each_line_is_told(home: Home) -> None:
    """Readings, duplicates, corrections, what is set aside and what is ignored, line by line; then the totals."""
    log = write_log(home.folder, LOG)
    *lines, totals = home.objects("intake", "replay", log, "--format", "json")
    assert ["readings", "duplicate", "readings", "quarantined", "ignored", "quarantined"] == [
        line["outcome"] for line in lines
    ]
    assert {
        "line": 3,
        "source": "mqtt",
        "where": "gateway/scale/reading",
        "outcome": "readings",
        "readings": 1,
        "metrics": ["body_mass"],
        "added": 0,
        "corrected": 1,
        "known": 0,
    } == lines[2]
    assert ("implausible", "malformed") == (lines[3]["reason"], lines[5]["reason"])
    assert {
        "totals": {
            "lines": 6,
            "readings": 3,
            "new": 1,
            "outcomes": {"readings": 2, "duplicate": 1, "quarantined": 2, "ignored": 1, "malformed": 0},
        }
    } == totals
    assert not (home.folder / "passerelle.db").exists()


def test_values_are_told_only_when_asked_for(home: Home) -> None:
    """Without --values nothing measured is on the terminal, in either format."""
    log = write_log(home.folder, LOG)
    for form in ("text", "json"):
        assert "71.2" not in "".join(home.run("intake", "replay", log, "--format", form)[1])
        assert "71.2" in "".join(home.run("intake", "replay", log, "--format", form, "--values")[1])


def test_the_text_for_people(home: Home) -> None:
    """One line each, and a sum."""
    _, lines, _ = home.run("intake", "replay", write_log(home.folder, LOG))
    assert "1  gateway/scale/reading  1 reading (body_mass): 1 new" == lines[0]
    assert "2  gateway/scale/reading  1 reading (body_mass): 1 known already" == lines[1]
    assert "5  gateway/scale/status  ignored: a device told about itself" == lines[4]
    assert "6 lines: 2 gave 1 new readings, 1 known already, 2 set aside, 1 ignored, 0 not of a log." == lines[-1]


def test_the_store_can_be_kept(home: Home) -> None:
    """A kept store is a database like any other, for its owner's eyes; an existing file is never touched."""
    log = write_log(home.folder, LOG)
    kept = home.folder / "passerelle.db"
    assert 0 == home.run("intake", "replay", log, "--keep", str(kept))[0]
    assert 0o600 == kept.stat().st_mode & 0o777
    assert ["camille"] == [line["person"] for line in home.objects("readings")]
    assert 2 == len(home.objects("quarantine", "list"))
    status, _, complaint = home.run("intake", "replay", log, "--keep", str(kept))
    assert 2 == status
    assert "exists already" in complaint


def test_without_a_configuration(home: Home) -> None:
    """The format is understood without any."""
    assert 0 == main(["intake", "replay", write_log(home.folder, LOG[:1])])
    assert "1 new" in home.capsys.readouterr().out


def test_lines_that_are_none_of_a_log(home: Home) -> None:
    """Each is named by its number, without its content; the others are fed; status 2."""
    log = write_log(home.folder, ["secret nonsense", log_line(), '{"topic":5}', ""])
    status, lines, complaint = home.run("intake", "replay", log)
    assert 2 == status
    assert "1 new" in lines[0]
    assert "line 1: not JSON" in complaint
    assert "line 3: topic is a text" in complaint
    assert "secret" not in complaint
    assert 2 == home.run("intake", "replay", str(home.folder / "none.jsonl"))[0]


def test_a_dialect_in_a_log(home: Home) -> None:
    """A captured weigh-in of another program is one weigh-in: told once, its impedance with it."""
    (home.folder / "hub.toml").write_text(
        CONFIG.replace('name = "Balance"', 'name = "Balance"\naddress = "5C:CA:D3:70:D4:A2"')
        + '[mqtt]\n[[mqtt.dialects]]\ndialect = "theengs"\n',
        encoding="utf-8",
    )
    captured = Path(__file__).parents[1] / "fixtures" / "mqtt" / "theengs" / "weigh_in.json"
    *lines, totals = home.objects("intake", "replay", str(captured), "--format", "json")
    assert ["body_mass"] == lines[0]["metrics"]
    assert ["readings", "ignored", "readings", "ignored", "ignored"] == [line["outcome"] for line in lines]
    assert 2 == totals["totals"]["new"]


def upload(*entries: dict[str, object], path: str = "/api/v1/entries", **headers: str) -> str:
    """An upload of a phone app."""
    return json.dumps(
        {
            "source": "http",
            "method": "POST",
            "path": path,
            "headers": {"content-type": "application/json"} | headers,
            "body": json.dumps(entries),
            "received_at": (AT + timedelta(minutes=1)).isoformat(),
        }
    )


def test_requests_are_answered_by_the_real_listener(home: Home) -> None:
    """Each visitor of the log is let in as a device of its own; one who shows nothing is turned away; no secret and no
    value is told."""
    entry = {"type": "sgv", "sgv": 123, "date": int(AT.timestamp() * 1000), "direction": "Flat", "device": "xDrip"}
    secret = {"api-secret": "a" * 40}
    log = write_log(
        home.folder,
        [
            upload(entry, {"type": "sgv", "sgv": "x", "date": int(AT.timestamp() * 1000)}, **secret),
            upload(entry, **secret),
            upload(entry, path="/api/v1/entries.json?token=phone-0123456789abcdef"),
            upload(entry),
            json.dumps({"source": "http", "method": "GET", "path": "/api/v1/status.json"}),
        ],
    )
    kept = str(home.folder / "passerelle.db")
    *lines, _ = home.objects("intake", "replay", log, "--format", "json", "--keep", kept)
    assert ["readings", "duplicate", "readings", "ignored", "ignored"] == [line["outcome"] for line in lines]
    assert ["malformed", None, None, None, None] == [line.get("reason") for line in lines]
    assert [200, 200, 200, 401, 200] == [int(line["note"].removeprefix("answered ")) for line in lines]
    assert "POST /api/v1/entries.json" == lines[2]["where"]
    told = json.dumps(lines)
    assert not any(word in told for word in ("aaaa", "0123456789abcdef", "123.", '"123"'))
    stored = home.objects("readings")
    assert {"nightscout-1", "nightscout-2"} == {line["device"] for line in stored}
    assert {"2026-03-20T07:01:00Z"} == {line["received_at"] for line in stored}
    (row,) = home.objects("quarantine", "list")
    assert ("http", "nightscout/v1/entries", "nightscout-1") == (row["source"], row["channel"], row["device"])
    (again,) = home.objects("quarantine", "replay", "--all")
    assert ("still", "malformed") == (again["outcome"], again["reason"])


def test_an_entry_that_is_understood_today(home: Home) -> None:
    """What an older release refused of an upload becomes the reading of that upload."""
    entry = {"type": "sgv", "sgv": 123, "date": int(AT.timestamp() * 1000), "direction": "Flat"}
    frame = RawFrame(
        DeviceId("sensor"),
        SourceKind.HTTP,
        "nightscout/v1/entries",
        json.dumps(entry).encode(),
        AT + timedelta(minutes=1),
    )
    home.plant(Quarantined(frame, QuarantineReason.MALFORMED, "an older release"))
    (again,) = home.objects("quarantine", "replay", "--all")
    assert ("read", 1) == (again["outcome"], again["added"])
    (stored,) = home.objects("readings")
    assert (123, "2026-03-20T07:00:00Z", "camille") == (stored["value"], stored["effective_at"], stored["person"])


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ({"topic": "t", "payload": "é"}, LoggedMessage("t", "é".encode())),
        (
            {"topic": "t", "payload_base64": base64.b64encode(b"\xff\x00").decode(), "qos": 0, "retain": 1},
            LoggedMessage("t", b"\xff\x00", True, 0),
        ),
        (
            {"tst": "2026-03-20T08:00:00.000000+0100", "topic": "t", "qos": 1, "retain": 0, "payload": "x"},
            LoggedMessage("t", b"x", False, 1, AT),
        ),
        (
            {"tst": "2026-03-20T12:30:00.000000Z+0530", "topic": "t", "qos": 0, "payloadlen": 1, "payload": "x"},
            LoggedMessage("t", b"x", False, 0, AT),
        ),
        (
            {"source": "http", "method": "put", "path": "/a", "headers": {"api-secret": "s"}, "body": "b"},
            LoggedRequest("PUT", "/a", {"api-secret": "s"}, b"b"),
        ),
        ({"source": "http", "method": "GET", "path": "/a"}, LoggedRequest("GET", "/a", {}, b"")),
    ],
)
def test_a_line_of_a_log(line: dict[str, object], expected: object) -> None:
    """Text, base64, what mosquitto_sub writes with -F %j, requests."""
    assert expected == parse_log_line(json.dumps(line).encode())


@pytest.mark.parametrize(
    "line",
    [
        {},
        {"topic": "t"},
        {"topic": "", "payload": "x"},
        {"topic": "t", "payload": 5},
        {"topic": "t", "payload": "x", "payload_base64": "eA=="},
        {"topic": "t", "payload_base64": "%"},
        {"topic": "t", "payload": "x", "qos": 3},
        {"topic": "t", "payload": "x", "qos": True},
        {"topic": "t", "payload": "x", "retain": "yes"},
        {"topic": "t", "payload": "x", "received_at": "2026-03-20T08:00:00"},
        {"topic": "t", "payload": "x", "received_at": 5},
        {"source": "serial", "topic": "t", "payload": "x"},
        {"source": "http", "method": "BREW", "path": "/"},
        {"source": "http", "method": "GET", "path": "a"},
        {"source": "http", "method": "GET", "path": "/", "headers": {"a": 5}},
    ],
    ids=str,
)
def test_what_is_no_line_of_a_log(line: dict[str, object]) -> None:
    """Each is refused in words."""
    with pytest.raises(BadLine):
        parse_log_line(json.dumps(line).encode())


_OBJECTS = st.dictionaries(
    st.sampled_from(["topic", "payload", "payload_base64", "tst", "source", "path", "body"]), st.text() | st.integers()
)


@given(st.binary(max_size=80) | _OBJECTS.map(lambda document: json.dumps(document).encode()))
def test_any_line_is_one_or_refused(line: bytes) -> None:
    """No other way out."""
    with suppress(BadLine):
        parse_log_line(line)


async def test_what_mosquitto_sub_writes_is_a_log(tmp_path: Path) -> None:
    """A line of `mosquitto_sub -F %j`, from a real broker, is understood with all that it says."""
    async with run_mosquitto(tmp_path) as broker:
        where = ("-h", "127.0.0.1", "-p", str(broker.port), "-t", "gateway/scale/reading", "-q", "1")
        sent = await asyncio.create_subprocess_exec("mosquitto_pub", *where, "-r", "-m", GOOD)
        assert 0 == await sent.wait()
        heard = await asyncio.create_subprocess_exec(
            "mosquitto_sub", *where, "-C", "1", "-W", "20", "-F", "%j", stdout=subprocess.PIPE
        )
        line, _ = await heard.communicate()
    logged = parse_log_line(line)
    assert isinstance(logged, LoggedMessage)
    assert ("gateway/scale/reading", GOOD.encode(), True, 1) == (
        logged.topic,
        logged.payload,
        logged.is_retained,
        logged.qos,
    )
    assert logged.received_at is not None
    assert timedelta(minutes=5) > abs(SystemClock().now() - logged.received_at)


# --- gateway gaps ---------------------------------------------------------------------------------------------------


def result(at: datetime) -> Reading:
    """One result of the sensor."""
    return Reading(
        device_id=DeviceId("sensor"),
        epoch=0,
        record_key=f"{at:%Y-%m-%dT%H:%M:%S}",
        metric=Metric.GLUCOSE_INTERSTITIAL,
        value=Decimal(104),
        effective_at=at,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=at,
        provenance=Provenance(SourceKind.BLUETOOTH, "test"),
    )


def test_what_is_missing_and_why(home: Home) -> None:
    """A hole with its reason from the ledger; the one that is still open ends now; days choose."""
    start = AT - timedelta(hours=6)

    async def work(store: SqliteStore) -> None:
        steps = [n for n in range(60) if not 20 <= n <= 31]
        await store.readings.commit(Batch(readings=tuple(result(start + timedelta(minutes=5 * n)) for n in steps)))
        began, ended = start + timedelta(minutes=96), start + timedelta(minutes=159)
        await store.ledger.record(Outage("gateway", OutageReason.GATEWAY_OFF, began, ended))

    home.store(work)
    days = ("--from", "2026-03-19", "--to", "2026-03-20")
    first, second = home.objects("gaps", *days, "--format", "json")
    assert {
        "device": "sensor",
        "metric": "glucose_interstitial",
        "start": "2026-03-20T02:35:00+00:00",
        "end": "2026-03-20T03:40:00+00:00",
        "reason": "gateway_off",
        "expected": 12,
        "missing": 12,
    } == first
    assert (True, "unknown") == (second["is_open"], second["reason"])
    _, lines, _ = home.run("gaps", *days)
    assert "2026-03-20 03:35 to 2026-03-20 04:40  sensor  12 readings  the gateway was not running" == lines[0]
    assert [] == home.objects("gaps", *days, "--format", "json", "--device", "scale")
    assert [] == home.objects("gaps", "--from", "2026-03-01", "--to", "2026-03-10", "--format", "json")
    assert ["Nothing is missing that the gateway knows of."] == home.run("gaps", *days, "--person", "camille")[1]
