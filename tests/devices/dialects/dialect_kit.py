"""What the tests of the dialects share."""

from __future__ import annotations

import base64
import json
from pathlib import Path

from gateway.devices.dialects import Message, Said
from gateway.devices.dialects.shape import Untimed
from gateway.model import Metric
from gateway.normalise.reported import ReportedMeasurement, ReportedRecord

__all__ = ["FIXTURES", "message", "messages", "numbers", "only_record", "only_untimed"]

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures" / "mqtt"


def messages(name: str) -> list[Message]:
    """The messages of a captured log."""
    found = []
    for line in (FIXTURES / name).read_text(encoding="utf-8").splitlines():
        row = json.loads(line)
        payload = base64.b64decode(row["payload_base64"]) if "payload_base64" in row else row["payload"].encode()
        found.append(Message(row["topic"], payload, row["retain"], row["qos"]))
    return found


def message(topic: str, payload: object) -> Message:
    """One message: bytes as they are, anything else as JSON."""
    return Message(topic, payload if isinstance(payload, bytes) else json.dumps(payload).encode())


def numbers(said: tuple[ReportedMeasurement, ...]) -> dict[Metric, str]:
    """Number and unit by metric."""
    return {one.metric: f"{one.number} {one.unit}" for one in said}


def only_record(said: Said) -> ReportedRecord:
    """The one record of a message that says nothing else."""
    (record,) = said.records
    assert said == Said((record,), claims=said.claims)
    return record


def only_untimed(said: Said) -> Untimed:
    """The one nameless weigh-in of a message that says nothing else."""
    (untimed,) = said.untimed
    assert said == Said(untimed=(untimed,), claims=said.claims)
    return untimed
