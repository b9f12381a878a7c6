"""What attention reads while a network learns: rows of several documents that do not see each other (Documents), and
prompts and their completions in one long row without padding (Packed). Nothing is stored.

Linear layers see the long row as it is. For attention, a CPU takes one prompt after another, so that nothing is padded.
A GPU would mostly wait for the program then: an example is some twenty small kernels in each layer. It gets each
completion behind a copy of its prompt, as a row among rows of similar length, all in one call, where copies are few.
"""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from thinkling.model.cache import KVCache, NoCache, from_the_start, heads_joined

MOST_COPIES = 4  # times the tokens of a pass that its rows may hold


class Documents:
    """Rows in which whole documents stand side by side: a token sees itself and those before it in its own document.

    documents: (B, T), which document of its row each token is of. Nothing is stored.
    """

    def __init__(self, documents: Tensor) -> None:
        T = documents.shape[1]
        causal = torch.ones(T, T, dtype=torch.bool, device=documents.device).tril()
        self.visible = (documents[:, None, :, None] == documents[:, None, None, :]) & causal  # (B, 1, T, T)

    def begin(self, tokens: Tensor) -> Tensor:
        """The positions (B, T), which run on through a row: rotary positions only say how far two tokens are apart."""
        return from_the_start(tokens)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of (B, H, T, E) over (B, K, T, E), as (B, T, H E). Heads are repeated here: with a mask, CUDA's
        memory-efficient kernel takes no groups, and what does would write the weights out."""
        k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
        return heads_joined(F.scaled_dot_product_attention(q, k, v, attn_mask=self.visible))


class Packed:
    """Prompts and their completions in one row of N tokens, without padding: what a training pass reads at once.

    A prompt attends to itself, and each of its completions to the prompt and to itself.

    groups: of each prompt its length P, and the lengths of its completions; a completion of length 0 takes no room.
    Order of the N tokens: all prompts, then the completions of the first prompt, of the second, ...
    as_rows: how attention goes; by itself see `copies_few`.
    """

    def __init__(
        self, groups: Sequence[tuple[int, Sequence[int]]], device: torch.device, as_rows: bool | None = None
    ) -> None:  # fmt: skip
        groups = [(P, [n for n in lengths if n]) for P, lengths in groups]
        self.num_prompt_tokens = sum(P for P, _ in groups)
        positions = [torch.arange(P) for P, _ in groups]
        positions += [P + torch.arange(n) for P, lengths in groups for n in lengths]
        self.positions = torch.cat(positions)[None].to(device)  # (1, N)
        as_rows = copies_few(groups, device) if as_rows is None else as_rows
        self.parts = (AsRows if as_rows else ByPrompt)(groups, device)

    def begin(self, tokens: Tensor) -> Tensor:
        """The positions (1, N) of a pass over all N tokens (1, N)."""
        return self.positions

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """Attention of (1, H, N, E) over (1, K, N, E), as (1, N, H E)."""
        return self.parts.attend(q, k, v)


def copies_few(groups: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> bool:
    """Does attention go as rows? On a GPU, but for long prompts of many short completions: there are few of these in a
    pass, and their copies would be most of the memory and of the work."""
    packed = sum(P + sum(lengths) for P, lengths in groups)
    rows = sum(P * max(len(lengths), 1) + sum(lengths) for P, lengths in groups)
    return device.type == "cuda" and rows <= MOST_COPIES * packed


class ByPrompt:
    """A prompt attends by itself; then its completions, padded to the longest, to its keys and values and their own."""

    def __init__(self, groups: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> None:
        self.prompts = [P for P, _ in groups]
        self.shapes = [(len(lengths), max(lengths, default=0)) for _, lengths in groups]  # (G, T) of each, padded
        self.num_prompt_tokens = sum(self.prompts)
        padded, back, start, place = [], [torch.arange(self.num_prompt_tokens)], self.num_prompt_tokens, 0
        for (_, lengths), (G, T) in zip(groups, self.shapes, strict=True):
            for row, n in enumerate(lengths):
                padded.append(start + torch.arange(T).clamp(max=n - 1))  # padding repeats the last token
                back.append(self.num_prompt_tokens + place + row * T + torch.arange(n))
                start += n
            place += G * T
        self.padded = torch.cat(padded).to(device) if padded else torch.zeros(0, dtype=torch.long, device=device)
        self.back = torch.cat(back).to(device)
        self.masks = [mask_behind(P, T, device) for P, (_, T) in zip(self.prompts, self.shapes, strict=True)]

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """All prompts are split off at once: the gradient of a slice would be written out over all N tokens, once for
        each prompt."""
        E, sizes = q.shape[-1], [G * T for G, T in self.shapes]
        asked = [x[:, :, : self.num_prompt_tokens].split(self.prompts, dim=2) for x in (q, k, v)]
        flat = [x[0].transpose(0, 1).flatten(1) for x in (q, k, v)]  # (N, heads E)
        padded = [x.index_select(0, self.padded).split(sizes) for x in flat]
        found, late = [], []
        parts = zip(self.shapes, self.masks, zip(*asked, strict=True), zip(*padded, strict=True), strict=True)
        for (G, T), mask, own, new in parts:
            found.append(heads_joined(F.scaled_dot_product_attention(*own, is_causal=True, enable_gqa=True))[0])
            if G:
                rows = [x.view(G, T, -1, E).transpose(1, 2) for x in new]
                pairs = zip(own[1:], rows[1:], strict=True)
                keys, values = (torch.cat([prompt.expand(G, -1, -1, -1), more], dim=2) for prompt, more in pairs)
                out = F.scaled_dot_product_attention(rows[0], keys, values, attn_mask=mask, enable_gqa=True)
                late.append(heads_joined(out).flatten(0, 1))
        return torch.cat(found + late).index_select(0, self.back)[None]


class AsRows:
    """Each completion behind a copy of its prompt's queries, keys and values. Rows are padded on the right, where no
    token looks, and at most to twice their length; those of similar length are one call. What a prompt says itself is
    the same in each of its rows, and taken from one."""

    def __init__(self, groups: Sequence[tuple[int, Sequence[int]]], device: torch.device) -> None:
        rows, asked, start = [], 0, sum(P for P, _ in groups)
        for P, lengths in groups:
            prompt = torch.arange(asked, asked + P)
            asked += P
            for n in lengths or [0]:
                rows.append(torch.cat([prompt, torch.arange(start, start + n)]))
                start += n
        rows.sort(key=len, reverse=True)
        self.calls: list[tuple[Tensor, int]] = []  # which tokens are in the rows of a call, (rows S), and how many rows
        back, place = torch.empty(start, dtype=torch.long), 0
        while rows:
            S = len(rows[0])
            own = [row for row in rows if 2 * len(row) >= S]
            rows = rows[len(own) :]
            for row in own:
                back[row] = place + torch.arange(len(row))
                place += S
            index = torch.stack([F.pad(row, (0, S - len(row)), value=int(row[-1])) for row in own])
            self.calls.append((index.flatten().to(device), len(own)))
        self.back = back.to(device)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        E, found = q.shape[-1], []
        flat = [x[0].transpose(0, 1).flatten(1) for x in (q, k, v)]  # (N, heads E)
        for index, count in self.calls:
            q, k, v = (x.index_select(0, index).view(count, -1, x.shape[1] // E, E).transpose(1, 2) for x in flat)
            if q.is_cuda and q.dtype == torch.float32:  # of which no kernel that writes no weights out takes groups
                k, v = (x.repeat_interleave(q.shape[1] // x.shape[1], dim=1) for x in (k, v))
            out = F.scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)
            found.append(heads_joined(out).flatten(0, 1))
        return torch.cat(found).index_select(0, self.back)[None]


def mask_behind(P: int, T: int, device: torch.device) -> Tensor:
    """(T, P + T): each of T tokens sees the P before them, and its own predecessors. On a GPU the mask is not written
    out, since only then does the kernel that keeps no (T, P + T) weights take it."""
    if device.type == "cuda":
        from torch.nn.attention.bias import causal_lower_right  # here: it takes two seconds to import

        return causal_lower_right(T, P + T)
    return torch.arange(P + T, device=device) <= P + torch.arange(T, device=device)[:, None]


Cache = NoCache | KVCache | Documents | Packed
