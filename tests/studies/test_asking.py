"""A language model asked in a run of the twin, where virtual time passes and wall time does not."""

from fairlead.contracts.dialogue import Answer, Ask, Sampling
from fairlead.contracts.settings import LlmEndpoint, LlmSettings
from fairlead.studies.asking import PATIENCE_S, asking, clocked, taking
from fairlead.twin.voices.speaking import answered
from tests.node_agent.pods import free_port

QUESTION = Ask(
    agent="slot-agent",
    prompt="slot/1",
    turn="first",
    system="s",
    user="u",
    reply="SlotReply",
    reply_schema="{}",
    sampling=Sampling(reply_tokens=16),
)


def test_an_endpoint_that_failed_is_asked_the_next_question_too() -> None:
    """A slot later its breaker would long have closed again, so each question finds out for itself."""
    endpoint = LlmEndpoint(url=f"http://127.0.0.1:{free_port()}/v1", key_variable=None)
    settings = LlmSettings(endpoints=(endpoint,), breaker_failures=1, attempts=1)
    with asking(settings, {}) as ask:
        codes = [ask(QUESTION, f"slot-agent-{at}", 9.0).code for at in range(3)]
    assert codes == ["unreachable"] * 3


def test_an_answer_whose_seconds_are_given_is_waited_for() -> None:
    """Or measured on another clock: however slow the machine is; what takes longer than the deadline by it is late."""
    left: list[float] = []

    def slow(question: Ask, name: str, deadline_s: float) -> Answer:
        left.append(deadline_s)
        return answered(question, "slow", "ok", 300.0, "{}")

    assert taking(slow, 4.0)(QUESTION, "slot-agent-1", 18.0).took_s == 4.0
    assert taking(slow, 20.0)(QUESTION, "slot-agent-2", 18.0).code == "late"
    assert left == [PATIENCE_S] * 2
    clock = iter((7.0, 12.0, 12.0, 40.0, 40.0, 0.0))
    other = clocked(slow, lambda: next(clock))
    assert other(QUESTION, "slot-agent-3", 18.0).took_s == 5.0
    late = other(QUESTION, "slot-agent-4", 18.0)
    assert (late.code, late.text, late.took_s) == ("late", None, 18.0)
    ended = other(QUESTION, "slot-agent-5", 18.0)
    assert (ended.code, ended.took_s) == ("ok", 0.0)
