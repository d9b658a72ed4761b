"""The two search modes of the sandbox space: "all" between two instants, and "last".

Source: API Mesures de santé (reading), the published parameters and 400 diagnostics. Answers for a missing `code` or
`subject.identifier` are ours: the text publishes none.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from urllib.parse import urlencode

from gateway.fhir.r4 import Bundle, BundleEntry, BundleLink, BundleSearch, Device, Observation, parse_datetime
from gateway.fhir.terminology import Measure, measure_of, measure_searched
from gateway.sandbox.space_store import effective_at, subject_of

__all__ = ["MAX_PAGE", "Search", "SearchRefused", "parse_search", "run_search"]

MAX_PAGE = 100
_DEFAULT_PAGE = 50
_DEVICE_INCLUDES = frozenset({"Observation:device", "Observation.device"})
_EARLIEST = datetime.min.replace(tzinfo=UTC)


class SearchRefused(ValueError):
    """The request is not a search; the text is the diagnostics of a 400."""


@dataclass(frozen=True, slots=True)
class Search:
    """A search that can be run.

    Attributes:
        authority, patient_id: the subject; authority is an OID without prefix.
        measure: what is looked for.
        bounds: (comparison, instant) pairs on the effective time, all of which must hold; empty in mode "last".
        is_last: only the newest.
        count, page: size and index of the page wanted.
        includes_devices: devices come along, each once.
        query: the request's own parameters, for the links.
    """

    authority: str
    patient_id: str
    measure: Measure
    bounds: tuple[tuple[str, datetime], ...]
    is_last: bool
    count: int
    page: int
    includes_devices: bool
    query: tuple[tuple[str, str], ...]


def parse_search(query: Sequence[tuple[str, str]]) -> Search:
    """Read the parameters of `GET Observation`, in the order of the URL.

    Raises:
        SearchRefused: with the published diagnostics where there is one.
    """
    single = {name: value for name, value in query if name != "date"}
    dates = [value for name, value in query if name == "date"]
    authority, bar, patient_id = single.get("subject.identifier", "").partition("|")
    if not bar or not patient_id:
        raise SearchRefused("Parameter subject.identifier is mandatory : <authority>|<idPe>")
    measure = measure_searched(single.get("code", ""))
    if measure is None:
        raise SearchRefused("Parameter code is mandatory and must be the code of a measure")
    is_last = "_sort" in single
    if is_last and (dates or "_offset" in single):
        raise SearchRefused("Paged search and search last cannot be requested concurrently")
    count = _number(single, "_count", _DEFAULT_PAGE)
    if is_last and (single["_sort"] != "-date" or single.get("_count") != "1"):
        raise SearchRefused(
            "Sort parameter must be equals to -date (date DESC) with _count equals to 1 to retrieve last observation"
        )
    if count > MAX_PAGE:
        raise SearchRefused(f"Maximum page size allowed is {MAX_PAGE}. Actual : {count}")
    bounds = tuple(_bound(text) for text in dates)
    if not is_last and not ({"ge", "gt"} & {b[0] for b in bounds} and {"le", "lt"} & {b[0] for b in bounds}):
        raise SearchRefused("No search mode detected")
    return Search(
        authority=authority.removeprefix("urn:oid:"),
        patient_id=patient_id,
        measure=measure,
        bounds=bounds,
        is_last=is_last,
        count=max(count, 1),
        page=_number(single, "_offset", 0),
        includes_devices=single.get("_include") in _DEVICE_INCLUDES,
        query=tuple(query),
    )


def run_search(
    search: Search, observations: Iterable[Observation], device_of: Callable[[str], Device | None], url: str
) -> Bundle:
    """The searchset for `search`, newest first.

    Args:
        observations: everything stored; other people's are not looked at.
        device_of: device by id.
        url: address of the search without its query, for the links.
    """
    found = sorted(
        (item for item in observations if _is_match(search, item)),
        key=lambda item: effective_at(item) or _EARLIEST,
        reverse=True,
    )
    start = search.page * search.count
    shown = found[start : start + search.count]
    entries = [
        BundleEntry(fullUrl=f"{url}/{item.id}", resource=item, search=BundleSearch(mode="match")) for item in shown
    ]
    if search.includes_devices:
        ids = dict.fromkeys(
            item.device.reference.removeprefix("Device/")
            for item in shown
            if item.device is not None and item.device.reference is not None
        )
        entries += [
            BundleEntry(resource=device, search=BundleSearch(mode="include"))
            for device in map(device_of, ids)
            if device is not None
        ]
    links = [BundleLink(relation="self", url=_link(url, search.query, {}))]
    if not search.is_last and start + search.count < len(found):
        links.append(BundleLink(relation="next", url=_link(url, search.query, {"_offset": str(search.page + 1)})))
    if not search.is_last and search.page > 0:
        links.append(BundleLink(relation="previous", url=_link(url, search.query, {"_offset": str(search.page - 1)})))
    total = len(shown) if search.is_last else len(found)
    return Bundle(type="searchset", total=total, link=tuple(links), entry=tuple(entries))


def _is_match(search: Search, observation: Observation) -> bool:
    if (search.authority, search.patient_id) != subject_of(observation):
        return False
    if measure_of(observation.code) != search.measure:
        return False
    instant = effective_at(observation)
    if not search.bounds:
        return True
    return instant is not None and all(_holds(instant, how, bound) for how, bound in search.bounds)


def _holds(instant: datetime, how: str, bound: datetime) -> bool:
    match how:
        case "ge":
            return instant >= bound
        case "gt":
            return instant > bound
        case "le":
            return instant <= bound
        case _:
            return instant < bound


def _bound(text: str) -> tuple[str, datetime]:
    how, rest = text[:2], text[2:].replace(" ", "+")  # a "+" that was not percent-encoded arrives as a space
    instant = parse_datetime(rest if "T" in rest else f"{rest}T00:00:00Z")
    if how not in {"ge", "gt", "le", "lt"} or instant is None:
        raise SearchRefused("No search mode detected")
    return how, instant


def _number(single: Mapping[str, str], name: str, default: int) -> int:
    text = single.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit() and len(text) <= 9):
        raise SearchRefused(f"Parameter {name} must be a whole number")
    return int(text)


def _link(url: str, query: Sequence[tuple[str, str]], changes: Mapping[str, str]) -> str:
    kept = [(name, value) for name, value in query if name not in changes]
    return f"{url}?{urlencode([*kept, *changes.items()])}"
