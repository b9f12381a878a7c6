"""The report on what accuracy costs: says the numbers, stays legible with many methods, is one safe, whole page."""

import os
import re
from dataclasses import replace
from html import escape
from io import BytesIO, StringIO
from itertools import pairwise
from random import Random

import pytest
from html_page import Page
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from thinkling.errors import UserError
from thinkling.evaluate.frontier import neighbours, pareto
from thinkling.evaluate.result import Result
from thinkling.evaluate.stats import wilson_interval
from thinkling.report import scale_words as words
from thinkling.report.palette import COLOURS, LIGHT, MARKERS, SERIES
from thinkling.report.plots import spread, ticks
from thinkling.report.scale_page import write_page, write_pngs
from thinkling.report.scale_plots import curves, draw_cost, looks
from thinkling.report.scale_terminal import terminal
from thinkling.report.tables import interval as interval_of

HOSTILE = "</svg><script>alert('x')</script> [bold] & $x_1$ {body} \ud83d"


def point(method: str, budget: int | None, tokens: float, num_correct: int, seed: int = 0, **changes) -> Result:
    """Of 500 problems the first ones are solved most often: by all methods the same, but for some noise."""
    random = Random(f"{method} {budget} {seed}")
    hardness = sorted(range(500), key=lambda place: place + random.gauss(0, 60))
    solved = set(hardness[:num_correct])
    correct, share = tuple(place in solved for place in range(500)), num_correct / 500
    interval = wilson_interval(num_correct, 500)
    unit = "" if budget is None else "samples"
    made = Result(
        method=method, num_problems=500, accuracy=share, low=interval[0], high=interval[1], tokens=tokens,
        truncated=0.0, budget=budget, unit=unit, correct=correct, seconds=tokens / 2500, flops=tokens * 1e7,
    )  # fmt: skip
    return replace(made, **changes)


def big_table() -> list[Result]:
    """26 curves, 88 points, and all that is awkward: ties, a free method, one that gets worse, long names, markup."""
    table = [point("direct, plain", None, 14, 206), point("free", None, 0, 100, seconds=0.0, flops=0.0)]
    for number in range(20):
        name = f"best-of-n by scorer-{number}, {'plain' if number % 2 else 'step-by-step'}"
        each, top = (15, 240) if number % 2 else (99, 300)
        table += [point(name, n, each * n + number, top + 3 * number % 40 + 8 * n.bit_length()) for n in (2, 4, 8, 16)]
    table += [point("worse with <budget> & [effort]", n, 30 * n, 230 - 5 * n, truncated=0.2) for n in (1, 2)]
    table.append(point("twin of direct, plain", None, 14, 206))
    table.append(
        point("a method whose name goes on and on until there is no room left for it, step-by-step", 2, 70, 280)
    )
    return table + [replace(point("oracle pass@n", n, 15 * n, 250 + 20 * n), oracle=True, correct=()) for n in (1, 8)]


SMALL = [point("greedy", None, 10, 200), point("vote", 4, 40, 250), point("vote", 16, 160, 260)]


def written(folder, points=SMALL, title="A table", facts=None, notes=("One note.",)) -> str:
    path = folder / "report.html"
    write_page(path, title, points, {"machine": "2 cores"} if facts is None else facts, notes)
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def big_page(tmp_path_factory) -> str:
    """The page of the big table, which takes two seconds to draw."""
    return written(tmp_path_factory.mktemp("big"), big_table())


@pytest.fixture(scope="module")
def small_page(tmp_path_factory) -> str:
    """The page of the small table."""
    return written(tmp_path_factory.mktemp("small"))


def printed(points, width=100) -> str:
    console = Console(record=True, width=width, file=StringIO())
    for part in terminal(points):
        console.print(part)
    return console.export_text()


def test_numbers_as_words():
    assert [words.number(value) for value in (0, 0.0004, 0.00123, 0.0543, 0.543, 5.43, 54.3, 99.96, 543.2, 54321)] == [
        "0", "<0.001", "0.0012", "0.0543", "0.543", "5.43", "54.3", "100", "543", "54,321"
    ]  # fmt: skip
    assert [words.times(10, after) for after in (10.4, 20, 99, 1234)] == ["1.04x", "2.0x", "9.9x", "123x"]
    assert words.times(0, 10) == "–"
    assert [words.p_value(value) for value in (0.0001, 0.0263, 0.25, 1.0)] == ["<0.001", "0.026", "0.25", "1.00"]
    assert interval_of(-0.0002, 0.0613) == "[0.0, 6.1]"  # not -0.0
    assert words.label(SMALL[0]) == "greedy"
    assert (
        words.label(replace(SMALL[1], method="step by step, vote of n, T = 0.6")) == "step by step, vote of 4, T = 0.6"
    )
    assert words.label(SMALL[1]) == "vote · 4 samples"
    assert words.label(replace(SMALL[1], budget=1)) == "vote · 1 sample"
    assert words.label(replace(SMALL[1], budget=1024, unit="thinking tokens")) == "vote · 1,024 thinking tokens"


def step(gained: int, lost: int, more_tokens: float = 30):
    before = replace(SMALL[0], correct=(True,) * 250 + (False,) * 250)
    flips = set(range(lost)) | set(range(250, 250 + gained))
    after = tuple(right != (place in flips) for place, right in enumerate(before.correct))
    return neighbours([before, replace(SMALL[1], correct=after, tokens=10 + more_tokens)])[0]


def test_a_step_in_words():
    # +4 points for 30 more tokens: 7.5 tokens a point. 2 · Σ C(40, j <= 10) / 2^40 = 0.0022.
    told = words.step_html(step(30, 10), num_steps=3)
    assert told.startswith("<b>+4.0 points</b> [1.6, 6.7] for <b>4.0 times the tokens</b>: 7.50 more per problem for ")
    assert "It solves 30 that the other misses, and misses 10 that the other solves; p = 0.002 (0.002 among" in told
    assert "a clear gain" in told
    assert "among" not in words.step_html(step(30, 10), num_steps=1)
    assert "more per problem" not in words.step_html(step(10, 10), num_steps=1)


def test_a_verdict_is_no_more_sure_than_its_test():
    # 6 against 0: p = 2/64 = 0.031. Among two or more steps Holm doubles it.
    assert words.verdict(step(6, 0)) == "clear"
    assert words.verdict(replace(step(6, 0), adjusted=0.0625)) == "hint"
    assert words.verdict(step(5, 0)) == "unsure"  # 2/32


def test_the_headline():
    assert words.headline_html(SMALL) == (
        "Of 500 problems, <b>greedy</b> solves <b>40.0%</b> with 10.0 tokens each; "
        "<b>vote · 16 samples</b> solves <b class=best>52.0%</b>, with 16 times the tokens."
    )
    assert words.headline_html(SMALL[:1]).endswith("and nothing dearer does better.")
    assert "with 160 tokens." in words.headline_html([replace(SMALL[0], tokens=0.0), SMALL[2]])


def test_the_terminal_says_the_numbers():
    said = printed([*SMALL, replace(SMALL[2], method="oracle", accuracy=0.9, oracle=True, correct=())])
    assert words.ORACLE in " ".join(said.split()) and words.ORACLE not in " ".join(printed(SMALL).split())
    lines = said.splitlines()
    rows = [line.split() for line in lines]
    assert ["40.0%", "[35.8,", "44.4%]".replace("%", ""), "10.0", "0.0040", "0.100", "0.0%", "T", "S", "F"] in rows
    assert ["4", "samples", "50.0%", "[45.6,", "54.4]", "40.0", "0.0160", "0.400", "0.0%", "T", "S", "F"] in rows
    assert [
        "16",
        "samples",
        "90.0%",
        "[47.6,",
        "56.3]",
        "160",
        "0.0640",
        "1.60",
        "0.0%",
    ] in rows  # the oracle: no front
    cheapest = [" ".join(line.split()) for line in lines if "%   " in line and "·" in line]
    assert cheapest == [  # a row for each point: there were five of the first
        "42% to 50% vote · 4 samples 50.0% [45.6, 54.4] ✓ to 44% 40.0",
        "52% vote · 16 samples 52.0% [47.6, 56.3] 160",
    ]
    assert any(line.startswith("all steps together") for line in lines)


@pytest.mark.parametrize("width", [80, 100])
def test_the_terminal_loses_nothing_in_a_narrow_window(width):
    table = big_table()
    text = printed(table, width)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width
    assert sum(bool(re.search(r"\d\.\d%( +[TSF ]+)?$", line)) for line in text.splitlines()) == len(table)  # none wraps
    assert "worse with <budget> & [effort]" in text


def test_the_terminal_leaves_out_flops_that_are_not_known():
    assert "GFLOPs" in printed(SMALL)
    assert "GFLOPs" not in printed([replace(p, flops=None) for p in SMALL])


def test_the_page_says_the_numbers(small_page):
    page = Page(small_page)
    assert page.open == []
    for shown in ("A table", "Of 500 problems, greedy solves 40.0%", "[45.6, 54.4]", "One note.", "2 cores",
                  "vote · 4 samples40.0 tokens, 50.0%", "greedy → vote · 4 samples", "+10.0 points",
                  "greedy → vote · 16 samples (all steps together)"):  # fmt: skip
        assert shown in page.text
    # Three costs; the first is drawn twice, wide and narrow. And a panel for each of the two methods.
    assert page.tags.count("svg") == 4 + 2


def test_what_is_cheapest_in_tokens_may_not_be_in_seconds(tmp_path, small_page):
    quick = point("quick", None, 50, 255, seconds=0.001)
    text = Page(written(tmp_path, [*SMALL, quick])).text
    assert "vote · 4 samples40.0 tokens, 50.0% [45.6, 54.4] ✓ to 44%quick0.0010 seconds, 51.0% [46.6, 55.4] ✓" in text
    text = Page(small_page).text
    assert "42% to 50%vote · 4 samples40.0 tokens, 50.0% [45.6, 54.4] ✓ to 44%the same0.0160 seconds" in text
    assert text.count("the same0.0160 seconds") == 1 and "52%vote · 16 samples160 tokens" in text


def test_nothing_from_outside_is_markup(tmp_path, big_page):
    def named(name):
        return [replace(p, method=f"{name} {p.method}") for p in big_table()]

    safe = Page(big_page)
    hostile = Page(written(tmp_path, named(HOSTILE), HOSTILE, {HOSTILE: HOSTILE}, [HOSTILE]))
    assert hostile.open == []
    assert [tag for tag in hostile.tags if tag not in ("path", "use", "g", "defs", "text")] == [
        tag for tag in safe.tags if tag not in ("path", "use", "g", "defs", "text")
    ]
    assert "script" not in hostile.tags
    assert "[bold]" in printed(named("[bold]"))


def test_the_page_loads_and_runs_nothing(big_page):
    html, page = big_page, Page(big_page)
    assert not re.search(r"https?:|//[a-z]|@import|javascript:", html)
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & set(page.tags)
    loads = [value for name, value in page.attributes if name in ("src", "href", "xlink:href", "action", "data")]
    assert all(value.startswith("#") for value in loads + re.findall(r"url\(([^)]*)\)", html))
    policy = next(value for name, value in page.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline';")


def test_the_pictures_are_complete(big_page):
    html = big_page
    ids = [value for name, value in Page(html).attributes if name == "id"]
    assert len(ids) == len(set(ids))
    used = {value for name, value in Page(html).attributes if name == "xlink:href"}
    used |= set(re.findall(r"url\((#[^)]*)\)", html))
    assert {target.removeprefix("#") for target in used} <= set(ids)
    assert not re.findall(r"#(0\d0\d0\d|101010|111111)", html)  # every stand-in colour was handed to the style sheet
    for variable in set(re.findall(r"var\((--[\w-]+)\)", html)):
        assert f"{variable}:" in html
    assert "nan" not in html.lower().replace("dominant", "") and "inf" not in re.findall(r"[\d.]+|inf", html)


def test_the_pictures_name_the_methods_that_matter_and_only_those(big_page):
    table = big_table()
    pictures = re.findall(r"<svg .*?</svg>", big_page, flags=re.DOTALL)
    front = {point.method for point in pareto(table)}
    assert f"Dotted: {words.ORACLE}" in big_page
    for name in curves(table):
        shown = re.search(rf">\s*{re.escape(escape(name[:40]))}[^<]*</text>", pictures[0])
        assert bool(shown) == (name in front or name == "oracle pass@n")
    assert len(front) > 2


def drawn(points, cost="tokens", names=True):
    return draw_cost(points, cost, (1000, 530), LIGHT, names)


def test_the_staircase_is_the_front():
    lines = [line for line in drawn(SMALL).lines if line.get_drawstyle() == "steps-post"]
    assert [list(map(float, line.get_ydata())) for line in lines] == [[0.4, 0.5, 0.52, 0.52]]
    assert list(map(float, lines[0].get_xdata()))[:3] == [10.0, 40.0, 160.0]


def test_what_costs_nothing_stands_at_half_the_least_cost():
    free = point("free", None, 0, 210)
    line = next(line for line in drawn([free, *SMALL]).lines if line.get_drawstyle() == "steps-post")
    assert line.get_xdata()[0] == 5.0


def test_names_beside_the_curves_do_not_overlap():
    axes = drawn(big_table())
    heights = sorted(
        axes.transData.transform(text.get_position())[1]
        for text in axes.texts
        if not text.get_text().startswith("n = ")
    )
    assert len(heights) > 3
    assert all(above - below > 18 for below, above in pairwise(heights))


def test_a_method_looks_the_same_in_every_picture_and_unlike_others():
    table = big_table()
    chosen = looks(table)
    assert list(chosen)[: len(pareto(table))][0] == pareto(table)[0].method
    assert len(set(chosen.values())) == len(chosen) > 3
    many = [point(f"method {n}", None, 10 + n, 100 + n) for n in range(20)]  # each of them on the front
    assert len(set(looks(many).values())) == 20


@pytest.mark.parametrize("matrix", [
    ((0.152286, 1.052583, -0.204868), (0.114503, 0.786281, 0.099216), (-0.003882, -0.048116, 1.051998)),  # no red cones
    ((0.367322, 0.860646, -0.227968), (0.280085, 0.672501, 0.047413), (-0.01182, 0.04294, 0.968881)),  # no green cones
    ((1, 0, 0), (0, 1, 0), (0, 0, 1)),
])  # fmt: skip
def test_the_colours_can_be_told_apart_by_everybody(matrix):
    """As seen without one kind of cones (Machado et al. 2009, severity 1): no two nearer than 15 ΔE in CIELAB."""

    def lab(colour):
        linear = [(v / 12.92 if v <= 0.04045 else ((v + 0.055) / 1.055) ** 2.4) for v in
                  (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))]  # fmt: skip
        r, g, b = (min(1, max(0, sum(m * v for m, v in zip(row, linear, strict=True)))) for row in matrix)
        xyz = (
            (0.4124 * r + 0.3576 * g + 0.1805 * b) / 0.9505,
            0.2126 * r + 0.7152 * g + 0.0722 * b,
            (0.0193 * r + 0.1192 * g + 0.9505 * b) / 1.089,
        )
        x, y, z = (v ** (1 / 3) if v > 0.008856 else 7.787 * v + 16 / 116 for v in xyz)
        return 116 * y - 16, 500 * (x - y), 200 * (y - z)

    for theme in (0, 1):
        seen = [lab(COLOURS[role][theme]) for role in SERIES]
        for n, one in enumerate(seen):
            for other in seen[:n]:
                assert sum((a - b) ** 2 for a, b in zip(one, other, strict=True)) ** 0.5 > 15


def test_ticks_are_round_and_few():
    assert ticks(9, 1100, 9) == pytest.approx([10, 20, 50, 100, 200, 500, 1000])
    assert ticks(9, 1100, 5) == pytest.approx([10, 30, 100, 300, 1000])
    assert ticks(9, 1100, 3) == pytest.approx([10, 100, 1000])
    assert ticks(0.004, 0.06, 9) == pytest.approx([0.005, 0.01, 0.02, 0.05])
    assert len(ticks(1e-6, 1e12, 4)) <= 4


@settings(deadline=None)
@given(st.lists(st.floats(-50, 450), max_size=20), st.floats(1, 30))
def test_spread_keeps_order_gaps_and_bounds(places, gap):
    moved = spread(places, gap, 0, 400)
    gap = min(gap, 400 / max(1, len(places) - 1))
    order = sorted(range(len(places)), key=lambda n: places[n])
    rising = [moved[n] for n in order]
    assert all(-1e-6 <= place <= 400 + 1e-6 for place in moved)
    assert all(above - below >= gap - 1e-6 for below, above in pairwise(rising))


def test_spread_by_hand():
    assert spread([10, 50], 8, 0, 100) == [10, 50]  # far enough apart: nothing moves
    assert spread([50, 50, 52], 10, 0, 100) == pytest.approx([40 + 2 / 3, 50 + 2 / 3, 60 + 2 / 3])
    assert spread([99, 98], 10, 0, 100) == pytest.approx([100, 90])
    assert spread([1, 1, 1], 80, 0, 100) == pytest.approx([0, 50, 100])  # no room: the gap shrinks
    assert spread([], 1, 0, 1) == []


@pytest.mark.parametrize(("empty", "mark"), [({"facts": {}}, "How this was made"), ({"notes": []}, "To keep in mind")])
def test_empty_sections_are_left_out(tmp_path, small_page, empty, mark):
    assert mark in small_page
    page = Page(written(tmp_path, **empty))
    assert mark not in page.text and page.open == []


def test_one_point_alone_still_makes_a_report(tmp_path):
    text = Page(written(tmp_path, SMALL[:1])).text
    assert "and nothing dearer does better" in text
    assert "The cheapest way" not in text and "next step" not in text
    assert "greedy" in printed(SMALL[:1])
    assert len(write_pngs(tmp_path, SMALL[:1])) == 4


def test_a_server_that_tells_no_costs_still_makes_a_report(tmp_path):
    """Neither FLOPs nor seconds nor, at worst, tokens: then there is nothing to draw, and the table remains."""
    bare = [replace(p, flops=None, seconds=0.0) for p in SMALL]
    page = Page(written(tmp_path, bare))
    assert page.tags.count("svg") == 2 + 2 and "GFLOPs" not in page.text
    assert [path.name for path in write_pngs(tmp_path, bare)] == ["accuracy-tokens.png", "methods.png"]
    nothing = [replace(p, tokens=0.0) for p in bare]
    assert Page(written(tmp_path, nothing)).tags.count("svg") == 0
    assert write_pngs(tmp_path, nothing) == []
    assert "vote" in printed(nothing)


def test_pngs_are_pictures_of_twice_the_size(tmp_path):
    from PIL import Image

    paths = write_pngs(tmp_path / "plots", SMALL)
    assert [path.name for path in paths] == [
        "accuracy-tokens.png", "accuracy-seconds.png", "accuracy-flops.png", "methods.png"
    ]  # fmt: skip
    assert {path.name for path in (tmp_path / "plots").iterdir()} == {path.name for path in paths}
    assert Image.open(paths[0]).size == (2000, 1060)
    corner = Image.open(BytesIO(paths[0].read_bytes())).convert("RGB").getpixel((3, 3))
    assert corner == (255, 255, 255)  # light, whatever the reader's system prefers


def test_same_input_same_page_and_pictures(tmp_path, small_page):
    assert written(tmp_path) == small_page
    first = [path.read_bytes() for path in write_pngs(tmp_path, SMALL)]
    assert [path.read_bytes() for path in write_pngs(tmp_path, SMALL)] == first


def test_no_method_no_report(tmp_path):
    oracle = [replace(SMALL[0], oracle=True)]
    for table in ([], oracle):
        with pytest.raises(UserError, match="at least one measured method"):
            written(tmp_path, table)
        with pytest.raises(UserError, match="at least one measured method"):
            write_pngs(tmp_path, table)
        with pytest.raises(UserError, match="at least one measured method"):
            terminal(table)
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_report(tmp_path, monkeypatch):
    old, (picture, *_) = written(tmp_path), write_pngs(tmp_path, SMALL)
    before = picture.read_bytes()

    def full_disk(*_):
        raise OSError("no space left on device")

    monkeypatch.setattr(os, "replace", full_disk)
    with pytest.raises(OSError, match="no space"):
        written(tmp_path, SMALL[:2])
    with pytest.raises(OSError, match="no space"):
        write_pngs(tmp_path, SMALL[:2])
    assert (tmp_path / "report.html").read_text(encoding="utf-8") == old
    assert picture.read_bytes() == before


def test_every_marker_has_a_sign_for_the_key():
    signs = [sign for sign, _ in MARKERS.values()]
    assert len(set(signs)) == len(signs) and all(len(sign) == 1 for sign in signs)
