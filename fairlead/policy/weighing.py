"""An answer of a language model on the ladder of DESIGN §4: call, parse, schema, feasibility, trust region."""

from dataclasses import dataclass

from fairlead.contracts.decisions import EpochInput, Step, StepName
from fairlead.contracts.dialogue import Answer
from fairlead.contracts.plans import Guide, PlanDraft, RoutingTable
from fairlead.contracts.replies import PlannerReply, SlotReply
from fairlead.contracts.tuning import PolicySettings
from fairlead.policy.aliases import Aliases
from fairlead.policy.differences import guide_changes, plan_changes
from fairlead.policy.parsing import Fault, parse, read
from fairlead.policy.planner_gate import Meant, drafted, largest_tilt
from fairlead.policy.slot_gate import furthest, guided

RUNGS: tuple[StepName, ...] = ("parse", "schema", "feasibility", "trust")
"""What a reply has to pass, in this order."""


@dataclass(frozen=True, slots=True)
class PlanTopic:
    """What a planner's reply is weighed against."""

    given: EpochInput
    meant: Meant


@dataclass(frozen=True, slots=True)
class RouteTopic:
    """What a slot agent's reply is weighed against."""

    table: RoutingTable
    """The fallback's."""
    aliases: Aliases
    settings: PolicySettings


@dataclass(frozen=True, slots=True)
class Found:
    """What a reply proposes, past all of `RUNGS`."""

    proposal: Guide | PlanDraft
    trust: str
    """How far it goes, in words."""
    cited: tuple[str, ...]
    """Ids of the cases that it says it used."""
    changes: tuple[str, ...]
    """What it would change against the fallback, in words."""


@dataclass(frozen=True, slots=True)
class Weighed:
    """What came of an answer."""

    steps: tuple[Step, ...]
    found: Found | None = None
    fault: Fault | None = None
    """What a second answer could mend; None where there is a proposal, and where there was no reply."""


def weighed(about: PlanTopic | RouteTopic, answer: Answer) -> Weighed:
    """Return what came of an answer, whatever its bytes are; never raises."""
    call = Step(name="call", ok=answer.code == "ok", code=answer.code, text=answer.detail)
    if answer.code != "ok":
        return Weighed((call,))
    value = parse(answer.text or "")
    found = value if isinstance(value, Fault) else _proposed(about, value)
    if isinstance(found, Fault):
        below = RUNGS[: RUNGS.index(found.step)]
        failed = Step(name=found.step, ok=False, code=found.code, text=found.text)
        return Weighed((call, *(_passed(rung) for rung in below), failed), fault=found)
    return Weighed((call, *(_passed(rung) for rung in RUNGS[:-1]), _passed("trust", found.trust)), found=found)


def _passed(rung: StepName, text: str = "") -> Step:
    return Step(name=rung, ok=True, code="ok", text=text)


def _proposed(about: PlanTopic | RouteTopic, value: dict[str, object]) -> Found | Fault:
    return _planned(about, value) if isinstance(about, PlanTopic) else _routed(about, value)


def _planned(about: PlanTopic, value: dict[str, object]) -> Found | Fault:
    reply = read(value, PlannerReply)
    if isinstance(reply, Fault):
        return reply
    draft = drafted(reply, about.given, about.meant)
    if isinstance(draft, Fault):
        return draft
    tilt = largest_tilt(draft, about.given)
    cases = about.meant.cases
    cited = tuple(dict.fromkeys(cases[alias].id for alias in reply.cases_cited if alias in cases))
    return Found(
        draft, f"intents are between {1.0 / tilt:.2f} and {tilt:.2f}", cited, plan_changes(draft, about.given.cluster)
    )


def _routed(about: RouteTopic, value: dict[str, object]) -> Found | Fault:
    reply = read(value, SlotReply)
    if isinstance(reply, Fault):
        return reply
    guide = guided(reply, about.table, about.aliases, about.settings)
    if isinstance(guide, Fault):
        return guide
    far, most = furthest(guide, about.table), about.settings.trust_tv
    trust = f"rows are at most {far:.2f} away from the fallback's, {most:.2f} is trusted"
    return Found(guide, trust, (), guide_changes(guide, about.table))
