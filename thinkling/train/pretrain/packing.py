"""Documents -> batches: whole documents side by side in rows, so nothing is cut and little is padded.

Which document a token belongs to goes with it: attention stays within one (`model.packed.Documents`). Text is made by
`workers` processes in turns, each from streams with seeds of their own: the same number of workers gives the same
batches, and a run resumes at any step, since a stream begins anew every so many batches.
"""

import os
from array import array
from bisect import bisect_right, insort
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice

import torch
from jaxtyping import Float, Int
from tokenizers import Tokenizer as Backend
from torch import Tensor

from thinkling.train.pretrain import corpus
from thinkling.train.pretrain.bpe import END_OF_TEXT, FastEncoder
from thinkling.train.pretrain.config import TextConfig
from thinkling.train.pretrain.corpus import Segment

CORPORA = {"reasoning": corpus.documents, "worked-quantities": corpus.worked_quantities,
           "longer-quantities": corpus.longer_quantities}  # fmt: skip
POOL_SIZE = 300  # documents to choose from where a row is filled
STREAM_TOKENS = 2**21  # of one stream before it begins anew: what resuming makes again at most
PREFETCH = 8  # batches that each worker holds ready


@dataclass(frozen=True)
class Document:
    """Token ids of one document, and the loss weight of each."""

    tokens: list[int]
    weights: list[float]


@dataclass(frozen=True)
class Batch:
    """Rows of documents. tokens: (B, T + 1) ids; weights: (B, T + 1), of each token's loss; documents: (B, T + 1),
    which document of its row a token is of. What is left of a row has weight 0 and counts as a document."""

    tokens: Int[Tensor, "B T1"]
    weights: Float[Tensor, "B T1"]
    documents: Int[Tensor, "B T1"]

    def pin_memory(self) -> "Batch":
        return Batch(self.tokens.pin_memory(), self.weights.pin_memory(), self.documents.pin_memory())

    def rows(self, chosen: slice) -> "Batch":
        return Batch(self.tokens[chosen], self.weights[chosen], self.documents[chosen])

    def to(self, device: torch.device) -> "Batch":
        return Batch(*(part.to(device, non_blocking=True) for part in (self.tokens, self.weights, self.documents)))


def encode_document(encode: FastEncoder, segments: list[Segment]) -> Document:
    """Each segment is encoded alone, as a prompt and its completion are at generation time."""
    tokens: list[int] = []
    weights: list[float] = []
    for text, weight in [*segments, (END_OF_TEXT, 1.0)]:
        ids = encode(text)
        tokens += ids
        weights += [weight] * len(ids)
    return Document(tokens, weights)


def packed_batches(backend: Backend, text: TextConfig, seed: str) -> Iterator[Batch]:
    """Batches of text.rows rows of text.length + 1 tokens, without end.

    Each row is filled from a pool of documents, always with the longest that still fits (best fit). Documents longer
    than a row are left out.
    """
    encode, room_of_row = FastEncoder(backend), text.length + 1
    source = (encode_document(encode, segments) for segments in CORPORA[text.corpus](seed))
    fitting = (document for document in source if len(document.tokens) <= room_of_row)
    pool: list[tuple[int, int, Document]] = []  # sorted by length; the counter keeps documents from being compared
    counter = 0
    while True:
        rows: list[list[Document]] = []
        for _ in range(text.rows):
            chosen: list[Document] = []
            room = room_of_row
            while True:
                for document in islice(fitting, POOL_SIZE - len(pool)):
                    insort(pool, (len(document.tokens), counter, document))
                    counter += 1
                found = bisect_right(pool, room, key=lambda item: item[0])
                if not found:
                    break
                size, _, document = pool.pop(found - 1)
                chosen.append(document)
                room -= size
            rows.append(chosen)
        yield laid_out(rows, room_of_row, backend.token_to_id(END_OF_TEXT))


def laid_out(rows: list[list[Document]], length: int, end: int) -> Batch:
    """Each row's documents one behind the other, the rest of it filled with the end of text."""
    tokens = torch.full((len(rows), length), end)
    weights = torch.zeros(len(rows), length)
    documents = torch.zeros(len(rows), length, dtype=torch.int32)
    for row, chosen in enumerate(rows):
        joined = array("q", [token for document in chosen for token in document.tokens])
        weighed = array("f", [weight for document in chosen for weight in document.weights])
        numbers = array("i", [i for i, document in enumerate(chosen) for _ in document.tokens])
        tokens[row, : len(joined)] = torch.frombuffer(joined, dtype=torch.int64)
        weights[row, : len(joined)] = torch.frombuffer(weighed, dtype=torch.float32)
        documents[row, : len(joined)] = torch.frombuffer(numbers, dtype=torch.int32)
        documents[row, len(joined) :] = len(chosen)
    return Batch(tokens, weights, documents)


def batches_from(backend: Backend, text: TextConfig, seed: str, first: int) -> Iterator[Batch]:
    """The batches of one stream from its batch `first` on. It begins anew, with another seed, every STREAM_TOKENS; so
    no more than these have to be made again to get there. What is left of the pool is lost each time."""
    size = max(1, STREAM_TOKENS // (text.rows * text.length))
    part, skipped = divmod(first, size)
    while True:
        yield from islice(packed_batches(backend, text, f"{seed}/part {part}"), skipped, size)
        part, skipped = part + 1, 0


class Batches(torch.utils.data.IterableDataset):
    """The batches of a run from `step` on, one a step: step t is of stream t % workers. In processes of their own
    (`loader`), so that making text costs the trainer no time."""

    def __init__(self, tokenizer_json: str, text: TextConfig, step: int = 0) -> None:
        self.tokenizer_json, self.text, self.step = tokenizer_json, text, step

    def __iter__(self) -> Iterator[Batch]:
        worker = torch.utils.data.get_worker_info()
        first, streams = self.step + (worker.id if worker else 0), self.text.workers
        seed = f"pretrain/{self.text.seed}/stream {first % streams} of {streams}"
        return batches_from(Backend.from_str(self.tokenizer_json), self.text, seed, first // streams)


def loader(backend: Backend, text: TextConfig, step: int, device: torch.device) -> Iterable[Batch]:
    """The batches of a run from `step` on, without end."""
    os.environ["TOKENIZERS_PARALLELISM"] = "false"  # each worker encodes alone
    for _ in islice(CORPORA[text.corpus]("imports"), 100):
        pass  # what making text imports, the workers then have
    return torch.utils.data.DataLoader(
        Batches(backend.to_str(), text, step), batch_size=None, num_workers=text.workers, prefetch_factor=PREFETCH,
        pin_memory=device.type == "cuda",
    )  # fmt: skip


def worker_died(error: RuntimeError) -> bool:
    """Whether this is what torch raises, wherever the main thread is just then, when a process that makes text dies."""
    return str(error).startswith("DataLoader worker (pid")
