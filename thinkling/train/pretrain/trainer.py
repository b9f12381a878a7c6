"""Train a base model from nothing on the corpus of `corpus.py`: a tokenizer first, then the network.

Rows are packed with whole documents, so nothing is cut and little is padded. Left out: several machines, and resuming
an interrupted run (it takes an hour; `train/rl/trainer.py` is where runs get long).
"""

import math
import time
from bisect import bisect_right, insort
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from random import Random

import torch
from jaxtyping import Float, Int
from rich.console import Console
from tokenizers import AddedToken, Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from thinkling.device import compile_if_possible, pick_device, pick_dtype
from thinkling.errors import UserError
from thinkling.generate.score import token_logprobs
from thinkling.model.config import SIZES
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import save_model
from thinkling.progress import Progress
from thinkling.runs import append_jsonl, write_json
from thinkling.settings import Pretrain
from thinkling.train.optim import Optimizer, warmup_then_decay
from thinkling.train.pretrain.corpus import Segment, documents

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
VOCABULARY = 1024
# Words with the space before them, single digits (with the space before the number), punctuation, white space.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


def train_bpe(corpus: Iterable[list[Segment]], vocab_size: int) -> Backend:
    """A byte-level BPE (Sennrich et al., arXiv:1508.07909) that reads numbers digit by digit."""
    texts = ("".join(text for text, _ in document if text not in SPECIAL_TOKENS) for document in corpus)
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


def encode_document(backend: Backend, segments: list[Segment]) -> Document:
    """Each segment is encoded alone, as a prompt and its completion are at generation time."""
    tokens: list[int] = []
    weights: list[float] = []
    for text, weight in [*segments, (END_OF_TEXT, 1.0)]:
        ids = backend.encode(text, add_special_tokens=False).ids
        tokens += ids
        weights += [weight] * len(ids)
    return Document(tokens, weights)


def packed_batches(
    backend: Backend, seed: str, rows: int, length: int, pool_size: int = 300
) -> Iterator[tuple[Int[Tensor, "B T1"], Float[Tensor, "B T1"]]]:
    """Batches of token ids and loss weights, (rows, length + 1) each, without end.

    Each row is filled from a pool of documents, always with the longest that still fits (best fit), and then shuffled:
    a prompt at generation time comes first, and a model that saw only long documents there would always be long.
    """
    random = Random(f"packing/{seed}")
    source = (encode_document(backend, segments) for segments in documents(seed))
    pool: list[tuple[int, int, Document]] = []  # sorted by length; the counter keeps documents from being compared
    counter = 0
    end = backend.token_to_id(END_OF_TEXT)
    while True:
        tokens = torch.full((rows, length + 1), end)
        weights = torch.zeros(rows, length + 1)
        for row in range(rows):
            chosen: list[Document] = []
            room = length + 1
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
            joined = [token for document in chosen for token in document.tokens]
            tokens[row, : len(joined)] = torch.tensor(joined)
            weights[row, : len(joined)] = torch.tensor([weight for document in chosen for weight in document.weights])
        yield tokens, weights


class Batches(torch.utils.data.IterableDataset):
    """`packed_batches` in a process of its own, so that making text costs the trainer no time."""

    def __init__(self, tokenizer_json: str, seed: str, rows: int, length: int) -> None:
        self.arguments = tokenizer_json, seed, rows, length

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        tokenizer_json, *rest = self.arguments
        return packed_batches(Backend.from_str(tokenizer_json), *rest)


def weighted_loss(model: torch.nn.Module, tokens: Int[Tensor, "B T1"], weights: Float[Tensor, "B T1"]) -> Tensor:
    """Cross-entropy of every next token, averaged with the tokens' weights."""
    hidden = model(tokens[:, :-1]).flatten(0, 1)
    logprobs, _ = token_logprobs(hidden, model.lm_head.weight, tokens[:, 1:].flatten())
    weights = weights[:, 1:].flatten()
    return -(logprobs * weights).sum() / weights.sum()


@dataclass(frozen=True)
class PretrainMetrics:
    """One line of the metrics file. loss: weighted nats per token; tokens: read so far; grad_norm: before clipping."""

    step: int
    loss: float
    grad_norm: float
    tokens: int
    seconds: float


def train(settings: Pretrain, show: Callable[[PretrainMetrics, int], None] | None = None) -> Path:
    """Run `thinkling pretrain`; returns settings.out, a checkpoint folder. `show` sees each step and their number."""
    if settings.size not in SIZES:
        raise UserError(f"unknown size '{settings.size}': use one of {', '.join(SIZES)}")
    if settings.out.exists():
        raise UserError(f"{settings.out} exists already: choose another --out, or remove it first")
    device = pick_device(settings.device)
    shape = SIZES[settings.size]
    backend = train_bpe(islice(documents("bpe/0"), BPE_DOCUMENTS), VOCABULARY)
    model = init_weights(Transformer(replace(shape, vocab_size=VOCABULARY)), settings.seed)
    model.to(device, pick_dtype(settings.dtype, device))
    optimizer = Optimizer(model, settings.lr, settings.muon_lr)
    loss_of = compile_if_possible(weighted_loss, device) if settings.compile else weighted_loss
    num_steps = math.ceil(settings.num_tokens / (settings.rows * settings.length))
    data = Batches(backend.to_str(), f"pretrain/{settings.seed}", settings.rows, settings.length)
    loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=1, prefetch_factor=8)
    metrics_file = settings.out.with_name(settings.out.name + ".metrics.jsonl")
    started = time.perf_counter()
    for step, (tokens, weights) in enumerate(islice(loader, num_steps)):
        loss = loss_of(model, tokens.to(device), weights.to(device))
        loss.backward()
        norm = optimizer.step(warmup_then_decay(step, num_steps, settings.warmup_steps, settings.decay_share))
        read = (step + 1) * settings.rows * settings.length
        metrics = PretrainMetrics(step, loss.item(), norm, read, time.perf_counter() - started)
        append_jsonl(metrics_file, [metrics])
        if show is not None:
            show(metrics, num_steps)
    stop_ids = tuple(backend.token_to_id(name) for name in STOP_TOKENS)
    save_model(settings.out, model.eval(), Tokenizer(Backend.from_str(backend.to_str()), stop_ids))
    write_json(settings.out / "pretrain.json", settings)
    return settings.out


def main(settings: Pretrain) -> None:
    with Progress("making text, training the tokenizer") as progress:

        def show(metrics: PretrainMetrics, num_steps: int) -> None:
            speed = metrics.tokens / metrics.seconds
            note = f"loss {metrics.loss:.3f}  {speed:,.0f} tokens/s"
            progress.update(metrics.step + 1, note, total=num_steps, label="pretraining")

        out = train(settings, show)
    Console().print(f"The model: {out}. Try: thinkling generate --model {out} 'What is 12 + 34?'", highlight=False)
