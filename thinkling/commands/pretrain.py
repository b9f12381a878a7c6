"""`thinkling pretrain`: train a base model from nothing, or another one further."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.checks import above_zero, at_least, finite
from thinkling.errors import UserError
from thinkling.train.config import OptimizerConfig, OptimizerConstants, TrackerName
from thinkling.train.pretrain.config import CorpusName, TextConfig

if TYPE_CHECKING:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.train.pretrain.trainer import PretrainMetrics

LIMITS = ("num_tokens", "minutes")
BPE_DOCUMENTS = 30_000  # what a tokenizer is trained on


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train a base model from nothing on generated mathematics: how thinkling-base and thinkling-nano were made.

    Interrupted, the same command resumes: on a CPU with the bits that it would have had. OUT is then a model for
    generate, eval and grpo.
    """

    out: Path
    """The run's folder."""
    size: str | None = None
    """The network's shape: a name from thinkling/model/config.py. Without it that of the model to start from, or
    thinkling-base."""
    corpus: CorpusName = "reasoning"
    """What to read: problems over quantities above all, arithmetic, word problems and reviews of drafts; or worked
    quantities and little else, to train a model further; longer-quantities has those of 8 to 10 steps among them."""
    tokenizer: Path | None = None
    """A tokenizer.json to use; without it one is trained on the corpus first."""
    start_from: str | None = None
    """A model to start from (as --model elsewhere), with its tokenizer; take another seed than it had, for other text.
    A --size that has more layers adds them at the end, so that the first logits are the start's."""
    num_tokens: int = 30_000_000
    """How much text to read, in tokens."""
    minutes: float | None = None
    """Read for this long instead of a number of tokens; the learning rate's schedule goes by the share of the time."""
    save_every: int = 200
    """Steps between two checkpoints, of which the last two are kept; 0 saves only at the end."""
    trackers: tuple[TrackerName, ...] = ()
    """Where the metrics go besides metrics.jsonl."""
    workers: int = 1
    """Processes that make text; a GPU needs 8 to 16. Another number gives other text."""
    rows: int = 16
    """One step reads rows x length tokens: whole documents side by side, each of which sees only itself."""
    length: int = 768
    """Tokens of a row."""
    muon_lr: float = 0.02
    """Muon's learning rate, for the matrices of the layers."""
    lr: float = 3e-3
    """AdamW's learning rate, for everything else."""
    constants: Annotated[OptimizerConstants, tyro.conf.arg(name="")] = field(
        default_factory=lambda: OptimizerConstants(warmup_steps=50)
    )
    decay_share: float = 0.4
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    seed: int = 0
    """Of the text, and of the first weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "bfloat16"
    """The network's dtype while it learns; the optimizer keeps float32 masters."""
    compile: bool = True
    """Compile the training step with torch.compile where a C++ compiler is at hand; in one process."""
    wait_minutes: float = 30.0
    """Started by torchrun: how long one process waits for another before all end with an error."""

    def __post_init__(self) -> None:
        finite(self)
        text_config(self)
        at_least(1, num_tokens=self.num_tokens, warmup_steps=self.constants.warmup_steps)
        at_least(0, lr=self.lr, muon_lr=self.muon_lr, decay_share=self.decay_share, save_every=self.save_every)
        if self.start_from is not None and self.tokenizer is not None:
            raise UserError("--start-from has a tokenizer of its own: leave --tokenizer out")
        above_zero(minutes=self.minutes, wait_minutes=self.wait_minutes)


def text_config(settings: Pretrain) -> TextConfig:
    return TextConfig(corpus=settings.corpus, rows=settings.rows, length=settings.length, workers=settings.workers,
                      seed=settings.seed)  # fmt: skip


def optimizer_config(settings: Pretrain) -> OptimizerConfig:
    return OptimizerConfig(name="muon", lr=settings.lr, muon_lr=settings.muon_lr, decay_share=settings.decay_share,
                           constants=settings.constants)  # fmt: skip


def steps_of(settings: Pretrain) -> int | None:
    """None in a run by time."""
    return math.ceil(settings.num_tokens / (settings.rows * settings.length)) if settings.minutes is None else None


def train(settings: Pretrain, show: Callable[["PretrainMetrics"], None] = lambda metrics: None) -> Path:
    """Run `thinkling pretrain`; returns the folder of the last checkpoint. `show` sees every step's metrics, those of
    an earlier start too."""
    from thinkling.commands.training import opened, run_config
    from thinkling.distributed import broadcast, is_first
    from thinkling.runs import FINISHED, check_run
    from thinkling.train import checkpoint
    from thinkling.train.pretrain.packing import worker_died
    from thinkling.train.pretrain.trainer import Diverged, Trainer
    from thinkling.train.run import Run

    check_run(settings.out, settings, FINISHED, LIMITS)
    last = broadcast(checkpoint.latest(settings.out) if is_first() else None)
    model = new_model(settings, last and last.folder)
    with opened(settings.out, settings, LIMITS):
        config = run_config(settings, steps_of(settings))
        trainer = Trainer(model, text_config(settings), optimizer_config(settings), config.steps, config.minutes,
                          settings.compile)  # fmt: skip
        run = Run(config, trainer, show=show, tracked_config=settings)
        try:
            return run.go()
        except Diverged:
            run.save()
            raise
        except RuntimeError as error:
            if not worker_died(error):
                raise
            raise UserError(f"{settings.out}: a process that makes text has died (is memory short?); the same command "
                            "resumes at the last checkpoint") from None  # fmt: skip


def new_model(settings: Pretrain, last: Path | None) -> "LanguageModel":
    """The model as the run begins. last: a checkpoint of the run, which has its tokenizer already."""
    from tokenizers import Tokenizer as Backend

    from thinkling.device import pick_device, pick_dtype
    from thinkling.distributed import broadcast, is_first
    from thinkling.generate.language_model import LanguageModel
    from thinkling.model.config import SIZES
    from thinkling.model.tokenizer import Tokenizer
    from thinkling.model.transformer import Transformer, init_weights
    from thinkling.model.weights import load_model, resolve
    from thinkling.train.pretrain.bpe import STOP_TOKENS
    from thinkling.train.pretrain.deeper import deepened

    device = pick_device(settings.device)
    dtype = pick_dtype(settings.dtype, device)
    size = size_of(settings)
    if size is not None and size not in SIZES:
        raise UserError(f"unknown size '{size}': use one of {', '.join(SIZES)}")
    if settings.start_from is not None:
        start = resolve(settings.start_from)
        network, tokenizer = load_model(start, device, dtype), Tokenizer.load(start)
        if size is not None:
            shape = replace(SIZES[size], vocab_size=network.config.vocab_size)  # which is the tokenizer's
            network = deepened(network, shape, settings.seed, f"--size {size}", f"--start-from {start}")
        return LanguageModel(str(settings.out), network, tokenizer)
    if last is not None:
        tokenizer = Tokenizer.load(last)
    else:
        backend = Backend.from_str(broadcast(new_tokenizer(settings).to_str() if is_first() else ""))
        tokenizer = Tokenizer(backend, tuple(backend.token_to_id(name) for name in STOP_TOKENS))
    shape = replace(SIZES[size], vocab_size=tokenizer.backend.get_vocab_size())
    network = init_weights(Transformer(shape), settings.seed).to(device, dtype)
    return LanguageModel(str(settings.out), network, tokenizer)


def size_of(settings: Pretrain) -> str | None:
    """None: the size of what it starts from."""
    return settings.size or (None if settings.start_from is not None else "thinkling-base")


def new_tokenizer(settings: Pretrain) -> object:
    """The one that a flag names; otherwise trained on the corpus, to the size's vocabulary."""
    from itertools import islice

    from tokenizers import Tokenizer as Backend

    from thinkling.model.config import SIZES
    from thinkling.train.pretrain.bpe import train_bpe
    from thinkling.train.pretrain.packing import CORPORA

    if settings.tokenizer is None:
        documents = islice(CORPORA[settings.corpus]("bpe/0"), BPE_DOCUMENTS)
        return train_bpe(documents, SIZES[size_of(settings)].vocab_size)
    if not settings.tokenizer.is_file():
        raise UserError(f"--tokenizer {settings.tokenizer}: no such file; it is a tokenizer.json")
    return Backend.from_file(str(settings.tokenizer))


def main(settings: Pretrain) -> None:
    from rich.console import Console

    from thinkling.progress import Progress
    from thinkling.train.pretrain.trainer import PretrainMetrics

    with Progress("making text, training the tokenizer") as progress:

        def show(metrics: PretrainMetrics) -> None:
            share = metrics.tokens / settings.num_tokens
            if settings.minutes is not None:
                share = metrics.seconds / (60 * settings.minutes)
            speed = metrics.tokens / metrics.seconds
            loss = "not finite" if metrics.loss is None else f"{metrics.loss:.3f}"
            note = f"step {metrics.step + 1}  loss {loss}  {speed:,.0f} tokens/s"
            progress.update(round(100 * min(share, 1)), note, total=100, label="pretraining, percent")

        train(settings, show)
    Console().print(f"The model: {settings.out}. Try: thinkling generate --model {settings.out} 'What is 12 + 34?'",
                    highlight=False)  # fmt: skip
