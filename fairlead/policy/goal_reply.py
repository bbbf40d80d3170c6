"""A language model's reading of a goal in words: past parse, schema and feasibility, or why not (CONTROL §3)."""

from fairlead.contracts.dialogue import Answer
from fairlead.contracts.notes import Aims, GoalReading, ModelLevel
from fairlead.contracts.replies import GoalReply
from fairlead.policy.aliases import Aliases, by_alias
from fairlead.policy.epoch import NEUTRAL_PRIORITY
from fairlead.policy.goals import AIMS
from fairlead.policy.parsing import Fault, listed, parse, printable, read


def heard(answer: Answer, aliases: Aliases) -> GoalReading | Fault:
    """Return what the text of an answer says of a goal, whatever its bytes are; never raises."""
    value = parse(answer.text or "")
    reply = value if isinstance(value, Fault) else read(value, GoalReply)
    return reply if isinstance(reply, Fault) else _meant(reply, aliases)


def _meant(reply: GoalReply, aliases: Aliases) -> GoalReading | Fault:
    """Return the reading with the ids that its aliases stand for."""
    known, said = by_alias(aliases.models), [one.model for one in reply.models]
    aims = Aims(**{name: getattr(reply, name) for name in AIMS})
    if strange := sorted(set(said) - set(known)):
        return _infeasible("unknown-model", f"there is no {listed(strange)}")
    if twice := sorted({one for one in said if said.count(one) > 1}):
        return _infeasible("model-once", f"{listed(twice)} stands twice")
    if aims == Aims() and all(one.priority == NEUTRAL_PRIORITY for one in reply.models):
        return _infeasible("says-nothing", "every level is 2: give what the words ask for another one")
    levels = {model: one.priority for one in reply.models for model in known[one.model]}
    return GoalReading(
        aims=aims,
        priorities=tuple(ModelLevel(model=m, priority=levels[m]) for m in sorted(levels)),
        read_by="llm",
        why=printable(reply.why),
    )


def _infeasible(code: str, text: str) -> Fault:
    return Fault("feasibility", code, text, text)
