"""Notes and goals as a prompt shows them: data between quotes, with aliases in place of the ids that they name."""

import re
import unicodedata
from collections.abc import Sequence

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.notes import Note
from fairlead.contracts.plans import Rate
from fairlead.policy.aliases import Aliases, Named, by_id
from fairlead.policy.epoch import WARM_FOR_S
from fairlead.policy.figures import MINUTE_S, figure
from fairlead.policy.note_reading import SIGNS, models_named, told, told_rates

NOTES_MOST = 4
"""So many notes stand in a prompt, those that begin first; of 280 characters each they take a tenth of it."""

NAMED_MOST = 4
"""A word that names more models than this is left as it is: `text` in a catalogue."""

ALIAS_LIKE = re.compile(r"[a-z]\d{1,4}")
"""What could be taken for an alias, which an operator knows none of; ids that look so become the alias of theirs."""


def touching(notes: Sequence[Note], from_s: float, until_s: float) -> tuple[Note, ...]:
    """Return the notes for a time that touches this one, those that begin first first."""
    found = (n for n in notes if n.from_s < until_s and n.until_s > from_s)
    return tuple(sorted(found, key=lambda n: (n.from_s, n.id)))


def noted(given: EpochInput) -> dict[str, Note]:
    """Return the notes that a prompt shows by their aliases."""
    return {f"o{at}": note for at, note in enumerate(given.notes[:NOTES_MOST], start=1)}


def note_aliases(given: EpochInput) -> Named:
    """Return the alias of each note that a prompt shows; its id is the only one."""
    return tuple((alias, (note.id,)) for alias, note in noted(given).items())


def note_lines(given: EpochInput, aliases: Aliases) -> str:
    """Return a line for each note: its alias, when, the rates that the code reads in it, its words; `none` without."""
    begins_at_s = given.begins_at_s if given.begins_at_s is not None else given.now_s
    lines = []
    for alias, note in noted(given).items():
        span = f"from {figure(note.from_s - begins_at_s)} to {figure(note.until_s - begins_at_s)}"
        rates = _rates(note, given, aliases)
        lines.append(f'{alias} {span}, rates {rates}: "{quoted(note.text, given.cluster, aliases)}"')
    return "\n".join(lines) or "none"


def rates_told(note: Note, given: EpochInput) -> tuple[Rate, ...]:
    """Return the rate of each model where a note comes true, as the code reads it; empty where it reads nothing.

    Empty too once its time has begun, unless it was said just now: a plan has told its rates by then, counters show
    them, and a factor would count twice.
    """
    begun = given.now_s >= max(note.from_s, note.created_at_s + WARM_FOR_S)
    said = () if begun else told(note.text, given.cluster)
    return told_rates(said, given.rates, given.cluster) if said else ()


def _rates(note: Note, given: EpochInput, aliases: Aliases) -> str:
    """Return requests a minute of each alias of which a note says something; `-` where the code reads nothing."""
    per_s = {r.model: r.per_s for r in rates_told(note, given)}
    said = {one.model for one in told(note.text, given.cluster)} & set(per_s)
    sums = [(a, sum(per_s.get(m, 0.0) for m in ids)) for a, ids in aliases.models if said.intersection(ids)]
    return " ".join(f"{alias} {figure(MINUTE_S * rate)}" for alias, rate in sums) or "-"


def quoted(text: str, cluster: Cluster, aliases: Aliases) -> str:
    """Return somebody's words as they may stand in a prompt: one line of ASCII without quotes, ids as aliases."""
    plain = unicodedata.normalize("NFKD", text.translate(SIGNS)).encode("ascii", "ignore").decode()
    plain = " ".join(re.sub(r"[\"`<>{}\\|\x00-\x1f\x7f]", " ", plain).split())
    ids = by_id(aliases.models) | by_id(aliases.nodes)
    known = "|".join(re.escape(one).replace(r"\-", "[- ]") for one in sorted(ids, key=lambda one: (-len(one), one)))

    def named(found: re.Match[str]) -> str:
        word = found[0].lower()
        if (one := word.replace(" ", "-")) in ids:
            return ids[one]
        if ALIAS_LIKE.fullmatch(word):
            return "-"
        models = models_named(word, cluster)
        return " ".join(dict.fromkeys(ids[m] for m in models)) if 0 < len(models) <= NAMED_MOST else found[0]

    return re.sub(rf"\b(?:{known or '(?!)'})(?![a-z0-9-])|\b[a-z]\w*(?![a-z0-9-])", named, plain, flags=re.IGNORECASE)
