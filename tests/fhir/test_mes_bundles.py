"""What is sent for each measure: golden files, values, devices, and what never leaves."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Literal

import pytest
from fhir_samples import (
    ACCOUNT,
    CGM,
    METER,
    PERIOD,
    PERIOD_END,
    SCALE,
    SOLUTION,
    device_of,
    glucose,
    gmi_of,
    mean_of,
    observation_in,
    reading,
    sample,
    weight,
)
from hypothesis import given
from hypothesis import strategies as st

from gateway.fhir.mes import (
    LEGACY_PROFILES,
    NATIONAL_PROFILES,
    MesContext,
    NotForSpace,
    capillary_glucose_bundle,
    interstitial_mean_bundle,
    leaves,
    phd_device,
    system_identifier,
    weight_bundle,
    why_not,
)
from gateway.fhir.r4 import Bundle, to_json
from gateway.fhir.rules import check_transaction
from gateway.fhir.terminology import ANS_TERMS_NOS, MOMENT_URL, NUMBER_OF_DAYS_URL, REASON_URL
from gateway.model import (
    CATALOGUE,
    Absent,
    Bound,
    BoundKind,
    Context,
    Device,
    DeviceId,
    DeviceKind,
    Meal,
    Metric,
    Reading,
    TimeQuality,
    Unit,
)

GOLDEN = Path(__file__).parents[1] / "fixtures" / "fhir"
BARE = Device(DeviceId("meter_1"), DeviceKind.UNKNOWN, "\t")
SHORT = replace(PERIOD, last_day=date(2026, 3, 7), is_sufficient=False, gmi_percent=None)
ODD = replace(PERIOD, first_day=date(2026, 2, 22))


def in_dialect(terminology: Literal["2024", "2025", "both"]) -> MesContext:
    return replace(ACCOUNT, terminology=terminology)


GOLDEN_BUNDLES: dict[str, Bundle] = {
    "body-mass": sample("body_mass"),
    "body-mass-lb": weight_bundle(weight("157.3", Unit.LB), SCALE, ACCOUNT),
    "body-mass-national": sample("body_mass", replace(ACCOUNT, profiles=NATIONAL_PROFILES)),
    "glucose-capillary": sample("glucose_capillary"),
    "glucose-capillary-mmol-fasting": capillary_glucose_bundle(
        glucose("6.1", Unit.MMOL_L, Context(meal=Meal.FASTING)), METER, ACCOUNT
    ),
    "glucose-capillary-bare-device": capillary_glucose_bundle(glucose("1.12", Unit.G_L), BARE, ACCOUNT),
    "glucose-capillary-exercise": capillary_glucose_bundle(
        glucose(context=Context(exercise_duration_s=1800)), METER, ACCOUNT
    ),
    "glucose-mean-2024": sample("glucose_mean", in_dialect("2024")),
    "glucose-mean-2025": sample("glucose_mean", in_dialect("2025")),
    "glucose-mean-both": sample("glucose_mean", in_dialect("both")),
    "glucose-mean-both-nos": sample("glucose_mean", replace(ACCOUNT, ans_system=ANS_TERMS_NOS)),
    "glucose-mean-7-days": mean_of(SHORT),
    "glucose-mean-21-days": mean_of(ODD),
    "glucose-mean-without-device": mean_of(device=None),
    "gmi-2024": sample("gmi", in_dialect("2024")),
    "gmi-2025": sample("gmi", in_dialect("2025")),
    "gmi-both": sample("gmi", in_dialect("both")),
    "gmi-nos": sample("gmi", replace(ACCOUNT, ans_system=ANS_TERMS_NOS)),
}


@pytest.mark.parametrize("name", GOLDEN_BUNDLES)
def test_each_bundle_is_its_golden_file(name: str) -> None:
    """What goes over the wire changes only on purpose (PASSERELLE_WRITE_GOLDEN=1 writes the files anew)."""
    path = GOLDEN / f"{name}.json"
    sent = json.dumps(json.loads(to_json(GOLDEN_BUNDLES[name])), indent=1, ensure_ascii=False) + "\n"
    if os.environ.get("PASSERELLE_WRITE_GOLDEN") == "1":
        path.write_text(sent, encoding="utf-8")
    assert path.read_text(encoding="utf-8") == sent


@pytest.mark.parametrize("name", GOLDEN_BUNDLES)
def test_each_bundle_obeys_the_published_rules(name: str) -> None:
    """Nothing that we build is refused by the rules of the space."""
    assert check_transaction(GOLDEN_BUNDLES[name], solution_oid=SOLUTION) == []


def test_every_golden_file_belongs_to_a_bundle() -> None:
    """No golden file outlives its case."""
    assert sorted(GOLDEN_BUNDLES) == sorted(path.stem for path in GOLDEN.glob("*.json"))


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("71.35", Unit.KG, "71.35"),
        ("71.350", Unit.KG, "71.350"),
        ("71.3505", Unit.KG, "71.3505"),
        ("157.3", Unit.LB, "71.350"),
        ("142.7", Unit.JIN, "71.35"),
        ("71.00000000001", Unit.KG, "71.000"),
        ("71." + "0" * 60, Unit.KG, "71.000"),
    ],
)
def test_weight_is_sent_as_the_device_said_it(value: str, unit: Unit, expected: str) -> None:
    """Kilograms are untouched; pounds and jin become kilograms with at most three decimals."""
    quantity = observation_in(weight_bundle(weight(value, unit), SCALE, ACCOUNT)).valueQuantity
    assert quantity is not None
    assert expected == str(quantity.value)


@pytest.mark.parametrize(
    ("value", "unit", "expected"),
    [
        ("112", Unit.MG_DL, "112"),
        ("112.5", Unit.MG_DL, "112.5"),
        ("6.1", Unit.MMOL_L, "110"),
        ("1.125", Unit.G_L, "113"),
    ],
)
def test_glucose_is_whole_mg_dl_unless_the_meter_said_otherwise(value: str, unit: Unit, expected: str) -> None:
    """Only conversions are rounded, half up."""
    quantity = observation_in(capillary_glucose_bundle(glucose(value, unit), METER, ACCOUNT)).valueQuantity
    assert quantity is not None
    assert (expected, "mg/dL") == (str(quantity.value), quantity.code)


def extension_code(bundle: Bundle, url: str) -> str | None:
    for extension in observation_in(bundle).extension:
        if extension.url == url and extension.valueCodeableConcept is not None:
            return extension.valueCodeableConcept.coding[0].code
    return None


@pytest.mark.parametrize(
    ("context", "expected"),
    [
        (Context(meal=Meal.PREPRANDIAL), "88365-2"),
        (Context(meal=Meal.POSTPRANDIAL), "16915-1"),
        (Context(meal=Meal.FASTING), "53049-3"),
        (Context(meal=Meal.CASUAL), "LA46-8"),
        (Context(meal=Meal.BEDTIME), "LA46-8"),
        (Context(), "LA46-8"),
        (Context(exercise_duration_s=600), "LA11865-5"),
        (Context(exercise_intensity_percent=40), "LA11865-5"),
        (Context(exercise_duration_s=0, exercise_intensity_percent=0), "LA46-8"),
        (Context(meal=Meal.FASTING, exercise_duration_s=600), "53049-3"),
    ],
)
def test_the_moment_follows_meal_then_exercise(context: Context, expected: str) -> None:
    """Each capillary test carries one moment of JDV_J157."""
    bundle = capillary_glucose_bundle(glucose(context=context), METER, ACCOUNT)
    assert expected == extension_code(bundle, MOMENT_URL)


@pytest.mark.parametrize(
    ("first", "expected", "comment"),
    [
        (date(2026, 3, 8), "GEN-275", None),
        (date(2026, 3, 1), "GEN-276", None),
        (date(2026, 2, 13), "GEN-277", None),
        (date(2025, 12, 15), "GEN-278", None),
        (date(2026, 2, 22), "GEN-092.08.05", "21 jours"),
    ],
)
def test_the_number_of_days_is_that_of_the_period(first: date, expected: str, comment: str | None) -> None:
    """A usual length has its code; any other is "other" with the number in words."""
    bundle = mean_of(replace(PERIOD, first_day=first))
    comments = [part.valueString for part in observation_in(bundle).extension if part.url == REASON_URL]
    assert expected == extension_code(bundle, NUMBER_OF_DAYS_URL)
    assert ([comment] if comment else []) == comments


def test_period_figures_are_rounded_once() -> None:
    """The mean is whole mg/dL and the GMI has one decimal, both half up."""
    mean, gmi = observation_in(mean_of()).valueQuantity, observation_in(gmi_of()).valueQuantity
    assert mean is not None
    assert gmi is not None
    assert (str(mean.value), str(gmi.value)) == ("146", "6.8")


@pytest.mark.parametrize(
    "period",
    [
        replace(PERIOD, is_sufficient=False),
        replace(PERIOD, gmi_percent=None),
        replace(PERIOD, first_day=date(2026, 3, 2)),
    ],
)
def test_a_gmi_needs_fourteen_sufficient_days(period: object) -> None:
    """Without enough data there is no GMI to send."""
    assert isinstance(period, type(PERIOD))
    with pytest.raises(NotForSpace):
        gmi_of(period)


def test_a_mean_needs_data() -> None:
    """An empty period has no mean."""
    with pytest.raises(NotForSpace):
        mean_of(replace(PERIOD, mean_mg_dl=None, count=0))


def test_the_time_is_written_with_the_persons_offset() -> None:
    """A measure carries the person's wall clock and offset; a period ends at the person's midnight."""
    assert observation_in(sample("body_mass")).effectiveDateTime == "2026-03-02T07:12:05+01:00"
    assert observation_in(sample("gmi")).effectiveDateTime == "2026-03-15T00:00:00+01:00"
    utc = interstitial_mean_bundle(PERIOD, CGM, ACCOUNT, effective_at=datetime(2026, 3, 14, 23, tzinfo=UTC))
    assert observation_in(utc).effectiveDateTime == "2026-03-14T23:00:00+00:00"


def test_a_period_end_without_zone_is_a_mistake() -> None:
    """A naive instant is refused, not guessed."""
    with pytest.raises(ValueError, match="aware"):
        interstitial_mean_bundle(PERIOD, CGM, ACCOUNT, effective_at=PERIOD_END.replace(tzinfo=None))


@pytest.mark.parametrize(
    ("changed", "reason"),
    [
        (replace(weight(), value=None, bound=Bound(BoundKind.ABOVE)), "bound"),
        (replace(weight(), value=None, absent=Absent.UNSUCCESSFUL), "absent"),
        (glucose(context=Context(is_control_solution=True)), "control_solution"),
        (glucose(context=Context(sample_type="control_solution")), "control_solution"),
        (glucose(context=Context(sample_location="control_solution")), "control_solution"),
        (glucose(context=Context(status=("strip_type_incorrect",))), "status"),
        (glucose(context=Context(status=("battery_low", "time_fault"))), "status"),
        (glucose(context=Context(status=("battery_low",))), None),
        (replace(weight(), time_quality=TimeQuality.UNKNOWN), "time_unknown"),
        (replace(weight(), time_quality=TimeQuality.RECEIVED), None),
        (replace(weight(), value=Decimal(501)), "implausible"),
        (glucose("9"), "implausible"),
        (weight(), None),
    ],
)
def test_what_says_nothing_certain_about_the_person_stays(changed: Reading, reason: str | None) -> None:
    """Bounds, failures, control solutions, flagged tests, unknown times and implausible values never leave."""
    assert reason == why_not(changed)
    assert (reason is None) == leaves(changed)
    if reason is not None:
        build = weight_bundle if changed.metric is Metric.BODY_MASS else capillary_glucose_bundle
        with pytest.raises(NotForSpace) as caught:
            build(changed, SCALE, ACCOUNT)
        assert reason == caught.value.reason


@pytest.mark.parametrize("metric", sorted(set(Metric) - {Metric.BODY_MASS, Metric.GLUCOSE_CAPILLARY}))
def test_no_other_metric_leaves(metric: Metric) -> None:
    """BMI, single sensor readings, body composition and the rest stay at home."""
    info = CATALOGUE[metric]
    other = reading(metric, str(info.highest), info.unit)
    assert why_not(other) == "metric"
    with pytest.raises(NotForSpace):
        weight_bundle(other, SCALE, ACCOUNT)


def identifiers(device: Device) -> dict[str, str]:
    found: dict[str, str] = {}
    for identifier in phd_device(device, ACCOUNT).identifier:
        assert identifier.type is not None
        found[identifier.type.coding[0].code or ""] = identifier.value or ""
    return found


def test_a_device_is_named_by_what_it_says_itself() -> None:
    """The stated system id wins, the Bluetooth address is added."""
    assert identifiers(SCALE) == {"SYSID": "FE-ED-AB-EE-DE-AD-77-C3", "BTMAC": "C4-7C-8D-00-11-22"}


@pytest.mark.parametrize("system_id", [None, "0" * 16, "not hexadecimal!"])
def test_without_a_system_id_the_address_names_the_device(system_id: str | None) -> None:
    """All zeros would make one device of all; the address does not."""
    named = identifiers(replace(SCALE, system_id=system_id))
    assert named == {"SYSID": "C4-7C-8D-FF-FE-00-11-22", "BTMAC": "C4-7C-8D-00-11-22"}


def test_without_address_a_stable_local_name_is_made() -> None:
    """The same device keeps its name; another patient's device of the same local id has another one."""
    first = system_identifier(CGM, ACCOUNT)
    assert first == system_identifier(replace(CGM, display_name="Autre", firmware="9"), ACCOUNT)
    assert first != system_identifier(CGM, replace(ACCOUNT, patient_id="someone-else"))
    assert first != system_identifier(replace(CGM, device_id=DeviceId("cgm2")), ACCOUNT)
    assert int(first[:2], 16) & 3 == 2
    assert {"SYSID": first} == identifiers(CGM)


def test_what_nobody_knows_about_a_device_is_said_plainly() -> None:
    """Compulsory texts are never empty, optional ones are left out."""
    found = phd_device(replace(BARE, manufacturer="  ", serial="A\x00B\n C"), ACCOUNT)
    assert (found.manufacturer, found.modelNumber, found.serialNumber) == ("unknown", "meter_1", "A B C")
    assert found.deviceName == ()
    assert found.specialization[0].systemType.coding[0].code == "528457"


def test_mapping_again_gives_the_same_bundle() -> None:
    """Every UUID comes from the fact, so that a repetition can be recognised."""
    assert to_json(sample("body_mass")) == to_json(sample("body_mass"))
    later = replace(weight(), record_key="18")
    assert sample("body_mass").entry[0].fullUrl != weight_bundle(later, SCALE, ACCOUNT).entry[0].fullUrl
    assert sample("gmi").entry[0].fullUrl != sample("glucose_mean").entry[0].fullUrl
    assert device_of(sample("gmi")).id == device_of(sample("glucose_mean")).id


def test_profile_urls_can_be_those_of_another_generation() -> None:
    """The deployment says which names the space knows the profiles by."""
    meta = observation_in(sample("body_mass", replace(ACCOUNT, profiles=LEGACY_PROFILES))).meta
    assert meta is not None
    assert meta.profile == ("http://esante.gouv.fr/ci-sis/fhir/StructureDefinition/ENS_FrObservationBodyWeight",)


UNITS = {Metric.BODY_MASS: (Unit.KG, Unit.LB, Unit.JIN), Metric.GLUCOSE_CAPILLARY: (Unit.MG_DL, Unit.MMOL_L, Unit.G_L)}
DEVICES = st.builds(
    Device,
    device_id=st.from_regex(r"[a-z0-9][a-z0-9_-]{0,63}", fullmatch=True).map(DeviceId),
    kind=st.sampled_from(DeviceKind),
    display_name=st.text(max_size=80),
    person_id=st.none(),
    address=st.none() | st.from_regex(r"([0-9A-F]{2}:){5}[0-9A-F]{2}", fullmatch=True),
    manufacturer=st.none() | st.text(max_size=80),
    model=st.none() | st.text(max_size=80),
    serial=st.none() | st.text(max_size=80),
    firmware=st.none() | st.text(max_size=80),
    system_id=st.none() | st.from_regex(r"[0-9A-F]{16}", fullmatch=True),
    last_heard_at=st.none(),
    battery_percent=st.none(),
)


@st.composite
def plausible_readings(draw: st.DrawFn) -> Reading:
    metric = draw(st.sampled_from(sorted(UNITS)))
    info = metric.info
    value = draw(st.decimals(info.lowest, info.highest, allow_nan=False, allow_infinity=False))
    meals: st.SearchStrategy[Meal | None] = st.none() | st.sampled_from(Meal)
    made = reading(metric, str(value), info.unit, context=Context(meal=draw(meals)))
    return replace(
        made,
        original_unit=draw(st.sampled_from(UNITS[metric])),
        record_key=draw(st.from_regex(r"[!-~]{1,128}", fullmatch=True)),
        utc_offset_min=draw(st.integers(-14 * 60, 14 * 60)),
        effective_at=draw(st.datetimes(datetime(2005, 1, 1), datetime(2100, 1, 1), timezones=st.just(UTC))),  # noqa: DTZ001
        time_quality=draw(st.sampled_from((TimeQuality.DEVICE, TimeQuality.CORRECTED, TimeQuality.RECEIVED))),
    )


@given(plausible_readings(), DEVICES)
def test_any_plausible_reading_of_any_device_obeys_the_rules(made: Reading, device: Device) -> None:
    """Whatever the value, time and device, what we would send breaks no rule and keeps the value to its rounding."""
    build = weight_bundle if made.metric is Metric.BODY_MASS else capillary_glucose_bundle
    bundle = build(made, device, ACCOUNT)
    quantity = observation_in(bundle).valueQuantity
    assert check_transaction(bundle, solution_oid=SOLUTION) == []
    assert quantity is not None
    assert quantity.value is not None
    assert made.value is not None
    rounding = Decimal("0.0005") if made.metric is Metric.BODY_MASS else Decimal("0.5")
    assert abs(quantity.value - made.value) <= rounding
