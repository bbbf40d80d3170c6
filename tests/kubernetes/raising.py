"""The Kubernetes lab beside the project, raised for those who need it and ended by the last of them.

`KUBECONFIG` names a cluster to use instead, whose nodes KWOK plays. `KUBEBUILDER_ASSETS` names binaries for the lab,
`K8S_LAB_PORT_OFFSET` moves its ports, `FAIRLEAD_LAB_DIR` is where it is put.
"""

import asyncio
import fcntl
import os
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from fairlead.adapters.kubernetes_access import access_of
from fairlead.adapters.kubernetes_api import KubernetesApi
from fairlead.contracts.settings import KubernetesSettings
from testbed.kubelet import is_played

SCRIPTS = Path(__file__).parents[3] / "shared" / "lab" / "kubernetes"
"""Where the lab's scripts lie beside the project."""

RAISE_S = 280.0
"""Wall seconds to raise the lab: 20 with seven nodes, some minutes with a thousand."""

BUILT_S = 60
"""Wall seconds within which the lab's tools are found built, or nearly so; from nothing they take ten minutes."""

PORT_OFFSET = "3000"
"""Where a lab of our own listens, unless told otherwise: beside one that a person has raised."""


class Missing(Exception):
    """There is no cluster to try anything on; the message says what was looked for."""


@dataclass(frozen=True, slots=True)
class Lab:
    """A cluster that may be done with as one likes."""

    kubeconfig: str
    folder: Path | None
    """Of a lab that was raised here; None for a cluster that was there."""

    def run(self, script: str, *arguments: str) -> None:
        """Run one of the lab's scripts. Raises `Missing` for a cluster that is not ours to end."""
        if self.folder is None:
            raise Missing(f"{self.kubeconfig} is of a cluster that was there: unset KUBECONFIG to have one raised")
        done = subprocess.run(
            [SCRIPTS / script, *arguments],
            env=_surroundings(self.folder),
            capture_output=True,
            text=True,
            timeout=RAISE_S,
            check=False,
        )
        if done.returncode != 0:
            raise RuntimeError(f"{script} of the Kubernetes lab: {done.stderr[-2000:]}")


async def _played(kubeconfig: str) -> bool:
    api = KubernetesApi(access_of(KubernetesSettings(kubeconfig=kubeconfig)))
    try:
        return await is_played(api)
    finally:
        await api.close()


@contextmanager
def raised() -> Iterator[Lab]:
    """Give a cluster; raises `Missing` where there is none and none can be raised."""
    named = os.environ.get("KUBECONFIG")
    if named:
        if not asyncio.run(_played(named)):
            raise Missing(f"{named} is of a cluster whose nodes KWOK does not play: it is left alone")
        yield Lab(named, None)
        return
    if not (SCRIPTS / "up.sh").exists():
        raise Missing(f"no Kubernetes: KUBECONFIG names none, and there is no lab at {SCRIPTS}")
    folder = Path(os.environ.get("FAIRLEAD_LAB_DIR") or Path(tempfile.gettempdir()) / f"fairlead-lab-{os.getuid()}")
    folder.mkdir(parents=True, exist_ok=True)
    if "KUBEBUILDER_ASSETS" not in os.environ:
        _built()
    lab = Lab(str(folder / "k8s-lab" / "kubeconfig"), folder)
    with (folder / "users").open("w") as users:
        fcntl.flock(users, fcntl.LOCK_SH)
        lab.run("up.sh")
        try:
            yield lab
        finally:
            with suppress(BlockingIOError):  # somebody else uses it still
                fcntl.flock(users, fcntl.LOCK_EX | fcntl.LOCK_NB)
                lab.run("down.sh", "--purge")


def _built() -> None:
    """Have the lab's tools built. Raises `Missing` where that takes longer than a test may."""
    done = subprocess.run(["timeout", f"{BUILT_S}", SCRIPTS / "build.sh"], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Missing(
            f"the Kubernetes lab's tools are not built, or not within {BUILT_S} s: run {SCRIPTS / 'build.sh'} once "
            f"(ten minutes), or set KUBEBUILDER_ASSETS; it said: {done.stderr[-300:]}"
        )


def _surroundings(folder: Path) -> dict[str, str]:
    return {"K8S_LAB_PORT_OFFSET": PORT_OFFSET, **os.environ, "TMPDIR": str(folder)}
