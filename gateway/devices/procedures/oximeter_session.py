"""Reading a pulse oximeter: service 1822 with its stored spot checks, the one of now, or a stream.

    subscribe, read the features
    it stores spot checks -> ask the control point for all of them (it can select none) -> until it says that it is done
    listen: a spot check of now, or the stream for as long as the finger is in it

The control point of this service knows "all records" only, and nothing is deleted, so that a memory comes whole each
time. The checkpoint holds a digest of each record that is durable; what is known is passed over. Whether it was told
from the memory or live, a spot check has the same digest: of time stamp and values, not of its status.

Source: Bluetooth Pulse Oximeter Profile 1.0.1; Pulse Oximeter Service 1.0.1, Record Access Control Point.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Mapping
from typing import Final

from gateway.devices import racp
from gateway.devices.procedures.requests import (
    Close,
    Frame,
    Keep,
    Mark,
    Outcome,
    Patience,
    Read,
    Request,
    Spoiled,
    Subscribe,
    VitalSample,
    Write,
)
from gateway.devices.pulse_oximeter import (
    PlxFeatures,
    PlxSpotCheck,
    parse_plx_continuous_measurement,
    parse_plx_features,
    parse_plx_spot_check,
)
from gateway.devices.racp import RacpCount, RacpOpCode, RacpResponseCode, RacpResult
from gateway.errors import MalformedFrame

__all__ = ["OXIMETER_CHECKPOINT", "OximeterSession"]

OXIMETER_CHECKPOINT: Final = "oximeter.spot_checks"
_SPOT: Final = "2a5e"
_CONTINUOUS: Final = "2a5f"
_FEATURES: Final = "2a60"
_RACP: Final = "2a52"
_IN_PROGRESS: Final = frozenset({0xFE, 0x80})
_BUSY: Final = frozenset({RacpResponseCode.PROCEDURE_NOT_COMPLETED, RacpResponseCode.SERVER_BUSY})
_DIGEST_DIGITS: Final = 12
_MOST_KNOWN: Final = 4096
_MOST_SPOILED: Final = 8


class _Step(enum.Enum):
    SUBSCRIBING = enum.auto()
    REPORTING = enum.auto()
    ABORTING = enum.auto()
    LISTENING = enum.auto()
    DONE = enum.auto()


class OximeterSession:
    """One connection to an oximeter.

    Args:
        state: the last durable checkpoint `oximeter.spot_checks`, or None.
    """

    def __init__(self, state: Mapping[str, str | int | bool | None] | None = None) -> None:
        self._durable = _known(state)
        self._told: dict[str, None] = {}
        self._step = _Step.SUBSCRIBING
        self._features: PlxFeatures | None = None
        self._missing: set[str] = set()
        self._streams = False
        self._has_spoken = False
        self._is_memory_whole = False
        self._spoiled = 0

    @property
    def is_done(self) -> bool:
        """Whether the contact is over."""
        return self._step is _Step.DONE

    @property
    def patience(self) -> Patience:
        """An answer or a stream may pause; without either a few seconds of quiet are the end."""
        if self._step is not _Step.LISTENING:
            return Patience.ANSWER
        return Patience.STREAM if self._streams else Patience.QUIET

    def start(self) -> list[Request]:
        """Subscribe before anything is asked."""
        return [Subscribe(_SPOT), Subscribe(_CONTINUOUS), Subscribe(_RACP), Read(_FEATURES)]

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """The features say whether there is a memory to ask for."""
        if char != _FEATURES or self._step is not _Step.SUBSCRIBING:
            return []
        try:
            self._features = parse_plx_features(data)
        except MalformedFrame:
            self._features = None
        return self._begin()

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A spot check, a sample of the stream, or the answer of the control point."""
        if self._step is _Step.DONE:
            return []
        self._has_spoken = True
        frame = Frame(char, data)
        try:
            if char == _SPOT:
                return self._take_spot(parse_plx_spot_check(data), frame)
            if char == _CONTINUOUS:
                self._streams = True
                measurement = parse_plx_continuous_measurement(data)
                return [Keep((VitalSample(measurement, (frame,), features=self._features),), is_told_once=True)]
            if char == _RACP:
                return self._on_answer(racp.parse_racp_response(data))
        except MalformedFrame as error:
            self._spoiled += 1
            if self._spoiled <= _MOST_SPOILED:
                return [Keep(spoiled=(Spoiled(frame, str(error)),), is_told_once=True)]
        return []

    def on_kept(self) -> list[Request]:
        """The next one comes on its own."""
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """It may lack a memory, and one of the two ways to measure."""
        if self._step is _Step.DONE:
            return []
        if char == _RACP and self._step is _Step.REPORTING:
            return self._give_up(Outcome.RETRY_LATER if att_code in _IN_PROGRESS else None, att_code)
        if char == _RACP and self._step is _Step.ABORTING:
            return self._close(Outcome.SILENT, "no answer")
        self._missing.add(char)
        if {_SPOT, _CONTINUOUS} <= self._missing:
            self._step = _Step.DONE
            return [Close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")]
        return self._begin() if char == _FEATURES and self._step is _Step.SUBSCRIBING else []

    def on_silence(self) -> list[Request]:
        """Quiet is the end, but in the middle of a report it is a device that has died."""
        match self._step:
            case _Step.LISTENING:
                return self._close(Outcome.COMPLETE)
            case _Step.REPORTING:
                self._step = _Step.ABORTING
                return [Write(_RACP, racp.abort())]
            case _Step.DONE:
                return []
            case _:
                return self._close(Outcome.SILENT, "no answer")

    def on_link_lost(self) -> list[Request]:
        """An oximeter hangs up when a spot check is told; in the middle of a report or a stream it has more to tell."""
        if self._step is _Step.DONE:
            return []
        is_whole = self._step is _Step.LISTENING and self._has_spoken and not self._streams
        self._step = _Step.DONE
        return [*self._remember(), *([Close(Outcome.COMPLETE)] if is_whole else [])]

    def _begin(self) -> list[Request]:
        has_memory = self._features is None or "spot_check_storage" in self._features.supported
        if not has_memory or not self._missing.isdisjoint({_RACP, _SPOT}):
            self._step = _Step.LISTENING
            return []
        self._step = _Step.REPORTING
        return [Write(_RACP, racp.report_all())]

    def _take_spot(self, check: PlxSpotCheck, frame: Frame) -> list[Request]:
        if check.is_time_sent:  # without one, two equal results are two results
            digest = _digest(frame.payload)
            is_known = digest in self._durable or digest in self._told
            self._told[digest] = None
            if is_known:
                return []
        return [Keep((VitalSample(check, (frame,), features=self._features),), is_told_once=True)]

    def _on_answer(self, answer: RacpCount | RacpResult) -> list[Request]:
        if not isinstance(answer, RacpResult):
            return []
        if self._step is _Step.ABORTING:
            return self._close(Outcome.SILENT, "aborted")
        if self._step is not _Step.REPORTING or answer.request != RacpOpCode.REPORT_RECORDS:
            return []
        if answer.code in _BUSY:
            return self._close(Outcome.RETRY_LATER, f"record access code {int(answer.code)}")
        self._is_memory_whole = answer.is_success
        self._step = _Step.LISTENING
        return []

    def _give_up(self, outcome: Outcome | None, att_code: int) -> list[Request]:
        """The memory cannot be had; what is measured now still can, unless it is only a matter of time."""
        if outcome is not None:
            return self._close(outcome, f"attribute error {att_code:#04x} on {_RACP}")
        self._step = _Step.LISTENING
        return []

    def _close(self, outcome: Outcome, detail: str | None = None) -> list[Request]:
        self._step = _Step.DONE
        return [*self._remember(), Close(outcome, detail)]

    def _remember(self) -> list[Request]:
        """What is durable now; after a whole memory, only what is still in it."""
        known = list(self._told if self._is_memory_whole else self._durable | self._told)[-_MOST_KNOWN:]
        if set(known) == set(self._durable):
            return []
        return [Keep(mark=Mark(OXIMETER_CHECKPOINT, {"known": "".join(known)}))]


def _digest(payload: bytes) -> str:
    """Of what a spot check with a time stamp is known by: both values and that stamp, octets 1 to 11."""
    return hashlib.sha256(payload[1:12]).hexdigest()[:_DIGEST_DIGITS]


def _known(state: Mapping[str, str | int | bool | None] | None) -> dict[str, None]:
    """Digests of a checkpoint, in their order; anything that was not written here counts as none."""
    text = (state or {}).get("known")
    if not isinstance(text, str) or len(text) % _DIGEST_DIGITS:
        return {}
    return {text[at : at + _DIGEST_DIGITS]: None for at in range(0, len(text), _DIGEST_DIGITS)}
