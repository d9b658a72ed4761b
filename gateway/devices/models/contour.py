"""Contour (Ascensia, formerly Bayer)."""

from __future__ import annotations

from gateway.devices.advert import Advert
from gateway.devices.drivers import Steps
from gateway.devices.models._family import METER_WAKE_S, Certainty, Check, Family, Note, Shown, like, named, says
from gateway.devices.quirks import Quirks

__all__ = ["FAMILY"]

_STEPS = Steps(
    fr=(
        "Lecteur éteint, gardez son bouton appuyé jusqu’à ce que la lumière bleue clignote.",
        "Sur la page de la passerelle, choisissez le lecteur dans la liste.",
        "Si le lecteur montre un nombre ou en porte un, tapez-le.",
        "Fermez l’application Contour du téléphone : elle prendrait le lecteur à la passerelle.",
    ),
    en=(
        "With the meter off, hold its button down until the blue light blinks.",
        "On the page of the gateway, choose the meter in the list.",
        "If the meter shows or bears a number, type it.",
        "Close the Contour app of the telephone: it would take the meter away from the gateway.",
    ),
)

_by_name = named("contour")
_by_company = named("contour", company=0x0167, services=frozenset({"1808"}))


def _matches(advert: Advert) -> bool:
    return _by_name(advert) or _by_company(advert)


FAMILY = Family(
    slug="contour",
    title="Contour (Ascensia, Bayer)",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="contour",
            title="Contour Next One, Next, Plus One, Plus Elite",
            matches=_matches,
            quirks=Quirks(hangs_up_unbonded=True, wake_s=METER_WAKE_S, sends_whole_memory=True),
            pairing=_STEPS,
            recognises=says(maker=("ascensia",), model=("contour",)),
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `Contour` and the serial, company id 0x0167, or its maker's text",
    notes=(
        Note(
            "A request for all records brings the whole memory, every time: it is asked past the watermark.",
            Certainty.CAPTURED,
        ),
        Note("The radio wakes only after a test or when the meter is switched on.", Certainty.CAPTURED),
        Note("Several reports of a bond that is lost after a day.", Certainty.CAPTURED),
        Note(
            "It has a service of its own, 00000000-0002-11e2-9e96-0800200c9a66, which is not used.", Certainty.CAPTURED
        ),
        Note("Contour Next Link 2.4 has no Bluetooth Low Energy at all.", Certainty.CAPTURED),
    ),
    checks=(
        Check(
            "only what lies past the watermark is asked for",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_source.py::test_second_visit_fetches_only_what_is_new",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
