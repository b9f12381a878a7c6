"""Train a base model from nothing on the corpus of `corpus.py`: a tokenizer first, then the network.

Rows are packed with whole documents, so nothing is cut and little is padded. Left out: several machines, and resuming
an interrupted run (it takes an hour; `train/grpo.py` is where runs get long).
"""

from bisect import bisect_right, insort
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from jaxtyping import Float, Int
from tokenizers import Regex, decoders, models, pre_tokenizers, trainers
from tokenizers import Tokenizer as Backend
from torch import Tensor

from thinkling.errors import UserError
from thinkling.generate.score import token_logprobs
from thinkling.train.corpus import Segment, documents

# Qwen3's own special tokens, in its order.
SPECIAL_TOKENS = (
    "<|endoftext|>", "<|im_start|>", "<|im_end|>", "<|object_ref_start|>", "<|object_ref_end|>", "<|box_start|>",
    "<|box_end|>", "<|quad_start|>", "<|quad_end|>", "<|vision_start|>", "<|vision_end|>", "<|vision_pad|>",
    "<|image_pad|>", "<|video_pad|>", "<tool_call>", "</tool_call>", "<|fim_prefix|>", "<|fim_middle|>",
    "<|fim_suffix|>", "<|fim_pad|>", "<|repo_name|>", "<|file_sep|>", "<tool_response>", "</tool_response>", "<think>",
    "</think>",
)  # fmt: skip
END_OF_TEXT = "<|endoftext|>"
# Words with the space before them, single digits (with the space before the number), punctuation, white space.
SPLIT = r"[^\r\n\p{L}\p{N}]?\p{L}+| ?\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"


@dataclass(frozen=True)
class PretrainConfig:
    """Train a base model on generated text.

    out: the folder to write; it becomes a model that `generate`, `eval` and `grpo` load by its path.
    size: the network's shape, a name from model/config.py.
    num_tokens: how much text to read, in tokens.
    rows, length: one step reads rows x length tokens.
    muon_lr, lr: learning rates of the layers' matrices (Muon) and of everything else (AdamW).
    """

    out: Path = Path("runs/pretrain")
    size: str = "thinkling-base"
    num_tokens: int = 40_000_000
    rows: int = 50
    length: int = 320
    muon_lr: float = 0.02
    lr: float = 3e-3
    warmup_steps: int = 50
    decay_share: float = 0.4
    seed: int = 0
    device: str = "auto"
    dtype: str = "bfloat16"
    compile: bool = True


def train_bpe(texts: Iterator[str], vocab_size: int) -> Backend:
    """A byte-level BPE (Sennrich et al., arXiv:1508.07909) that reads numbers digit by digit."""
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
    backend.add_special_tokens(list(SPECIAL_TOKENS))  # behind the text's own tokens, as in Qwen3
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

    Each row is filled from a pool of documents, always with the longest that still fits (best fit).
    """
    source = (encode_document(backend, segments) for segments in documents(seed))
    pool: list[tuple[int, int, Document]] = []  # sorted by length; the counter keeps documents from being compared
    counter = 0
    end = backend.token_to_id(END_OF_TEXT)
    while True:
        tokens = torch.full((rows, length + 1), end)
        weights = torch.zeros(rows, length + 1)
        for row in range(rows):
            place = 0
            while True:
                while len(pool) < pool_size:
                    document = next(source)
                    if len(document.tokens) <= length + 1:
                        insort(pool, (len(document.tokens), counter, document))
                        counter += 1
                found = bisect_right(pool, length + 1 - place, key=lambda item: item[0])
                if not found:
                    break
                size, _, document = pool.pop(found - 1)
                tokens[row, place : place + size] = torch.tensor(document.tokens)
                weights[row, place : place + size] = torch.tensor(document.weights)
                place += size
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
