"""Collecting what a scale has stored: services 181D and 181B, with the consent of 181C where it knows several people.

A scale may forget a weigh-in as soon as our side has confirmed its indication, which happens before this code sees it:
every indication is kept at once, and the parts of a split measurement are kept as payloads until it is whole.

Source: Bluetooth Weight Scale Profile 1.0, Body Composition Service 1.0, User Data Service 1.1.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

from gateway.devices.body_composition import (
    BodyCompositionMeasurement,
    PacketMerger,
    parse_body_composition_measurement,
)
from gateway.devices.current_time import build_current_time, parse_current_time
from gateway.devices.procedures.clock_setting import TOLERATED_OFFSET, ClockChange
from gateway.devices.procedures.requests import (
    ATT_NOT_FOUND,
    Close,
    CompositionSample,
    Frame,
    Keep,
    Mark,
    Outcome,
    Patience,
    Read,
    Request,
    Spoiled,
    Subscribe,
    WeightSample,
    Write,
)
from gateway.devices.user_data import (
    UserControlPointOp,
    consent,
    parse_database_change_increment,
    parse_user_control_point_response,
)
from gateway.devices.weight_scale import parse_weight_measurement
from gateway.errors import MalformedFrame

__all__ = ["CONSENT_UNANSWERED", "USER_DATA_FACT", "ScaleSession", "ScaleUser"]

USER_DATA_FACT: Final = "scale.user_data"
CONSENT_UNANSWERED: Final = "no answer to the consent"
"""Detail of a contact that ended with the consent open: the scale may have counted the code, and may have locked it."""

_WEIGHT: Final = "2a9d"
_COMPOSITION: Final = "2a9c"
_USER_CONTROL_POINT: Final = "2a9f"
_CHANGES: Final = "2a99"
_CURRENT_TIME: Final = "2a2b"


@dataclass(frozen=True, slots=True)
class ScaleUser:
    """A person's slot on a scale.

    Attributes:
        index: 0..254.
        consent_code: 0..9999, a secret.
    """

    index: int
    consent_code: int = field(repr=False)


class ScaleSession:
    """One connection to a scale.

    Args:
        user: whose data to ask for, once; None: only what the scale tells everybody.
        clock: the owner's wall clock now, to be written to the scale, and how far the scale's is off, which is made
            durable first; None: leave its clock alone.
        first_slot: number of the scale's first slot; a lower one is not asked for, since refusals can lock a slot.
    """

    def __init__(self, user: ScaleUser | None = None, *, clock: ClockChange | None = None, first_slot: int = 0) -> None:
        is_slot = user is None or user.index >= first_slot
        self._user = user if is_slot else None
        self._clock = clock
        self._set_clock_to = None if clock is None else clock.set_to
        self._merger = PacketMerger()
        self._parts: list[Frame] = []
        self._missing: set[str] = set()
        self._waits_for_consent = False
        self._consent_problem: str | None = None if is_slot else f"the slots of this scale begin with {first_slot}"
        self._is_done = False

    @property
    def is_done(self) -> bool:
        """Whether the scale has said everything."""
        return self._is_done

    @property
    def patience(self) -> Patience:
        """A few seconds of quiet end the visit, an unanswered consent takes longer."""
        return Patience.ANSWER if self._waits_for_consent else Patience.QUIET

    def start(self) -> list[Request]:
        """Subscribe, set the clock where allowed, ask for consent: the order that scales expect."""
        # the error of its clock before anything else: once subscribed to, the scale speaks and forgets
        requests: list[Request] = [Keep(facts=(self._clock.mark,))] if self._clock is not None else []
        if self._user is not None:
            requests += [Subscribe(_USER_CONTROL_POINT), Subscribe(_CHANGES)]
        requests += [Subscribe(_WEIGHT), Subscribe(_COMPOSITION)]
        if self._clock is not None:
            requests += [Write(_CURRENT_TIME, build_current_time(self._clock.set_to)), Read(_CURRENT_TIME)]
        if self._user is not None:
            self._waits_for_consent = True
            requests.append(Write(_USER_CONTROL_POINT, consent(self._user.index, self._user.consent_code)))
        return requests

    def on_read(self, char: str, data: bytes) -> list[Request]:
        """A clock that does not show what it was given was not set; the change counter is kept."""
        try:
            if char == _CURRENT_TIME and self._set_clock_to is not None:
                shown = parse_current_time(data).local
                if shown is None or abs(shown - self._set_clock_to) > TOLERATED_OFFSET:
                    self._set_clock_to = None
            elif char == _CHANGES and not self._is_done:
                return self._count_changes(data)
        except MalformedFrame as error:
            return [Keep(spoiled=(Spoiled(Frame(char, data), str(error)),), is_told_once=True)]
        return []

    def on_notify(self, char: str, data: bytes) -> list[Request]:
        """A weigh-in, a part of one, or the answer to the consent."""
        if self._is_done:
            return []
        frame = Frame(char, data)
        try:
            match char:
                case "2a9d":
                    sample = WeightSample(parse_weight_measurement(data), (frame,), self._set_clock_to)
                    return [Keep(records=(sample,), is_told_once=True)]
                case "2a9c":
                    return self._take_composition(parse_body_composition_measurement(data), frame)
                case "2a9f":
                    return self._on_consent(data)
                case "2a99":
                    return self._count_changes(data)
                case _:
                    return []
        except MalformedFrame as error:
            return [Keep(spoiled=(Spoiled(frame, str(error)),), is_told_once=True)]

    def on_kept(self) -> list[Request]:
        """The next indication comes on its own."""
        return []

    def on_refused(self, char: str, att_code: int) -> list[Request]:
        """A scale may lack one of the two services, users, or a clock that can be set."""
        if char == _CURRENT_TIME:
            self._set_clock_to = None
        elif char == _USER_CONTROL_POINT:
            if self._waits_for_consent and att_code != ATT_NOT_FOUND:
                self._consent_problem = f"attribute error {att_code:#04x}"
            self._waits_for_consent = False
        elif char in {_WEIGHT, _COMPOSITION}:
            self._missing.add(char)
            if len(self._missing) == 2:
                self._is_done = True
                return [Close(Outcome.REFUSED, f"attribute error {att_code:#04x} on {char}")]
        return []

    def on_silence(self) -> list[Request]:
        """Quiet: the visit is over."""
        return [] if self._is_done else self._end(Outcome.SILENT)

    def on_link_lost(self) -> list[Request]:
        """An unfinished measurement counts with the parts that came. A scale hangs up when it has said everything."""
        return [] if self._is_done else self._end(Outcome.LINK_LOST)

    def _end(self, unanswered: Outcome) -> list[Request]:
        """Flush, and close; `unanswered` is the outcome while the consent is open."""
        self._is_done = True
        kept = self._close_group()
        if self._consent_problem is not None:
            return [*kept, Close(Outcome.CONSENT_REFUSED, self._consent_problem)]
        if self._waits_for_consent:
            return [*kept, Close(unanswered, CONSENT_UNANSWERED)]
        return [*kept, Close(Outcome.COMPLETE)]

    def _on_consent(self, data: bytes) -> list[Request]:
        answer = parse_user_control_point_response(data)
        if answer.request != UserControlPointOp.CONSENT:
            return []
        self._waits_for_consent = False
        self._consent_problem = None if answer.is_success else f"user control point code {answer.code}"
        return [Read(_CHANGES)] if answer.is_success else []

    def _count_changes(self, data: bytes) -> list[Request]:
        """The scale says how often its data of this person has changed; we change nothing, and so never count up."""
        if self._user is None:
            return []
        state = {"user_index": self._user.index, "change_increment": parse_database_change_increment(data)}
        return [Keep(facts=(Mark(USER_DATA_FACT, state),), is_told_once=True)]

    def _take_composition(self, packet: BodyCompositionMeasurement, frame: Frame) -> list[Request]:
        parts = self._parts
        whole = self._merger.add(packet)
        loose: tuple[Frame, ...] = ()
        if self._merger.is_open:
            loose = (frame,)
            self._parts = [frame] if whole else [*parts, frame]
        else:
            self._parts = []
        records = []
        for measurement in whole:
            is_this = measurement is packet
            frames = (frame,) if is_this else tuple(parts)
            records.append(CompositionSample(measurement, frames, self._set_clock_to))
        return [Keep(records=tuple(records), loose=loose, is_told_once=True)]

    def _close_group(self) -> list[Request]:
        whole = self._merger.close()
        parts, self._parts = self._parts, []
        if whole is None:
            return []
        return [Keep(records=(CompositionSample(whole, tuple(parts), self._set_clock_to),), is_told_once=True)]
