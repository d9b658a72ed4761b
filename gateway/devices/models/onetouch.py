"""OneTouch (LifeScan)."""

from __future__ import annotations

from gateway.devices.advert import Advert
from gateway.devices.drivers import Driver, Opening, Steps
from gateway.devices.models._family import METER_STEPS, METER_WAKE_S, Certainty, Check, Family, Note, Shown, named
from gateway.devices.onetouch import ONETOUCH_SERVICE
from gateway.devices.procedures import OneTouchFetch, Procedure
from gateway.devices.procedures.onetouch_fetch import ONETOUCH_CHECKPOINT
from gateway.devices.quirks import Bonding, ClockAccess, Quirks
from gateway.model import DeviceKind

__all__ = ["FAMILY"]

_by_name = named("onetouch")
_STEPS = Steps(
    fr=(
        *METER_STEPS.fr[:2],
        "Tapez les six chiffres affichés par le lecteur.",
        "Fermez l’application OneTouch du téléphone : elle prendrait le lecteur à la passerelle.",
    ),
    en=(
        *METER_STEPS.en[:2],
        "Type the six digits that the meter shows.",
        "Close the OneTouch app of the telephone: it would take the meter away from the gateway.",
    ),
)


def _matches(advert: Advert) -> bool:
    is_alone = advert.services - {"180a", "180f"} == {ONETOUCH_SERVICE}
    return _by_name(advert) or (advert.name is None and is_alone)


def _open(opening: Opening) -> Procedure:
    return OneTouchFetch(opening.local_now, opening.state, clock_is_trusted=opening.clock_is_trusted)


FAMILY = Family(
    slug="onetouch",
    title="OneTouch (LifeScan)",
    drivers=(
        Driver(
            name="onetouch",
            kinds=frozenset({DeviceKind.GLUCOSE_METER}),
            services=(ONETOUCH_SERVICE, "180a", "180f"),
            matches=_matches,
            open=_open,
            checkpoint=ONETOUCH_CHECKPOINT,
            quirks=Quirks(
                bonding=Bonding.PASSKEY,
                hangs_up_unbonded=True,
                wake_s=METER_WAKE_S,
                clock=ClockAccess.VENDOR,
            ),
            title="OneTouch Verio Flex, Verio Reflect, Select Plus Flex",
            pairing=_STEPS,
        ),
    ),
    seen_certainty=Certainty.CAPTURED,
    seen_by="local name `OneTouch...`, or its own service",
    notes=(
        Note("A protocol of its own instead of the Glucose Service.", Certainty.CAPTURED),
        Note("Frames occur twice, and a request may stay unanswered.", Certainty.CAPTURED),
        Note("An answer does not say which record it holds.", Certainty.CAPTURED),
        Note(
            "The clock counts from the year 2000 in the meter's own local time; it is read, never set.",
            Certainty.CAPTURED,
        ),
        Note("A value of 0 is no valid reading; above 600 and below 20 mg/dL are HI and LO.", Certainty.CAPTURED),
        Note(
            "Two octets after the control-solution flag are the meal mark, the last two an error.", Certainty.ONE_REPORT
        ),
    ),
    checks=(
        Check(
            "frames, CRC, requests and answers",
            Shown.VECTOR,
            (
                "tests/devices/test_onetouch.py::test_requests_are_those_of_the_drivers_in_use",
                "tests/devices/test_onetouch.py::test_worked_record",
                "tests/devices/test_onetouch.py::test_any_octets_are_a_value_or_malformed",
            ),
        ),
        Check(
            "every record once, wherever the link breaks",
            Shown.EMULATION,
            ("tests/adapters/test_onetouch_system.py::test_link_lost_at_every_record",),
        ),
        Check(
            "repeated frames, unanswered requests, a counter that starts again",
            Shown.SCRIPTED,
            (
                "tests/devices/procedures/test_onetouch_fetch.py::test_repeated_answers_are_no_further_records",
                "tests/devices/procedures/test_onetouch_fetch.py::test_unanswered_request_is_written_again",
                "tests/devices/procedures/test_onetouch_fetch.py::test_counter_that_starts_again_opens_an_epoch",
            ),
        ),
        Check("the meter itself", Shown.NOT),
    ),
)
