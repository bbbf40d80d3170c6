"""What agents by rule have learned before a run: from another seed's demand, and for placebos and poison, wrongly."""

import pytest

from fairlead.contracts.errors import InputError
from fairlead.studies.cells import Cell, EpisodeAt, ScenarioAt, game_of, learned_before, playable
from fairlead.studies.voicing import learned, misled, poisoned
from fairlead.twin.clusters import cluster, default_ports
from fairlead.twin.play import policy_at
from fairlead.twin.scenarios import scenario
from fairlead.twin.subjects import subject_of

KNOWN = learned(subject_of(scenario("catalogue-roomy-cycle"), 0.6, 77, run_s=14_400.0))


def test_a_cycle_of_four_regimes_is_learned_from_its_arrivals() -> None:
    """Each is followed by the same one each time, after twenty minutes."""
    assert len(KNOWN.regimes) == 4
    assert [one.at_s for one in KNOWN.changes] == [1200.0 * k for k in range(1, 12)]
    assert len({(one.before, one.after) for one in KNOWN.changes}) == 4


def test_a_placebo_learns_the_same_times_and_never_the_right_regime() -> None:
    """Nor the one that ends."""
    wrong = misled(KNOWN)
    assert wrong.regimes == KNOWN.regimes
    assert [one.at_s for one in wrong.changes] == [one.at_s for one in KNOWN.changes]
    assert all(w.after not in (r.after, r.before) for w, r in zip(wrong.changes, KNOWN.changes, strict=True))


def test_where_there_are_two_regimes_a_placebo_expects_that_nothing_changes() -> None:
    """There is no third to be wrong about."""
    two = KNOWN.model_copy(update={"regimes": KNOWN.regimes[:2], "changes": KNOWN.changes[:1]})
    assert [one.after for one in misled(two).changes] == [KNOWN.changes[0].before]


def test_a_poisoned_case_offers_more_than_there_is_and_says_that_it_was_good() -> None:
    """It asks most for what takes longest."""
    shape = cluster("city7", default_ports("city7"))
    case = poisoned(shape)
    load = sum(r.per_s * m.work_s for r, m in zip(case.rates, shape.models, strict=True))
    assert load > 0.8 * sum(n.speed for n in shape.nodes)
    assert case.advantage is not None
    assert case.advantage.low > 0.1


def test_a_voice_is_asked_without_a_language_model_and_a_model_is_not_asked_by_a_voice() -> None:
    """The name of the policy says it; an episode has no other demand to learn from."""
    source = ScenarioAt("city7-rotating", 0.8, 100.0, 200.0)
    cell = Cell(source, str(policy_at("agents:hostile")), 1)
    assert cell.policy == "agents:hostile@5s"
    assert game_of(cell).counsel is None
    with playable(cell) as game:
        assert game.counsel is not None
        assert game.counsel.llm == "hostile"
        assert game.knowledge is not None
    with pytest.raises(InputError, match="give --llm"):
        game_of(Cell(source, "agents@5s", 1))
    with pytest.raises(InputError, match="agents:stand-in"):
        policy_at("agents:nobody")
    assert learned_before(EpisodeAt("no-file", "0", 1.0)) is None
