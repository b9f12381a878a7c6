"""Has a benchmark been trained on? The runs of words that its questions share with training data.

Text is read as GPT-3's authors read it (Brown et al. 2020, appendix C): lower case, punctuation left out, split at
spaces. A question that shares a run of 13 words with the training data is dirty (their rule); how much of it lies in
such runs is Llama 2's measure (Touvron et al. 2023, appendix), with 13 words in place of 10 tokens. A shorter question
is looked for as a whole, if it has 8 words; below that it is too short to tell.

Leaves out what no run of words shows: a translation, a paraphrase, the same problem with other numbers
(fresh_numbers.py measures that one).
"""

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.runs import why_not_read
from thinkling.tasks.rows import READERS, rows_of

WORDS, FEWEST = 13, 8
COMMON = 10  # training documents: a run that more of them hold is taken for a common phrase
AROUND = 6  # words that an example shows on either side

_WORD = re.compile(r"[^\W_]+")

Document = tuple[str, str]  # where it stands, and its text


@dataclass(frozen=True)
class Overlap:
    """What a question shares with the training data.

    share: of its words, those that lie in shared runs. common: are all these runs common phrases, in more than COMMON
    documents? run: the longest one, as a text. place, excerpt: where the training data have it, and its surroundings.
    """

    id: str
    question: str
    share: float = 0.0
    common: bool = False
    run: str = ""
    place: str = ""
    excerpt: str = ""

    @property
    def dirty(self) -> bool:
        return self.share > 0


@dataclass
class Found:
    """A run of words, as the training data have it."""

    documents: int = 0
    place: str = ""
    excerpt: str = ""
    last: str = field(default="", repr=False)


def words_of(text: str) -> list[str]:
    """The words of a text, as they are compared: "Don't 3.5!" is dont, 35."""
    return [joined for part in text.lower().split() if (joined := "".join(_WORD.findall(part)))]


def overlaps(
    problems: Sequence[Problem], documents: Iterable[Document], num_words: int = WORDS
) -> tuple[list[Overlap], int, list[str]]:
    """What each question shares with the documents; how many documents there were; the ids that are too short to tell.

    One pass over the documents, which may be larger than memory; the questions are held.
    """
    if num_words < 2:
        raise UserError(f"--words must be at least 2, not {num_words}")
    words = [words_of(problem.metadata.get("stem", problem.question)) for problem in problems]
    sizes = [min(num_words, len(own)) for own in words]
    short = [p.id for p, size in zip(problems, sizes, strict=True) if size < min(FEWEST, num_words)]
    runs = defaultdict[int, dict[str, Found]](dict)  # by their length, what the documents are searched for
    for own, size in zip(words, sizes, strict=True):
        if size >= min(FEWEST, num_words):
            runs[size] |= {" ".join(own[i : i + size]): Found() for i in range(len(own) - size + 1)}
    num_documents = 0
    for place, text in documents:
        num_documents += 1
        search(runs, place, words_of(text))
    untold = set(short)
    found = [overlap(*one, runs) for one in zip(problems, words, sizes, strict=True) if one[0].id not in untold]
    return found, num_documents, short


def search(runs: dict[int, dict[str, Found]], place: str, words: Sequence[str]) -> None:
    for size, wanted in runs.items():
        for i in range(len(words) - size + 1):
            found = wanted.get(" ".join(words[i : i + size]))
            if found is None or found.last == place:
                continue
            found.documents, found.last = found.documents + 1, place
            if found.documents == 1:
                found.place, found.excerpt = place, " ".join(words[max(0, i - AROUND) : i + size + AROUND])


def overlap(problem: Problem, words: Sequence[str], size: int, runs: dict[int, dict[str, Found]]) -> Overlap:
    held = [runs[size][" ".join(words[i : i + size])] for i in range(len(words) - size + 1)]
    starts = [i for i, found in enumerate(held) if found.documents]
    if not starts:
        return Overlap(problem.id, problem.question)
    covered = {place for start in starts for place in range(start, start + size)}
    first, longest = longest_run(starts)
    common = all(held[start].documents > COMMON for start in starts)
    run = " ".join(words[first : first + longest + size - 1])
    return Overlap(problem.id, problem.question, len(covered) / len(words), common, run, held[first].place,
                   held[first].excerpt)  # fmt: skip


def longest_run(starts: Sequence[int]) -> tuple[int, int]:
    """Where the longest sequence of neighbours among these begins, and how long it is."""
    best, first = (starts[0], 1), starts[0]
    for before, start in pairwise(starts):
        first = first if start == before + 1 else start
        best = max(best, (first, start - first + 1), key=lambda pair: pair[1])
    return best


# Training data


def documents_of(path: Path) -> Iterator[Document]:
    """The documents of training data: each row of a file of rows (all its texts together), each paragraph of a text
    file, or those of every such file in a folder. Raises UserError where there are none."""
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in (*READERS, ".txt", ".md"))
        if not files:
            raise UserError(f"{path}: no file in this folder ends in {', '.join((*READERS, '.txt', '.md'))}")
        for file in files:
            yield from documents_of(file)
    elif path.suffix in (".txt", ".md") and path.is_file():
        yield from paragraphs(path)
    else:
        for number, row in enumerate(rows_of(path), start=1):
            yield f"{path}, row {number}", "\n".join(texts_in(row))


def paragraphs(path: Path) -> Iterator[Document]:
    """What stands between empty lines, each with the line where it begins."""
    lines, first = list[str](), 1
    try:
        with open(path, encoding="utf-8-sig") as file:
            for number, line in enumerate(file, start=1):
                if line.strip():
                    first = first if lines else number
                    lines.append(line)
                elif lines:
                    yield f"{path}, line {first}", "".join(lines)
                    lines = []
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: cannot be read: {why_not_read(error)}") from None
    if lines:
        yield f"{path}, line {first}", "".join(lines)


def texts_in(value: object) -> Iterator[str]:
    """Every text within a row, also in lists and objects: a chat's messages, say."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list | tuple):
        for part in value.values() if isinstance(value, dict) else value:
            yield from texts_in(part)


# In words


@dataclass(frozen=True)
class Summary:
    """How many questions of so many are dirty, and how much of them: by share of words, at least. Numbers of questions.

    common: those that are dirty by common phrases only.
    """

    num: int
    dirty: int
    at_least: dict[str, int]
    common: int


def summary(found: Sequence[Overlap]) -> Summary:
    dirty = [one for one in found if one.dirty]
    shares = {"20%": 0.2, "80%": 0.8, "100%": 1.0}
    at_least = {name: sum(one.share >= share for one in dirty) for name, share in shares.items()}
    return Summary(len(found), len(dirty), at_least, sum(one.common for one in dirty))


def by_family(problems: Sequence[Problem], found: Sequence[Overlap]) -> list[tuple[str, int, int]]:
    """Each subject with its dirty questions and all of them, the dirtiest first."""
    family = {problem.id: problem.family for problem in problems}
    num, dirty = Counter(family[one.id] for one in found), Counter(family[one.id] for one in found if one.dirty)
    return sorted(((name, dirty[name], num[name]) for name in num), key=lambda row: (-row[1] / row[2], row[0]))
