"""Log lines: nothing that identifies or describes a person, nothing that a device could forge."""

from __future__ import annotations

import json

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from gateway.logs import FORBIDDEN_FIELDS, configure_logs, drop_private_fields


def _lines(capsys: pytest.CaptureFixture[str]) -> list[str]:
    captured = capsys.readouterr()
    assert "" == captured.out
    return captured.err.splitlines()


@pytest.mark.parametrize("field", sorted(FORBIDDEN_FIELDS))
@pytest.mark.parametrize("style", ["console", "json"])
def test_private_fields_never_appear(field: str, style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A field with a forbidden name keeps its name and loses its content, at the top and inside other fields."""
    configure_logs("json" if style == "json" else "console", "debug")
    log = structlog.get_logger()
    log.info("test.done", **{field: "zebra-4711"})
    log.info("test.done", detail={field: "zebra-4711"}, steps=[{field: 4711}])
    lines = _lines(capsys)
    assert [2, 2] == [len(lines), sum("(withheld)" in line for line in lines)]
    assert not any("4711" in line for line in lines)


def test_the_forbidden_names_cover_what_matters() -> None:
    """Values, names, addresses, payloads and secrets are forbidden by name."""
    assert FORBIDDEN_FIELDS >= {
        "value", "glucose_mg_dl", "mass_kg", "display_name", "patient_id", "address", "payload", "resource", "token",
        "access_token", "client_secret", "password",
    }  # fmt: skip


@pytest.mark.parametrize("style", ["console", "json"])
def test_a_device_cannot_forge_a_line(style: str, capsys: pytest.CaptureFixture[str]) -> None:
    """Line ends and terminal codes in a device's name are shown as escapes, on one line."""
    configure_logs("json" if style == "json" else "console", "info")
    structlog.get_logger().info("device.heard", model="x\n2026 [error] forged\x1b[31m\r\x00\u2028\u202e")
    (line,) = _lines(capsys)
    assert not [c for c in line if not c.isprintable()]
    assert "forged" in line


@given(st.text(), st.sampled_from(["model", "topic", "reason"]))
def test_text_from_outside_is_printable_and_short(text: str, field: str) -> None:
    """Any text becomes at most 64 printable characters; short printable text is untouched."""
    shown = drop_private_fields(None, "info", {"event": "test.done", field: text})[field]
    assert shown.isprintable()
    assert 64 >= len(shown)
    if text.isprintable() and len(text) <= 64:
        assert text == shown


def test_json_lines_are_json(capsys: pytest.CaptureFixture[str]) -> None:
    """A machine finds event, level, time and fields in each line."""
    configure_logs("json", "info")
    structlog.get_logger().warning("ble.records_fetched", device="meter", count=3)
    (line,) = _lines(capsys)
    data = json.loads(line)
    assert data.pop("timestamp").endswith("Z")
    assert {"event": "ble.records_fetched", "level": "warning", "device": "meter", "count": 3} == data


def test_the_level_is_respected(capsys: pytest.CaptureFixture[str]) -> None:
    """Below the configured level nothing is written."""
    configure_logs("console", "warning")
    log = structlog.get_logger()
    log.info("test.quiet")
    log.warning("test.loud")
    assert ["test.loud" in line for line in _lines(capsys)] == [True]


def _fail_with(glucose_mg_dl: int) -> None:
    if glucose_mg_dl > 0:
        raise LookupError("no such record")


def test_failures_are_shown_without_local_variables(capsys: pytest.CaptureFixture[str]) -> None:
    """A traceback is part of the line and holds code, never the contents of variables."""
    configure_logs("json", "info")
    try:
        _fail_with(4700 + 11)
    except LookupError:
        structlog.get_logger().error("worker.failed", worker="radio", exc_info=True)
    (line,) = _lines(capsys)
    assert "LookupError: no such record" in json.loads(line)["exception"]
    assert "4711" not in line
