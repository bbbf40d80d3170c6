"""Placements that were searched for `sed-static`, as files of this package with their provenance."""

import json
from importlib import resources

from fairlead.contracts.plans import NodePlacement


def searched_placement(cluster: str, name: str = "") -> tuple[NodePlacement, ...]:
    """Return the placement that `sed-static` is given in a scenario; empty where none was searched.

    The one that was searched on the scenario's own course of demand if there is one, else that of the scenario which
    it is a variant of by its name, else the one of its cluster.
    """
    words = name.split("-")
    for stem in (*("-".join(words[:count]) for count in range(len(words), 0, -1)), cluster):
        found = resources.files("fairlead.studies").joinpath("data", f"{stem}-sed-static.json")
        if stem and found.is_file():
            document = json.loads(found.read_text(encoding="utf-8"))
            return tuple(NodePlacement.model_validate(one) for one in document["placement"])
    return ()
