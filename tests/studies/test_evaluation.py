"""What a language model is worth in the twin, where demand is so thin that a seed may have none."""

import pytest

from fairlead.contracts.errors import InputError
from fairlead.studies.cells import ScenarioAt
from fairlead.studies.evaluation import Named, document, evaluated, standing_in

QUIET = ScenarioAt("home3", 0.01, 0.0, 60.0)
"""Of its seeds 5 and 7 have no arrival in the minute, 6 has some."""


def test_a_seed_without_an_arrival_has_no_figure_and_leaves_the_others_theirs() -> None:
    """Its dialogues count all the same."""
    found = evaluated(QUIET, (5, 6), lambda seed: standing_in(QUIET, seed), Named("stand-in", "auto"), lambda *_: None)
    told = document(found)
    assert [one["seed"] for one in told["runs"]] == [5, 6]
    assert told["runs"][0]["objective"] == {"agents": None, "fallback": None}
    own = told["runs"][1]["objective"]
    assert told["gain"]["value"] == pytest.approx(own["fallback"] - own["agents"])
    assert told["ratio"]["after_change"] is None
    assert told["dialogues"] == sum(one["dialogues"] for one in told["runs"]) > 0


def test_nobody_is_asked_where_nothing_arrives() -> None:
    """It is refused before a question costs anything."""
    with pytest.raises(InputError, match="measure longer"):
        evaluated(QUIET, (5, 7), lambda seed: pytest.fail("asked"), Named("nobody", "auto"), lambda *_: None)
