"""Answer text -> a typed tree (see tree.py). LaTeX and plain text alike; bounded, and it never evaluates anything.

Here stand the forms that only a whole answer has: choice letters, times of day, words. Mathematics is in grammar.py.
"""

import re

from thinkling.verify.math.build import REALS
from thinkling.verify.math.clean import clean
from thinkling.verify.math.grammar import Parser
from thinkling.verify.math.tokens import NotMathematics, tokens
from thinkling.verify.math.tree import Choice, Numeral, Set, Unread, Words, walk

MAX_CHARACTERS = 2000
MAX_NODES = 600


def parse(text: str) -> object:
    """The tree of an answer's text. Never raises, never evaluates.

    What is neither mathematics nor plain words is Unread: its normalised text, to be compared as text. Of an empty or
    over-long answer nothing is kept, so that it equals nothing.
    """
    if len(text) > MAX_CHARACTERS:
        return Unread("", f"{len(text):,} characters long, past {MAX_CHARACTERS:,}")
    cleaned = clean(text)
    if not cleaned:
        return Unread("", "empty")
    special = _whole_answer(text, cleaned)
    if special is not None:
        return special
    try:
        tree = Parser(tokens(cleaned)).answer()
        if sum(1 for _ in walk(tree)) > MAX_NODES:
            raise NotMathematics(f"more than {MAX_NODES} numbers, symbols and signs")
        return tree
    except NotMathematics as problem:
        return _plain_words(cleaned) or Unread(_normalise(cleaned), str(problem))


_PHRASES = {
    "all real numbers": REALS,
    "all reals": REALS,
    "empty set": Set(()),
    "no solution": Set(()),
    "no solutions": Set(()),
    "no real solution": Set(()),
    "no real solutions": Set(()),
    "the empty set": Set(()),
}
_CHOICE = re.compile(r"\(([A-Ja-d])\)|([A-J])\)")
_STYLED_CHOICE = re.compile(
    r"\s*\$?\s*\\(?:text|textbf|mbox|mathbf|mathrm|textrm)\s*\{\s*\(?([A-Ja-d])\)?\.?\s*\}\s*\$?\s*\.?"
)
_LETTERED_NUMERAL = re.compile(r"\(?([0-9A-Za-z]*[A-Za-z][0-9A-Za-z]*)\)? ?_ ?\{? ?([0-9]{1,2}) ?\}?")
_TIME = re.compile(r"([0-9]{1,2})(?:[:.]([0-9]{2}))? ?([ap])\.? ?m\.?")
_STYLED = re.compile(r"\\(?:text|mbox|textrm|textbf|textit|mathrm|mathbf)\s*\{([^{}]*)\}")
_WORDS = re.compile(r"[^\W_]+(?:[ ,.'!?&-]+[^\W_]+)*[.!?]?")
_WORD = re.compile(r"[^\W\d_]{2}")


def _whole_answer(text: str, cleaned: str) -> object | None:
    """The forms that only a whole answer has: `(B)`, `1A_{16}`, `5:30 p.m.`, "all real numbers". None: another form."""
    choice = _CHOICE.fullmatch(cleaned) or _STYLED_CHOICE.fullmatch(text)
    if choice:
        return Choice(choice[choice.lastindex].upper())
    numeral = _LETTERED_NUMERAL.fullmatch(cleaned)
    if numeral and 10 < int(numeral[2]) <= 36 and all(int(digit, 36) < int(numeral[2]) for digit in numeral[1]):
        return Numeral(numeral[1].upper(), int(numeral[2]))
    plain = _without_style(cleaned).casefold()
    time = _TIME.fullmatch(plain)
    if time:
        return Words(f"{int(time[1])}:{time[2] or '00'} {time[3]}m")
    return _PHRASES.get(plain)


def _plain_words(cleaned: str) -> Words | None:
    """Letters, digits and the punctuation of a phrase, with at least one word of two letters; None for all else."""
    plain = _without_style(cleaned)
    if not _WORD.search(plain) or not _WORDS.fullmatch(plain):
        return None
    return Words(plain.rstrip(".!?").casefold())


def _normalise(cleaned: str) -> str:
    """Text for comparing letter by letter: case and spacing removed, brackets and signs kept."""
    text = _STYLED.sub(lambda match: match[1], cleaned)
    text = re.sub(r"\\[A-Za-z]+|[^\\]+", lambda m: m[0] if m[0][0] == "\\" else m[0].casefold(), text)  # \Pi is not \pi
    text = re.sub(r"([_^])\{([0-9A-Za-z])\}", r"\1\2", text)  # x^{2} is x^2
    return re.sub(r"(?<![^\W_]) +| +(?![^\W_])", "", text)  # a space counts only between letters or digits


def _without_style(text: str) -> str:
    return " ".join(_STYLED.sub(lambda match: f" {match[1]} ", text).split())
