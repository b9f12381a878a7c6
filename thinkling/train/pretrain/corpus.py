"""What the built-in base model reads: documents made from training problems, each a list of (text, loss weight).

Most problems are `quantities`, more of them short than long; the rest word problems of the seen templates (with other
names and sizes of numbers), the arithmetic families, and lines of plain arithmetic. The forms: a bare answer; worked
steps, asked for or (seldom) not; a chat turn with or without thinking; and what a model is asked about an answer, laid
out exactly as `scale/` asks it: a review, a revision, p(true), a judge's grade. An answer weighs 1, a
question 0.1, a draft that is only read 0.
"""

import hashlib
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from random import Random

from thinkling.problem import is_held_out
from thinkling.scale.judge_protocol import ask_grade
from thinkling.scale.prompts import ABOUT, render
from thinkling.tasks import builtin, quantities, scenes
from thinkling.train.pretrain.reviews import NO_MISTAKE, grade_of, review, spoil, spoil_quantities

# The share of each form among documents, and of each source among problems, in percent.
FORMS = {"bare": 18, "worked": 52, "unasked": 5, "chat": 4, "review": 8, "revision": 5, "p-true": 4, "judge": 4}
SOURCES = {"quantities": 62, "word": 16, "sum": 5, "product": 5, "equation": 3, "gcd": 2, "lcm": 2, "fraction": 3,
           "facts": 2}  # fmt: skip
STEPS = (28, 22, 17, 13, 11, 9)  # the share of the quantities that have 2, 3, ... 7 steps
PROMPT_WEIGHT = 0.1
WRONG = 0.5  # of the drafts
OTHER = 0.3  # of the documents of `worked_quantities` and of `longer_quantities`
LONGER = 0.35  # of the documents of `longer_quantities`
LONGER_STEPS = (28, 33, 39)  # the share of those that have 8, 9 and 10 steps
RENAMED = 0.6  # of the word problems
BOYS = [*scenes.BOYS, *"David James William John Robert Michael Richard Joseph Charles Arthur Mike Henry George Bruce \
Frederick Edward Bob Thomas Steve Benjamin Dave Lucas Elijah Harry Oliver Danny Bobby Billy Teddy Tommy Jimmy Jim \
Daniel Matthew Joshua".split()]  # fmt: skip
GIRLS = [*scenes.GIRLS, *"Sophia Isabella Olivia Charlotte Ava Sarah Amelia Emily Elizabeth Mary Susan Barbara \
Patricia Jennifer Linda Martha Catherine Margaret Jessica Sophie Julie Karen Evelyn Amanda Ashley".split()]  # fmt: skip
NAMES = re.compile(rf"\b({'|'.join([*BOYS, *GIRLS])})\b")

Segment = tuple[str, float]  # text (or the name of one special token) and the loss weight of its tokens


@dataclass(frozen=True)
class Asked:
    """A question with its worked lines and answer; of a problem over quantities, what it was made from."""

    question: str
    lines: list[str]
    answer: str
    made: quantities.Made | None = field(default=None, repr=False)


@dataclass(frozen=True)
class Draft:
    """An answer that somebody gave, what its review says, and the line of its mistake, None if it has none."""

    text: str
    review: str
    wrong_line: int | None
    bare: bool


def documents(seed: str) -> Iterator[list[Segment]]:
    """Documents without end. Special tokens stand alone in their segment; the reader adds the end of text."""
    random = Random(f"reasoning corpus/{seed}")
    made = quantities.made_stream("train", f"corpus/{seed}", STEPS)
    names, weights = zip(*SOURCES.items(), strict=True)
    forms, shares = zip(*FORMS.items(), strict=True)
    while True:
        source = random.choices(names, weights)[0]
        if source == "facts":
            yield facts(random)
            continue
        asked = _quantities(next(made)) if source == "quantities" else _old(source, random)
        if asked is not None:
            yield MAKERS[random.choices(forms, shares)[0]](asked, random)


def worked_quantities(seed: str) -> Iterator[list[Segment]]:
    """Worked quantities for the most part, the rest as above: what teaches a model that is there already to read more
    phrasings from less text."""
    random, rest = Random(f"worked quantities/{seed}"), documents(seed)
    for made in quantities.made_stream("train", f"worked/{seed}", STEPS):
        yield next(rest) if random.random() < OTHER else _worked(_quantities(made), random)


def longer_quantities(seed: str) -> Iterator[list[Segment]]:
    """Worked quantities of 8 to 10 steps, half of all tokens; the rest of the documents as in `worked_quantities`."""
    random, others = Random(f"longer quantities/{seed}"), worked_quantities(f"longer/{seed}")
    made = quantities.made_stream("train", f"longer/{seed}", LONGER_STEPS, "longer-quantities")
    while True:
        yield _worked(_quantities(next(made)), random) if random.random() < LONGER else next(others)


# --- problems ------------------------------------------------------------------------------------------------------


def _quantities(made: quantities.Made) -> Asked:
    answer = str(quantities.results(made.steps)[-1])
    return Asked(made.question, quantities.lines(made.steps), answer, made)


def _old(family: str, random: Random) -> Asked | None:
    """A problem of the built-in suite; None where its generator made none, or one that is held out."""
    if family == "word":
        parts = builtin._word(random, (), random.choice((1.0, 1.0, 1.0, 1.5, 2.0)))
        parts = parts and renamed(parts[:3], random)
    else:
        parts = builtin.SOLVERS[family](random, builtin.SIZES["builtin"])
    if parts is None or is_held_out(hashlib.sha256(parts[0].encode()).hexdigest()):
        return None
    return Asked(parts[0], parts[2].split("\n"), parts[1])


def renamed(parts: tuple[str, ...], random: Random) -> tuple[str, ...]:
    """The same problem about other people, of the same gender each."""
    if random.random() >= RENAMED:
        return parts
    found = sorted({name for text in parts for name in NAMES.findall(text)})
    new: dict[str, str] = {}
    for name in found:
        pool = BOYS if name in BOYS else GIRLS
        new[name] = random.choice([other for other in pool if other not in new.values()])
    return tuple(NAMES.sub(lambda match: new[match.group()], text) for text in parts)


def facts(random: Random) -> list[Segment]:
    """Eight lines of plain arithmetic."""
    segments = []
    for _line in range(8):
        kind = random.choice("++--**/")
        if kind == "*":
            a, b = random.randint(2, 10 ** random.randint(1, 3)), random.randint(2, 12)
            b *= random.choice([1, 1, 10])
            a, b = random.choice([(a, b), (b, a)])
            result = a * b
        elif kind == "/":
            b, result = random.randint(2, 25), random.randint(2, 10 ** random.randint(1, 3))
            a = b * result
        else:
            a, b = (random.randint(1, 10 ** random.randint(1, 4)) for _ in range(2))
            if kind == "-" and random.random() < 0.8:
                a, b = max(a, b), min(a, b)
            result = a + b if kind == "+" else a - b
        segments += [(f"{a} {kind} {b} =", PROMPT_WEIGHT), (f" {result}\n", 1.0)]
    return segments


# --- forms ---------------------------------------------------------------------------------------------------------


def worked(asked: Asked) -> str:
    """The worked lines and the boxed answer."""
    return "\n".join([*asked.lines, boxed(asked.answer)])


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


def _bare(asked: Asked, _: Random) -> list[Segment]:
    return [(render("plain", asked.question), PROMPT_WEIGHT), (boxed(asked.answer), 1.0)]


def _worked(asked: Asked, _: Random) -> list[Segment]:
    return [(render("step-by-step", asked.question), PROMPT_WEIGHT), (worked(asked), 1.0)]


def _unasked(asked: Asked, _: Random) -> list[Segment]:
    return [(render("plain", asked.question), PROMPT_WEIGHT), (worked(asked), 1.0)]


def chat(user: str, thought: str, reply: str) -> list[Segment]:
    """One turn in Qwen3's chat format."""
    turn = ["<|im_start|>", f"user\n{user}", "<|im_end|>", "\n", "<|im_start|>", "assistant\n"]
    head = [(text, PROMPT_WEIGHT) for text in turn]
    return [*head, ("<think>", 1.0), (f"\n{thought}\n" if thought else "\n\n", 1.0), ("</think>", 1.0),
            (f"\n\n{reply}", 1.0), ("<|im_end|>", 1.0)]  # fmt: skip


def _chat(asked: Asked, random: Random) -> list[Segment]:
    return chat(asked.question, "\n".join(asked.lines) if random.random() < 0.7 else "", boxed(asked.answer))


def draft_of(asked: Asked, random: Random) -> Draft | None:
    """An answer as the model might give it: bare or worked, right or with one mistake. The review of a bare answer
    works the problem out first: there is no line to point at. None where no mistake could be planted."""
    wrong, bare = random.random() < WRONG, random.random() < 0.4
    found = _spoilt(asked, random) if wrong else (asked.lines, None, "", asked.answer)
    if found is None:
        return None
    lines, place, reason, answer = found
    if bare:
        verdict = f"The answer should be {asked.answer}, not {answer}." if wrong else NO_MISTAKE
        return Draft(boxed(answer), "\n".join([*asked.lines, verdict]), place, True)
    return Draft("\n".join([*lines, boxed(answer)]), review(len(lines), place, reason), place, False)


def _spoilt(asked: Asked, random: Random) -> tuple[list[str], int, str, str] | None:
    """Lines, the wrong line's number, what is wrong there, and the answer."""
    if asked.made is not None:
        tries = (spoil_quantities(asked.made, random) for _ in range(5))
        found = next((one for one in tries if one is not None), None)
        return found and (*found[:3], str(found[3]))
    text, critique = spoil("\n".join([*asked.lines, boxed(asked.answer)]), random)
    lines = text.split("\n")
    place = int(re.match(r"Step (\d+)", critique).group(1))
    answer = re.fullmatch(r"\\boxed\{(.*)\}", lines[-1])
    if answer is None or answer.group(1) == asked.answer or place > len(asked.lines):
        return None
    return lines[:-1], place, asked.lines[place - 1], answer.group(1)


def _about(kind: str, asked: Asked, draft: Draft, random: Random, reply: str, **more: str) -> list[Segment]:
    """The prompt of `kind` over this draft as `scale/prompts.py` writes it, and the reply to it."""
    template = "plain" if draft.bare or random.random() < 0.3 else "step-by-step"
    question = render(template, asked.question)
    text = ABOUT[kind].format(asked=question, question=asked.question, response=draft.text, **more)
    return [(text, 0.0), (reply, 1.0)]


def _review(asked: Asked, random: Random) -> list[Segment]:
    draft = draft_of(asked, random)
    return _worked(asked, random) if draft is None else _about("critique", asked, draft, random, draft.review)


def _revision(asked: Asked, random: Random) -> list[Segment]:
    draft = draft_of(asked, random)
    if draft is None:
        return _worked(asked, random)
    better = boxed(asked.answer) if draft.bare else worked(asked)
    return _about("revise", asked, draft, random, better, critique=draft.review)


def _p_true(asked: Asked, random: Random) -> list[Segment]:
    draft = draft_of(asked, random)
    if draft is None:
        return _bare(asked, random)
    return _about("p-true", asked, draft, random, " Yes" if draft.wrong_line is None else " No")


def _judge(asked: Asked, random: Random) -> list[Segment]:
    draft = draft_of(asked, random)
    if draft is None:
        return _worked(asked, random)
    about = ask_grade(str(random.random()), asked.question, draft.text)
    grade = grade_of(len(asked.lines), draft.wrong_line, draft.bare)
    reply = f"{draft.review}\n{about.mark}: {grade}"
    if random.random() < 0.5:
        return chat(about.text, "", reply)
    return [(f"{about.text}\n\n", 0.0), (reply, 1.0)]


MAKERS = {"bare": _bare, "worked": _worked, "unasked": _unasked, "chat": _chat, "review": _review,
          "revision": _revision, "p-true": _p_true, "judge": _judge}  # fmt: skip
