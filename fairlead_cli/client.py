"""The control API as a person's commands use it: found, asked, and its problems turned into our errors."""

import http.client
import json
import os
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fairlead.contracts.errors import (
    ConfigError,
    Conflict,
    ControlUnavailable,
    Denied,
    FairleadError,
    InputError,
    NotFound,
    RevisionMismatch,
    foreign,
)
from fairlead_cli import keys, pointer

TIMEOUT_S = 10.0
"""Wall seconds for one call; the slowest, a listing of full decisions, takes well below one."""

_BY_STATUS: Mapping[int, type[FairleadError]] = {
    400: InputError,
    401: Denied,
    403: Denied,
    404: NotFound,
    409: Conflict,
    412: RevisionMismatch,
    413: InputError,
    422: InputError,
}


@dataclass(frozen=True, slots=True)
class Answer:
    """What the control API said."""

    text: str
    revision: str | None
    """Of the resource, for `If-Match`."""

    def json(self) -> Any:
        """Return the body's JSON, None where there is no body."""
        return json.loads(self.text) if self.text else None


@dataclass(frozen=True, slots=True)
class ControlClient:
    """One control API and the token to use there."""

    url: str
    token: str

    def get(self, path: str, **params: str | int | None) -> Answer:
        """Read a resource under /api/v1."""
        given = {name: value for name, value in params.items() if value is not None}
        query = f"?{urllib.parse.urlencode(given)}" if given else ""
        return self._call("GET", path + query, None, {})

    def post(self, path: str, document: Any) -> Answer:
        """Create something or ask for something to be done."""
        return self._call("POST", path, document, {})

    def put(self, path: str, document: Any, revision: str) -> Answer:
        """Change what still has the given revision."""
        return self._call("PUT", path, document, {"If-Match": revision})

    def delete(self, path: str, revision: str | None = None) -> Answer:
        """Remove something."""
        return self._call("DELETE", path, None, {"If-Match": revision} if revision else {})

    def _call(self, method: str, path: str, document: Any, headers: Mapping[str, str]) -> Answer:
        body = None if document is None else json.dumps(document).encode()
        request = urllib.request.Request(f"{self.url}/api/v1/{path}", data=body, method=method, headers=dict(headers))
        if self.token:
            request.add_header("Authorization", f"Bearer {self.token}")
        if body is not None:
            request.add_header("Content-Type", "application/json")
        try:
            with urllib.request.urlopen(request, timeout=TIMEOUT_S) as answer:
                return Answer(answer.read().decode(), answer.headers.get("ETag"))
        except urllib.error.HTTPError as error:
            with error:
                raise _problem(method, path, error.code, error.read()) from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", error)
            raise ControlUnavailable(
                f"{method} {path}: the control API at {self.url} does not answer ({foreign(reason)}): is it running?"
            ) from error


def locate(environ: Mapping[str, str] = os.environ) -> ControlClient:
    """Return a client of the system that is meant: that of FAIRLEAD_CONTROL_URL, else the one `fairlead up` that runs.

    Raises `ControlUnavailable` where none runs, `ConfigError` where several do.
    """
    url = environ.get("FAIRLEAD_CONTROL_URL") or environ.get("FAIRLEAD_CONTROL__URL")
    if url:
        return ControlClient(url.rstrip("/"), keys.bearer(environ))
    running = pointer.read(environ)
    if not running:
        raise ControlUnavailable(
            "no `fairlead up` of yours is running: start one, or set FAIRLEAD_CONTROL_URL and FAIRLEAD_TOKEN"
        )
    if len(running) > 1:
        urls = ", ".join(one.control_url for one in running)
        raise ConfigError(
            f"{len(running)} systems are running ({urls}): say which with FAIRLEAD_CONTROL_URL and FAIRLEAD_TOKEN"
        )
    return ControlClient(running[0].control_url, running[0].token)


def domain_now_s(client: ControlClient) -> float:
    """Return the system's domain time, which may run faster than ours."""
    taken = client.get("snapshot").json().get("taken_at_s")
    return float(taken) if taken is not None else time.time()


def _problem(method: str, path: str, status: int, body: bytes) -> FairleadError:
    """Return our error for a problem document (RFC 9457), or for whatever else came."""
    try:
        detail = json.loads(body)["detail"]
    except (ValueError, KeyError, TypeError):
        detail = body.decode("utf-8", "replace")
    kind = _BY_STATUS.get(status, ControlUnavailable)
    words = detail if isinstance(detail, str) else json.dumps(detail)
    return kind(f"{method} {path.partition('?')[0]}: {words[:1024] or f'status {status}'}")
