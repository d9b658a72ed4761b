"""How a Bluetooth radio is, in one sentence, French first: for the page and for `gateway radio`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Any, Final

from gateway.model import RadioReport, RadioState
from gateway.web.texts import LANGUAGES

__all__ = ["RadioLine", "is_well", "radio_sentence"]

_STATES: Final = {
    RadioState.STARTING: ("La radio Bluetooth démarre.", "The Bluetooth radio is starting."),
    RadioState.QUIET: ("La radio Bluetooth n'entend personne{since}.", "The Bluetooth radio hears nobody{since}."),
    RadioState.DEAF: ("La radio Bluetooth est sourde{since}.", "The Bluetooth radio is deaf{since}."),
    RadioState.RECOVERING: (
        "La radio Bluetooth est bloquée{since} ; la passerelle essaie de la remettre en marche.",
        "The Bluetooth radio is stuck{since}; the gateway is trying to bring it back.",
    ),
    RadioState.ABSENT: ("Il n'y a pas de radio Bluetooth{since}.", "There is no Bluetooth radio{since}."),
    RadioState.BLOCKED: ("La radio Bluetooth est éteinte{since}.", "The Bluetooth radio is kept off{since}."),
}
_ADVICE: Final = {
    "no_bus": ("Le bus système D-Bus ne répond pas.", "The system's D-Bus does not answer."),
    "no_service": (
        "Le service Bluetooth (bluetoothd) ne tourne pas.",
        "The Bluetooth service (bluetoothd) is not running.",
    ),
    "no_adapter": ("Branchez l'adaptateur.", "Plug the adapter in."),
    "rfkill": (
        "Un interrupteur la coupe : « rfkill unblock bluetooth ».",
        "A switch keeps it off: `rfkill unblock bluetooth`.",
    ),
    "permission": (
        "La passerelle n'a pas le droit de l'utiliser.",
        "The gateway is not allowed to use it.",
    ),
    "proxy_offline": (
        "Le relais ESP32 n'est pas joignable : vérifiez son alimentation et le Wi-Fi.",
        "The ESP32 proxy cannot be reached: look at its power supply and the Wi-Fi.",
    ),
    "proxy_key": (
        "La clé de chiffrement du relais ESP32 n'est pas la bonne.",
        "The encryption key of the ESP32 proxy does not fit.",
    ),
    "proxy_firmware": (
        "Le micrologiciel du relais ESP32 est trop ancien ou n'a pas « bluetooth_proxy ».",
        "The firmware of the ESP32 proxy is too old, or has no bluetooth_proxy.",
    ),
    "powered_off": ("Elle refuse de s'allumer : rebranchez-la.", "It refuses to be switched on: plug it in again."),
    "adapter_fails": (
        "Elle ne répond que par des erreurs : rebranchez l'adaptateur ou redémarrez la machine.",
        "It answers with errors only: plug the adapter in again, or restart the machine.",
    ),
    "replug_adapter": (
        "Rien de ce que la passerelle a essayé n'y a fait : rebranchez l'adaptateur ou redémarrez la machine.",
        "Nothing that the gateway tried has helped: plug the adapter in again, or restart the machine.",
    ),
    "bring_a_device": (
        "Approchez un appareil Bluetooth allumé, un téléphone par exemple ; s'il n'est pas entendu, rebranchez "
        "l'adaptateur.",
        "Bring a Bluetooth device that is on, a telephone for instance; if it is not heard, plug the adapter in again.",
    ),
}
_ILL: Final = frozenset({RadioState.RECOVERING, RadioState.DEAF, RadioState.ABSENT, RadioState.BLOCKED})
_MONTHS_DAYS: Final = ("%d/%m %H:%M", "%d %b %H:%M")


@dataclass(frozen=True, slots=True)
class RadioLine:
    """One radio for the page.

    Attributes:
        report: how it is.
        asleep: names of enrolled devices that no radio hears now, while this one hears others.
        since: since when, local; None: not worth saying.
        is_named: whether its name is needed to tell it from others.
    """

    report: RadioReport
    asleep: tuple[str, ...]
    since: datetime | None
    is_named: bool

    @classmethod
    def of(
        cls, reports: Sequence[RadioReport], asleep: Sequence[str] = (), zone: tzinfo | None = None
    ) -> tuple[RadioLine, ...]:
        """One line for each report; without `zone`, since when is left out."""
        return tuple(
            cls(
                report,
                tuple(asleep) if report.state is RadioState.HEARING else (),
                None if zone is None else report.since.astimezone(zone),
                len(reports) > 1,
            )
            for report in reports
        )

    def as_json(self) -> dict[str, Any]:
        """For `/api/radio`: instants in UTC."""
        report = self.report
        heard = report.last_heard_at
        return {
            "name": report.name,
            "state": report.state.value,
            "since": report.since.isoformat(),
            "last_heard_at": None if heard is None else heard.isoformat(),
            "devices_heard": report.devices_heard,
            "advice": report.advice,
            "asleep": list(self.asleep),
        }


def is_well(report: RadioReport) -> bool:
    """Whether nothing is known to be wrong: a radio that hears nobody may be alone."""
    return report.state not in _ILL


def radio_sentence(line: RadioLine, language: str, now: datetime) -> str:
    """What a person is told of one radio. `now`: aware."""
    index = LANGUAGES.index(language)
    report = line.report
    if report.state is RadioState.HEARING:
        said = _hearing(report.devices_heard, line.asleep, index)
    else:
        said = _STATES[report.state][index].format(since=_since(line.since, now, index))
        advice = _ADVICE.get(report.advice or "")
        said = f"{said} {advice[index]}" if advice is not None else said
    return f"{report.name}{(' : ', ': ')[index]}{said}" if line.is_named else said


def _hearing(count: int, asleep: tuple[str, ...], index: int) -> str:
    if index == 0:
        said = f"La radio Bluetooth entend {count} appareil{'s' if count > 1 else ''}"
        one, several, joint = "est endormi ou trop loin", "sont endormis ou trop loin", " et "
    else:
        said = f"The Bluetooth radio hears {count} device{'' if count == 1 else 's'}"
        one, several, joint = "is asleep or out of reach", "are asleep or out of reach", " and "
    if not asleep:
        return f"{said}."
    names = joint.join((", ".join(asleep[:-1]), asleep[-1])) if len(asleep) > 1 else asleep[0]
    return f"{said}{(' ; ', '; ')[index]}{names} {one if len(asleep) == 1 else several}."


def _since(since: datetime | None, now: datetime, index: int) -> str:
    if since is None:
        return ""
    is_today = since.date() == now.astimezone(since.tzinfo).date()
    return f"{(' depuis ', ' since ')[index]}{since.strftime('%H:%M' if is_today else _MONTHS_DAYS[index])}"
