"""Aliases: what stands in a prompt for an id, because an id that somebody chose must not speak to a model (CONTROL §3).

An alias has a letter and a number by position: `n01` the first node or group of nodes, `m01` of models, `c1` the first
case shown, `o1` the first note, `r1` the first regime. The one zone is `*`.
"""

from collections.abc import Sequence
from dataclasses import dataclass

Named = tuple[tuple[str, tuple[str, ...]], ...]
"""(alias, ids that it stands for) by alias; each id stands there once."""

ANYWHERE: Named = (("*", ("*",)),)
"""The one zone: network delays do not differ by a tenth of the work in our clusters (CONTROL §3)."""


@dataclass(frozen=True, slots=True)
class Aliases:
    """Which alias stands for what, in one question."""

    nodes: Named
    models: Named
    zones: Named = ANYWHERE
    cases: Named = ()
    notes: Named = ()
    regimes: Named = ()

    @property
    def grouped(self) -> bool:
        """Whether an alias of a node or a model stands for several."""
        return any(len(ids) > 1 for _, ids in (*self.nodes, *self.models))


def named(letter: str, groups: Sequence[Sequence[str]]) -> Named:
    """Return `groups` of ids with an alias each, ordered by their first id; ids are sorted within a group."""
    ordered = sorted(tuple(sorted(g)) for g in groups)
    return tuple((f"{letter}{at:02d}", ids) for at, ids in enumerate(ordered, start=1))


def by_alias(pairs: Named) -> dict[str, tuple[str, ...]]:
    """Return the ids behind each alias."""
    return dict(pairs)


def by_id(pairs: Named) -> dict[str, str]:
    """Return the alias of each id."""
    return {one: alias for alias, ids in pairs for one in ids}


def case_aliases(cases: Sequence[str]) -> Named:
    """Return an alias for each case, in the order in which they are shown; the id of each is its only one."""
    return tuple((f"c{at}", (case,)) for at, case in enumerate(cases, start=1))
