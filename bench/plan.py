"""Is `thinkling plan` right about time? Steps of GRPO on this machine, beside what the cost model says of it.

    python bench/plan.py

First two numbers of the machine are measured: operations a second of a product of the model's shape, and bytes a second
that are read. With them and shares like those of `thinkling plan` a step is predicted, and then some are made, with a
reward at random, so that every rollout teaches something. Needs a quiet machine.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import torch
import tyro
from sides import bytes_read_per_second, machine

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo, workload
from thinkling.generate.language_model import LanguageModel
from thinkling.runs import read_jsonl
from thinkling.train.plan import Job, Machine, Shares, seconds_of


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Example: python bench/plan.py --steps 5"""

    model: str = "thinkling-base"
    steps: int = 6
    prompts_per_step: int = 8
    max_tokens: int = 256
    learning: float = 0.5
    """The share of a product's speed that forward and backward passes reach."""
    drawing: float = 0.5
    kernels: float = 2e-4
    """Seconds a layer takes at least, for each drawn token."""


def quickest(work: Callable[[], object], times: int = 10) -> float:
    found = []
    for _ in range(times):
        started = time.perf_counter()
        work()
        found.append(time.perf_counter() - started)
    return min(found)


def measured(width: int, inner: int) -> Machine:
    """This processor as a Machine: what a product reaches, and a reader, into memory that is there already."""
    a, b, out = torch.randn(4096, width), torch.randn(width, inner), torch.empty(4096, inner)
    operations = 2 * 4096 * width * inner / quickest(lambda: torch.mm(a, b, out=out))
    return Machine(gb=1.0, tflops=operations / 1e12, gbs=bytes_read_per_second() / 1e9, links=1.0, network=1.0)


def main(bench: Bench) -> None:
    model = LanguageModel.load(bench.model, "cpu")
    config = model.network.config
    here = measured(config.hidden_size, config.intermediate_size)
    with TemporaryDirectory() as folder:
        settings = Grpo(
            model=bench.model, out=Path(folder) / "run", steps=bench.steps, prompts_per_step=bench.prompts_per_step,
            max_tokens=bench.max_tokens, reward=("random",), eval_every=0, preflight=False, watchdog=False,
            device="cpu",
        )  # fmt: skip
        grpo.train(settings, model)
        rows = list(read_jsonl(settings.out / "metrics.jsonl"))[1:]
        samples = list(read_jsonl(settings.out / "samples.jsonl"))
    longest = [max(len(row["tokens"]) for row in samples if row["step"] == own["step"]) for own in rows]
    prompt = round(sum(len(row["prompt_tokens"]) for row in samples) / len(samples))
    job = Job(num=bench.prompts_per_step * settings.rollouts_per_prompt, tokens=median(row["length"] for row in rows),
              longest=round(median(longest)), prompt=prompt)  # fmt: skip
    shares = Shares(learning=bench.learning, reading=bench.learning, drawing=bench.drawing, kernels=bench.kernels)
    planned = seconds_of(config, torch.float32, workload(settings), job, here, shares, settings.micro_batch_tokens)
    print(f"{machine(torch.device('cpu'))}; {here.tflops * 1000:.0f} GFLOP/s, {here.gbs:.1f} GB/s; "
          f"{job.num} rollouts of {job.tokens:.0f} tokens\n")  # fmt: skip
    print("| seconds of a step | measured, median | planned | planned / measured |\n|---|---|---|---|")
    for name, column, parts in (("drawing", "generate_seconds", ["drawing"]),
                                ("learning", "train_seconds", ["learning", "optimizer"])):  # fmt: skip
        took, said = median(row[column] for row in rows), sum(planned[part] for part in parts)
        print(f"| {name} | {took:.2f} | {said:.2f} | {said / took:.2f} |")


if __name__ == "__main__":
    main(tyro.cli(Bench))
