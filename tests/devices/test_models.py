"""The models as data: no two claim one advertisement, every claim about them names a test, every page is fresh."""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.devices.advert import Advert
from gateway.devices.drivers import GENERIC_DRIVERS, driver_for, driver_for_kind, load_drivers, recognised
from gateway.devices.models import FAMILIES, MODEL_DRIVERS, NOT_READ, Shown, why_not_read
from gateway.devices.onetouch import ONETOUCH_SERVICE
from gateway.devices.procedures import Facts
from gateway.devices.quirks import RecordNumbering
from gateway.model import DeviceKind

ROOT = Path(__file__).resolve().parents[2]
PAGES: dict[str, Any] = runpy.run_path(str(ROOT / "scripts" / "device-pages.py"))
MI_SCALE = bytes.fromhex("224632e9070203040506")
MI_BODY = bytes.fromhex("0226e9070203040506e7014632")
BTHOME = bytes.fromhex("40002a015f062319")


def of(name: str | None, *services: str, company: int | None = None, **data: bytes) -> Advert:
    return Advert(
        name,
        frozenset(services),
        {uuid.removeprefix("u"): payload for uuid, payload in data.items()},
        {} if company is None else {company: b"\x01"},
    )


READ = [
    ("accu_chek.guide", of("meter+12345678", "1808")),
    ("accu_chek.guide", of("meter+12345678")),
    ("accu_chek.aviva", of("ACCU-CHEK Aviva Connect", "1808")),
    ("contour", of("Contour7830H5012345", "1808")),
    ("contour", of(None, "1808", company=0x0167)),
    ("onetouch", of("OneTouch A1B2")),
    ("onetouch", of(None, ONETOUCH_SERVICE)),
    ("fora", of("FORA GD40B", "1808")),
    ("fora", of("DIAMOND MOBILE", "1808")),
    ("fora", of("TAIDOC TD4286", "1808")),
    ("caresens", of("CareSensNPlus", "1808")),
    ("caresens", of(None, "1808", company=0x089E)),
    ("glucomen", of("GlucoMen Areo", "1808")),
    ("beurer.scale", of("BF720", "181d", company=0x0611)),
    ("beurer.scale", of("Beurer BF105", "181d")),
    ("beurer.scale", of(None, "181d", company=0x0611)),
    ("sanitas.scale", of("SBF72", "181d")),
    ("sanitas.scale", of("BF915", "181d", company=0x0611)),
    ("beurer.meter", of("GL50EVO", "1808")),
    ("omron.scale", of("BLEsmart_00010112A1B2C3", "181d", company=0x020E)),
    ("a_and_d.scale", of("A&D_UC-352BLE_1A2B3C", "181d", company=0x0069)),
    ("omron.cuff", of("BLEsmart_00000116A1B2C3", "1810", company=0x020E)),
    ("a_and_d.cuff", of("A&D_UA-651BLE_1A2B3C", "1810", company=0x0069)),
    ("xiaomi.scale", of("MI_SCALE", u181d=MI_SCALE)),
    ("xiaomi.scale", of("MI SCALE2", "181d", company=0x0157, u181d=MI_SCALE)),
    ("xiaomi.body_composition", of("MIBCS", "181b", u181b=MI_BODY)),
    ("xiaomi.body_composition", of("MIBFS", "181b", company=0x0157, u181b=MI_BODY)),
    ("bthome.scale", of("DIY-scale", ufcd2=BTHOME)),
    ("gatt.glucose_meter", of("some meter", "1808")),
    ("gatt.scale", of("some scale", "181d")),
    ("gatt.cgm", of("some sensor", "181f")),
    ("gatt.blood_pressure", of("some cuff", "1810")),
    ("gatt.pulse_oximeter", of("some oximeter", "1822")),
    ("gatt.thermometer", of("some thermometer", "1809")),
    ("gatt.heart_rate", of("some belt", "180d")),
]
SEALED = [
    ("xiaomi.sealed_scale", "xiaomi.needs_key", of("MJTZC01YM", ufe95=bytes.fromhex("4859d53b0abc"))),
    ("xiaomi.sealed_scale", "xiaomi.needs_key", of(None, ufe95=bytes.fromhex("4859044c01"))),
    ("bthome.sealed_scale", "bthome.encrypted", of("DIY", ufcd2=b"\x41\xa4\x72")),
]
EXPLAINED = [
    ("beurer.own_protocol", of("BEURER BF700", "ffe0")),
    ("beurer.own_protocol", of("SANITAS SBF70", "ffe0")),
    ("omron.own_protocol", of("BLEsmart_0001", "fe4a", company=0x020E)),
    ("medisana.own_protocol", of(None, "78b2")),
    ("soehnle.own_protocol", of("Shape200", "352e3000-28e9-40b8-a361-6db4cca4147c")),
    ("renpho.own_protocol", of("QN-Scale", "fff0")),
    ("renpho.own_protocol", Advert(manufacturer_data={0xFFFF: b"\xaa\xbb\x01"})),
    ("eufy.own_protocol", of("eufy T9140")),
    ("xiaomi.encrypted", of("XMTZC01YM", ufe95=b"\x48\x59")),
]


def claims(advert: Advert) -> list[str]:
    return [driver.name for driver in MODEL_DRIVERS if driver.matches(advert)]


@pytest.mark.parametrize(("name", "reason", "advert"), SEALED)
def test_what_needs_a_key_is_recognised_and_says_so(name: str, reason: str, advert: Advert) -> None:
    """One driver, which does nothing without a key, and the sentence for who has none."""
    driver = driver_for(advert, load_drivers())
    why = why_not_read(advert)
    assert driver is not None
    assert why is not None
    assert (name, reason) == (driver.name, why.name)
    assert (True, None, None) == (driver.unlock is not None, driver.listen, driver.open)
    assert 1 == len(claims(advert))


@pytest.mark.parametrize(("name", "advert"), READ)
def test_each_family_is_recognised_by_one_driver(name: str, advert: Advert) -> None:
    """The driver that is meant, and at most one of the models."""
    driver = driver_for(advert, load_drivers())
    assert driver is not None
    assert name == driver.name
    assert len(claims(advert)) <= 1
    assert why_not_read(advert) is None


@pytest.mark.parametrize(("name", "advert"), EXPLAINED)
def test_what_cannot_be_read_says_why(name: str, advert: Advert) -> None:
    """It is recognised, no driver fails at it, and the reason and the way round are there in both languages."""
    entry = why_not_read(advert)
    assert entry is not None
    assert name == entry.name
    assert [] == claims(advert)
    assert all(entry.reason)
    assert entry.route is None or all(entry.route)
    assert len([other for other in NOT_READ if other.matches(advert)]) == 1


def test_corpus_is_whole() -> None:
    """Every driver and every explanation has an advertisement."""
    assert {driver.name for driver in (*MODEL_DRIVERS, *GENERIC_DRIVERS)} == {name for name, *_ in (*READ, *SEALED)}
    assert {entry.name for entry in NOT_READ} == {name for name, _ in EXPLAINED} | {reason for _, reason, _ in SEALED}


_names = sorted({advert.name for _, advert in READ + EXPLAINED if advert.name is not None})
_services = sorted({uuid for _, advert in READ + EXPLAINED for uuid in advert.services} | {"180a", "1810", "1805"})
_companies = [0x0167, 0x089E, 0x0611, 0x020E, 0x0069, 0x0157, 0xFFFF]
_payloads = st.one_of(st.sampled_from([MI_SCALE, MI_BODY, BTHOME]), st.binary(max_size=16))


@given(
    st.one_of(st.none(), st.sampled_from(_names), st.text(max_size=10)),
    st.frozensets(st.sampled_from(_services), max_size=3),
    st.dictionaries(st.sampled_from(["181d", "181b", "fcd2", "fe95"]), _payloads, max_size=2),
    st.dictionaries(st.sampled_from(_companies), st.binary(max_size=4), max_size=1),
)
def test_connected_families_never_claim_the_same(
    name: str | None, services: frozenset[str], data: dict[str, bytes], companies: dict[int, bytes]
) -> None:
    """Whatever is mixed into an advertisement: one family to connect to at most, and one to listen to."""
    advert = Advert(name, services, data, companies)
    matching = [driver for driver in MODEL_DRIVERS if driver.matches(advert)]
    assert len([driver for driver in matching if driver.open is not None]) <= 1
    assert len([driver for driver in matching if driver.open is None]) <= 1


@pytest.mark.parametrize(
    ("facts", "name"),
    [
        (Facts(manufacturer="TaiDoc", model="TD-4286"), "fora"),
        (Facts(model="DM30b"), "fora"),
        (Facts(manufacturer="i-SENS", model="CareSens N Premier"), "caresens"),
        (Facts(manufacturer="Ascensia Diabetes Care"), "contour"),
        (Facts(manufacturer="Roche", model="Aviva Connect"), "accu_chek.aviva"),
        (Facts(manufacturer="Menarini"), "glucomen"),
        (Facts(manufacturer="Somebody", model="X"), "gatt.glucose_meter"),
        (Facts(), "gatt.glucose_meter"),
    ],
)
def test_family_shows_after_connecting(facts: Facts, name: str) -> None:
    """Many meters show only 1808: what they say about themselves decides."""
    generic = GENERIC_DRIVERS[0]
    assert name == recognised(generic, facts, load_drivers()).name


def test_no_two_families_recognise_the_same_device() -> None:
    """Makers and models of the data are disjoint."""
    for facts in (Facts(manufacturer="TaiDoc"), Facts(manufacturer="i-SENS"), Facts(model="Contour Next")):
        found = [driver.name for driver in MODEL_DRIVERS if driver.recognises is not None and driver.recognises(facts)]
        assert 1 == len(found)


def test_device_known_by_configuration_only_gets_the_generic_conversation() -> None:
    """Where no advertisement is claimed, no maker's way is guessed."""
    for kind, name in ((DeviceKind.GLUCOSE_METER, "gatt.glucose_meter"), (DeviceKind.SCALE, "gatt.scale")):
        driver = driver_for_kind(kind, load_drivers())
        assert driver is not None
        assert name == driver.name


def test_a_scale_is_never_taken_for_a_meter() -> None:
    """A maker's name alone does not make its scale a meter."""
    scale = next(driver for driver in GENERIC_DRIVERS if driver.name == "gatt.scale")
    assert scale is recognised(scale, Facts(manufacturer="TaiDoc"), load_drivers())


def test_every_model_says_how_it_is_paired() -> None:
    """A title, and as many steps in French as in English."""
    for driver in MODEL_DRIVERS:
        assert driver.title
        assert driver.pairing is not None
        assert len(driver.pairing.fr) == len(driver.pairing.en) >= 2
        assert not driver.quirks.pairs_first or driver.open is not None


def test_every_page_is_fresh() -> None:
    """docs/devices holds one page for each family, and says what the data say."""
    folder = ROOT / "docs" / "devices"
    assert PAGES["pages"]() == {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.md")}
    assert len({family.slug for family in FAMILIES}) == len(FAMILIES)


def test_every_check_names_tests_that_exist() -> None:
    """What is said to have been shown was shown by a test; hardware was not there, and nothing claims it."""
    for family in FAMILIES:
        assert family.checks, family.slug
        for check in family.checks:
            assert check.shown is not Shown.HARDWARE
            assert bool(check.tests) == (check.shown is not Shown.NOT), (family.slug, check.what)
            for test in check.tests:
                path, _, name = test.partition("::")
                code = (ROOT / path).read_text(encoding="utf-8")
                assert re.search(rf"^(async )?def {name}\(", code, re.MULTILINE), test


def test_backwards_numbers_are_a_quirk_of_one_family() -> None:
    """Quirks are data that others can look at."""
    assert ["fora"] == [d.name for d in MODEL_DRIVERS if d.quirks.numbering is RecordNumbering.BACKWARDS]
