r"""What a sentence claims: the value in "The answer is about 18, not 20." or "**Answer:** Janet makes **$18** a day".

A claim's start is known in several languages. What it withdraws ("wait, that is wrong") is no answer; what corrects it
is. A claim that says what the answer is not, or is less than, is left as it stands, and is then not read.
"""

import re
from collections import deque
from dataclasses import dataclass

from thinkling.verify.math.prose.denials import MAX_DENIED, is_no_claim
from thinkling.verify.math.prose.formulas import Span, formulas_of

PROSE = re.compile(r"(?<![^\W\d_])[^\W\d_]{2,}+(?![(^=_{\d+*/-])")  # a word, not sin(x) or ab^2
SOMETHING = re.compile(r"[^\s.*_:,;$#`\"'-]")
STATED = re.compile(
    r"""(?<![^\W_])(?:answers?|(?<=correct[ ])(?:option|choice))(?![^\W_])     # the answer ...
        (?: [ \t*_]*+ (?:[:=]|→|->|=>|\\to(?![a-z]))                      # answer: X
          | (?: [ \t*_]*+ | [ ](?:to|for|of)\b[^.:$\n]{0,60}?[ ] )        # ... to the question
            (?<![^\W_]) (?:is|are|was|equals|comes[ ]out[ ](?:to|as)|(?:would|will|must|should|seems[ ]to)[ ]be)\b
            (?![ ](?:correct|reasonable|valid|consistent|verified|confirmed)\b) )
        (?: [\s*:=] | __?(?=\s) )*+
      | (?:\*\*|__) (?:the[ ])?(?:final[ ])?answer (?:\*\*|__) \s*+ (?:[—–-][ ])?+       # **Final Answer** X
      | ^[\#*_ \t]*+ (?:the[ ])?(?:final[ ])?answer [*_ \t]*+ $ \s*+      # a line of its own, then X
      | ^[\#*_ \t>-]*+ (?:the[ ])?(?:final[ ])? (?:answer[*_]*+[ ](?:[—–-][ ])?(?=[-+$\\(]?\d)
        | (?:ans|result|solution|a)[*_ \t]*+[:=] [\s*]*+ | ans\.[ ](?=[-+$\\(]?\d) )                # Ans: X
      | (?:答案|答)[*_]*+(?:[是为為]|[:：])[:：]? [\s*]*+                             # the same in other languages
      | (?:la[ ](?:bonne[ ])?réponse|die[ ](?:(?:richtige|endgültige|finale|korrekte)[ ])?(?:antwort|lösung)
          |la[ ]respuesta|la[ ]risposta|a[ ]resposta|het[ ](?:juiste[ ])?antwoord)
        (?:[ ](?:finale|final|endgültige|correcta|correcte|corretta|correta))?
        (?:[ ](?:est|ist|lautet|es|è|é|is)\b (?:[ ](?:donc|also|daher|somit)\b)? |[ ]?:) [\s*:]*+
      | (?:réponse|résultat|ergebnis|resultado|risultato|antwort|lösung|respuesta|risposta|resposta|antwoord|svar|ответ
          |پاسخ|جواب|الجواب|الإجابة|答え|정답|최종[ ]?답|답|उत्तर|odpowiedź|cevap|jawaban|đáp[ ]án)
        (?:[ ](?:finale?|correcta|نهایی))?
        (?: [*_]*+ (?:[ ]?[:：]|[ ][—–-][ ]|[ ]?[は은]|[ ](?:равен|равно|است|برابر[ ]است[ ]با)\b)
          | [ ](?=[-$\\]?[0-9۰-۹٠-٩$\\]) ) [\s*]*+
      | (?P<hashes> (?<!\#)\#{4}(?!\#) ) [ \t*]*+ (?=[^\s\#])             # #### X, but no heading in words
        (?! (?:\d++[.):][ ])? [^\W\d_]{2,}+(?![(^=_{\d+*/-]) )""",
    re.IGNORECASE | re.MULTILINE | re.VERBOSE,
)
_MAY_STATE = re.compile(r"[^\W\d_]|####")  # a megabyte of signs is passed over at once
# The end of a claim: its line's, its sentence's (no point of 3.5 or 0.333...), or where its reason begins.
_CLAIM_END = re.compile(
    r"\n|(?<!\.)\.(?=[*_]*+(?:\s|\Z))(?! Or (?:maybe |perhaps |possibly )?[-$\\]{0,2}\d)|。"
    r"|,?[ ](?:because|since|as|so|where|which)\b"
    r"|,[ ]i\.e\b|,?[ ]Q\.?E\.?D\b"
    r"|,[ ]not\b|,?[ ](?:rather[ ]than|instead[ ]of)\b|,?[ ]or[ ](?:so|about|approximately|roughly|around)\b"
    r"|;[ ](?=[^\W\d_]{2})|[ ]and[ ](?:we|this|I)\b"
    r"|[ ]\((?=since|because|as|from|i\.e|that[ ]is|for|by|which|not|or|about|approx|roughly)"
    r"|[!?](?=[*_]*+(?:\s|\Z))|[ ][:;]-?\)"
)
OPENING = re.compile(
    r"(?:(?:therefore|thus|then|hence|simply|just|exactly|indeed|clearly|about|approximately|roughly|around"
    r"|equal to|only|now)[ ,:]+)+",
    re.IGNORECASE,
)
MAX_BACKWARD = 200
_BACKWARD = re.compile(  # So 3 is the final answer.
    r"(?:^|[.!] |\n)(?:so |thus |hence |therefore |now )?,? ?([^\n]{1,80}?) (?:is|are) the "
    r"(?:final |correct |right )?answers?[.!]?\s*\Z"
    r"|(?:^|[.!] |\n)(?:so,? |thus,? |hence,? |therefore,? )?"
    r"(?:I|we) (?:get|have|obtain|find) ([^\n]{1,80}?) (?:as|for) (?:the|my|our) (?:final )?answer[.!]?\s*\Z",
    re.IGNORECASE,
)
_CONCLUSION = re.compile(
    r"(?:\A|[.!?]\s|\n)[*_ ]*(?:(?:so|thus|hence|therefore|finally|altogether|in total|in conclusion)\b,? )?"
    r"the (?:final |required |desired )?(?:solutions?|results?|total(?: [a-z]+){0,4}|sum|product|values?|roots?"
    r"|probability|number of(?: [a-z]+){1,4}) (?:is|are|equals) "
    r"((?:\*\*)?[-+$(]?[0-9](?:[^.!?\n]|\.(?=[0-9]))*)[.!]?[*_]*\s*\Z",
    re.IGNORECASE,
)
_WITHDRAWN = re.compile(
    r"(?:\bwait\b|\bor is it\b|\bactually\b|\bno,|\bsorry\b|\bcorrection\b|\boops\b"
    r"|(?:that|this|it|which)(?:'s| is| was) (?:wrong|incorrect|not (?:right|correct))"
    r"|\bI (?:made|was) (?:a mistake|an error|wrong)\b)",
    re.IGNORECASE,
)
_CORRECTED = re.compile(
    r"(?:\b(?:it|that|this|the (?:value|result|total|number|correct (?:one|value)))"
    r"(?: is|'s| should be| must be| equals| would be)"
    r"|\bcorrection\b ?:?) (?!wrong|incorrect|not\b|correct\b|right\b)(?:actually |really |in fact )?",
    re.IGNORECASE,
)
_TAG_END = re.compile(r"</(?:(?:final[_ ]?)?answer|ans)>|\[/ANSWER\]", re.IGNORECASE)
_JOINED = re.compile(r"\s{0,4}(or|and|,|/|,\s?or|,\s?and)\s{0,4}", re.IGNORECASE)
_JSON_KEY = re.compile(r"[\"'](?:(?:final_?|correct_?)?answer|result)[\"'] ?: ?(?=[^,}\n])", re.IGNORECASE)
_JSON_VALUE = re.compile(r"\"((?:[^\"\\]|\\.)*+)\"|(\[[^\]\n]*\])|([^,}\n]+)")
_BEHIND = re.compile(r"[ ]?(?:です|である|입니다|이다|[ ]است)[.。]?\Z")  # what ends such a sentence in its language
_BOLD = re.compile(r"\*\*([^*\n]+)\*\*")
_END_TOKENS = re.compile(r"(?:\s|<\|(?:im_end|endoftext|eot_id|end|end_of_text)\|>|</s>|<eos>|<end_of_turn>)+\Z")
_FENCE = re.compile(r"\A\s*```[a-z]*\n(.*?)\n?```\s*\Z", re.DOTALL)


@dataclass(frozen=True)
class Claim:
    """What is claimed, "" where it is nothing, and the rule that found it."""

    answer: str
    rule: str


def without_end(text: str) -> str:
    """The text without the tokens that end a completion, and without a code fence all around it."""
    text = _END_TOKENS.sub("", text[-200:]).join([text[:-200], ""]) if len(text) > 200 else _END_TOKENS.sub("", text)
    fence = _FENCE.match(text) if text.lstrip().startswith("```") else None
    return fence[1] if fence else text


def tagged(text: str) -> Claim | None:
    """The content of the last `<answer>...</answer>`, or of an "answer" in JSON."""
    if ("</" in text or "[/" in text) and (ends := deque(_TAG_END.finditer(text), maxlen=2)):
        opening = ends[-1].group().replace("/", "").lower()
        starts = [text.lower().rfind(opening, 0, end.start()) for end in ends]
        if starts[-1] < 0:
            return None
        contents = [text[start + len(opening) : end.start()] for start, end in zip(starts, ends, strict=True)]
        joined = _JOINED.fullmatch(text, ends[0].end(), starts[-1]) if 0 <= starts[0] < starts[-1] else None
        if joined is not None:  # <answer>1</answer> or <answer>2</answer>
            first, last = (_claim(content, "").answer for content in contents)
            return Claim(f"{first} {joined[1]} {last}", "answer tags side by side")
        return stated(contents[-1]) or _claim(contents[-1], "an answer tag")
    if "{" in text and (keys := deque(_JSON_KEY.finditer(text), maxlen=1)):
        found = _JSON_VALUE.match(text, keys[0].end())
        value = found[1] if found[1] is not None else found[2][1:-1] if found[2] else found[3]
        value = value.replace("\\\\", "\\").strip("'")
        return _claim(value, "an answer in JSON")
    return None


def concluded(text: str) -> Claim | None:
    """What a response's last sentence says of its result, total or solution: So the total is 18."""
    found = _CONCLUSION.search(text[-MAX_BACKWARD:])
    return found and _claim(found[1], "a concluding sentence")


def _claim(text: str, rule: str) -> Claim:
    return Claim(clean(without_delimiters(text, formulas_of(text))), rule)


def stated(text: str) -> Claim | None:
    """The last claim ("the answer is X") that is not denied, up to its sentence's or line's end."""
    found = deque(STATED.finditer(text), maxlen=MAX_DENIED) if _MAY_STATE.search(text) else ()
    claims = [claim for claim in found if not is_no_claim(text, claim.start())]
    if found and not claims:
        return Claim("", "what was stated was denied")
    if not claims:
        found = _BACKWARD.search(text[-MAX_BACKWARD:])
        return found and _claim(found[1] or found[2], "... is the answer")
    claim, text = claims[-1], text[claims[-1].end() :]
    answer, end = _sentence(text)
    rule = "####" if claim["hashes"] else "the answer is ..."
    withdrawn = None if claim["hashes"] else _WITHDRAWN.search(text, end)
    if withdrawn and not STATED.search(text, withdrawn.end()):
        corrections = deque(_CORRECTED.finditer(text, withdrawn.start()), maxlen=1)
        if not corrections:
            return Claim("", "the stated answer was withdrawn")
        answer, _ = _sentence(text[corrections[0].end() :])
        rule = "a corrected answer"
    return Claim(answer, rule)


def _sentence(text: str) -> tuple[str, int]:
    """The claim that begins here, cleaned, and where it ends."""
    text = text.removeprefix("}")  # of \\text{Answer: } 42
    text = text.removeprefix("(") if text.startswith("(") and ")" not in text[:200] else text
    opening = OPENING.match(text)
    start = opening.end() if opening else 0
    formulas = formulas_of(text)
    number, end = 0, len(text)
    for stop in _CLAIM_END.finditer(text, start):
        while number < len(formulas) and formulas[number].end <= stop.start():
            number += 1
        if number == len(formulas) or stop.start() < formulas[number].start:
            end = stop.start()
            break
    inside = [Span(*(place - start for place in span)) for span in formulas if start <= span.start and span.end <= end]
    return _BEHIND.sub("", clean(without_delimiters(text[start:end], inside))), end


def without_delimiters(claim: str, formulas: list[Span]) -> str:
    """A claim without the signs around its formulas; the one formula alone where a sentence surrounds it.

    A unit is no sentence, and an alternative ("$7$ or 8") is never dropped. Without a formula, what is bold stands out.
    """
    edges = [0, *(edge for span in formulas for edge in (span.start, span.end)), len(claim)]
    prose = [claim[a:b] for a, b in zip(edges[::2], edges[1::2], strict=True)]
    contents = [formula(claim, span) for span in formulas]
    around = " ".join(prose)
    if len(contents) == 1 and len(PROSE.findall(around)) > 3 and not re.search(r"\d|\b(?:and|or|not)\b", around):
        return contents[0]
    bold = _BOLD.findall(claim)
    if not contents and len(bold) == 1 and re.search(r"\d", bold[0]):
        rest = _BOLD.sub(" ", claim)
        if len(PROSE.findall(rest)) > 2 and not re.search(r"\d|\b(?:and|or|not|no|less|more|than)\b", rest):
            return bold[0]
    return "".join(a + b for a, b in zip(prose, [*contents, ""], strict=True))


def clean(answer: str) -> str:
    """Strip emphasis, quotes and final punctuation; "" where nothing is left to read."""
    answer = trimmed(answer, "*:")
    for mark in ("`", '"', "'", "__", "_"):
        if answer.startswith(mark) and answer.endswith(mark) and len(answer) > 2 * len(mark):
            answer = trimmed(answer[len(mark) : -len(mark)], "*:")
    return answer if SOMETHING.search(answer) else ""


def formula(text: str, span: Span) -> str:
    return trimmed(text[span.first : span.last])


def trimmed(text: str, marks: str = "") -> str:
    r"""Without white space and `marks` around it, and without stops .,; behind it, but for "..." and the space `\,`."""
    start, end = 0, len(text)
    while start < end and (text[start].isspace() or text[start] in marks):
        start += 1
    while end > start:
        last, before = text[end - 1], text[end - 2 : end - 1]
        if not (last.isspace() or last in marks or (last in ".,;" and before not in ("\\", "."))):
            break
        end -= 1
    return text[start:end]
