"""Runs of `thinkling eval` on a scripted model, made by the real command in a moment."""

import json
from pathlib import Path
from random import Random

import pytest
from scripted import Scripted, boxed

from thinkling import cli
from thinkling.commands import load
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling


def write_tasks(path: Path, num: int = 12) -> Path:
    rows = [{"question": f"What is {i} + {i}?", "reference": str(2 * i), "subject": ("even", "odd")[i % 2]}
            for i in range(num)]  # fmt: skip
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def adds(skill: float) -> Scripted:
    """Is right about N + N as often as `skill` says, and less often the larger N is; else it says one more, or two."""

    def answer(prompt: str, sampling: Sampling) -> Completion:
        number = int(prompt.split(" + ")[1].split("?")[0])
        random = Random(f"{number}/{sampling.seed}")
        off = 0 if random.random() < skill - number / 40 else random.choice([1, 2])
        return boxed(2 * number + off, -random.random(), -0.5)

    return Scripted(answer)


def run(monkeypatch: pytest.MonkeyPatch, model: Scripted, tasks: Path, out: Path, *flags: str) -> Path:
    monkeypatch.setattr(load, "model_of", lambda settings: model)
    cli.main(["eval", "--tasks", str(tasks), "--out", str(out), *flags])
    return out
