"""Keys as files: what `fairlead setup` writes, `fairlead edge` reads, and FAIRLEAD_TOKEN_FILE names."""

from collections.abc import Mapping
from pathlib import Path

from fairlead_cli import private_file

AGENT, GATEWAY, KEEPER = "agent.token", "gateway.token", "keeper.token"
"""In the folder of an edge's keys: bearer tokens of node agent and gateway, and the secret of the keepers."""


def bearer(environ: Mapping[str, str]) -> str:
    """Return the bearer token of an environment: FAIRLEAD_TOKEN, else what the file FAIRLEAD_TOKEN_FILE holds.

    Empty where neither is set; raises `ConfigError` for a file that cannot be read.
    """
    token, file = environ.get("FAIRLEAD_TOKEN", ""), environ.get("FAIRLEAD_TOKEN_FILE", "")
    return token or (read(Path(file), "FAIRLEAD_TOKEN_FILE") if file else "")


def read(file: Path, what: str) -> str:
    """Return the key in a file; raises `ConfigError`, which begins with `what` named it, where there is none."""
    from fairlead.contracts.errors import ConfigError, foreign

    try:
        key = file.read_text(encoding="ascii").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{what} {file} cannot be read: {foreign(error)}") from error
    if not key:
        raise ConfigError(f"{what} {file} is empty: write the key into it, or let `fairlead setup` make it")
    return key


def write(file: Path, key: str) -> None:
    """Write a key for its user alone, whole or not at all. Raises `ConfigError`."""
    from fairlead.contracts.errors import ConfigError, foreign

    try:
        private_file.write(file, f"{key}\n")
    except OSError as error:
        raise ConfigError(f"{file} cannot be written: {foreign(error)}: name a folder of this user's") from error
