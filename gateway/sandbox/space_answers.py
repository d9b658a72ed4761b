"""FHIR JSON answers of the sandbox space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from aiohttp import web

from gateway.fhir.r4 import (
    Bundle,
    BundleEntry,
    BundleResponse,
    Device,
    FhirModel,
    OperationOutcome,
    OperationOutcomeIssue,
    to_json,
)
from gateway.sandbox.space_store import Applied

__all__ = ["fhir_answer", "outcome", "outcome_of", "outcomes", "refused_entries", "transaction_answer"]

_FHIR_JSON = "application/fhir+json"


def fhir_answer(resource: FhirModel, *, status: int = 200, headers: Mapping[str, str] | None = None) -> web.Response:
    """`resource` as an answer."""
    return web.Response(text=to_json(resource), status=status, content_type=_FHIR_JSON, headers=headers)


def outcome_of(issues: Sequence[tuple[str, str]]) -> OperationOutcome:
    """An OperationOutcome of (issue code, diagnostics) errors."""
    return OperationOutcome(
        issue=tuple(
            OperationOutcomeIssue(severity="error", code=code, diagnostics=diagnostics) for code, diagnostics in issues
        )
    )


def outcomes(
    status: int, issues: Sequence[tuple[str, str]], *, headers: Mapping[str, str] | None = None
) -> web.Response:
    """A refusal with several findings."""
    return fhir_answer(outcome_of(issues), status=status, headers=headers)


def outcome(status: int, code: str, diagnostics: str, *, headers: Mapping[str, str] | None = None) -> web.Response:
    """A refusal with one finding."""
    return outcomes(status, [(code, diagnostics)], headers=headers)


def transaction_answer(bundle: Bundle, applied: Applied) -> Bundle:
    """The transaction-response: one entry per entry of the request, in its order."""

    def response(entry: BundleEntry) -> BundleResponse:
        if isinstance(entry.resource, Device) and applied.device is not None:
            status = "201 Created" if applied.device_is_new else "200 Success"
            return BundleResponse(status=status, location=f"Device/{applied.device.id}")
        return BundleResponse(status="201 Created", location=f"Observation/{applied.observation.id}")

    return Bundle(
        type="transaction-response", entry=tuple(BundleEntry(response=response(entry)) for entry in bundle.entry)
    )


def refused_entries(bundle: Bundle) -> Bundle:
    """A transaction-response whose Observation entry is refused."""
    refused = BundleResponse(
        status="422 Unprocessable Entity", outcome=outcome_of([("invalid", "Observation refused by the sandbox.")])
    )
    accepted = BundleResponse(status="200 Success", location="Device/unchanged")
    return Bundle(
        type="transaction-response",
        entry=tuple(
            BundleEntry(response=accepted if isinstance(entry.resource, Device) else refused) for entry in bundle.entry
        ),
    )
