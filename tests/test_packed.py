"""Prompts and completions in one long row: both ways of attending, the CPU's and the GPU's, beside plain attention of
each completion alone."""

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch import Tensor

from thinkling.model.packed import AsRows, Packed, copies_few

CPU = torch.device("cpu")
H, K, E = 4, 2, 8
Groups = list[tuple[int, list[int]]]
groups_of_any_kind = st.lists(st.tuples(st.integers(1, 9), st.lists(st.integers(0, 12), max_size=4)), min_size=1,
                              max_size=5)  # fmt: skip


def plainly(q: Tensor, k: Tensor, v: Tensor, groups: Groups) -> Tensor:
    """Softmax of each token over what it may see, token by token, from the definition."""
    out = torch.zeros(q.shape[2], H * E, dtype=q.dtype)
    asked, late = 0, sum(P for P, _ in groups)
    for P, lengths in groups:
        prompt = list(range(asked, asked + P))
        asked += P
        rows = [prompt] + [prompt + list(range(late + sum(lengths[:i]), late + sum(lengths[: i + 1])))
                           for i in range(len(lengths))]  # fmt: skip
        late += sum(lengths)
        parts = []
        for row in rows:
            for t, token in enumerate(row):
                for head in range(H):
                    seen, kv = row[: t + 1], head // (H // K)
                    weights = (k[0, kv, seen] @ q[0, head, token] / E**0.5).softmax(0)
                    parts.append((token, head, weights @ v[0, kv, seen]))
        for token, head, value in parts:
            out = out.index_put((torch.tensor(token), torch.arange(head * E, head * E + E)), value)
    return out[None]


@pytest.mark.parametrize("as_rows", [False, True])
@given(groups_of_any_kind, st.integers(0, 99))
@example([(3, []), (1, [0, 0]), (2, [1])], 0)
@example([(5, [12, 1, 1, 0]), (1, [1])], 1)
@settings(max_examples=12, deadline=None)
def test_attention_is_that_of_each_completion_behind_its_prompt(as_rows: bool, groups: Groups, seed: int) -> None:
    N = sum(P + sum(lengths) for P, lengths in groups)
    random = torch.Generator().manual_seed(seed)
    q, k, v = (torch.randn(1, heads, N, E, generator=random, dtype=torch.float64, requires_grad=True)
               for heads in (H, K, K))  # fmt: skip
    packed, given_back = Packed(groups, CPU, as_rows), torch.randn(1, N, H * E, generator=random, dtype=torch.float64)
    found, wanted = packed.attend(0, q, k, v), plainly(q, k, v, groups)
    assert (found - wanted).abs().max() < 1e-12
    mine, theirs = (torch.autograd.grad(out, (q, k, v), given_back) for out in (found, wanted))
    assert max((a - b).abs().max() for a, b in zip(mine, theirs, strict=True)) < 1e-12
    positions = [t for P, _ in groups for t in range(P)] + [P + t for P, own in groups for n in own for t in range(n)]
    assert packed.begin(torch.zeros(1, N)).tolist() == [positions]


def test_rows_of_a_call_are_at_most_half_padding() -> None:
    rows = AsRows([(4, [100, 90, 49, 20]), (30, []), (2, [5])], CPU)
    assert [(len(index) // count, count) for index, count in rows.calls] == [(104, 3), (30, 2), (7, 1)]
    assert sorted(rows.back.tolist()) == sorted(set(rows.back.tolist()))  # every token has a place of its own


def test_a_gpu_takes_rows_where_prompts_are_copied_little() -> None:
    gpu = torch.device("cuda")
    assert copies_few([(60, [200] * 8), (9, []), (1, [0])], gpu)  # 2,090 tokens in rows, of 1,670
    assert copies_few([(300, [1]), (300, [2])], gpu)
    assert not copies_few([(1000, [50] * 20)], gpu)  # 21,000 of 2,000
    assert not copies_few([(60, [200] * 8)], CPU)
