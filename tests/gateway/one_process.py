"""A gateway as a process of its own: `python -m tests.gateway.one_process SETTINGS NODE SITE`, `-` for no role."""

import asyncio
import sys
from pathlib import Path

from fairlead.contracts.settings import Settings
from gateway.service import serve


def main() -> None:
    """Serve until killed."""
    settings = Settings.from_json(Path(sys.argv[1]).read_bytes())
    node, site = (None if word == "-" else word for word in sys.argv[2:4])
    asyncio.run(serve(settings, node, site, "token"))


if __name__ == "__main__":
    main()
