"""Where the Kubernetes API is and as whom it is asked, from a kubeconfig or a pod's service account."""

import ssl
from pathlib import Path
from typing import Any

import pytest
import yaml

from fairlead.adapters.kubernetes_access import Access, access_of
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.settings import KubernetesSettings


def kubeconfig(folder: Path, user: dict[str, Any], server: str = "http://127.0.0.1:1") -> KubernetesSettings:
    """Write a kubeconfig with two contexts, `one` the current one, and return settings that name it."""
    cluster: dict[str, Any] = {"server": server, "insecure-skip-tls-verify": True}
    document = {
        "current-context": "one",
        "clusters": [{"name": "c", "cluster": cluster}],
        "users": [{"name": "u", "user": user}, {"name": "other", "user": {"token": "of-another"}}],
        "contexts": [
            {"name": "one", "context": {"cluster": "c", "user": "u"}},
            {"name": "two", "context": {"cluster": "c", "user": "other"}},
        ],
    }
    path = folder / "config"
    path.write_text(yaml.safe_dump(document))
    return KubernetesSettings(kubeconfig=str(path))


def test_a_token_is_shown_as_bearer(tmp_path: Path) -> None:
    """Of the current context, or of the one that is set; without TLS where the address has none."""
    settings = kubeconfig(tmp_path, {"token": "of-mine"})
    access = access_of(settings)
    assert (access.server, access.context, access.headers()) == (
        "http://127.0.0.1:1",
        None,
        {"authorization": "Bearer of-mine"},
    )
    other = access_of(settings.model_copy(update={"context": "two"}))
    assert other.headers() == {"authorization": "Bearer of-another"}
    assert "of-mine" not in repr(access)


def test_a_token_of_a_file_is_read_again_once_it_is_refused(tmp_path: Path) -> None:
    """It is renewed beside us."""
    (tmp_path / "token").write_text("first\n")
    access = access_of(kubeconfig(tmp_path, {"tokenFile": "token"}))
    assert access.headers() == {"authorization": "Bearer first"}
    (tmp_path / "token").write_text("second\n")
    assert access.headers() == {"authorization": "Bearer first"}
    access.read_at_s = float("-inf")
    assert access.headers() == {"authorization": "Bearer second"}


def test_a_token_that_is_not_there_is_told(tmp_path: Path) -> None:
    """With its place."""
    access = Access("http://127.0.0.1:1", None, tmp_path / "absent")
    with pytest.raises(ConfigError, match="absent"):
        access.headers()


def test_a_server_that_need_not_be_checked_is_not(tmp_path: Path) -> None:
    """As the file says; over TLS all the same."""
    access = access_of(kubeconfig(tmp_path, {}, "https://127.0.0.1:1/"))
    assert access.server == "https://127.0.0.1:1"
    assert access.context is not None
    assert access.context.verify_mode is ssl.CERT_NONE
    assert access.headers() == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (None, "cannot be used: .*No such file"),
        ("{half", "cannot be used"),
        ("{}", "cannot be used: .*current-context"),
    ],
)
def test_a_file_that_is_none_is_told(tmp_path: Path, text: str | None, said: str) -> None:
    """By its path, with what is wrong."""
    path = tmp_path / "config"
    if text is not None:
        path.write_text(text)
    with pytest.raises(ConfigError, match=said):
        access_of(KubernetesSettings(kubeconfig=str(path)))


def test_a_context_that_is_not_there_is_told_with_those_that_are(tmp_path: Path) -> None:
    """By name."""
    settings = kubeconfig(tmp_path, {"token": "t"}).model_copy(update={"context": "three"})
    with pytest.raises(ConfigError, match=r"no context 'three': there are \['one', 'two'\]"):
        access_of(settings)


def test_a_plugin_for_credentials_is_not_run(tmp_path: Path) -> None:
    """What to use in its place is said."""
    with pytest.raises(ConfigError, match="kubectl create token"):
        access_of(kubeconfig(tmp_path, {"exec": {"command": "aws"}}))
