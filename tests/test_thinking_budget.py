"""Thinking that ends in time: softly where </think> is likely, hard at the limit, and never without room for an
answer."""

import math
from dataclasses import replace

import pytest
import torch

from thinkling.commands.eval import Eval, methods_of
from thinkling.errors import FatalError, UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.generate.thinking_budget import ThinkingBudget, closing_of
from thinkling.model.tokenizer import Tokenizer

FREE = Sampling(temperature=1.0, max_tokens=30, seed=3)


def drawn(model: LanguageModel, *asks: tuple[list[int], Sampling]) -> list[tuple[int, ...]]:
    jobs = [model.engine.request(prompt, sampling) for prompt, sampling in asks]
    found = dict(model.engine_thread.outcomes(jobs))
    return [found[job.id].tokens for job in jobs]


def test_what_counts_as_thinking_by_hand(tiny_tokenizer: Tokenizer) -> None:
    begin, end = map(tiny_tokenizer.special_id, ("<think>", "</think>"))
    opened = ThinkingBudget(tiny_tokenizer, most=4, opened=True)
    assert [(opened.push(5), opened.soft) for _ in range(3)] == [((), False), ((), False), ((), True)]
    assert opened.push(5) == closing_of(tiny_tokenizer) and not opened.soft
    assert [opened.push(token) for token in (*opened.closing, 5, 5)] == [()] * (len(opened.closing) + 2)
    closed = ThinkingBudget(tiny_tokenizer, most=2, opened=False)
    for token in (begin, 5, end, 5, begin, 5, 5, 5):  # a second <think> is part of the answer
        assert closed.push(token) == ()
    answer = ThinkingBudget(tiny_tokenizer, most=2, opened=False)
    assert not any(answer.push(5) for _ in range(9)) and answer.spent == 0


def test_tags_of_ordinary_text_count_too(tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "has_think_tokens", property(lambda self: False))
    monkeypatch.setattr(Tokenizer, "special_id", lambda self, name: None)
    budget = ThinkingBudget(tiny_tokenizer, most=3, opened=False)
    assert not any(budget.push(token) for token in tiny_tokenizer.encode("<think>"))
    put = [budget.push(token) for token in tiny_tokenizer.encode("1 + 2 = ")]
    assert put[:2] == [(), ()] and put[2] == closing_of(tiny_tokenizer) and not any(put[3:])


def test_the_limit_closes_the_thinking_of_its_request_alone(tiny: LanguageModel) -> None:
    begin = tiny.tokenizer.special_id("<think>")
    prompt, limited = [5, begin], replace(FREE, max_thinking_tokens=7)
    before, neighbour = drawn(tiny, (prompt, FREE), ([5, 6], FREE))
    found, same, other = drawn(tiny, (prompt, limited), ([5, 6], FREE), ([5, 6], limited))
    closing = closing_of(tiny.tokenizer)
    assert found[:7] == before[:7] and found[7 : 7 + len(closing)] == closing
    assert same == neighbour == other  # who does not think has nothing to close


@pytest.mark.parametrize(("share", "closes"), [(0.12, True), (0.08, False)])
def test_likely_marks_close_softly(
    tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch, share: float, closes: bool
) -> None:
    """The mark has this probability everywhere. The budget is 8, so from the sixth token on it may be taken."""
    begin, end = map(tiny.tokenizer.special_id, ("<think>", "</think>"))
    own = tiny.engine.runner.logits

    def logits(counts: list[int]) -> torch.Tensor:
        found = own(counts)
        found[:, end] = float("-inf")
        found[:, end] = found.logsumexp(-1) + math.log(share / (1 - share))
        return found

    monkeypatch.setattr(tiny.engine.runner, "logits", logits)
    sampling = replace(FREE, seed=11, max_thinking_tokens=8)
    (tokens,) = drawn(tiny, ([5, begin], sampling))
    seeds = iter(range(12, 99))
    while end in tokens[:6]:  # drawn by chance: another stream
        (tokens,) = drawn(tiny, ([5, begin], replace(sampling, seed=next(seeds))))
    assert (tokens[6] == end) == closes
    if not closes:
        assert end in tokens[6:10]


def test_a_budget_that_leaves_no_answer_is_refused_with_its_arithmetic(tiny: LanguageModel) -> None:
    closing, ask = len(closing_of(tiny.tokenizer)), tiny.engine.request
    fits = replace(FREE, max_thinking_tokens=29 - closing)
    assert ask([5, 6], fits).budget.most == 29 - closing
    told = f"{30 - closing} and {closing} tokens that close the thinking leave nothing for the answer of 30 tokens"
    with pytest.raises(UserError, match=rf"max-thinking-tokens {told} \(max-tokens\)"):
        ask([5, 6], replace(fits, max_thinking_tokens=30 - closing))
    with pytest.raises(UserError, match=r"the answer of 12 tokens \(what the prompt leaves of the context\)"):
        ask([5] * 500, fits)
    with pytest.raises(UserError, match="max-thinking-tokens must be at least 1, not 0"):
        replace(FREE, max_thinking_tokens=0)


def test_who_cannot_think_has_no_budget(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Tokenizer, "can_think", False)
    with pytest.raises(FatalError, match="this model has no <think> and </think>"):
        tiny.complete_all([[5, 6]], replace(FREE, max_thinking_tokens=3))


def test_eval_hands_it_on_or_says_that_it_has_no_meaning() -> None:
    settings = Eval(out="runs/x", max_thinking_tokens=9)
    assert methods_of(settings)[2].max_thinking_tokens == 9
    with pytest.raises(UserError, match="--max-thinking-tokens has no meaning for budget-forcing"):
        methods_of(replace(settings, method="budget-forcing"))
