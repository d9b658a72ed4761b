"""What holds for every dialect: no message breaks it, and what it says can be stored."""

from __future__ import annotations

import json
import re
from datetime import UTC, datetime

import pytest
from dialect_kit import FIXTURES, messages
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.devices.dialects import DIALECTS, Dialect, MappedValue, Mapping, Message, Said, mapping_dialect
from gateway.devices.dialects.ble_scale_sync import BLE_SCALE_SYNC
from gateway.devices.dialects.mapping import TIME_FORMATS
from gateway.devices.dialects.openscale_sync import OPENSCALE_SYNC
from gateway.devices.dialects.tasmota import TASMOTA
from gateway.devices.dialects.xiaomi_mi_scale import XIAOMI_MI_SCALE
from gateway.model import DeviceId, Metric, Provenance, SourceKind, Unit
from gateway.normalise.contact import Contact
from gateway.normalise.reported import Parsed, readings_of

RECEIVED = datetime(2026, 3, 2, 12, tzinfo=UTC)
CONTACT = Contact(DeviceId("scale"), UTC, RECEIVED, SourceKind.MQTT, is_live=True)
PROVENANCE = Provenance(SourceKind.MQTT, "mqtt.x")
MAPPINGS = [
    mapping_dialect(
        Mapping(
            "a/b",
            (
                MappedValue(Metric.BODY_MASS, path, None if unit_path else Unit.KG, unit_path),
                MappedValue(Metric.IMPEDANCE, "impedance", Unit.OHM),
            ),
            time_path,
            time_format,
            record_path,
            "who",
        )
    )
    for path, unit_path in (("", None), ("weight", "unit"), ("values.0", None))
    for time_path in (None, "date")
    for time_format in TIME_FORMATS
    for record_path in (None, "id")
]
EVERY = (*DIALECTS, *MAPPINGS)
LOGS = sorted(path.relative_to(FIXTURES).as_posix() for path in FIXTURES.rglob("*.jsonl"))
CAPTURED = [message for name in LOGS for message in messages(name)]
TOPICS = sorted({message.topic for message in CAPTURED})

_KEYS = st.sampled_from(sorted({key for message in CAPTURED for key in re.findall(rb'"(\w+)":', message.payload)})).map(
    bytes.decode
)
_ATOMS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(10**30), 10**30),
    st.floats(),
    st.text(max_size=12),
    st.sampled_from(
        ["71,3", "1e400", "kg", "lbs", "WAIST", "2026-03-01T07:12+0100", "9999-12-31T23:59-2359", "nan", "1"]
    ),
    st.sampled_from(["0001-01-01T00:00:00+23:59", "1000-01-01T00:00+0100", "2999-12-31T23:59:59.9-00:00"]),
)
_VALUES = st.recursive(
    _ATOMS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(_KEYS, inner, max_size=6), max_leaves=20
)
_PAYLOADS = st.one_of(
    st.binary(max_size=200),
    _VALUES.map(lambda value: json.dumps(value).encode()),
    st.tuples(st.sampled_from(CAPTURED), st.integers(0, 2000), st.binary(max_size=3)).map(
        lambda cut: cut[0].payload[: cut[1]] + cut[2] + cut[0].payload[cut[1] :]
    ),
    st.sampled_from([b"[" * 10_000, b'{"a":1,"a":2}', b'{"date":NaN}', b"\xff", b"1" * 5000, b'"\\ud800"']),
)


@given(st.sampled_from(TOPICS) | st.text(max_size=30), _PAYLOADS, st.booleans())
@settings(max_examples=300)
def test_any_message_gives_an_answer(topic: str, payload: bytes, is_retained: bool) -> None:
    """Whatever the bytes and the topic, every dialect answers, and what it says becomes readings."""
    for dialect in EVERY:
        said = dialect.decode(Message(topic, payload, is_retained))
        assert isinstance(said, Said)
        decoded = readings_of(Parsed(said.records, said.problems), CONTACT, PROVENANCE)
        assert all(re.fullmatch(r"[!-~]{1,128}", reading.record_key) for reading in decoded.readings)
        for measurements in (*(one.measurements for one in said.records), *(one.measurements for one in said.untimed)):
            assert measurements
            assert len({one.metric for one in measurements}) == len(measurements)
        assert re.fullmatch(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", dialect.address_of(topic) or "00:00:00:00:00:00")


@pytest.mark.parametrize(
    "dialect", [BLE_SCALE_SYNC, OPENSCALE_SYNC, TASMOTA, XIAOMI_MI_SCALE], ids=lambda dialect: dialect.name
)
def test_every_dialect_has_captured_messages(dialect: Dialect) -> None:
    """A log under tests/fixtures/mqtt/<name>, on the topics that it listens to by default, of which something comes."""
    logs = [name for name in LOGS if name.startswith(f"{dialect.name}/")]
    heard = [message for name in logs for message in messages(name)]
    assert any(said.records or said.untimed or said.adverts for said in map(dialect.decode, heard))
    filters = [re.compile(topic.replace("+", "[^/]+").replace("/#", "(/.*)?")) for topic in dialect.topics]
    assert any(one.fullmatch(message.topic) for one in filters for message in heard)
    assert re.fullmatch(r"[a-z0-9_]+", dialect.name)


def test_names_of_dialects_differ() -> None:
    """The configuration means one of them."""
    assert len(DIALECTS) == len({dialect.name for dialect in DIALECTS})
