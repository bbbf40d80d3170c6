"""Files that only their user may read, there whole or not at all."""

import os
from pathlib import Path


def write(file: Path, text: str) -> None:
    """Write a file, or replace it; what could not be written leaves nothing. Raises `OSError`."""
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    partial = file.with_suffix(".partial")
    try:
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w", encoding="utf-8") as stream:
            stream.write(text)
        partial.replace(file)
    except OSError:
        partial.unlink(missing_ok=True)
        raise
