"""The numbers of metrics.jsonl, sent on to TensorBoard, Weights & Biases or trackio. The file is always written too."""

from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from thinkling.errors import UserError, install
from thinkling.runs import to_plain
from thinkling.train.config import TrackerName


def numbers(row: Mapping[str, object], prefix: str = "") -> dict[str, float]:
    """The row's numbers by name; those of a dictionary in it as name/key. None and texts are left out."""
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{prefix}{name}/")
        elif isinstance(value, int | float):
            found[prefix + name] = float(value)
    return found


Send, Close = Callable[[dict, int], None], Callable[[], None]


def open_tracker(kind: TrackerName, out: Path, config: object) -> tuple[Send, Close]:
    """How to send a row of numbers of a step, and how to end. Raises UserError if the library is not installed."""
    if kind == "tensorboard":
        writer = library("torch.utils.tensorboard", kind).SummaryWriter(str(out / "tensorboard"))

        def send(row: dict, step: int) -> None:
            for name, value in row.items():
                writer.add_scalar(name, value, step)
            writer.flush()

        return send, writer.close
    tracker = library(kind, kind)  # wandb and trackio have the same few calls
    where = {"dir": str(out)} if kind == "wandb" else {}
    tracker.init(project="thinkling", name=out.name, config=to_plain(config), **where)
    return (lambda row, step: tracker.log(row, step=step)), tracker.finish


def library(module: str, kind: str) -> object:
    try:
        return import_module(module)
    except ImportError:
        raise UserError(f"--trackers {kind} needs a library that is not installed: {install(kind)}") from None
