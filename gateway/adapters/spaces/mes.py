"""Mon espace santé, API Mesures: one transaction per measure, one account per person.

Source: API Mesures de santé (writing, reading, answers). The health space keeps every Observation it is sent, so that
whatever may have been applied is reported as `OutcomeUnknown` and settled by `find`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from urllib.parse import urljoin

import simplejson
from pydantic import SecretStr

from gateway.adapters.spaces.http import Answer, HttpClient, same_origin
from gateway.adapters.spaces.oauth import TokenSource
from gateway.adapters.spaces.verdicts import accepted_id, json_object, refusal
from gateway.errors import ConsentWithdrawn, OutcomeUnknown, PermanentError, ReauthNeeded, TransientError
from gateway.fhir.mes import matches, search_parameters
from gateway.fhir.r4 import Bundle, FhirError, Observation, from_json, from_json_as
from gateway.model import Departure, DepartureDraft, DestinationId, PersonId
from gateway.ports import Clock
from gateway.settings import DestinationSettings, read_secret

__all__ = ["MesAccount", "MesSpace", "accounts_of"]

_FHIR_JSON = "application/fhir+json"
_MAX_PAGES = 20
_COMPARED = frozenset(
    {"resourceType", "meta", "extension", "status", "category", "code", "effectiveDateTime", "valueQuantity"}
)


@dataclass(frozen=True, slots=True)
class MesAccount:
    """What authenticates the gateway for one person."""

    client_id: str
    client_secret: SecretStr


def accounts_of(settings: DestinationSettings) -> dict[PersonId, MesAccount]:
    """The accounts of a destination, their secrets read from their files. Raises ConfigurationError."""
    return {
        PersonId(account.person): MesAccount(account.client_id, read_secret(account.client_secret_file))
        for account in settings.accounts
    }


class _Budget:
    """The time that one delivery or search may take altogether: well below the lease of its row."""

    def __init__(self, clock: Clock, total_s: float, each_s: float) -> None:
        self._clock = clock
        self._until = clock.monotonic() + total_s
        self._each_s = each_s

    def next_s(self) -> float:
        """Seconds for the next request. Raises TransientError when too little is left to begin one."""
        left_s = min(self._until - self._clock.monotonic(), self._each_s)
        if left_s < self._each_s / 10:
            raise TransientError("the health space is too slow")
        return left_s


class MesSpace:
    """A `HealthSpace` over HTTP. Tokens go to the configured host only; redirects are never followed."""

    def __init__(
        self,
        settings: DestinationSettings,
        accounts: Mapping[PersonId, MesAccount],
        clock: Clock,
        *,
        max_body_bytes: int = 4 * 1024 * 1024,
    ) -> None:
        self._destination_id = DestinationId(settings.id)
        self._fhir_url = f"{settings.base_url.rstrip('/')}/fhir"
        self._timeout_s = settings.timeout_s
        self._clock = clock
        self._http = HttpClient(max_body_bytes=max_body_bytes)
        self._tokens = {
            person_id: TokenSource(self._http, settings.token_url, account.client_id, account.client_secret, clock)
            for person_id, account in accounts.items()
        }

    @property
    def destination_id(self) -> DestinationId:
        """Which destination this is."""
        return self._destination_id

    async def deliver(self, departure: Departure, *, still_allowed: Callable[[], Awaitable[bool]]) -> str:
        """Send the transaction; returns the id of the Observation. At most twice `timeout_s`. Errors: see the port.

        `still_allowed` is asked with the token in hand, before each POST.
        """
        entries = _entry_types(departure.draft)
        answer = await self._authorised(
            departure,
            "POST",
            self._fhir_url,
            self._budget(),
            data=departure.draft.resource.encode("utf-8"),
            still_allowed=still_allowed,
        )
        if 200 <= answer.status < 300:
            return accepted_id(answer, entries, self._clock.now())
        raise refusal(answer, self._clock.now())

    async def find(self, departure: Departure) -> str | None:
        """Search around the instant for an Observation that states the same; its id, or None.

        Nothing is applied by a search, so that a lost answer is a TransientError here. Raises OutcomeUnknown when the
        space lists more pages than are read.
        """
        budget = self._budget()
        url = f"{self._fhir_url}/Observation"
        params: list[tuple[str, str]] | None = search_parameters(departure.draft)
        for _ in range(_MAX_PAGES):
            page = await self._page(departure, url, params, budget)
            for resource in _resources(page):
                if _states(resource, departure.draft):
                    return str(resource.get("id") or "unnamed")[:200]
            following = _next_link(page)
            if following is None:
                return None
            url, params = self._following(url, following), None
        raise OutcomeUnknown("the search has too many pages")

    async def close(self) -> None:
        """Release connections."""
        await self._http.close()

    async def _page(
        self, departure: Departure, url: str, params: list[tuple[str, str]] | None, budget: _Budget
    ) -> dict[str, object]:
        try:
            answer = await self._authorised(departure, "GET", url, budget, params=params)
            if not 200 <= answer.status < 300:
                raise refusal(answer, self._clock.now())
        except OutcomeUnknown as error:
            raise TransientError("the search was not answered") from error
        page = json_object(answer.body) if answer.is_whole else None
        if page is None or page.get("resourceType") != "Bundle" or page.get("type") != "searchset":
            raise TransientError("the search was answered by something else")
        return page

    async def _authorised(
        self,
        departure: Departure,
        method: str,
        url: str,
        budget: _Budget,
        *,
        params: list[tuple[str, str]] | None = None,
        data: bytes | None = None,
        still_allowed: Callable[[], Awaitable[bool]] | None = None,
    ) -> Answer:
        """One request with the person's token; a refused token is replaced once. Nothing is sent without permission."""
        tokens = self._tokens.get(departure.draft.person_id)
        if tokens is None:
            raise ReauthNeeded("this person has no account in the health space")
        refused: SecretStr | None = None
        while True:
            token = await tokens.token(timeout_s=budget.next_s(), refused=refused)
            headers = {"Authorization": f"Bearer {token.get_secret_value()}", "Accept": _FHIR_JSON}
            if data is not None:
                headers["Content-Type"] = _FHIR_JSON
            if still_allowed is not None and not await still_allowed():
                raise ConsentWithdrawn("no consent at the moment of sending")
            answer = await self._http.exchange(
                method, url, headers=headers, timeout_s=budget.next_s(), params=params, data=data
            )
            if answer.status != 401 or refused is not None:
                return answer
            refused = token

    def _following(self, url: str, link: str) -> str:
        """Address of the next page. Raises TransientError when it is none of this space."""
        try:
            joined = urljoin(url, link)
        except ValueError as error:
            raise TransientError("the search continues at something that is no address") from error
        if not same_origin(joined, self._fhir_url):
            raise TransientError("the search continues on another host")
        return joined

    def _budget(self) -> _Budget:
        return _Budget(self._clock, 2 * self._timeout_s, self._timeout_s)


def _entry_types(draft: DepartureDraft) -> list[str]:
    """Resource types of the transaction's entries, in order. Raises PermanentError when it is none of ours."""
    bundle = from_json_as(Bundle, draft.resource)
    types = [entry.resource.resourceType if entry.resource is not None else "" for entry in bundle.entry]
    if types.count("Observation") != 1:
        raise PermanentError("the resource is not a transaction with one observation")
    return types


def _resources(page: Mapping[str, object]) -> Iterator[dict[str, object]]:
    entries = page.get("entry")
    for entry in entries if isinstance(entries, list) else ():
        resource = entry.get("resource") if isinstance(entry, dict) else None
        if isinstance(resource, dict) and resource.get("resourceType") == "Observation":
            yield resource


def _states(resource: Mapping[str, object], draft: DepartureDraft) -> bool:
    """Whether a found resource states what the draft does; only what is compared has to be readable."""
    kept = {name: value for name, value in resource.items() if name in _COMPARED}
    try:
        observation = from_json(simplejson.dumps(kept, use_decimal=True), lenient=True)
    except FhirError:
        return False
    return isinstance(observation, Observation) and matches(observation, draft)


def _next_link(page: Mapping[str, object]) -> str | None:
    links = page.get("link")
    for link in links if isinstance(links, list) else ():
        if isinstance(link, dict) and link.get("relation") == "next" and isinstance(link.get("url"), str):
            return str(link["url"])
    return None
