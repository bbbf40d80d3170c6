"""Address and credentials of the Kubernetes API: of the pod that a process runs in, or of a kubeconfig."""

import base64
import os
import ssl
import tempfile
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from fairlead.contracts.errors import ConfigError, foreign
from fairlead.contracts.settings import KubernetesSettings

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
"""Where a container finds its service account (Kubernetes, "Accessing the API from a Pod")."""

TOKEN_S = 60.0
"""Wall seconds that a token which was read counts: the kubelet renews them at 80 % of an hour or more."""


@dataclass(slots=True)
class Access:
    """How to reach the API, and as whom."""

    server: str
    """Scheme, host and port, perhaps with a path."""
    context: ssl.SSLContext | None
    token_file: Path | None = None
    """Read again from time to time, for it is renewed."""
    token: str | None = field(default=None, repr=False)
    read_at_s: float = field(default=float("-inf"), repr=False)

    def headers(self) -> dict[str, str]:
        """Return what proves who asks. Raises `ConfigError` where the token cannot be read."""
        if self.token_file is not None and time.monotonic() - self.read_at_s > TOKEN_S:
            try:
                self.token = self.token_file.read_text().strip()
            except OSError as error:
                raise ConfigError(f"the token of the Kubernetes API cannot be read: {foreign(error)}") from error
            self.read_at_s = time.monotonic()
        return {"authorization": f"Bearer {self.token}"} if self.token else {}


def access_of(settings: KubernetesSettings) -> Access:
    """Return the access that is set, else the pod's service account, else the kubeconfig that `KUBECONFIG` names.

    Raises `ConfigError` where there is none, or one that cannot be used.
    """
    host, port = os.environ.get("KUBERNETES_SERVICE_HOST"), os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    if settings.kubeconfig is None and host and (SERVICE_ACCOUNT / "token").exists():
        context = ssl.create_default_context(cafile=str(SERVICE_ACCOUNT / "ca.crt"))
        named = f"[{host}]" if ":" in host else host
        return Access(f"https://{named}:{port}", context, SERVICE_ACCOUNT / "token")
    named = settings.kubeconfig or os.environ.get("KUBECONFIG", "").partition(os.pathsep)[0]
    if not named:
        raise ConfigError(
            "the Kubernetes API is nowhere set: run in a pod with a service account, or let kubernetes.kubeconfig or "
            "KUBECONFIG name a kubeconfig"
        )
    return _of_file(Path(named).expanduser(), settings.context)


def _of_file(path: Path, wanted: str | None) -> Access:
    try:
        config = yaml.safe_load(path.read_text())
        context = _named(config, "context", wanted or config["current-context"])
        cluster, user = _named(config, "cluster", context["cluster"]), _named(config, "user", context["user"])
        if "exec" in user or "auth-provider" in user:
            raise ConfigError(
                f"kubeconfig {path} gets its credentials from a plugin, which Fairlead does not run: use a token of a "
                "service account (`kubectl create token`) or a client certificate"
            )
        token_file = user.get("tokenFile")
        return Access(
            str(cluster["server"]).rstrip("/"),
            _tls(path.parent, cluster, user) if str(cluster["server"]).startswith("https:") else None,
            None if token_file is None else path.parent / token_file,
            user.get("token"),
        )
    except (OSError, yaml.YAMLError, KeyError, TypeError, ValueError, StopIteration) as error:
        raise ConfigError(f"kubeconfig {path} cannot be used: {foreign(repr(error))}") from error


def _named(config: dict[str, Any], kind: str, name: str) -> dict[str, Any]:
    found = next((one[kind] for one in config[f"{kind}s"] if one["name"] == name), None)
    if found is None:
        raise ConfigError(f"the kubeconfig has no {kind} {name!r}: there are {[o['name'] for o in config[f'{kind}s']]}")
    return dict(found)


def _tls(folder: Path, cluster: dict[str, Any], user: dict[str, Any]) -> ssl.SSLContext:
    """Return what to trust and what to show; data in the file goes before files beside it."""
    authority = _data(cluster, "certificate-authority", folder)
    context = ssl.create_default_context(cadata=None if authority is None else authority.decode())
    if cluster.get("insecure-skip-tls-verify"):
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    certificate, key = _data(user, "client-certificate", folder), _data(user, "client-key", folder)
    if certificate is not None and key is not None:
        with tempfile.NamedTemporaryFile(prefix="fairlead-") as both:  # the library reads files alone; mode 0600
            both.write(certificate + b"\n" + key)
            both.flush()
            context.load_cert_chain(both.name)
    return context


def _data(part: dict[str, Any], name: str, folder: Path) -> bytes | None:
    if f"{name}-data" in part:
        return base64.b64decode(part[f"{name}-data"])
    return (folder / part[name]).read_bytes() if name in part else None
