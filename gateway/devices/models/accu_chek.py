"""Accu-Chek (Roche)."""

from __future__ import annotations

from gateway.devices.drivers import Steps
from gateway.devices.models._family import (
    METER_STEPS,
    METER_WAKE_S,
    Certainty,
    Check,
    Family,
    Note,
    Shown,
    like,
    named,
    says,
)
from gateway.devices.quirks import Bonding, ClockAccess, LinkEnd, Quirks

__all__ = ["FAMILY"]

_STEPS = Steps(
    fr=(
        "Allumez le lecteur ; ouvrez Réglages, puis « Sans fil » (Guide), ou gardez son bouton appuyé (Instant).",
        "Choisissez « Association » : le lecteur montre son numéro.",
        "Sur la page de la passerelle, choisissez le lecteur dans la liste.",
        "Tapez les six chiffres affichés par le lecteur ou imprimés au dos, puis attendez le message « associé ».",
    ),
    en=(
        "Switch the meter on and open its menu Settings, then Wireless (Guide), or hold its button down (Instant).",
        "Choose Pairing: the meter shows its number.",
        "On the page of the gateway, choose the meter in the list.",
        "Type the six digits on its display or on the label on its back, then wait for the message that it is paired.",
    ),
)
_AVIVA_STEPS = Steps(
    fr=(*METER_STEPS.fr, "Après chaque mesure, lancez l’envoi sur le lecteur : il n’envoie rien de lui-même."),
    en=(*METER_STEPS.en, "After each test start the transfer on the meter: it sends nothing by itself."),
)

FAMILY = Family(
    slug="accu_chek",
    title="Accu-Chek (Roche)",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="accu_chek.guide",
            title="Accu-Chek Guide, Guide Me, Instant",
            matches=named("meter+"),
            quirks=Quirks(
                bonding=Bonding.PASSKEY, hangs_up_unbonded=True, wake_s=METER_WAKE_S, link_end=LinkEnd.DEVICE_WHEN_IDLE
            ),
            pairing=_STEPS,
        ),
        like(
            "gatt.glucose_meter",
            name="accu_chek.aviva",
            title="Accu-Chek Aviva Connect, Performa Connect",
            matches=named("accu-chek aviva", "accu-chek performa", services=frozenset({"1808"})),
            quirks=Quirks(
                hangs_up_unbonded=True,
                wake_s=METER_WAKE_S,
                clock=ClockAccess.DATE_TIME,
            ),
            pairing=_AVIVA_STEPS,
            recognises=says(model=("aviva", "performa", "accu-chek aviva", "accu-chek performa")),
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `meter+` and the serial; Aviva and Performa also by their model text",
    notes=(
        Note("Time offsets are large: the internal clock is far from the wall clock.", Certainty.CAPTURED),
        Note("It ends the link when a strip goes in, when idle, and when the client has no bond.", Certainty.CAPTURED),
        Note("Aviva and Performa keep their clock in 2A08 inside 1808; there is no 1805.", Certainty.CAPTURED),
        Note("Aviva and Performa send only when the transfer is started on the meter.", Certainty.CAPTURED),
        Note("Accu-Chek Mobile with its wireless adapter was reported not to deliver records.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "records with context by record access, taken up again after a lost link",
            Shown.EMULATION,
            (
                "tests/adapters/test_bluetooth_source.py::test_meter_is_read_end_to_end",
                "tests/adapters/test_bluetooth_source.py::test_link_lost_midway_is_taken_up_again",
            ),
        ),
        Check(
            "the clock of Aviva and Performa (2A08) is read",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_device_facts.py::test_older_clock_is_found",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
