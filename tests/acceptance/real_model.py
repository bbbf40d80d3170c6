"""`home3`: words from a real model over HTTP, streamed and not; a model that sleeps is started by a request."""

import json
import shutil
import subprocess

from tests.acceptance.case import Case, hold
from tests.acceptance.live import Up, until, up

MODEL = "smollm2-135m"
QUIET = 1e-6
"""A load at which the generator asks for nothing by itself."""


def _pods(system: Up) -> list[str]:
    """Return the phases of all pods that are not off."""
    nodes = system.call("GET", "snapshot").json()["nodes"]
    return [pod["phase"] for node in nodes for pod in node["pods"] if pod["phase"] != "off"]


def _words() -> str:
    with up("--scenario", "home3", "--json") as system:
        took_s = system.works(MODEL, limit_s=90)
        answer = system.prompt(MODEL, max_tokens=24)
        said = answer.json()["choices"][0]["message"]["content"]
        hold(answer.status == 200 and len(said.split()) >= 3, f"{answer.status}: {answer.body[:300]!r}")
        hold(any(name.startswith("x-fairlead-") for name in answer.headers), f"no x-fairlead header: {answer.headers}")
        streamed = system.prompt(MODEL, max_tokens=24, stream=True)
        events = [line[6:] for line in streamed.body.decode().splitlines() if line.startswith("data: ")]
        hold(events[-1] == "[DONE]", f"the stream does not end: {events[-2:]}")
        parts = [json.loads(one)["choices"][0]["delta"].get("content") for one in events[:-1] if '"choices"' in one]
        hold(sum(part is not None for part in parts) >= 3, f"not streamed in parts: {events[:4]}")
        curl = _curl(system)
        return f"first words after {took_s:.1f} s: {said.strip()[:60]!r}; streamed in {len(parts)} parts; curl: {curl}"


def _curl(system: Up) -> str:
    if shutil.which("curl") is None:
        return "not on this machine"
    body = json.dumps({"model": MODEL, "messages": [{"role": "user", "content": "Say hello."}], "max_tokens": 8})
    url = f"{system.pointer()['sites'][0]}/v1/chat/completions"
    said = subprocess.run(
        ["curl", "-sSf", "--max-time", "60", url, "-H", "Content-Type: application/json", "-d", body],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    hold(said.returncode == 0, f"curl: {said.stderr}")
    hold(bool(json.loads(said.stdout)["choices"][0]["message"]["content"]), f"curl got no words: {said.stdout[:300]}")
    return "ok"


def _woken() -> str:
    with up("--scenario", "home3", "--load", str(QUIET), "--json") as system:
        system.works(MODEL, limit_s=90)
        nodes = [node["id"] for node in system.call("GET", "nodes").json()["items"]]
        for node in nodes:
            override = {"id": f"ban-{node}", "node": node, "model": MODEL, "action": "ban", "created_at_s": 0.0,
                        "expires_at_s": None, "by": "acceptance", "why": "the model shall stop"}  # fmt: skip
            made = system.call("POST", "overrides", override)
            hold(made.status in (200, 201), f"override: {made.status} {made.body[:300]!r}")
        until(lambda: not _pods(system), "every pod of the model stopped", 120, system.alive)
        for node in nodes:
            gone = system.call("DELETE", f"overrides/ban-{node}")
            hold(gone.status in (200, 204), f"override: {gone.status} {gone.body[:300]!r}")
        answer = system.prompt(MODEL, max_tokens=8, timeout_s=120)
        hold(answer.status == 200, f"the request was not answered: {answer.status} {answer.body[:300]!r}")
        hold(bool(_pods(system)), "no pod runs, yet an answer came")
        return f"stopped everywhere, then started by a request and answered: {_pods(system)}"


CASES = (
    Case("home3-words", "a real model answers over HTTP, streamed and not", _words),
    Case("home3-woken", "a stopped model is started by a request, which is answered", _woken),
)
