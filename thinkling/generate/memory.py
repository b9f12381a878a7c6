"""How the memory of the key-value cache is cut into rows: the arithmetic of admission and preemption, without tensors.

A request's tokens stand side by side in one row, because a CPU attends to them where they lie. Blocks all over the
memory with a table per request were measured, too, and took more than three times as long, because they have to be
gathered first (bench/rows_or_blocks.py). So all rows have one length, in steps of an eighth of the longest; short
requests run in many short rows, and when one outgrows them the memory is cut anew into fewer, longer ones. Blocks, each
stored once, are how what was read is kept for later (prefixes.py).
"""

from dataclasses import dataclass

from thinkling.errors import UserError

STEPS = 8  # lengths that rows may have


@dataclass(frozen=True)
class Memory:
    """num_tokens: that there is memory for. max_rows: of the batch. max_length: of one request, in tokens."""

    num_tokens: int
    max_rows: int
    max_length: int

    @property
    def step(self) -> int:
        return -(-self.max_length // STEPS)

    def room(self, length: int) -> int:
        """The shortest rows that hold so many tokens."""
        return min(-(-length // self.step) * self.step, self.max_length)

    def rows(self, room: int) -> int:
        """How many rows of this length there are."""
        return min(self.max_rows, self.num_tokens // room)

    @property
    def most_rows(self) -> int:
        return self.rows(self.room(1))

    @property
    def first_room(self) -> int:
        """The longest rows of which there are as many as can be."""
        return max(room for room in map(self.room, range(1, self.max_length + 1, self.step))
                   if self.rows(room) == self.most_rows)  # fmt: skip


def memory_for(token_bytes: int, max_rows: int, max_length: int, cache_gb: float) -> Memory:
    """token_bytes: of one token of one row. Raises UserError where not even one request fits."""
    num_tokens = int(cache_gb * 1e9 / token_bytes)
    if num_tokens < max_length:
        needed = token_bytes * max_length / 1e9
        raise UserError(f"one request of {max_length:,} tokens needs {needed:.2g} GB of key-value cache, more than "
                        f"--cache-gb {cache_gb:.3g}: raise it, or lower --max-length")  # fmt: skip
    return Memory(min(num_tokens, max_rows * max_length), max_rows, max_length)
