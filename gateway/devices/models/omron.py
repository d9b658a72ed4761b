"""Omron scales and blood pressure monitors."""

from __future__ import annotations

from gateway.devices.advert import Advert
from gateway.devices.models._family import (
    CUFF_STEPS,
    SCALE_STEPS,
    Certainty,
    Check,
    Family,
    Note,
    NotRead,
    Shown,
    like,
    named,
)
from gateway.devices.quirks import Quirks

__all__ = ["FAMILY"]

_STANDARD = frozenset({"181d", "181b"})
_is_omron = named("blesmart", company=0x020E)


def _has_own_protocol(advert: Advert) -> bool:
    return _is_omron(advert) and not advert.services & (_STANDARD | {"1810"})


def _is_standard_cuff(advert: Advert) -> bool:
    return _is_omron(advert) and "1810" in advert.services and not advert.services & _STANDARD


FAMILY = Family(
    slug="omron",
    title="Omron",
    drivers=(
        like(
            "gatt.scale",
            name="omron.scale",
            title="Omron scales with the standard weight service",
            matches=named("blesmart", company=0x020E, services=_STANDARD),
            quirks=Quirks(),
            pairing=SCALE_STEPS,
        ),
        like(
            "gatt.blood_pressure",
            name="omron.cuff",
            title="Omron blood pressure monitors with the standard service",
            matches=_is_standard_cuff,
            quirks=Quirks(),
            pairing=CUFF_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="omron.own_protocol",
            title="Omron scales and blood pressure monitors with Omron's own protocol",
            matches=_has_own_protocol,
            reason=(
                "Cet appareil garde ses mesures derrière un langage et une clé propres à Omron.",
                "This device keeps its readings behind a language and a key of Omron's own.",
            ),
            route=(
                "Ses mesures peuvent arriver par MQTT, avec le programme omblepy sur un ordinateur.",
                "Its readings can come over MQTT, with the program omblepy on a computer.",
            ),
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `BLEsmart_...`; without a name company id 0x020E",
    notes=(
        Note("Most models have a memory protocol of their own with a pairing key.", Certainty.CAPTURED),
        Note("Models that offer 181D, or 1810 for blood pressure, follow the standard there.", Certainty.STANDARD),
    ),
    checks=(
        Check(
            "weighings by the standard service",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_source.py::test_scale_with_users_is_read_with_consent",),
        ),
        Check(
            "blood pressures by the standard service",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_vital_signs.py::test_cuff_is_read_end_to_end",),
        ),
        Check("the devices themselves", Shown.NOT),
    ),
)
