"""What the built-in base model reads: documents made from training problems, each a list of (text, loss weight).

A prompt weighs 0.1 and an answer 1, so that the model spends its few parameters on answering. The forms: plain facts; a
bare answer; worked steps, asked for or (seldom) not; a chat turn with or without thinking; and a draft that is checked
and revised, on which self-refinement can stand.
"""

import re
from collections.abc import Iterator
from random import Random

from thinkling.problem import Problem
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import stream

# The share of each form among documents, in percent.
MIXTURE = {"facts": 10, "bare": 22, "worked": 43, "unasked": 9, "chat": 7, "checked": 9}
PROMPT_WEIGHT = 0.1

Segment = tuple[str, float]  # text (or the name of one special token) and the loss weight of its tokens


def documents(seed: str) -> Iterator[list[Segment]]:
    """Documents without end. Special tokens stand alone in their segment; the reader adds the end of text."""
    random = Random(f"corpus/{seed}")
    forms, shares = zip(*MIXTURE.items(), strict=True)
    for problem in stream("train", f"corpus/{seed}"):
        yield FORMS[random.choices(forms, shares)[0]](problem, random)


def worked(problem: Problem) -> str:
    return f"{problem.solution}\n{boxed(problem.reference)}"


def boxed(answer: str) -> str:
    return f"\\boxed{{{answer}}}"


def _facts(_: Problem, random: Random) -> list[Segment]:
    return facts(random)


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


def _bare(problem: Problem, _: Random) -> list[Segment]:
    return [(render("plain", problem.question), PROMPT_WEIGHT), (boxed(problem.reference), 1.0)]


def _worked(problem: Problem, _: Random) -> list[Segment]:
    return [(render("step-by-step", problem.question), PROMPT_WEIGHT), (worked(problem), 1.0)]


def _unasked(problem: Problem, _: Random) -> list[Segment]:
    return [(render("plain", problem.question), PROMPT_WEIGHT), (worked(problem), 1.0)]


def _chat(problem: Problem, random: Random) -> list[Segment]:
    """Qwen3's chat format: with thinking the steps stand between the think tokens, without it they are left out."""
    thinking = f"\n{problem.solution}\n" if random.random() < 0.7 else "\n\n"
    turn = ["<|im_start|>", f"user\n{problem.question}", "<|im_end|>", "\n", "<|im_start|>", "assistant\n"]
    head = [(text, PROMPT_WEIGHT) for text in turn]
    return [*head, ("<think>", 1.0), (thinking, 1.0), ("</think>", 1.0), (f"\n\n{boxed(problem.reference)}", 1.0),
            ("<|im_end|>", 1.0)]  # fmt: skip


def _checked(problem: Problem, random: Random) -> list[Segment]:
    draft, critique = spoil(worked(problem), random) if random.random() < 0.6 else (worked(problem), "No mistake.")
    prompt = f"{render('step-by-step', problem.question)}{draft}\nCheck:\n"
    return [(prompt, PROMPT_WEIGHT), (f"{critique}\nRevised answer:\n{worked(problem)}", 1.0)]


def spoil(solution: str, random: Random) -> tuple[str, str]:
    """Put one wrong result into a worked solution and let it spread; returns the draft and the critique it deserves."""
    lines = solution.split("\n")
    places = [i for i, line in enumerate(lines) if re.search(r"= \$?\d+$|= \$?\d+[ .]", line)] or [len(lines) - 1]
    place = random.choice(places)
    right = re.findall(r"\d+", lines[place])[-1]
    wrong = str(max(0, int(right) + random.choice([-10, -2, -1, 1, 2, 10])))
    if wrong == right:
        wrong = right + "0"
    number = re.compile(rf"(?<![\d.]){right}(?![\d.]*\d)")
    before, after = lines[place].rsplit(right, 1)
    draft = [*lines[:place], f"{before}{wrong}{after}", *(number.sub(wrong, line) for line in lines[place + 1 :])]
    if draft[-1] == lines[-1]:  # the mistake did not reach the answer: an answer that follows from it is wrong too
        answer = re.search(r"\d+", lines[-1]).group()
        spoilt = abs(int(answer) + int(wrong) - int(right))
        draft[-1] = lines[-1].replace(answer, str(spoilt if spoilt != int(answer) else spoilt + 1), 1)
    return "\n".join(draft), f"Step {place + 1} is wrong: {lines[place]}"


FORMS = {"facts": _facts, "bare": _bare, "worked": _worked, "unasked": _unasked, "chat": _chat, "checked": _checked}
