"""The chat in the terminal: what of a reply is remembered as the answer."""

from types import SimpleNamespace

import pytest
from rich.console import Console

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.serve.chat import reply


@pytest.mark.parametrize(
    "pieces, answer, shown",
    [
        (["<think>", "7 + 5", "</think>", "It is 12"], "It is 12", "7 + 5It is 12"),
        (["It is 12", "<|endoftext|>", "and more"], "It is 12", "It is 12"),
        (["<think>", "7 + 5 is"], "", "7 + 5 is"),  # thinking that never closes is no answer
        (["7 + 5", "</think>", "It is 12"], "It is 12", "7 + 5It is 12"),
        (["the tag <", "/think> closes"], "the tag </think> closes", "the tag </think> closes"),  # spelt, not the token
    ],
)
def test_the_answer_is_what_follows_the_thinking(
    tiny: LanguageModel, pieces: list[str], answer: str, shown: str, capsys: pytest.CaptureFixture
) -> None:
    ids = [tiny.tokenizer.special_id(piece) for piece in pieces]
    drawn = [[i] if i is not None else tiny.tokenizer.encode(p) for i, p in zip(ids, pieces, strict=True)]
    says = SimpleNamespace(
        tokenizer=tiny.tokenizer, stream_tokens=lambda *_: (token for part in drawn for token in part)
    )
    assert reply(says, [1], Sampling(), Console(width=80)) == answer
    assert capsys.readouterr().out == shown + "\n"
