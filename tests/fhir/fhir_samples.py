"""Readings, devices, periods and accounts that the tests of the FHIR room share."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

from gateway.fhir.mes import (
    MesContext,
    capillary_glucose_bundle,
    gmi_bundle,
    interstitial_mean_bundle,
    weight_bundle,
)
from gateway.fhir.r4 import Bundle, Observation
from gateway.fhir.r4 import Device as PhdDevice
from gateway.model import (
    Context,
    Device,
    DeviceId,
    DeviceKind,
    GlucosePeriod,
    Metric,
    PersonId,
    Provenance,
    Reading,
    SourceKind,
    TimeQuality,
    Unit,
    convert,
)

__all__ = [
    "ACCOUNT",
    "CGM",
    "METER",
    "PERIOD",
    "PERIOD_END",
    "PERSON",
    "SCALE",
    "SOLUTION",
    "device_of",
    "glucose",
    "gmi_of",
    "mean_of",
    "observation_in",
    "reading",
    "sample",
    "weight",
]

SOLUTION = "2.999.5.1"
PERSON = PersonId("alix")
ACCOUNT = MesContext(solution_oid=SOLUTION, patient_authority_oid="2.999.5.1.1", patient_id="idpe-7f3a")
SCALE = Device(
    DeviceId("scale-bathroom"),
    DeviceKind.SCALE,
    "Balance",
    PERSON,
    address="C4:7C:8D:00:11:22",
    manufacturer="ExampleScales",
    model="WS-50",
    serial="WS-000123",
    firmware="1.4.2",
    system_id="FEEDABEEDEAD77C3",
)
METER = Device(
    DeviceId("meter_1"), DeviceKind.GLUCOSE_METER, "Lecteur de glycémie", PERSON, address="A0:B1:C2:D3:E4:F5"
)
CGM = Device(DeviceId("cgm"), DeviceKind.CGM, "Capteur", PERSON, manufacturer="ExampleSensors", model="S-3")
PERIOD = GlucosePeriod(
    person_id=PERSON,
    first_day=date(2026, 3, 1),
    last_day=date(2026, 3, 14),
    days_of_wear=14,
    count=3900,
    sensor_active_percent=Decimal("96.7"),
    mean_mg_dl=Decimal("145.5"),
    sd_mg_dl=Decimal("49.1"),
    cv_percent=Decimal("33.7"),
    gmi_percent=Decimal("6.79036"),
    very_low_percent=Decimal("0.4"),
    low_percent=Decimal("2.6"),
    in_range_percent=Decimal("72.0"),
    high_percent=Decimal("19.0"),
    very_high_percent=Decimal("6.0"),
    is_sufficient=True,
    clipped_low=0,
    clipped_high=0,
)
PERIOD_END = datetime(2026, 3, 15, tzinfo=timezone(timedelta(hours=1)))
_AT = datetime(2026, 3, 2, 6, 12, 5, tzinfo=UTC)


def reading(metric: Metric, value: str, unit: Unit, *, context: Context | None = None) -> Reading:
    """A reading of `metric` whose device said `value` in `unit`."""
    said = Decimal(value)
    return Reading(
        device_id=DeviceId("some-device"),
        epoch=0,
        record_key="17",
        metric=metric,
        effective_at=_AT,
        utc_offset_min=60,
        time_quality=TimeQuality.DEVICE,
        received_at=_AT + timedelta(minutes=5),
        provenance=Provenance(SourceKind.BLUETOOTH, "test"),
        value=convert(said, unit, metric.info.unit),
        original_value=said,
        original_unit=unit,
        context=context or Context(),
    )


def weight(value: str = "71.35", unit: Unit = Unit.KG) -> Reading:
    """A weigh-in."""
    return replace(reading(Metric.BODY_MASS, value, unit), device_id=SCALE.device_id)


def glucose(value: str = "112", unit: Unit = Unit.MG_DL, context: Context | None = None) -> Reading:
    """A finger-prick test."""
    return replace(reading(Metric.GLUCOSE_CAPILLARY, value, unit, context=context), device_id=METER.device_id)


def mean_of(period: GlucosePeriod = PERIOD, account: MesContext = ACCOUNT, device: Device | None = CGM) -> Bundle:
    """The bundle of a period mean."""
    return interstitial_mean_bundle(period, device, account, effective_at=PERIOD_END)


def gmi_of(period: GlucosePeriod = PERIOD, account: MesContext = ACCOUNT, device: Device | None = CGM) -> Bundle:
    """The bundle of a GMI."""
    return gmi_bundle(period, device, account, effective_at=PERIOD_END)


def sample(name: str, account: MesContext = ACCOUNT) -> Bundle:
    """One bundle of each kind that we send, by the word of its draft."""
    if name == "body_mass":
        return weight_bundle(weight(), SCALE, account)
    if name == "glucose_capillary":
        return capillary_glucose_bundle(glucose(), METER, account)
    return mean_of(account=account) if name == "glucose_mean" else gmi_of(account=account)


def observation_in(bundle: Bundle) -> Observation:
    """The bundle's only Observation."""
    (found,) = [entry.resource for entry in bundle.entry if isinstance(entry.resource, Observation)]
    return found


def device_of(bundle: Bundle) -> PhdDevice:
    """The bundle's only Device."""
    (found,) = [entry.resource for entry in bundle.entry if isinstance(entry.resource, PhdDevice)]
    return found
