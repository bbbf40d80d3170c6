"""`fairlead setup` on a real MongoDB: keys are written once, kept, and replaced where they were lost."""

import asyncio
from pathlib import Path

import pytest

from control_api.access import digest
from fairlead.adapters.mongo import connect
from fairlead.contracts.errors import ConfigError
from fairlead.contracts.events import TokenRecord
from fairlead.contracts.settings import MongoSettings
from fairlead_cli import keys
from fairlead_cli.main import invoke
from tests.adapters.mongo_fixture import mongo_settings, mongo_uri

__all__ = ["mongo_settings", "mongo_uri"]


def set_up(folder: Path) -> int:
    """Return how `fairlead setup` ends that writes all keys into a folder."""
    admin, edge = ("--admin-token", str(folder / "admin.token")), ("--edge-keys", str(folder / "edge"))
    return invoke(["setup", "--initiate", *admin, *edge])


def tokens(mongodb: MongoSettings) -> dict[str, TokenRecord]:
    """Return the tokens that the database knows, by hash."""

    async def known() -> dict[str, TokenRecord]:
        store = await connect(mongodb)
        try:
            return {one.sha256: one for one in await store.tokens()}
        finally:
            await store.close()

    return asyncio.run(known())


def test_keys_are_written_once_and_a_lost_one_is_replaced(
    mongo_settings: MongoSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Each file holds a token of its role, for its user alone; a second run changes nothing; no token stays unused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_MONGODB_URI", mongo_settings.uri or "")
    monkeypatch.setenv("FAIRLEAD_MONGODB__DATABASE", mongo_settings.database)
    assert set_up(tmp_path) == 0
    files = [tmp_path / "admin.token", *(tmp_path / "edge" / name for name in (keys.AGENT, keys.GATEWAY, keys.KEEPER))]
    first = {file: file.read_text("ascii") for file in files}
    assert {file.stat().st_mode & 0o777 for file in files} == {0o600}
    known = tokens(mongo_settings)
    assert [known[digest(first[file].strip())].role for file in files[:3]] == ["admin", "agent", "gateway"]
    assert set_up(tmp_path) == 0
    assert {file: file.read_text("ascii") for file in files} == first
    assert tokens(mongo_settings) == known
    files[1].unlink()
    assert set_up(tmp_path) == 0
    after = tokens(mongo_settings)
    assert len(after) == 3
    assert after[digest(files[1].read_text("ascii").strip())].role == "agent"
    assert digest(first[files[1]].strip()) not in after
    said = capsys.readouterr().out
    assert not [secret for secret in first.values() if secret.strip() in said]


def test_keys_that_somebody_brings_along_are_made_known(
    mongo_settings: MongoSettings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An installer's, or those in use when the database is a new one; a weak one and another role's are refused."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FAIRLEAD_MONGODB_URI", mongo_settings.uri or "")
    monkeypatch.setenv("FAIRLEAD_MONGODB__DATABASE", mongo_settings.database)
    brought = {name: f"fl-{name}-".ljust(46, "x") for name in (keys.AGENT, keys.GATEWAY, keys.KEEPER)}
    for name, key in brought.items():
        keys.write(tmp_path / "edge" / name, key)
    assert set_up(tmp_path) == 0
    known = tokens(mongo_settings)
    assert [known[digest(brought[name])].role for name in (keys.AGENT, keys.GATEWAY)] == ["agent", "gateway"]
    assert {name: (tmp_path / "edge" / name).read_text("ascii").strip() for name in brought} == brought
    for bad in ("short", brought[keys.AGENT]):
        keys.write(tmp_path / "edge" / keys.GATEWAY, bad)
        assert set_up(tmp_path) == 2
        assert "cannot be the token of the role gateway" in capsys.readouterr().err
    assert tokens(mongo_settings) == known


def test_a_database_that_is_not_ours_alone_is_not_initiated(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Users or several servers in the address: refused before anything is asked of them."""
    monkeypatch.chdir(tmp_path)
    for uri in ("mongodb://ann:secret@db:27017/", "mongodb://a:1,b:2/", "mongodb+srv://db.example/"):
        monkeypatch.setenv("FAIRLEAD_MONGODB_URI", uri)
        assert invoke(["setup", "--initiate"]) == 2
        said = capsys.readouterr().err
        assert "leave it out" in said
        assert "secret" not in said


def test_a_token_is_taken_from_the_environment_or_from_a_file(tmp_path: Path) -> None:
    """The variable stands above the file; a file that is missing or empty is named."""
    file = tmp_path / "token"
    keys.write(file, "from-file")
    assert keys.bearer({}) == ""
    assert keys.bearer({"FAIRLEAD_TOKEN_FILE": str(file)}) == "from-file"
    assert keys.bearer({"FAIRLEAD_TOKEN_FILE": str(file), "FAIRLEAD_TOKEN": "given"}) == "given"
    with pytest.raises(ConfigError, match=r"FAIRLEAD_TOKEN_FILE .*missing cannot be read"):
        keys.bearer({"FAIRLEAD_TOKEN_FILE": str(tmp_path / "missing")})
    file.write_text("\n")
    with pytest.raises(ConfigError, match="is empty"):
        keys.read(file, "--token-file")
