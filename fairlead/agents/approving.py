"""An assisted proposal and the person who is to approve it (DESIGN §4, mode `assist`)."""

import asyncio
from dataclasses import dataclass

from fairlead.agents.waiting import Insisting, until
from fairlead.contracts.dialogue import Approval, ModeName, Proposal
from fairlead.contracts.errors import Conflict
from fairlead.contracts.ports import Clock, Store


@dataclass(frozen=True, slots=True)
class Desk:
    """Where proposals lie until somebody answers, their slot or epoch ends, or the mode is another one."""

    store: Store
    clock: Clock
    insisting: Insisting

    async def answered(self, proposal: Proposal, bell: asyncio.Event) -> tuple[ModeName, Approval | None]:
        """Leave a proposal and return what becomes of it: the mode by then, and what was said of it.

        Looks again whenever `bell` is set. Without an answer the proposal is marked as expired; the approval is None
        where the mode no longer asks for one.
        """
        await self.insisting.got(lambda: self._left(proposal))
        while True:
            bell.clear()
            found = await self.insisting.got(lambda: self.store.proposal(proposal.id))
            mode = (await self.insisting.got(lambda: self.store.mode(proposal.agent))).mode
            if found.approval is not None:
                return mode, found.approval
            if mode != "assist" or self.clock.now_s() >= proposal.expires_at_s:
                approval = await self._expired(found)
                return mode, approval if mode == "assist" else None
            await until(self.clock, proposal.expires_at_s, bell)

    async def _left(self, proposal: Proposal) -> None:
        try:
            await self.store.put_proposal(proposal, if_revision=None)
        except Conflict:
            await self.store.proposal(proposal.id)  # an earlier try has left it, and its answer was lost

    async def _expired(self, found: Proposal) -> Approval:
        """Mark a proposal as expired; return what a person said of it in the last moment, if one did."""
        approval = Approval(answer="expired", by=found.agent, at_s=self.clock.now_s())
        marked = found.model_copy(update={"approval": approval})
        try:
            await self.insisting.got(lambda: self.store.put_proposal(marked, if_revision=found.revision))
        except Conflict:
            last = await self.insisting.got(lambda: self.store.proposal(found.id))
            return last.approval or approval
        return approval
