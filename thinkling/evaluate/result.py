"""`Result`: what a method scored on some problems, and what that cost. The one record of it, from eval to every report.

Leaves out how it is measured (run.py) and what may be said of it (stats.py, frontier.py).
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Result:
    """One method on one set of problems; in a table of `thinkling scale`, at one budget.

    num_samples: answers to each problem; accuracy, tokens and seconds are then means over all of them.

    method: what people call it; results with the same one are joined to a curve. budget: samples, rounds, tokens, as
    `unit` says; None for a method that has none. correct: per problem, in the problems' order; empty where only shares
    are known. accuracy, low, high: a share in [0, 1] and its 95% interval. tokens (sampled), seconds (the engine's) and
    flops: per problem, as if the method had run alone; flops is None where the model's size is not known.
    wall_seconds: from start to end, for all problems. truncated: the share of completions that ran into the token
    limit. unparsed: the share of problems with no answer found. oracle: needs to know the answers (pass@n), so it is a
    bound and no method.
    """

    method: str
    num_problems: int
    accuracy: float
    low: float
    high: float
    tokens: float
    truncated: float
    budget: int | None = None
    unit: str = ""
    correct: tuple[bool, ...] = ()
    seconds: float = 0.0
    wall_seconds: float = 0.0
    flops: float | None = None
    unparsed: float = 0.0
    oracle: bool = False
    num_samples: int = 1
