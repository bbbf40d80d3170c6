"""Notes as regimes to look out for: what an operator says is recognised as it comes true, and costs nothing until then.

A plan that acted on a note alone would be wrong for minutes where the note is. As a regime that may come, at its time,
it is recognised within seconds of demand (`policy.regimes`), the planner is woken, and its plan rests on what is seen.
"""

from collections.abc import Sequence

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.forecasts import Regime
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import Rate
from fairlead.policy.note_reading import told, told_rates

TOLD_S = 300.0
"""A told rate is taken to be known as well as five minutes of it would tell; own choice."""


class NoteWatch:
    """Knows what the notes of now say of rates, seen from those before their time."""

    def __init__(self, cluster: Cluster, slot_s: float) -> None:
        """Begin with nothing said."""
        self._cluster, self._slot_s = cluster, slot_s
        self._regimes: dict[str, Regime | None] = {}
        """By note, since its time came near; None where nothing is read in it."""

    def active(self, notes: Sequence[Note], rates: Sequence[Rate], now_s: float) -> tuple[Regime, ...]:
        """Return what may come or is now, from a slot before each note's time to its end; `rates` are learned ones."""
        near = [n for n in notes if n.created_at_s <= now_s and n.from_s - self._slot_s <= now_s < n.until_s]
        self._regimes = {n.id: self._regimes[n.id] if n.id in self._regimes else self._read(n, rates) for n in near}
        return tuple(one for one in self._regimes.values() if one is not None)

    def _read(self, note: Note, rates: Sequence[Rate]) -> Regime | None:
        said = told(note.text, self._cluster)
        if not said:
            return None
        found = tuple(r for r in told_rates(said, rates, self._cluster) if r.per_s > 0.0)
        return Regime(id=note.id, rates=found, seen_s=TOLD_S)
