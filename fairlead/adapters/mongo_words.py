"""What operators say in words, in MongoDB: notes for a time span, and goals with their approval."""

from fairlead.adapters import store_rules as rules
from fairlead.adapters.mongo_driver import Document, Driver
from fairlead.adapters.mongo_rows import RevisedRows, row_of
from fairlead.contracts.errors import NotFound, foreign
from fairlead.contracts.notes import Goal, Note

GOALS_MOST = 300
"""So many goals are read, newest first: one a day for most of a year, 2 MB with what a model was asked about each of
them; older ones stay in the database."""

BRIEF: Document = {"json": {"$ifNull": ["$brief", "$json"]}, "created_at_s": 1}
"""A goal without what a model was asked about it; rows from before that was kept beside it have all."""

NEWEST = (("created_at_s", -1), ("_id", -1))


class Words:
    """Notes and goals, each with a revision."""

    def __init__(self, driver: Driver, rows: RevisedRows) -> None:
        self._driver = driver
        self._rows = rows

    async def notes(self) -> tuple[Note, ...]:
        """Return all notes, those that begin first first."""
        async with self._driver.asking("read the notes"):
            rows = await self._driver.collection("notes").find({}, {"json": 1}).to_list()
        return tuple(sorted((Note.from_json(row["json"]) for row in rows), key=lambda one: (one.from_s, one.id)))

    async def put_note(self, note: Note, *, if_revision: int | None) -> Note:
        """Create or change a note."""
        found = await self._rows.one("notes", note.id, Note)
        new = rules.revised("note", found, note, note.id, if_revision)
        text = "created" if if_revision is None else "changed"
        await self._rows.replace("notes", found, row_of(new.id, new, text, new.created_at_s))
        return new

    async def delete_note(self, note: str) -> None:
        """Forget a note."""
        async with self._driver.asking("forget a note"):
            result = await self._driver.collection("notes").delete_one({"_id": note})
        if result.deleted_count == 0:
            raise NotFound(f"there is no note {foreign(note)!r}")

    async def goals(self) -> tuple[Goal, ...]:
        """Return all goals, the newest first."""
        async with self._driver.asking("read the goals"):
            found = self._driver.collection("goals").find({}, {"json": 1, "created_at_s": 1})
            rows = await found.sort(NEWEST).limit(GOALS_MOST).to_list()
        return tuple(Goal.from_json(row["json"]) for row in rows)

    async def lasting(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that are neither declined nor over, the newest first, without what a model was asked."""
        query = {"text": {"$in": list(rules.LASTING)}, "$or": [{"until_s": None}, {"until_s": {"$gt": now_s}}]}
        async with self._driver.asking("read the goals that last"):
            rows = await self._driver.collection("goals").find(query, BRIEF).sort(NEWEST).limit(GOALS_MOST).to_list()
        goals = (rules.brief(Goal.from_json(row["json"])) for row in rows)
        return tuple(one for one in goals if rules.lasts(one, now_s))

    async def goal(self, goal: str) -> Goal:
        """Return a goal; raises `NotFound`."""
        return rules.there(await self._rows.one("goals", goal, Goal), goal)

    async def put_goal(self, goal: Goal, *, if_revision: int | None) -> Goal:
        """Keep a goal, or a person's answer to it."""
        found = await self._rows.one("goals", goal.id, Goal)
        new = rules.aimed(found, goal, if_revision)
        row = row_of(new.id, new, rules.answer_of(new), rules.answered_at_s(new))
        more = {"created_at_s": new.created_at_s, "until_s": new.until_s, "brief": rules.brief(new).to_json()}
        await self._rows.replace("goals", found, {**row, **more})
        return new
