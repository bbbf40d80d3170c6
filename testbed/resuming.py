"""A run in a database that has seen one before: simulated time goes on, generations too."""

from dataclasses import replace

from fairlead.contracts.errors import ConfigError
from fairlead.contracts.ports import Store
from testbed.layout import Layout

GAP_S = 120.0
"""Domain seconds between an earlier run's last word in a database and this run: all its readings are too old then."""


async def resumed(layout: Layout, store: Store, now_s: float) -> Layout:
    """Return the layout with the clock's origin set so that simulated time goes on where the earlier run has ended.

    At a speed above 1 a run ends ahead of the wall clock, and what it left would be of the future to one that began
    at `now_s`, the Unix time. Raises `ConfigError` where the database is another cluster's or too far ahead.
    """
    ours = [node.id for node in layout.cluster.nodes]
    theirs = [node.id for node in (await store.cluster()).nodes]
    name, speed = layout.settings.mongodb.database, layout.settings.speed
    if theirs and theirs != ours:
        raise ConfigError(
            f"database {name!r} holds another cluster (nodes {', '.join(theirs[:5])}…): choose another --state-dir "
            "or mongodb.database"
        )
    resume_s = await _last_word_s(store) + GAP_S
    origin_s = now_s
    if resume_s > now_s:
        if speed <= 1.0:
            raise ConfigError(
                f"database {name!r} holds a run whose simulated time is {resume_s - now_s:.0f} s ahead of the clock: "
                "choose a --speed above 1, another --state-dir, or wait"
            )
        origin_s = (now_s * speed - resume_s) / (speed - 1.0)
    return replace(layout, settings=layout.settings.model_copy(update={"clock_origin_s": origin_s}))


async def _last_word_s(store: Store) -> float:
    """Return the newest domain instant that a database knows of, 0 if none."""
    decisions = (await store.decision_summaries(agent=None, limit=1, cursor=None)).items
    nodes, gateways = await store.latest_node_reports(), await store.latest_gateway_reports()
    observed = (*(r.observed_at_s for r in nodes), *(r.observed_at_s for r in gateways))
    return max((*(d.made_at_s for d in decisions), *observed), default=0.0)
