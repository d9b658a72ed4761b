"""MQTT topic filters: which of them are lawful, what they match, and whether two can match one topic.

Source: OASIS MQTT 5.0, 4.7 (topic names and topic filters).
"""

from __future__ import annotations

__all__ = ["filter_fault", "matches", "overlap"]

_LONGEST_BYTES = 65_535


def filter_fault(text: str) -> str | None:
    """What is wrong with a topic filter; None: nothing. A filter for everything, or below `$`, is wrong here too."""
    levels = text.split("/")
    if not text or "\0" in text or len(text.encode("utf-8", "replace")) > _LONGEST_BYTES:
        return "a topic filter has 1 to 65535 bytes and no NUL"
    if any("#" in level and (level != "#" or at < len(levels) - 1) for at, level in enumerate(levels)):
        return "# stands alone, as the last level of a topic filter"
    if any("+" in level and level != "+" for level in levels):
        return "+ takes a whole level of a topic filter"
    if text == "#" or text.startswith("$"):
        return "a topic filter names what it is about: neither # alone nor a topic that begins with $"
    return None


def matches(topic_filter: str, topic: str) -> bool:
    """Whether a topic is one of those that the filter means."""
    wanted, levels = topic_filter.split("/"), topic.split("/")
    if topic.startswith("$") and not topic_filter.startswith("$"):
        return False
    for at, level in enumerate(wanted):
        if level == "#":
            return True
        if at >= len(levels) or level not in ("+", levels[at]):
            return False
    return len(wanted) == len(levels)


def overlap(one: str, other: str) -> bool:
    """Whether there can be a topic that both filters match: a broker may then deliver each message twice."""
    first, second = one.split("/"), other.split("/")
    for at in range(max(len(first), len(second))):
        a = first[at] if at < len(first) else None
        b = second[at] if at < len(second) else None
        if a == "#" or b == "#":
            return True
        if a is None or b is None or ("+" not in (a, b) and a != b):
            return False
    return True
