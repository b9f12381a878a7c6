"""GRPO in one screen: draw, verify, compare siblings, step. trainer.py has the same gradient, in less time and memory.

The letters at a name's end are its dimensions: P prompts, G completions of each, N = P G, T tokens, V vocabulary.
The objective is Dr. GRPO's (arXiv:2503.20783): the advantage is the reward less its group's mean, ratios are clipped as
in PPO, and the sum over tokens is divided by N x max_tokens. Left out: everything that `thinkling grpo` has flags for.
"""

from collections.abc import Iterator, Sequence
from itertools import islice

import torch

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling, derive_seed
from thinkling.problem import Problem
from thinkling.scale.prompts import prompt_of
from thinkling.verify.verifier import verify

CLIP = 0.2


def accumulate(model: LanguageModel, problems_P: Sequence[Problem], G: int, sampling: Sampling) -> float:
    """Add one step's gradient to the weights' .grad; returns the share of right answers."""
    prompts_P = [prompt_of(model, "plain", problem.question) for problem in problems_P]
    completions_N = model.complete_all([prompt for prompt in prompts_P for _ in range(G)], sampling)
    owners_N = [problem for problem in problems_P for _ in range(G)]
    pairs_N = zip(owners_N, completions_N, strict=True)
    rewards_N = torch.tensor([float(verify(problem, c.text, "strict").correct) for problem, c in pairs_N])
    rewards_PG = rewards_N.view(len(problems_P), G)
    advantages_N = (rewards_PG - rewards_PG.mean(dim=1, keepdim=True)).flatten()

    for advantage, completion in zip(advantages_N, completions_N, strict=True):
        read_T = torch.tensor([*completion.prompt_tokens, *completion.tokens[:-1]])
        logits_TV = model.network.logits(model.network(read_T[None]))[0, len(completion.prompt_tokens) - 1 :]
        logprobs_TV = (logits_TV / sampling.temperature).log_softmax(dim=-1)
        logprobs_T = logprobs_TV.gather(-1, torch.tensor(completion.tokens)[:, None])[:, 0]
        ratio_T = (logprobs_T - logprobs_T.detach()).exp()  # new policy over old: 1, but it has a gradient
        clipped_T = ratio_T.clamp(1 - CLIP, 1 + CLIP)
        surrogate_T = torch.minimum(ratio_T * advantage, clipped_T * advantage)
        (-surrogate_T.sum() / (len(completions_N) * sampling.max_tokens)).backward()
    return float(rewards_N.mean())


def train(model: LanguageModel, problems: Iterator[Problem], num_steps: int, lr: float = 3e-4) -> None:
    """Train in place, 16 problems x 8 completions a step."""
    optimizer = torch.optim.AdamW(model.network.parameters(), lr=lr, betas=(0.9, 0.95), weight_decay=0.0)
    for step in range(num_steps):
        sampling = Sampling(max_tokens=256, seed=derive_seed(0, "rollout", step))
        right = accumulate(model, list(islice(problems, 16)), 8, sampling)
        torch.nn.utils.clip_grad_norm_(model.network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        print(f"step {step + 1}: {right:.0%} right")
