"""Where a visit to a meter stands, and what the answers of its control point mean there."""

from __future__ import annotations

import enum
from typing import Final

from gateway.devices.racp import RacpResponseCode

__all__ = ["BUSY", "UNFILTERED", "UNKNOWN_OPERATOR", "WITNESSING", "Step"]

BUSY: Final = frozenset(
    {
        RacpResponseCode.PROCEDURE_NOT_COMPLETED,
        RacpResponseCode.SERVER_BUSY,
        RacpResponseCode.ABORT_UNSUCCESSFUL,
    }
)
UNKNOWN_OPERATOR: Final = frozenset({RacpResponseCode.INVALID_OPERATOR, RacpResponseCode.OPERATOR_NOT_SUPPORTED})
"""Another way to ask for the same records may be known."""
UNFILTERED: Final = UNKNOWN_OPERATOR | {RacpResponseCode.INVALID_OPERAND, RacpResponseCode.OPERAND_NOT_SUPPORTED}
"""It does not choose among its records as it was asked to."""


class Step(enum.Enum):
    """What was asked last."""

    SUBSCRIBING = enum.auto()
    LOOKING_AT_OLDEST = enum.auto()
    COUNTING = enum.auto()
    PROBING = enum.auto()
    BOUNDING = enum.auto()
    CHECKING_GAP = enum.auto()
    REPORTING = enum.auto()
    SETTLING = enum.auto()
    LOOKING_AT_NEWEST = enum.auto()
    VERIFYING = enum.auto()
    CLEARING = enum.auto()
    ABORTING = enum.auto()
    DONE = enum.auto()


WITNESSING: Final = frozenset(
    {Step.LOOKING_AT_OLDEST, Step.PROBING, Step.BOUNDING, Step.LOOKING_AT_NEWEST, Step.VERIFYING}
)
"""Steps that ask for a single record to learn something from it, not to keep it."""
