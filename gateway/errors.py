"""What can go wrong, arranged by what the caller should do about it.

    GatewayError
    ├── ConfigurationError     a person must change the configuration (carries the path of each fault)
    ├── TransientError         try again later: radio busy, 503, timeout, store locked
    │   └── RateLimited        ... and not before `retry_after_s`
    ├── PermanentError         never repeat this item
    │   ├── MalformedFrame     bytes that are not what their characteristic or topic promises
    │   ├── Implausible        well-formed, but outside what the metric can be
    │   ├── DeviceRefused      the device answered a procedure with a refusal (`request`, `code`)
    │   └── Rejected           the health space refused the item (`status`, `diagnostics`)
    ├── ReauthNeeded           stop this account, tell the person, keep the queue
    ├── ConsentWithdrawn       stop this person and data type, cancel the queue, keep the proof
    ├── AccountMismatch        the account and the patient do not belong together: stop the account
    ├── PairingFailed          no bond came about; a person can try again (`reason`)
    ├── OutcomeUnknown         the request may have been applied: read back before repeating
    ├── StoreUnavailable       nothing can be made durable now: acknowledge nothing
    └── StoreTooNew            the database was written by a newer release: refuse to open it

No message carries the value of a reading, a name or a secret.
"""

from __future__ import annotations

from collections.abc import Sequence

__all__ = [
    "AccountMismatch",
    "ConfigurationError",
    "ConsentWithdrawn",
    "DeviceRefused",
    "GatewayError",
    "Implausible",
    "MalformedFrame",
    "OutcomeUnknown",
    "PairingFailed",
    "PermanentError",
    "RateLimited",
    "ReauthNeeded",
    "Rejected",
    "StoreTooNew",
    "StoreUnavailable",
    "TransientError",
]


class GatewayError(Exception):
    """Root of everything that the gateway raises on purpose."""


class ConfigurationError(GatewayError):
    """The configuration cannot be used; `problems` holds one (path, sentence) pair per fault."""

    def __init__(self, problems: Sequence[tuple[str, str]]) -> None:
        super().__init__("; ".join(f"{path}: {text}" if path else text for path, text in problems))
        self.problems = tuple(problems)


class TransientError(GatewayError):
    """The same call may succeed later."""


class RateLimited(TransientError):
    """The other side asked us to wait."""

    def __init__(self, message: str, *, retry_after_s: float) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class PermanentError(GatewayError):
    """Repeating this item cannot help."""


class MalformedFrame(PermanentError):
    """The bytes do not have the layout that their characteristic, service data or topic promises."""


class Implausible(PermanentError):
    """Well-formed, yet outside the range that the metric can take; kept in quarantine, never clipped."""


class DeviceRefused(PermanentError):
    """A control point answered with something other than success.

    Attributes:
        request: the op code that was refused.
        code: the response code of the service's own table.
    """

    def __init__(self, message: str, *, request: int, code: int) -> None:
        super().__init__(message)
        self.request = request
        self.code = code


class Rejected(PermanentError):
    """The health space refused the item; `diagnostics` are its own words (they hold no value)."""

    def __init__(self, message: str, *, status: int, diagnostics: Sequence[str] = ()) -> None:
        super().__init__(message)
        self.status = status
        self.diagnostics = tuple(diagnostics)


class ReauthNeeded(GatewayError):
    """The account must be paired again by a person; its queue is kept."""


class ConsentWithdrawn(GatewayError):
    """There is no consent for this departure at the moment of sending."""


class AccountMismatch(GatewayError):
    """The space says that this account may not act for this patient: stop the account, try no other."""


class PairingFailed(GatewayError):
    """No bond came about, and nothing of the attempt is left.

    Attributes:
        reason: a `gateway.model.PairingFailure`, whose words people are told.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(f"pairing failed: {reason}")
        self.reason = reason


class OutcomeUnknown(GatewayError):
    """The answer was lost after the request may have been applied."""


class StoreUnavailable(GatewayError):
    """The store cannot make anything durable now (disk full, read-only, locked); nothing may be acknowledged."""


class StoreTooNew(GatewayError):
    """The database schema is newer than this program; opening it could damage it."""
