"""A whole run of a slot agent from a script of what happens at the edge, and its journal.

`python -m tests.slot_agent.scripted_run record POLICY` prints the journal of a fixed script, a record a line;
`… replay` executes records from standard input again and says of each whether it is identical.
"""

import asyncio
import sys
from collections.abc import Sequence

from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.decisions import DecisionRecord
from fairlead.contracts.tuning import PolicyName
from fairlead.policy.registry import decide_slot
from fairlead.policy.replay import again
from tests.agents.world import world

Act = tuple[str, str]
"""What happens in five seconds: `ask` or `miss` a model, `lose` or `return` a node, `wait`."""

SCRIPT: tuple[Act, ...] = (
    *((("ask", "m1"), ("miss", "m4"), ("ask", "m2")) * 3),
    *((("lose", "n2"), ("ask", "m3"), ("ask", "m1"), ("wait", ""), ("miss", "m2")) * 2),
    *((("return", "n2"), ("ask", "m4"), ("wait", ""), ("wait", ""), ("ask", "m1")) * 3),
)


async def record_run(acts: Sequence[Act], policy: PolicyName, seed: int) -> list[DecisionRecord]:
    """Return the journal of a run of three nodes and four models, oldest first."""
    awake = (("n1", "m1"), ("n1", "m2"), ("n2", "m3"), ("n3", "m1"))
    async with world(3, 4, policy=policy, seed=seed, awake=awake) as w:
        await w.agent(decide_slot)
        for act, what in acts:
            match act:
                case "ask":
                    w.edge.ask(what, 3)
                case "miss":
                    await w.miss(what)
                case "lose":
                    w.edge.lose(what)
                case "return":
                    w.edge.lost.discard(what)
                case _:
                    pass
            await w.seconds(5)
        return await w.journal()


def main(arguments: list[str]) -> None:
    """Record or replay."""
    match arguments:
        case ["record", ("marginal-dpp" | "lru") as policy]:
            for record in asyncio.run(record_run(SCRIPT, policy, 7)):
                print(record.to_json())
        case ["replay"]:
            for line in sys.stdin:
                replayed = again(DecisionRecord.from_json(line), prompt_texts())
                print("identical" if replayed.identical else replayed.difference)
        case _:
            raise SystemExit(2)


if __name__ == "__main__":
    main(sys.argv[1:])
