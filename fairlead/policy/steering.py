"""What steers an ingress: the table in force, the mean work that prices are made of, and whose turn it is.

Plain state without a clock: a gateway and the twin hold one for each site, so that both choose by the same rules.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from fairlead.contracts.plans import RoutingTable, Row
from fairlead.policy.choice import NodeLoad, Pick, choose, without_table
from fairlead.policy.moving import Costs, Move, Waiting, movable, moves

STEERS_ON_SLOTS = 3
"""A table past its expiry keeps steering for so many slots (DESIGN §3, static stability)."""

WAIT_SHARE = 0.5
"""A wake is due when the best pod's wait exceeds this share of the start delay (CONTROL §2 rule 1)."""

REFUSALS_AT_ONCE = 3
"""Refusals in a row after which a request waits for news of the keepers: each cost a round trip on an old word."""


@dataclass(frozen=True, slots=True)
class Chosen:
    """A choice and what it was based on."""

    pick: Pick | None
    wait_s: float | None
    """w of the chosen pod: d + e without own service and network (CONTROL §2 rule 1); None where nothing was priced."""
    table: RoutingTable | None
    """None if none steered it."""


class Steering:
    """The table of one site and what goes with it."""

    def __init__(self, site: str, slot_s: float) -> None:
        """Know no table yet; `slot_s` is the length of a slot."""
        self.table: RoutingTable | None = None
        self.older_tables = 0
        """Tables refused because a newer one was in force (DESIGN §8, invariant 9)."""
        self.network_s: Mapping[str, float] = {}
        """τ to each node, domain seconds; 0 where it is not named."""
        self.work: dict[str, float] = {}
        """b of each model."""
        self._site = site
        self._steers_on_s = STEERS_ON_SLOTS * slot_s
        self._rows: dict[str, Row] = {}
        self._moving = False
        """Some row lets waiting tickets move."""
        self._declared_work: Mapping[str, float] = {}
        self._turns: dict[str, int] = {}

    def declared(self, work: Mapping[str, float]) -> None:
        """Take b of each model from the cluster's definition; a table's b goes before."""
        self._declared_work = work
        self._mix_work()

    def steer_by(self, table: RoutingTable) -> bool:
        """Take a table; False if it is not newer than the one in force."""
        if self.table is not None and table.generation <= self.table.generation:
            self.older_tables += 1
            return False
        self.table = table
        self._rows = {r.model: r for r in table.rows if r.zone == "*"}
        self._rows.update((r.model, r) for r in table.rows if r.zone == self._site)
        self._moving = any(movable(row) for row in self._rows.values())
        self._mix_work()
        return True

    def steering(self, now_s: float) -> RoutingTable | None:
        """Return the table that steers now: until three slots past its expiry."""
        table = self.table
        return table if table is not None and now_s < table.expires_at_s + self._steers_on_s else None

    def chosen(self, model: str, loads: Mapping[str, NodeLoad], now_s: float, draws: tuple[float, float]) -> Chosen:
        """Return where a request goes (None: nobody can serve it), how long it waits there, and what steered that.

        `loads` has the nodes that can be reached, drained to `now_s`; `draws` are two numbers in [0, 1).
        """
        table = self.steering(now_s)
        row = self._rows.get(model) if table is not None else None
        if row is None:
            pick = without_table(model, loads, self.work, self.network_s)
            return Chosen(pick, None if pick is None else self._wait_s(pick, model, loads), None)
        turn = self._turns[model] = self._turns.get(model, -1) + 1
        pick = choose(row, loads, self.work, self.network_s, turn, draws)
        return Chosen(pick, None if pick is None else self._wait_s(pick, model, loads), table)

    def moving(self, now_s: float) -> bool:
        """Tell whether waiting tickets may move: a table steers that says so."""
        return self._moving and self.steering(now_s) is not None

    def moves(self, waiting: Iterable[Waiting], loads: Mapping[str, NodeLoad], least_s: float) -> tuple[Move, ...]:
        """Return which of the site's waiting tickets save more than `least_s` elsewhere.

        `loads` as for a choice: the nodes that can be reached, drained to now.
        """
        return moves(waiting, self._rows, loads, Costs(self.work, self.network_s), least_s)

    def _wait_s(self, pick: Pick, model: str, loads: Mapping[str, NodeLoad]) -> float | None:
        for price in pick.prices:
            if price.node == pick.node:
                own_s = self.work[model] / loads[pick.node].speed + self.network_s.get(pick.node, 0.0)
                return max(0.0, price.delay_s + price.externality_s - own_s)
        return None

    def _mix_work(self) -> None:
        self.work = dict(self._declared_work)
        if self.table is not None:
            self.work.update((w.model, w.work_s) for w in self.table.work)
