"""`thinkling explain` shows what the engine does: stages worked by hand, the engine's own completion, safe drawings."""

import asyncio
import math
import re
from collections.abc import Callable
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import torch
from html_page import Page
from rich.console import Console

from thinkling import cli
from thinkling.errors import UserError
from thinkling.generate.distribution import BatchedSampling, distribution
from thinkling.generate.explain import Candidate, DrawnToken, candidates_of, explain, stages_of
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.tokenizer import Tokenizer
from thinkling.report.explain_page import page
from thinkling.report.explain_picture import drawable, fonts_for, installed, png
from thinkling.report.explain_terminal import bar, check_free, show, two_bars, write
from thinkling.report.explain_words import headline, percent, stage_cells, visible

# Four tokens with the probabilities 8/16, 1/16, 5/16, 2/16: by rank they are the tokens 0, 2, 3, 1.
LOGITS = torch.tensor([8.0, 1.0, 5.0, 2.0]).log()
SAMPLING = Sampling(temperature=1.2, top_k=40, top_p=0.9, min_p=0.02, max_tokens=24, seed=5)
HOSTILE = "</pre><script>alert('x')</script> [bold]\x1b[31m & \"{body}"


def shares(sampling: Sampling) -> dict[str, list[float]]:
    return {stage.name: [round(p, 4) for p in stage.logprobs.exp().tolist()] for stage in stages_of(LOGITS, sampling)}


def screen(explanation: object, tokenizer: Tokenizer, width: int = 80) -> str:
    console = Console(file=StringIO(), width=width, highlight=False)
    show(explanation, tokenizer, console)
    return console.file.getvalue()


@pytest.fixture
def spoken(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Let every token of the tiny model have this text."""

    def speak(text: str) -> None:
        monkeypatch.setattr(tiny.tokenizer, "token_bytes", lambda token: text.encode())

    return speak


def test_the_models_own_distribution_is_the_first_stage() -> None:
    assert shares(Sampling()) == {"model": [0.5, 0.0625, 0.3125, 0.125]}


def test_temperature_divides_the_logits() -> None:
    # At temperature 1/2 the probabilities are squared: 64, 1, 25, 4 of 94.
    assert shares(Sampling(0.5))["temperature"] == [0.6809, 0.0106, 0.266, 0.0426]


def test_top_k_keeps_the_k_likeliest() -> None:
    assert shares(Sampling(top_k=2)) == {
        "model": [0.5, 0.0625, 0.3125, 0.125],
        "top-k": [0.6154, 0, 0.3846, 0],  # 8/13, 5/13
    }


def test_top_p_keeps_the_smallest_set_that_holds_p() -> None:
    # 8/16 and 5/16 are 0.8125 together: less than 0.85, so the third token is needed.
    assert shares(Sampling(top_p=0.85))["top-p"] == [0.5333, 0, 0.3333, 0.1333]
    assert shares(Sampling(top_p=0.8))["top-p"] == [0.6154, 0, 0.3846, 0]


def test_min_p_drops_what_is_small_beside_the_likeliest() -> None:
    # 0.3 of 8/16 is 2.4/16.
    assert shares(Sampling(min_p=0.3))["min-p"] == [0.6154, 0, 0.3846, 0]


def test_each_stage_goes_on_from_the_one_before() -> None:
    """Squared, then three kept (64, 25, 4 of 93), then 0.9 of them (64 and 25 are 0.957), then those over 0.4 of 64."""
    found = shares(Sampling(0.5, top_k=3, top_p=0.9, min_p=0.4))
    assert list(found) == ["model", "temperature", "top-k", "top-p", "min-p"]
    assert found["top-k"] == [0.6882, 0, 0.2688, 0.043]
    assert found["top-p"] == [0.7191, 0, 0.2809, 0]
    assert found["min-p"] == [1, 0, 0, 0]


@pytest.mark.parametrize("sampling", [SAMPLING, Sampling(0.0), Sampling(0.0, top_k=2), Sampling(1.0, min_p=0.2)])
def test_the_last_stage_is_what_the_engine_draws_from(sampling: Sampling) -> None:
    logits = torch.randn(50, generator=torch.Generator().manual_seed(0)) * 3
    expected = distribution(logits[None], BatchedSampling([sampling], logits.device))[0]
    assert torch.equal(stages_of(logits, sampling)[-1].logprobs, expected)


def test_entropy_and_tokens_left() -> None:
    stages = stages_of(torch.zeros(8), Sampling(top_k=4))
    assert [stage.entropy for stage in stages] == pytest.approx([math.log(8), math.log(4)])
    assert [stage.num_left for stage in stages] == [8, 4]
    (stage,) = stages_of(LOGITS, Sampling())
    # H = log 16 - (8 log 8 + 5 log 5 + 2 log 2) / 16
    assert stage.entropy == pytest.approx(math.log(16) - (8 * math.log(8) + 5 * math.log(5) + 2 * math.log(2)) / 16)


def test_candidates_come_by_rank_and_the_drawn_one_is_never_missing() -> None:
    stages = stages_of(LOGITS, Sampling(top_k=3))
    shown, others = candidates_of(LOGITS, stages, top=2, drawn=2)
    assert [(c.rank, c.token) for c in shown] == [(1, 0), (2, 2)]
    assert [math.exp(value) for value in others] == pytest.approx([3 / 16, 2 / 15])
    shown, others = candidates_of(LOGITS, stages, top=1, drawn=3)
    assert [(c.rank, c.token) for c in shown] == [(1, 0), (3, 3)]
    assert shown[1].logit == pytest.approx(math.log(2))
    assert [math.exp(value) for value in shown[1].logprobs] == pytest.approx([2 / 16, 2 / 15])
    shown, others = candidates_of(LOGITS, stages, top=9, drawn=0)
    assert len(shown) == 4
    assert others == (-math.inf, -math.inf)


PENALISED = replace(SAMPLING, repetition_penalty=1.5, presence_penalty=0.5, frequency_penalty=0.3)


@pytest.mark.parametrize(
    "sampling", [SAMPLING, replace(SAMPLING, temperature=0.0), Sampling(max_tokens=24, seed=1), PENALISED]
)
def test_what_is_followed_is_the_engines_completion(tiny: LanguageModel, sampling: Sampling) -> None:
    prompt = tiny.tokenizer.encode("What is 1 + 1?")
    explanation = explain(tiny, prompt, sampling, num_alternatives=511)
    completion = asyncio.run(tiny.complete(prompt, sampling))
    assert [step.token for step in explanation.steps] == list(completion.tokens)
    for step, logprob in zip(explanation.steps, completion.logprobs, strict=True):
        assert step.probability == pytest.approx(math.exp(logprob), abs=1e-5)
        # The alternatives come from a pass of our own: with the drawn token they must make one whole distribution.
        assert step.probability + sum(p for _, p in step.alternatives) == pytest.approx(1, abs=1e-5)
        assert step.token not in dict(step.alternatives)
        parts = [step.probability, *(p for _, p in step.alternatives)]
        assert step.entropy == pytest.approx(-sum(p * math.log(p) for p in parts), abs=1e-4)
        likelier, at_least = (sum(p > step.probability + e for _, p in step.alternatives) for e in (1e-6, -1e-6))
        assert likelier < step.rank <= 1 + at_least
    (drawn,) = (c for c in explanation.candidates if c.token == completion.tokens[0])
    assert drawn.rank == explanation.steps[0].rank
    assert drawn.logprobs[-1] == pytest.approx(completion.logprobs[0], abs=1e-5)


def test_a_long_completion_is_read_in_parts(tiny: LanguageModel, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = explain(tiny, "1 + 1 =", SAMPLING).steps
    monkeypatch.setattr("thinkling.generate.explain.CHUNK_ELEMENTS", 5 * 512)
    for step, same in zip(explain(tiny, "1 + 1 =", SAMPLING).steps, whole, strict=True):
        assert (step.token, step.rank) == (same.token, same.rank)
        assert step.entropy == pytest.approx(same.entropy, abs=1e-5)


def test_following_further_only_adds_tokens(tiny: LanguageModel) -> None:
    short = explain(tiny, "1 + 1 =", replace(SAMPLING, max_tokens=3)).steps
    assert [step.token for step in short] == [step.token for step in explain(tiny, "1 + 1 =", SAMPLING).steps[:3]]


def test_every_token_can_be_seen(tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [b" a", b"\n", b"\t\r", b"\x1b[31m", "\u202e".encode(), b"\xe2\x82", "\u0301".encode(), b"", "é".encode()]
    shown = ["·a", "⏎", "⇥␍", "\\x1b[31m", "\\u202e", "\\xe2\\x82", "◌\u0301", "#7", "é"]
    monkeypatch.setattr(tiny_tokenizer, "token_bytes", lambda token: texts[token])
    assert [visible(tiny_tokenizer, token) for token in range(len(texts))] == shown


def test_numbers_say_no_more_than_is_true() -> None:
    assert [percent(p) for p in (1.0, 0.99996, 0.5, 0.001, 0.0001, 0.0)] == [
        "100.0%", ">99.9%", "50.0%", "0.1%", "<0.1%", "0.0%",
    ]  # fmt: skip
    assert stage_cells([math.log(0.25), -math.inf, -math.inf]) == ["25.0%", "cut", ""]
    assert stage_cells([-math.inf, -math.inf]) == ["", ""]  # of no tokens at all; --top 5000 once ended here
    assert stage_cells([-2000.0]) == ["0.0%"]  # too small for a float, but not cut
    assert [bar(share, 4) for share in (0, 0.125, 0.5, 1, 7)] == ["", "▌", "██", "████", "████"]


def test_the_terminal_shows_both_parts_in_80_columns(tiny: LanguageModel) -> None:
    explanation = explain(tiny, "1 + 1 =", SAMPLING)
    text = screen(explanation, tiny.tokenizer)
    assert max(map(len, text.splitlines())) <= 80
    for shown in ("Prompt: 1 + 1 = (", "top-k", "cut", "◂", "tokens left", "entropy, nats", "Then: 24 tokens"):
        assert shown in text
    assert "\x1b" not in text
    lines = [re.split(r" +", line.strip())[:3] for line in text[text.index("Then:") :].splitlines()]
    for number, step in enumerate(explanation.steps, start=1):
        name = visible(tiny.tokenizer, step.token)[:5]
        assert any(row[0] == str(number) and len(row) > 1 and row[1].startswith(name) for row in lines)
    assert text.count("▸") == 1 + sum(step.rank > 1 for step in explanation.steps)


def test_bars_show_what_is_left_and_what_was_taken() -> None:
    def drawn(before: float, after: float) -> str:
        return two_bars(Candidate(1, 0, 0.0, (math.log(before), 0.0, math.log(after))), 8).plain

    assert drawn(1.0, 0.5) == "████░░░░"
    assert drawn(0.5, 1.0) == "████████"
    cut = two_bars(Candidate(1, 0, 0.0, (math.log(0.5), -math.inf)), 8)
    assert cut.plain == "░░░░"


def test_greedy_is_said_and_settings_that_are_off_are_named(tiny: LanguageModel) -> None:
    text = screen(explain(tiny, "1 + 1 =", Sampling(0.0, max_tokens=4)), tiny.tokenizer)
    assert "temperature 0 is greedy" in text
    assert "Off: temperature, top-k, top-p, min-p." in " ".join(text.split())
    assert "of them not" not in text


def test_brackets_and_escapes_of_a_model_reach_the_terminal_as_text(
    tiny: LanguageModel, spoken: Callable[[str], None]
) -> None:
    spoken("[red]\x1b[31m\n" * 5)
    explanation = explain(tiny, [1, 2], SAMPLING)
    text = screen(explanation, tiny.tokenizer)
    assert "\x1b" not in text
    rows = re.findall(r"^ +[\d,]+ \[red\]\\x1b\[\S*… ", text, flags=re.MULTILINE)
    assert len(rows) == len(explanation.candidates) + len(explanation.steps)
    assert len(re.findall(r"… +\d+\.\d% +(?:1|▸\d+) +\d\.\d\d █", text)) == len(explanation.steps)


def test_the_page_holds_both_parts_and_no_text_of_a_model_as_html(
    tiny: LanguageModel, spoken: Callable[[str], None]
) -> None:
    spoken(HOSTILE)
    explanation = explain(tiny, [1, 2], SAMPLING)
    html = page(explanation, tiny.tokenizer, {"model": HOSTILE.replace("\x1b", "")})
    seen = Page(html)
    assert seen.open == []
    assert not {"script", "img", "link", "iframe", "b>"} & set(seen.tags)
    assert not [name for name, _ in seen.attributes if name.startswith("on") or name in ("src", "href")]
    assert "default-src 'none'" in html
    shown = "</pre><script>alert('x')</script>·[bold]\\x1b[31m·&·\"{body}"
    alternatives = sum(len(step.alternatives) for step in explanation.steps)
    assert seen.text.count(shown) == 1 + len(explanation.candidates) + 2 * len(explanation.steps) + alternatives
    assert "\x1b" not in html
    for stage in explanation.stages:
        assert f"{stage.entropy:.2f}" in seen.text


def test_the_page_marks_what_was_drawn_and_where_it_was_not_the_likeliest(tiny: LanguageModel) -> None:
    explanation = explain(tiny, "1 + 1 =", SAMPLING)
    drawn = explanation.candidates[1].token
    steps = (DrawnToken(drawn, 0.4, 2, 0.7, ()), DrawnToken(5, 0.9, 1, 0.68, ()), DrawnToken(6, 0.1, 3, 0.1, ()))
    attributes = Page(page(replace(explanation, steps=steps), tiny.tokenizer, {})).attributes
    assert [attributes.count(("class", name)) for name in ("drawn", "unlikely", "loud", "open")] == [1, 2, 2, 1]
    assert [value for name, value in attributes if name == "title"] == [
        "40.0%, rank 2, entropy 0.70 nats", "90.0%, rank 1, entropy 0.68 nats", "10.0%, rank 3, entropy 0.10 nats",
    ]  # fmt: skip


def test_the_headline_counts(tiny: LanguageModel) -> None:
    explanation = explain(tiny, "1 + 1 =", Sampling(top_k=1, max_tokens=1))
    first, then = headline(explanation, lambda token: "x")
    assert first == "Next: “x” with 100.0% (drawn from 1 token)."
    assert then == "Then: 1 token, cut by the token limit; log-probability 0.00, mean entropy 0.00 nats."
    steps = (DrawnToken(0, 0.5, 2, 1.0, ()), DrawnToken(1, 0.5, 1, 0.5, ()))
    ended = replace(explanation.completion, finish_reason="stop", logprobs=(-0.5, -0.75))
    then = headline(replace(explanation, steps=steps, completion=ended), str)[1]
    assert then == (
        "Then: 2 tokens, ended by its stop token; log-probability -1.25, mean entropy 0.75 nats; "
        "1 of them not the likeliest."
    )


@pytest.mark.parametrize("text", ["$\\frac$", "é中\U0001f600", "\x07 "])
def test_the_picture_is_a_png_whatever_the_tokens_hold(
    tiny: LanguageModel, spoken: Callable[[str], None], text: str, recwarn: pytest.WarningsRecorder
) -> None:
    """matplotlib would read $ as mathematics and raise, and draw a box, with a warning, for what its font lacks."""
    spoken(text)
    picture = png(explain(tiny, [1, 2], replace(SAMPLING, max_tokens=3), top=2), tiny.tokenizer)
    assert picture.startswith(b"\x89PNG\r\n\x1a\n")
    assert picture.endswith(b"IEND\xaeB`\x82")
    assert not [str(warning.message) for warning in recwarn if "lyph" in str(warning.message)]


def test_a_character_that_no_font_has_is_known() -> None:
    families, missing = fonts_for("aé⏎\U000f1234")
    assert missing == {"\U000f1234"}
    assert families[0] == "DejaVu Sans"
    assert drawable("a\u4e2d\U0001f600", {"\u4e2d", "\U0001f600"}) == "a[U+4E2D][U+1F600]"


def test_a_font_that_came_after_matplotlibs_list_is_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Chinese stood as codes in the picture though a font for it was installed: matplotlib's list was older."""
    from matplotlib import font_manager

    source = font_manager.findfont("DejaVu Sans Mono")
    (tmp_path / "new.ttf").write_bytes(Path(source).read_bytes())
    (tmp_path / "broken.ttf").write_bytes(b"no font")
    found = [str(tmp_path / "new.ttf"), str(tmp_path / "broken.ttf")]
    monkeypatch.setattr(font_manager, "findSystemFonts", lambda: found)
    monkeypatch.setattr(font_manager.fontManager, "ttflist", [])
    assert installed() == [("DejaVu Sans Mono", found[0])]


def test_bars_of_probabilities_have_one_scale(tiny: LanguageModel) -> None:
    """A full bar is 100% in both tables; the upper one was once drawn against its own largest."""
    explanation = explain(tiny, "1 + 1 =", SAMPLING)
    html = page(explanation, tiny.tokenizer, {})
    first = explanation.candidates[0]
    for share in (math.exp(first.logprobs[-1]), explanation.steps[0].probability):
        assert f'{percent(share)}<i style="--share:{share:.2%}">' in html


def test_only_a_drawing_of_its_own_is_replaced(tiny: LanguageModel, tmp_path: Path) -> None:
    explanation = explain(tiny, "1 + 1 =", replace(SAMPLING, max_tokens=2))
    for name, start in (("a.html", b"<!DOCTYPE html>"), ("a.PNG", b"\x89PNG")):
        path = tmp_path / "new folder" / name
        for _ in range(2):
            write(path, explanation, tiny.tokenizer, {})
            assert path.read_bytes().startswith(start)
        path.write_bytes(start + b" somebody's own notes on thinkling explain")
        with pytest.raises(UserError, match="exists and was not drawn by thinkling explain"):
            write(path, explanation, tiny.tokenizer, {})
        assert path.read_bytes() == start + b" somebody's own notes on thinkling explain"
    assert {path.name for path in (tmp_path / "new folder").iterdir()} == {"a.html", "a.PNG"}
    with pytest.raises(UserError, match="is a folder"):
        check_free(tmp_path)
    for suffix in ("html", "png"):
        with pytest.raises(UserError, match="a file stands where a folder is needed"):
            write(tmp_path / "new folder" / "a.html" / f"b.{suffix}", explanation, tiny.tokenizer, {})


@pytest.mark.parametrize(
    "flags, complaint",
    [
        (["--out", "picture.pdf"], "--out picture.pdf is neither a .html nor a .png file"),
        (["--out", "{mine}"], "was not drawn by thinkling explain"),
        (["--top", "0"], "--top must be at least 1"),
        (["--top-p", "0"], "top-p must be above 0"),
        (["--max-tokens", "0"], "max-tokens must be at least 1"),
    ],
)
def test_bad_flags_are_one_line_before_a_model_is_loaded(
    flags: list[str], complaint: str, capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "mine.html").write_text("my notes")
    monkeypatch.setattr(LanguageModel, "load", lambda *_, **__: pytest.fail("the model was loaded"))
    with pytest.raises(SystemExit) as end:
        cli.main(["explain", "hi", *(flag.format(mine=tmp_path / "mine.html") for flag in flags)])
    shown = capsys.readouterr().err
    assert end.value.code == 2
    assert complaint in shown
    assert shown.count("\n") == 1
    assert (tmp_path / "mine.html").read_text() == "my notes"


def test_the_command_shows_what_generate_prints(
    capsys: pytest.CaptureFixture, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    flags = ["What is 3 + 4?", "--temperature", "1.1", "--top-p", "0.95", "--seed", "2", "--max-tokens", "12"]
    cli.main(["generate", *flags])
    printed = capsys.readouterr().out.removesuffix("\n")
    path = tmp_path / "page.html"
    cli.main(["explain", *flags, "--out", str(path)])
    shown = capsys.readouterr().out
    assert f"Drawn into {path}" in shown
    names = re.findall(r"^ +\d+ (\S+) +[\d.<>]+% ", shown[shown.index("Then:") :], flags=re.MULTILINE)
    text = "".join(name for name in names if name != "<|endoftext|>")
    assert text == printed.replace(" ", "·").replace("\n", "⏎")
    assert "<h2>Token by token</h2>" in path.read_text(encoding="utf-8")
