"""Held-out accuracy while a run goes on: pass@1 and pass@k from the same samples, with intervals.

pass@1 rising alone is sharpening: the model says more often what it could say before. pass@k says what it can do at
all. The problems are not those that `thinkling eval` takes, so that the best checkpoint is not chosen by the test.
"""

from dataclasses import dataclass
from pathlib import Path
from statistics import fmean

from thinkling.evaluate.stats import mean_interval, pass_at_k
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import save_model
from thinkling.tasks.benchmarks import load_problems
from thinkling.train.lora import merged
from thinkling.train.rl.config import RolloutConfig, ValidationConfig
from thinkling.train.rl.rollout import Rollout, roll_out, sampling_for

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


class Validator:
    """Asks the held-out problems, with the rollouts' sampling and template and the same random numbers every time."""

    file, record = "validation.jsonl", Validation

    def __init__(
        self,
        config: ValidationConfig,
        rollout: RolloutConfig,
        model: LanguageModel,
        without: frozenset[str] = frozenset(),
    ) -> None:
        """without: questions that cannot be asked."""
        self.config, self.rollout, self.model = config, rollout, model
        problems = load_problems(config.tasks, "held-out", config.num_problems, SEED)
        self.problems = [problem for problem in problems if problem.question not in without]

    @property
    def every(self) -> int:
        return self.config.every

    def measure(self, step: int) -> Validation:
        """The accuracy of the weights as they are, after `step` steps."""
        num = self.config.num_samples
        sampling = sampling_for(self.rollout.sampling, "held-out")
        groups = roll_out(self.model, self.problems, num, sampling, self.rollout.template)
        right = [sum(r.verdict.correct for r in group) for group in groups]
        one, some = [n / num for n in right], [pass_at_k(num, n, num) for n in right]
        completions = [r.completion for group in groups for r in group]
        return Validation(
            step, len(self.problems), num, fmean(one), interval(one), fmean(some), interval(some),
            fmean(len(c.tokens) for c in completions), fmean(c.truncated for c in completions),
            tuple(example_of(group[0]) for group in groups[:NUM_EXAMPLES]),
        )  # fmt: skip

    def score(self, record: Validation) -> float:
        return record.pass_1

    def numbers(self, record: Validation) -> dict[str, float]:
        """For the trackers."""
        return {"validation/pass_1": record.pass_1, "validation/pass_k": record.pass_k}

    def save_best(self, folder: Path) -> None:
        save_model(folder, self.model.network, self.model.tokenizer, weights=merged(self.model.network))


def example_of(rollout: Rollout) -> dict:
    problem = rollout.problem
    return {"id": problem.id, "question": problem.question, "reference": problem.reference,
            "status": rollout.verdict.status, "response": rollout.completion.text}  # fmt: skip


def interval(values: list[float]) -> tuple[float, float]:
    """Of the mean; problems are independent, a problem's samples are not (Miller, arXiv:2411.00640)."""
    low, high = mean_interval(values)
    return max(0.0, low), min(1.0, high)
