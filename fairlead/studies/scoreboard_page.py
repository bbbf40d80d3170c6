"""The scoreboard as a page: what was asked for, then every policy in every scenario; nothing on it but the file's."""

from collections.abc import Iterator, Sequence

from fairlead.studies.ablation import words_of
from fairlead.studies.scoreboard import BOUND, Asked, Column, Scoreboard, Table
from fairlead.studies.scoreboard_goals import GOALS, Figure, Goal, paired
from fairlead.studies.statistics import Interval, difference, mean

INTRODUCTION = """# Scoreboard

Every policy in every scenario, with the same demand and the same random numbers for all of them. A value is the mean
over seeds with its 95 % interval (bias-corrected bootstrap from ten seeds on, Student's t below); ratios are of means
and paired by seed. Latency counts what is unfinished with its age; J'(x1) is the normalised Jain index of timely
service over models; scenarios, warm-up and window are CONTROL §5's, as [the twin](twin.md) reads them. `@fresh`:
state on change; `@5s`: every 5 s. `lp` is the lower bound of [bounds](bounds.md), which no policy can go below;
`rollout-oracle` is `marginal-dpp` with a clairvoyant that each minute tries up to 15 other placements on the next five
minutes as they will be.

`make scoreboard` plays it again and writes `docs/scoreboard.json`, a figure a seed; this page is written from that
file alone (`make docs`). A test plays some of the runs again and fails where a figure is another one.
"""

ABLATION = """## What each rule is worth

`marginal-dpp` with a rule taken away or with another number in it, against the whole policy: above 1 the rule pays.
Starts an hour are those of the changed policy."""

AGENTS = """## What agents add

The fallback, and beside it the forecast alone, a slot agent alone, a planner alone, a planner with its memory: below 1
it pays. `agents:…` are `marginal-dpp` with agents whose proposals
pass the gates and the twin. They ask rules that stand in for a language model and count for none, so that these rows
show what forecast, planner and memory can be worth; `agents:placebo` shows what a stir alone is worth. After a change:
requests that were sent within five minutes after demand changed. What is told to the planner, and why:
[planning ahead](planning.md)."""

MODELS = """## Language models

Asked in the twin by `fairlead agents evaluate`, each as it was measured; the seconds that its answers took passed on
the virtual clock. `gain` is F of the fallback less F with the model, above 0 it is better; malformed: of its replies;
unanswered: of the questions; fallback: of the dialogues. `local` is SmolLM2-135M-Instruct on the processor. Nobody can
play these rows again; `python -m docs.scoreboard --asked FILE` puts another one there."""

FIGURES: tuple[Figure, ...] = ("mean_s", "after_change_s", "objective")
"""Of what agents add."""

REFERENCES = ("sed-static", "lru")
"""Whom policies are compared with, the first that plays with the same state."""


def page(board: Scoreboard) -> str:
    """Return the page."""
    parts = [INTRODUCTION, "\n".join(_goals(board))]
    scenario = ""
    for table in board.tables:
        if table.scenario != scenario:
            scenario = table.scenario
            parts.append(f"## `{scenario}`")
        parts.append("\n".join(_table(table)))
    if board.ablations:
        parts.append(ABLATION)
        parts += ["\n".join(_ablation(table)) for table in board.ablations]
    if board.agents:
        parts.append(AGENTS)
        parts += ["\n".join(_added(table)) for table in board.agents]
    if board.llms:
        parts += [MODELS, "\n".join(_asked(board.llms))]
    parts.append(f"Played by code `{board.code[:16]}`.")
    return "\n\n".join(one.strip("\n") for one in parts) + "\n"


def _goals(board: Scoreboard) -> Iterator[str]:
    found = [(goal, goal.measured(board)) for goal in GOALS]
    reached = sum(value is not None and goal.reached(value) for goal, value in found)
    yield "## What was asked for\n"
    yield (
        f"The rows of CONTROL §6 on policies and agents; {reached} of {len(GOALS)} are reached. In brackets what "
        "CONTROL's own simulator reached; the goals lie beyond it.\n"
    )
    yield "| scenario | load | measure | asked | here | reached |"
    yield "|---|---|---|---|---|---|"
    for goal, value in found:
        digits = {"x1": 4, "starts_per_hour": 1}.get(goal.figure, 3)
        said = "not played" if value is None else _words(value, digits)
        yes = "" if value is None else "yes" if goal.reached(value) else "no"
        prototype = f" ({goal.prototype})" if goal.prototype else ""
        asked = f"{'≥' if goal.at_least else '≤'} {goal.limit:g}{prototype}"
        yield f"| `{goal.scenario}` | {goal.load:g} | {_measure(goal)} | {asked} | {said} | {yes} |"


def _measure(goal: Goal) -> str:
    words = {
        "mean_s": "mean latency, s",
        "after_change_s": "within 5 min of a change",
        "objective": "F",
        "x1": "J'(x1)",
        "starts_per_hour": "starts an hour",
    }
    if goal.against is None:
        return f"`{goal.policy}`: {words[goal.figure]}"
    there = "" if goal.against_in is None else f" on `{goal.against_in}`"
    what = "" if goal.figure == "mean_s" else f": {words[goal.figure]}"
    return f"`{goal.policy}` / `{goal.against}`{there}{what}"


def _table(table: Table) -> Iterator[str]:
    players = [one for one in table.columns if one.policy != BOUND]
    bound = table.column(BOUND)
    limits = "" if bound is None else f" Mean / `lp` over seeds {_seeds(bound.seeds)}."
    yield f"### Load {table.load:g}\n"
    yield f"Seeds {_seeds(players[0].seeds)}, played by the {_engines(players)} engine.{limits}\n"
    yield "| policy | mean latency, s | to reference | p95, s | p99, s | J'(x1) | served | starts an hour | / `lp` |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for one in players:
        against = "" if bound is None else _optional(paired(one, bound))
        cells = (
            _figure(one.mean_s, 2),
            _compared(one, table),
            _figure(one.p95_s, 1, interval=False),
            _figure(one.p99_s, 1, interval=False),
            _figure(one.x1, 4),
            _figure(one.service_ratio, 4, interval=False),
            _figure(one.starts_per_hour, 1),
            against,
        )
        yield f"| `{one.policy}` | {' | '.join(cells)} |"


def _ablation(table: Table) -> Iterator[str]:
    whole = table.columns[0]
    yield f"### `{table.scenario}` at load {table.load:g}, `{whole.policy}`\n"
    yield (
        f"Seeds {_seeds(whole.seeds)}, played by the {_engines(table.columns)} engine. The whole policy: mean latency "
        f"{_figure(whole.mean_s, 2)} s, J'(x1) {_figure(whole.x1, 4)}, {_figure(whole.starts_per_hour, 1)} starts an "
        "hour.\n"
    )
    yield "| changed | setting | mean latency, changed / whole | J'(x1), changed − whole | starts an hour |"
    yield "|---|---|---|---|---|"
    for one in table.columns[1:]:
        fair = _words(difference(one.x1, whole.x1), 4)
        setting = one.policy.partition("[")[2].partition("]")[0] or one.policy
        cells = (f"`{setting}`", _optional(paired(one, whole)), fair, _figure(one.starts_per_hour, 1))
        yield f"| {words_of(one.policy)} | {' | '.join(cells)} |"


def _added(table: Table) -> Iterator[str]:
    whole = table.columns[0]
    near = f", {_figure(whole.after_change_s, 2)} s after a change" if whole.after_change_s else ""
    yield f"### `{table.scenario}` at load {table.load:g}\n"
    yield (
        f"Seeds {_seeds(whole.seeds)}, played by the {_engines(table.columns)} engine. The fallback, `{whole.policy}`: "
        f"mean latency {_figure(whole.mean_s, 2)} s{near}, {_figure(whole.starts_per_hour, 1)} starts an hour.\n"
    )
    yield "| fallback | policy | seeds | mean latency, ratio | after a change, ratio | F, ratio | starts an hour |"
    yield "|---|---|---|---|---|---|---|"
    for one in table.columns[1:]:
        ratios = [_optional(paired(one, whole, figure)) for figure in FIGURES]
        cells = (f"`{one.policy}`", _seeds(one.seeds), *ratios, _figure(one.starts_per_hour, 1))
        yield f"| {words_of(one.policy)} | {' | '.join(cells)} |"


def _asked(llms: Sequence[Asked]) -> Iterator[str]:
    yield (
        "| model | scenario | seeds | dialogues, questions | gain | latency, ratio | malformed | unanswered | "
        "fallback | tokens a dialogue | money | seconds a dialogue |"
    )
    yield "|---|---|---|---|---|---|---|---|---|---|---|---|"
    for one in llms:
        given = "" if one.llm_seconds is None else f", {one.llm_seconds:g} s given"
        cells = (
            f"{one.llm}, {one.mode}",
            f"`{one.scenario}` at {one.load:g}, {one.duration_s:g} s after {one.warm_up_s:g} s",
            _seeds(one.seeds),
            f"{one.dialogues}, {one.questions}",
            _words(one.gain, 4),
            _optional(one.latency_ratio),
            *(_share(ratio) for ratio in (one.malformed_ratio, one.unanswered_ratio, one.fallback_ratio)),
            f"{one.tokens / one.dialogues:.0f}",
            f"{one.money:.4f}",
            f"{one.took_s / one.dialogues:.1f}{given}",
        )
        yield f"| {' | '.join(cells)} |"


def _share(ratio: float | None) -> str:
    return "" if ratio is None else f"{ratio:.0%}"


def _engines(columns: Sequence[Column]) -> str:
    return " and ".join(sorted({name for one in columns for name in one.engine.split("+")}))


def _seeds(seeds: Sequence[int]) -> str:
    return f"{min(seeds)} to {max(seeds)}" if len(seeds) > 1 else f"{seeds[0]}"


def _compared(column: Column, table: Table) -> str:
    """Return the ratio to the reference with the same state; nothing for the reference itself."""
    state = column.policy.rpartition("@")[2]
    for name in REFERENCES:
        reference = table.column(f"{name}@{state}")
        if reference is not None:
            return "reference" if reference.policy == column.policy else _optional(paired(column, reference))
    return ""


def _optional(value: Interval | None) -> str:
    return "" if value is None else _ratio(value)


def _figure(values: Sequence[float], digits: int, *, interval: bool = True) -> str:
    return _words(mean(values), digits, interval=interval) if values else ""


def _ratio(value: Interval) -> str:
    return _words(value, 3)


def _words(value: Interval, digits: int, *, interval: bool = True) -> str:
    said = f"{value.value:.{digits}f}"
    if not interval or value.low is None or value.high is None:
        return said
    return f"{said} [{value.low:.{digits}f}, {value.high:.{digits}f}]"
