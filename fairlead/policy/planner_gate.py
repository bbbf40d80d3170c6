"""A planner reply becomes a draft of a plan, or a fault: gates 3 and 4 of CONTROL §3, feasibility and trust region.

An alias of a group of nodes gives each of them its intent. An alias of a group of models is dealt out over the nodes
that name it: each takes the next one that fits, and further ones up to three, so that all of the group find a place.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from fairlead.contracts.cases import Case
from fairlead.contracts.decisions import EpochInput
from fairlead.contracts.plans import Intent, ModelPriority, PlanDraft, Rate, Reason, Warm
from fairlead.contracts.replies import NodeWish, PlannerReply, WarmWish
from fairlead.policy.aliases import Aliases, by_alias, by_id
from fairlead.policy.arrays import lean
from fairlead.policy.draft import GB
from fairlead.policy.epoch import NEUTRAL_PRIORITY, check, with_demand
from fairlead.policy.forecast_words import remembered_regimes
from fairlead.policy.note_words import noted, rates_told
from fairlead.policy.parsing import Fault, listed, printable

MOST = 3
"""Models that an intent may prefer, or avoid (CONTROL §3)."""

CLOSED = ("standby", "drain")
"""Roles of nodes where nothing new starts."""

CLOSED_MOST = 0.3
"""Share of the memory that is up which a reply may close: the distance of gate 4 for rows (CONTROL §3), since without
a twin nothing else keeps a valid reply from closing the whole cluster."""


@dataclass(frozen=True, slots=True)
class Meant:
    """What a question's aliases stand for."""

    nodes: Mapping[str, tuple[str, ...]]
    models: Mapping[str, tuple[str, ...]]
    cases: Mapping[str, Case]
    node_of: Mapping[str, str]
    """Alias of a node's id."""
    model_of: Mapping[str, str]


def meant(aliases: Aliases, cases: Sequence[Case]) -> Meant:
    """Return what aliases stand for, with the cases in full."""
    known = {c.id: c for c in cases}
    return Meant(
        nodes=by_alias(aliases.nodes),
        models=by_alias(aliases.models),
        cases={alias: known[case] for alias, ids in aliases.cases for case in ids},
        node_of=by_id(aliases.nodes),
        model_of=by_id(aliases.models),
    )


def drafted(reply: PlannerReply, given: EpochInput, aliases: Meant) -> PlanDraft | Fault:
    """Return the draft of a plan that a reply is, or why it cannot be one."""
    unknown = _unknown(reply, given, aliases)
    if unknown is not None:
        return unknown
    rates = _rates(reply, given, aliases)
    draft = PlanDraft(
        intents=_intents(reply.nodes, given, aliases),
        priorities=_priorities(reply, given, aliases),
        warm=_warm(reply, given, aliases),
        why=printable(reply.why),
        rates=rates,
        rates_at_s=_at_s(reply.rates_at, given) if rates else None,
    )
    faults = (*check(draft, given.cluster, given.snapshot), *_too_late(reply, given))
    if faults:
        said = listed(_said(f, draft, given, aliases) for f in faults)
        return Fault("feasibility", faults[0].rule, listed(f.text for f in faults), said)
    return _untrusted(draft, given, aliases) or draft


def _untrusted(draft: PlanDraft, given: EpochInput, aliases: Meant) -> Fault | None:
    """Return that a draft closes more than is trusted, or all nodes on which a model with demand could start."""
    up = {n.node for n in given.snapshot.nodes if n.up}
    room = {n.id: n.memory_bytes for n in given.cluster.nodes if n.id in up}
    closed = {i.node for i in draft.intents if i.role in CLOSED}
    share = sum(size for node, size in room.items() if node in closed) / max(1, sum(room.values()))
    if share > CLOSED_MOST:
        text = f"standby and drain close {share:.2f} of the memory that is up, at most {CLOSED_MOST:.2f} is trusted"
        return Fault("trust", "outside", text, text)
    wanted = set(with_demand(given.snapshot))
    widest = max(room.values(), default=0)
    open_widest = max((size for node, size in room.items() if node not in closed), default=0)
    shut = [m.id for m in given.cluster.models if m.id in wanted and open_widest < m.memory_bytes <= widest]
    if shut:
        return Fault(
            "trust",
            "shut-out",
            listed(f"{one} has demand and fits no node that stays open" for one in shut),
            listed(f"{aliases.model_of[one]} has demand and fits no node that stays open" for one in shut),
        )
    return None


def largest_tilt(draft: PlanDraft, given: EpochInput) -> float:
    """Return the factor on worth and regret that is furthest from 1 (CONTROL §2 rule 4): at least 1, at most 2.

    No reply can be outside: the vocabulary has nothing stronger.
    """
    at_node = {n.id: k for k, n in enumerate(given.cluster.nodes)}
    at_model = {m.id: k for k, m in enumerate(given.cluster.models)}
    return float(np.exp2(np.abs(lean(draft, at_node, at_model)).max(initial=0.0)))


def _unknown(reply: PlannerReply, given: EpochInput, aliases: Meant) -> Fault | None:
    """Return that a reply names what the question has not; cases that it only cites are not looked at."""
    nodes = [*(w.node for w in reply.nodes), *(w.node for w in reply.warm)]
    models = [m for w in reply.nodes for m in (*w.prefer, *w.avoid)]
    models += [*(w.model for w in reply.models), *(w.model for w in reply.warm)]
    cases = [reply.rates_of] if reply.rates_of is not None else []
    named: tuple[tuple[str, list[str], Mapping[str, object]], ...] = (
        ("node", nodes, aliases.nodes),
        ("model", models, aliases.models),
        ("case", cases, {**aliases.cases, **noted(given), **remembered_regimes(given)}),
    )
    for what, said, known in named:
        strange = [one for one in said if one not in known]
        if strange:
            text = listed(f"there is no {what} {one}" for one in strange)
            return Fault("feasibility", f"unknown-{what}", text, text)
    return None


@dataclass(slots=True)
class Dealer:
    """Deals models of groups out, each in its turn."""

    groups: Mapping[str, tuple[str, ...]]
    size: Mapping[str, int]
    """Bytes of a model."""
    turn: dict[str, int] = field(default_factory=dict)
    """Per alias, whose turn it is."""

    def dealt(self, aliases: Sequence[str], room: int) -> tuple[str, ...]:
        """Return models for one node: one of each alias, then more of the groups as long as they fit its memory.

        Of an alias of which nothing fits there is one all the same: that is a fault of the reply's, to be found.
        """
        hand: list[str] = []
        once = tuple(dict.fromkeys(aliases))
        for alias in once:
            hand.append(self._next(alias, hand, room) or self.groups[alias][0])
        dealing = True
        while dealing:
            dealing = False
            for alias in once:
                if len(hand) < MOST and (model := self._next(alias, hand, room)) is not None:
                    hand.append(model)
                    dealing = True
        return tuple(hand)

    def _next(self, alias: str, hand: Sequence[str], room: int) -> str | None:
        """Return whose turn it is of those that fit beside what is in `hand`."""
        group, turn = self.groups[alias], self.turn.get(alias, 0)
        free = room - sum(self.size[h] for h in hand)
        for k in range(turn, turn + len(group)):
            model = group[k % len(group)]
            if model not in hand and self.size[model] <= free:
                self.turn[alias] = (k + 1) % len(group)
                return model
        return None


def _intents(wishes: Sequence[NodeWish], given: EpochInput, aliases: Meant) -> tuple[Intent, ...]:
    """Return an intent for each node of each wish."""
    room = {n.id: n.memory_bytes for n in given.cluster.nodes}
    size = {m.id: m.memory_bytes for m in given.cluster.models}
    preferred, avoided = Dealer(aliases.models, size), Dealer(aliases.models, dict.fromkeys(size, 0))
    return tuple(
        Intent(
            node=node,
            role=wish.role,
            prefer=preferred.dealt(wish.prefer, room[node]),
            avoid=avoided.dealt(wish.avoid, room[node]),
            bias=wish.bias,
        )
        for wish in wishes
        for node in aliases.nodes[wish.node]
    )


def _priorities(reply: PlannerReply, given: EpochInput, aliases: Meant) -> tuple[ModelPriority, ...]:
    """Return what is said of models, in the order of the cluster; a model of which nothing is said is neutral."""
    said = [
        ModelPriority(model=model, priority=wish.priority, expected=wish.expected)
        for wish in reply.models
        for model in aliases.models[wish.model]
    ]
    named = {p.model for p in said}
    neutral = [
        ModelPriority(model=m.id, priority=NEUTRAL_PRIORITY, expected="same")
        for m in given.cluster.models
        if m.id not in named
    ]
    return tuple(sorted((*said, *neutral), key=lambda p: p.model))


def _rates(reply: PlannerReply, given: EpochInput, aliases: Meant) -> tuple[Rate, ...]:
    """Return the rates of the case or regime that a reply expects, of all models if of any, or of the note it believes.

    Of a case or a regime, a model that it does not name was not asked for.
    """
    if reply.rates_of is None:
        return ()
    if (note := noted(given).get(reply.rates_of)) is not None:
        return rates_told(note, given)
    regime = remembered_regimes(given).get(reply.rates_of)
    rates = regime.rates if regime is not None else aliases.cases[reply.rates_of].rates
    per_s = {r.model: r.per_s for r in rates}
    return tuple(Rate(model=m.id, per_s=per_s.get(m.id, 0.0)) for m in given.cluster.models) if per_s else ()


def _warm(reply: PlannerReply, given: EpochInput, aliases: Meant) -> tuple[Warm, ...]:
    """Return pods to be warmed: of a group of models the one asked for most, on the first node of a group that can."""
    rates = {r.model: r.per_s for r in given.rates}
    closed = {n for w in reply.nodes if w.role in CLOSED for n in aliases.nodes[w.node]}
    found: dict[tuple[str, str], Warm] = {}
    for wish in reply.warm:
        model = max(aliases.models[wish.model], key=lambda m: rates.get(m, 0.0))
        nodes = aliases.nodes[wish.node]
        node = next((n for n in nodes if n not in closed and _takes(n, model, given)), nodes[0])
        found.setdefault((node, model), Warm(model=model, node=node, at_s=_at_s(wish.at, given)))
    return tuple(found.values())


def _takes(node: str, model: str, given: EpochInput) -> bool:
    """Tell whether a node is up, has the memory for a model, and none of its pods yet."""
    room = next(n.memory_bytes for n in given.cluster.nodes if n.id == node)
    size = next(m.memory_bytes for m in given.cluster.models if m.id == model)
    view = next((v for v in given.snapshot.nodes if v.node == node), None)
    return view is not None and view.up and size <= room and all(p.model != model for p in view.pods)


def _at_s(at: Literal["now"] | int, given: EpochInput) -> float:
    """Return the instant of a time: it counts from the epoch's begin; `now` is then, or now where it has begun."""
    begins_at_s = given.begins_at_s if given.begins_at_s is not None else given.now_s
    return max(begins_at_s, given.now_s) if at == "now" else begins_at_s + at


def _too_late(reply: PlannerReply, given: EpochInput) -> tuple[Reason, ...]:
    """Return which pods are to be warmed after the epoch's end."""
    length_s = given.settings.epoch_slots * given.settings.slot_s
    return tuple(
        Reason(rule="warm-time", node=None, model=None, value_s=wish.at, text=_late_words(wish, length_s))
        for wish in reply.warm
        if wish.at != "now" and wish.at > length_s
    )


def _late_words(wish: WarmWish, length_s: float) -> str:
    return f"{wish.model} is to be warm {wish.at} s after the epoch's begin, which lasts {length_s:g} s"


def _said(reason: Reason, draft: PlanDraft, given: EpochInput, aliases: Meant) -> str:
    """Return a reason in aliases and numbers, as it may stand in a prompt."""
    node, model = aliases.node_of.get(reason.node or ""), aliases.model_of.get(reason.model or "")
    match reason.rule:
        case "node-once":
            return f"{node} must stand in nodes exactly once"
        case "model-once":
            return f"{model} must stand in models at most once"
        case "memory" if reason.model is not None:
            return f"{model} in warm does not fit {node}"
        case "memory":
            return f"{node} prefers more than fits its memory: {_gb(reason.node or '', draft, given)}"
        case "warm-time":
            return reason.text  # it is made of aliases
        case _:  # neglected
            return f"{model} has demand: prefer it on a node that is not drained and where all preferred models fit"


def _gb(node: str, draft: PlanDraft, given: EpochInput) -> str:
    size = {m.id: m.memory_bytes for m in given.cluster.models}
    need = max(sum(size[m] for m in i.prefer) for i in draft.intents if i.node == node)
    room = next(n.memory_bytes for n in given.cluster.nodes if n.id == node)
    return f"{need / GB:.1f} of {room / GB:.1f} GB"
