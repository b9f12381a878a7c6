"""What a run on examples measures now and then: the loss on records that are kept aside, and held-out accuracy.

A question that is kept aside is so with all of its records. Accuracy is measured as grpo does (rl/guard/validation.py).
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch

from thinkling.distributed import in_shares
from thinkling.errors import UserError
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.problem import HELD_OUT_SHARE
from thinkling.runs import record_of
from thinkling.train import checkpoint
from thinkling.train.batch import packs
from thinkling.train.rl.guard import validation
from thinkling.train.rl.guard.validation import Validation
from thinkling.train.sft.records import Record
from thinkling.train.sft.trainer import TokenLoss, nats
from thinkling.words import counted

Pairs = list[tuple[Record, Completion]]


@dataclass(frozen=True)
class SftValidation:
    """One line of validation.jsonl, after `step` steps. loss: nats per token of the records kept aside. accuracy: on
    held-out problems, None where none are asked."""

    step: int
    loss: float
    num_records: int
    accuracy: Validation | None = None


def validation_of(accuracy: dict | None, **row: object) -> SftValidation:
    """The record that JSON made this of."""
    return record_of(SftValidation, row | {"accuracy": accuracy and record_of(Validation, accuracy)})


def kept_aside(pairs: Pairs, num: int) -> tuple[Pairs, Pairs]:
    """Those to learn from, and about `num` to measure the loss on: the records of the questions with the smallest
    hashes, of at most a tenth of all questions. Raises UserError where there are too few to share."""
    questions = {record.question for record, _ in pairs}
    if len(questions) < 2 / HELD_OUT_SHARE:
        raise UserError(f"{counted(len(questions), 'question')} are too few to keep some aside for measuring: measure "
                        "nothing with --eval-every 0")  # fmt: skip
    ordered = sorted(questions, key=lambda question: hashlib.sha256(question.encode()).digest())
    aside: set[str] = set()
    for question in ordered[: int(HELD_OUT_SHARE * len(questions))]:
        if sum(record.question in aside for record, _ in pairs) >= num:
            break
        aside.add(question)
    kept = [pair for pair in pairs if pair[0].question in aside]
    return [pair for pair in pairs if pair[0].question not in aside], kept


class Validator:
    """Measures the loss on `aside`, and accuracy, where a validator for it is given: the better of two models is then
    the one with more right answers, else the one with the lower loss. loss: the one that is trained."""

    file, record = "validation.jsonl", staticmethod(validation_of)

    def __init__(
        self, model: LanguageModel, aside: Sequence[Completion], every: int, micro_batch_tokens: int,
        accuracy: validation.Validator | None = None, loss: TokenLoss | None = None,
    ) -> None:  # fmt: skip
        self.model, self.aside, self.every, self.accuracy = model, aside, every, accuracy
        self.micro_batch_tokens, self.loss = micro_batch_tokens, loss or nats

    @torch.no_grad()
    def measure(self, step: int) -> SftValidation:
        ordered = sorted(self.aside, key=lambda example: example.prompt_tokens)
        parts = [[ordered[row] for row in rows] for rows in packs(ordered, self.micro_batch_tokens)]

        def losses(some: Sequence[list[Completion]], first: int) -> list[float]:
            return [float(self.loss(self.model.network, examples, False)) for examples in some]

        loss = sum(in_shares(parts, losses)) / sum(example.num_sampled for example in ordered)
        return SftValidation(step, loss, len(ordered), self.accuracy and self.accuracy.measure(step))

    def score(self, record: SftValidation) -> float:
        return -record.loss if record.accuracy is None else record.accuracy.pass_1

    def numbers(self, record: SftValidation) -> dict[str, float]:
        """For the trackers."""
        found = {"validation/loss": record.loss}
        return found | (self.accuracy.numbers(record.accuracy) if record.accuracy else {})

    def save_best(self, folder: Path) -> None:
        checkpoint.save_weights(folder, self.model)
