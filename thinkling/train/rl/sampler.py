"""The rollouts of a step: groups that have a signal, as far as a cap on asking allows; and, if wanted, those of the
next steps while this one's are learnt from.

Dynamic sampling: DAPO, arXiv:2503.14476, section 3.2. A batch that was drawn while the weights before it were still
being updated is off policy, by as many steps as it was begun ahead; its tokens are then corrected by old policy over
sampler (objective.py).
"""

import copy
import math
import time
from collections import deque
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace

import torch

from thinkling.distributed import world
from thinkling.errors import UserError
from thinkling.generate.completion import completion_of, frozen
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.problem import Problem
from thinkling.train.rl.config import RolloutConfig
from thinkling.train.rl.curriculum import Curriculum
from thinkling.train.rl.rollout import Rollout, has_signal, roll_out, sampling_for
from thinkling.train.rl.servers import RolloutServers
from thinkling.verify.verifier import Verdict

Groups = list[list[Rollout]]


@dataclass(frozen=True)
class RolloutBatch:
    """groups: to learn from. asked: all that were drawn for it, those without a signal too. curriculum: its state
    behind them. seconds: that drawing took. thrown_away: completions of weights that were too old."""

    groups: Groups
    asked: Groups
    curriculum: dict
    seconds: float
    thrown_away: int = 0


def gather(config: RolloutConfig, model: Model, curriculum: Curriculum, step: int) -> tuple[Groups, Groups]:
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


def one_round(config: RolloutConfig, model: Model, curriculum: Curriculum, num: int, place: tuple[int, ...]) -> Groups:
    sampling = sampling_for(config.sampling, "rollout", *place)
    problems = curriculum.ask(num)
    num, template = config.rollouts_per_prompt, config.template
    groups = roll_out(model, problems, num, sampling, template, config.rewards, config.method)
    for group in groups:
        curriculum.learn(group[0].problem, sum(r.verdict.correct for r in group) / len(group))
    return groups


class Sampler:
    """The batches of a run of `num_steps`, in the order of its steps. With overlap the next ones are drawn meanwhile,
    one after the other, each with a copy of the weights as they are when it is begun, max_stale steps before it is
    learnt from. servers: what draws them, where it is not the model itself; a batch that is under way when new weights
    are pushed goes on with these."""

    def __init__(
        self, config: RolloutConfig, model: LanguageModel, curriculum: Curriculum, num_steps: int,
        servers: RolloutServers | None = None,
    ) -> None:  # fmt: skip
        self.config, self.model, self.curriculum, self.num_steps = config, model, curriculum, num_steps
        self.servers = servers
        self.ahead: deque[Future[RolloutBatch]] = deque()  # of the next steps
        if config.overlap:
            if world() > 1:
                raise UserError("--overlap is for one process: several would wait for each other at two places at "
                                "once. Leave it away, or start without torchrun")  # fmt: skip
            self.thread = ThreadPoolExecutor(1, thread_name_prefix="rollouts")
            self.copies = [] if servers else [copied(model) for _ in range(config.max_stale)]

    def take(self, step: int) -> RolloutBatch:
        if self.ahead:
            batch = self.drawn(self.ahead.popleft())
        else:
            if self.servers:
                self.servers.push(step)
            batch = self.draw(self.servers or self.model, step)
        if self.config.overlap:
            self.draw_ahead(step)
        return batch

    def drawn(self, ahead: Future[RolloutBatch]) -> RolloutBatch:
        """A batch that was begun ahead; it is waited for."""
        try:
            return ahead.result()
        except BaseException:
            self.thread.shutdown(wait=False, cancel_futures=True)  # those behind it would only fail, too
            raise

    def draw_ahead(self, step: int) -> None:
        """Begin what may be drawn with the weights that this step begins with, but for what is under way."""
        for number in range(step + 1 + len(self.ahead), min(step + 1 + self.config.max_stale, self.num_steps)):
            model = self.servers or self.copies[number % len(self.copies)]  # whose last batch was this step's
            if self.servers:
                self.servers.push(step)
            else:
                renew(model, self.model)
            self.ahead.append(self.thread.submit(self.draw, model, number, step))

    def draw(self, model: Model, step: int, version: int | None = None) -> RolloutBatch:
        """version: steps behind the weights, stamped on what nobody has stamped yet; as many as the step, if not
        given."""
        started, thrown_away = time.perf_counter(), self.thrown_away
        groups, asked = gather(self.config, model, self.curriculum, step)
        groups, asked = stamped(groups, asked, step if version is None else version)
        return RolloutBatch(groups, asked, copy.deepcopy(self.curriculum.state), time.perf_counter() - started,
                            self.thrown_away - thrown_away)  # fmt: skip

    @property
    def thrown_away(self) -> int:
        return self.servers.thrown_away if self.servers else 0

    def state(self, step: int) -> dict:
        """What a checkpoint after `step` steps keeps: the curriculum, and the batches of the next ones, if they are
        drawn ahead (they are waited for)."""
        ahead = [self.drawn(batch) for batch in self.ahead] if step < self.num_steps else []
        curriculum = ahead[-1].curriculum if ahead else self.curriculum.state
        return {"curriculum": curriculum, "ahead": [asdict(batch) for batch in ahead]}

    def resume(self, state: dict) -> None:
        self.curriculum.resume(state["curriculum"])
        for row in state["ahead"]:
            self.ahead.append(Future())
            self.ahead[-1].set_result(batch_of(row))


def copied(model: LanguageModel) -> LanguageModel:
    return LanguageModel(model.name, copy.deepcopy(model.network), model.tokenizer, **model.limits)


@torch.no_grad()
def renew(own: LanguageModel, model: LanguageModel) -> None:
    """Give a copy the weights that its model has now."""
    for mine, new in zip(own.network.parameters(), model.network.parameters(), strict=True):
        mine.copy_(new)


def stamped(groups: Groups, asked: Groups, version: int) -> tuple[Groups, Groups]:
    """The same with the weights' version on each rollout. Groups that are in both lists are the same objects."""
    found = [[with_version(rollout, version) for rollout in group] for group in asked]
    by_group = {id(group): own for group, own in zip(asked, found, strict=True)}
    return [by_group[id(group)] for group in groups], found


def with_version(rollout: Rollout, version: int) -> Rollout:
    if rollout.completion.version is not None:
        return rollout
    return replace(rollout, completion=replace(rollout.completion, version=version))


def batch_of(row: dict) -> RolloutBatch:
    """The batch that `asdict` made JSON of. Groups that are in both lists are the same objects again."""
    asked = [[rollout_of(rollout) for rollout in group] for group in row["asked"]]
    kept = [row["asked"].index(group) for group in row["groups"]]
    return RolloutBatch([asked[i] for i in kept], asked, row["curriculum"], row["seconds"], row.get("thrown_away", 0))


def rollout_of(row: dict) -> Rollout:
    made = {"problem": Problem(**row["problem"]), "verdict": Verdict(**row["verdict"])}
    known = {name: frozen(value) for name, value in row.items()}
    return Rollout(**known | made | {"completion": completion_of(row["completion"])})
