"""Every word the pages say, French first, and how numbers and times are written in each language."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from decimal import ROUND_FLOOR, ROUND_HALF_EVEN, Decimal
from typing import Final

from gateway.model import DepartureState, DeviceKind, Meal, Unit, convert
from gateway.web.leftover_texts import LEFTOVER_WORDS
from gateway.web.pairing_texts import PAIRING_WORDS
from gateway.web.weigh_in_texts import WEIGH_IN_WORDS

__all__ = ["LANGUAGES", "Texts", "choose_language"]

LANGUAGES: Final = ("fr", "en")

_WORDS: Final[dict[str, tuple[str, str]]] = {
    "title": ("Passerelle", "Passerelle"),
    "subtitle": ("Vos mesures, de l'appareil à votre espace santé", "Your readings, from device to health space"),
    "live": ("en direct", "live"),
    "offline": ("connexion à la passerelle perdue", "lost contact with the gateway"),
    "glucose": ("Glycémie", "Glucose"),
    "no_glucose": ("Pas encore de mesure de glucose.", "No glucose reading yet."),
    "today": ("Aujourd'hui", "Today"),
    "fortnight": ("14 derniers jours", "Last 14 days"),
    "in_range": ("dans la cible", "in range"),
    "time_in_range": ("Temps dans la cible", "Time in range"),
    "very_high": ("très au-dessus", "very high"),
    "high": ("au-dessus", "high"),
    "target": ("dans la cible", "in range"),
    "low": ("en dessous", "low"),
    "very_low": ("très en dessous", "very low"),
    "mean": ("glycémie moyenne", "mean glucose"),
    "gmi": ("GMI", "GMI"),
    "cv": ("variabilité (CV)", "variability (CV)"),
    "active": ("capteur actif", "sensor active"),
    "days_of_wear": ("jours avec capteur", "days of wear"),
    "readings": ("mesures", "readings"),
    "insufficient": (
        "Données insuffisantes : il faut 14 jours et 70 % de temps de capteur.",
        "Not enough data: 14 days and 70 % of sensor time are needed.",
    ),
    "finger_sticks": ("Glycémies capillaires", "Finger-sticks"),
    "time_estimated": ("heure estimée", "estimated time"),
    "time_ambiguous": ("heure à une heure près", "time uncertain by an hour"),
    "weight": ("Poids", "Weight"),
    "trend": ("tendance", "trend"),
    "weekly_change": ("par semaine", "per week"),
    "body_fat": ("masse grasse", "body fat"),
    "vital_signs": ("Constantes", "Vital signs"),
    "blood_pressure": ("tension artérielle", "blood pressure"),
    "heart_rate": ("fréquence cardiaque", "heart rate"),
    "oxygen_saturation": ("saturation en oxygène", "oxygen saturation"),
    "body_temperature": ("température", "temperature"),
    "no_weight": ("Pas encore de pesée.", "No weigh-in yet."),
    "devices": ("Appareils", "Devices"),
    "heard": ("entendu", "heard"),
    "never_heard": ("jamais entendu", "never heard"),
    "battery": ("pile", "battery"),
    "nobody": ("sans propriétaire : ses mesures attendent", "no owner: its readings wait"),
    "sent": ("Ce qui a quitté la maison", "What left the house"),
    "nothing_sent": ("Rien n'est parti.", "Nothing has left."),
    "no_destination": (
        "Aucune destination n'est configurée : tout reste à la maison.",
        "No destination is configured: everything stays at home.",
    ),
    "accepted_total": ("acceptés", "accepted"),
    "waiting_total": ("en attente", "waiting"),
    "refused_total": ("refusés ou annulés", "refused or cancelled"),
    "show_fhir": ("Voir le contenu exact (FHIR)", "Show the exact content (FHIR)"),
    "unattributed": (
        "Les mesures de {} appareil(s) attendent de savoir à qui elles sont.",
        "Readings of {} device(s) wait to know whose they are.",
    ),
    "strangers": (
        "Entendus par MQTT et non enregistrés : {} appareil(s) que personne n'a ajoutés",
        "Heard over MQTT and not recorded: {} device(s) that nobody added",
    ),
    "claim": (
        "Passerelle recueille, affiche et classe vos mesures. Ce n'est ni un avis médical, ni une alarme. "
        "En cas d'urgence : 15 ou 112.",
        "Passerelle collects, displays and files your readings. It is neither medical advice nor an alarm. "
        "In an emergency: 15 or 112.",
    ),
    "below_range": ("sous la plage du capteur", "below the sensor's range"),
    "above_range": ("au-dessus de la plage du capteur", "above the sensor's range"),
    "curve_text": (
        "Glucose des dernières 24 heures ; bande verte : cible de 70 à 180 mg/dL.",
        "Glucose of the last 24 hours; green band: 70 to 180 mg/dL.",
    ),
    "weight_curve_text": ("Poids des 28 derniers jours.", "Weight over the last 28 days."),
    "no_people": (
        "Personne n'est encore inscrit. Ajoutez un bloc [[people]] à la configuration.",
        "Nobody is registered yet. Add a [[people]] block to the configuration.",
    ),
    "other_language": ("English", "Français"),
    **PAIRING_WORDS,
    **LEFTOVER_WORDS,
    **WEIGH_IN_WORDS,
}
_MEALS: Final = {
    Meal.FASTING: ("à jeun", "fasting"),
    Meal.PREPRANDIAL: ("avant le repas", "before a meal"),
    Meal.POSTPRANDIAL: ("après le repas", "after a meal"),
    Meal.CASUAL: ("sans lien avec un repas", "casual"),
    Meal.BEDTIME: ("au coucher", "at bedtime"),
}
_KINDS: Final = {
    DeviceKind.GLUCOSE_METER: ("lecteur de glycémie", "glucose meter"),
    DeviceKind.CGM: ("capteur de glucose", "glucose sensor"),
    DeviceKind.SCALE: ("pèse-personne", "scale"),
    DeviceKind.BODY_COMPOSITION_ANALYSER: ("balance à impédance", "body composition scale"),
    DeviceKind.BLOOD_PRESSURE_MONITOR: ("tensiomètre", "blood pressure monitor"),
    DeviceKind.THERMOMETER: ("thermomètre", "thermometer"),
    DeviceKind.PULSE_OXIMETER: ("oxymètre", "pulse oximeter"),
    DeviceKind.HEART_RATE_MONITOR: ("cardiofréquencemètre", "heart rate monitor"),
    DeviceKind.UNKNOWN: ("appareil inconnu", "unknown device"),
}
_STATES: Final = {
    DepartureState.DONE: ("accepté", "accepted"),
    DepartureState.PENDING: ("en attente", "waiting"),
    DepartureState.LEASED: ("en cours d'envoi", "being sent"),
    DepartureState.UNKNOWN: ("réponse perdue, à vérifier", "answer lost, to be checked"),
    DepartureState.REJECTED: ("refusé par l'espace santé", "refused by the health space"),
    DepartureState.CANCELLED: ("annulé : pas de consentement", "cancelled: no consent"),
}
_SENT_KINDS: Final = {
    "body_mass": ("Poids", "Weight"),
    "glucose_capillary": ("Glycémie capillaire", "Capillary glucose"),
    "glucose_mean_14d": ("Glucose moyen sur 14 jours", "Mean glucose over 14 days"),
    "gmi_14d": ("GMI sur 14 jours", "GMI over 14 days"),
}
_MONTHS_FR: Final = ("janv.", "févr.", "mars", "avr.", "mai", "juin", "juil.", "août", "sept.", "oct.", "nov.", "déc.")
_DECIMALS: Final = {Unit.MG_DL: 0, Unit.MMOL_L: 1, Unit.G_L: 2}


def choose_language(wish: str | None, accept_language: str, default: str) -> str:
    """`fr` or `en`: an explicit wish, else the browser's first known language, else `default`."""
    if wish in LANGUAGES:
        return wish
    for part in accept_language.split(","):
        code = part.split(";")[0].strip().lower()[:2]
        if code in LANGUAGES:
            return code
    return default


class Texts:
    """The words and number formats of one language."""

    def __init__(self, language: str) -> None:
        self.language = language if language in LANGUAGES else LANGUAGES[0]
        self._index = LANGUAGES.index(self.language)

    def __call__(self, name: str) -> str:
        """The sentence called `name`."""
        return _WORDS[name][self._index]

    def __contains__(self, name: object) -> bool:
        """Whether there is a sentence called `name`."""
        return name in _WORDS

    def count(self, name: str, count: int) -> str:
        """The sentence called `name`, or `name` + `_one`, with the number in it."""
        return self(f"{name}_one" if count == 1 else name).format(count)

    def meal(self, meal: Meal) -> str:
        """Words for a meal mark."""
        return _MEALS[meal][self._index]

    def kind(self, kind: DeviceKind) -> str:
        """Words for a kind of device."""
        return _KINDS[kind][self._index]

    def kind_named(self, kind: str) -> str:
        """Words for a kind of device by the value of its enum."""
        return self.kind(DeviceKind(kind))

    def state(self, state: DepartureState) -> str:
        """Words for the state of something sent."""
        return _STATES[state][self._index]

    def sent_kind(self, kind: str) -> str:
        """Words for what was sent."""
        words = _SENT_KINDS.get(kind)
        return words[self._index] if words else kind.replace("_", " ")

    def number(self, value: Decimal, decimals: int) -> str:
        """Rounded half to even, with the language's decimal sign."""
        text = str(value.quantize(Decimal(1).scaleb(-decimals), rounding=ROUND_HALF_EVEN))
        return text.replace(".", ",") if self.language == "fr" else text

    def exact(self, value: Decimal) -> str:
        """All its digits but zeros at the end, with the language's decimal sign."""
        text = f"{value:f}"
        text = text.rstrip("0").rstrip(".") if "." in text else text
        return text.replace(".", ",") if self.language == "fr" else text

    def signed(self, value: Decimal, decimals: int) -> str:
        """As `number`, always with its sign."""
        text = self.number(abs(value), decimals)
        is_zero = not text.strip("0,.")
        return text if is_zero else ("+" if value > 0 else "−") + text

    def percent(self, value: Decimal | None, *, is_floored: bool = False) -> str:
        """Whole percents, one decimal below 10, "<0.1" for a trace; an en dash when unknown.

        `is_floored`: never rounded up, for a figure that is read against a minimum (69.97 is not 70).
        """
        if value is None:
            return "–"
        space = "\u202f" if self.language == "fr" else "\u00a0"
        if 0 < value < Decimal("0.1"):
            return f"<{self.number(Decimal('0.1'), 1)}{space}%"
        rounding = ROUND_FLOOR if is_floored else ROUND_HALF_EVEN
        tenths = value.quantize(Decimal("0.1"), rounding=rounding)
        shown = tenths if 0 < tenths < 10 else value.quantize(Decimal(1), rounding=rounding)
        return f"{self.number(shown, 1 if 0 < tenths < 10 else 0)}{space}%"

    def glucose(self, mg_dl: Decimal, unit: Unit) -> str:
        """A glucose value in the person's unit: mg/dL whole, mmol/L one decimal, g/L two."""
        return self.number(convert(mg_dl, Unit.MG_DL, unit), _DECIMALS[unit])

    def clock(self, local_time: datetime) -> str:
        """Hours and minutes, 24-hour."""
        return f"{local_time:%H:%M}"

    def day(self, day: date) -> str:
        """A short date."""
        return f"{day.day} {_MONTHS_FR[day.month - 1]}" if self.language == "fr" else f"{day.day} {day:%b}"

    def ago(self, age: timedelta) -> str:
        """How long ago, in words."""
        minutes = max(0, int(age.total_seconds() // 60))
        if minutes < 1:
            return ("à l'instant", "just now")[self._index]
        if minutes < 60:
            return (f"il y a {minutes} min", f"{minutes} min ago")[self._index]
        if minutes < 48 * 60:
            return (f"il y a {minutes // 60} h", f"{minutes // 60} h ago")[self._index]
        return (f"il y a {minutes // 1440} jours", f"{minutes // 1440} days ago")[self._index]
