"""The tensors of one pass: which go in, where what was read is kept, and what comes out.

Row b of the cache, of `hidden` and of `prompt_hidden` belong to the request in row b (scheduler.py). A prompt, or the
chunk of it that this step reads, is read in one padded pass with others of its length; another pass reads one new token
in each row that decodes. On a GPU that pass is recorded (cuda_graph.py). Left out: one pass for both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Float, Int
from torch import Tensor

from thinkling.device import out_of_memory, to_device
from thinkling.generate.cuda_graph import CudaGraphDecoder, can_record
from thinkling.generate.memory import Memory
from thinkling.generate.prefixes import BLOCK, Prefixes
from thinkling.model.cache import KVCache
from thinkling.model.decode_blocks import DecodeBlocks, can_decode_in_blocks
from thinkling.model.prepacked import kinds, prepacked_twin, renew
from thinkling.model.transformer import Transformer

PREFILL_TOKENS = 8192  # padded tokens that one pass over given tokens reads, at most (or one prompt)
SIMILAR = 64  # tokens; what is this much shorter than half of the longest is read in another pass, without its padding


@dataclass(frozen=True)
class Prefill:
    """The tokens from `start` to `end` of those that a row is to hold: a prompt of `num_prompt` tokens, and what was
    drawn behind it before its request had to make way. The row holds those before `start`."""

    row: int
    tokens: tuple[int, ...]
    num_prompt: int
    start: int
    end: int


Failure = Literal["memory", "numbers"]  # it did not suffice; they are not finite


class Runner:
    """Reads prompts and tokens for as many requests as fit into `memory`.

    hidden: the states from which each row's next token is drawn, and those behind its guesses. prompt_hidden: the one
    behind the row's prompt, for siblings that join later. prefixes: what was read before, if that is kept. reads_ahead:
    does a pass run beside the program, so that a drawn token is best read before the program has seen it? pass_tokens:
    padded tokens of one pass; halved where memory did not suffice.
    """

    def __init__(
        self, model: Transformer, memory: Memory, prefixes: Prefixes | None = None, most_guesses: int = 0
    ) -> None:  # fmt: skip
        self.model, self.memory, self.prefixes, self.pass_tokens = model, memory, prefixes, PREFILL_TOKENS
        self.cache = self._new_cache(memory.most_rows, memory.first_room, memory.num_tokens)
        shape = memory.most_rows, 1 + most_guesses, model.config.hidden_size
        self.hidden = torch.zeros(shape, device=model.device, dtype=model.dtype)
        self.prompt_hidden = torch.zeros_like(self.hidden[:, 0])
        self.weights_at: list[int] | None = None  # where they were when the decoder was made
        self.kinds = kinds(model)
        self.look_at_weights()

    def look_at_weights(self) -> None:
        """Make the decoder and the twin anew if weights are elsewhere than when they were made, or others have come, as
        adapters do, or hooks; and what the twin has copied, if its numbers are others. Asked before the first request
        of a batch, before a reading, and when weights have changed."""
        moved = self.weights_at != [weight.data_ptr() for weight in self.model.parameters()]
        if moved or self.kinds != kinds(self.model):
            recorded = can_record(self.model)
            self.decoder = CudaGraphDecoder(self.model, self.cache, self.memory.max_length) if recorded else None
            self.reads_ahead = recorded
            self._answer_through(None)  # so that the old one's memory is free
            self._answer_through(prepacked_twin(self.model))
            self.weights_at = [weight.data_ptr() for weight in self.model.parameters()]  # it has joined some
            self.kinds = kinds(self.model)
        elif self.twin is not None and not renew(self.twin):
            self._answer_through(None)

    def _answer_through(self, twin: Transformer | None) -> None:
        """None: the network itself."""
        self.twin, self.network = twin, self.model if twin is None else twin
        self.decode_blocks = DecodeBlocks(twin) if twin is not None and can_decode_in_blocks(twin) else None

    def _new_cache(self, num_rows: int, room: int, num_tokens: int | None = None) -> KVCache:
        model = self.model
        return KVCache(model.config, num_rows, room, model.device, model.dtype, num_tokens, model.batch_invariant)

    def recut(self, room: int, num_used: int, longest: int) -> None:
        """Make rows `room` long, if they are not. The first `num_used` keep what they hold, at most `longest`."""
        if room != self.cache.max_length:
            self.cache.recut(self.memory.rows(room), room, num_used, longest)
            if self.decoder is not None:
                self.decoder.passes.clear()  # what was recorded would read and write at the old places

    def open(self, row: int, prompt: Sequence[int], whole: bool) -> int:
        """Make a row ready for this prompt; returns how many of its tokens the row then holds, since they are known.
        The last is not among them, for the state behind it. whole: none is."""
        known = [] if self.prefixes is None or whole else self.prefixes.find(prompt)
        self.cache.lengths[row] = 0
        if known:
            self.prefixes.read(known, self.cache, row)
        return len(known) * BLOCK

    def prefill(self, reads: Sequence[Prefill]) -> dict[int, Failure]:
        """Read prompts, or chunks of them, into rows, in passes of similar length, padded on the right.

        Where memory does not suffice, a pass is halved and tried again; returns the rows that fail even alone.
        """
        left, failed = sorted(reads, key=lambda read: read.end - read.start), {}
        while left:
            longest = left[-1].end - left[-1].start
            similar = sum(2 * (read.end - read.start) + SIMILAR >= longest for read in left)
            count = min(similar, max(1, self.pass_tokens // longest))
            hidden = self._read_into(left[-count:])
            if hidden is None and count > 1:
                self._halve(count * longest)
                continue
            for read in left[-count:]:
                if hidden is None:
                    failed[read.row] = "memory"
                elif not hidden.pop(0):
                    failed[read.row] = "numbers"
                elif self.prefixes is not None and read.start < read.num_prompt <= read.end:
                    self.prefixes.keep(read.tokens[: read.num_prompt], self.cache, read.row)
            del left[-count:]
        return failed

    def _read_into(self, reads: Sequence[Prefill]) -> list[bool] | None:
        """One pass; of each row, whether all numbers are finite. None if memory did not suffice."""
        unread = [read.tokens[read.start : read.end] for read in reads]
        alone = reads[0].row if len(reads) == 1 else None
        room = max(read.start for read in reads) + max(map(len, unread))
        try:
            if alone is not None:  # where it is
                part = self.cache.view(1, room, alone)
            else:
                part = self._new_cache(len(reads), room)
                for i, read in enumerate(reads):
                    part.copy_row(self.cache, read.row, i, read.start)
            hidden = self.network(self._padded(unread), part)
        except RuntimeError as error:
            if out_of_memory(error):
                return None
            raise
        for i, read in enumerate(reads):
            if alone is None:
                self.cache.copy_row(part, i, read.row, read.end, read.start)
            self._keep(read, hidden[i])
        finite = [own[: len(tokens)].isfinite().all() for own, tokens in zip(hidden, unread, strict=True)]
        return torch.stack(finite).tolist()

    def _keep(self, read: Prefill, hidden: Float[Tensor, "T D"]) -> None:
        """What is needed later of a chunk's states: the one behind it, and the one behind the prompt."""
        self.cache.lengths[read.row] = read.end
        self.hidden[read.row, 0] = hidden[read.end - read.start - 1]
        if read.start < read.num_prompt <= read.end:
            self.prompt_hidden[read.row] = hidden[read.num_prompt - read.start - 1]

    def _padded(self, sequences: Sequence[Sequence[int]]) -> Int[Tensor, "B T"]:
        longest = max(map(len, sequences))
        return to_device([[*tokens, *[0] * (longest - len(tokens))] for tokens in sequences], self.model.device)

    def _halve(self, num_tokens: int) -> None:
        self.pass_tokens = max(1, num_tokens // 2)
        if self.model.device.type == "cuda":
            torch.cuda.empty_cache()

    def copy_prompt(self, source: int, row: int, length: int) -> None:
        """What another row has read of its prompt, not of what it said since."""
        self.cache.copy_row(self.cache, source, row, length)
        self.hidden[row, 0] = self.prompt_hidden[row] = self.prompt_hidden[source]

    def move(self, source: int, row: int, most: int) -> None:
        """Give a whole row, which holds at most so many tokens, another place."""
        length = self.cache.lengths[source].clone()  # not asked for: a GPU would have to end its work to tell
        self.cache.copy_row(self.cache, source, row, most)
        self.cache.lengths[row] = length
        self.hidden[row], self.prompt_hidden[row] = self.hidden[source], self.prompt_hidden[source]
        self.erase(source, most)

    def swap(self, rows: tuple[int, int], most: int) -> None:
        """Two rows, which hold at most so many tokens, change places."""
        here, there = list(rows), list(rows)[::-1]
        self.cache.swap_rows(*rows, most)
        for held in (self.hidden, self.prompt_hidden):
            held[here] = held[there]

    def erase(self, row: int, length: int | None = None) -> None:
        """Forget what a row holds. Masked places are multiplied by zero, and zero times NaN is NaN again, so keys and
        values that are not finite must not stay. length: that it may hold, where none but its newest may be such."""
        most, fused = self.hidden.shape[1], self.decoder is not None and self.decoder.fused is not None
        if length is not None and most == 1 and fused:
            return  # that pass reads nothing behind a row's end
        places = slice(None) if length is None else slice(max(length - most, 0), length - 1 + most)
        for held in self.cache.keys + self.cache.values:
            held[row, :, places] = 0

    def logits(self, counts: Sequence[int]) -> Float[Tensor, "N V"]:
        """Of the next token in each of the first rows, and of those behind its guesses: so many places of each row."""
        if max(counts) == 1:
            return self.network.logits(self.hidden[: len(counts), 0])
        rows = [row for row, count in enumerate(counts) for _ in range(count)]
        ahead = [number for count in counts for number in range(count)]
        return self.network.logits(self.hidden[rows, ahead])

    def decode(self, tokens: Sequence[Sequence[int]], longest: int, behind: Sequence[int] = ()) -> None:
        """Read new tokens in each of the first rows: one, and guesses behind it. longest: tokens of the longest row,
        the new one counted, but no guesses. behind: what the rows behind these hold of prompts that are being read."""
        self.decode_drawn(self._padded(tokens), longest, behind)

    def decode_drawn(self, tokens: Int[Tensor, "B T"], longest: int, behind: Sequence[int] = ()) -> None:
        """The same for tokens that are on the device already."""
        B, T = tokens.shape
        part = self.cache.view(B, longest + T - 1)
        if T == 1 and self.decoder is not None:
            hidden = self.decoder(tokens, longest, behind)[:, None]
        elif T == 1 and self.decode_blocks is not None:
            hidden = self.decode_blocks(tokens, part)[:, None]
        else:
            hidden = self.network(tokens, part)
        self.hidden[:B, :T] = hidden
        part.advance(1)

    def accept(self, counts: Sequence[int]) -> None:
        """So many guesses of each of the first rows have come true: what was read behind them stays."""
        self.cache.lengths[: len(counts)] += torch.tensor(counts, device=self.model.device)

    def read(self, sequences: list[Sequence[int]], most: int | None = None) -> list[Float[Tensor, "T D"]]:
        """The hidden states of as many sequences as one pass reads, the last ones; sequences stand by length. most:
        padded tokens of the pass, or one sequence."""
        self.look_at_weights()
        tokens = min(self.pass_tokens, most or self.pass_tokens)
        count, hidden = min(len(sequences), max(1, tokens // len(sequences[-1]))), None
        now = sequences[-count:]
        try:
            cache = self._new_cache(count, len(now[-1])) if self.model.batch_invariant else None
            hidden = self.network(self._padded(now), cache)
        except RuntimeError as error:
            if count == 1 or not out_of_memory(error):
                raise
        if hidden is None:  # only here is what the pass had made free again
            self._halve(count * len(now[-1]))
            return self.read(sequences, most)
        return [row[: len(tokens)].clone() for tokens, row in zip(now, hidden, strict=True)]
