"""The ingress's book: what arrived, where it is, how it ended. Every request stands in it exactly once."""

import os
from collections import Counter
from pathlib import Path

from fairlead.contracts.readings import Choice, ChoiceCount, ModelCount, Outcome
from gateway.requests import Open, Place

KEPT_OUTCOMES = 10_000
"""Outcomes and samples kept for the next report; beyond, the oldest are left out of the report (never out of the log):
five minutes at the 33 requests/s that a report of 40 KB every 5 s was sized for."""


class OutcomeLog:
    """Outcomes as JSON lines in one file; a line is handed to the system in one write, so that it outlives a kill."""

    def __init__(self, path: Path) -> None:
        """Open the file for appending; a half line at its end is ended first."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        size = os.fstat(self._file).st_size
        if size and os.pread(self._file, 1, size - 1) != b"\n":
            os.write(self._file, b"\n")

    def append(self, outcome: Outcome) -> None:
        """Write one line."""
        os.write(self._file, outcome.to_json().encode() + b"\n")

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)


class Ledger:
    """Counts and open requests of one ingress."""

    def __init__(self, log: OutcomeLog | None = None) -> None:
        """Begin at zero; outcomes also go to `log`."""
        self.open: dict[str, Open] = {}
        """By request id."""
        self.arrived: Counter[str] = Counter()
        """Per model."""
        self.ended: Counter[tuple[str, str]] = Counter()
        """Per model and status."""
        self.places: Counter[str] = Counter()
        """Open requests per place."""
        self.chosen: Counter[tuple[str, str]] = Counter()
        """First choices per model and node."""
        self.moved: Counter[str] = Counter()
        """Tickets that were offered anew, per reason."""
        self.refused: Counter[str] = Counter()
        """Requests that were not accepted, per code: they never arrived in the sense of the invariant."""
        self.wait_s: Counter[str] = Counter()
        """Sum over ended requests, per model."""
        self.service_s: Counter[str] = Counter()
        self._asked_at_s: dict[str, float] = {}
        self._outcomes: list[Outcome] = []
        self._samples: list[Choice] = []
        self._log = log

    def arrive(self, one: Open) -> None:
        """Accept a request."""
        self.open[one.ask.request] = one
        self.arrived[one.ask.model] += 1
        self.places[one.place] += 1
        self._asked_at_s[one.ask.model] = one.arrived_at_s

    def move(self, one: Open, place: Place) -> None:
        """Note where an open request is now."""
        self.places[one.place] -= 1
        self.places[place] += 1
        one.place = place

    def end(self, one: Open, outcome: Outcome) -> None:
        """Close a request."""
        del self.open[one.ask.request]
        self.places[one.place] -= 1
        self.ended[outcome.model, outcome.status] += 1
        self.wait_s[outcome.model] += outcome.wait_s  # type: ignore[assignment]  # a counter of seconds
        self.service_s[outcome.model] += outcome.service_s or 0.0  # type: ignore[assignment]
        if self._log is not None:
            self._log.append(outcome)
        self._outcomes.append(outcome)
        if len(self._outcomes) > KEPT_OUTCOMES:
            del self._outcomes[0]

    def sample(self, choice: Choice) -> None:
        """Keep one choice in full."""
        self._samples.append(choice)
        if len(self._samples) > KEPT_OUTCOMES:
            del self._samples[0]

    def take(self) -> tuple[tuple[Choice, ...], tuple[Outcome, ...]]:
        """Return samples and outcomes since the last call."""
        taken = tuple(self._samples), tuple(self._outcomes)
        self._samples, self._outcomes = [], []
        return taken

    def models(self, now_s: float) -> tuple[ModelCount, ...]:
        """Return the counts of each model that was ever asked for, sorted."""
        held: dict[str, list[float]] = {}
        for one in self.open.values():
            if one.held_at_s is not None:
                held.setdefault(one.ask.model, []).append(one.held_at_s)
        return tuple(
            ModelCount(
                model=model,
                arrived=count,
                held=len(held.get(model, ())),
                oldest_held_s=max(0.0, now_s - min(held[model])) if model in held else 0.0,
                asked_at_s=self._asked_at_s.get(model),
            )
            for model, count in sorted(self.arrived.items())
        )

    def choices(self) -> tuple[ChoiceCount, ...]:
        """Return how often requests of a model were first sent to a node, sorted."""
        return tuple(ChoiceCount(model=m, node=n, chosen=c) for (m, n), c in sorted(self.chosen.items()))

    def check(self) -> None:
        """Raise `AssertionError` unless arrived = ended + held + transfer + queued + running (invariant 1)."""
        arrived, ended = sum(self.arrived.values()), sum(self.ended.values())
        if arrived != ended + len(self.open):
            raise AssertionError(f"{arrived} arrived, {ended} ended, {len(self.open)} open: requests are missing")
        places = Counter(one.place for one in self.open.values())
        if places != +self.places or any(c < 0 for c in self.places.values()):
            raise AssertionError(f"open requests are {dict(places)}, the book says {dict(+self.places)}")

    def close(self) -> None:
        """Close the log."""
        if self._log is not None:
            self._log.close()
