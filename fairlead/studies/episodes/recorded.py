"""The recorded decisions of an episode, executed again: the policy `recorded` of a replay."""

from collections.abc import Callable
from pathlib import Path

from fairlead.adapters.prompt_files import prompt_texts
from fairlead.contracts.episodes import DecisionLine
from fairlead.contracts.errors import InputError
from fairlead.studies.again import Tally, replayer
from fairlead.studies.episodes.files import checked, lines


def check_recorded(path: Path, tell: Callable[[int, int], None] = lambda done, total: None) -> Tally:
    """Execute every decision of an episode again and return how many came out as recorded, byte for byte.

    `tell` is told how many are done of how many. Raises `TraceError` where the file is wrong, `InputError` where it
    has no decisions.
    """
    episode = checked(path)
    total = episode.count("decision")
    if not total:
        raise InputError(
            f"episode {episode.header.name} has no recorded decisions: name a policy, or record a run with "
            "`fairlead up --record FILE`"
        )
    replayed, tally = replayer(prompt_texts()), Tally()
    for line in lines(path, frozenset({"decision"})):
        assert isinstance(line, DecisionLine)
        tally.add(replayed(line.record))
        tell(tally.replayed, total)
    return tally
