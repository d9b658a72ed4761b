"""Switches that make the sandbox space misbehave on purpose."""

from __future__ import annotations

import asyncio
import enum
from typing import Literal

from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field

from gateway.fhir.r4 import Bundle, to_json
from gateway.sandbox.space_answers import fhir_answer, outcome

__all__ = ["Fault", "FaultOrder", "FaultSwitch", "Target", "spoilt"]

Target = Literal["write", "read", "token"]


class Fault(enum.StrEnum):
    """What goes wrong. The first group refuses without applying anything."""

    UNAUTHORIZED = "401"
    CONSENT = "403"
    WRONG_PATIENT = "403_patient"
    OID_CONFLICT = "409"
    REFUSED = "422"
    TOO_MANY = "429"
    UNAVAILABLE = "503"
    HANG = "hang"
    """Never answers, applies nothing."""
    HTML = "html"
    """200 with a page, as a captive portal does."""
    REDIRECT = "redirect"
    """307 to `location`."""
    ENTRY_4XX = "entry_4xx"
    """200 with a transaction-response whose Observation entry is refused."""

    LOST_ANSWER = "lost_answer"
    """Applies the transaction, then cuts the connection."""
    HALF_JSON = "half_json"
    """Applies, answers 200 with the first half of the JSON."""
    MISSING_ENTRY = "missing_entry"
    """Applies, answers 200 without the Observation's entry."""

    @property
    def is_applied(self) -> bool:
        """Whether the transaction takes effect although its answer is spoilt."""
        return self in (Fault.LOST_ANSWER, Fault.HALF_JSON, Fault.MISSING_ENTRY)


class FaultOrder(BaseModel):
    """What to do wrong, how often, and where.

    `retry_after` is the header as it will be sent (seconds or an HTTP date); None: no header.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    fault: Fault
    times: int = Field(default=1, ge=1, le=1_000_000)
    target: Target = "write"
    retry_after: str | int | None = None
    location: str = "http://elsewhere.invalid/fhir"


class FaultSwitch:
    """The faults that are armed, taken one request at a time, oldest order first."""

    def __init__(self) -> None:
        self._orders: list[tuple[FaultOrder, int]] = []
        self._released = asyncio.Event()

    def arm(
        self,
        fault: Fault,
        times: int = 1,
        *,
        target: Target = "write",
        retry_after: str | int | None = None,
        location: str = "http://elsewhere.invalid/fhir",
    ) -> None:
        """The next `times` requests to `target` go wrong."""
        self.add(FaultOrder(fault=fault, times=times, target=target, retry_after=retry_after, location=location))

    def add(self, order: FaultOrder) -> None:
        """The same, from an order."""
        self._orders.append((order, order.times))
        self._released.clear()

    def clear(self) -> None:
        """Behave again; requests that hang are let go."""
        self._orders.clear()
        self._released.set()

    def pending(self) -> list[FaultOrder]:
        """What is armed, with the times that are left."""
        return [order.model_copy(update={"times": left}) for order, left in self._orders]

    def take(self, target: Target) -> FaultOrder | None:
        """The fault for this request, or None; counts it."""
        for index, (order, left) in enumerate(self._orders):
            if order.target == target:
                if left > 1:
                    self._orders[index] = (order, left - 1)
                else:
                    del self._orders[index]
                return order
        return None

    async def refusal(self, order: FaultOrder) -> web.Response:
        """The answer of a fault that applies nothing."""
        headers = {} if order.retry_after is None else {"Retry-After": str(order.retry_after)}
        match order.fault:
            case Fault.UNAUTHORIZED:
                return outcome(401, "login", "Unauthorized")
            case Fault.CONSENT:
                return outcome(403, "forbidden", "Consent not given, access refused.")
            case Fault.WRONG_PATIENT:
                return outcome(403, "forbidden", "idPe requested do not match authorized idPe.")
            case Fault.OID_CONFLICT:
                return outcome(409, "conflict", "OID different between id_token and ecosystem")
            case Fault.REFUSED:
                return outcome(422, "invalid", "Observation must provide meta.profile value.")
            case Fault.TOO_MANY:
                return outcome(429, "throttled", "Too many requests", headers=headers)
            case Fault.REDIRECT:
                return web.Response(status=307, headers={"Location": order.location})
            case Fault.HTML:
                return web.Response(text="<!doctype html><title>Welcome</title>", content_type="text/html")
            case Fault.HANG:
                await self._released.wait()
        return outcome(503, "transient", "Service unavailable", headers=headers)


def spoilt(request: web.Request, answer: Bundle, order: FaultOrder | None) -> web.StreamResponse:
    """`answer`, or what a fault makes of it."""
    match order.fault if order is not None else None:
        case Fault.LOST_ANSWER:
            if request.transport is not None:
                request.transport.abort()
            return web.Response(status=500)
        case Fault.HALF_JSON:
            text = to_json(answer)
            return web.Response(text=text[: len(text) // 2], content_type="application/fhir+json")
        case Fault.MISSING_ENTRY:
            kept = [
                entry
                for entry in answer.entry
                if entry.response is None or not (entry.response.location or "").startswith("Observation/")
            ]
            return fhir_answer(answer.model_copy(update={"entry": tuple(kept)}))
    return fhir_answer(answer)
