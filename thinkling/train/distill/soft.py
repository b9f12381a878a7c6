"""The divergence from a teacher at the tokens of given completions, as a pass through both networks: a loss that
`sft` (over a teacher's traces) and `grpo` (over the student's own rollouts) take.

All of it is added up over trained tokens, and divided by a step's tokens by whoever takes it. Logits exist for a chunk
of tokens at a time, so memory does not grow with vocabulary times length. A teacher's k likeliest tokens, and the tail
that is left, can be kept from one epoch to the next (`remember`).
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor
from torch.utils.checkpoint import checkpoint

from thinkling.distributed import in_shares, phase
from thinkling.errors import UserError
from thinkling.generate import score
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import packed_states
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer
from thinkling.train.batch import by_prompt, flat_mask, packs
from thinkling.train.distill.divergence import Divergence, coarse, divergence, with_tail

Known = tuple[Tensor, Tensor]  # of each token the ids (N, K) of the teacher's likeliest, and their log-probabilities


@dataclass(frozen=True, kw_only=True)
class SoftConfig:
    """divergence, beta: divergence.py. temperature: both distributions are taken at it, and the loss is multiplied by
    its square, so that the gradient keeps its size (Hinton et al., arXiv:1503.02531). top_k: compare so many tokens and
    a bin for the rest; 0 all. of: whose likeliest tokens these are."""

    divergence: Divergence = "forward-kl"
    beta: float = 0.5
    temperature: float = 1.0
    top_k: int = 0
    of: Literal["teacher", "student"] = "teacher"


@dataclass
class SoftLoss:
    """Called as loss(network, completions, recompute). known: by completion, what the teacher said of its tokens."""

    teacher: Transformer
    config: SoftConfig
    known: dict[tuple, Known] = field(default_factory=dict)

    def __call__(self, network: Transformer, completions: Sequence[Completion], recompute: bool = False) -> Tensor:
        groups, mask = by_prompt(completions), flat_mask(completions)
        hidden, _ = packed_states(network, *groups, recompute, mask)
        common = min(network.config.vocab_size, self.teacher.config.vocab_size)  # what is padded is left out
        head = network.lm_head.weight[:common]
        if all(key_of(c) in self.known for c in completions):
            found = [self.known[key_of(c)] for c in completions]
            ids, logprobs = (torch.cat(column).to(hidden.device) for column in zip(*found, strict=True))
            return in_chunks(self.from_known, head, hidden, ids, logprobs)
        with torch.no_grad():
            theirs, _ = packed_states(self.teacher, *groups, False, mask)
        return in_chunks(self.from_states, head, hidden, theirs)

    def from_states(self, head: Tensor, hidden: Tensor, theirs: Tensor) -> Tensor:
        """Of a chunk of tokens, from both networks' hidden states."""
        student = log_softmax(hidden, head, self.config.temperature)
        with torch.no_grad():
            teacher = log_softmax(theirs, self.teacher.lm_head.weight[: len(head)], self.config.temperature)
        return soft_loss(self.config, teacher, student).sum()

    def from_known(self, head: Tensor, hidden: Tensor, ids: Tensor, logprobs: Tensor) -> Tensor:
        """Of a chunk of tokens, from what is known of the teacher."""
        config = self.config
        student = coarse(log_softmax(hidden, head, config.temperature), ids.long())
        return config.temperature**2 * divergence(config.divergence, with_tail(logprobs), student, config.beta).sum()

    @torch.no_grad()
    def remember(self, completions: Sequence[Completion], common: int, micro_batch_tokens: int) -> None:
        """Ask the teacher once for its likeliest of the first `common` tokens, at each trained token of completions
        that come again; with these alone the loss needs no teacher. Nothing is kept where the loss needs all tokens, or
        those that the student finds likely."""
        if not self.config.top_k or self.config.of == "student":
            return
        parts = [[completions[row] for row in rows] for rows in packs(completions, micro_batch_tokens)]
        with phase("asking the teacher"):
            found = in_shares(parts, lambda some, first: [self.likeliest(own, common) for own in some])
        for own, columns in zip(parts, found, strict=True):
            lengths = [c.num_sampled for c in own]
            known = zip(*(column.split(lengths) for column in columns), strict=True)
            self.known |= dict(zip(map(key_of, own), known, strict=True))

    def likeliest(self, own: Sequence[Completion], common: int) -> Known:
        """Of all trained tokens of these completions, in one pass through the teacher."""
        head, top_k = self.teacher.lm_head.weight[:common], min(self.config.top_k, common)
        states, _ = packed_states(self.teacher, *by_prompt(own), False, flat_mask(own))
        chunks = states.split(max(1, score.CHUNK_ELEMENTS // common))
        found = [log_softmax(chunk, head, self.config.temperature).topk(top_k, dim=-1) for chunk in chunks]
        return torch.cat([one.indices for one in found]).int().cpu(), torch.cat([one.values for one in found]).cpu()


def in_chunks(work: Callable[..., Tensor], head: Tensor, *rows: Tensor) -> Tensor:
    """The sum of work(head, chunk of each of the rows); what a chunk needs in between exists one at a time."""
    chunks = zip(*(own.split(max(1, score.CHUNK_ELEMENTS // len(head))) for own in rows), strict=True)
    return torch.stack([checkpoint(work, head, *chunk, use_reentrant=False) for chunk in chunks]).sum()


def soft_loss(config: SoftConfig, teacher: Tensor, student: Tensor) -> Tensor:
    """temperature^2 times the divergence of each row, from whole log-probabilities (N, V) at that temperature."""
    if config.top_k:
        whose = teacher if config.of == "teacher" else student
        ids = whose.detach().topk(min(config.top_k, whose.shape[-1]), dim=-1).indices
        teacher, student = coarse(teacher, ids), coarse(student, ids)
    return config.temperature**2 * divergence(config.divergence, teacher, student, config.beta)


def log_softmax(hidden: Tensor, head: Tensor, temperature: float) -> Tensor:
    return ((hidden @ head.T).float() / temperature).log_softmax(-1)


def key_of(completion: Completion) -> tuple:
    return completion.prompt_tokens, completion.tokens, completion.mask


def check_vocabularies(student: LanguageModel, teacher: LanguageModel) -> None:
    """Two networks can be compared token by token where the same id means the same token. Their embeddings may be
    padded differently (151,936 and 152,064 rows in Qwen's): then what both have is compared. Raises UserError."""
    mine, theirs = vocabulary(student.tokenizer), vocabulary(teacher.tokenizer)
    for token in sorted(mine.keys() | theirs.keys()):
        if mine.get(token) != theirs.get(token):
            raise UserError(
                f"the teacher {teacher.name} and the student {student.name} have different vocabularies: id {token} is "
                f"{theirs.get(token)!r} in one and {mine.get(token)!r} in the other. Only text can pass between them: "
                "write the teacher's with thinkling distill-data, and learn it with thinkling sft"
            )


def vocabulary(tokenizer: Tokenizer) -> dict[int, str]:
    return {token: name for name, token in tokenizer.backend.get_vocab(with_added_tokens=True).items()}
