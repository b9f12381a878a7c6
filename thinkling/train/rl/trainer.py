"""Policy-gradient training of one model: `take` draws a batch of rollouts, compares siblings and steps on it.

What is optimised is a row of choices (objective.py; loss.py makes the loss of it), and this trainer does not know
which. A run around it logs, measures and saves (train/run.py). The same in sixty lines: minimal.py. Of several ranks
each draws and learns a share (roll_out, Updater); in between all have all rollouts, so the rest is as on one.
"""

import copy
import time
from collections.abc import Callable, Iterable
from dataclasses import asdict
from pathlib import Path
from statistics import fmean

from thinkling.generate.language_model import LanguageModel
from thinkling.train import checkpoint
from thinkling.train.config import LoraConfig, OptimizerConfig
from thinkling.train.lora import add_adapters
from thinkling.train.optim import Optimizer, schedule
from thinkling.train.rl.config import RolloutConfig, UpdateConfig
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.loss import UserLoss
from thinkling.train.rl.metrics import StepMetrics, describe
from thinkling.train.rl.objective import Objective
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.sampler import RolloutBatch, Sampler
from thinkling.train.rl.servers import RolloutServers
from thinkling.train.rl.totals import TokenStats
from thinkling.train.rl.update import Credit, TokenLoss, Updater
from thinkling.train.sharding import learner

SAMPLES = "samples.jsonl"  # every rollout, a line each


class Trainer:
    """Trains `model` in place on what `curriculum` asks, for a run of `num_steps`.

    lora: adapters to train instead of the weights. loss, token_loss, credit: see `Updater`. servers: draw the rollouts
    in the model's place. keep: is given the rows of each step's rollouts (samples.jsonl).
    """

    metrics, files = StepMetrics, (SAMPLES,)

    def __init__(
        self,
        model: LanguageModel,
        curriculum: Curriculum,
        num_steps: int,
        *,
        rollout: RolloutConfig,
        objective: Objective,
        update: UpdateConfig,
        optimizer: OptimizerConfig,
        lora: LoraConfig | None = None,
        loss: UserLoss | None = None,
        token_loss: TokenLoss | None = None,
        credit: Credit | None = None,
        servers: RolloutServers | None = None,
        keep: Callable[[Iterable[dict]], None] = lambda rows: None,
    ) -> None:
        if lora is not None:
            add_adapters(model.network, lora.rank, lora.alpha, lora.seed)
        self.model, self.num_steps, self.rollout, self.keep = model, num_steps, rollout, keep
        network = learner(model.network)
        self.optimizer = Optimizer(model.network, optimizer, network)
        reference = None
        if objective.needs_reference:  # with adapters it is the same model without them
            reference = model.network if lora is not None else copy.deepcopy(model.network)
        self.updater = Updater(model, self.optimizer, objective, rollout, update, reference, loss,
                               token_loss, credit, network)  # fmt: skip
        self.sampler = Sampler(rollout, model, curriculum, num_steps, servers)

    def take(self, step: int) -> StepMetrics:
        """One batch of rollouts, the updates on it, and both kept."""
        batch = self.sampler.take(step)
        scale = schedule(self.optimizer.config, step, self.num_steps)
        groups, score_seconds = timed(lambda: self.updater.prepare(batch.groups))
        (learnt, stats), train_seconds = timed(lambda: self.updater.update(groups, scale))
        self.keep(rows_of(step, groups, batch, stats))
        return StepMetrics(step, **describe(batch.asked, tuple(self.rollout.rewards)), **learnt,
                           generate_seconds=batch.seconds, score_seconds=score_seconds, train_seconds=train_seconds,
                           stale=age(groups, step), thrown_away=batch.thrown_away)  # fmt: skip

    def save(self, folder: Path, step: int) -> None:
        checkpoint.save_model_state(folder, self.model, self.optimizer, self.sampler.state(step))

    def resume(self, folder: Path) -> None:
        self.sampler.resume(checkpoint.restore_model_state(folder, self.model, self.optimizer))


def age(groups: list[list[Rollout]], step: int) -> float:
    """How many optimizer steps the rollouts' weights are behind those that learn from them, on the average."""
    versions = [rollout.completion.version for group in groups for rollout in group]
    return fmean(0 if version is None else step - version for version in versions)


def rows_of(
    step: int, groups: list[list[Rollout]], batch: RolloutBatch, stats: dict[tuple[int, int], TokenStats]
) -> Iterable[dict]:
    """The rollouts of a step as lines of samples.jsonl: those that were learnt from first."""
    unused = [group for group in batch.asked if not any(group is kept for kept in batch.groups)]
    return (
        row_of(step, number, rollout, stats.get((number, place)))
        for number, group in enumerate(groups + unused)
        for place, rollout in enumerate(group)
    )


def row_of(step: int, group: int, rollout: Rollout, stats: TokenStats | None) -> dict:
    """A rollout as a line of samples.jsonl: ids and text, so that nothing ever has to be encoded again."""
    problem, c = rollout.problem, rollout.completion
    row = {
        "step": step, "group": group, "id": problem.id, "question": problem.question, "reference": problem.reference,
        **asdict(rollout.verdict), "reward": rollout.reward, "parts": rollout.parts, "advantage": rollout.advantage,
        "finish_reason": c.finish_reason, "response": c.text, "prompt_tokens": c.prompt_tokens, "tokens": c.tokens,
        "logprobs": rounded(c.logprobs), "version": c.version,
    } | ({"mask": c.mask} if c.mask else {})  # fmt: skip
    if stats is not None:
        row |= {"credits": rollout.credits} if rollout.credits else {}
        row |= {"entropy": rounded(stats.entropy), "ratio": rounded(stats.ratio), "clipped": stats.clipped}
    return row


def rounded(values: tuple[float, ...]) -> list[float]:
    return [round(value, 5) for value in values]


def timed(work: Callable[[], object]) -> tuple:
    started = time.perf_counter()
    result = work()
    return result, time.perf_counter() - started
