"""Tokens as somebody with the database's own rights makes them: the first of a system, and those of a local run."""

import hashlib
import secrets
from typing import cast

from fairlead.contracts.events import Role, TokenRecord


def new_token(role: str, note: str, at_s: float) -> tuple[str, TokenRecord]:
    """Return a new secret of 256 bits and what the store keeps of it."""
    secret = f"fl-{secrets.token_urlsafe(32)}"
    digest = hashlib.sha256(secret.encode()).hexdigest()
    record = TokenRecord(
        id=f"t-{secrets.token_hex(6)}", role=cast(Role, role), sha256=digest, note=note, created_at_s=at_s
    )
    return secret, record
