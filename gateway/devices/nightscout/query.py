"""What a follower asks of Nightscout's entries: filter, order and number, as v1 and v3 write them.

v1 nests (`find[date][$gte]=ms`, `find[type]=sgv`, `count=10`), v3 joins (`date$gte=ms`, `sort$desc=date`, `limit=10`).
Both become one `EntryQuery`, which is asked of one document at a time. As in Nightscout, v1 answers ten entries where
no `count` is given and looks back four days where neither `date` nor `dateString` is asked about; a v3 answer has at
most 1000 documents. Unknown words beside `find` are passed over (clients add time stamps and secrets); an unknown
operator is refused. A pattern is served where it is a literal text, at the beginning (`^2026-03`) or anywhere.

Sources: cgm-remote-monitor, `lib/server/query.js`, `lib/server/entries.js`, `lib/api/entries/index.js`,
`lib/server/query-operator-allowlist.js`; v3: `lib/api3/generic/search/input.js`, `lib/api3/const.json`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import NamedTuple

from gateway.devices.nightscout.names import EPOCH
from gateway.devices.passerelle_fields import Refused
from gateway.model import QuarantineReason

__all__ = ["LOOK_BACK", "MOST_V1", "MOST_V3", "Condition", "EntryQuery", "parse_query", "parse_v3_query"]

LOOK_BACK = timedelta(days=4)
MOST_V1 = 50_000
MOST_V3 = 1_000
_USUAL_COUNT = 10
_MOST_CONDITIONS, _MOST_CHOICES, _LONGEST = 32, 100, 200
_FIND = re.compile(r"find\[([A-Za-z_][A-Za-z0-9_.]{0,63})\](?:\[(\$[A-Za-z]{1,12})\](?:\[[0-9]{0,3}\])?)?")
_SORT = re.compile(r"sort\[([A-Za-z_]{1,64})\]")
_V3_FIELD = re.compile(r"([A-Za-z_][A-Za-z0-9_.]{0,63})(?:\$([A-Za-z]{1,12}))?")
_NUMBER = re.compile(r"-?[0-9]{1,16}(?:\.[0-9]{1,9})?", re.ASCII)
_DAY = re.compile(r"([0-9]{4})(?:-([0-9]{2})(?:-([0-9]{2}))?)?", re.ASCII)
_ANY_TEXT = re.compile(r"(\^?)([A-Za-z0-9 :_-]{1,64})(?:\.\*)?\$?|")
_OPERATORS = frozenset({"eq", "ne", "gt", "gte", "lt", "lte", "in", "nin", "exists", "regex"})
_V3_OPERATORS = {name: name for name in ("eq", "ne", "gt", "gte", "lt", "lte", "in", "nin")} | {"re": "regex"}
_NUMERIC = frozenset(
    {"sgv", "mbg", "noise", "filtered", "unfiltered", "rssi", "delta", "utcOffset", "trend", "glucose", "mills"}
)
_INSTANTS = frozenset({"date", "srvModified", "srvCreated"})
_TIMES = frozenset({"dateString", "sysTime", "created_at"})
_V3_RESERVED = frozenset({"token", "secret", "sort", "sort$desc", "limit", "skip", "fields", "now", "_"})
_COMPARE: dict[str, Callable[[Decimal | str, Decimal | str], bool]] = {
    "gt": lambda found, asked: found > asked,  # type: ignore[operator]
    "gte": lambda found, asked: found >= asked,  # type: ignore[operator]
    "lt": lambda found, asked: found < asked,  # type: ignore[operator]
    "lte": lambda found, asked: found <= asked,  # type: ignore[operator]
}
Value = Decimal | str | bool


class Condition(NamedTuple):
    """One demand on one field.

    Attributes:
        field: name of the field.
        operator: eq, ne, gt, gte, lt, lte, in, nin, exists, regex.
        values: what is asked for; one, but for in and nin. A time is its epoch milliseconds.
    """

    field: str
    operator: str
    values: tuple[Value, ...]


@dataclass(frozen=True, slots=True)
class EntryQuery:
    """A question.

    Attributes:
        conditions: all of them hold for an answer.
        limit: most documents of the answer.
        skip: documents left out at its beginning.
        order: field that orders the answer.
        is_descending: newest or largest first.
        fields: names to tell; None: all of them.
        looks_back: no time was asked about and v1's four days hold.
    """

    conditions: tuple[Condition, ...] = ()
    limit: int = _USUAL_COUNT
    skip: int = 0
    order: str = "date"
    is_descending: bool = True
    fields: tuple[str, ...] | None = None
    looks_back: bool = False

    def accepts(self, document: Mapping[str, object]) -> bool:
        """Whether `document` (as `entry_of` or `entry_v3_of` gives it) answers every condition.

        The four days of `looks_back` are not looked at here, but in `window`.
        """
        return all(_holds(condition, document) for condition in self.conditions)

    def window(self, now: datetime) -> tuple[datetime | None, datetime | None]:
        """Start (inclusive) and end (exclusive) between which every answer lies, aware, UTC; None: open.

        For the store: what lies outside need not be read. Answers still go through `accepts`.
        """
        start = now - LOOK_BACK if self.looks_back else None
        end: datetime | None = None
        for condition in self.conditions:
            value = condition.values[0] if condition.values else None
            if condition.field not in ("date", "dateString", "sysTime") or type(value) is not Decimal:
                continue
            at = _instant_of_ms(value)
            if condition.operator in ("gt", "gte", "eq") and (start is None or at > start):
                start = at
            if condition.operator in ("lt", "lte", "eq"):
                after = at + timedelta(milliseconds=1)
                end = after if end is None or after < end else end
        return start, end

    def types(self) -> frozenset[str]:
        """Of `sgv` and `mbg`, the types that can answer."""
        return frozenset(
            word
            for word in ("sgv", "mbg")
            if all(_holds(each, {"type": word}) for each in self.conditions if each.field == "type")
        )

    def told(self, document: Mapping[str, object]) -> dict[str, object]:
        """`document` with no more than the fields that were asked for."""
        if self.fields is None:
            return dict(document)
        return {name: value for name, value in document.items() if name in self.fields}

    def answer(self, documents: Iterable[Mapping[str, object]]) -> list[dict[str, object]]:
        """The answer: those that are accepted, in order, cut to size, with the fields that were asked for."""
        found = [document for document in documents if self.accepts(document)]
        found.sort(key=lambda document: _order_key(document.get(self.order)), reverse=self.is_descending)
        return [self.told(document) for document in found[self.skip : self.skip + self.limit]]


def parse_query(pairs: Sequence[tuple[str, str]]) -> EntryQuery:
    """Read the query of a v1 request, already taken apart and decoded.

    Raises:
        Refused: an operator, a pattern or a value that cannot be served, more than 32 conditions, a `count` that is no
            whole number above 0. A `count` above `MOST_V1` is lowered to it.
    """
    grouped: dict[tuple[str, str], list[str]] = {}
    limit, order, is_descending = _USUAL_COUNT, "date", True
    for name, value in pairs:
        if name == "count" and value:
            limit = _whole(value, "count", 1)
        elif name.startswith("find"):
            field, operator = _v1_condition(name)
            grouped.setdefault((field, operator), []).append(_bounded(value))
        elif (match := _SORT.fullmatch(name)) is not None:
            if value not in ("1", "-1"):
                raise Refused("a sort is 1 or -1")
            order, is_descending = match[1], value == "-1"
    _bound_conditions(grouped)
    conditions = tuple(_condition(field, operator, texts) for (field, operator), texts in grouped.items())
    asked = {condition.field for condition in conditions}
    return EntryQuery(
        conditions,
        limit=min(limit, MOST_V1),
        order=order,
        is_descending=is_descending,
        looks_back=asked.isdisjoint({"date", "dateString", "_id"}),
    )


def parse_v3_query(pairs: Sequence[tuple[str, str]]) -> EntryQuery:
    """Read the query of a v3 search, already taken apart and decoded; deleted documents are never asked for.

    Raises:
        Refused: as for v1; a `limit` outside 1..1000, a `skip` that is no whole number, `sort` beside `sort$desc`.
    """
    named = dict(pairs)
    if "sort" in named and "sort$desc" in named:
        raise Refused("sort and sort$desc cannot be combined")
    grouped: dict[tuple[str, str], list[str]] = {}
    for name, value in pairs:
        if name in _V3_RESERVED:
            continue
        match = _V3_FIELD.fullmatch(name)
        if match is None:
            raise Refused("a filter is a field and an operator")
        operator = _V3_OPERATORS.get(match[2] or "eq")
        if operator is None:
            raise Refused("unsupported filter operator", QuarantineReason.UNSUPPORTED)
        texts = _bounded(value).split("|") if operator in ("in", "nin") else [_bounded(value)]
        grouped.setdefault((match[1], operator), []).extend(texts)
    _bound_conditions(grouped)
    limit = _whole(named["limit"], "limit", 1) if named.get("limit") else MOST_V3
    if limit > MOST_V3:
        raise Refused(f"limit is above {MOST_V3}")
    conditions = [_condition(field, operator, texts) for (field, operator), texts in grouped.items()]
    fields = named.get("fields", "_all")
    return EntryQuery(
        (*conditions, Condition("isValid", "ne", (False,))),
        limit=limit,
        skip=_whole(named["skip"], "skip", 0) if named.get("skip") else 0,
        order=_bounded(named.get("sort$desc") or named.get("sort") or "date"),
        is_descending="sort$desc" in named,
        fields=None if fields in ("", "_all") else tuple(_bounded(fields).split(",")),
    )


def _v1_condition(name: str) -> tuple[str, str]:
    match = _FIND.fullmatch(name)
    if match is None:
        raise Refused("find is written find[field]=value or find[field][$operator]=value", QuarantineReason.UNSUPPORTED)
    operator = (match[2] or "$eq")[1:]
    if operator not in _OPERATORS:
        raise Refused("query operator is not supported", QuarantineReason.UNSUPPORTED)
    return match[1], operator


def _bound_conditions(grouped: Mapping[tuple[str, str], list[str]]) -> None:
    if len(grouped) > _MOST_CONDITIONS:
        raise Refused(f"more than {_MOST_CONDITIONS} conditions")
    for (_, operator), texts in grouped.items():
        if len(texts) > (_MOST_CHOICES if operator in ("in", "nin") else 1):
            raise Refused("one field and operator are given too often")


def _bounded(text: str) -> str:
    if len(text) > _LONGEST:
        raise Refused(f"a value has more than {_LONGEST} characters")
    return text


def _whole(text: str, what: str, lowest: int) -> int:
    if re.fullmatch(r"\s*[0-9]{1,9}\s*", text, re.ASCII) is None or int(text) < lowest:
        raise Refused(f"{what} is not a whole number from {lowest}")
    return int(text)


def _condition(field: str, operator: str, texts: Sequence[str]) -> Condition:
    if operator == "exists":
        return Condition(field, operator, (texts[0] not in ("false", "0", ""),))
    if operator == "regex":
        if (match := _ANY_TEXT.fullmatch(texts[0])) is None or texts[0].endswith("$"):
            raise Refused("a pattern is served only where it is a literal text", QuarantineReason.UNSUPPORTED)
        return Condition(field, operator, (match[0],))
    return Condition(field, operator, tuple(_value(field, text) for text in texts))


def _value(field: str, text: str) -> Value:
    text = text.strip()
    if len(text) > 1 and text[0] == text[-1] == "'":
        text = text[1:-1]
    if field in _NUMERIC or (field in _INSTANTS and _NUMBER.fullmatch(text) is not None):
        if _NUMBER.fullmatch(text) is None:
            raise Refused(f"{field} is compared with a number")
        return Decimal(text)
    if field in _INSTANTS or field in _TIMES:
        return _ms_of_text(field, text)
    return {"true": True, "false": False}.get(text, text)


def _ms_of_text(field: str, text: str) -> Decimal:
    """Epoch milliseconds of an ISO 8601 time; without a zone it is UTC, as in Nightscout."""
    text = re.sub(r" (?=[0-9]{2}:?[0-9]{2}$)", "+", text) if "T" in text else text  # an unescaped plus
    if (match := _DAY.fullmatch(text)) is not None:
        text = f"{match[1]}-{match[2] or '01'}-{match[3] or '01'}"
    try:
        at = datetime.fromisoformat(text)
        utc = at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except (ValueError, OverflowError):
        raise Refused(f"{field} is compared with an ISO 8601 time") from None
    return Decimal((utc - EPOCH) // timedelta(milliseconds=1))


def _instant_of_ms(value: Decimal) -> datetime:
    """Clipped to what a `datetime` can hold."""
    lowest, highest = -62_135_596_800_000, 253_402_300_799_000
    return EPOCH + timedelta(milliseconds=min(max(int(value), lowest), highest))


def _holds(condition: Condition, document: Mapping[str, object]) -> bool:
    is_there = condition.field in document
    match condition.operator:
        case "exists":
            return is_there is condition.values[0]
        case "eq" | "in":
            return is_there and any(_is_equal(condition.field, document, value) for value in condition.values)
        case "ne" | "nin":
            return not any(_is_equal(condition.field, document, value) for value in condition.values)
        case "regex":
            return is_there and _is_like(str(document[condition.field]), str(condition.values[0]))
    found, asked = _comparable(condition.field, document.get(condition.field)), condition.values[0]
    if type(found) is bool or type(asked) is bool or type(found) is not type(asked) or found is None:
        return False
    return _COMPARE[condition.operator](found, asked)


def _is_equal(field: str, document: Mapping[str, object], value: Value) -> bool:
    found = _comparable(field, document.get(field))
    if type(found) is Decimal and type(value) is str:
        return _NUMBER.fullmatch(value) is not None and found == Decimal(value)
    return type(found) is type(value) and found == value


def _comparable(field: str, found: object) -> Value | None:
    if type(found) is int:
        return Decimal(found)
    if type(found) is str and field in _TIMES:
        try:
            return _ms_of_text(field, found)
        except Refused:
            return None
    return found if isinstance(found, Decimal | str | bool) else None


def _is_like(found: str, pattern: str) -> bool:
    literal = pattern.removeprefix("^").removesuffix(".*")
    return found.startswith(literal) if pattern.startswith("^") else literal in found


def _order_key(value: object) -> tuple[int, Decimal, str]:
    """Absent below numbers below texts, as Mongo orders them."""
    if isinstance(value, bool | int | Decimal):
        return 1, Decimal(value), ""
    return (2, Decimal(0), value) if isinstance(value, str) else (0, Decimal(0), "")
