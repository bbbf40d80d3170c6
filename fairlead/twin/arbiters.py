"""Who judges proposals in a run of the twin: the gate, in branches of an engine."""

from fairlead.contracts.decisions import EpochInput, SlotInput
from fairlead.contracts.dialogue import Judge, Judgement
from fairlead.twin.court import Means
from fairlead.twin.engines import EngineName, brancher
from fairlead.twin.gate import judged
from fairlead.twin.talking import Arbiter


def arbiter(name: EngineName) -> Arbiter:
    """Return what judges proposals in branches of an engine."""
    branch = brancher(name)

    def judge(asked: SlotInput | EpochInput, proposal: Judge, fresh: bool) -> Judgement:
        return judged(asked, proposal, asked.settings.gate, Means(branch, fresh=fresh))

    return judge
