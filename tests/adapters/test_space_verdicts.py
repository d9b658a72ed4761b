"""What an answer of the health space means, without a server."""

from __future__ import annotations

import json
from datetime import UTC, datetime

import pytest

from gateway.adapters.spaces.http import Answer
from gateway.adapters.spaces.verdicts import accepted_id, refusal, retry_after_s
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

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("7", 7.0),
        ("0", 0.0),
        ("999999999999999999", 3600.0),
        ("Mon, 02 Mar 2026 08:02:00 GMT", 120.0),
        ("Mon, 02 Mar 2020 08:02:00 GMT", 0.0),
        ("Fri, 02 Mar 2126 08:02:00 GMT", 3600.0),
        ("-5", None),
        ("soon", None),
        ("", None),
        (None, None),
    ],
)
def test_retry_after_is_bounded(header: str | None, seconds: float | None) -> None:
    """G1: seconds, an HTTP date, nothing and nonsense all give a wait between nothing and an hour."""
    assert seconds == retry_after_s(header, NOW)


def _outcome(diagnostics: str) -> bytes:
    """A refusal as the space puts it."""
    issue = {"severity": "error", "code": "forbidden", "diagnostics": diagnostics}
    return json.dumps({"resourceType": "OperationOutcome", "issue": [issue]}).encode()


@pytest.mark.parametrize(
    ("status", "body", "error"),
    [
        (400, b'{"message":"The ID_TOKEN value is not valid (invalid JWT)"}', ReauthNeeded),
        (400, b'{"error":"No bundle provided."}', Rejected),
        (400, b"No bundle provided.", TransientError),
        (400, b"<html>Your browser sent an invalid request</html>", TransientError),
        (401, b"", ReauthNeeded),
        (401, b'{"error":"invalid_token"}', ReauthNeeded),
        (401, b"<html>Sign in to the hotel's network</html>", TransientError),
        (403, b'{"message":"Consent not given, access refused."}', ConsentWithdrawn),
        (403, _outcome("Consent  not given, access refused."), ConsentWithdrawn),
        (403, _outcome("idPe requested do not match authorized idPe."), AccountMismatch),
        (403, b"Consent not given, access refused.", TransientError),
        (403, b"<html>Forbidden by proxy</html>", TransientError),
        (403, b"<html>Please consent to the cookies of our firewall; idPe</html>", TransientError),
        (403, b'{"error":"consent_required"}', TransientError),
        (403, _outcome("Renew the consent of the user."), ReauthNeeded),
        (403, b'{"resourceType":"OperationOutcome"}', ReauthNeeded),
        (404, b"", TransientError),
        (409, b"<html>Conflict</html>", TransientError),
        (409, _outcome("OID different between id_token and ecosystem"), AccountMismatch),
        (413, b"", TransientError),
        (413, _outcome("too long"), Rejected),
        (422, b"<html>WAF: blocked</html>", TransientError),
        (422, b"[1, 2]", TransientError),
        (429, b"<html>slow down</html>", RateLimited),
        (302, b"", OutcomeUnknown),
        (500, b"", OutcomeUnknown),
        (502, b"", OutcomeUnknown),
        (504, b"", OutcomeUnknown),
        (503, b"", TransientError),
    ],
)
def test_statuses(status: int, body: bytes, error: type[GatewayError]) -> None:
    """Only a refusal before anything took effect counts as not applied; a page on the way decides nothing."""
    assert error is type(refusal(Answer(status, None, body, is_whole=True), NOW))


@pytest.mark.parametrize(
    "location",
    ["Observation/abc", "https://h/fhir/Observation/abc/_history/1", "Observation/abc/_history/2"],
)
def test_location_names_the_observation(location: str) -> None:
    """The name is what follows the type, whatever stands before it."""
    body = (
        '{"resourceType":"Bundle","type":"transaction-response","entry":['
        '{"response":{"status":"200 Success","location":"Device/d"}},'
        f'{{"response":{{"status":"201 Created","location":"{location}"}}}}]}}'
    )
    answer = Answer(200, None, body.encode(), is_whole=True)
    assert accepted_id(answer, ["Device", "Observation"], NOW) == "abc"
