from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.advert import Advert
from gateway.devices.dialects import DIALECTS, Dialect, Entity, Message, Said
from gateway.devices.dialects.esphome_miscale import ESPHOME_MISCALE
from gateway.devices.dialects.ha_statestream import HA_STATESTREAM
from gateway.devices.dialects.theengs import THEENGS
from gateway.devices.dialects.topics import filter_fault, matches, overlap
from gateway.model import Metric, QuarantineReason, Unit
from gateway.normalise.reported import ReportedMeasurement

FIXTURES = Path(__file__).parents[1] / "fixtures" / "mqtt"
SCALE = "5C:CA:D3:70:D4:A2"
ENTITIES = (
    Entity("sensor.bathroom_scale_weight", Metric.BODY_MASS, Unit.KG),
    Entity("sensor.bathroom_scale_impedance", Metric.IMPEDANCE, Unit.OHM),
)
assert HA_STATESTREAM.configured is not None
HOME_ASSISTANT = HA_STATESTREAM.configured(ENTITIES)


def said(dialect: Dialect, name: str) -> list[Said]:
    """What the lines of a fixture say."""
    rows = [json.loads(line) for line in (FIXTURES / f"{name}.json").read_text(encoding="utf-8").splitlines()]
    return [dialect.decode(Message(r["topic"], r["payload"].encode(), r["retain"], r["qos"])) for r in rows]


def measured(each: Said) -> list[tuple[Metric, Decimal | None, Unit | None]]:
    return [(m.metric, m.number, m.unit) for untimed in each.untimed for m in untimed.measurements]


def kg(number: str) -> tuple[Metric, Decimal, Unit]:
    return Metric.BODY_MASS, Decimal(number), Unit.KG


def ohm(number: str) -> tuple[Metric, Decimal, Unit]:
    return Metric.IMPEDANCE, Decimal(number), Unit.OHM


def test_theengs_weigh_in() -> None:
    """Weight in its unit, impedance when there is one, and the address that the payload names."""
    found = said(THEENGS, "theengs/weigh_in")
    assert [[kg("72.45")], [kg("72.45")], [kg("72.45"), ohm("503")]] == [measured(each) for each in found[:3]]
    assert {SCALE} == {each.claims for each in found}
    assert [False] * 5 == [each.untimed[0].is_partial for each in found]


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("theengs/pounds", (Metric.BODY_MASS, Decimal("140.65"), Unit.LB)),
        ("theengs/old_release", kg("61.75")),
    ],
)
def test_theengs_units_and_releases(name: str, expected: tuple[Metric, Decimal, Unit]) -> None:
    """Pounds stay pounds; a scale of a release without `type` is known by its model."""
    (only,) = said(THEENGS, name)
    assert [expected] == measured(only)


def test_theengs_ignores_what_is_no_persons_weight() -> None:
    """A suitcase, a thermometer and a bare presence are none of our business, and nothing to set aside."""
    assert [((), ())] * 3 == [(each.untimed, each.problems) for each in said(THEENGS, "theengs/not_a_person")]


def test_theengs_malformed() -> None:
    """Each malformed message is named by what is wrong with it; absurd sizes are left to the plausible range."""
    found = said(THEENGS, "theengs/malformed")
    assert [1, 1, 1, 1, 1, 0, 0, 1] == [len(each.problems) for each in found]
    assert {QuarantineReason.MALFORMED} == {problem.reason for each in found for problem in each.problems}


def test_theengs_hands_on_raw_advertisements() -> None:
    """What has no decoder there is given on as the advertisement that it was."""
    service, maker = said(THEENGS, "theengs/undecoded")
    data = bytes.fromhex("0226e9070203040506e7014632")
    assert (Advert("MIBFS", frozenset({"181b"}), {"181b": data}),) == service.adverts
    assert (Advert(manufacturer_data={0x0157: bytes.fromhex("5ccad370d4a2")}),) == maker.adverts
    assert [SCALE, SCALE] == [service.claims, maker.claims]


@pytest.mark.parametrize(
    ("topic", "expected"),
    [
        ("home/OMG/BTtoMQTT/5CCAD370D4A2", SCALE),
        ("home/OMG/BTtoMQTT/5c:ca:d3:70:d4:a2", SCALE),
        ("home/OMG/BTtoMQTT/undecoded", None),
        ("home/OMG/BTtoMQTT/", None),
    ],
)
def test_theengs_address(topic: str, expected: str | None) -> None:
    """The last level of the topic names the device, with or without colons."""
    assert expected == THEENGS.address_of(topic)


def test_esphome_weigh_in() -> None:
    """Weight and impedance come as halves; `nan` is nothing; the node's birth is an interruption."""
    found = said(ESPHOME_MISCALE, "esphome_miscale/weigh_in")
    assert [[], [kg("71.35")], [], [kg("71.35")], [ohm("503")]] == [measured(each) for each in found[:5]]
    assert [True] + [False] * 6 == [each.is_interrupted for each in found]
    assert all(untimed.is_partial for each in found for untimed in each.untimed)


def test_esphome_retained_status() -> None:
    """A status that the broker kept is no reconnection."""
    assert not said(ESPHOME_MISCALE, "esphome_miscale/retained")[0].is_interrupted


def test_esphome_other_sensors() -> None:
    """Other sensors of the node, and sensors without a value, are none of our business."""
    assert [Said()] * 5 == said(ESPHOME_MISCALE, "esphome_miscale/other_sensors")


def test_esphome_malformed() -> None:
    """A decimal comma, a unit, an exponent, Infinity and a number beyond nine digits are no bare numbers."""
    found = said(ESPHOME_MISCALE, "esphome_miscale/malformed")
    assert [QuarantineReason.MALFORMED] * 5 == [each.problems[0].reason for each in found]


def test_esphome_entities() -> None:
    """Where the configuration explains the objects, their names do not count."""
    assert ESPHOME_MISCALE.configured is not None
    dialect = ESPHOME_MISCALE.configured((Entity("poids", Metric.BODY_MASS, Unit.LB),))
    assert [(Metric.BODY_MASS, Decimal("157.3"), Unit.LB)] == measured(
        dialect.decode(Message("node/sensor/poids/state", b"157.3"))
    )
    assert Said() == dialect.decode(Message("node/sensor/my_weight/state", b"71.35"))


def test_home_assistant_weigh_in() -> None:
    """Only the states of configured entities count; attributes and other entities say nothing."""
    found = said(HOME_ASSISTANT, "ha_statestream/weigh_in")
    assert [[kg("71.35")], [ohm("503")]] == [measured(each) for each in found if each.untimed]
    assert () == sum((each.problems for each in found), ())


def test_home_assistant_unavailable() -> None:
    """`unavailable` and `unknown` are no values, and what follows may be the value from before."""
    found = said(HOME_ASSISTANT, "ha_statestream/unavailable")
    assert [False, True, False, True] == [each.is_interrupted for each in found]


def test_home_assistant_other_unit() -> None:
    """An entity that is shown in another unit than the configuration says is set aside, where people see it."""
    (only,) = said(HOME_ASSISTANT, "ha_statestream/other_unit")
    assert [QuarantineReason.UNSUPPORTED] == [problem.reason for problem in only.problems]


def test_home_assistant_says_nothing_by_itself() -> None:
    """Without entities nothing is a measurement."""
    assert [Said()] * 10 == said(HA_STATESTREAM, "ha_statestream/weigh_in")


SPEAKERS = [*DIALECTS, HOME_ASSISTANT]
LEVELS = st.sampled_from(
    [
        "home",
        "BTtoMQTT",
        "5CCAD370D4A2",
        "undecoded",
        "sensor",
        "x_weight",
        "bathroom_scale_weight",
        "state",
        "status",
        "",
    ]
)
WORDS = st.sampled_from(
    ["id", "type", "weight", "unit", "impedance", "model_id", "weighing_mode", "servicedata", "servicedatauuid"]
)
DOCUMENTS: st.SearchStrategy[dict[str, object]] = st.dictionaries(
    WORDS, st.sampled_from(["SCALE", "kg", "person", SCALE, "0x181b", 72.45, None, True, [], {}])
)


@pytest.mark.parametrize("dialect", SPEAKERS, ids=lambda dialect: dialect.name)
@given(
    topic=st.lists(LEVELS | st.text(max_size=12), min_size=1, max_size=6).map("/".join),
    payload=st.binary(max_size=80) | DOCUMENTS.map(lambda document: json.dumps(document).encode()),
    is_retained=st.booleans(),
)
def test_any_bytes_on_any_topic(dialect: Dialect, topic: str, payload: bytes, is_retained: bool) -> None:
    """Whatever comes, a dialect answers; a problem holds nothing of the payload."""
    answer = dialect.decode(Message(topic, payload, is_retained, 0))
    assert isinstance(answer, Said)
    for untimed in answer.untimed:
        assert untimed.measurements
        assert all(isinstance(each, ReportedMeasurement) for each in untimed.measurements)
        assert len({each.metric for each in untimed.measurements}) == len(untimed.measurements)
    address = dialect.address_of(topic)
    assert address is None or len(address) == 17
    assert all("72.45" not in problem.detail for problem in answer.problems)


@pytest.mark.parametrize("dialect", DIALECTS, ids=lambda dialect: dialect.name)
def test_names_and_topics_are_lawful(dialect: Dialect) -> None:
    """Names are words of the configuration; default topics are topic filters."""
    assert dialect.name.replace("_", "").isalnum()
    assert dialect.name == dialect.name.lower()
    assert [None] * len(dialect.topics) == [filter_fault(each) for each in dialect.topics]


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        ("home/+/BTtoMQTT/+", "home/a/BTtoMQTT/b", True),
        ("home/+/BTtoMQTT/+", "home/a/b", False),
        ("home/#", "home/a/b", True),
        ("home/#", "home", True),
        ("a/+", "a", False),
        ("+/sensor/+/state", "homeassistant/+/+/state", True),
        ("gateway/+/status", "+/status", False),
        ("a/b", "a/c", False),
    ],
)
def test_overlap(one: str, other: str, expected: bool) -> None:
    """Two filters overlap exactly when a topic can match both."""
    assert (expected, expected) == (overlap(one, other), overlap(other, one))


TOPIC_LEVELS = st.sampled_from(["a", "b", ""])
FILTERS = st.builds(
    lambda levels, tail: "/".join([*levels, *tail]),
    st.lists(st.sampled_from(["a", "b", "+", ""]), min_size=1, max_size=3),
    st.sampled_from([[], ["#"]]),
)


@given(FILTERS, FILTERS, st.lists(TOPIC_LEVELS, min_size=1, max_size=4).map("/".join))
def test_what_both_match_is_an_overlap(one: str, other: str, topic: str) -> None:
    """No topic is matched by two filters that are said not to overlap."""
    assert overlap(one, other) or not (matches(one, topic) and matches(other, topic))


@pytest.mark.parametrize("wrong", ["", "#", "a/#/b", "a+/b", "a/b#", "$SYS/#", "a\0b"])
def test_unlawful_filters(wrong: str) -> None:
    """What a broker would refuse, or what would bring everything, is refused before."""
    assert filter_fault(wrong)
