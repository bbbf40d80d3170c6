"""What a note means, read by rule: which models, from which sites, how much more or less of them.

A closed vocabulary. What the rule does not understand it leaves out; a language model reads the words themselves.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from fairlead.contracts.cluster import Cluster
from fairlead.contracts.plans import Expected, Rate
from fairlead.policy.note_span import without_span

FACTORS = {
    **dict.fromkeys(("stops", "stop", "silent", "closed", "closes", "nobody", "none"), 0.0),
    **dict.fromkeys(("halves", "half", "halved", "falls", "fall", "fewer", "less"), 0.5),
    **dict.fromkeys(("same", "unchanged", "normal"), 1.0),
    **dict.fromkeys(("rises", "rise", "grows", "more"), 1.5),
    **dict.fromkeys(("doubles", "double", "doubled", "twice", "twofold"), 2.0),
    **dict.fromkeys(("triples", "triple", "tripled", "thrice", "threefold", "surges", "surge"), 3.0),
    **dict.fromkeys(("quadruples", "quadruple", "quadrupled", "fourfold"), 4.0),
}
"""Words for how demand changes, own choice; those that name no number stand inside what the planner's word covers."""

EXPECTED_FROM: tuple[tuple[float, Expected], ...] = ((2.0, "surging"), (1.1, "rising"), (0.9, "same"), (0.1, "falling"))
"""From which factor on which of the planner's words fits, own choice; below all of them it is `silent`."""

FACTOR_MOST = 10.0
"""More is read as this; own choice."""

RATE_MOST_PER_S = 10.0
"""Of a model, at most: a note is a sentence, not a way to ask for a thousand pods."""

KIND_LETTERS = 3
"""A part of an id or a kind that is at least so long names all models that have it: `vision`, not `1a`."""

OTHERS = ("others", "rest", "else")
"""Words for all models that a note does not name: `others stop`."""

UNIT_S = {"s": 1.0, "m": 60.0, "h": 3600.0}

CHANGES = (
    r"(?P<rate>\d+(?:\.\d+)?)\s*(?:requests?\s+)?(?:a|per|/)\s*(?P<unit>m(?:in(?:ute)?)?|s(?:ec(?:ond)?)?|h(?:our)?)\b"
    r"|(?P<percent>[+-]\s?\d{1,3})\s?(?:%|percent\b)"
    r"|\b(?:x|times)\s?(?P<times>\d{1,3}(?:\.\d+)?)\b"
    r"|\b(?P<fold>\d{1,3}(?:\.\d+)?)\s?-?(?:x|times|fold)\b"
    r"|\bsites?\b(?P<sites>(?:[\s,-]*(?:and\s+)?(?:site-)?\d+\b(?!\s*[x%]))+)"
)

SIGNS = str.maketrans({"×": "x", "−": "-", "–": "-", "&": " and "})
"""Signs that mean the same as a plain one."""


@dataclass(frozen=True, slots=True)
class Told:
    """What a note says of one model."""

    model: str
    sites: tuple[str, ...]
    """Where; empty is everywhere."""
    factor: float = 1.0
    """Of the rate that there is."""
    per_s: float | None = None
    """The rate itself, over all sites, where that is told."""

    def rate(self, per_s: float, cluster: Cluster) -> float:
        """Return the model's rate over all sites where it is `per_s` without the note; sites are taken as alike."""
        if self.per_s is not None:
            return self.per_s
        share = len(self.sites) / len(cluster.sites) if self.sites else 1.0
        return min(max(RATE_MOST_PER_S, per_s), per_s * (1.0 + share * (self.factor - 1.0)))


@dataclass(frozen=True, slots=True)
class Clause:
    """Part of a note: models, sites, and what becomes of them, in any order."""

    models: tuple[str, ...] = ()
    sites: tuple[str, ...] | None = None
    """None where none is named."""
    change: tuple[float, float | None] | None = None
    """Factor, or rate a second."""


def told(text: str, cluster: Cluster) -> tuple[Told, ...]:
    """Return what a note's words say of models, by id; the last word on a model counts."""
    found: dict[str, Told] = {}
    for clause in _clauses(text, cluster):
        if clause.change is None or clause.sites == ():
            continue  # nothing is said of them, or of sites alone that there are not
        factor, per_s = clause.change
        found |= {m: Told(m, clause.sites or (), factor, per_s) for m in clause.models}
    if (rest := found.pop(OTHERS[0], None)) is not None:
        found = {m.id: replace(rest, model=m.id) for m in cluster.models} | found
    return tuple(found[m] for m in sorted(found))


def told_rates(said: Sequence[Told], rates: Sequence[Rate], cluster: Cluster) -> tuple[Rate, ...]:
    """Return what is expected of each model where the notes come true and it is `rates` without them."""
    per_s = {r.model: r.per_s for r in rates}
    by_model = {one.model: one for one in said}
    now = ((m.id, per_s.get(m.id, 0.0)) for m in cluster.models)
    return tuple(
        Rate(model=m, per_s=by_model[m].rate(rate, cluster) if m in by_model else rate)
        for m, rate in now
        if m in by_model or rate
    )


def expected(now_per_s: float, then_per_s: float) -> Expected:
    """Return the planner's word for a rate that becomes another one."""
    if now_per_s <= 0.0:
        return "surging" if then_per_s > 0.0 else "same"
    ratio = then_per_s / now_per_s
    return next((word for least, word in EXPECTED_FROM if ratio >= least), "silent")


def _clauses(text: str, cluster: Cluster) -> Iterator[Clause]:
    """Yield the parts of a note: a model after a change begins another, unless the change still waits for one."""
    clause, after_model = Clause(), False
    for one in _parts(text, cluster):
        if one.models:
            if clause.models and clause.change is not None and not after_model:
                yield clause
                clause = Clause()
            clause = replace(clause, models=(*clause.models, *one.models))
        elif one.change is not None:
            if clause.change is not None:
                yield clause
                clause = Clause()
            clause = replace(clause, change=one.change)
        else:
            clause = replace(clause, sites=one.sites)
        after_model = bool(one.models)
    yield clause


def _parts(text: str, cluster: Cluster) -> Iterator[Clause]:
    """Yield each thing that a note names, in a clause of its own."""
    ids = {m.id for m in cluster.models}
    exact = "|".join(re.escape(one).replace(r"\-", "[- ]") for one in sorted(ids, key=lambda one: (-len(one), one)))
    pattern = re.compile(rf"\b(?P<model>{exact or '(?!)'})(?![a-z0-9-])|{CHANGES}|(?P<word>[a-z][a-z0-9-]*)")
    sites = _sites(cluster)
    for found in pattern.finditer(_plain(text)):
        if (name := found["model"]) is not None:
            yield Clause(models=(name.replace(" ", "-"),))
        elif (named := found["sites"]) is not None:
            yield Clause(sites=tuple(sites[n] for n in _numbers(named) if n in sites))
        elif (word := found["word"]) is None:
            yield Clause(change=_change(found))
        elif word in OTHERS:
            yield Clause(models=OTHERS[:1])
        elif word in FACTORS:
            yield Clause(change=(FACTORS[word], None))
        elif models := models_named(word, cluster):
            yield Clause(models=models)


def unknown_sites(text: str, cluster: Cluster) -> tuple[str, ...]:
    """Return the numbers of sites that a note names and that there are not."""
    named = (found["sites"] for found in re.finditer(CHANGES, _plain(text)) if found["sites"] is not None)
    sites = _sites(cluster)
    return tuple(dict.fromkeys(number for one in named for number in _numbers(one) if number not in sites))


def _plain(text: str) -> str:
    """Return what of a note is not its time, in small letters and plain signs."""
    return without_span(text).lower().translate(SIGNS)


def _sites(cluster: Cluster) -> dict[str, str]:
    """Return the site of each number that an id ends with."""
    return {s.id.rpartition("-")[2].lstrip("0"): s.id for s in cluster.sites}


def _numbers(named: str) -> list[str]:
    return [number.lstrip("0") for number in re.findall(r"\d+", named)]


def _change(found: re.Match[str]) -> tuple[float, float | None]:
    """Return the factor, or the rate a second, that a match says."""
    if found["rate"] is not None:
        return 1.0, min(RATE_MOST_PER_S, float(found["rate"]) / UNIT_S[found["unit"][0]])
    if found["percent"] is not None:
        return max(0.0, 1.0 + float(found["percent"].replace(" ", "")) / 100.0), None
    return min(FACTOR_MOST, float(found["times"] or found["fold"])), None


def models_named(word: str, cluster: Cluster) -> tuple[str, ...]:
    """Return the models that have a word in their id or kind, also in the plural."""
    for one in (word, word.removesuffix("s")):
        named = tuple(m.id for m in cluster.models if one in {*m.id.split("-"), *m.kind.split("-")})
        if named and len(one) >= KIND_LETTERS:
            return named
    return ()
