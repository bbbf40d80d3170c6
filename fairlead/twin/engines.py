"""Which engine plays a game: the readable reference, or the compiled core where it can."""

from collections.abc import Callable
from typing import Literal

from fairlead.contracts.errors import InputError
from fairlead.contracts.tuning import PolicyName
from fairlead.twin import play as reference
from fairlead.twin import resuming
from fairlead.twin.branching import Branch, Branched, Candidate, Demand, Situation
from fairlead.twin.compiled.native import installed
from fairlead.twin.play import Game, Played

EngineName = Literal["auto", "reference", "compiled"]
"""Which engine is asked for; `auto` is the compiled one for what it supports and the reference for everything else."""

Tell = Callable[[float], None]
"""Told the share of a game that is done, from 0 to 1."""

COMPILED: frozenset[PolicyName] = frozenset(
    {"marginal-dpp", "lru", "sed-static", "random-static", "round-robin", "least-loaded-slot"}
)
"""Policies that the compiled core plays."""

REFERENCE_ONLY = frozenset({"route", "forecast"})
"""Fields of `PolicySettings` that the compiled core does not know: they stand at their defaults there."""


def supported(game: Game) -> str | None:
    """Return why the compiled core cannot play a game; None where it can."""
    if not installed():
        return "numba is not installed"
    if game.counsel is not None:
        return "a language model is asked in the reference engine only"
    if game.policy.forged:
        return "a node lies in the reference engine only"
    if any(name in REFERENCE_ONLY for name, _ in game.policy.changes):
        return f"the compiled core does not know {' and '.join(sorted(REFERENCE_ONLY))}"
    if game.policy.name not in COMPILED:
        return f"the compiled core does not play {game.policy.name}"
    return None


def player(name: EngineName) -> Callable[[Game, Tell], Played]:
    """Return what plays games; `Played.engine` says which engine served.

    `compiled` raises `InputError` for a game that the compiled core does not support.
    """

    def played(game: Game, tell: Tell) -> Played:
        refused = None if name == "reference" else supported(game)
        if name == "compiled" and refused is not None:
            raise InputError(f"engine compiled: {refused}; ask for the engine auto or reference")
        if name == "reference" or refused is not None:
            return reference.play(game, tell)
        # numba takes a second to import, which only those pay who play compiled
        from fairlead.twin.compiled.play import play

        return play(game, tell)

    return played


def unbranched(situation: Situation, candidate: Candidate) -> str | None:
    """Return why the compiled core cannot play a branch; None where it can."""
    if not installed():
        return "numba is not installed"
    if situation.policy not in COMPILED:
        return f"the compiled core does not play {situation.policy}"
    if situation.settings.route != "marginal":
        return f"the compiled core does not know the route {situation.settings.route}"
    if situation.placement is not None and any(node.forced for node in situation.placement.nodes):
        return "pods are stopped by force in the reference engine only"
    from fairlead.twin.compiled.plans import unknown

    return unknown(candidate.guide)


def brancher(name: EngineName) -> Branch:
    """Return what plays branches, one at a time; `Branched.engine` says which engine served.

    It keeps the tables of the newest situation. `compiled` raises `InputError` for a branch that the compiled core does
    not support.
    """
    if name == "reference" or (name == "auto" and not installed()):
        return resuming.branch
    from fairlead.twin.compiled.branching import Branches

    fast = Branches()

    def branch(situation: Situation, candidate: Candidate, demand: Demand, until_s: float) -> Branched:
        refused = unbranched(situation, candidate)
        if refused is None:
            return fast(situation, candidate, demand, until_s)
        if name == "compiled":
            raise InputError(f"engine compiled: {refused}; ask for the engine auto or reference")
        return resuming.branch(situation, candidate, demand, until_s)

    return branch
