"""Readings and period figures -> drafts for the outbox."""

from __future__ import annotations

from datetime import UTC, datetime

from gateway.fhir.mes.context import MesContext
from gateway.fhir.mes.measures import (
    MIN_GMI_DAYS,
    capillary_glucose_bundle,
    gmi_bundle,
    interstitial_mean_bundle,
    leaves,
    weight_bundle,
)
from gateway.fhir.r4 import Bundle, to_json
from gateway.model import (
    DataType,
    DepartureDraft,
    DestinationId,
    Device,
    GlucosePeriod,
    Metric,
    StoredReading,
)

__all__ = ["drafts_for", "identities_of", "summary_drafts"]

_KINDS = {Metric.BODY_MASS: "body_mass", Metric.GLUCOSE_CAPILLARY: "glucose_capillary"}


def identities_of(stored: StoredReading) -> tuple[str, ...]:
    """Identities of every draft that any version of this reading can have given, whether or not it leaves as it is."""
    kind = _KINDS.get(stored.reading.metric)
    if kind is None or stored.person_id is None:
        return ()
    return (f"{kind}|{stored.person_id}|{stored.reading.key}",)


def drafts_for(
    stored: StoredReading, device: Device, context: MesContext, destination_id: DestinationId
) -> list[DepartureDraft]:
    """What should leave because of one reading: one draft, or none when it stays at home or belongs to nobody yet.

    `context` must be the account of `stored.person_id`. A draft's identity names person and reading, so that a
    corrected value replaces one that still waits, and is not sent after one that was: the space offers no correction.
    """
    reading = stored.reading
    if stored.person_id is None or not leaves(reading):
        return []
    bundle_of = weight_bundle if reading.metric is Metric.BODY_MASS else capillary_glucose_bundle
    bundle = bundle_of(reading, device, context)
    return [
        DepartureDraft(
            identity=identity,
            person_id=stored.person_id,
            data_type=reading.metric.info.data_type,
            destination_id=destination_id,
            kind=_KINDS[reading.metric],
            effective_at=reading.effective_at.replace(microsecond=0),
            resource=to_json(bundle),
        )
        for identity in identities_of(stored)
    ]


def summary_drafts(
    period: GlucosePeriod,
    device: Device | None,
    context: MesContext,
    destination_id: DestinationId,
    effective_at: datetime,
) -> list[DepartureDraft]:
    """What should leave because a period is closed: the mean when there is data, the GMI when there is enough.

    Args:
        period: a closed period; 7, 14, 30 and 90 days have a code of their own.
        device: the sensor, or None.
        context: the account of `period.person_id`.
        destination_id: whither.
        effective_at: the end of the period, aware, in the person's zone.
    """

    def draft(kind: str, bundle: Bundle) -> DepartureDraft:
        return DepartureDraft(
            identity=f"{kind}|{period.person_id}|{period.first_day}|{period.last_day}",
            person_id=period.person_id,
            data_type=DataType.GLUCOSE,
            destination_id=destination_id,
            kind=kind,
            effective_at=effective_at.astimezone(UTC).replace(microsecond=0),
            resource=to_json(bundle),
        )

    drafts: list[DepartureDraft] = []
    if period.mean_mg_dl is not None and period.count > 0:
        bundle = interstitial_mean_bundle(period, device, context, effective_at=effective_at)
        drafts.append(draft(f"glucose_mean_{period.days}d", bundle))
    if period.gmi_percent is not None and period.is_sufficient and period.days >= MIN_GMI_DAYS:
        bundle = gmi_bundle(period, device, context, effective_at=effective_at)
        drafts.append(draft(f"gmi_{period.days}d", bundle))
    return drafts
