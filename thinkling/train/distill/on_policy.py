"""On-policy distillation: the student samples, the teacher says of each token how likely it finds it.

A token's credit is coef (log p_teacher - log p_student), at the sampling temperature (Thinking Machines 2025; Agarwal
et al., arXiv:2306.13649). Its expected policy gradient is that of the reverse KL at the states that the student visits;
with `discount` 1 each token is also credited for all that follows, which makes it the gradient of the sequences' own
KL (exact.py holds both). Credits are no rewards: nothing normalises them, by group or by step.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch

from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.score import score_packed
from thinkling.model.transformer import Transformer
from thinkling.scale.prompts import prompt_of
from thinkling.train.batch import by_prompt, flat_mask, packs
from thinkling.train.lora import adapters_off
from thinkling.train.rl.rollout import Rollout
from thinkling.train.rl.update import Credit

HINTED = "{question}\nA right solution, to compare with:\n{solution}"


def teacher_credits(
    teacher: Transformer, temperature: float, coef: float = 1.0, discount: float = 0.0,
    micro_batch_tokens: int = 4096, view: Callable[[Rollout], Completion] = lambda rollout: rollout.completion,
) -> Credit:  # fmt: skip
    """A function that gives the credits of a group's rollouts, one for each of their tokens, 0 for a given one. view:
    a rollout as the teacher reads it, with the same tokens behind another prompt."""

    @torch.no_grad()
    def credits(rollouts: Sequence[Rollout]) -> list[tuple[float, ...]]:
        seen, found = [view(rollout) for rollout in rollouts], []
        with adapters_off(teacher):
            for rows in packs(seen, micro_batch_tokens):
                own = [seen[row] for row in rows]
                scores, _ = score_packed(teacher, *by_prompt(own), temperature, None, False, flat_mask(own))
                for c, theirs in zip(own, scores.split([c.num_sampled for c in own]), strict=True):
                    found.append(credits_of(c, theirs.tolist(), coef, discount))
        return found

    return credits


def hinted(model: LanguageModel, template: str) -> Callable[[Rollout], Completion]:
    """How a model that teaches itself reads a rollout: behind a prompt that holds the solution, or the answer where
    none is known (OPSD, arXiv:2601.18734)."""

    def view(rollout: Rollout) -> Completion:
        problem = rollout.problem
        asked = HINTED.format(question=problem.question, solution=problem.solution or problem.reference)
        return replace(rollout.completion, prompt_tokens=tuple(prompt_of(model, template, asked)))

    return view


def credits_of(completion: Completion, teacher: Sequence[float], coef: float, discount: float) -> tuple[float, ...]:
    """teacher: the log-probabilities of the sampled tokens, in order."""
    theirs = iter(teacher)
    mask = completion.mask or (True,) * len(completion.tokens)
    now = [next(theirs) - mine if own else 0.0 for own, mine in zip(mask, completion.logprobs, strict=True)]
    found, later = [0.0] * len(now), 0.0
    for place in reversed(range(len(now))):
        later = now[place] + discount * later
        found[place] = coef * later if mask[place] else 0.0
    return tuple(found)
