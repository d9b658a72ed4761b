"""What the sandbox space holds: in memory, and line by line in a file when it is given one."""

from __future__ import annotations

import os
import uuid
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

import simplejson
import structlog

from gateway.fhir.r4 import Device, FhirError, Meta, Observation, Reference, from_json_as, parse_datetime, to_json

__all__ = ["Applied", "SpaceStore", "effective_at", "subject_of"]

_log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Applied:
    """What one transaction left behind.

    Attributes:
        device: the stored device, None when the transaction had none.
        device_is_new: False when an equal identifier was known already.
    """

    observation: Observation
    device: Device | None
    device_is_new: bool


def subject_of(observation: Observation) -> tuple[str, str]:
    """(authority OID without its prefix, patient id) of the logical subject; empty texts when it has none."""
    identifier = observation.subject.identifier if observation.subject is not None else None
    if identifier is None:
        return "", ""
    return (identifier.system or "").removeprefix("urn:oid:"), identifier.value or ""


class SpaceStore:
    """Observations in order of arrival and devices by identifier; one JSON line per transaction.

    A last line torn by a crash is cut off on reading: its transaction was never answered.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._path = path
        self._observations: list[Observation] = []
        self._devices: dict[str, Device] = {}
        self._identifiers: dict[tuple[str, str], str] = {}
        if path is not None and path.exists():
            self._load(path)

    @property
    def observations(self) -> tuple[Observation, ...]:
        """Everything stored, oldest arrival first."""
        return tuple(self._observations)

    @property
    def devices(self) -> tuple[Device, ...]:
        """Every stored device."""
        return tuple(self._devices.values())

    def device(self, device_id: str) -> Device | None:
        """The device of that id."""
        return self._devices.get(device_id)

    def apply(self, observation: Observation, device: Device | None, *, source: str, at: datetime) -> Applied:
        """Store one transaction.

        Args:
            observation: checked; its `meta.source` is filled with `source` when absent.
            device: its device; one with a known identifier is not stored again and the reference follows the known one.
            source: the solution's OID as a URI.
            at: aware, UTC.
        """
        known_id = next((self._identifiers[key] for key in _keys(device) if key in self._identifiers), None)
        kept = device if known_id is None else self._devices[known_id]
        is_new = device is not None and known_id is None
        meta = observation.meta or Meta()
        stored = observation.model_copy(
            update={
                "id": str(uuid.uuid4()),
                "meta": meta.model_copy(
                    update={
                        "source": meta.source or source,
                        "versionId": "1",
                        "lastUpdated": at.isoformat(timespec="seconds"),
                    }
                ),
                "device": observation.device if kept is None else Reference(reference=f"Device/{kept.id}"),
            }
        )
        self._write(stored, kept if is_new else None)
        self._remember(stored, kept if is_new else None)
        return Applied(stored, kept, is_new)

    def _remember(self, observation: Observation, device: Device | None) -> None:
        self._observations.append(observation)
        if device is not None and device.id is not None:
            self._devices[device.id] = device
            for key in _keys(device):
                self._identifiers[key] = device.id

    def _write(self, observation: Observation, device: Device | None) -> None:
        if self._path is None:
            return
        parts = [to_json(observation), "null" if device is None else to_json(device)]
        with self._path.open("a", encoding="utf-8") as file:
            file.write(f"[{','.join(parts)}]\n")
            file.flush()
            os.fsync(file.fileno())

    def _load(self, path: Path) -> None:
        whole = 0
        with path.open("rb") as file:
            for line in file:
                if not line.endswith(b"\n"):
                    break
                try:
                    first, second = simplejson.loads(line, use_decimal=True)
                    observation = from_json_as(Observation, simplejson.dumps(first, use_decimal=True))
                    device = (
                        None if second is None else from_json_as(Device, simplejson.dumps(second, use_decimal=True))
                    )
                except (ValueError, TypeError, FhirError):
                    _log.warning("space.line_skipped", path=str(path))
                else:
                    self._remember(observation, device)
                whole += len(line)
        if whole < path.stat().st_size:
            os.truncate(path, whole)


def effective_at(observation: Observation) -> datetime | None:
    """The instant that the observation states, UTC; None for a period or a partial date."""
    return parse_datetime(observation.effectiveDateTime) if observation.effectiveDateTime is not None else None


def _keys(device: Device | None) -> list[tuple[str, str]]:
    """The system identifiers by which a device is recognised."""
    if device is None:
        return []
    return [
        (identifier.system, identifier.value)
        for identifier in device.identifier
        if identifier.system is not None and identifier.system.startswith("urn:oid:") and identifier.value is not None
    ]
