"""The twin against queueing theory: exact on the sample, in the mean as the closed forms say."""

from dataclasses import replace

import numpy as np
import pytest

from fairlead.twin.queueing import (
    erlang_c,
    kiefer_wolfowitz,
    lindley,
    pollaczek_khinchine,
    preemptive,
    preemptive_mean,
    shared_mean,
    sharing,
)
from fairlead.twin.truth import CASES, Checked, TruthCase, checked, standard_error

GAPS = [1.0, 1.0, 1.0, 10.0]
WORK = [3.0, 1.0, 2.0, 1.0]


def test_lindley_on_a_sample_of_four() -> None:
    """Each waits for what is left of those before it."""
    assert lindley(GAPS, WORK).tolist() == [3.0, 3.0, 4.0, 1.0]


def test_kiefer_and_wolfowitz_on_a_sample_of_four() -> None:
    """The second server takes the second; the third waits for nobody, the second is done as it comes."""
    assert kiefer_wolfowitz(GAPS, WORK, 2).tolist() == [3.0, 1.0, 2.0, 1.0]


def test_sharing_on_a_sample_of_four() -> None:
    """Two share from 2 s on; at 3 s the first has 1.5 s left, the second 0.5 s, and the third comes."""
    assert sharing(GAPS, WORK) == pytest.approx([5.5, 2.5, 4.0, 1.0])


def test_who_goes_first_on_a_sample_of_four() -> None:
    """The first is overtaken by the second and the third, which wait for one another; at its end nobody overtakes."""
    assert preemptive([1.0, 1.0, 1.0, 3.0], [3.0, 1.5, 0.5, 1.0], [1, 0, 0, 0]).tolist() == [5.0, 1.5, 1.0, 1.0]
    assert preemptive(GAPS, WORK, [0, 1, 0, 1]).tolist() == [3.0, 5.0, 3.0, 1.0]


def test_one_class_is_no_priority() -> None:
    """The recursion is Lindley's, the closed form Pollaczek and Khinchine's; two like classes are as fast as one."""
    assert preemptive(GAPS, WORK, [0] * 4).tolist() == lindley(GAPS, WORK).tolist()
    assert preemptive_mean([0.75], [1.0], 0.5) == pytest.approx(pollaczek_khinchine(0.75, 1.0, 0.5))
    assert preemptive_mean([0.25, 0.5], [1.0, 1.0], 1.0) == pytest.approx(4.0)


def test_with_one_server_the_recursions_agree() -> None:
    """Kiefer-Wolfowitz with one server is Lindley."""
    draws = np.random.Generator(np.random.PCG64(3))
    gaps, work = draws.exponential(1.2, 500).tolist(), draws.exponential(1.0, 500).tolist()
    assert kiefer_wolfowitz(gaps, work, 1) == pytest.approx(lindley(gaps, work))


def test_closed_forms_agree_where_their_cases_meet() -> None:
    """M/M/1 by three formulas; M/D/1 waits half as long; M/M/2 as worked out by hand: 1 / (1 − ρ²)."""
    assert pollaczek_khinchine(0.75, 1.0, 1.0) == shared_mean(0.75, 1.0) == pytest.approx(4.0)
    assert erlang_c(0.75, 1.0, 1) == pytest.approx(4.0)
    assert pollaczek_khinchine(0.75, 1.0, 0.0) == pytest.approx(1.0 + 1.5)
    assert erlang_c(1.2, 1.0, 2) == pytest.approx(1.0 / (1.0 - 0.36))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_the_twin_is_exact_on_the_sample_and_near_the_closed_form(case: TruthCase) -> None:
    """Every stay as the recursion has it, to 1e-9 s, and without any difference where no server is shared."""
    told: list[float] = []
    one = checked(replace(case, load=0.6), 6000, 2, lambda name, share: told.append(share))
    assert one.ok
    assert one.furthest_s <= (1e-9 if case.shared else 0.0)
    assert (one.closed_s is None) == (case.name == "M/D/3")
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize("case", [CASES[0], CASES[3], CASES[5]], ids=lambda case: case.name)
def test_little_s_law_holds_exactly(case: TruthCase) -> None:
    """∫ N dt = Σ stays, at the load of the check."""
    assert checked(case, 3000, 3, lambda name, share: None).little_ratio <= 1e-13


@pytest.mark.parametrize("change", [{"furthest_s": 1e-8}, {"twin_s": 6.0}, {"little_ratio": 1e-6}])
def test_a_twin_that_is_wrong_is_not_ok(change: dict[str, float]) -> None:
    """One stay that differs, a mean off by more than sampling explains, a request that was lost."""
    right = Checked("M/M/1", 0.8, 1000, 5.1, 5.1, 1e-10, 5.0, 0.2, 0.0, 1000.0)
    assert right.ok
    assert right.error_ratio == pytest.approx(0.02)
    assert not replace(right, **change).ok  # type: ignore[arg-type]


def test_the_standard_error_counts_batches() -> None:
    """32 batches that alternate between 1 and 3 have a standard deviation of about 1."""
    stays = np.repeat(np.tile([1.0, 3.0], 16), 10)
    assert standard_error(stays) == pytest.approx(np.sqrt(32 / 31) / np.sqrt(32))
