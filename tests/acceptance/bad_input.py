"""Bad input gets a clear error and changes nothing: on the command line, at the control API, at a gateway."""

import asyncio
import copy
import json
import os
import socket
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pydantic
import yaml
from pymongo import AsyncMongoClient

from fairlead.adapters.mongod import embedded
from fairlead.contracts.plans import RoutingTable
from fairlead.twin.clusters import cluster
from tests.acceptance.case import Broken, Case, hold
from tests.acceptance.live import Answer, Up, announce, expect, free_port, run, up

SCENARIO = ("--scenario", "city7-rotating", "--speed", "30")


def _up_with(document: dict[str, Any], *words: str) -> str:
    """Return what `up` says of a settings file that it must refuse with all `words`, before it starts anything."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "fairlead.yaml"
        file.write_text(yaml.safe_dump(document), "utf-8")
        ended = run("up", "--config", str(file), "--duration", "1", "--json")
        expect(ended, 2, *words)
        hold(not ended.out, f"something on standard output: {ended.out[:200]}")
        hold(os.listdir(folder) == ["fairlead.yaml"], f"files appeared: {os.listdir(folder)}")
        return ended.err.strip().splitlines()[-1][:160]


def _a_cluster() -> dict[str, Any]:
    return cluster("city7", lambda _: free_port()).to_document()


def _unknown_key() -> str:
    return _up_with({"contrl": {"port": 1}}, "contrl", "control")


def _large_model() -> str:
    document = _a_cluster()
    document["models"][0]["memory_bytes"] = 10**12
    return _up_with({"cluster": document}, document["models"][0]["id"], "largest node")


def _duplicate_id() -> str:
    document = _a_cluster()
    document["nodes"].append(copy.deepcopy(document["nodes"][0]))
    return _up_with({"cluster": document}, document["nodes"][0]["id"], "twice")


def _port_in_use() -> str:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with up(*SCENARIO, "--duration", "5", "--port", str(port), "--json") as system:
            ended = system.wait(60)
            hold(ended.status in (1, 2), f"exit status {ended.status}: {ended.err[-300:]}")
            hold(
                str(port) in ended.err and "Traceback" not in ended.err,
                f"it does not name the port: {ended.err[-300:]}",
            )
            hold(not ended.out, f"something on standard output: {ended.out[:200]}")
            hold(not (left := system.left()), f"left behind: {left}")
            return ended.err.strip().splitlines()[-1][:160]


def _corrupt_trace() -> str:
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "trace.csv"
        rows = [f"2023-11-16 18:17:{second:02}.9799600,374,44" for second in range(3, 9)]
        rows[3] = "2023-11-16 18:17:06.9799600,many,44"
        file.write_text("\r\n".join(["TIMESTAMP,ContextTokens,GeneratedTokens", *rows, ""]), "utf-8")
        ended = run("up", *SCENARIO, "--trace", "azure", str(file), "--duration", "5", "--json")
        expect(ended, 2, "line 5")
        return ended.err.strip().splitlines()[-1][:160]


async def _newer(act: Callable[[str], str]) -> str:
    with tempfile.TemporaryDirectory() as folder:
        async with embedded(folder) as database:
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(database.uri)
            meta = client.fairlead.meta
            await meta.insert_one({"_id": "schema", "version": 9999, "busy": False})
            before = await client.fairlead.list_collection_names()
            said = await asyncio.to_thread(act, database.uri)
            found = await meta.find_one({"_id": "schema"})
            hold(found == {"_id": "schema", "version": 9999, "busy": False}, f"the version was changed: {found}")
            hold(await client.fairlead.list_collection_names() == before, "collections were made")
            await client.close()
            return said


def _newer_schema() -> str:
    def start(uri: str) -> str:
        said = ""
        for command in ("planner", "control"):
            ended = run(command, environ={**os.environ, "FAIRLEAD_MONGODB_URI": uri}, limit_s=30)
            expect(ended, 1, "schema", "9999")
            said = ended.err.strip().splitlines()[-1][:160]
        return said

    return asyncio.run(_newer(start))


def _unsound_row() -> str:
    row = {"zone": "*", "model": "m1", "rule": "strict", "prior_weight_s": 0.0, "explore": 0.0,
           "shares": [{"node": "n1", "probability": 0.5}, {"node": "n2", "probability": 0.4}]}  # fmt: skip
    table = {"generation": 1, "placement_generation": 1, "plan_generation": 1, "slot": 1, "created_at_s": 1.0,
             "expires_at_s": 2.0, "decision": "slot-1", "source": "fallback", "rows": [row], "work": [],
             "speeds": []}  # fmt: skip
    try:
        RoutingTable.from_json(json.dumps(table))
    except pydantic.ValidationError as error:
        hold("must sum to 1" in str(error), f"the message does not say what is allowed: {error}")
        return str(error.errors()[0]["msg"])
    raise Broken("a row that sums to 0.9 was taken")


def _refused(answer: Answer, statuses: tuple[int, ...], code: str | None = None) -> str:
    """Return the detail of a problem document; raises `Broken` unless it is one of `statuses` and says a `code`."""
    hold(answer.status in statuses, f"status {answer.status}, not {statuses}: {answer.body[:300]!r}")
    hold(answer.headers.get("content-type", "").startswith("application/problem+json"), f"{answer.headers}")
    problem = answer.json()
    hold(problem["status"] == answer.status and bool(problem["detail"]), f"{problem}")
    hold(code is None or problem["code"] == code, f"code {problem['code']!r}, not {code!r}")
    return str(problem["code"])


def _state(system: Up) -> tuple[Any, ...]:
    """Return what none of the bad requests may change."""
    return tuple(system.call("GET", path).body for path in ("nodes", "models", "sites", "plans/current", "overrides"))


def _rest() -> str:
    with up(*SCENARIO, "--seed", "5", "--load", "0.3", "--json") as system:
        system.works()
        before, said = _state(system), []
        node, model = (system.call("GET", path).json()["items"][0] for path in ("nodes", "models"))
        said.append(_refused(system.call("POST", "nodes", node), (409,), "conflict"))
        huge = {**model, "id": "huge", "memory_bytes": 10**13, "revision": 0}
        said.append(_refused(system.call("POST", "models", huge), (409, 422)))
        report = {"node": node["id"], "instance": "x", "sequence": 1, "observed_at_s": 1.0, "memory_bytes": 1,
                  "memory_used_bytes": 0, "placement_generation": 0, "pods": [], "starts": 0, "stops": 0,
                  "overruns": 0, "forced_losses": 0}  # fmt: skip
        with_nan = json.dumps({**report, "observed_at_s": float("nan")}).encode()
        said.append(_refused(system.call("POST", "reports/node", raw=with_nan), (400, 422)))
        viewer = system.call("POST", "tokens", {"role": "viewer", "note": "acceptance"}).json()["token"]
        draft = {"intents": [], "priorities": [], "warm": [], "why": "not allowed"}
        said.append(_refused(system.call("POST", "plans", draft, token=viewer), (403,), "denied"))
        said.append(_refused(system.call("GET", "nodes", token="fl-unknown"), (401, 403)))
        where = system.pointer()
        large = announce(
            f"{where['control_url']}/api/v1/plans:validate", 5_000_000, {"Authorization": f"Bearer {where['token']}"}
        )
        said.append(_refused(large, (413,)))
        changed = {**node, "speed": 9.0}
        stale = system.call("PUT", f"nodes/{node['id']}", changed, headers={"If-Match": '"77"'})
        said.append(_refused(stale, (412,), "revision-mismatch"))
        hold(_state(system) == before, "something was changed")
        return ", ".join(said)


def _gateway() -> str:
    with up(*SCENARIO, "--seed", "5", "--load", "0.3", "--json") as system:
        system.works()
        said = []
        url = f"{system.pointer()['sites'][0]}/v1/chat/completions"
        for status, answer in ((413, announce(url, 21_000_000, {})), (404, system.prompt("no-such-model"))):
            hold(answer.status == status, f"status {answer.status}, not {status}: {answer.body[:300]!r}")
            error = answer.json()["error"]
            hold(bool(error["message"]) and "type" in error, f"no OpenAI error envelope: {answer.body[:300]!r}")
            said.append(f"{status} {error['message'][:60]}")
        hold(system.prompt("small-text").status == 200, "it no longer answers")
        return "; ".join(said)


CASES = (
    Case("bad-unknown-key", "an unknown key in fairlead.yaml is refused, the nearest named", _unknown_key),
    Case("bad-large-model", "a model larger than every node is refused", _large_model),
    Case("bad-duplicate-id", "a duplicate id is refused", _duplicate_id),
    Case("bad-port", "a port in use is named, and nothing stays", _port_in_use),
    Case("bad-trace", "a corrupt trace line is named by its number", _corrupt_trace),
    Case("bad-schema", "a database of a newer schema is refused and left as it is", _newer_schema),
    Case("bad-row", "a route row that does not sum to 1 is refused", _unsound_row),
    Case("bad-rest", "the control API refuses duplicates, NaN, wrong roles, large bodies, old revisions", _rest),
    Case("bad-gateway", "a gateway refuses a body over the limit and an unknown model", _gateway),
)
