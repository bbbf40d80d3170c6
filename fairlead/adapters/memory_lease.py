"""The lease port without a cluster: processes of a test share one board."""

import asyncio


class LeaseBoard:
    """Who holds a lease, and whether anybody can find out."""

    def __init__(self) -> None:
        self.holder: str | None = None
        self.changed = asyncio.Event()
        """Set and replaced whenever the holder changes."""

    def hand(self, holder: str | None) -> None:
        """Give the lease to somebody, or to nobody."""
        self.holder = holder
        self.changed.set()
        self.changed = asyncio.Event()


class MemoryLease:
    """One process's view of a board."""

    def __init__(self, board: LeaseBoard, holder: str) -> None:
        self._board = board
        self._holder = holder

    async def acquire(self) -> None:
        """Return once it is ours."""
        while self._board.holder not in (None, self._holder):
            await self._board.changed.wait()
        self._board.hand(self._holder)

    async def keep(self) -> None:
        """Return once it is another's."""
        while self._board.holder == self._holder:
            await self._board.changed.wait()

    async def release(self) -> None:
        """Let another have it at once."""
        if self._board.holder == self._holder:
            self._board.hand(None)
