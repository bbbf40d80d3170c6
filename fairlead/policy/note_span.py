"""The time span that an operator's words name: `20:00–22:00 tomorrow`, `until 18:30`, `for 45 minutes`, `on Friday`.

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
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
DAY = re.compile(
    rf"\b(?P<day>today|tonight|tomorrow|yesterday|{'|'.join(WEEKDAYS)}|\d{{4}}-\d\d-\d\d)\b", re.IGNORECASE
)

EVENING, MORNING = time(18), time(6)
"""`tonight` is from the one to the other."""

A_DAY, A_WEEK = timedelta(days=1), timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Span:
    """When something is to hold."""

    begins: datetime
    ends: datetime


@dataclass(frozen=True, slots=True)
class Day:
    """The day that a text names."""

    begins: datetime
    again: timedelta | None
    """After what time it comes again, where that may be meant; None where it may not."""


def span_in(text: str, now: datetime) -> Span | None:
    """Return the span that `text` names, seen from `now`; None where it names none, or one that is over.

    Times without a day mean today, or tomorrow where they are over today; an end at or before the begin is on the day
    after. A day of the week is the next one, today included.
    """
    found = DAY.search(text)
    word = found["day"].lower() if found else ""
    day = _day(word, now)
    if day is None:
        return None
    if (found := BETWEEN.search(text)) is not None:
        begins, ends = _on(day, found, "a"), _on(day, found, "b")
        return _to_come(Span(begins, ends if ends > begins else ends + A_DAY), day, now)
    if (found := UNTIL.search(text)) is not None:
        span = _to_come(Span(now, _on(day, found, "b")), day, now)
        return None if span is None else Span(now, span.ends)
    if (found := LASTING.search(text)) is not None:
        minutes = int(found["n"]) * (60 if found["unit"][0] in "hH" else 1)
        return Span(now, now + timedelta(minutes=minutes)) if minutes and day.begins <= now else None
    return _whole(word, day, now)


def without_span(text: str) -> str:
    """Return `text` without the words that name its span, so that their numbers are not read as anything else."""
    for pattern in (BETWEEN, UNTIL, LASTING, DAY):
        text = pattern.sub(" ", text)
    return text


def _day(word: str, now: datetime) -> Day | None:
    """Return the day that a word names, today without one; None where that is over, or no day at all."""
    midnight = _midnight(now)
    match word:
        case "" | "tonight":
            return Day(midnight, A_DAY)
        case "today":
            return Day(midnight, None)
        case "tomorrow":
            return Day(midnight + A_DAY, None)
        case "yesterday":
            return None
        case _ if word in WEEKDAYS:
            return Day(midnight + (WEEKDAYS.index(word) - now.weekday()) % 7 * A_DAY, A_WEEK)
        case _:
            try:
                named = datetime.fromisoformat(word)
            except ValueError:
                return None
            return Day(named, None) if named >= midnight else None


def _on(day: Day, found: re.Match[str], name: str) -> datetime:
    """Return the instant of a day that a time names."""
    return day.begins + timedelta(minutes=60 * int(found[f"{name}h"]) + int(found[f"{name}m"]))


def _to_come(span: Span, day: Day, now: datetime) -> Span | None:
    """Return a span of a day, or where that is over the one of the day that comes again."""
    if span.ends > now:
        return span
    return None if day.again is None else Span(span.begins + day.again, span.ends + day.again)


def _whole(word: str, day: Day, now: datetime) -> Span | None:
    """Return the span that the word for a day names alone."""
    if not word:
        return None
    if word != "tonight":
        return Span(max(day.begins, now), day.begins + A_DAY)
    before_dawn = now.time() < MORNING
    evening = datetime.combine(now.date() - (A_DAY if before_dawn else timedelta(0)), EVENING)
    return Span(max(evening, now), datetime.combine(evening.date() + A_DAY, MORNING))


def _midnight(now: datetime) -> datetime:
    return datetime.combine(now.date(), time(0))
