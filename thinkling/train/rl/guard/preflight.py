"""Before training: can this run learn anything at all? At most 32 problems are asked, and the answers looked at."""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from thinkling.distributed import phase
from thinkling.errors import UserError
from thinkling.generate.model import Model
from thinkling.generate.sampling import derive_seed
from thinkling.problem import Problem
from thinkling.tasks.benchmarks import distinct
from thinkling.train.rl.config import RolloutConfig
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.rollout import has_signal, roll_out, sampling_for
from thinkling.verify.verifier import verifier_of
from thinkling.words import counted

NUM_PROBLEMS = 32
SKIP = "(--no-preflight trains all the same)"


@dataclass(frozen=True)
class Findings:
    """preflight.json: shares in [0, 1]. pass_k: of problems that one of the k samples solved. unreadable: references
    that the verifier does not recognise when they are given back to it in a box."""

    num_problems: int
    k: int
    pass_1: float
    pass_k: float
    signal: float
    truncated: float
    unreadable: tuple[str, ...]

    @property
    def words(self) -> str:
        num = counted(self.num_problems, "problem")
        return (f"before training: pass@1 {self.pass_1:.0%}, pass@{self.k} {self.pass_k:.0%}, groups with a signal "
                f"{self.signal:.0%}, cut off {self.truncated:.0%} ({num})")  # fmt: skip


def examine(
    config: RolloutConfig, tasks: Sequence[str], model: Model, without: frozenset[str] = frozenset()
) -> Findings:
    """Ask the first different problems of a stream that training does not use, but for the questions `without`. Raises
    UserError where training is hopeless."""
    seed = derive_seed(config.sampling.seed, "doctor")
    problems = distinct(Curriculum(tasks, seed, by_spread=False, without=without).problems, NUM_PROBLEMS)
    unreadable = references_not_recognised(problems)
    if len(unreadable) > 0.1 * len(problems):
        raise UserError(f"{', '.join(tasks)}: the verifier does not recognise {len(unreadable)} of "
                        f"{counted(len(problems), 'reference')}, such as '{unreadable[0][:60]}', so right answers "
                        f"would earn nothing: run thinkling lint-data on the file {SKIP}")  # fmt: skip
    sampling = sampling_for(config.sampling, "doctor")
    num, template = config.rollouts_per_prompt, config.template
    with phase("preflight"):
        groups = roll_out(model, problems, num, sampling, template, config.rewards, config.method)
    rollouts = [rollout for group in groups for rollout in group]
    found = Findings(
        len(problems), config.rollouts_per_prompt,
        pass_1=fmean(r.verdict.correct for r in rollouts),
        pass_k=fmean(any(r.verdict.correct for r in group) for group in groups),
        signal=fmean(has_signal(group) for group in groups),
        truncated=fmean(r.completion.truncated for r in rollouts),
        unreadable=tuple(unreadable),
    )  # fmt: skip
    refuse_if_hopeless(found, config.sampling.max_tokens)
    return found


def references_not_recognised(problems: Sequence[Problem]) -> list[str]:
    return [p.reference for p in problems if verifier_of(p).complaint(p) is not None]


def refuse_if_hopeless(found: Findings, max_tokens: int) -> None:
    """Raises UserError with the reason and the fix."""
    if found.truncated > 0.5:
        raise UserError(f"{found.truncated:.0%} of the answers are cut off at {max_tokens} tokens, and what "
                        f"is cut off earns nothing: raise --max-tokens {SKIP}")  # fmt: skip
    if found.signal > 0:
        return
    num = counted(found.num_problems, "problem")
    if found.pass_k == 0:
        raise UserError(f"none of {num} was answered right in {found.k} tries, so there is nothing to make "
                        "likelier: take easier problems, another --template (few-shot), or a better model "
                        f"{SKIP}")  # fmt: skip
    raise UserError(f"all {found.k} answers to each of {num} earn the same, so nothing can be learnt from them (pass@1 "
                    f"is {found.pass_1:.0%}): take harder problems, or a higher --temperature {SKIP}")  # fmt: skip
