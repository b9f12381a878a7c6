"""Seconds per step of on-policy distillation beside TRL's DistillationTrainer: same student, teacher, prompts and loss.

It needs an environment that has TRL (bench/README.md). The student answers, and the reverse KL of its whole next-token
distributions from the teacher's, averaged over the step's tokens, is descended once. Each side trains its own copy in a
process of its own, and the steps alternate. The same seed does not draw the same answers, so seconds per 1,000
generated tokens stand beside seconds per step; the learning rate is next to nothing, so that the mean loss of both must
agree within its spread over samples: it is the check that the work was the same. Left out: TRL with vLLM.
"""

import os
import statistics
import sys
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import tyro
from sides import Side, clock, in_turns, machine, need, peak_bytes, spread, timed

from thinkling.commands.distill import Distill, load_teacher, rollout_config, soft_config
from thinkling.commands.load import language_model
from thinkling.commands.training import optimizer_config
from thinkling.device import pick_device
from thinkling.errors import UserError
from thinkling.model.weights import resolve
from thinkling.problem import Problem
from thinkling.runs import write_json
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems
from thinkling.train.distill.soft import SoftLoss
from thinkling.train.optim import Optimizer
from thinkling.train.rl.config import UpdateConfig
from thinkling.train.rl.objective import Objective
from thinkling.train.rl.rollout import roll_out
from thinkling.train.rl.update import Updater


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure steps of on-policy distillation beside TRL's. Example: .venv-trl/bin/python bench/on_policy.py"""

    model: str = "thinkling-base"
    """The student: a built-in model's name or a checkpoint's folder."""
    teacher: str = "thinkling-reasoner"
    """The teacher, likewise."""
    peer: bool = True
    """Without it ours alone."""
    rounds: int = 3
    """Measured rounds, after one that warms up: one step of TRL and two of ours, all on the same prompts."""
    prompts: int = 16
    samples: int = 4
    """Answers to each prompt."""
    max_tokens: int = 160
    lr: float = 1e-9
    """Next to nothing, so that both sides go on drawing answers of the same lengths."""
    device: str = "auto"
    out: Path | None = None
    """Also write everything measured as JSON."""


# --- each side: on every request one step; answers with its seconds, generated tokens, loss and peak memory ---


def ours(pipe: object, bench: Bench, batches: list[list[Problem]]) -> None:
    settings = Distill(
        out=Path("unused"), model=bench.model, teacher=bench.teacher, score="full", prompts_per_step=bench.prompts,
        rollouts_per_prompt=bench.samples, max_tokens=bench.max_tokens, temperature=1.0, lr=bench.lr,
        device=bench.device, dtype="float32", template="plain",
    )  # fmt: skip
    model = language_model(settings)
    rollout = rollout_config(settings)
    loss = SoftLoss(load_teacher(settings, model).network, soft_config(settings, on_policy=True))
    updater = Updater(
        model, Optimizer(model.network, optimizer_config(settings)),
        Objective(advantage="mean", surrogate="none", aggregation="tokens"), rollout, UpdateConfig(), token_loss=loss,
    )  # fmt: skip

    def step(batch: list[Problem]) -> tuple[list, dict]:
        groups = roll_out(model, batch, bench.samples, rollout.sampling, settings.template)
        means, _ = updater.update(updater.prepare(groups))
        return [rollout for group in groups for rollout in group], means

    while True:
        batch = batches[pipe.recv()]
        (rollouts, means), seconds = timed(lambda b=batch: step(b), model.network.device)
        tokens = sum(len(rollout.completion.tokens) for rollout in rollouts)
        pipe.send({"seconds": seconds, "tokens": tokens, "loss": means["kl"],
                   "peak": peak_bytes(model.network.device)})  # fmt: skip


def trl(pipe: object, bench: Bench, batches: list[list[Problem]]) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is in the folders
    from datasets import Dataset
    from transformers import PrinterCallback
    from transformers.utils import logging
    from trl import DistillationConfig, DistillationTrainer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore")
    device = pick_device(bench.device)
    rows = [{"prompt": render("plain", problem.question)}
            for batch in batches for problem in batch for _ in range(bench.samples)]  # fmt: skip
    seen: dict = {}

    class Counting(DistillationTrainer):
        def _compute_loss(self, student: object, inputs: dict, num_items_in_batch: object) -> object:
            seen["tokens"] = int(inputs["completion_mask"].sum())
            return super()._compute_loss(student, inputs, num_items_in_batch)

    with tempfile.TemporaryDirectory() as out:
        trainer = Counting(
            model=str(resolve(bench.model)), teacher_model=str(resolve(bench.teacher)),
            train_dataset=Dataset.from_list(rows), callbacks=[clock(pipe, device, lambda: seen)],
            args=DistillationConfig(
                output_dir=out, per_device_train_batch_size=bench.prompts * bench.samples, beta=1.0, temperature=1.0,
                top_k=0, top_p=1.0, max_completion_length=bench.max_tokens, learning_rate=bench.lr,
                lr_scheduler_type="constant", optim="adamw_torch", adam_beta2=0.95, adam_epsilon=1e-10,
                weight_decay=0.0, max_grad_norm=1.0, gradient_checkpointing=False, shuffle_dataset=False,
                max_steps=bench.rounds + 1, logging_steps=1, save_strategy="no", report_to="none", disable_tqdm=True,
                bf16=device.type == "cuda", use_cpu=device.type == "cpu", model_init_kwargs={"dtype": "float32"},
                teacher_model_init_kwargs={"dtype": "float32"},
            ),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    pipe.recv()


# --- the measurement ---


def measure(bench: Bench) -> dict[str, list[dict]]:
    """A round is ours, TRL, ours."""
    stock = problems("train", bench.prompts * (bench.rounds + 1))
    batches = [stock[i : i + bench.prompts] for i in range(0, len(stock), bench.prompts)]
    order = [ours, trl, ours] if bench.peer else [ours]
    sides = {side.__name__: Side(side, bench, batches) for side in dict.fromkeys(order)}
    return in_turns(sides, [side.__name__ for side in order], bench.rounds,
                    lambda step: f"{step['tokens']:,} tokens, loss {step['loss']:.4f}")  # fmt: skip


def main(bench: Bench) -> None:
    needed = ["trl", "transformers", "accelerate"] if bench.peer else []
    need(*needed)
    device = pick_device(bench.device)
    print(", ".join([machine(device), *(f"{name} {version(name)}" for name in needed)]))
    print(f"{bench.model} learns from {bench.teacher}; {bench.prompts} prompts x {bench.samples} answers", flush=True)
    steps = measure(bench)
    speed = {name: [1000 * step["seconds"] / step["tokens"] for step in side] for name, side in steps.items()}
    for name, side in steps.items():
        loss = sum(step["loss"] * step["tokens"] for step in side) / sum(step["tokens"] for step in side)
        memory = ", ".join(f"{kind} {size / 2**20:,.0f} MiB" for kind, size in side[-1]["peak"].items())
        print(f"\n{name}: {spread([step['seconds'] for step in side], 2)} seconds per step, median (min-max)\n"
              f"  {spread(speed[name], 3)} seconds per 1,000 generated tokens\n"
              f"  {sum(step['tokens'] for step in side):,} tokens, mean loss {loss:.4f}, peak {memory}")  # fmt: skip
    if bench.peer:
        per_token = statistics.median(speed["trl"]) / statistics.median(speed["ours"])
        print(f"\nTRL / ours: {per_token:.2f}x the seconds per generated token")
    if bench.out is not None:
        write_json(bench.out, {"machine": machine(device), "bench": bench, "steps": steps})


if __name__ == "__main__":
    try:
        main(tyro.cli(Bench))
    except UserError as error:
        sys.exit(str(error))
