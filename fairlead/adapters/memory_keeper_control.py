"""A keeper in memory as a node agent sees it: the fake of the port `KeeperControl`, moved by a test."""

from fairlead.contracts.errors import KeeperUnavailable, StaleGeneration
from fairlead.contracts.tickets import PodSet, PodUse, PodUses


class MemoryKeeperControl:
    """Keeps the newest declaration and answers with the counts that it was given; pods without any are idle."""

    def __init__(self, node: str) -> None:
        self.away = False
        """Every call fails as if nobody listened."""
        self.declared: list[PodSet] = []
        """What was taken, in order."""
        self.busy: dict[str, tuple[int, int]] = {}
        """Waiting and running requests per model."""
        self._node = node

    async def declare(self, pods: PodSet) -> PodUses:
        """Take a declaration. Raises `StaleGeneration` for one that is older than the newest of its agent."""
        if self.away:
            raise KeeperUnavailable("the keeper in memory was told to be away")
        if self.declared:
            last = self.declared[-1]
            if last.instance == pods.instance and last.sequence >= pods.sequence:
                raise StaleGeneration(f"pods with sequence {pods.sequence} are older than {last.sequence}")
        self.declared.append(pods)
        uses = []
        for pod in pods.pods:
            waiting, running = self.busy.get(pod.model, (0, 0))
            uses.append(
                PodUse(model=pod.model, instance=pod.instance, waiting=waiting, running=running, used_at_s=None)
            )
        return PodUses(node=self._node, pods=tuple(uses), table_generation=0)

    def phases(self) -> dict[str, str]:
        """Return the phase of each pod in the newest declaration."""
        return {p.model: p.phase for p in self.declared[-1].pods} if self.declared else {}
