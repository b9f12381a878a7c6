"""Train a base model from nothing on a corpus of generated mathematics: a tokenizer first, then the network.

Rows are packed with whole documents, so nothing is cut and little is padded; a row is read under one causal mask, so a
document sees those before it, and learns to take no notice. Where the same names stand in them that is slow to learn:
`short_length` makes most rows so short that a document stands alone. Text is made by `workers` processes, each with a
seed of its own, in turns: the same number of workers gives the same batches. A run ends after so many tokens, or after
so many minutes; the learning rate falls to zero over the last share of either. Left out: several machines, resuming
exactly (a snapshot can be started from, without the optimizer's state).
"""

import math
import os
import re
import time
from array import array
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from thinkling.device import compile_if_possible, pick_device, pick_dtype
from thinkling.errors import UserError
from thinkling.model.config import SIZES
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model, save_model
from thinkling.runs import append_jsonl, write_json
from thinkling.train.config import OptimizerConfig
from thinkling.train.optim import Optimizer, schedule
from thinkling.train.pretrain import corpus, reasoning_corpus
from thinkling.train.pretrain.config import PretrainConfig
from thinkling.train.pretrain.corpus import Segment

# Qwen3's own special tokens, in its order.
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>",
    "</think>",
)  # fmt: skip
END_OF_TEXT = "<|endoftext|>"
STOP_TOKENS = (END_OF_TEXT, "<|im_end|>")
BPE_DOCUMENTS = 30_000  # what the tokenizer is trained on
CORPORA = {"templates": corpus.documents, "reasoning": reasoning_corpus.documents}
# Words with the space before them, single digits (with the space before the number), punctuation, white space.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
ASCII_SPLIT = re.compile(SPLIT.replace(r"\p{L}", "A-Za-z").replace(r"\p{N}", "0-9").replace("?A-Za-z+", "?[A-Za-z]+")
                         .replace("?0-9|", "?[0-9]|"), re.ASCII)  # fmt: skip


def train_bpe(read: Iterable[list[Segment]], vocab_size: int) -> Backend:
    """A byte-level BPE (Sennrich et al., arXiv:1508.07909) that reads numbers digit by digit."""
    texts = ("".join(text for text, _ in document if text not in SPECIAL_TOKENS) for document in read)
    backend = Backend(models.BPE())
    split = pre_tokenizers.Split(Regex(SPLIT), behavior="isolated")
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    backend.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size - len(SPECIAL_TOKENS), initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )  # fmt: skip
    backend.train_from_iterator(texts, trainer)
    # Behind the text's own tokens, and with the same ones kept in decoded text, as in Qwen3: <think> is.
    for name in SPECIAL_TOKENS:
        hidden = SPECIAL_TOKENS.index(name) < SPECIAL_TOKENS.index("<tool_call>")
        backend.add_tokens([AddedToken(name, special=hidden, normalized=False)])
    if backend.get_vocab_size() != vocab_size:
        raise UserError(f"the text gives only {backend.get_vocab_size()} tokens: choose a smaller vocab_size")
    return backend


@dataclass(frozen=True)
class Document:
    """Token ids of one document, and the loss weight of each."""

    tokens: list[int]
    weights: list[float]


class FastEncoder:
    """`backend.encode` for text of which most pieces have been seen before: ten times as fast.

    BPE never merges across pieces, so the ids of each are kept; only text in ASCII is cut here.
    """

    def __init__(self, backend: Backend) -> None:
        self.backend = backend
        self.known: dict[str, list[int]] = {}

    def __call__(self, text: str) -> list[int]:
        if "<" in text or not text.isascii():  # a control token, perhaps
            return self.backend.encode(text, add_special_tokens=False).ids
        ids: list[int] = []
        for piece in ASCII_SPLIT.findall(text):
            found = self.known.get(piece)
            if found is None:
                found = self.known[piece] = self.backend.encode(piece, add_special_tokens=False).ids
            ids += found
        return ids


def encode_document(encode: FastEncoder, segments: list[Segment]) -> Document:
    """Each segment is encoded alone, as a prompt and its completion are at generation time."""
    tokens: list[int] = []
    weights: list[float] = []
    for text, weight in [*segments, (END_OF_TEXT, 1.0)]:
        ids = encode(text)
        tokens += ids
        weights += [weight] * len(ids)
    return Document(tokens, weights)


def packed_batches(
    backend: Backend, seed: str, rows: int, length: int, pool_size: int = 300, name: str = "templates",
    short_length: int | None = None,
) -> Iterator[tuple[Int[Tensor, "B T1"], Float[Tensor, "B T1"]]]:  # fmt: skip
    """Batches of token ids and loss weights, (rows, length + 1) each, without end. With `short_length`, most have rows
    of this length instead, and as many tokens; the longer documents wait until they fill about one of the other sort.

    Each row is filled from a pool of documents, always with the longest that still fits (best fit), and then shuffled:
    a prompt at generation time comes first, and a model that saw only long documents there would always be long.
    """
    random = Random(f"packing/{seed}")
    encode = FastEncoder(backend)
    source = (encode_document(encode, segments) for segments in CORPORA[name](seed))
    pool: list[tuple[int, int, Document]] = []  # sorted by length; the counter keeps documents from being compared
    counter = 0
    end = backend.token_to_id(END_OF_TEXT)
    num_short = 0 if short_length is None else rows * length // short_length
    pool_size, due = max(pool_size, 4 * num_short), 0.0
    while True:
        num_rows, row_length = rows, length
        if short_length is not None:
            due = due or rows * length * random.uniform(0.5, 1.5)  # so workers' long batches do not come all at once
            waiting = sum(size for size, _, _ in pool if size > short_length + 1)
            num_rows, row_length, due = (num_short, short_length, due) if waiting < due else (rows, length, 0.0)
        tokens = torch.full((num_rows, row_length + 1), end)
        weights = torch.zeros(num_rows, row_length + 1)
        for row in range(num_rows):
            chosen: list[Document] = []
            room = row_length + 1
            while True:
                while len(pool) < pool_size:
                    document = next(source)
                    if len(document.tokens) <= length + 1:
                        insort(pool, (len(document.tokens), counter, document))
                        counter += 1
                found = bisect_right(pool, room, key=lambda item: item[0])
                if not found:
                    break
                size, _, document = pool.pop(found - 1)
                chosen.append(document)
                room -= size
            random.shuffle(chosen)
            joined = array("q", [token for document in chosen for token in document.tokens])
            weighed = array("f", [weight for document in chosen for weight in document.weights])
            tokens[row, : len(joined)] = torch.frombuffer(joined, dtype=torch.int64)
            weights[row, : len(joined)] = torch.frombuffer(weighed, dtype=torch.float32)
        yield tokens, weights


class Batches(torch.utils.data.IterableDataset):
    """`packed_batches` in processes of their own, so that making text costs the trainer no time."""

    def __init__(
        self, tokenizer_json: str, seed: str, rows: int, length: int, name: str = "templates",
        short_length: int | None = None,
    ) -> None:  # fmt: skip
        self.tokenizer_json, self.seed, self.shape, self.name = tokenizer_json, seed, (rows, length), name
        self.short_length = short_length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        worker, seed = torch.utils.data.get_worker_info(), self.seed
        if worker is not None and worker.num_workers > 1:
            seed = f"{seed}/worker {worker.id} of {worker.num_workers}"
        backend = Backend.from_str(self.tokenizer_json)
        return packed_batches(backend, seed, *self.shape, name=self.name, short_length=self.short_length)


def weighted_loss(model: torch.nn.Module, tokens: Int[Tensor, "B T1"], weights: Float[Tensor, "B T1"]) -> Tensor:
    """Cross-entropy of every next token, averaged with the tokens' weights."""
    logits = model.logits(model(tokens[:, :-1])).float().flatten(0, 1)
    nats = F.cross_entropy(logits, tokens[:, 1:].flatten(), reduction="none")
    weights = weights[:, 1:].flatten()
    return (nats * weights).sum() / weights.sum()


@dataclass(frozen=True)
class PretrainMetrics:
    """One line of the metrics file. loss: weighted nats per token; tokens: read so far; grad_norm: before clipping."""

    step: int
    loss: float
    grad_norm: float
    tokens: int
    seconds: float


def train(settings: PretrainConfig, show: Callable[[PretrainMetrics, float], None] | None = None) -> Path:
    """Run `thinkling pretrain`; returns settings.out, a checkpoint folder. `show` sees each step, and the share of the
    run that it ends."""
    if settings.size not in SIZES:
        raise UserError(f"unknown size '{settings.size}': use one of {', '.join(SIZES)}")
    if settings.out.exists():
        raise UserError(f"{settings.out} exists already: choose another --out, or remove it first")
    device = pick_device(settings.device)
    backend = tokenizer_for(settings)
    shape, start = replace(SIZES[settings.size], vocab_size=backend.get_vocab_size()), settings.start_from
    model = load_model(start).train() if start is not None else init_weights(Transformer(shape), settings.seed)
    model.to(device, pick_dtype(settings.dtype, device))
    config = OptimizerConfig(name="muon", lr=settings.lr, muon_lr=settings.muon_lr, decay_share=settings.decay_share,
                             constants=settings.constants)  # fmt: skip
    optimizer = Optimizer(model, config)
    loss_of = compiled(model, device) if settings.compile else weighted_loss
    num_steps = math.ceil(settings.num_tokens / (settings.rows * settings.length))
    stop_ids = tuple(backend.token_to_id(name) for name in STOP_TOKENS)
    tokenizer = Tokenizer(Backend.from_str(backend.to_str()), stop_ids)
    metrics_file = settings.out.with_name(settings.out.name + ".metrics.jsonl")
    snapshot, next_snapshot = settings.out.with_name(settings.out.name + "-snapshot"), settings.snapshot_minutes
    started = time.perf_counter()
    for step, (tokens, weights) in enumerate(batches(settings, backend, device, num_steps)):
        minutes = (time.perf_counter() - started) / 60
        expected = num_steps  # how many steps there will be; with a limit in minutes, at the pace so far
        if settings.minutes is not None:
            expected = max(step, step / max(minutes / settings.minutes, 1e-9))
        if step and step >= expected:
            break
        loss = loss_of(model, tokens.to(device, non_blocking=True), weights.to(device, non_blocking=True))
        loss.backward()
        norm = optimizer.step(schedule(config, step, expected))
        read = (step + 1) * settings.rows * settings.length
        metrics = PretrainMetrics(step, loss.item(), norm, read, time.perf_counter() - started)
        append_jsonl(metrics_file, [metrics])
        if show is not None:
            show(metrics, (step + 1) / num_steps if settings.minutes is None else minutes / settings.minutes)
        if next_snapshot is not None and minutes >= next_snapshot:
            save_model(snapshot, model, tokenizer)
            next_snapshot += settings.snapshot_minutes
    save_model(settings.out, model.eval(), tokenizer)
    write_json(settings.out / "pretrain.json", settings)
    return settings.out


def tokenizer_for(settings: PretrainConfig) -> Backend:
    """The one that a flag names; otherwise trained on the corpus, to the size's vocabulary."""
    if settings.start_from is not None:
        return Tokenizer.load(settings.start_from).backend
    if settings.tokenizer is None:
        return train_bpe(islice(CORPORA[settings.corpus]("bpe/0"), BPE_DOCUMENTS), SIZES[settings.size].vocab_size)
    if not settings.tokenizer.is_file():
        raise UserError(f"--tokenizer {settings.tokenizer}: no such file; it is a tokenizer.json")
    return Backend.from_file(str(settings.tokenizer))


def batches(settings: PretrainConfig, backend: Backend, device: torch.device, num_steps: int) -> Iterable[tuple]:
    """Packed batches, made by the workers in turns; so many, or without end in a run by time."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker encodes alone
    for _ in islice(CORPORA[settings.corpus]("imports"), 100):
        pass  # what making text imports, the workers then have
    data = Batches(backend.to_str(), f"pretrain/{settings.seed}", settings.rows, settings.length, settings.corpus,
                   settings.short_length)  # fmt: skip
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=settings.workers, prefetch_factor=8,
                                         pin_memory=device.type == "cuda")  # fmt: skip
    return loader if settings.minutes is not None else islice(loader, num_steps)


def compiled(model: Transformer, device: torch.device) -> Callable[..., Tensor]:
    """On a GPU every layer by itself, all to the same code (one for each row length); on a CPU the whole."""
    if device.type != "cuda":
        return compile_if_possible(weighted_loss, device)
    for layer in model.model.layers:
        layer.compile(dynamic=False)
    return weighted_loss
