"""At 80 and at 40 columns every table of the terminal keeps its columns or stacks them: none is dropped without a word.

rich drops whole columns where there is no room: at 40 columns `scale` once lost the column that names the method.
"""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console
from rich.text import Text

from thinkling.commands import demo
from thinkling.evaluate.result import Result
from thinkling.evaluate.scorer_quality import Ranking
from thinkling.generate.explain import explain
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.report.eval_report import table
from thinkling.report.explain_terminal import show
from thinkling.report.explain_words import percent, stage_cells, visible
from thinkling.report.scale_terminal import terminal
from thinkling.report.scorer_table import table as scorers_table
from thinkling.report.tables import Sheet
from thinkling.train.rl.live_table import LiveTable
from thinkling.train.rl.metrics import StepMetrics

WIDTHS = pytest.mark.parametrize("width", [40, 80])


def printed(*parts: object, width: int) -> str:
    console = Console(width=width, file=StringIO(), highlight=False)
    for part in parts:
        console.print(part)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    return text


def assert_holds(text: str, *values: str) -> None:
    assert "…" not in text
    words = " ".join(text.split())
    missing = [value for value in values if value not in words]
    assert not missing, f"{missing} not in\n{text}"


def result(method: str, accuracy: float, tokens: float, **more: object) -> Result:
    return Result(method=method, num_problems=4, accuracy=accuracy, low=accuracy - 0.1, high=accuracy + 0.1,
                  tokens=tokens, truncated=0.06, seconds=0.625, wall_seconds=1234.0, flops=7.5e9, **more)  # fmt: skip


@WIDTHS
def test_eval_and_demo(width: int) -> None:
    rows = [result("plain", 0.25, 11.3), result("vote of 8, after GRPO", 0.75, 577.0)]
    text = printed(table(rows), width=width)
    assert_holds(text, "plain", "vote of 8, after", "GRPO", "25.0% [15.0, 35.0]", "75.0% [65.0, 85.0]", "11.3", "577",
                 "1,234", "6.0%", "truncated", "seconds", "accuracy", "4 problems")  # fmt: skip


def samples(budget: int) -> dict[str, object]:
    return {"budget": budget, "unit": "samples"}


@WIDTHS
def test_scale(width: int) -> None:
    points = [
        result("plain, one answer", 0.25, 11.3, correct=(True, False, False, False)),
        result("step by step, vote of n, T = 0.6", 0.75, 577.0, correct=(True, True, True, False), **samples(8)),
        result("plain, best of n by mean-logprob", 0.5, 1234.0, correct=(True, True, False, False), **samples(16)),
    ]  # fmt: skip
    text = printed(*terminal(points), width=width)
    assert_holds(text, "plain, one answer", "25.0% [15.0, 35.0]", "577", "1,234", "0.625", "7.50", "6.0%", "T S F",
                 "step by step, vote of 8, T = 0.6", "GFLOPs", "cut off", "+50.0 [", "51x", "unsure")  # fmt: skip


@WIDTHS
def test_scorers(width: int) -> None:
    found = [Ranking("confidence-bottom", 0.926, (0.915, 0.937), 0.5, (0.25, 0.75), 0.61, (0.56, 0.66))]
    shown = scorers_table(found, 500, 8, "plain")
    text = printed(shown, width=width)
    assert_holds(text, "confidence-bottom", ".926 [.915, .937]", ".500 [.250, .750]", "61.0% [56.0, 66.0]",
                 "same problem", "any problem", "best of 8", "500 problems")  # fmt: skip


@WIDTHS
def test_live_table(width: int) -> None:
    step = StepMetrics(
        step=41, asked=16, reward=0.77, parts={"correct": 0.77}, right=0.81, signal=0.31, all_right=0.6, all_wrong=0.1,
        length=62.0, length_right=None, length_wrong=None, length_reward=None, truncated=0.02, repetitive=0.0,
        entropy=0.123, clipped=0.0, kl=0.0, mismatch=5e-7, mismatch_max=8e-6, ess=1.0, grad_norm=0.456, tokens=7936,
        generate_seconds=1.0, score_seconds=0.5, train_seconds=0.5,
    )  # fmt: skip
    live = LiveTable(60)
    live(step)
    text = printed(live.render(), width=width)
    assert_holds(text, *LiveTable.COLUMNS, "42", "81%", "0.77", "31%", "62", "2%", "0.123", "0.456", "2.0", "7.9k/7.9k")
    assert live.words() == "GRPO  1/60 steps  right 81%  reward 0.77  62 tokens  entropy 0.123"


@pytest.mark.parametrize("width", [40, 100])
def test_a_measurement_of_the_demo(width: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 40 columns the line was broken inside the interval."""
    row = Result(method="x", num_problems=9, accuracy=0.734, low=0.692, high=0.781, tokens=28.0, truncated=0.0,
                 wall_seconds=7.25)  # fmt: skip
    monkeypatch.setattr("thinkling.evaluate.run.evaluate", lambda *_: (row, []))
    console = Console(width=width, file=StringIO())
    demo.Measurements(console, [], tmp_path).add("plain, after GRPO", None, None)
    lines = console.file.getvalue().splitlines()
    assert any("[69.2, 78.1]" in line for line in lines) and max(map(len, lines)) <= width
    if width == 100:
        assert lines == ["  plain, after GRPO       73.4%  [69.2, 78.1]     28 tokens a problem    7.2 s"]


@WIDTHS
def test_explain(tiny: LanguageModel, width: int) -> None:
    explanation = explain(tiny, "1 + 1 =", Sampling(0.8, top_k=12, top_p=0.95, min_p=0.01, max_tokens=6, seed=1), 5)
    console = Console(width=width, file=StringIO(), highlight=False)
    show(explanation, tiny.tokenizer, console)
    text = console.file.getvalue()
    assert max(map(len, text.splitlines())) <= width
    for header in ("rank", "token", "logit", "model", "0.8", "top-k", "top-p", "min-p", "prob", "entropy", "instead"):
        assert header in text
    for candidate in explanation.candidates:
        for value in (visible(tiny.tokenizer, candidate.token)[:6], f"{candidate.logit:.2f}"):
            assert value in text
        assert all(cell in text for cell in stage_cells(candidate.logprobs))
    for step in explanation.steps:
        assert percent(step.probability) in text and f"{step.entropy:.2f}" in text
        assert percent(step.alternatives[0][1]) in text


def test_a_sheet_by_hand() -> None:
    rows = [("one", "1.0", Text("[x]")), ("a longer name", "2.0", "")]
    sheet = Sheet(("name", "number", "third"), rows, border=None)
    assert printed(sheet, width=30).splitlines() == [
        "name           number  third", "one               1.0    [x]", "a longer name     2.0       ",
    ]  # fmt: skip
    assert printed(sheet, width=24).splitlines() == [
        "one", "  number 1.0  third [x]", "a longer name", "  number 2.0",
    ]  # fmt: skip
    blocks = Sheet(("step", "right", "tokens"), [("1", "50%", "62")], left=(), narrow="blocks", border=None)
    assert printed(blocks, width=12).split() == ["step", "right", "1", "50%", "step", "tokens", "1", "62"]
