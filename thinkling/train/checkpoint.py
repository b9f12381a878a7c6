"""Checkpoints of a training run: written whole or not at all, and enough to go on bit for bit.

A checkpoint is an ordinary model folder with one folder more, `training/`: the optimizer's state, the step, and last of
all a list of every file with its hash. A folder without a list that holds is no checkpoint. Two are kept, and
beside them the model that did best on held-out problems, if a run measures that. No random state has to be saved: every
stream is derived from the seed and the step.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import load_model, save_model
from thinkling.runs import write_json, write_text
from thinkling.train.lora import adapters, merged
from thinkling.train.optim import Optimizer

NOT_SAVED = (OSError, SafetensorError, UserError)  # a full disk, as each library says it
KEPT = 2
ADAPTERS = "adapters.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Where it lies, how many steps it has behind it, and how long they took."""

    folder: Path
    step: int
    seconds: float


def save(
    out: Path, step: int, seconds: float, model: LanguageModel, optimizer: Optimizer, sampler: dict | None = None
) -> Path:
    """Write OUT/checkpoints/step-NNNNN and remove all but the last KEPT; returns its folder.

    sampler: what it needs to go on, as JSON can hold it.

    Raises UserError if the disk does not take it; what was saved before stays as it was.
    """
    home = Path(out) / "checkpoints"
    folder, growing = home / f"step-{step:05d}", home / f"growing-{step:05d}"
    home.mkdir(parents=True, exist_ok=True)
    for stale in home.glob("growing-*"):  # what a run that was killed while it saved has left
        shutil.rmtree(stale)
    try:
        save_model(growing, model.network, model.tokenizer, weights=merged(model.network))
        tensors, plain = optimizer.state()
        (growing / "training").mkdir()
        if adapters(model.network):
            save_file(adapters(model.network), growing / "training" / ADAPTERS)
        save_file({name: t.contiguous() for name, t in tensors.items()}, growing / "training" / "optimizer.safetensors")
        state = {"step": step, "seconds": seconds, "optimizer": plain, "sampler": sampler}
        write_json(growing / "training" / "state.json", state)
        files = sorted(path for path in growing.rglob("*") if path.is_file())
        for path in files:
            flush(path)
        write_json(growing / "training" / "files.json", {str(p.relative_to(growing)): digest(p) for p in files})
        flush(growing / "training")
        flush(growing)
        if folder.exists():  # left by a run that was killed after it, and that now comes here again
            shutil.rmtree(folder)
        os.replace(growing, folder)
        flush(home)
    except NOT_SAVED as error:
        shutil.rmtree(growing, ignore_errors=True)
        raise UserError(f"{folder}: cannot be saved ({error}); earlier checkpoints are whole: make room, and start the "
                        "same command again to go on") from None  # fmt: skip
    for old in sorted(home.glob("step-*"))[:-KEPT]:
        shutil.rmtree(old)
    return folder


def save_best(out: Path, model: LanguageModel) -> Path:
    """Write OUT/checkpoints/best, an ordinary model folder without what training needs to go on."""
    home = Path(out) / "checkpoints"
    growing, folder, old = (home / name for name in ("growing-best", "best", "growing-old-best"))
    home.mkdir(parents=True, exist_ok=True)
    for stale in (growing, old):
        shutil.rmtree(stale, ignore_errors=True)
    try:
        save_model(growing, model.network, model.tokenizer, weights=merged(model.network))
        for path in growing.rglob("*"):
            flush(path)
        if folder.exists():
            os.replace(folder, old)
        os.replace(growing, folder)
        flush(home)
    except NOT_SAVED as error:
        raise UserError(f"{folder}: cannot be saved ({error}): make room, and start the same command again") from None
    shutil.rmtree(old, ignore_errors=True)
    return folder


def latest(out: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole, or None."""
    return next(whole(out), None)


def whole(out: Path) -> Iterator[Checkpoint]:
    """The checkpoints of a run that are whole, the newest first."""
    for folder in sorted((Path(out) / "checkpoints").glob("step-*"), reverse=True):
        if is_whole(folder):
            state = json.loads((folder / "training" / "state.json").read_text(encoding="utf-8"))
            yield Checkpoint(folder, state["step"], state["seconds"])


def is_whole(folder: Path) -> bool:
    """Are all files of the list there, with the hashes that it says?"""
    listed = folder / "training" / "files.json"
    try:
        files = json.loads(listed.read_text(encoding="utf-8"))
        return all(digest(folder / name) == wanted for name, wanted in files.items())
    except (OSError, ValueError):
        return False


def restore(checkpoint: Checkpoint, model: LanguageModel, optimizer: Optimizer) -> dict | None:
    """Put weights and optimizer back as they were, in place; returns what `save` was given of the sampler."""
    training, network = checkpoint.folder / "training", model.network
    if adapters(network):  # the rest is as it was before training
        mine, saved = adapters(network), load_file(training / ADAPTERS)
    else:
        whole = load_model(checkpoint.folder, dtype=network.dtype, device=network.device)
        mine, saved = dict(network.named_parameters()), dict(whole.named_parameters())
    with torch.no_grad():
        for name, weight in mine.items():
            weight.copy_(saved[name])
    state = json.loads((training / "state.json").read_text(encoding="utf-8"))
    optimizer.load_state(load_file(training / "optimizer.safetensors"), state["optimizer"])
    return state["sampler"]


def keep_rows(path: Path, num_steps: int) -> None:
    """Drop the rows of steps that the checkpoint does not have behind it, and a last line that was cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True):
        try:
            row = json.loads(line)
        except ValueError:
            continue
        if line.endswith("\n") and row["step"] < num_steps:
            kept.append(line)
    write_text(path, "".join(kept))


def digest(path: Path) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def flush(path: Path) -> None:
    """To the disk itself: a rename must not arrive there before what it names."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
