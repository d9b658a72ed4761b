"""FORA and other meters made by TaiDoc."""

from __future__ import annotations

from gateway.devices.drivers import Steps
from gateway.devices.models._family import Certainty, Check, Family, Note, Shown, like, named, says
from gateway.devices.quirks import Bonding, ClockAccess, LinkEnd, Quirks, RecordNumbering

__all__ = ["FAMILY"]

FAMILY = Family(
    slug="fora",
    title="FORA, TaiDoc",
    drivers=(
        like(
            "gatt.glucose_meter",
            name="fora",
            title="FORA Diamond, DM30b, 6 Connect and other TaiDoc meters",
            matches=named("fora", "taidoc", "diamond", services=frozenset({"1808"})),
            quirks=Quirks(
                bonding=Bonding.WHEN_REFUSED,
                hangs_up_unbonded=True,
                wake_s=30.0,
                link_end=LinkEnd.DEVICE_AFTER_TRANSFER,
                clock=ClockAccess.NONE,
                numbering=RecordNumbering.BACKWARDS,
                sends_whole_memory=True,
                is_dual=True,
            ),
            pairing=Steps(
                fr=(
                    "Faites une mesure, ou allumez le lecteur et gardez son bouton appuyé jusqu’au symbole Bluetooth.",
                    "Sur la page de la passerelle, choisissez le lecteur dans la liste.",
                    "Si le lecteur montre un nombre, tapez-le ; sinon attendez le message « associé ».",
                ),
                en=(
                    "Make a test, or switch the meter on and hold its button down until the Bluetooth symbol shows.",
                    "On the page of the gateway, choose the meter in the list.",
                    "If the meter shows a number, type it; otherwise wait for the message that it is paired.",
                ),
            ),
            recognises=says(maker=("taidoc", "foracare"), model=("fora", "dm30", "diamond")),
        ),
    ),
    seen_by="local name `FORA`, `TAIDOC` or `DIAMOND` with service 1808, or what Device Information says",
    notes=(
        Note(
            "Firmware 1.2.4 of DM30b numbers records backwards, 0 is the newest: base time and value name a record.",
            Certainty.CAPTURED,
        ),
        Note("There is no clock service, so a wrong clock of the meter is not noticed.", Certainty.CAPTURED),
        Note("Ketone strips may reuse the glucose characteristic with meal 6 in the context.", Certainty.ONE_REPORT),
    ),
    checks=(
        Check(
            "numbers that move at each test: every record once, no epochs",
            Shown.SCRIPTED,
            ("tests/devices/procedures/test_glucose_dump.py::test_numbers_that_move_make_no_second_record",),
        ),
        Check(
            "the family is found by what Device Information says",
            Shown.EMULATION,
            ("tests/adapters/test_bluetooth_models.py::test_backwards_meter_is_recognised_after_connecting",),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
