"""Does a student that is far from its teacher come nearer? Soft labels, on policy, and one after the other.

    python bench/distant.py --out runs/distant

The student is the built-in model with noise on every matrix, its teacher the built-in model. After so many steps of
`thinkling distill` each is asked the same held-out questions: how far the two distributions are at the tokens that the
teacher samples (forward KL), and at those that the student samples (reverse KL), in nats a token.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

import torch
import tyro
from torch import Tensor

from thinkling.commands.distill import Distill, train
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import packed_states
from thinkling.model.transformer import Transformer
from thinkling.model.weights import save_model
from thinkling.tasks.benchmarks import load_problems
from thinkling.tasks.builtin import stream
from thinkling.train.batch import by_prompt, flat_mask
from thinkling.train.distill.divergence import kl
from thinkling.verify.verifier import verify

ASKED = Sampling(1.0, max_tokens=100, seed=9)


@dataclass(frozen=True, kw_only=True)
class Distant:
    """Bring a student with noise in its weights nearer to its teacher, in three ways."""

    out: Path
    noise: float = 0.5
    """As a share of each matrix's standard deviation."""
    steps: tuple[int, ...] = (12, 40, 80)
    """On policy, from the start."""
    epochs: tuple[int, ...] = (2, 8)
    """Soft, over the teacher's 600 traces."""
    later: tuple[int, ...] = (12, 40)
    """On policy behind the soft labels."""


@torch.no_grad()
def distances(teacher: LanguageModel, student: LanguageModel) -> str:
    problems = load_problems("builtin", "held-out", 64)
    prompts = [f"Question: {problem.question}\nAnswer:\n" for problem in problems]
    mine, theirs = student.complete_all(prompts, ASKED), teacher.complete_all(prompts, ASKED)
    right = sum(verify(problem, c.text).correct for problem, c in zip(problems, mine, strict=True)) / len(problems)
    forward = kl(rows(teacher.network, theirs), rows(student.network, theirs)).mean()
    reverse = kl(rows(student.network, mine), rows(teacher.network, mine)).mean()
    length = sum(c.num_sampled for c in mine) / len(mine)
    return f"| {forward:.2f} | {reverse:.2f} | {length:.0f} | {right:.0%} |"


def rows(network: Transformer, completions: Sequence[Completion]) -> Tensor:
    hidden, _ = packed_states(network, *by_prompt(completions), False, flat_mask(completions))
    return network.logits(hidden).float().log_softmax(-1)


def noisy(noise: float) -> LanguageModel:
    model, random = LanguageModel.load("thinkling-base"), torch.Generator().manual_seed(0)
    with torch.no_grad():
        for weight in model.network.parameters():
            if weight.ndim == 2:
                weight += noise * weight.std() * torch.randn(weight.shape, generator=random)
    return model


def traces(teacher: LanguageModel, path: Path) -> None:
    problems = list(islice(stream("train", "dexp"), 600))
    prompts = [f"Question: {problem.question}\nAnswer:\n" for problem in problems]
    found = teacher.complete_all(prompts, replace(ASKED, seed=1))
    pairs = [(p, c) for p, c in zip(problems, found, strict=True) if not c.truncated and "think>" not in c.text]
    path.write_text("".join(json.dumps({"question": p.question, "response": c.text}) + "\n" for p, c in pairs))


def main(bench: Distant) -> None:
    teacher, student = LanguageModel.load("thinkling-base"), noisy(bench.noise)
    start, data = bench.out / "start", bench.out / "traces.jsonl"
    save_model(start, student.network, student.tokenizer, dtype=torch.float32)
    traces(teacher, data)
    print("| | steps | forward KL | reverse KL | length | right |\n| --- | --- | --- | --- | --- | --- |")
    print("| the student | 0", distances(teacher, student), flush=True)

    def run(name: str, begun: Path, **flags: object) -> Path:
        same = dict(teacher="thinkling-base", eval_every=0, save_every=10**6, max_tokens=100, watchdog=False)
        folder = train(Distill(model=str(begun), out=bench.out / name.replace(" ", "-"), **same, **flags))
        steps = int(folder.name.rpartition("-")[2])
        print(f"| {name} | {steps}", distances(teacher, LanguageModel.load(str(folder))), flush=True)
        return folder

    for score in ("full", "sampled"):
        for steps in bench.steps:
            run(f"on policy {score}", start, score=score, steps=steps)
    for epochs in bench.epochs:
        soft = run("soft", start, method="soft", data=data, epochs=epochs)
    for score in ("full", "sampled"):
        for steps in bench.later:
            run(f"soft then {score}", soft, score=score, steps=steps, lr=3e-4, prompts_per_step=8)


if __name__ == "__main__":
    main(tyro.cli(Distant))
