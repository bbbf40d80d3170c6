"""A subject played by a policy in the compiled core: the same games, figures and meaning as `twin.play`."""

from collections.abc import Callable

from fairlead.twin.compiled.kernel import run
from fairlead.twin.compiled.setting import Crowd, Run, crowd, laid_out
from fairlead.twin.compiled.world import FAILED, FINISHED, REFUSED
from fairlead.twin.play import Game, Outcome, Played, figures_of
from fairlead.twin.requests import Fate

WORDS = 20
"""How often it is told how far a game is."""

FATES: dict[int, Fate] = {FINISHED: "finished", FAILED: "failed", REFUSED: "refused"}


def play(game: Game, tell: Callable[[float], None]) -> Played:
    """Play a game in the compiled core; `tell` is told the share that is done."""
    return play_crowd(game, crowd(game.subject), tell)


def play_crowd(game: Game, requests: Crowd, tell: Callable[[float], None]) -> Played:
    """Play a game with the requests of its subject, drawn before: for games that differ in who decides alone."""
    subject = game.subject
    end_s = subject.window.end_at_s
    ran = begun(game, requests)
    for k in range(1, WORDS + 1):
        ran = played(ran, end_s * k / WORDS)
        tell(k / WORDS)
    now = ran.world[0]
    starts, stops = ran.tables["starts"]["at_s"][: now["starts"]], ran.tables["stops"]["at_s"][: now["stops"]]
    figures = figures_of(
        outcomes(ran, requests, subject_models(game), end_s),
        starts.tolist(),
        stops.tolist(),
        subject,
    )
    return Played(figures, int((requests.sent_at_s < end_s).sum()), int(now["decisions"]), "compiled")


def subject_models(game: Game) -> tuple[str, ...]:
    """Return the models of a game by their numbers."""
    return tuple(m.id for m in game.subject.cluster.models)


def begun(game: Game, requests: Crowd) -> Run:
    """Return a game whose first decision is in force and whose requests are still to come."""
    return played(laid_out(game, requests), 0.0)


def played(ran: Run, until_s: float) -> Run:
    """Let happen what happens before `until_s`; makes room whenever there is too little."""
    while not run(ran.at, ran.board, ran.tuning, ran.standing, until_s):
        ran = ran.roomier()
    return ran


def outcomes(ran: Run, requests: Crowd, models: tuple[str, ...], until_s: float) -> list[Outcome]:
    """Return what has become of each request that was sent before `until_s`, up to which was played."""
    found = []
    ended = ran.tables["requests"]["ended_at_s"].tolist()
    fates = ran.tables["requests"]["fate"].tolist()
    for k, (model, sent_at_s) in enumerate(zip(requests.model.tolist(), requests.sent_at_s.tolist(), strict=True)):
        if sent_at_s >= until_s:
            break
        over = fates[k] in FATES and ended[k] < until_s
        found.append(Outcome(models[model], sent_at_s, ended[k] if over else None, FATES[fates[k]] if over else None))
    return found
