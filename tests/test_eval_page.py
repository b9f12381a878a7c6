"""The pages of eval and compare: whole, safe, self-contained; and in a real browser, filters and formulas that work."""

import json
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from html_page import Page
from scripted import Scripted, said
from scripted_runs import run

from thinkling import cli
from thinkling.evaluate.saved import read_run
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.report import formulas
from thinkling.report.eval_files import markdown
from thinkling.report.formulas import Formulas, pieces, shortened, tree

HOSTILE = "</script><script>window.hit=1</script><img src=http://evil.example/a.png onerror=window.hit=1>"


def answer(prompt: str, sampling: Sampling) -> Completion:
    """Two of three problems are right in every other sample; the third is cut off, with hostile text."""
    if "third" in prompt:
        return said(f"<think>{HOSTILE} $x^2$", *[-0.1] * 9, finish="length")
    number = 7 if sampling.seed % 2 else 8
    return said(rf"<think>so $\frac{{1}}{{2}}$</think>It is \boxed{{{number}}} {HOSTILE}", *[-0.1] * 12)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    tasks = tmp_path / "tasks.jsonl"
    rows = [{"question": rf"The first: is $\sqrt{{49}}$ 7? {HOSTILE}", "reference": "7", "subject": "roots"},
            {"question": "The second, for $5 and $7?", "reference": r"\frac{14}{2}", "subject": "sums"},
            {"question": f"The third: ${'+'.join('abcdefgh' * 9)}$", "reference": "9", "subject": HOSTILE}]  # fmt: skip
    tasks.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return run(monkeypatch, Scripted(answer), tasks, tmp_path / "out", "--num-samples", "6")


# --- formulas -------------------------------------------------------------------------------------------------------


def test_formulas_are_found_and_prices_are_not() -> None:
    found = list(pieces(r"It costs $5 and $7, so $x+1$, \(a\), \[b\], $$c$$ and \boxed{\frac{1}{2}}; a$b$ \$d\$"))
    assert [piece[:2] for piece in found if not isinstance(piece, str)] == [
        ("x+1", False), ("a", False), ("b", True), ("c", True), (r"\boxed{\frac{1}{2}}", False)
    ]  # fmt: skip
    assert "".join(piece if isinstance(piece, str) else piece[2] for piece in found).startswith("It costs $5 and $7")


def test_a_text_comes_back_as_it_was_where_no_formula_is_read() -> None:
    unread = r"\(\frac{\) and $$" + "{" * 300 + "$$"
    assert "".join(map(str, Formulas().packed(rf"$x^2$ and {unread} and \[y\]"))) == f"0 and {unread} and 1"
    limited = Formulas(most=1)
    assert limited.packed("$a$ $b$ $a$") == [0, " ", "$b$", " ", 0] and limited.num_left == 1


def test_formulas_are_trees_of_harmless_elements() -> None:
    def names(made: list) -> set[str]:
        own = {made[0], *made[1]}
        return own.union(*(names(child) for child in made[2:] if isinstance(child, list)))

    hostile = (r"\text{<script>alert(1)</script>}", r"\href{javascript:alert(1)}{x}", r"\style{color:red}{x}",
               r"\class{boxed}{x}", r"\text{&#x3C;img onerror=x&#x3E;}", r"\color{url(http://a)}{x}")  # fmt: skip
    allowed = formulas.ELEMENTS | formulas.ATTRIBUTES | {"class"}
    for formula in hostile:
        made = tree(formula)
        assert made is None or (names(made) <= allowed and "href" not in json.dumps(made))
    assert "class" not in json.dumps(tree(r"\class{a}{x}"))
    shown = Formulas().html(rf"<b> ${hostile[0]}$")
    assert shown.startswith("&lt;b&gt; <math") and "<script" not in shown


def test_a_loop_of_openings_ends_soon() -> None:
    for text in (r"\[", r"\(", r"\boxed{", "$a ", "$$", r"\boxed{{{"):
        list(pieces(shortened(text * 20_000)))


# --- files ----------------------------------------------------------------------------------------------------------


def test_the_page_is_one_safe_file(folder: Path) -> None:
    html = (folder / "report.html").read_text(encoding="utf-8")
    page = Page(html)
    assert page.open == [] and page.tags.count("script") == 2 and "img" not in page.tags
    policy = next(value for name, value in page.attributes if name == "content" and "src" in value)
    assert policy.startswith("default-src 'none'; style-src 'unsafe-inline'; script-src 'sha256-")
    assert not [value for name, value in page.attributes if name in ("src", "href")]
    for shown in ("direct solves", "avg@6", "pass@6: one of 6 is right", "Hardest", "problems.sha256"):
        assert shown in page.text


def test_markdown_holds_the_numbers_and_no_markup_of_others(folder: Path) -> None:
    text, details = markdown(read_run(folder)), read_run(folder).details
    assert f"| avg@6 | {details.accuracy.value:.1%} | [" in text and "| pass@6 |" in text and "## By subject" in text
    assert "⚠ 33.3% of the completions were cut off" in text and "<script" not in text
    assert "tokens of thinking" in text


def test_long_responses_are_cut_in_the_middle() -> None:
    assert shortened("x" * 20_000) == "x" * 20_000
    text = shortened("a" * 30_000 + "b")
    assert text.startswith("a" * 10_000 + "\n") and text.endswith("ab") and "[10,001 characters are left out" in text


# --- a browser ------------------------------------------------------------------------------------------------------


@pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium")
def test_in_a_browser(folder: Path, tmp_path: Path) -> None:
    """Every filter, formulas as elements, hostile text as text; no error in its console, nothing asked for."""

    def rows() -> list[int]:
        return browser.find("[document.querySelectorAll('.problem').length, "
                            "document.querySelectorAll('details.response').length]")  # fmt: skip

    def choose(name: str, value: str, event: str = "change") -> list[int]:
        browser.find(f"(() => {{ const e = document.getElementById({name!r}); e.value = {json.dumps(value)}; "
                     f"e.dispatchEvent(new Event({event!r})); }})()")  # fmt: skip
        return rows()

    own = read_run(folder)
    right = sum(row["status"] == "correct" for row in own.rows)
    with Browser() as browser:
        for width, dark in ((1280, False), (390, True)):
            browser.open(folder / "report.html", width, dark)
            assert browser.find("document.documentElement.scrollWidth") <= width
        assert rows() == [3, 18] and browser.find("document.querySelectorAll('svg').length") == 3
        assert browser.find("document.querySelectorAll('h3 math msqrt').length") == 1
        assert choose("verdict", "correct") == [2, right]
        assert choose("verdict", "incorrect") == [2, 12 - right]
        assert choose("verdict", "unparsed") == choose("verdict", "cut") == [1, 6]
        assert choose("verdict", "mixed") == [2, 12]
        assert choose("verdict", "") == [3, 18]
        assert choose("subject", "roots") == [1, 6]
        assert choose("subject", "") == [3, 18]
        assert choose("words", "second", "input") == [1, 6]
        assert choose("words", "", "input") == [3, 18]
        browser.find("document.querySelector('button[data-row=\"3\"]').click()")
        assert rows() == [1, 6]
        choose("verdict", "correct")
        browser.find("document.querySelectorAll('details').forEach(fold => { fold.open = true; })")
        browser.find("new Promise(done => setTimeout(done, 50))")
        opened = "document.querySelector('.running:not(.thought)').textContent"
        assert HOSTILE in browser.find(opened) and browser.find("window.hit === undefined")
        assert browser.find("document.querySelectorAll('.thought mfrac').length") == right
        assert browser.find("document.querySelectorAll('.running .boxed').length") == right
        cli.main(["compare", str(folder), str(twin(folder)), "--out", str(tmp_path / "page.html")])
        browser.open(tmp_path / "page.html", 390)
        assert browser.find("document.documentElement.scrollWidth") <= 390
        assert browser.errors == []
        assert set(browser.asked) == {path.as_uri() for path in (folder / "report.html", tmp_path / "page.html")}


def twin(folder: Path) -> Path:
    """The same run, but for one verdict."""
    other = folder.with_name("twin")
    other.mkdir()
    for path in folder.iterdir():
        (other / path.name).write_bytes(path.read_bytes())
    lines = (folder / "samples.jsonl").read_text()
    (other / "samples.jsonl").write_text(lines.replace('"status": "correct"', '"status": "incorrect"', 1))
    return other
