"""A run of the local cluster written as an episode: its clients' log, and what its database kept."""

import json
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from fairlead.adapters.mongo_history import MongoHistory
from fairlead.contracts.episodes import AnswerLine, Recorded, RequestLine
from fairlead.policy.measuring import Window
from fairlead.studies.episodes.export import Run, export
from fairlead.studies.episodes.files import Episode
from fairlead.studies.searched import searched_placement
from testbed.client_log import whole_lines
from testbed.layout import Layout

LEAST_S = 1e-3
"""An episode ends at least so much after its last request, domain seconds."""


async def record(layout: Layout, window: Window, since_s: float, until_s: float) -> Episode | None:
    """Write the run that is over to the file of its order; None where that names none.

    `window` is when the demand was played; readings and decisions are taken from `since_s` until before `until_s`.
    """
    order = layout.order
    if order.record is None:
        return None
    lines = client_lines(layout.client_log, window.start_at_s)
    last_s = max((one.at_s for one in lines if isinstance(one, RequestLine)), default=0.0)
    end_at_s = max(window.end_at_s, window.start_at_s + last_s + LEAST_S)
    history = MongoHistory(layout.settings.mongodb)
    try:
        run = Run(
            name=layout.run,
            cluster=layout.cluster,
            recorded=_recorded(layout),
            window=Window(window.start_at_s, end_at_s),
            since_s=since_s,
            until_s=max(until_s, end_at_s),
        )
        return await export(run, history, client_lines(layout.client_log, window.start_at_s), order.record)
    finally:
        await history.aclose()


def _recorded(layout: Layout) -> Recorded:
    settings, scenario = layout.settings, layout.order.scenario
    given = settings.policy == "sed-static"
    return Recorded(
        policy=settings.policy,
        settings=settings.controller,
        seed=settings.seed,
        static=searched_placement(scenario.cluster, scenario.name) if given else (),
        speed=settings.speed,
        scenario=scenario.name,
        load=layout.order.load,
        clients=True,
        version=version("fairlead"),
    )


def client_lines(log: Path, begins_s: float) -> Iterator[RequestLine | AnswerLine]:
    """Yield what a client's log says, as lines of an episode whose second 0 is `begins_s`, in the log's order.

    A clock that was set back while it was written is not followed: what was written later did not happen earlier.
    """
    last_s = 0.0
    for data in whole_lines(log):
        line: dict[str, Any] = json.loads(data)
        last_s = at_s = max(last_s, line["at_s"] - begins_s)
        if line["event"] == "sent":
            yield RequestLine(
                at_s=at_s,
                id=line["id"],
                site=line["site"],
                model=line["model"],
                work_s=line["work_s"],
                prompt_tokens=line["prompt_tokens"],
                output_tokens=line["output_tokens"],
            )
            continue
        first_s = line["first_byte_at_s"]
        yield AnswerLine(
            at_s=at_s,
            id=line["id"],
            end=line["end"],
            reason=line["reason"],
            first_byte_s=None if first_s is None else first_s - begins_s,
            sends=line["sends"],
        )
