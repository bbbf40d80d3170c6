"""The time span that an operator's words name: `20:00–22:00 tomorrow`, `until 18:30`, `for 45 minutes`, `tonight`.

Instants are those of the clock that the operator looks at: dates and times without a zone, as `now` is.
"""

import re
from dataclasses import dataclass
from datetime import datetime, time, timedelta

TIME = r"(?P<{}h>[01]?\d|2[0-4])[:.h](?P<{}m>[0-5]\d)"
DASH = r"\s*(?:-|–|—|to|till|until)\s*"
BETWEEN = re.compile(rf"\b{TIME.format('a', 'a')}{DASH}{TIME.format('b', 'b')}\b", re.IGNORECASE)
UNTIL = re.compile(rf"\b(?:until|till)\s+{TIME.format('b', 'b')}\b", re.IGNORECASE)
LASTING = re.compile(r"\bfor\s+(?P<n>\d{1,4})\s*(?P<unit>min(?:ute)?s?|h(?:our)?s?)\b", re.IGNORECASE)
DAY = re.compile(r"\b(?P<day>today|tonight|tomorrow)\b", re.IGNORECASE)

EVENING, MORNING = time(18), time(6)
"""`tonight` is from the one to the other."""

A_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Span:
    """When something is to hold."""

    begins: datetime
    ends: datetime


def span_in(text: str, now: datetime) -> Span | None:
    """Return the span that `text` names, seen from `now`; None where it names none, or one that is over.

    Times without a day mean today, or tomorrow where they are over today; an end at or before the begin is on the day
    after.
    """
    day = DAY.search(text)
    word = day["day"].lower() if day else ""
    if (found := BETWEEN.search(text)) is not None:
        return _between(_minutes(found, "a"), _minutes(found, "b"), word, now)
    if (found := UNTIL.search(text)) is not None:
        ends = _midnight(now) + timedelta(minutes=_minutes(found, "b"))
        return Span(now, ends if ends > now else ends + A_DAY)
    if (found := LASTING.search(text)) is not None:
        minutes = int(found["n"]) * (60 if found["unit"][0] in "hH" else 1)
        return Span(now, now + timedelta(minutes=minutes)) if minutes else None
    return _of_day(word, now)


def without_span(text: str) -> str:
    """Return `text` without the words that name its span, so that their numbers are not read as anything else."""
    for pattern in (BETWEEN, UNTIL, LASTING, DAY):
        text = pattern.sub(" ", text)
    return text


def _between(a: int, b: int, word: str, now: datetime) -> Span | None:
    """Return the span from one minute of the day to another."""
    begins = _midnight(now) + timedelta(minutes=a) + (A_DAY if word == "tomorrow" else timedelta(0))
    ends = begins + timedelta(minutes=b - a) + (A_DAY if b <= a else timedelta(0))
    if ends > now:
        return Span(begins, ends)
    return None if word == "today" else Span(begins + A_DAY, ends + A_DAY)


def _of_day(word: str, now: datetime) -> Span | None:
    """Return the span that a word alone names."""
    midnight = _midnight(now)
    match word:
        case "today":
            return Span(now, midnight + A_DAY)
        case "tomorrow":
            return Span(midnight + A_DAY, midnight + 2 * A_DAY)
        case "tonight":
            before_dawn = now.time() < MORNING
            evening = datetime.combine(now.date() - (A_DAY if before_dawn else timedelta(0)), EVENING)
            return Span(max(evening, now), datetime.combine(evening.date() + A_DAY, MORNING))
        case _:
            return None


def _minutes(found: re.Match[str], name: str) -> int:
    return 60 * int(found[f"{name}h"]) + int(found[f"{name}m"])


def _midnight(now: datetime) -> datetime:
    return datetime.combine(now.date(), time(0))
