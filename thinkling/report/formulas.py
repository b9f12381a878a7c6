r"""Formulas in a text, as MathML that a browser draws by itself: nothing is loaded for them.

A model's text is hostile: a formula becomes a tree of the few elements and attributes that are listed here, with text
as text, and a page's script builds it element by element, never from markup. What is no formula that latex2mathml can
read stays as it was written. Leaves out formulas without delimiters.
"""

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element

from thinkling.report.page import safe

ELEMENTS = set(
    "math mrow mi mn mo ms mtext mspace mfrac msqrt mroot mstyle mpadded mphantom msub msup msubsup munder mover "
    "munderover mmultiscripts mprescripts mtable mtr mtd".split()
)
ATTRIBUTES = {"mathvariant", "stretchy", "fence", "form", "display", "displaystyle", "scriptlevel", "linethickness",
              "accent", "accentunder", "columnalign", "width", "height", "depth", "lspace", "rspace"}  # fmt: skip
# Every part is bounded: in a text of nothing but "\[" each would else be followed to the end.
FORMULA = re.compile(
    r"\$\$(?P<a>[^$]{1,400}?)\$\$|\\\[(?P<b>.{1,400}?)\\\]|\\\((?P<c>.{1,400}?)\\\)"
    r"|(?<![\\$\w])\$(?P<d>[^\s$](?:[^$\n]{0,400}[^\s$\\])?)\$(?![\d$])"
    r"|(?P<e>\\boxed\s{0,9}\{(?:[^{}\n]|\{(?:[^{}\n]|\{[^{}\n]{0,99}\}){0,99}\}){0,400}\})",
    re.DOTALL,
)
LONGEST = 20_000  # characters of a response on a page; samples.jsonl has all of it
DEEPEST = 40  # elements within each other

Tree = list  # [tag, {attribute: value}, child or text, ...], as JSON holds it


def shortened(text: str) -> str:
    if len(text) <= LONGEST:
        return text
    half = LONGEST // 2
    left_out = f"[{len(text) - 2 * half:,} characters are left out here; samples.jsonl has them]"
    return f"{text[:half]}\n\n{left_out}\n\n{text[-half:]}"


def pieces(text: str) -> Iterator[str | tuple[str, bool, str]]:
    """The text in order: str is text, (formula, whether on a line of its own, as it was written) is a formula.

    A $ opens a formula only where no space follows and its pair has none before it and no digit behind it, so that
    "$5 and $7" are prices.
    """
    at = 0
    for found in FORMULA.finditer(text):
        inside = next(value for value in found.groups() if value is not None)
        yield text[at : found.start()]
        yield inside, found.lastgroup in ("a", "b"), found[0]
        at = found.end()
    yield text[at:]


def tree(formula: str, alone: bool = False) -> Tree | None:
    """The formula's MathML; None where it cannot be read."""
    from latex2mathml.converter import convert_to_element

    try:
        return clean(convert_to_element(formula, display="block" if alone else "inline"))
    except Exception:  # it raises what it likes: bad input is a formula that stays text
        return None


def clean(element: Element, depth: int = 0) -> Tree:
    """The element with what is allowed; another one is replaced by what it holds. Raises ValueError past DEEPEST."""
    if depth > DEEPEST:
        raise ValueError("too deep")
    children: list[object] = [unescaped(element.text)] if element.text else []
    for child in element:
        children.append(clean(child, depth + 1))
        if child.tail:
            children.append(unescaped(child.tail))
    if element.tag == "menclose":  # \boxed: no browser of today draws it, the page does
        return ["mrow", {"class": "boxed"}, *children]
    tag = element.tag if element.tag in ELEMENTS else "mrow"
    return [tag, {name: value for name, value in element.attrib.items() if name in ATTRIBUTES}, *children]


def unescaped(text: str) -> str:
    """latex2mathml writes signs as &#x0002B; and puts the tree into a text that is then unescaped."""
    return re.sub(r"&#x([0-9A-Fa-f]{1,6});", lambda found: chr(int(found[1], 16)), text)


def html_of(made: Tree | str) -> str:
    if isinstance(made, str):
        return safe(made)
    tag, attributes, *children = made
    written = "".join(f' {name}="{safe(value)}"' for name, value in attributes.items())
    return f"<{tag}{written}>{''.join(map(html_of, children))}</{tag}>"


class Formulas:
    """The formulas of a page, each once. most: how many are drawn; later ones stay text, since each takes a
    millisecond."""

    def __init__(self, most: int = 4000) -> None:
        self.trees: list[Tree] = []
        self.most, self.num_left = most, 0
        self._places: dict[tuple[str, bool], int | None] = {}

    def packed(self, text: str) -> list[str | int]:
        """The text as pieces: a number is the place of a formula in `trees`."""
        text = text.encode("utf-8", "replace").decode("utf-8")
        found: list[str | int] = []
        for piece in pieces(text):
            if isinstance(piece, str):
                found += [piece] if piece else []
                continue
            *formula, written = piece
            place = self._place(tuple(formula))
            found.append(written if place is None else place)
        return found

    def html(self, text: str) -> str:
        """The text as HTML, for a page without a script: everything escaped, formulas as MathML."""
        return "".join(
            safe(piece) if isinstance(piece, str) else html_of(self.trees[piece]) for piece in self.packed(text)
        )

    def _place(self, formula: tuple[str, bool]) -> int | None:
        if formula not in self._places:
            if len(self._places) >= self.most:
                self.num_left += 1
                return None
            made = tree(*formula)
            self._places[formula] = None if made is None else len(self.trees)
            if made is not None:
                self.trees.append(made)
        return self._places[formula]
