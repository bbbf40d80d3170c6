"""The rule that stands in for a language model, without a server: for runs of the twin and for tests.

Never to be counted as a language model: it reads a prompt's tables and answers by a fixed rule, or badly on purpose.
"""

from fairlead.contracts.dialogue import Answer, AnswerCode, Ask
from fairlead.twin.talking import Asker
from testbed.scripted_behaviours import WIRE, drawn, mix_of, said
from testbed.scripted_rule import Unreadable, read

NAME = "scripted"

CHARS_PER_TOKEN = 4
"""A token of English text is about so long: the scripted server counts so too."""


def scripted(mix: str, seed: int, took_s: float) -> Asker:
    """Return who answers with the behaviours of `mix` (`good=0.8,bad=0.2`), each after `took_s` of virtual time.

    Raises `ValueError` for a mix that is none.
    """
    behaviours = mix_of(mix)

    def ask(question: Ask, name: str, deadline_s: float) -> Answer:
        behaviour, chance = drawn(behaviours, seed, name, 1)
        try:
            text = said(behaviour, read(question.user), chance).text
        except Unreadable as error:
            return _answer(question, "server-error", None, took_s, str(error))
        if behaviour in WIRE or took_s > deadline_s:
            code = _failed(behaviour) if behaviour in WIRE else "late"
            return _answer(question, code, None, deadline_s if code == "late" else took_s)
        if not text:
            return _answer(question, "empty", None, took_s)
        if len(text) > CHARS_PER_TOKEN * question.sampling.reply_tokens:
            return _answer(question, "too-long", None, took_s)
        return _answer(question, "ok", text, took_s)

    return ask


def _failed(behaviour: str) -> AnswerCode:
    codes: dict[str, AnswerCode] = {
        "busy": "busy",
        "error": "server-error",
        "reset": "reset",
        "content-type": "not-openai",
    }
    return codes.get(behaviour, "late")


def _answer(question: Ask, code: AnswerCode, text: str | None, took_s: float, detail: str = "") -> Answer:
    return Answer(
        code=code,
        text=text,
        endpoint="",
        model=NAME,
        style=None,
        attempts=1,
        took_s=took_s,
        prompt_tokens=(len(question.system) + len(question.user)) // CHARS_PER_TOKEN,
        reply_tokens=0 if text is None else len(text) // CHARS_PER_TOKEN,
        money=0.0,
        detail=detail[:256],
    )
