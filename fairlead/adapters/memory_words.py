"""What operators say in words, in this process: notes and goals of the store in memory."""

from collections.abc import Callable

from fairlead.adapters import store_rules as rules
from fairlead.contracts.errors import NotFound, foreign
from fairlead.contracts.events import EventKind
from fairlead.contracts.notes import Goal, Note


class Words:
    """Notes by id, and all goals that were ever set."""

    def __init__(self, tell: Callable[[EventKind, str, str], None]) -> None:
        """`tell` is told what has changed."""
        self._tell = tell
        self._notes: dict[str, Note] = {}
        self._goals: dict[str, Goal] = {}

    def notes(self) -> tuple[Note, ...]:
        """Return all notes, those that begin first first."""
        return tuple(sorted(self._notes.values(), key=lambda one: (one.from_s, one.id)))

    def put_note(self, note: Note, if_revision: int | None) -> Note:
        """Create or change a note."""
        new = rules.revised("note", self._notes.get(note.id), note, note.id, if_revision)
        self._notes[new.id] = new
        self._tell("note", new.id, "created" if if_revision is None else "changed")
        return new

    def delete_note(self, note: str) -> None:
        """Forget a note."""
        if self._notes.pop(note, None) is None:
            raise NotFound(f"there is no note {foreign(note)!r}")
        self._tell("note", note, "deleted")

    def goals(self) -> tuple[Goal, ...]:
        """Return all goals, the newest first."""
        return tuple(sorted(self._goals.values(), key=lambda one: (one.created_at_s, one.id), reverse=True))

    def lasting(self, now_s: float) -> tuple[Goal, ...]:
        """Return the goals that are neither declined nor over, the newest first, without what a model was asked."""
        return tuple(rules.brief(one) for one in self.goals() if rules.lasts(one, now_s))

    def goal(self, goal: str) -> Goal:
        """Return a goal; raises `NotFound`."""
        return rules.there(self._goals.get(goal), goal)

    def put_goal(self, goal: Goal, if_revision: int | None) -> Goal:
        """Keep a goal, or a person's answer to it."""
        new = rules.aimed(self._goals.get(goal.id), goal, if_revision)
        self._goals[new.id] = new
        self._tell("goal", new.id, rules.answer_of(new))
        return new
