"""What an answer of the health space means for the item that was sent. No I/O.

Whatever is not clearly a refusal before anything took effect counts as "may have been applied". A consent ends, and an
account is called another patient's, only by the published sentences inside JSON.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import simplejson

from gateway.adapters.spaces.http import Answer
from gateway.errors import (
    AccountMismatch,
    ConsentWithdrawn,
    GatewayError,
    OutcomeUnknown,
    RateLimited,
    ReauthNeeded,
    Rejected,
    TransientError,
)

__all__ = ["accepted_id", "diagnostics_of", "json_object", "refusal", "retry_after_s"]

_MAX_WAIT_S = 3600.0
_MAX_DIAGNOSTICS = 10
_MAX_CHARACTERS = 200
_UNAUTHORIZED, _TOO_MANY = 401, 429
_TEXT_FIELDS = ("message", "error", "error_description", "detail")
_NO_CONSENT, _OTHER_PATIENT = "consent not given", "idpe requested do not match"
_NOT_PROCESSED = frozenset({404, 405, 407, 408, 421, 425, 501, 505, 511})


def json_object(body: bytes) -> dict[str, object] | None:
    """The JSON object in `body`, decimals exact; None when it is anything else."""
    try:
        data = simplejson.loads(body.decode("utf-8"), use_decimal=True)
    except (ValueError, ArithmeticError, RecursionError):
        return None
    return data if isinstance(data, dict) else None


def retry_after_s(header: str | None, now: datetime) -> float | None:
    """Seconds asked for by a `Retry-After` header, 0 to one hour; None when absent or unreadable.

    Source: RFC 9110, 10.2.3: delay in seconds, or an HTTP date.
    """
    if header is None:
        return None
    text = header.strip()
    if text.isascii() and text.isdigit():
        return min(float(text[:12]), _MAX_WAIT_S)
    try:
        moment = parsedate_to_datetime(text)
    except (ValueError, IndexError, TypeError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return min(max((moment - now).total_seconds(), 0.0), _MAX_WAIT_S)


def diagnostics_of(outcome: object) -> tuple[str, ...]:
    """The `diagnostics` (else `details.text`) of an OperationOutcome's issues; empty for anything else."""
    issues = outcome.get("issue") if isinstance(outcome, dict) else None
    found: list[str] = []
    for issue in issues if isinstance(issues, list) else ():
        if not isinstance(issue, dict) or issue.get("severity") in ("warning", "information"):
            continue
        details = issue.get("details")
        text = issue.get("diagnostics") or (details.get("text") if isinstance(details, dict) else None)
        if isinstance(text, str):
            found.append(text[:_MAX_CHARACTERS])
    return tuple(found[:_MAX_DIAGNOSTICS])


def refusal(answer: Answer, now: datetime) -> GatewayError:
    """The error that an answer other than 2xx stands for.

    The health space refuses in JSON. A 4xx with anything else in it is a page of a proxy, a firewall or a captive
    portal: it settles nothing about the item, the account or the consent. (A 401 may come without a body.)
    """
    body = json_object(answer.body) if answer.is_whole else None
    is_page = body is None and (answer.status != _UNAUTHORIZED or bool(answer.body.strip()))
    if is_page and 400 <= answer.status < 500 and answer.status != _TOO_MANY:
        return TransientError(f"something on the way to the health space refused the request ({answer.status})")
    outcome = body or {}
    diagnostics = diagnostics_of(outcome)
    words = diagnostics or tuple(str(outcome[name]) for name in _TEXT_FIELDS if isinstance(outcome.get(name), str))
    is_fhir = outcome.get("resourceType") == "OperationOutcome"
    wait_s = retry_after_s(answer.retry_after, now)
    return _error(answer.status, " ".join(words), diagnostics, wait_s, is_fhir=is_fhir)


def accepted_id(answer: Answer, entries: Sequence[str], now: datetime) -> str:
    """What the space calls the Observation of a transaction answered with 2xx.

    Args:
        entries: resource types of the request's entries, in order; "Observation" once.

    Raises:
        OutcomeUnknown: not a transaction-response, cut short, an entry missing or without a name.
        GatewayError: the Observation's entry was refused; see `refusal`.
    """
    bundle = json_object(answer.body) if answer.is_whole else None
    responses = bundle.get("entry") if bundle is not None and bundle.get("type") == "transaction-response" else None
    if not isinstance(responses, list) or len(responses) != len(entries):
        raise OutcomeUnknown("the answer is not the response to this transaction")
    entry = responses[entries.index("Observation")]
    response = entry.get("response") if isinstance(entry, dict) else None
    if not isinstance(response, dict):
        raise OutcomeUnknown("the answer says nothing about the observation")
    number = str(response.get("status") or "")[:3]
    if not number.isdigit():
        raise OutcomeUnknown("the answer says nothing about the observation")
    if not number.startswith("2"):
        diagnostics = diagnostics_of(response.get("outcome"))
        wait_s = retry_after_s(answer.retry_after, now)
        raise _error(int(number), " ".join(diagnostics), diagnostics, wait_s, is_fhir=True)
    _, slash, name = str(response.get("location") or "").rpartition("Observation/")
    if not slash or not name:
        raise OutcomeUnknown("the answer does not name the observation")
    return name.split("/_history/", 1)[0][:_MAX_CHARACTERS]


def _error(
    status: int, text: str, diagnostics: tuple[str, ...], wait_s: float | None, *, is_fhir: bool
) -> GatewayError:
    words = " ".join(text.casefold().split())
    match status:
        case 401:
            return ReauthNeeded("the health space does not accept the account's token")
        case 400 if "id_token" in words or "jwt" in words:
            return ReauthNeeded("the health space does not accept the account's identity token")
        case 403 if _NO_CONSENT in words:
            return ConsentWithdrawn("the health space has no consent for this")
        case 403 if _OTHER_PATIENT in words:
            return AccountMismatch("the account is not this patient's")
        case 403 if is_fhir:
            return ReauthNeeded("the health space refuses this account")
        case 403:
            return TransientError("the request was refused without a reason of the health space (403)")
        case 409:
            return AccountMismatch("the account belongs to another solution")
        case 429:
            return RateLimited("the health space asks for patience", retry_after_s=wait_s or 0.0)
        case 503 if wait_s is not None:
            return RateLimited("the health space is unavailable", retry_after_s=wait_s)
        case 503:
            return TransientError("the health space is unavailable")
        case _ if status in _NOT_PROCESSED:
            return TransientError(f"the health space did not process the request ({status})")
        case _ if 400 <= status < 500:
            return Rejected(f"refused by the health space ({status})", status=status, diagnostics=diagnostics)
        case _:
            return OutcomeUnknown(f"unclear answer of the health space ({status})")
