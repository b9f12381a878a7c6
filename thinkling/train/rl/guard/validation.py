"""Held-out accuracy while a run goes on: pass@1 and pass@k from the same samples, with intervals.

pass@1 rising alone is sharpening: the model says more often what it could say before. pass@k says what it can do at
all. The problems are not those that `thinkling eval` takes, so that the best checkpoint is not chosen by the test, and
none that training asks, so that it is not chosen for what was learnt by heart.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from thinkling.errors import UserError
from thinkling.evaluate.stats import pass_at_k, share_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import HELD_OUT_SHARE, Problem
from thinkling.tasks.benchmarks import is_file, load_problems
from thinkling.train import checkpoint
from thinkling.train.rl.config import RolloutConfig, ValidationConfig
from thinkling.train.rl.rollout import Rollout, roll_out, sampling_for
from thinkling.train.rl.servers import RolloutServers
from thinkling.words import counted

SEED = 1_000_003  # of the built-in problems; `thinkling eval` takes those of seed 0 unless told otherwise
NUM_EXAMPLES = 6


@dataclass(frozen=True)
class Validation:
    """One line of validation.jsonl: shares in [0, 1] after `step` steps, with 95% intervals over problems.

    examples: the first answer to each of the first few problems, which are the same every time.
    pass_k: the unbiased estimate (arXiv:2107.03374) for k = num_samples, that is, the share solved at all.
    """

    step: int
    num_problems: int
    num_samples: int
    pass_1: float
    pass_1_interval: tuple[float, float]
    pass_k: float
    pass_k_interval: tuple[float, float]
    length: float
    truncated: float
    examples: tuple[dict, ...] = ()


def problems_of(config: ValidationConfig, tasks: Sequence[str]) -> list[Problem]:
    """The problems to measure on, the same every time: those that the config names, or else a share of the tasks that
    are trained on; several tasks take turns.

    Raises UserError where the two have a question in common, or a file is too short to share.
    """
    num = config.num_problems
    if config.tasks is None:
        shares = [share_of(own, -(-num // len(tasks))) for own in tasks]
        longest = max(map(len, shares))
        turns = (problem for row in range(longest) for own in shares for problem in own[row : row + 1])
        return list(turns)[:num]
    found = load_problems(config.tasks, "held-out", num, SEED)
    questions = {problem.question for problem in found}
    for own in tasks:
        known = load_problems(own, "train") if is_file(own) else []  # what is made has disjoint splits
        both = questions & {problem.question for problem in known}
        if both:
            raise UserError(f"--tasks {own} and --held-out {config.tasks} have {counted(len(both), 'question')} in "
                            f"common, such as '{min(both)[:60]}': name another file, or leave --held-out away to keep "
                            "a share of the tasks aside")  # fmt: skip
    return found


def share_of(tasks: str, num: int) -> list[Problem]:
    """Of a source that makes problems its held-out split; of a file the questions of the smallest hashes, at most a
    tenth of them."""
    if not is_file(tasks):
        return load_problems(tasks, "held-out", num, SEED)
    known = {problem.question: problem for problem in load_problems(tasks, "train")}
    num = min(num, max(2, int(HELD_OUT_SHARE * len(known))))
    if len(known) < 2 * num:
        raise UserError(f"--tasks {tasks} has {counted(len(known), 'question')}, too few to keep some aside for "
                        "measuring: name other problems with --held-out, or measure nothing with "
                        "--eval-every 0")  # fmt: skip
    ordered = sorted(known.values(), key=lambda problem: hashlib.sha256(problem.question.encode()).digest())
    return ordered[:num]


class Validator:
    """Asks held-out problems, with the rollouts' sampling, template and method, and the same random numbers every time;
    the model itself, or `servers` that hold its weights.

    The intervals are over problems: those are independent, a problem's samples are not (Miller, arXiv:2411.00640).
    """

    file, record = "validation.jsonl", Validation

    def __init__(
        self, problems: Sequence[Problem], config: ValidationConfig, rollout: RolloutConfig, model: LanguageModel,
        servers: RolloutServers | None = None,
    ) -> None:  # fmt: skip
        self.problems, self.config, self.rollout, self.model = problems, config, rollout, model
        self.servers = None if rollout.overlap else servers  # with overlap they are busy, with other weights

    @property
    def every(self) -> int:
        return self.config.every

    def measure(self, step: int) -> Validation:
        """The accuracy of the weights as they are, after `step` steps."""
        num, rollout = self.config.num_samples, self.rollout
        sampling = sampling_for(rollout.sampling, "held-out")
        if self.servers:
            self.servers.push(step)
        groups = roll_out(
            self.servers or self.model, self.problems, num, sampling, rollout.template, method=rollout.method
        )
        right = [sum(r.verdict.correct for r in group) for group in groups]
        one, some = [n / num for n in right], [pass_at_k(num, n, num) for n in right]
        completions = [r.completion for group in groups for r in group]
        return Validation(
            step, len(self.problems), num, fmean(one), share_interval(one), fmean(some), share_interval(some),
            fmean(c.num_sampled for c in completions), fmean(c.truncated for c in completions),
            tuple(example_of(group[0]) for group in groups[:NUM_EXAMPLES]),
        )  # fmt: skip

    def score(self, record: Validation) -> float:
        return record.pass_1

    def numbers(self, record: Validation) -> dict[str, float]:
        """For the trackers."""
        return {"validation/pass_1": record.pass_1, "validation/pass_k": record.pass_k}

    def save_best(self, folder: Path) -> None:
        checkpoint.save_weights(folder, self.model)


def example_of(rollout: Rollout) -> dict:
    problem = rollout.problem
    return {"id": problem.id, "question": problem.question, "reference": problem.reference,
            "status": rollout.verdict.status, "response": rollout.completion.text}  # fmt: skip
