"""Beurer and Sanitas scales, Beurer glucose meters."""

from __future__ import annotations

from gateway.devices.drivers import Steps
from gateway.devices.models._family import (
    BY_OPENSCALE,
    METER_STEPS,
    METER_WAKE_S,
    Certainty,
    Check,
    Family,
    Note,
    NotRead,
    Shown,
    like,
    named,
)
from gateway.devices.quirks import Bonding, Quirks

__all__ = ["FAMILY"]

_SCALE_SERVICES = frozenset({"181d", "181b", "181c"})
_STEPS = Steps(
    fr=(
        "Posez la balance sur un sol dur et montez dessus un instant : elle s’allume.",
        "Créez votre profil sur la balance et notez son numéro.",
        "Sur la page de la passerelle, choisissez la balance dans la liste pendant qu’elle est allumée.",
        "Tapez le code à quatre chiffres de votre profil, comme l’indique sa notice.",
    ),
    en=(
        "Put the scale on a hard floor and step on it for a moment: it switches on.",
        "Make your profile on the scale and note its number.",
        "On the page of the gateway, choose the scale in the list while it is on.",
        "Type the code of four digits of your profile, as its booklet says.",
    ),
)
_SCALE = "tests/adapters/test_bluetooth_source.py::test_scale_with_users_is_read_with_consent"

FAMILY = Family(
    slug="beurer",
    title="Beurer, Sanitas",
    drivers=(
        like(
            "gatt.scale",
            name="beurer.scale",
            title="Beurer BF105, BF500, BF600, BF720, BF788, BF950",
            matches=named(
                *(f"{brand}bf{n}" for brand in ("", "beurer ") for n in (105, 500, 600, 720, 788, 950)),
                company=0x0611,
                services=_SCALE_SERVICES,
            ),
            quirks=Quirks(bonding=Bonding.JUST_WORKS),
            pairing=_STEPS,
        ),
        like(
            "gatt.scale",
            name="sanitas.scale",
            title="Sanitas SBF72, SBF73; Beurer BF915",
            matches=named(
                "sbf72", "sbf73", "sanitas sbf72", "sanitas sbf73", "bf915", "beurer bf915", services=_SCALE_SERVICES
            ),
            quirks=Quirks(bonding=Bonding.JUST_WORKS, first_user_slot=1),
            pairing=_STEPS,
        ),
        like(
            "gatt.glucose_meter",
            name="beurer.meter",
            title="Beurer GL48, GL49, GL50 evo",
            matches=named("gl48", "gl49", "gl50", "beurer gl", services=frozenset({"1808"})),
            quirks=Quirks(hangs_up_unbonded=True, wake_s=METER_WAKE_S),
            pairing=METER_STEPS,
        ),
    ),
    not_read=(
        NotRead(
            name="beurer.own_protocol",
            title="Beurer BF700, BF710, BF800; Sanitas SBF70, SBF75; Runtastic Libra",
            matches=named(
                *(f"{brand}bf{n}" for brand in ("", "beurer ") for n in (700, 710, 800)),
                *("sbf70", "sbf75", "sanitas sbf70", "sanitas sbf75", "rt-libra"),
            ),
            reason=(
                "Cette balance parle un langage propre à son fabricant, qui n’est pas publié.",
                "This scale speaks a language of its maker's own, which is not published.",
            ),
            route=BY_OPENSCALE,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name (`BF720`, `SBF72`, `GL50`...); without a name company id 0x0611 with a scale's service",
    notes=(
        Note("The scales advertise 181D only, and have 181B and 181C too.", Certainty.CAPTURED),
        Note("Weighings of a person are told after consent with a code of four digits.", Certainty.STANDARD),
        Note("On SBF72, SBF73 and BF915 the first slot is 1; a lower one is never asked for.", Certainty.CAPTURED),
        Note(
            "Nothing public was found about GL48, GL49 and GL50 evo: read where they offer 1808.", Certainty.ONE_REPORT
        ),
    ),
    checks=(
        Check("stored and live weighings with consent", Shown.EMULATION, (_SCALE,)),
        Check(
            "a slot that the scale cannot have is not asked for",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_first_slot.py::test_slot_below_the_first_is_never_asked_for",),
        ),
        Check("the scales and meters themselves", Shown.NOT),
    ),
)
