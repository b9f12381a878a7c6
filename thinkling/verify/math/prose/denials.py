r"""What a text says not to be the answer: not $20$, `\boxed{12}` is wrong, "it is a mistake to think the answer is 12".

Only what stands right beside a value denies it. Leaves out what is said instead, which is a claim (claims.py).
"""

import re

from thinkling.verify.math.prose.formulas import Span

NEAR = 120  # characters on either side that are looked at
MAX_DENIED = 20  # of the last boxes or claims; where all of them are denied, none is left

_BEFORE = re.compile(
    r"(?i)(?:\b(?:not|never|rather than|instead of|reject|discard|exclude|rule out|if (?:it|this|that) were)"
    r"(?: the (?:value|solution|root))?|不是|\bне|\bno es|n['’]est pas|\bnicht|\bnão é|\bnon è)[ *:]*\Z"
)
_BEHIND = re.compile(
    r"(?i)[ *]*(?:[.,;]? (?:(?:but|however|which|that|this|it),? )+)?(?:(?:is|was) (?:an? )?(?:too (?:large|small|big)|"
    r"wrong|incorrect|false|extraneous|invalid|impossible|rejected|discarded|excluded)"
    r"|(?:is|was)(?: not|n['’]t) (?:right|correct|it\b|the answer|(?:an? )?(?:valid|solution|possible|allowed))"
    r"|(?:does not|doesn['’]t|fails to) (?:work|satisfy|hold)|is ruled out|cannot be)\b"
)
_BEFORE_A_BOX = re.compile(
    r"(?i)(?:(?<!why )(?<!or )\bnot|n['’]t|\bnever|\brather than|\binstead of"
    r"|\b(?:wrong|incorrect|false) (?:final )?(?:answer|result|value)s?(?: (?:is|was|would be|of))?:?)[\s*$(\[\\}]*\Z"
)
_TAKEN_BACK = (
    r"(?:(?:['’]s|is|was|seems|looks) (?:(?:clearly|obviously|actually|definitely|the|a) )*"
    r"(?:wrong|incorrect|not (?:the )?(?:right|correct|answer\b|it\b))(?! (?:to|that|because)\b)"
    r"|(?:is|was)n['’]t (?:the )?(?:right|correct|answer\b|it\b)"
    r"|can(?:not| not|['’]t) be (?:the )?(?:right|correct|answer\b|it\b))"
)
_BEHIND_A_BOX = re.compile(
    rf"(?i)[\s*$)\]\\,]*(?:\((?:wrong|incorrect)\b|(?:which |that )?{_TAKEN_BACK}|"
    rf"[.!;:—–…-]*\s*(?:(?:wait|no|hm+|actually|oops|sorry|but)\b[\s,.!—–…-]*)*"
    rf"(?:(?:that|this|it|the (?:above |boxed )?answer) ?{_TAKEN_BACK}|I (?:made|was) (?:a mistake|an error|wrong)\b))"
)
_SAYS_NO = re.compile(r"(?i)[^a-z]*(?:text\w*\W*)?(?:no|not|false|wrong|incorrect|invalid|[a-j])\b.{0,20}", re.DOTALL)
_BEFORE_A_CLAIM = re.compile(
    r"(?i)(?:\b(?:wrong|incorrect|false|mistake|mistaken|misleading) "
    r"(?:to (?:say|think|claim|believe|conclude|assume)|that)"
    r"|(?:\b(?:not|never)|n['’]t) (?:true|certain|clear|convinced|say|think|believe|claim|mean|the case|sure)"
    r"|(?<!no )\bdoubt|\b(?:suppose|assume|assuming|supposing|if|whether|unless)"
    r"|\b(?:might|may|could) (?:think|say|guess))"
    r"(?:,? (?:that|whether|if))?(?: (?:the|my|our|its))?(?: (?:final|correct|right|true))*\s*\Z"
    r"|\b(?:wrong|incorrect|false|previous|earlier|initial|old) (?:final )?\Z"
    r"|(?:错误|错误的|\bmauvaise|\bfausse|\bfalsche|\bне ?(?:правильный|верный)) ?\Z"
)


def is_denied(text: str, span: Span) -> bool:
    """Is the formula one that the text says not to be the answer: not $20$, or $20$ is wrong?"""
    before, after = _around(text, span)
    return bool(_BEFORE.search(before[-40:]) or _BEHIND.match(after[:60]))


def is_no_box(text: str, span: Span) -> bool:
    r"""Is the box said not to hold the answer: "it is not \boxed{12}"?"""
    return bool(_BEFORE_A_BOX.search(_around(text, span)[0]))


def is_taken_back(text: str, span: Span) -> bool:
    r"""Is the box taken back right behind it: "\boxed{12}. Wait, that is wrong."?

    A box that says "no" is no different from what follows it ("\boxed{\text{False}}. It is incorrect ..."), nor is
    a letter, for a statement B may be the one that is incorrect.
    """
    return bool(_BEHIND_A_BOX.match(_around(text, span)[1])) and not _SAYS_NO.fullmatch(text[span.first : span.last])


def is_no_claim(text: str, start: int) -> bool:
    """Is the claim that starts here denied or only supposed: "it is wrong to say that the answer is 12"?"""
    return bool(_BEFORE_A_CLAIM.search(text[max(0, start - NEAR) : start]))


def _around(text: str, span: Span) -> tuple[str, str]:
    return text[max(0, span.start - NEAR) : span.start], text[span.end : span.end + NEAR]
