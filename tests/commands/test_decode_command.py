"""`gateway decode`: its output is a contract."""

from __future__ import annotations

import contextlib
import io
import json
import subprocess
import sys
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.cli import main
from gateway.devices.describe import CHARACTERISTICS, SERVICE_DATA_FORMATS

GLUCOSE = "0b0100ea07030107000000006450b011"
WEIGHT = "0046 37"


def _run(arguments: list[str], stdin: bytes = b"") -> tuple[int, list[dict[str, Any]], str]:
    """Exit status, one object per line of output, standard error."""
    out, err = io.StringIO(), io.StringIO()
    previous, sys.stdin = sys.stdin, io.TextIOWrapper(io.BytesIO(stdin), encoding="utf-8")
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = main(["decode", *arguments])
    finally:
        sys.stdin = previous
    return status, [json.loads(line, parse_float=Decimal) for line in out.getvalue().splitlines()], err.getvalue()


@pytest.mark.parametrize("uuid", ["2a9d", "0x2A9D", "00002a9d-0000-1000-8000-00805f9b34fb"])
@pytest.mark.parametrize("payload", ["004637", "00:46:37", "0x004637", "00 46 37", "00-46-37", " 00_46_37\n"])
def test_a_weight(uuid: str, payload: str) -> None:
    """Any usual way to write a UUID and bytes gives the same exact object."""
    status, objects, err = _run(["--characteristic", uuid, payload])
    assert (0, "") == (status, err)
    assert [Decimal("70.75")] == [found["mass_kg"] for found in objects]
    assert ["2a9d"] == [found["characteristic"] for found in objects]


def test_one_object_per_payload() -> None:
    """Each HEX gives one line, in order; a bad one gives an error object in its place and status 2."""
    status, objects, err = _run(["--characteristic", "2a9d", "004637", "00", "zz", "004737"])
    assert (2, "") == (status, err)
    assert [None, "malformed", "malformed", None] == [found.get("error") for found in objects]
    assert all(set(found) == {"error", "reason"} for found in objects if "error" in found)
    assert [Decimal("70.75"), Decimal("70.755")] == [found["mass_kg"] for found in objects if "error" not in found]


def test_lines_of_standard_input() -> None:
    """`-` reads lines; blank ones are passed over, and bytes that are no text are one malformed line."""
    status, objects, err = _run(["--characteristic", "2a9d", "-"], b"004637\n\n\xff\xfe\n00 46 37")
    assert (2, "") == (status, err)
    assert [None, "malformed", None] == [found.get("error") for found in objects]


def test_unknown_uuids() -> None:
    """A UUID without decoder ends with status 2 and says on standard error which ones there are."""
    for option, uuid, known in (("--characteristic", "ffff", "2a18"), ("--service-data", "../x", "181d")):
        status, objects, err = _run([option, uuid, "00"])
        assert (2, []) == (status, objects)
        assert known in err
        assert err.startswith("gateway decode: ")


def test_service_data() -> None:
    """The advertisement of a Xiaomi scale is described: 70.75 kg, steady."""
    status, objects, _ = _run(["--service-data", "181d", "22 46 37 ea 07 03 01 07 00 00"])
    assert 0 == status
    assert [Decimal("70.75")] == [found["mass_kg"] for found in objects]


@given(st.sampled_from(sorted(CHARACTERISTICS)), st.binary(max_size=40), st.sampled_from([[], ["--crc"], ["--no-crc"]]))
def test_any_bytes_of_a_characteristic(uuid: str, payload: bytes, crc: list[str]) -> None:
    """No bytes can make it do anything but describe or refuse them, as one JSON object on one line."""
    status, objects, err = _run(["--characteristic", uuid, *crc, payload.hex()])
    assert (1, "") == (len(objects), err)
    assert (2 if objects[0].get("error") == "malformed" else 0) == status


@given(st.sampled_from(sorted(SERVICE_DATA_FORMATS)), st.binary(max_size=24))
def test_any_bytes_of_service_data(uuid: str, payload: bytes) -> None:
    """The same for advertisements."""
    status, objects, err = _run(["--service-data", uuid, payload.hex()])
    assert (1, "") == (len(objects), err)
    assert (2 if objects[0].get("error") == "malformed" else 0) == status


@given(st.text(max_size=30).filter(lambda text: not text.startswith("-")))
def test_any_text(text: str) -> None:
    """What is no hex at all is malformed, never a traceback."""
    status, objects, _ = _run(["--characteristic", "2a9d", text])
    assert 1 == len(objects)
    assert status in {0, 2}


@given(st.lists(st.binary(max_size=20), max_size=5))
def test_any_standard_input(lines: list[bytes]) -> None:
    """Any stream of bytes gives one object per line that is not blank."""
    stream = b"\n".join(lines)
    expected = sum(1 for line in io.BytesIO(stream) if line.strip())
    status, objects, _ = _run(["--characteristic", "2a9d", "-"], stream)
    assert expected == len(objects)
    assert status in {0, 2}


@pytest.mark.parametrize(
    ("payload", "stdin", "status"), [("004637", b"", 0), ("ff", b"", 2), ("-", b"\xff\xfe\x00\n004637\n", 2)]
)
def test_as_a_process(payload: str, stdin: bytes, status: int) -> None:
    """The installed command behaves as the function: objects on standard output, its status, no traceback."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from gateway.cli import main; sys.exit(main())", "decode",
         "--characteristic", "2a9d", payload],
        input=stdin, capture_output=True, check=False, timeout=60,
    )  # fmt: skip
    assert (status, b"") == (done.returncode, done.stderr)
    assert all(isinstance(json.loads(line), dict) for line in done.stdout.splitlines())
