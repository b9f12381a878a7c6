"""What people look at: the terminal table says the numbers, the page is one safe, whole, self-contained file."""

import os
import re
from dataclasses import replace
from io import StringIO
from itertools import combinations
from math import dist

import pytest
from html_page import Page
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from thinkling.errors import UserError
from thinkling.evaluate.result import Result
from thinkling.report.eval_report import BeforeAfter, table, training_headline, write_html
from thinkling.report.plots import place_labels


def row(method, accuracy, low, high, tokens, wall_seconds, num_problems, truncated) -> Result:
    return Result(method=method, accuracy=accuracy, low=low, high=high, tokens=tokens, wall_seconds=wall_seconds,
                  num_problems=num_problems, truncated=truncated)  # fmt: skip


PLAIN = row("plain", 0.26, 0.223, 0.300, 12.34, 4.2, 500, 0.0)
TRAINED = row("after GRPO", 0.752, 0.712, 0.788, 1234.5, 212.6, 500, 0.012)
CURVE = [(1, 0.25), (2, 0.5), (3, 0.75)]
EXAMPLE = BeforeAfter("What is 2 + 3?", "5", "\\boxed{6}", "2 + 3 = 5\n\\boxed{5}", "6 is not 5", "5 equals 5")
HOSTILE = "</pre><script>alert('x')</script><img src=\"http://evil.example/a.png\" onerror=x> & {body} \ud83d"


def written(folder, title="A demo", rows=(PLAIN, TRAINED), curve=CURVE, examples=(EXAMPLE,), facts=None) -> str:
    path = folder / "report.html"
    write_html(path, title, rows, curve, examples, {"machine": "2 cores"} if facts is None else facts)
    return path.read_text(encoding="utf-8")


def printed(rows, width=100) -> str:
    console = Console(record=True, width=width, file=StringIO())
    console.print(table(rows))
    return console.export_text()


def test_terminal_table_shows_the_numbers():
    text = printed([PLAIN, TRAINED])
    first, second = (line for line in text.splitlines() if "%  [" in line)
    assert first.split("│")[1:-1] == [
        " plain      ",
        " 26.0%  [22.3, 30.0] ",
        "      12.3 ",
        "     4.2 ",
        "      0.0% ",
    ]
    assert [cell.strip() for cell in second.split("│")[1:-1]] == [
        "after GRPO",
        "75.2%  [71.2, 78.8]",
        "1,234",
        "213",
        "1.2%",
    ]
    assert "500 problems" in text
    assert "⚠" not in text


def test_tokens_are_those_of_one_answer_where_a_problem_has_several(tmp_path):
    """The heading said that they were the problem's, which are as many times more."""
    for rows, heading in (([PLAIN], "problem"), ([replace(PLAIN, num_samples=4)], "answer")):
        assert ("answer" in printed(rows)) == (heading == "answer")
        assert f">tokens / {heading}</th>" in written(tmp_path, rows=rows)


def test_terminal_table_is_loud_about_truncation():
    assert "⚠" not in printed([replace(PLAIN, truncated=0.05)])
    text = printed([PLAIN, replace(PLAIN, truncated=0.12, num_problems=100)])
    assert "⚠ 12.0%" in text
    assert "token limit" in text
    assert "100 to 500 problems" in text


def test_terminal_table_in_a_narrow_window_loses_nothing():
    text = printed([replace(PLAIN, method="self-consistency-of-eight-after-training")], width=80)
    assert "26.0%  [22.3, 30.0]" in text
    assert "…" not in text


def test_terminal_table_takes_brackets_in_a_name():
    # rich would take [bold] for its own markup and print nothing.
    assert "vote [bold] of 8" in printed([replace(PLAIN, method="vote [bold] of 8")])


def test_page_says_what_happened(tmp_path):
    page = Page(written(tmp_path))
    assert page.open == []
    # 1234.5 / 12.34 = 100.04
    assert (
        "Of 500 problems, plain solves 26.0%; after GRPO solves 75.2%, "
        "with 100 times the tokens (the 95% intervals lie apart)." in page.text
    )
    for shown in ("A demo", "[71.2, 78.8]", "1,234", "213", "1.2%", "What is 2 + 3?", "5 equals 5", "2 cores"):
        assert shown in page.text
    # Each smoothed over 3 steps, over 2 at the ends: (0.25 + 0.5) / 2 and (0.5 + 0.75) / 2.
    assert "From 0.38 to 0.62 in 3 steps" in page.text


def test_page_does_not_claim_too_much(tmp_path):
    close = replace(PLAIN, method="other", accuracy=0.28, low=0.242, high=0.321)
    assert "the 95% intervals overlap: it may be chance" in Page(written(tmp_path, rows=[PLAIN, close])).text
    assert "26.0%, and no other row does better." in Page(written(tmp_path, rows=[PLAIN, PLAIN])).text
    assert "Of 500 problems, plain solves 26.0%." in Page(written(tmp_path, rows=[PLAIN])).text


def test_the_headline_tells_the_training(tmp_path):
    """The demo's headline told of prompting only: the first row against the best, which was "step by step"."""
    asked = row("step by step", 0.8, 0.76, 0.83, 74.04, 5.0, 500, 0.0)
    rows = [PLAIN, asked, TRAINED]
    told = training_headline(rows, PLAIN, TRAINED)
    assert told == [
        "Reinforcement learning took the plain question from 26.0% to 75.2% of 500 problems "
        "(the 95% intervals lie apart).",
        "Untrained, the best of the other ways to ask was step by step: 80.0%, with 6.0 times the tokens.",
    ]
    write_html(tmp_path / "page.html", "A demo", rows, CURVE, [], {}, trained=(PLAIN, TRAINED))
    text = Page((tmp_path / "page.html").read_text(encoding="utf-8")).text
    assert all(line in text for line in told)
    assert "<b class=best>75.2%</b>" in (tmp_path / "page.html").read_text(encoding="utf-8")
    worse = replace(asked, accuracy=0.2, low=0.17, high=0.24)
    assert (
        "no other way to ask did better than the plain question"
        in training_headline([PLAIN, worse, TRAINED], PLAIN, TRAINED)[1]
    )
    assert len(training_headline([PLAIN, TRAINED], PLAIN, TRAINED)) == 1


def test_page_is_loud_about_truncation(tmp_path):
    assert "⚠" not in written(tmp_path)
    page = Page(written(tmp_path, rows=[replace(PLAIN, truncated=0.12)]))
    assert ("class", "loud") in page.attributes
    assert "⚠ 12.0%" in page.text


def test_nothing_from_outside_is_markup(tmp_path):
    safe = Page(written(tmp_path))
    hostile = Page(
        written(
            tmp_path,
            title=HOSTILE,
            rows=[replace(PLAIN, method=HOSTILE), replace(TRAINED, method=HOSTILE)],
            examples=[BeforeAfter(HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE, HOSTILE)],
            facts={HOSTILE: HOSTILE},
        )
    )
    assert hostile.tags == safe.tags
    assert hostile.attributes == safe.attributes
    assert hostile.open == []
    # Twice the title, the best and first name, each name in the table and the key, six parts of an example, one fact.
    assert hostile.text.count(HOSTILE[:-1]) == 2 + 2 + 2 * 2 + 6 + 2


def test_page_loads_and_runs_nothing(tmp_path):
    html = written(tmp_path)
    page = Page(html)
    assert not re.search(r"https?:|//[a-z]|@import|javascript:", html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    loads = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert all(value.startswith("#") for value in loads + re.findall(r"url\(([^)]*)\)", html))
    policy = next(value for name, value in page.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_plots_are_complete(tmp_path):
    html = written(tmp_path)
    page = Page(html)
    assert page.tags.count("svg") == 2
    ids = [value for name, value in page.attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value for name, value in page.attributes if name == "xlink:href"}
    used |= set(re.findall(r"url\((#[^)]*)\)", html))
    assert {target.removeprefix("#") for target in used} <= set(ids)
    assert not re.findall(r"#0\d0\d0\d", html)  # every stand-in colour was handed to the style sheet
    for variable in set(re.findall(r"var\((--\w+)\)", html)):
        assert f"{variable}:" in html


@pytest.mark.parametrize(
    ("empty", "mark", "num_svg"),
    [
        ({"curve": []}, "Reward while training", 1),
        ({"examples": []}, "In its own words", 2),
        ({"facts": {}}, "How this was made", 2),
    ],
)
def test_empty_sections_are_left_out(tmp_path, empty, mark, num_svg):
    assert mark in written(tmp_path)
    page = Page(written(tmp_path, **empty))
    assert mark not in page.text
    assert page.tags.count("svg") == num_svg
    assert page.open == []


def test_odd_numbers_still_make_a_page(tmp_path):
    rows = [row("none", 0.0, 0.0, 0.2, 0.0, 0.0, 15, 0.0), row("all", 1.0, 0.8, 1.0, 90_000.0, 86_400.0, 15, 1.0)]
    page = Page(written(tmp_path, rows=rows, curve=[(7, -1.5)]))
    assert "none solves 0.0%; all solves 100.0%" in page.text
    assert "inf" not in page.text and "nan" not in page.text


def test_same_input_same_page(tmp_path):
    assert written(tmp_path) == written(tmp_path)


def test_no_rows_no_page(tmp_path):
    with pytest.raises(UserError, match="at least one row"):
        written(tmp_path, rows=[])
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_page(tmp_path, monkeypatch):
    old = written(tmp_path)

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="no space"):
        written(tmp_path, title="Another demo")
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old


SIZE, BOX = 16.0, (420.0, 300.0)


def assert_apart(points, spans, labels):
    for one, other in combinations(labels, 2):
        assert dist(one, other) > SIZE
    for x, y in labels:
        assert SIZE / 2 <= x <= BOX[0] - SIZE / 2 and SIZE / 2 <= y <= BOX[1] - SIZE / 2
        for (bar_x, _), (bottom, top) in zip(points, spans, strict=True):
            assert dist((x, y), (bar_x, min(max(y, bottom), top))) > SIZE / 2


def test_labels_of_equal_points_do_not_overlap():
    points, spans = [(200.0, 150.0)] * 12, [(140.0, 160.0)] * 12
    labels = place_labels(points, spans, SIZE, BOX)
    assert_apart(points, spans, labels)
    assert labels[0] == pytest.approx((200 + 1.2 * SIZE, 150))  # the first stands right beside its point


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0, 420), st.floats(0, 300), st.floats(0, 20)), min_size=1, max_size=12))
def test_labels_never_overlap(marks):
    points = [(x, y) for x, y, _ in marks]
    spans = [(y - half, y + half) for _, y, half in marks]
    assert_apart(points, spans, place_labels(points, spans, SIZE, BOX))
