"""Supervised fine-tuning (hard distillation): make the tokens of given replies likelier. What a `Run` trains.

The loss is the mean over all trained tokens of a step, however the step is split into passes. Examples stand packed
side by side, each seeing only itself, so that nothing is padded; logits are computed for trained tokens alone, a chunk
at a time (generate/score.py). Which examples a step reads follows from seed and step, so a run resumes exactly. Of
several ranks each reads a share of them, and divides by the tokens of all.
"""

import hashlib
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from random import Random

import torch
from torch import Tensor

from thinkling.distributed import all_gather, same_number, share
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import derive_seed
from thinkling.generate.score import score_packed
from thinkling.model.transformer import Transformer
from thinkling.train import checkpoint
from thinkling.train.batch import by_prompt, flat_mask, packs
from thinkling.train.config import LoraConfig, OptimizerConfig
from thinkling.train.lora import add_adapters
from thinkling.train.memory import probe
from thinkling.train.optim import Optimizer, after_no_finite_step, schedule
from thinkling.train.sft.config import SftConfig
from thinkling.train.sharding import learner

TokenLoss = Callable[[Transformer, Sequence[Completion], bool], Tensor]
WINDOW = 10  # steps that `alarm` looks at


@dataclass(frozen=True)
class SftMetrics:
    """One step. epoch: from 0, with its share that is over. loss: nats per trained token, or what another loss says.
    grad_norm: before clipping. tokens: trained on in this step; read: those and their prompts'. seconds: of this
    step."""

    step: int
    epoch: float
    loss: float
    grad_norm: float
    tokens: int
    read: int
    seconds: float


class Trainer:
    """Trains `model` in place on `examples`. lora: adapters to train instead of the weights. loss: in place of -log p;
    of the trained tokens of some examples, added up."""

    metrics, files = SftMetrics, ()

    def __init__(
        self, model: LanguageModel, examples: Sequence[Completion], config: SftConfig, optimizer: OptimizerConfig,
        lora: LoraConfig | None = None, loss: TokenLoss | None = None,
    ) -> None:  # fmt: skip
        if lora is not None:
            add_adapters(model.network, lora.rank, lora.alpha, lora.seed)
        self.model, self.examples, self.config, self.loss = model, examples, config, loss or nats
        self.network = learner(model.network)
        self.optimizer = Optimizer(model.network, optimizer, self.network)
        self.steps_per_epoch = math.ceil(len(examples) / config.batch_size)

    @property
    def num_steps(self) -> int:
        return self.config.epochs * self.steps_per_epoch

    def take(self, step: int) -> SftMetrics:
        """One optimizer step on the examples of this step."""
        started = time.perf_counter()
        batch = self.batch(step)
        num_tokens = sum(example.num_sampled for example in batch)
        loss = torch.zeros((), device=self.model.network.device)
        own = batch[share([length_of(example) for example in batch])]
        passes = [[own[row] for row in rows] for rows in packs(own, self.config.micro_batch_tokens)]
        with self.optimizer.summing():
            for examples, counts in same_number(passes, spare=[min(batch, key=length_of)]):
                part = self.loss(self.network, examples, self.config.recompute) / num_tokens
                if not counts:
                    part = part * 0
                part.backward()
                loss += part.detach()
        norm = self.optimizer.step(schedule(self.optimizer.config, step, self.num_steps))
        loss = sum(all_gather(loss.item()))
        read = sum(length_of(example) for example in batch)
        epoch = (step + 1) / self.steps_per_epoch
        return SftMetrics(step, epoch, loss, norm, num_tokens, read, time.perf_counter() - started)

    def batch(self, step: int) -> list[Completion]:
        """The examples of a step: each epoch has all, in an order of its own. Those of one prompt stand together."""
        epoch, place = divmod(step, self.steps_per_epoch)
        random = Random(derive_seed(self.config.seed, "sft", epoch))
        order = random.sample(range(len(self.examples)), len(self.examples))
        chosen = order[place * self.config.batch_size : (place + 1) * self.config.batch_size]
        return sorted((self.examples[row] for row in chosen), key=lambda example: example.prompt_tokens)

    def probe(self) -> None:
        """The largest pass that this run can come to, for nothing: see `memory.probe`."""
        longest = max(self.examples, key=length_of)
        prompt, length = len(longest.prompt_tokens), len(longest.tokens)
        rows = max(1, (self.config.micro_batch_tokens - prompt) // length)
        probe(self.network, prompt, [length] * rows, self.config.recompute)

    def save(self, folder: Path, step: int) -> None:
        state = {"examples": digest(self.examples)}
        checkpoint.save_model_state(folder, self.model, self.optimizer, state)

    def resume(self, folder: Path) -> None:
        state = checkpoint.restore_model_state(folder, self.model, self.optimizer)
        if state["examples"] != digest(self.examples):
            raise UserError(f"{folder}: this run began with other examples: give the file as it was, or choose another "
                            "--out")  # fmt: skip


def length_of(example: Completion) -> int:
    return len(example.prompt_tokens) + len(example.tokens)


def nats(network: Transformer, examples: Sequence[Completion], recompute: bool = False) -> Tensor:
    """-log p of all trained tokens of these examples, added up: one pass."""
    logprobs, _ = score_packed(network, *by_prompt(examples), 1.0, None, recompute, flat_mask(examples))
    return -logprobs.sum()


def digest(examples: Sequence[Completion]) -> str:
    """Tells one list of examples from another."""
    found = hashlib.sha256()
    for example in examples:
        found.update(repr((example.prompt_tokens, example.tokens, example.mask)).encode())
    return found.hexdigest()[:16]


def alarm(rows: Sequence[SftMetrics]) -> str | None:
    """What is wrong with a run, or None. rows: all steps so far."""
    finite = [math.isfinite(m.grad_norm) and math.isfinite(m.loss) for m in rows]
    if len(rows) >= 3 and not any(finite[-3:]):
        return f"loss or gradient was not finite three times in a row: {after_no_finite_step(any(finite))}"
    if len(rows) < 2 * WINDOW:
        return None
    first, last = (sum(m.loss for m in own) / WINDOW for own in (rows[:WINDOW], rows[-WINDOW:]))
    if last > first + 0.5:
        return f"the loss rose from {first:.2f} to {last:.2f} nats per token: lower --lr, or add --warmup-steps"
    return None
