"""An agent without a language model: the fallback acts, and the agent says so."""

from collections.abc import Callable
from typing import Literal

from fairlead.agents.advice import Question, Recall, Settled, Stance, Talk
from fairlead.agents.status import StatusKeeper
from fairlead.contracts.decisions import Step
from fairlead.contracts.dialogue import ModeName
from fairlead.contracts.plans import Source


class Unadvised:
    """The port `Advising` where nothing is asked: no model is configured, or the policy takes no advice."""

    def __init__(self, stance: Literal["no-llm", "baseline"], status: StatusKeeper) -> None:
        self._stance: Literal["no-llm", "baseline"] = stance
        self._status = status

    async def stance(self) -> Stance:
        """Return why nothing is asked."""
        return self._stance

    async def mode(self) -> ModeName:
        """Return `off`: there is nobody to act."""
        return "off"

    def held_back(self) -> str:
        """Return nothing: what does not act is not held back."""
        return ""

    def heed(self, bell: Callable[[], None]) -> None:
        """Do nothing: nothing will ring."""

    async def hold(self, question: Question, recall: Recall) -> Talk | None:
        """Return None: there is nobody to talk to."""
        return None

    def concluded(self, ended: Settled, source: Source, steps: tuple[Step, ...]) -> None:
        """Do nothing: no dialogue ends where none begins."""

    def noticed(self) -> None:
        """Say the mode in the status."""
        self._status.news.set()

    async def run(self) -> None:
        """Keep the agent's status until cancelled."""
        await self._status.run()
