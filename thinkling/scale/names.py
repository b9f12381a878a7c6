"""The names of methods, scorers and templates, as flags take them. What they mean stands beside each: methods.py,
scorers.py, prompts.py."""

from typing import Literal

MethodName = Literal[
    "direct", "step-by-step", "self-consistency", "adaptive", "deepconf", "best-of-n", "refine", "budget-forcing",
    "wait", "beam", "dvts", "cot-decoding",
]  # fmt: skip
ScorerName = Literal[
    "heuristic", "mean-logprob", "sum-logprob", "answer-logprob", "self-certainty", "confidence-mean",
    "confidence-group", "confidence-bottom", "confidence-tail", "p-true", "reward-head", "judge",
]  # fmt: skip
Template = Literal["plain", "step-by-step", "boxed", "few-shot", "chat", "chat-thinking", "none"]
