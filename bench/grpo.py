"""Seconds per GRPO step beside TRL's GRPOTrainer: same model folder, prompts, reward and objective, in one run.

It needs an environment that has TRL (bench/README.md). Each side trains its own copy in a process of its own, and the
steps alternate. The same seed does not draw the same rollouts, so seconds per 1,000 generated tokens stand beside
seconds per step. Ours skips rollouts without an advantage (their gradient is zero); `--reward alternate` leaves none
to skip. `--size` takes random weights of that shape, whose answers never end before `--max-tokens`: the longest case.
Left out: TRL with vLLM, which needs a GPU and an engine from outside.
"""

import os
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Literal

import torch
import tyro
from sides import Side, in_turns, machine, need, peak_bytes, spread, synchronize, timed, weights_of

from thinkling.commands.grpo import Grpo, lora_config, optimizer_config, rollout_config, update_config
from thinkling.commands.load import language_model
from thinkling.device import pick_device
from thinkling.errors import UserError
from thinkling.generate.sampling import Sampling
from thinkling.model.tokenizer import Tokenizer
from thinkling.problem import Problem
from thinkling.runs import write_json
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems
from thinkling.train.lora import add_adapters
from thinkling.train.optim import Optimizer
from thinkling.train.rl.rollout import roll_out
from thinkling.train.rl.update import Updater
from thinkling.verify.math.grade import grade

LONGEST_PROMPT = 256  # tokens


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure GRPO steps beside TRL's. Example: .venv-trl/bin/python bench/grpo.py --out runs/grpo-bench.json"""

    model: str = "thinkling-base"
    """A built-in model's name or a checkpoint's folder."""
    size: str | None = None
    """Random weights of this shape instead (a name from thinkling/model/config.py), with --model's tokenizer."""
    peer: bool = True
    """Without it ours alone."""
    rounds: int = 3
    """Measured rounds, after one that warms up: one step of TRL and two of ours, all on the same prompts."""
    prompts: int = 16
    rollouts: int = 8
    max_tokens: int = 160
    temperature: float = 1.0
    lr: float = 1e-9
    """Next to nothing, so that both sides go on drawing answers of the same lengths; the work is the same."""
    reward: Literal["grade", "alternate"] = "grade"
    """grade: 1 for a right answer. alternate: every second rollout gets 1, so that no rollout has advantage zero."""
    recompute: bool = False
    """Gradient checkpointing, on both sides."""
    optimizer: Literal["adamw", "adamw-8bit", "muon"] = "adamw"
    """Ours; TRL has AdamW of 32 bits."""
    lora_rank: int = 0
    """Train adapters on every linear layer inside the decoder layers, on both sides; TRL then needs peft."""
    trl_batch: int | None = None
    """Rollouts in one of TRL's forward and backward passes; without it all of a step's."""
    device: str = "auto"
    out: Path | None = None
    """Also write everything measured as JSON."""


# --- each side: on every request one step; answers with its seconds, tokens, mean reward and peak memory ---


def ours(pipe: object, bench: Bench, folder: Path, batches: list[list[Problem]]) -> None:
    settings = Grpo(
        out=folder, model=str(folder), prompts_per_step=bench.prompts, rollouts_per_prompt=bench.rollouts,
        max_tokens=bench.max_tokens, temperature=bench.temperature, lr=bench.lr, device=bench.device,
        max_rows=bench.prompts * bench.rollouts, max_length=bench.max_tokens + LONGEST_PROMPT,
        recompute=bench.recompute, optimizer=bench.optimizer, lora_rank=bench.lora_rank,
    )  # fmt: skip
    model = language_model(settings)
    lora = lora_config(settings)
    if lora is not None:
        add_adapters(model.network, lora.rank, lora.alpha, lora.seed)
    optimizer = Optimizer(model.network, optimizer_config(settings))
    updater = Updater(model, optimizer, settings.objective, rollout_config(settings), update_config(settings))

    def step(number: int, batch: list[Problem]) -> tuple[list, float]:
        sampling = Sampling(temperature=bench.temperature, max_tokens=bench.max_tokens, seed=number)
        draw = partial(roll_out, model, batch, bench.rollouts, sampling, settings.template)
        groups, drawing = timed(draw, model.network.device)
        if bench.reward == "alternate":
            groups = [[replace(rollout, reward=float(i % 2)) for i, rollout in enumerate(group)] for group in groups]
        groups = updater.prepare(groups)
        updater.update(groups)
        return [rollout for group in groups for rollout in group], drawing

    number = 0
    while True:
        batch = batches[pipe.recv()]
        (rollouts, drawing), seconds = timed(lambda b=batch, n=number: step(n, b), model.network.device)
        number += 1
        tokens = [len(rollout.completion.tokens) for rollout in rollouts]
        learnt = statistics.mean(rollout.advantage != 0 for rollout in rollouts)
        reward = statistics.mean(rollout.reward for rollout in rollouts)
        peak = peak_bytes(model.network.device)
        pipe.send({"seconds": seconds, "drawing": drawing, "tokens": tokens, "reward": reward,
                   "with_advantage": learnt, "peak": peak})  # fmt: skip


def trl(pipe: object, bench: Bench, folder: Path, batches: list[list[Problem]]) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is in the folder
    from datasets import Dataset
    from transformers import PrinterCallback, TrainerCallback
    from transformers.utils import logging
    from trl import GRPOConfig, GRPOTrainer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    device = pick_device(bench.device)
    last = {}  # what the reward function saw of the step under way

    def reward(completions: list[str], completion_ids: list[list[int]], reference: list[str], **_: object) -> list:
        values = [float(grade(text, wanted).correct) for text, wanted in zip(completions, reference, strict=True)]
        if bench.reward == "alternate":
            values = [float(i % 2) for i in range(len(completions))]
        groups = [values[i : i + bench.rollouts] for i in range(0, len(values), bench.rollouts)]
        learnt = statistics.mean(len(set(group)) > 1 for group in groups)
        tokens = [len(ids) for ids in completion_ids]
        last.update(tokens=tokens, reward=statistics.mean(values), with_advantage=learnt)
        return values

    class Clock(TrainerCallback):
        """Waits for its turn before each step; answers once the trainer is idle again, so that no work overlaps."""

        result: dict | None = None

        def on_step_begin(self, *_: object, **__: object) -> None:
            if self.result:
                pipe.send(self.result)
            pipe.recv()
            synchronize(device)
            self.started = time.perf_counter()

        def on_step_end(self, args: GRPOConfig, *_: object, **__: object) -> None:
            synchronize(device)
            seconds = time.perf_counter() - self.started
            used = {name: getattr(args, name) for name in settings}
            self.result = {"seconds": seconds, **last, "peak": peak_bytes(device), "settings": used}

    stock = [problem for batch in batches for problem in batch]
    rows = [{"prompt": render("plain", problem.question), "reference": problem.reference} for problem in stock]
    settings, clock = trl_settings(bench, device), Clock()
    quiet = {"logging_strategy": "no", "save_strategy": "no", "report_to": "none", "disable_tqdm": True}
    loading = {"dtype": "float32"}  # with bf16=True autocast does the rest, as TRL has it
    adapters = None
    if bench.lora_rank:
        from peft import LoraConfig

        adapters = LoraConfig(r=bench.lora_rank, lora_alpha=32, target_modules="all-linear", task_type="CAUSAL_LM")
    with tempfile.TemporaryDirectory() as out:
        trainer = GRPOTrainer(
            model=str(folder), reward_funcs=reward, train_dataset=Dataset.from_list(rows), callbacks=[clock],
            peft_config=adapters,
            args=GRPOConfig(output_dir=out, model_init_kwargs=loading, **quiet, **settings),
        )  # fmt: skip
        tokenizer = Tokenizer.load(folder)
        theirs = trainer.processing_class(text=[row["prompt"] for row in rows])["input_ids"]
        if theirs != [tokenizer.encode(render("plain", problem.question)) for problem in stock]:
            raise UserError("TRL reads the prompts as other tokens than ours, so the work is not the same")
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    pipe.send(clock.result)


def trl_settings(bench: Bench, device: torch.device) -> dict:
    """Ours in TRL's words; where TRL has a choice that ours lacks, the one that is faster for a model this small."""
    num_rollouts = bench.prompts * bench.rollouts
    batch = bench.trl_batch or num_rollouts
    if num_rollouts % batch:
        raise UserError(f"--trl-batch {batch} does not divide the step's {num_rollouts} rollouts")
    return {
        "loss_type": "dr_grpo", "scale_rewards": "none", "beta": 0.0, "epsilon": 0.2, "num_iterations": 1,
        "mask_truncated_completions": False, "num_generations": bench.rollouts, "per_device_train_batch_size": batch,
        "gradient_accumulation_steps": num_rollouts // batch, "max_completion_length": bench.max_tokens,
        "temperature": bench.temperature, "top_k": 0, "top_p": 1.0, "use_vllm": False, "learning_rate": bench.lr,
        "lr_scheduler_type": "constant", "optim": "adamw_torch", "adam_beta2": 0.95, "adam_epsilon": 1e-10,
        "weight_decay": 0.0, "max_grad_norm": 1.0, "gradient_checkpointing": bench.recompute,
        "bf16": device.type == "cuda", "use_cpu": device.type == "cpu",
        "max_steps": bench.rounds + 1, "shuffle_dataset": False,
    }  # fmt: skip


# --- the measurement ---


def measure(bench: Bench, folder: Path) -> dict[str, list[dict]]:
    """A round is ours, TRL, ours."""
    stock = problems("train", bench.prompts * (bench.rounds + 1))
    batches = [stock[i : i + bench.prompts] for i in range(0, len(stock), bench.prompts)]
    order = [ours, trl, ours] if bench.peer else [ours]
    sides = {side.__name__: Side(side, bench, folder, batches) for side in dict.fromkeys(order)}

    def tell(step: dict) -> str:
        drawing = f", {step['drawing']:.2f} s to draw" if "drawing" in step else ""
        return f"{statistics.mean(step['tokens']):.0f} tokens a rollout{drawing}"

    return in_turns(sides, [side.__name__ for side in order], bench.rounds, tell)


def summary(steps: list[dict]) -> dict:
    return {
        "seconds": [step["seconds"] for step in steps],
        "seconds_per_1000_tokens": [1000 * step["seconds"] / sum(step["tokens"]) for step in steps],
        "tokens_per_rollout": statistics.mean(n for step in steps for n in step["tokens"]),
        "reward": statistics.mean(step["reward"] for step in steps),
        "with_advantage": statistics.mean(step["with_advantage"] for step in steps),
        "peak": steps[-1]["peak"],
    }


def main(bench: Bench) -> None:
    needed = ["trl", "transformers", "accelerate", *(["peft"] if bench.lora_rank else [])] if bench.peer else []
    need(*needed)
    device = pick_device(bench.device)
    versions = {name: version(name) for name in needed}
    print(", ".join([machine(device), *(f"{name} {number}" for name, number in versions.items())]))
    what = f"{bench.size}, random weights" if bench.size else bench.model
    print(f"{what}; {bench.prompts} prompts x {bench.rollouts} rollouts of at most {bench.max_tokens} tokens; "
          f"reward: {bench.reward}", flush=True)  # fmt: skip
    with tempfile.TemporaryDirectory() as temporary:
        folder = weights_of(bench.model, bench.size, Path(temporary), torch.bfloat16)
        steps = measure(bench, folder)
    found = {name: summary(side) for name, side in steps.items()}
    about = {"machine": machine(device), "versions": versions, "bench": bench}
    if bench.peer:
        about |= {"trl_settings": steps["trl"][0]["settings"], "ratios": ratios(found)}
        print("TRL's settings: " + ", ".join(f"{name}={value}" for name, value in about["trl_settings"].items()))
    for name, side in found.items():
        memory = ", ".join(f"{kind} {size / 2**20:,.0f} MiB" for kind, size in side["peak"].items())
        print(f"\n{name}: {spread(side['seconds'], 2)} seconds per step, median (min-max)\n"
              f"  {spread(side['seconds_per_1000_tokens'], 3)} seconds per 1,000 generated tokens\n"
              f"  {side['tokens_per_rollout']:.1f} tokens a rollout, mean reward {side['reward']:.2f}, "
              f"{side['with_advantage']:.0%} of rollouts with an advantage, peak {memory}")  # fmt: skip
    if bench.peer:
        per_step, per_token = about["ratios"].values()
        print(f"\nTRL / ours: {per_step:.2f}x the seconds per step, {per_token:.2f}x the seconds per token")
    if bench.out:
        write_json(bench.out, about | {"summary": found, "steps": steps})


def ratios(found: dict[str, dict]) -> dict[str, float]:
    """TRL's medians over ours."""
    return {
        key: statistics.median(found["trl"][key]) / statistics.median(found["ours"][key])
        for key in ("seconds", "seconds_per_1000_tokens")
    }


if __name__ == "__main__":
    try:
        main(tyro.cli(Bench))
    except UserError as error:
        sys.exit(str(error))
