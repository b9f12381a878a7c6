"""Train a base model from nothing, or further, on a corpus of generated mathematics: what a `Run` trains.

The learning rate falls to zero over the last share of the steps; of the minutes, in a run by time. Of several ranks all
make the same text; each reads a share of a batch's rows, and divides by the weights of all of them.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch.nn.functional as F
from torch import Tensor

from thinkling.device import compile_if_possible
from thinkling.distributed import all_gather, broadcast, is_joined, same_number, share
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.packed import Documents
from thinkling.model.transformer import Transformer
from thinkling.train import checkpoint
from thinkling.train.config import OptimizerConfig
from thinkling.train.optim import Optimizer, schedule
from thinkling.train.pretrain.config import TextConfig
from thinkling.train.pretrain.packing import Batch, loader
from thinkling.train.sharding import learner

MOST_LOST = 3  # steps in a row whose gradient is not finite


class Diverged(UserError):
    """The last steps taught nothing. The weights are as they were before them."""


def weighted_loss(model: Transformer, batch: Batch, total: Tensor | None = None) -> Tensor:
    """Cross-entropy of every next token, averaged with the tokens' weights. total: of these weights, where the batch is
    a share of a larger one."""
    hidden = model(batch.tokens[:, :-1], Documents(batch.documents[:, :-1]))
    nats = F.cross_entropy(model.logits(hidden).float().flatten(0, 1), batch.tokens[:, 1:].flatten(), reduction="none")
    weights = batch.weights[:, 1:].flatten()
    return (nats * weights).sum() / (weights.sum() if total is None else total)


@dataclass(frozen=True)
class PretrainMetrics:
    """One step. loss: weighted nats per token; grad_norm: before clipping; tokens: read so far; seconds: so far. A loss
    or norm that is not finite is None."""

    step: int
    loss: float | None
    grad_norm: float | None
    tokens: int
    seconds: float


class Trainer:
    """Trains `model` in place on the text that a run reads.

    num_steps: of the run; None where it ends after so many `minutes`, and the schedule with it.
    """

    metrics, files = PretrainMetrics, ()

    def __init__(
        self, model: LanguageModel, text: TextConfig, optimizer: OptimizerConfig, num_steps: int | None,
        minutes: float | None = None, compiles: bool = False,
    ) -> None:  # fmt: skip
        self.model, self.text, self.num_steps, self.minutes = model, text, num_steps, minutes
        self.network = learner(model.network.train())
        self.optimizer = Optimizer(model.network, optimizer, self.network)
        self.loss_of = compiled(self.network) if compiles and not is_joined() else weighted_loss
        self.seconds = 0.0
        self.batches: Iterator[Batch] | None = None
        self.lost = 0  # steps in a row, up to now, that changed nothing

    def take(self, step: int) -> PretrainMetrics:
        started, network = time.perf_counter(), self.model.network
        if self.batches is None:
            self.batches = iter(loader(self.model.tokenizer.backend, self.text, step, network.device))
        found = self.learn(next(self.batches).to(network.device))
        norm = self.optimizer.step(schedule(self.optimizer.config, step, self.steps_expected(step)))
        self.lost = 0 if math.isfinite(norm) else self.lost + 1
        if self.lost == MOST_LOST:
            self.batches = None  # the processes that make text end
            raise Diverged(f"step {step + 1}: loss {found:g}, and the gradient was not finite in {MOST_LOST} steps in "
                           "a row. What was learnt before is saved: start a new run from it (--start-from) with lower "
                           "--lr and --muon-lr, or --dtype float32")  # fmt: skip
        self.seconds += broadcast(time.perf_counter() - started)
        found, norm = (value if math.isfinite(value) else None for value in (found, norm))
        return PretrainMetrics(step, found, norm, (step + 1) * self.text.rows * self.text.length, self.seconds)

    def learn(self, batch: Batch) -> float:
        """Add a batch's gradient to the weights', and return its loss."""
        if not is_joined():
            loss = self.loss_of(self.network, batch)
            loss.backward()
            return loss.item()
        total, found = batch.weights[:, 1:].sum(), 0.0
        own = batch.rows(share([1] * len(batch.tokens)))
        for rows, counts in same_number([own] if len(own.tokens) else [], spare=batch.rows(slice(0, 1))):
            loss = self.loss_of(self.network, rows, total)
            (loss if counts else loss * 0).backward()
            found += loss.item() * counts
        return sum(all_gather(found))

    def steps_expected(self, step: int) -> float:
        """How many steps the run will have; in one by time, at the pace so far."""
        if self.num_steps is not None:
            return self.num_steps
        return max(step, step / max(self.seconds / (60 * self.minutes), 1e-9))

    def save(self, folder: Path, step: int) -> None:
        checkpoint.save_model_state(folder, self.model, self.optimizer, {"seconds": self.seconds})

    def resume(self, folder: Path) -> None:
        self.seconds = checkpoint.restore_model_state(folder, self.model, self.optimizer)["seconds"]


def compiled(model: Transformer) -> Callable[..., Tensor]:
    """On a GPU every layer by itself, all to the same code; on a CPU the whole."""
    if model.device.type != "cuda":
        return compile_if_possible(weighted_loss, model.device)
    for layer in model.model.layers:
        layer.compile(dynamic=False)
    return weighted_loss
