"""What agents propose and say of themselves in MongoDB, and who may act for them."""

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import Document, Driver, after_key, newest_first, page_of, wall_now
from fairlead.adapters.mongo_rows import RevisedRows, row_of
from fairlead.contracts.agent_memory import AgentMemory
from fairlead.contracts.dialogue import AgentStatus, Proposal
from fairlead.contracts.errors import NotFound, foreign
from fairlead.contracts.events import Mode
from fairlead.contracts.forecasts import Knowledge
from fairlead.contracts.ports import Page

KNOWLEDGE = "knowledge"
"""Of the one document that has it."""


class Agents:
    """Modes, proposals and the last status of each agent."""

    def __init__(self, driver: Driver, rows: RevisedRows) -> None:
        self._driver = driver
        self._rows = rows

    async def mode(self, agent: str) -> Mode:
        """Return who may act for an agent."""
        default = rules.default_mode(agent)
        return await self._rows.one("modes", agent, Mode) or default

    async def put_mode(self, mode: Mode, *, if_revision: int | None) -> Mode:
        """Change who may act for an agent; before anybody has, the revision is 0."""
        found = await self._rows.one("modes", mode.agent, Mode)
        assumed = rules.default_mode(mode.agent) if found is None and if_revision is not None else found
        new = rules.revised("mode", assumed, mode, mode.agent, if_revision)
        await self._rows.replace("modes", found, row_of(new.agent, new, new.mode, new.at_s))
        return new

    async def put_proposal(self, proposal: Proposal, *, if_revision: int | None) -> Proposal:
        """Leave a proposal for a person, or that person's approval."""
        found = await self._rows.one("proposals", proposal.id, Proposal)
        new = rules.proposed(found, proposal, if_revision)
        row = row_of(new.id, new, rules.answer_of(new), rules.answered_at_s(new))
        await self._rows.replace("proposals", found, {**row, "created_at_s": new.created_at_s, "kept_at": wall_now()})
        return new

    async def proposal(self, proposal: str) -> Proposal:
        """Return a proposal; raises `NotFound`."""
        found = await self._rows.one("proposals", proposal, Proposal)
        if found is None:
            raise NotFound(f"there is no proposal {foreign(proposal)!r}")
        return found

    async def proposals(self, *, limit: int, cursor: str | None) -> Page[Proposal]:
        """Return proposals, newest first."""
        after: Document = {} if cursor is None else after_key(rules.key_of(cursor, float, str), "created_at_s")
        async with self._driver.asking("list proposals"):
            found = self._driver.collection("proposals").find(after, {"json": 1, "created_at_s": 1})
            rows = await found.sort(newest_first("created_at_s")).limit(limit + 1).to_list()
        return page_of(rows, limit, lambda row: Proposal.from_json(row["json"]), "created_at_s", "_id")

    async def put_status(self, status: AgentStatus) -> None:
        """Keep what an agent says of itself, in place of what it said before."""
        row = {"_id": status.agent, "at_s": status.at_s, "json": status.to_json()}
        async with self._driver.asking("keep an agent's status"):
            await self._driver.collection("agents").replace_one({"_id": status.agent}, row, upsert=True)

    async def statuses(self) -> tuple[AgentStatus, ...]:
        """Return what each agent said last, sorted."""
        async with self._driver.asking("read the agents' status"):
            rows = await self._driver.collection("agents").find({}, {"json": 1}).sort("_id", 1).to_list()
        return tuple(AgentStatus.from_json(row["json"]) for row in rows)

    async def put_memory(self, memory: AgentMemory) -> None:
        """Keep what an agent goes on with after a restart, in place of what it kept before."""
        name = f"memory/{memory.agent}"
        row = {"_id": name, "json": memory.to_json()}
        async with self._driver.asking("keep an agent's memory"):
            await self._driver.collection("meta").replace_one({"_id": name}, row, upsert=True)

    async def memory(self, agent: str) -> AgentMemory | None:
        """Return what an agent has kept; None before it kept anything."""
        async with self._driver.asking("read an agent's memory"):
            row = await self._driver.collection("meta").find_one({"_id": f"memory/{agent}"})
        return None if row is None else AgentMemory.from_json(row["json"])

    async def put_knowledge(self, knowledge: Knowledge) -> None:
        """Keep what was learned of recurring demand."""
        row = {"_id": KNOWLEDGE, "json": knowledge.to_json()}
        async with self._driver.asking("keep what was learned of demand"):
            await self._driver.collection("meta").replace_one({"_id": KNOWLEDGE}, row, upsert=True)

    async def knowledge(self) -> Knowledge:
        """Return what was learned of recurring demand; nothing before anything was."""
        async with self._driver.asking("read what was learned of demand"):
            row = await self._driver.collection("meta").find_one({"_id": KNOWLEDGE})
        return Knowledge() if row is None else Knowledge.from_json(row["json"])
