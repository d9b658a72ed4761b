"""What is said about a device that wants a person's attention: what is the matter, and what to do. French first."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import date
from typing import Any, Final

from gateway.care import Concern
from gateway.web.texts import LANGUAGES, Texts

__all__ = ["care_sentence"]

_SENTENCES: Final = {
    Concern.NEEDS_PAIRING: (
        "Cet appareil n'accepte plus la passerelle : il faut l'appairer de nouveau.",
        "This device does not accept the gateway any more: it must be paired again.",
    ),
    Concern.CODE_REFUSED: (
        "La balance refuse le code de cet emplacement : retirez-la, puis ajoutez-la avec le bon code.",
        "The scale refuses the code of this slot: remove it, then add it with the right code.",
    ),
    Concern.KEY_REFUSED: (
        "La clé ne correspond pas à cet appareil : redemandez-la à son application, puis redonnez-la à la passerelle.",
        "The key does not fit this device: get it again from its app, then give it to the gateway again.",
    ),
    Concern.SESSION_ENDED: (
        "Ce capteur a fini son temps. Posez-en un nouveau : la passerelle lira le suivant dès qu'il est associé.",
        "This sensor has lived its time. Put on a new one: the gateway reads the next one once it is paired.",
    ),
    Concern.MEMORY_GAP: (
        "Ce lecteur a effacé {count} avant que la passerelle ne le lise{days}. Utilisez-le plus souvent près d'elle.",
        "This meter has overwritten {count} before the gateway read it{days}. Use it near the gateway more often.",
    ),
    Concern.MEMORY_UNSURE: (
        "Ce lecteur a recommencé à compter ses mesures{days} : comparez les dernières avec celles de son écran.",
        "This meter has begun to count its readings anew{days}: compare the last ones with those on its screen.",
    ),
    Concern.BATTERY_LOW: (
        "La pile est presque vide ({count} %) : changez-la, puis vérifiez l'heure de l'appareil.",
        "The battery is almost empty ({count} %): change it, then check the device's time.",
    ),
    Concern.CLOCK_BEING_SET: (
        "Son horloge est fausse de {time} ; ses mesures sont remises à l'heure. La passerelle la règle au prochain "
        "contact.",
        "Its clock is wrong by {time}; its readings are put right. The gateway sets it at the next contact.",
    ),
    Concern.CLOCK_SETTABLE: (
        "Son horloge est fausse de {time} ; ses mesures sont remises à l'heure. Réglez-la sur l'appareil, ou laissez "
        "la passerelle le faire.",
        "Its clock is wrong by {time}; its readings are put right. Set it on the device, or let the gateway do so.",
    ),
    Concern.CLOCK_BY_HAND: (
        "Son horloge est fausse de {time} ; ses mesures sont remises à l'heure. Réglez-la sur l'appareil.",
        "Its clock is wrong by {time}; its readings are put right. Set it on the device.",
    ),
    Concern.OPEN_BROADCAST: (
        "Cet appareil parle en clair et ne prouve pas qui il est : vérifiez sur son écran une mesure qui étonne.",
        "This device speaks in the clear and does not prove who it is: check a surprising reading on its screen.",
    ),
}
_SIGN: Final = re.compile(r" (?=[:;?!%])")
_RECORDS: Final = (("une mesure", "{} mesures"), ("one reading", "{} readings"))
_BETWEEN: Final = (" (entre le {} et le {})", " (between {} and {})")
_AFTER: Final = (" (après le {})", " (after {})")


def care_sentence(care: Mapping[str, Any], texts: Texts) -> str:
    """What is the matter and what to do. `care`: as `Care.as_json`."""
    index = LANGUAGES.index(texts.language)
    concern, count = Concern(care["concern"]), care["count"]
    said = count
    if concern is Concern.MEMORY_GAP:
        one, several = _RECORDS[index]
        said = one if count == 1 else several.format(count)
    days = _days(care["after"], care["before"], texts, index)
    sentence = _SENTENCES[concern][index].format(count=said, time=_time(count or 0, index), days=days)
    return _SIGN.sub("\u00a0", sentence) if index == 0 else sentence


def _days(after: str | None, before: str | None, texts: Texts, index: int) -> str:
    first, last = (None if text is None else texts.day(date.fromisoformat(text)) for text in (after, before))
    if first is None:
        return ""
    return _AFTER[index].format(first) if last is None else _BETWEEN[index].format(first, last)


def _time(minutes: int, index: int) -> str:
    if minutes < 90:
        return f"{minutes} min"
    if minutes < 48 * 60:
        return f"{round(minutes / 60)} h"
    return f"{round(minutes / 1440)} {('jours', 'days')[index]}"
