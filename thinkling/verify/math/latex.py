"""Answer text -> a typed tree (see tree.py). LaTeX and plain text alike; bounded, and it never evaluates anything.

The whole answer's own forms come first (prose/), then mathematics (grammar.py), then a name with its value, or words.
"""

from thinkling.verify.math.expressions.clean import clean
from thinkling.verify.math.expressions.grammar import Parser
from thinkling.verify.math.expressions.tokens import NotMathematics, tokens
from thinkling.verify.math.expressions.tree import Choice, Qualified, Relation, Solution, Symbol, Unread, Words, walk
from thinkling.verify.math.prose import forms, qualifiers

MAX_CHARACTERS = 2000
MAX_NODES = 400


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
    special = forms.whole(text, cleaned)
    if special is not None:
        return special
    chosen = forms.choice_with_text(cleaned)
    if chosen is not None:
        return Choice(chosen[0], _parsed(chosen[1]))
    return _parsed(cleaned)


def _parsed(cleaned: str, deeper: bool = True) -> object:
    qualified = qualifiers.split(cleaned) if deeper else None
    if qualified is not None:
        value = _parsed(qualified[0], deeper=False)
        if not isinstance(value, Unread | Words | Solution):
            return Qualified(value, (condition_of(qualified[1]),) if qualified[1] else ())
    try:
        tree = mathematics(cleaned)
    except NotMathematics as problem:
        named = forms.named_value(cleaned) if deeper else None
        if named is not None:
            value = _parsed(named[1], deeper=False)
            if not isinstance(value, Unread | Words | Relation):
                return Relation((Symbol(named[0]), value), ("=",))
        return forms.plain_words(cleaned, str(problem)) or Unread(forms.spelled_alike(cleaned), str(problem))
    return tree


def condition_of(text: str) -> object:
    return Words(text) if text in qualifiers.KINDS else _parsed(text, deeper=False)


def mathematics(cleaned: str) -> object:
    """The tree of a cleaned text that is mathematics. Raises NotMathematics."""
    named = forms.derivative(cleaned)
    if named is not None:
        return Relation((Symbol(named[0]), mathematics(named[1])), ("=",))
    tree = Parser(tokens(cleaned)).answer()
    if sum(1 for _ in walk(tree)) > MAX_NODES:
        raise NotMathematics(f"more than {MAX_NODES} numbers, symbols and signs")
    return tree
