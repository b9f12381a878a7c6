"""Checkpoints of a training run: written whole or not at all, and enough to go on bit for bit.

A checkpoint is an ordinary model folder with one folder more, `training/`: the optimizer's state, the step, and last of
all a list of every file with its hash. A folder without a list that holds is no checkpoint. The last two are kept, up
to two older ones that a collapse may need (`retained`), and beside them the model that did best on held-out problems,
if a run measures that. No random state has to be saved: every stream is derived from the seed and the step.

Several ranks write the same as one: tensors are put together one by one, and rank 0 writes them. So a run may resume on
any number of ranks; what limits it is rank 0's main memory, 14 bytes a weight where the run's dtype is bfloat16.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file

from thinkling.distributed import barrier, is_first
from thinkling.errors import NO_ROOM, NotWritten, UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.adapter import write_adapter
from thinkling.model.weights import load_model, save_model
from thinkling.runs import write_json, write_text
from thinkling.train.lora import adapter_of, adapters, merged
from thinkling.train.optim import Optimizer

NOT_SAVED = (OSError, SafetensorError, NotWritten)  # a full disk, as each library says it
KEPT = 2
TRAINING = "training"  # the folder, in a checkpoint, of what a model needs no more once it is trained
ADAPTERS = "adapters.safetensors"


@dataclass(frozen=True)
class Checkpoint:
    """Where it lies, how many steps it has behind it, and how long they took."""

    folder: Path
    step: int
    seconds: float


def save(out: Path, step: int, seconds: float, fill: Callable[[Path], None], window: int = 0) -> Path:
    """Write OUT/checkpoints/step-NNNNN, remove those that `retained` does not name, and return its folder.

    fill: writes into the folder what the run needs to resume (`save_model_state`, for one); on another rank than the
    first it only gives its share. window: how many steps a collapse may take to be seen.

    Raises UserError if the disk does not take it; what was saved before stays as it was.
    """
    home = Path(out) / "checkpoints"
    folder, growing = home / f"step-{step:05d}", home / f"growing-{step:05d}"
    if not is_first():
        fill(growing)
        barrier()
        return folder
    home.mkdir(parents=True, exist_ok=True)
    try:
        fill(growing)
        (growing / TRAINING).mkdir(parents=True, exist_ok=True)
        write_json(growing / TRAINING / "progress.json", {"step": step, "seconds": seconds})
        files = sorted(path for path in growing.rglob("*") if path.is_file())
        for path in files:
            flush(path)
        write_json(growing / TRAINING / "files.json", {str(p.relative_to(growing)): digest(p) for p in files})
        flush(growing / TRAINING)
        flush(growing)
        if folder.exists():  # left by a run that was killed after it, and that now comes here again
            shutil.rmtree(folder)
        os.replace(growing, folder)
        flush(home)
    except NOT_SAVED as error:
        shutil.rmtree(growing, ignore_errors=True)
        raise UserError(f"{folder}: cannot be saved ({why(error, growing, folder)}); earlier checkpoints are whole: "
                        "make room, or make the folder writable, and start the same command again to resume"
                        ) from None  # fmt: skip
    kept = retained((step_of(path) for path in folders(out)), window)
    for old in folders(out):
        if step_of(old) not in kept:
            shutil.rmtree(old)
    barrier()
    return folder


def retained(steps: Iterable[int], window: int) -> set[int]:
    """Which checkpoints stay: the newest KEPT; the newest that has `window` steps behind it, for a run that must be
    rolled back; and the oldest of those that do not yet, which will take its place. So the one to roll back to is never
    older than about twice the window, however often a run saves, and four checkpoints are the most."""
    ordered = sorted(steps)
    settled = [step for step in ordered if step <= ordered[-1] - window]
    recent = ordered[len(settled) :]
    return {*ordered[-KEPT:], *settled[-1:], *recent[:1]}


def sweep(out: Path) -> None:
    """Remove what a run that was killed while it saved has left; the caller holds the run's lock."""
    home = Path(out) / "checkpoints"
    if (home / "growing-old-best").exists() and not (home / "best").exists():  # killed between two renames
        os.replace(home / "growing-old-best", home / "best")
    for stale in [*home.glob("growing-*"), *home.glob(".growing-*")]:
        shutil.rmtree(stale)


def save_best(out: Path, fill: Callable[[Path], None]) -> Path:
    """Write OUT/checkpoints/best, an ordinary model folder (`fill`) without what training needs to resume."""
    home = Path(out) / "checkpoints"
    growing, folder, old = (home / name for name in ("growing-best", "best", "growing-old-best"))
    home.mkdir(parents=True, exist_ok=True)
    try:
        fill(growing)
        for path in growing.rglob("*"):
            flush(path)
        if folder.exists():
            os.replace(folder, old)
        os.replace(growing, folder)
        flush(home)
    except NOT_SAVED as error:
        raise UserError(f"{folder}: cannot be saved ({why(error, growing, folder)}): make room, or make the folder "
                        "writable, and start the same command again") from None  # fmt: skip
    shutil.rmtree(old, ignore_errors=True)
    return folder


def why(error: Exception, growing: Path, folder: Path) -> str:
    """What the disk said, of the place that was meant; what to do about it is said by whoever says this."""
    return str(error).replace(str(growing), str(folder)).replace(f": {NO_ROOM}", "")


def latest(out: Path) -> Checkpoint | None:
    """The newest checkpoint of a run that is whole, or None."""
    return next(whole(out), None)


def folders(out: Path) -> list[Path]:
    """The checkpoints of a run, whole or not, by their step: the newest last."""
    found = (Path(out) / "checkpoints").glob("step-*")
    return sorted((path for path in found if path.name.removeprefix("step-").isdigit()), key=step_of)


def step_of(folder: Path) -> int:
    return int(folder.name.removeprefix("step-"))


def whole(out: Path) -> Iterator[Checkpoint]:
    """The checkpoints of a run that are whole, the newest first."""
    for folder in reversed(folders(out)):
        if is_whole(folder):
            state = json.loads((folder / TRAINING / "progress.json").read_text(encoding="utf-8"))
            yield Checkpoint(folder, state["step"], state["seconds"])


def is_whole(folder: Path) -> bool:
    """Are all files of the list there, with the hashes that it says?"""
    listed = folder / TRAINING / "files.json"
    try:
        files = json.loads(listed.read_text(encoding="utf-8"))
        return all(digest(folder / name) == wanted for name, wanted in files.items())
    except (OSError, ValueError):
        return False


def save_model_state(folder: Path, model: LanguageModel, optimizer: Optimizer, state: dict | None = None) -> None:
    """Write a model, adapters merged, as an ordinary model folder, and behind it what training it further needs; the
    adapters also on their own, in PEFT's layout, in `adapter/`.

    state: what else must be known to resume, as JSON can hold it.
    """
    tensors, plain = optimizer.state()
    if not is_first():
        return
    save_weights(folder, model)
    training = folder / TRAINING
    training.mkdir(parents=True, exist_ok=True)
    if adapters(model.network):
        save_file(adapters(model.network), training / ADAPTERS)
        write_adapter(folder / "adapter", adapter_of(model.network), model.name)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, training / "optimizer.safetensors")
    write_json(training / "state.json", {"optimizer": plain, "state": state})


def save_weights(folder: Path, model: LanguageModel, with_head: bool = False) -> None:
    """Write a model as an ordinary model folder, adapters merged, without what training needs to resume.

    with_head: a head that is tied to the embedding is written by its own name, too. vLLM on a CPU keeps a packed copy
    of the head, and packs it anew only where a checkpoint that it reloads names it.
    """
    weights = merged(model.network)
    if with_head and model.network.config.tie_word_embeddings:
        weights |= {"lm_head.weight": weights["model.embed_tokens.weight"].to("cpu", copy=True)}  # no tensor twice
    save_model(folder, model.network, model.tokenizer, weights=weights)


def restore_model_state(folder: Path, model: LanguageModel, optimizer: Optimizer) -> dict | None:
    """Put weights and optimizer back as they were, in place; returns the `state` that was saved."""
    training, network = folder / TRAINING, model.network
    if adapters(network):  # the rest is as it was before training
        mine, saved = adapters(network), load_file(training / ADAPTERS)
    else:
        whole = load_model(folder, dtype=network.dtype, device=network.device)
        mine, saved = dict(network.named_parameters()), dict(whole.named_parameters())
    with torch.no_grad():
        for name, weight in mine.items():
            weight.copy_(saved[name])
    stored = json.loads((training / "state.json").read_text(encoding="utf-8"))
    optimizer.load_state(load_file(training / "optimizer.safetensors"), stored["optimizer"])
    return stored["state"]


def keep_rows(path: Path, num_steps: int) -> None:
    """Drop the rows of steps that the checkpoint does not have behind it, and a last line that was cut short.

    A line ends at a newline and nowhere else: a text in it may hold U+2028, at which `str.splitlines` would cut it.
    """
    if not path.exists():
        return
    kept = []
    with open(path, "rb") as file:
        for line in file:
            try:
                row = json.loads(line)
            except ValueError:
                continue
            if line.endswith(b"\n") and row["step"] < num_steps:
                kept.append(line)
    write_text(path, b"".join(kept).decode())


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
