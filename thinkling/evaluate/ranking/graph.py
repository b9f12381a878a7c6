"""Does a finite rating exist at all? Who beat whom, as a graph.

A Bradley-Terry rating is the strength that makes the votes likeliest. A model that never loses is likelier the stronger
it is, without end; the same holds for a group of models that never loses to the others. So each model must be reachable
from each other by wins (Ford 1957). Ties count both ways, with one exception, which `ties_give_way` finds.
"""

from collections.abc import Sequence

from thinkling.evaluate.ranking.votes import Vote, models_in
from thinkling.words import counted


def why_unbounded(votes: Sequence[Vote], davidson: bool) -> str | None:
    """Why these votes have no finite ratings, in words; None where they have.

    davidson: ties are modelled as an outcome of their own; else each is half a win for both.
    """
    models = models_in(votes)
    if not any(vote.winner in ("model_a", "model_b") for vote in votes):
        return "no vote has a winner, so that nothing tells the models apart"
    islands = groups(models, edges(votes, both_ways=True))
    if len(islands) > 1:
        apart = max(islands, key=len)
        others = [model for model in models if model not in apart]
        return f"no vote compares {names(others)} with {names(sorted(apart))}"
    components = groups(models, edges(votes))
    if len(components) > 1:
        never_lose, never_win = ends(components, edges(votes))
        said = [f"{names(group)} never lost{' or tied' if len(group) == 1 else ' to another'}" for group in never_lose]
        said += [f"{names(group)} never won{' or tied' if len(group) == 1 else ' against another'}"
                 for group in never_win if group not in never_lose]  # fmt: skip
        return " and ".join(said)
    if davidson and ties_give_way(votes, models):
        return "the losers only ever tied, so that the winners' lead and the chance of a tie can grow together"
    return None


def edges(votes: Sequence[Vote], both_ways: bool = False) -> dict[str, set[str]]:
    """From each model to those that it beat; a tie counts both ways."""
    found: dict[str, set[str]] = {}
    for vote in votes:
        if vote.winner != "model_b" or both_ways:
            found.setdefault(vote.model_a, set()).add(vote.model_b)
        if vote.winner != "model_a" or both_ways:
            found.setdefault(vote.model_b, set()).add(vote.model_a)
    return found


def groups(models: Sequence[str], to: dict[str, set[str]]) -> list[list[str]]:
    """The strongly connected components: within one, each model reaches each other along the edges."""
    back: dict[str, set[str]] = {}
    for model, others in to.items():
        for other in others:
            back.setdefault(other, set()).add(model)
    found, left = [], set(models)
    for model in models:
        if model in left:
            group = reached(model, to) & reached(model, back)
            found.append(sorted(group))
            left -= group
    return found


def reached(start: str, to: dict[str, set[str]]) -> set[str]:
    found, waiting = {start}, [start]
    while waiting:
        new = to.get(waiting.pop(), set()) - found
        found |= new
        waiting += new
    return found


def ends(components: list[list[str]], to: dict[str, set[str]]) -> tuple[list[list[str]], list[list[str]]]:
    """The components that nobody beats, and those that beat nobody."""
    home = {model: place for place, group in enumerate(components) for model in group}
    out = {(home[model], home[other]) for model, others in to.items() for other in others}
    out = {(one, other) for one, other in out if one != other}
    beaten, beating = {other for _, other in out}, {one for one, _ in out}
    never_lose = [group for place, group in enumerate(components) if place not in beaten]
    return never_lose, [group for place, group in enumerate(components) if place not in beating]


def ties_give_way(votes: Sequence[Vote], models: Sequence[str]) -> bool:
    """Can leads and the chance of a tie grow together for ever without making a vote less likely?

    In Davidson's model they can where numbers r exist with r[winner] - r[loser] >= 1 for each win and
    |r[a] - r[b]| <= 1 for each tie: say A beats B and ties with B, and B never wins. Such numbers exist unless some
    cycle of these bounds adds up to less than 0; Bellman and Ford's method finds one.
    """
    bounds = set()  # (a, b, c): r[b] <= r[a] + c
    for vote in votes:
        if vote.winner in ("model_a", "model_b"):
            won, lost = (vote.model_a, vote.model_b) if vote.winner == "model_a" else (vote.model_b, vote.model_a)
            bounds.add((won, lost, -1))
        else:
            bounds |= {(vote.model_a, vote.model_b, 1), (vote.model_b, vote.model_a, 1)}
    if not any(room > 0 for _, _, room in bounds):
        return False  # without ties there is no chance of a tie to grow
    least = dict.fromkeys(models, 0)
    for _ in range(len(models)):
        changed = False
        for a, b, room in bounds:
            if least[a] + room < least[b]:
                least[b], changed = least[a] + room, True
        if not changed:
            return True
    return False


def names(models: Sequence[str]) -> str:
    """Up to three of them by name."""
    if len(models) <= 3:
        return models[0] if len(models) == 1 else f"{', '.join(models[:-1])} and {models[-1]}"
    return f"{', '.join(models[:2])} and {counted(len(models) - 2, 'other')}"
