from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.nightscout import LOOK_BACK, MOST_V1, MOST_V3, EntryQuery, parse_query, parse_v3_query
from gateway.devices.passerelle_fields import Refused

MS = 1772362558581  # 2026-03-01T10:55:58.581Z
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
STEP_MS = 300_000


def document(number: int = 0, **changes: object) -> dict[str, object]:
    at = datetime.fromtimestamp((MS - number * STEP_MS) / 1000, UTC)
    return {
        "_id": f"{number:024x}",
        "type": "sgv",
        "sgv": 113 + number,
        "date": MS - number * STEP_MS,
        "dateString": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
        "device": "xDrip-DexcomG5",
        "noise": 1,
        "isValid": True,
        "identifier": f"id-{number}",
        **changes,
    }


def v1(text: str) -> EntryQuery:
    return parse_query(parse_qsl(text, keep_blank_values=True))


def v3(text: str) -> EntryQuery:
    return parse_v3_query(parse_qsl(text, keep_blank_values=True))


def test_without_words_ten_entries_of_four_days_newest_first() -> None:
    """The defaults of Nightscout."""
    query = v1("")
    assert query == EntryQuery(looks_back=True)
    assert query.window(NOW) == (NOW - timedelta(days=4), None)
    answer = query.answer([document(number) for number in (3, 1, 2, *range(4, 20))])
    assert [MS - number * STEP_MS for number in range(1, 11)] == [each["date"] for each in answer]


def test_a_follower_asks_for_what_is_newer() -> None:
    """xDrip+ and Loop: `find[date][$gt]` in milliseconds, then the four days no longer hold."""
    query = v1(f"count=2&find[date][$gt]={MS - 2 * STEP_MS}&rr=1772362")
    assert not query.looks_back
    assert ["id-0", "id-1"] == [each["identifier"] for each in query.answer([document(n) for n in range(5)])]
    start, end = query.window(NOW)
    assert start == datetime.fromtimestamp((MS - 2 * STEP_MS) / 1000, UTC)
    assert end is None


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        (f"find[date]={MS}", [0]),
        (f"find[date][$lte]={MS - STEP_MS}", [1, 2, 3]),
        (f"find[date][$gte]={MS - 2 * STEP_MS}&find[date][$lt]={MS}", [1, 2]),
        ("find[date][$gte]=2026-03-01T11:50:58.581+01:00", [0, 1]),
        ("find[dateString][$gte]=2026-03-01T10:50:58.581Z", [0, 1]),
        ("find[dateString][$gte]=2026-03-01", [0, 1, 2, 3]),
        ("find[dateString][$gte]=2026-03-01T11:50:58 0100", [0, 1]),
        ("find[dateString][$lt]=2026-03", []),
        ("find[dateString][$gte]=2026&find[sgv][$gt]=114", [2, 3]),
        ("find[sgv][$eq]=114", [1]),
        ("find[sgv][$ne]=114", [0, 2, 3]),
        ("find[sgv][$in][]=113&find[sgv][$in][]=116", [0, 3]),
        ("find[sgv][$nin][0]=113&find[sgv][$nin][1]=116", [1, 2]),
        ("find[type]=sgv", [0, 1, 2, 3]),
        ("find[type]=mbg", []),
        ("find[type][$ne]=mbg", [0, 1, 2, 3]),
        ("find[mbg][$gte]=1", []),
        ("find[mbg][$exists]=false&find[sgv][$exists]=true", [0, 1, 2, 3]),
        ("find[identifier]=id-2", [2]),
        ("find[_id]=000000000000000000000003", [3]),
        ("find[device][$regex]=Dexcom", [0, 1, 2, 3]),
        ("find[device][$regex]=^Dexcom", []),
        ("find[dateString][$regex]=^2026-03-01T10:5.*", [0, 1]),
        ("find[isValid]=true&find[noise][$lte]=1", [0, 1, 2, 3]),
        ("token=abc&secret=def&now=1&t=x", [0, 1, 2, 3]),
    ],
)
def test_conditions(text: str, numbers: list[int]) -> None:
    """Every operator that clients use, on numbers, words and times."""
    query = v1(text)
    assert numbers == [n for n in range(4) if query.accepts(document(n))]
    start, end = query.window(NOW)
    for n in numbers:
        at = datetime.fromtimestamp((MS - n * STEP_MS) / 1000, UTC)
        assert start is None or start <= at
        assert end is None or at < end


@pytest.mark.parametrize(
    "text",
    [
        "find[date][$where]=1",
        "find[$or][0][type]=sgv",
        "find[type][a]=1",
        "find",
        "find[sgv][$gt]=high",
        "find[date][$gte]=yesterday",
        "find[dateString][$gte]=12",
        "find[device][$regex]=(a%2B)%2B",
        "find[device][$regex]=a|b",
        "find[type]=sgv&find[type]=mbg",
        "count=0",
        "count=-1",
        "count=ten",
        "sort[date]=up",
        "find[type]=" + "x" * 201,
        "&".join(f"find[a{n}]=1" for n in range(33)),
    ],
)
def test_what_cannot_be_served_is_refused(text: str) -> None:
    """Code, nested logic, patterns that are more than a text, and values that are none: refused, never ignored."""
    with pytest.raises(Refused):
        v1(text)


def test_count_is_bounded() -> None:
    """A client that asks for everything gets much, not all."""
    assert v1("count=999999999").limit == MOST_V1
    assert v1("count=").limit == 10


def test_the_types_that_can_answer() -> None:
    """The store is asked for no more than what can answer."""
    assert v1("").types() == {"sgv", "mbg"}
    assert v1("find[type]=sgv").types() == {"sgv"}
    assert v1("find[type][$ne]=sgv").types() == {"mbg"}
    assert v1("find[type]=cal").types() == frozenset()


def test_sorting() -> None:
    """v1 sorts by a field up or down."""
    documents = [document(1), document(0), document(2)]
    assert [115, 114, 113] == [each["sgv"] for each in v1("sort[sgv]=-1").answer(documents)]
    assert [115, 114, 113] == [each["sgv"] for each in v1("sort[date]=1").answer(documents)]


def test_v3_search() -> None:
    """AAPS and Juggluco: filter by field and operator, order, page, chosen fields."""
    query = v3(f"date$gte={MS - 3 * STEP_MS}&sort$desc=date&limit=2&skip=1&fields=identifier,sgv&token=x")
    assert query.answer([document(n) for n in range(6)]) == [
        {"identifier": "id-1", "sgv": 114},
        {"identifier": "id-2", "sgv": 115},
    ]


def test_v3_defaults() -> None:
    """All valid documents, oldest first, at most a thousand; nothing is told of deleted ones."""
    query = v3("")
    assert (query.limit, query.skip, query.is_descending, query.fields) == (MOST_V3, 0, False, None)
    assert not query.looks_back
    assert ["id-1"] == [each["identifier"] for each in query.answer([document(0, isValid=False), document(1)])]


@pytest.mark.parametrize(
    ("text", "numbers"),
    [
        ("type=sgv&sgv$in=113|115", [0, 2]),
        ("sgv$nin=113|115", [1, 3]),
        ("date$gt=2026-03-01T10:46:00Z", [0, 1]),
        ("device$re=Dex", [0, 1, 2, 3]),
        ("identifier$eq='id-3'", [3]),
        ("isValid=true&fields=_all", [0, 1, 2, 3]),
        ("srvModified$gt=5", []),
    ],
)
def test_v3_conditions(text: str, numbers: list[int]) -> None:
    """Operators of v3, with its lists and quotes."""
    assert numbers == [n for n in range(4) if v3(text).accepts(document(n))]


@pytest.mark.parametrize(
    "text", ["limit=0", "limit=1001", "limit=x", "skip=-1", "sort=a&sort$desc=b", "sgv$where=1", "a b=1", "sgv$gt=x"]
)
def test_v3_refusals(text: str) -> None:
    """Out of tolerance, as Nightscout answers 400."""
    with pytest.raises(Refused):
        v3(text)


NAMES = st.sampled_from(
    ["find[date][$gte]", "find[sgv]", "find[type][$in][]", "find[a][$regex]", "count", "date$gt", "limit", "sort[date]"]
)
PAIRS = st.lists(st.tuples(NAMES | st.text(max_size=12), st.text(max_size=20) | st.integers().map(str)), max_size=6)
VALUES = st.none() | st.booleans() | st.integers() | st.decimals(allow_nan=False) | st.text() | st.lists(st.integers())


@given(PAIRS, st.dictionaries(st.sampled_from(["date", "sgv", "type", "a", "dateString"]), VALUES))
def test_any_question_is_answered_or_refused(pairs: list[tuple[str, str]], asked: dict[str, object]) -> None:
    """No query and no document raises anything else."""
    for parse in (parse_query, parse_v3_query):
        try:
            query = parse(pairs)
        except Refused:
            continue
        assert query.answer([asked]) in ([], [query.told(asked)])
        start, end = query.window(NOW)
        assert start is None or start.tzinfo is UTC
        assert end is None or end.tzinfo is UTC


@given(st.integers(MS - 10**9, MS + 10**9), st.sampled_from(["gt", "gte", "lt", "lte", "eq"]), st.integers(-3, 3))
def test_the_window_hides_no_answer(at: int, operator: str, off: int) -> None:
    """Whatever is accepted lies inside the window."""
    query = v1(f"find[date][${operator}]={at + off}")
    if query.accepts({"date": at}):
        start, end = query.window(NOW)
        instant = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=at)
        assert start is None or start <= instant
        assert end is None or instant < end


def test_look_back_is_that_of_nightscout() -> None:
    """Four days, in milliseconds 345,600,000."""
    assert LOOK_BACK / timedelta(milliseconds=1) == Decimal(345_600_000)
