"""The rollouts of a step: groups that have a signal, as far as a cap on asking allows; and, if wanted, those of the
next step while this one's are learnt from.

Dynamic sampling: DAPO, arXiv:2503.14476, section 3.2. A batch that was drawn while the weights before it were still
being updated is off policy by one step; its tokens are then corrected by old policy over sampler (objective.py).
"""

import copy
import math
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass

import torch

from thinkling.distributed import world
from thinkling.errors import UserError
from thinkling.generate.completion import completion_of, frozen
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import Problem
from thinkling.train.rl.config import RolloutConfig
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.rollout import Rollout, has_signal, roll_out, sampling_for
from thinkling.verify.verifier import Verdict

Groups = list[list[Rollout]]


@dataclass(frozen=True)
class RolloutBatch:
    """groups: to learn from. asked: all that were drawn for it, those without a signal too. curriculum: its state
    behind them. seconds: that drawing took."""

    groups: Groups
    asked: Groups
    curriculum: dict
    seconds: float


def gather(config: RolloutConfig, model: LanguageModel, curriculum: Curriculum, step: int) -> tuple[Groups, Groups]:
    """The groups to learn from at this step, and all that were asked.

    Without dynamic sampling the two are the same. With it, groups without a signal are replaced, by asking as many
    problems more as their share so far lets expect; what is still missing after the last round stays missing.
    """
    wanted, asked = config.prompts_per_step, []
    for number in range(1 + config.dynamic_sampling):
        useful = [group for group in asked if has_signal(group)]
        missing = wanted - len(useful)
        if missing <= 0:
            break
        share = max(len(useful) / len(asked), 0.25) if asked else 1.0
        asked += one_round(config, model, curriculum, math.ceil(missing / share), (step, number)[: 1 + (number > 0)])
    if not config.dynamic_sampling:
        return asked, asked
    return ([group for group in asked if has_signal(group)] or asked)[:wanted], asked


def one_round(
    config: RolloutConfig, model: LanguageModel, curriculum: Curriculum, num: int, place: tuple[int, ...]
) -> Groups:
    sampling = sampling_for(config.sampling, "rollout", *place)
    problems = curriculum.ask(num)
    num, template = config.rollouts_per_prompt, config.template
    groups = roll_out(model, problems, num, sampling, template, config.rewards, config.method)
    for group in groups:
        curriculum.learn(group[0].problem, sum(r.verdict.correct for r in group) / len(group))
    return groups


class Sampler:
    """The batches of a run of `num_steps`, in the order of its steps. With overlap the next one is drawn meanwhile,
    with a copy of the weights as they are when this one is handed out."""

    def __init__(self, config: RolloutConfig, model: LanguageModel, curriculum: Curriculum, num_steps: int) -> None:
        self.config, self.model, self.curriculum, self.num_steps = config, model, curriculum, num_steps
        self.ahead: Future[RolloutBatch] | None = None
        if config.overlap:
            if world() > 1:
                raise UserError("--overlap is for one process: several would wait for each other at two places at "
                                "once. Leave it away, or start without torchrun")  # fmt: skip
            self.thread = ThreadPoolExecutor(1, thread_name_prefix="rollouts")
            own = copy.deepcopy(model.network)
            self.copy = LanguageModel(model.name, own, model.tokenizer, **model.limits)

    def take(self, step: int) -> RolloutBatch:
        batch = self.ahead.result() if self.ahead else self.draw(self.model, step)
        if self.config.overlap and step + 1 < self.num_steps:
            with torch.no_grad():
                for mine, new in zip(self.copy.network.parameters(), self.model.network.parameters(), strict=True):
                    mine.copy_(new)
            self.ahead = self.thread.submit(self.draw, self.copy, step + 1)
        return batch

    def draw(self, model: LanguageModel, step: int) -> RolloutBatch:
        started = time.perf_counter()
        groups, asked = gather(self.config, model, self.curriculum, step)
        return RolloutBatch(groups, asked, copy.deepcopy(self.curriculum.state), time.perf_counter() - started)

    def state(self, step: int) -> dict:
        """What a checkpoint after `step` steps keeps: the curriculum, and the batch of the next one, if it is drawn
        ahead (it is waited for)."""
        ahead = self.ahead.result() if self.ahead and step < self.num_steps else None
        return {"curriculum": ahead.curriculum if ahead else self.curriculum.state, "ahead": ahead and asdict(ahead)}

    def resume(self, state: dict) -> None:
        self.curriculum.resume(state["curriculum"])
        if state["ahead"]:
            self.ahead = Future()
            self.ahead.set_result(batch_of(state["ahead"]))


def batch_of(row: dict) -> RolloutBatch:
    """The batch that `asdict` made JSON of. Groups that are in both lists are the same objects again."""
    asked = [[rollout_of(rollout) for rollout in group] for group in row["asked"]]
    kept = [row["asked"].index(group) for group in row["groups"]]
    return RolloutBatch([asked[i] for i in kept], asked, row["curriculum"], row["seconds"])


def rollout_of(row: dict) -> Rollout:
    made = {"problem": Problem(**row["problem"]), "verdict": Verdict(**row["verdict"])}
    known = {name: frozen(value) for name, value in row.items()}
    return Rollout(**known | made | {"completion": completion_of(row["completion"])})
