"""Who may do what: the one table of roles, and bearer tokens looked up by their hash."""

import asyncio
import hashlib
import ipaddress
import secrets

from fairlead.contracts.errors import Denied, StoreUnavailable, foreign
from fairlead.contracts.events import Role, TokenRecord
from fairlead.contracts.ports import Clock, Store

FRESH_S = 5.0
"""Wall seconds for which tokens once read are used: a deleted token works this much longer at most."""

UNKNOWN_EVERY_S = 0.1
"""Wall seconds between looks into the store for tokens that nobody knows, so that guessing costs it little."""

LOCAL = "a client of this machine"
"""Who calls where nobody needs a token."""

EVERYONE: frozenset[Role] = frozenset(("admin", "operator", "agent", "gateway", "viewer"))
PEOPLE: frozenset[Role] = frozenset(("admin", "operator", "viewer"))
OPERATORS: frozenset[Role] = frozenset(("admin", "operator"))
ADMINS: frozenset[Role] = frozenset(("admin",))
AGENTS: frozenset[Role] = frozenset(("admin", "agent"))
GATEWAYS: frozenset[Role] = frozenset(("admin", "gateway"))

WHO_MAY: dict[str, frozenset[Role]] = {
    "read_cluster": EVERYONE,
    "read_routes": PEOPLE,
    "list_nodes": PEOPLE,
    "create_node": OPERATORS,
    "read_node": PEOPLE,
    "change_node": OPERATORS,
    "delete_node": OPERATORS,
    "list_models": PEOPLE,
    "create_model": OPERATORS,
    "read_model": PEOPLE,
    "change_model": OPERATORS,
    "delete_model": OPERATORS,
    "wake_model": frozenset(("admin", "operator", "gateway")),
    "list_sites": PEOPLE,
    "create_site": OPERATORS,
    "read_site": PEOPLE,
    "change_site": OPERATORS,
    "delete_site": OPERATORS,
    "read_snapshot": PEOPLE,
    "list_plans": PEOPLE,
    "publish_plan": OPERATORS,
    "read_plan": PEOPLE,
    "read_plan_in_force": EVERYONE,
    "validate_plan": PEOPLE,
    "list_overrides": PEOPLE,
    "create_override": OPERATORS,
    "delete_override": OPERATORS,
    "read_placement": EVERYONE,
    "list_tables": PEOPLE,
    "read_table": EVERYONE,
    "read_old_table": PEOPLE,
    "list_decisions": PEOPLE,
    "read_decision": PEOPLE,
    "read_decision_worth": PEOPLE,
    "read_slot": PEOPLE,
    "replay_decision": PEOPLE,
    "list_cases": PEOPLE,
    "read_case": PEOPLE,
    "import_case": OPERATORS,
    "delete_case": OPERATORS,
    "quarantine_case": OPERATORS,
    "release_case": OPERATORS,
    "report_node": AGENTS,
    "report_gateway": GATEWAYS,
    "read_keepers": EVERYONE,
    "list_outcomes": PEOPLE,
    "list_agents": PEOPLE,
    "list_proposals": PEOPLE,
    "read_proposal": PEOPLE,
    "approve_proposal": OPERATORS,
    "decline_proposal": OPERATORS,
    "list_notes": PEOPLE,
    "create_note": OPERATORS,
    "read_note": PEOPLE,
    "delete_note": OPERATORS,
    "read_goal": PEOPLE,
    "list_goals": PEOPLE,
    "read_one_goal": PEOPLE,
    "set_goal": OPERATORS,
    "undo_goal": OPERATORS,
    "approve_goal": OPERATORS,
    "reject_goal": OPERATORS,
    "list_modes": PEOPLE,
    "read_mode": PEOPLE,
    "change_mode": OPERATORS,
    "read_events": EVERYONE,
    "list_tokens": ADMINS,
    "create_token": ADMINS,
    "delete_token": ADMINS,
}
"""Roles by operation: the whole of what a token allows. What is not here (health, metrics, documents) is open."""


class Unauthenticated(Exception):
    """There is no token where one is needed, or it is unknown: answered with 401."""


class Access:
    """Tells whether a caller may do something."""

    def __init__(self, store: Store, clock: Clock, *, auth: bool) -> None:
        self._store = store
        self._clock = clock
        self._auth = auth
        self._known: dict[str, TokenRecord] = {}
        self._read_at_s: float | None = None
        self._reading = asyncio.Lock()
        self._forgotten = 0
        """How often what was read has been said to be out of date."""

    async def check(self, operation: str, authorization: str | None, peer: str | None) -> str:
        """Return who the caller is, in words for an audit, if that one may; raises `Unauthenticated`, `Denied`."""
        may = WHO_MAY[operation]
        if not self._auth:
            if not is_loopback(peer):
                raise Denied("without authentication only clients on this machine are answered: set control.auth")
            return LOCAL
        scheme, _, token = (authorization or "").partition(" ")
        if scheme.lower() != "bearer" or not token:
            raise Unauthenticated("no bearer token: send `Authorization: Bearer …`, made by `fairlead token create`")
        record = await self._record(digest(token.strip()))
        if record is None:
            raise Unauthenticated("the bearer token is unknown: make another with `fairlead token create`")
        if record.role not in may:
            raise Denied(
                f"{operation} takes the role {' or '.join(sorted(may))}; token {record.id!r} has the role {record.role}"
            )
        return foreign(f"token {record.id} ({record.note})" if record.note else f"token {record.id}")

    async def _record(self, sha256: str) -> TokenRecord | None:
        """Return the token of this hash; while the store is away those last read count."""
        if self._due(sha256):
            async with self._reading:  # who comes meanwhile waits for what is read, and does not judge by what was
                if self._due(sha256):
                    await self._read(sha256)
        return self._known.get(sha256)

    def _due(self, sha256: str) -> bool:
        """Tell whether what was read last is too old to judge this token by."""
        if self._read_at_s is None:
            return True
        return self._clock.wall_s() - self._read_at_s > (FRESH_S if sha256 in self._known else UNKNOWN_EVERY_S)

    async def _read(self, sha256: str) -> None:
        """Read the tokens; until they are there nobody judges by the time of this reading."""
        at_s, forgotten = self._clock.wall_s(), self._forgotten
        try:
            self._known = {record.sha256: record for record in await self._store.tokens()}
        except StoreUnavailable:
            if sha256 not in self._known:
                self._read_at_s = None
                raise
        self._read_at_s = at_s if forgotten == self._forgotten else None

    def forget(self) -> None:
        """Read the tokens again with the next call."""
        self._forgotten += 1
        self._read_at_s = None


def digest(token: str) -> str:
    """Return the hash under which a token is kept; it has 256 random bits, so that salt would add nothing."""
    return hashlib.sha256(token.encode()).hexdigest()


def new_token(role: Role, note: str, at_s: float) -> tuple[str, TokenRecord]:
    """Return a new secret and what the store keeps of it."""
    secret = f"fl-{secrets.token_urlsafe(32)}"
    name = f"t-{secrets.token_hex(6)}"
    return secret, TokenRecord(id=name, role=role, sha256=digest(secret), note=note, created_at_s=at_s)


def is_loopback(host: str | None) -> bool:
    """Tell whether an address, or a name of one, is of this machine alone."""
    if host is None:
        return False
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
