"""Tokens per second of supervised fine-tuning beside TRL's SFTTrainer: same model folder, tokens and loss, in one run.

It needs an environment that has TRL (bench/README.md). Both sides read the same examples once, packed, each in a
process of its own; their steps alternate. TRL packs rows of --length tokens (best fit, padding-free), ours passes of so
many. The learning rate is next to nothing, so that the mean loss over all trained tokens must be the same: it is the
check that the work was the same. `--size` takes random weights of that shape.
"""

import os
import statistics
import tempfile
import warnings
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import torch
import tyro
from sides import Side, clock, machine, need, peak_bytes, timed, weights_of

from thinkling.device import pick_device
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.runs import write_json
from thinkling.scale.prompts import prompt_of
from thinkling.tasks.builtin import problems
from thinkling.train.config import OptimizerConfig
from thinkling.train.sft.config import SftConfig
from thinkling.train.sft.trainer import Trainer

NEXT_TO_NOTHING = 1e-9


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure SFT beside TRL's. Example: .venv-trl/bin/python bench/sft.py --out runs/sft-bench.json"""

    model: str = "thinkling-base"
    """A built-in model's name or a checkpoint's folder."""
    size: str | None = None
    """Random weights of this shape instead (a name from thinkling/model/config.py), with --model's tokenizer."""
    peer: bool = True
    """Without it ours alone."""
    padded: bool = False
    """TRL as it comes: a row for each example, padded, instead of packed."""
    examples: int = 1024
    """Worked solutions of built-in problems."""
    batch_size: int = 64
    """Examples of one of our steps; TRL's have about as many tokens."""
    length: int = 1024
    """Tokens of one of TRL's packed rows."""
    micro_batch_tokens: int = 4096
    """Tokens of one of our passes."""
    warmup: int = 2
    """Steps of each side that are not counted."""
    device: str = "auto"
    out: Path | None = None
    """Also write everything measured as JSON."""


def examples_of(model: LanguageModel, num: int) -> list[Completion]:
    """Questions as `plain` puts them, and worked solutions with their end."""
    found = []
    for problem in problems("train", num):
        reply = model.tokenizer.encode(f"{problem.solution}\n\\boxed{{{problem.reference}}}")
        tokens = (*reply, model.tokenizer.stop_ids[0])
        found.append(Completion(tuple(prompt_of(model, "plain", problem.question)), tokens, (), "stop"))
    return found


# --- each side: on every request one step; answers with its seconds, tokens, loss and peak memory ---


def ours(pipe: object, bench: Bench, folder: Path) -> None:
    model = LanguageModel.load(str(folder), bench.device, max_length=4096)
    config = SftConfig(epochs=1, batch_size=bench.batch_size, micro_batch_tokens=bench.micro_batch_tokens)
    examples = examples_of(model, bench.examples)
    trainer = Trainer(model, examples, config, OptimizerConfig(lr=NEXT_TO_NOTHING))
    for step in range(trainer.num_steps):
        pipe.recv()
        metrics, seconds = timed(lambda s=step: trainer.take(s), model.network.device)
        pipe.send({"seconds": seconds, "read": metrics.read, "trained": metrics.tokens, "loss": metrics.loss,
                   "peak": peak_bytes(model.network.device)})  # fmt: skip
    pipe.recv()
    pipe.send(None)


def trl(pipe: object, bench: Bench, folder: Path) -> None:
    os.environ["HF_HUB_OFFLINE"] = "1"  # everything is in the folder
    from datasets import Dataset
    from transformers import PrinterCallback
    from transformers.utils import logging
    from trl import SFTConfig as Config
    from trl import SFTTrainer

    logging.set_verbosity_error()
    logging.disable_progress_bar()
    warnings.simplefilter("ignore", FutureWarning)
    device = pick_device(bench.device)
    examples = examples_of(LanguageModel.load(str(folder), "cpu", max_length=4096), bench.examples)
    rows = [{"input_ids": [*e.prompt_tokens, *e.tokens],
             "completion_mask": [0] * len(e.prompt_tokens) + [1] * len(e.tokens)} for e in examples]  # fmt: skip
    tokens = sum(len(row["input_ids"]) for row in rows) / len(rows) * bench.batch_size
    batch = bench.batch_size if bench.padded else max(1, round(tokens / bench.length))
    batches: list[dict] = []  # the loader is one ahead of the steps
    with tempfile.TemporaryDirectory() as out:
        trainer = SFTTrainer(
            model=str(folder), train_dataset=Dataset.from_list(rows),
            callbacks=[clock(pipe, device, lambda: batches.pop(0))],
            args=Config(
                output_dir=out, num_train_epochs=1, per_device_train_batch_size=batch, packing=not bench.padded,
                max_length=bench.length, completion_only_loss=True, learning_rate=NEXT_TO_NOTHING,
                shuffle_dataset=False, lr_scheduler_type="constant", optim="adamw_torch", weight_decay=0.0,
                logging_steps=1, logging_first_step=True, save_strategy="no", report_to="none", disable_tqdm=True,
                bf16=device.type == "cuda", use_cpu=device.type == "cpu", gradient_checkpointing=False,
                model_init_kwargs={"dtype": "float32"}, dataloader_pin_memory=False,
            ),
        )  # fmt: skip
        collate = trainer.data_collator

        def counting(features: list) -> dict:
            found = collate(features)
            mask = found.get("attention_mask")
            read = int(found["input_ids"].numel() if mask is None else mask.sum())
            batches.append({"read": read, "trained": int((found["labels"] != -100).sum())})
            return found

        trainer.data_collator = counting
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    pipe.recv()
    pipe.send(None)


# --- the measurement ---


def measure(bench: Bench, folder: Path) -> dict[str, list[dict]]:
    """All steps of both sides, in turns, as long as each has some."""
    sides = {work.__name__: Side(work, bench, folder) for work in ((ours, trl) if bench.peer else (ours,))}
    steps: dict[str, list[dict]] = {name: [] for name in sides}
    waiting = list(sides)
    while waiting:
        for name in list(waiting):
            answer = sides[name].ask()
            if answer is None:
                waiting.remove(name)
                continue
            steps[name].append(answer)
            print(f"  {name:5}{answer['seconds']:8.2f} s, {answer['read']:,} tokens, loss {answer['loss']:.4f}",
                  flush=True)  # fmt: skip
    for side in sides.values():
        side.stop()
    return steps


def summary(steps: list[dict], warmup: int) -> dict:
    """loss: over all steps, by their trained tokens."""
    counted = steps[warmup:]
    trained = sum(step["trained"] for step in steps)
    return {
        "tokens_per_second": sum(s["read"] for s in counted) / sum(s["seconds"] for s in counted),
        "by_step": [step["read"] / step["seconds"] for step in counted],
        "loss": sum(step["loss"] * step["trained"] for step in steps) / trained,
        "read": sum(step["read"] for step in steps), "trained": trained, "peak": steps[-1]["peak"],
    }  # fmt: skip


def main(bench: Bench) -> None:
    needed = ["trl", "transformers", "accelerate"] if bench.peer else []
    need(*needed)
    device = pick_device(bench.device)
    print(", ".join([machine(device), *(f"{name} {version(name)}" for name in needed)]))
    with tempfile.TemporaryDirectory() as temporary:
        folder = weights_of(bench.model, bench.size, Path(temporary), torch.float32)
        steps = measure(bench, folder)
    found = {name: summary(side, bench.warmup) for name, side in steps.items()}
    for name, side in found.items():
        memory = ", ".join(f"{kind} {size / 2**20:,.0f} MiB" for kind, size in side["peak"].items())
        low, high = min(side["by_step"]), max(side["by_step"])
        print(f"\n{name}: {side['tokens_per_second']:,.0f} tokens per second (steps: median "
              f"{statistics.median(side['by_step']):,.0f}, {low:,.0f}-{high:,.0f})\n"
              f"  {side['read']:,} tokens read, {side['trained']:,} trained, mean loss {side['loss']:.4f}, {memory}",
              flush=True)  # fmt: skip
    if bench.peer:
        ratio = found["ours"]["tokens_per_second"] / found["trl"]["tokens_per_second"]
        print(f"\nours / TRL: {ratio:.2f} times the tokens per second")
    if bench.out is not None:
        write_json(bench.out, {"bench": bench, "machine": machine(device), "found": found, "steps": steps})


if __name__ == "__main__":
    main(tyro.cli(Bench))
