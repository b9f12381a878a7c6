"""The guide cannot drift: its quotes equal the source, its code runs and prints what it says, its commands parse.

`python tests/test_guide.py --refresh [PAGE ...]` rewrites quotes and printed outputs, and runs commands whose
output is PENDING. It leaves out the prose: whoever refreshes must read the sentences around what has changed.
"""

import ast
import contextlib
import importlib
import io
import os
import re
import shlex
import subprocess
import symtable
import sys
import tempfile
import textwrap
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import get_type_hints
from xml.etree import ElementTree

import pytest
import tyro

from thinkling.cli import COMMANDS, parse

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "guide"
PAGES = sorted(GUIDE.glob("*.md"))
PENDING = "PENDING"


@dataclass(frozen=True)
class Block:
    """One fenced block. mark: the HTML comment on the line above it, or "". first: line number of its body, from 0."""

    page: Path
    first: int
    language: str
    mark: str
    body: str

    @property
    def place(self) -> str:
        return f"{self.page.name}:{self.first + 1}"


def blocks(page: Path) -> list[Block]:
    found, lines, start = [], page.read_text(encoding="utf-8").splitlines(), None
    for i, line in enumerate(lines):
        if start is None and line.startswith("```"):
            start = i
        elif start is not None and line == "```":
            above = re.fullmatch(r"<!-- (.*) -->", lines[start - 1]) if start else None
            body = "".join(f"{text}\n" for text in lines[start + 1 : i])
            found.append(Block(page, start + 1, lines[start][3:], above[1] if above else "", body))
            start = None
    assert start is None, f"{page.name}:{start}: this block is never closed"
    return found


BLOCKS = [block for page in PAGES for block in blocks(page)]
QUOTES = [block for block in BLOCKS if block.mark.startswith("quote: ")]
CONSOLES = [block for block in BLOCKS if block.language == "console"]


def source_of(path: Path, name: str) -> str:
    """The source of a function, class, method or module-level assignment, dedented, decorators included."""
    text = path.read_text(encoding="utf-8")
    scope: ast.AST = ast.parse(text)
    for part in name.split("."):
        matches = [node for node in scope.body if part in names_of(node)]
        if not matches:
            raise LookupError(f"{path}: no '{part}' of '{name}'")
        scope = matches[-1]
    first = min([scope.lineno, *(decorator.lineno for decorator in getattr(scope, "decorator_list", []))])
    return textwrap.dedent("".join(text.splitlines(keepends=True)[first - 1 : scope.end_lineno]))


def names_of(node: ast.AST) -> list[str]:
    targets = getattr(node, "targets", [getattr(node, "target", None)])
    return [node.name] if hasattr(node, "name") else [t.id for t in targets if isinstance(t, ast.Name)]


def quoted(block: Block) -> str:
    path, name = block.mark.removeprefix("quote: ").split()
    return source_of(ROOT / path, name)


def groups(page: Path) -> list[list[Block]]:
    """The page's code in parts that need nothing of each other: blocks that share what one of them has made."""
    found: list[list[Block]] = []
    makers: dict[str, Block | None] = {}  # who has made a name last; None for an import, which every part has
    for block in [block for block in blocks(page) if block.mark == "run"]:
        made, imported, needed = names_in(block)
        needs = {makers.get(name) for name in needed} - {None}
        joined = [group for group in found if needs & set(group)]
        found = [group for group in found if group not in joined] + [[*chain(*joined), block]]
        makers |= dict.fromkeys(made, block) | dict.fromkeys(imported)
    return sorted((sorted(group, key=lambda block: block.first) for group in found), key=lambda group: group[0].first)


def names_in(block: Block) -> tuple[set[str], set[str], set[str]]:
    """The names that a block makes, those that it imports, and those that it needs from the blocks above."""
    top = symtable.symtable(block.body, block.place, "exec")
    scopes, used = [top], set()
    for scope in scopes:
        scopes += scope.get_children()
        used |= {s.get_name() for s in scope.get_symbols() if s.is_referenced() and (scope is top or s.is_global())}
    made = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_assigned()}
    imported = {symbol.get_name() for symbol in top.get_symbols() if symbol.is_imported()}
    grown = {node.target.id for node in ast.parse(block.body).body if isinstance(node, ast.AugAssign)}
    return made - imported, imported, (used - made - imported) | grown


def imports_of(body: str) -> str:
    """The import statements of a block, each on its own line, the rest blank."""
    kept = [node for node in ast.parse(body).body if isinstance(node, ast.Import | ast.ImportFrom)]
    lines = {number for node in kept for number in range(node.lineno, node.end_lineno + 1)}
    return "".join(line if i in lines else "\n" for i, line in enumerate(body.splitlines(keepends=True), start=1))


def run_blocks(group: list[Block]) -> list[tuple[Block, Block | None, str]]:
    """Run a part of a page in a namespace of its own: (code, the output block below it if any, what it printed).

    Of the blocks in between, and above it, only the imports run.
    """
    results, namespace, on_page = [], {"__name__": "guide"}, blocks(group[0].page)
    for block, following in zip(on_page, [*on_page, None][1:], strict=True):
        if block.mark != "run" or block.first > group[-1].first:
            continue
        body = block.body if block in group else imports_of(block.body)
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):  # the blank lines make a traceback name the page's own line
            exec(compile("\n" * block.first + body, str(block.page), "exec"), namespace)
        output = following if following and following.mark == "output" else None
        if block in group:
            results.append((block, output, printed.getvalue()))
    return results


def commands(block: Block) -> list[str]:
    return [line[2:] for line in block.body.splitlines() if line.startswith("$ ")]


def each(found: list[Block]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize("block", found, ids=lambda block: block.place)


each_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)


@each(QUOTES)
def test_quoted_code_is_the_code(block: Block) -> None:
    current = quoted(block)
    assert block.body == current, f"{block.place}: the source is now\n{current}"


@each([block for block in BLOCKS if block.language == "python"])
def test_python_is_quoted_or_run(block: Block) -> None:
    assert block in QUOTES or block.mark == "run", f"{block.place}: put <!-- quote: file name --> or <!-- run --> above"


@pytest.mark.long
@pytest.mark.parametrize("group", [g for page in PAGES for g in groups(page)], ids=lambda group: group[0].place)
def test_code_runs_and_prints_what_the_page_says(
    group: list[Block], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for block, output, printed in run_blocks(group):
        assert (output.body if output else "") == printed, f"{block.place} printed\n{printed}"


def page_of(tmp_path: Path, *bodies: str) -> Path:
    page = tmp_path / "page.md"
    page.write_text("".join(f"<!-- run -->\n```python\n{body}\n```\n" for body in bodies), encoding="utf-8")
    return page


def test_blocks_that_share_a_name_run_together_and_others_apart(tmp_path: Path) -> None:
    page = page_of(
        tmp_path, "import math\nrows = [1]", "print(math.pi)\nfor row in (1, 2): pass", "def f(): return len(rows)",
        "row = 3\nprint(row)", "rows += [f()]", "table = {}", "print([table for _ in rows])",
    )  # fmt: skip
    order = blocks(page)
    assert [[order.index(block) for block in group] for group in groups(page)] == [[0, 2, 4, 5, 6], [1], [3]]
    [(_, _, printed)] = run_blocks(groups(page)[1])
    assert printed == "3.141592653589793\n"


@each(CONSOLES)
def test_commands_parse(block: Block) -> None:
    assert commands(block), f"{block.place}: a console block shows a command: a line that starts with '$ '"
    for command in commands(block):
        match shlex.split(command):
            case ["thinkling", name, *flags]:
                assert name in COMMANDS, f"{block.place}: thinkling has no command {name}"
                parse(name, flags)  # raises UserError on a flag that does not parse
            case ["torchrun", "--nproc-per-node", _, "-m", "thinkling", name, *flags]:
                assert COMMANDS[name].several, f"{block.place}: thinkling {name} runs in one process"
                parse(name, flags)
            case ["python", bench, *flags] if bench.startswith("bench/"):
                tyro.cli(settings_of(ROOT / bench), args=flags)  # exits on a flag that does not parse
            case _:
                pytest.fail(f"{block.place}: only thinkling's own commands and those of bench/ can be checked here")


def settings_of(bench: Path) -> type:
    """What a bench's main takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(bench.parent)
        [settings] = list(get_type_hints(importlib.import_module(bench.stem).main).values())[:1]
    return settings


@each_page
def test_nothing_is_pending(page: Path) -> None:
    lines = [i for i, line in enumerate(page.read_text(encoding="utf-8").splitlines(), start=1) if PENDING in line]
    assert not lines, f"{page.name}: fill in what lines {lines} promise (python tests/test_guide.py --refresh)"


@each_page
def test_links_and_named_files_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    for target, anchor in re.findall(r"\]\((?!https?:)([^)#\s]*)(?:#([^)\s]*))?\)", text):
        linked = page.parent / target if target else page
        assert linked.exists(), f"{page.name}: the link to {target} leads nowhere"
        if anchor:
            assert anchor in anchors(linked), f"{page.name}: {linked.name} has no heading #{anchor}"
    for named in re.findall(r"`((?:thinkling|tests|bench|guide)/[\w./-]+)`", text):
        assert (ROOT / named).exists(), f"{page.name}: names {named}, which does not exist"


def anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("picture", sorted(GUIDE.glob("pictures/*.svg")), ids=lambda picture: picture.name)
def test_pictures_are_whole_and_used(picture: Path) -> None:
    assert ElementTree.parse(picture).getroot().get("viewBox")
    assert any(f"pictures/{picture.name}" in page.read_text(encoding="utf-8") for page in PAGES), "no page shows it"


def test_roadmaps_differ_only_in_where_the_reader_is() -> None:
    roadmaps = sorted(GUIDE.glob("pictures/roadmap-*.svg"))
    texts = [roadmap.read_text(encoding="utf-8") for roadmap in roadmaps]
    assert len({text.replace(' class="here"', "") for text in texts}) == 1
    for roadmap, text in zip(roadmaps, texts, strict=True):
        here = re.findall(r'<g id="chapter-(\d+)" class="here"', text)
        assert here == [roadmap.stem.removeprefix("roadmap-")]


@pytest.mark.parametrize("page", sorted(GUIDE.glob("[0c-d]*-*.md")), ids=lambda page: page.name)
def test_every_exercise_has_its_solution(page: Path) -> None:
    """Five and more of a chapter, fewer of an appendix."""
    chapter = page.name.partition("-")[0].lstrip("0").upper()
    exercises = re.findall(rf"^\*\*({chapter}\.\d+)\b", page.read_text(encoding="utf-8"), flags=re.MULTILINE)
    solutions = re.findall(
        rf"^### ({chapter}\.\d+)\b", (GUIDE / "b-solutions.md").read_text(encoding="utf-8"), flags=re.MULTILINE
    )
    assert (5 if chapter.isdigit() else 3) <= len(exercises) <= 9
    assert solutions == exercises


def refresh(page: Path) -> None:
    """Write current quotes and outputs into the page."""
    fresh = {block: quoted(block) for block in blocks(page) if block in QUOTES}
    with (
        tempfile.TemporaryDirectory() as folder,
        contextlib.chdir(folder),
    ):  # what it writes is not kept
        found = [result for group in groups(page) for result in run_blocks(group)]
        fresh |= {output: printed for _, output, printed in found if output}
    fresh |= {block: answered(block) for block in blocks(page) if block.language == "console" and PENDING in block.body}
    lines = page.read_text(encoding="utf-8").splitlines(keepends=True)
    for block in sorted(fresh, key=lambda block: -block.first):
        if block.body != fresh[block]:
            lines[block.first : block.first + block.body.count("\n")] = [fresh[block]]
            print(f"rewrote {block.place}")
    page.write_text("".join(lines), encoding="utf-8")


def answered(block: Block) -> str:
    """A console block with what its commands print now."""
    text = ""
    with tempfile.TemporaryDirectory() as folder:  # runs are written to the current folder
        for command in commands(block):
            program = [sys.executable, "-m", "thinkling.cli"]
            words = [*program, *shlex.split(command)[1:]]
            environment = os.environ | {"PYTHONPATH": str(ROOT)}
            result = subprocess.run(words, cwd=folder, env=environment, stdout=subprocess.PIPE, text=True, check=True)
            text += f"$ {command}\n" + "".join(f"{line.rstrip()}\n" for line in result.stdout.splitlines())
    return text


if __name__ == "__main__":
    if sys.argv[1:2] != ["--refresh"]:
        sys.exit("usage: python tests/test_guide.py --refresh [PAGE ...]")
    for each_one in [GUIDE / name for name in sys.argv[2:]] or PAGES:
        refresh(each_one)
