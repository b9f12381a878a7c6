"""Problems over quantities: solutions that another evaluator agrees with, splits that cannot meet, good English."""

import hashlib
import re
import sys
from fractions import Fraction
from itertools import islice
from pathlib import Path
from random import Random

import pytest

from thinkling.errors import UserError
from thinkling.problem import Problem, is_held_out
from thinkling.tasks import quantities, scenes
from thinkling.tasks.builtin import problems
from thinkling.tasks.quantities import SPLITS, Made, Step, line, lines, made_stream, plan_lines, results
from thinkling.verify.math.grade import grade

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "bench"))
from shortcuts import answer_shares, shortcut_shares

NUMBER = {"twice": 2, "three": 3, "four": 4, "five": 5, "half": 2, "third": 3, "quarter": 4, "fourth": 4, "fifth": 5}


@pytest.fixture(scope="module")
def pools() -> dict[str, list[Problem]]:
    return {split: problems(split, 150 if split == "held-out" else 400, suite="quantities") for split in SPLITS}


@pytest.fixture(scope="module")
def made() -> list[Made]:
    return list(islice(made_stream("train", "test"), 400))


def test_every_solution_holds_line_by_line(pools: dict[str, list[Problem]]) -> None:
    """Each equation is right, each operand is in the question's words or a result above, and the last is the answer."""
    for problem in (p for own in pools.values() for p in own):
        known = {int(n) for n in re.findall(r"\d+", problem.question)}
        known |= {NUMBER[word] for word in re.findall(r"[a-z]+", problem.question.lower()) if word in NUMBER}
        rows = problem.solution.split("\n")
        for row in rows:
            left, sign, right, result = re.fullmatch(r".+: (?:(\d+) ([-+*/]) (\d+) = )?(\d+)", row).groups()
            if sign:
                a, b, c = Fraction(left), Fraction(right), int(result)
                assert {"+": a + b, "-": a - b, "*": a * b, "/": a / b}[sign] == c, row
                assert {int(left), int(right)} <= known, (row, problem.question)
            assert 2 <= int(result) <= 99
            if not sign:
                assert int(result) in known
            known.add(int(result))
        assert rows[-1].endswith(f" {problem.reference}")
        assert len(rows) == int(problem.kind.split("/")[1])
        assert grade(f"{problem.solution}\n\\boxed{{{problem.reference}}}", problem.reference).correct


def told(question: str) -> dict[str, tuple[str, ...]]:
    """What the plainest phrasings of ages say: name -> (relation, names and numbers). Reads words, not the graph."""
    name = r"([A-Z]\w+)"
    forms = {
        "given": rf"{name} is (?:exactly )?(\d+) years? old",
        "more": rf"{name} is (\d+) years? older than {name}",
        "fewer": rf"{name} is (\d+) years? younger than {name}",
        "sum": rf"{name} is as old as {name} and {name} together",
        "difference": rf"{name} is as old as the difference between {name} and {name}",
        "times": rf"{name} is as old as (\d+) times {name}",
    }
    return {
        match[1]: (kind, *match.groups()[1:])
        for kind, form in forms.items() for match in re.finditer(form, question)
    }  # fmt: skip


def age(name: str, known: dict[str, tuple[str, ...]]) -> int:
    kind, *rest = known[name]
    numbers = [int(part) if part.isdigit() else age(part, known) for part in rest]
    return {"given": lambda a: a, "more": lambda a, b: a + b, "fewer": lambda a, b: b - a, "sum": lambda a, b: a + b,
            "difference": lambda a, b: a - b, "times": lambda a, b: a * b}[kind](*numbers)  # fmt: skip


def test_a_reader_of_the_english_finds_the_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    """An independent reader of the sentences, for one scene in its plainest words, recomputes every answer."""
    ages = next(scene for scene in scenes.MEASURED if scene.measure == "age")
    monkeypatch.setattr(scenes, "COUNTED", (ages,))
    monkeypatch.setattr(scenes, "MEASURED", (ages,))
    monkeypatch.setattr(scenes, "BOTH", scenes.OF_MEASURED)
    monkeypatch.setattr(quantities, "KINDS", tuple(k for k in quantities.KINDS if k != "part"))
    random, read = Random(0), 0
    for _ in range(600):
        made = quantities.make(random, random.randint(2, 7))
        asked = re.search(r"How (?:old|many years old) is (\w+)\?", made.question)
        known = told(made.question)
        if asked is None or len(known) < made.question.count("."):
            continue  # a phrasing that this reader does not know
        assert age(asked[1], known) == results(made.steps)[-1], made.question
        read += 1
    assert read > 30


def test_only_what_is_needed_is_stated(made: list[Made]) -> None:
    """Every line but the last is used by a later one."""
    for own in made:
        used = {~side for step in own.steps for side in (step.left, step.right) if side < 0}
        assert used == set(range(len(own.steps) - 1))
        for place, step in enumerate(own.steps):
            assert all(~side < place for side in (step.left, step.right) if side < 0)


def test_by_hand() -> None:
    steps = (Step("Mia's shells", "", 12, 0), Step("Hugo's stamps", "+", ~0, 5), Step("together", "*", 3, ~1))
    assert results(steps) == [12, 17, 51]
    assert lines(steps) == ["Mia's shells: 12", "Hugo's stamps: 12 + 5 = 17", "Together: 3 * 17 = 51"]
    assert line(steps[1], 12, 5, 18) == "Hugo's stamps: 12 + 5 = 18"
    made = Made("?", steps, (("together", "Hugo's stamps"), ("Hugo's stamps", "Mia's shells")))
    assert plan_lines(made)[0] == "For together we need Hugo's stamps."


def test_a_plan_names_every_derived_quantity_from_the_question_back(made: list[Made]) -> None:
    for own in made:
        labels = [step.label for step in own.steps]
        assert [label for label, *_ in own.plan] == [s.label for s in reversed(own.steps) if s.sign]
        for label, *sources in own.plan:
            assert all(labels.index(source) < labels.index(label) for source in sources)


def test_each_quantity_is_told_once(made: list[Made]) -> None:
    """As many sentences as quantities, each label is one quantity's: the answer is unique."""
    for own in made:
        labels = [step.label for step in own.steps]
        assert len(labels) == len(set(labels))
        sentences = re.findall(r"[^.?]+[.?]", own.question)
        assert len(sentences) == len({s.strip() for s in sentences})


def test_splits_share_nothing(pools: dict[str, list[Problem]]) -> None:
    for split, own in pools.items():
        assert len({p.question for p in own}) == len(own)
        for other in SPLITS:
            if other != split:
                assert not {p.id for p in own} & {p.id for p in pools[other]}
    for split, held in (("train", False), ("held-out", True)):
        assert all(is_held_out(hashlib.sha256(p.question.encode()).hexdigest()) is held for p in pools[split])
    steps = {split: {int(p.kind.split("/")[1]) for p in own} for split, own in pools.items()}
    assert steps["longer"] == {8, 9, 10}
    assert steps["train"] == steps["held-out"] == steps["rephrased"] == set(range(2, 8))


def test_rephrased_uses_no_phrasing_that_training_uses(pools: dict[str, list[Problem]]) -> None:
    unseen = [form for forms in scenes.UNSEEN.values() for form in forms]
    seen = [
        form for kinds in (scenes.BOTH, scenes.OF_COUNTED, scenes.OF_MEASURED) for own in kinds.values() for form in own
    ]
    assert not set(unseen) & set(seen)
    starts = ("It is known", "Exactly", "Adding", "Compared", "Subtracting", "Multiplying", "Dividing", "Take ",
              "Together,", "Work out", "So what")  # fmt: skip
    for problem in pools["rephrased"]:
        assert all(s.strip().startswith(starts) for s in re.findall(r"[^.?]+[.?]", problem.question))
    for problem in pools["train"]:
        assert not any(s.strip().startswith(starts) for s in re.findall(r"[^.?]+[.?]", problem.question))


def test_no_answer_and_no_shortcut_is_right_too_often(pools: dict[str, list[Problem]]) -> None:
    """The targets are 5% and 8%; 400 problems leave room for chance."""
    for split in ("train", "longer", "rephrased"):
        assert answer_shares(pools[split])[0][1] < 0.06
        assert max(shortcut_shares(pools[split]).values()) < 0.1


def test_the_english_holds(pools: dict[str, list[Problem]]) -> None:
    for problem in (p for own in pools.values() for p in own):
        text = problem.question
        assert not re.search(r"\b[Aa] [aeiou]|\b[Aa]n [^aeiou]", text), text
        assert not re.search(r"(?<!\d)1 (?:more |fewer )?[a-z]+s\b(?! (?:in|that))", text.replace(" less", "")), text
        assert not re.search(r"\b[2-9] (?:more |fewer )?(?:stamp|dollar|kilogram|year|minute|metre|foot|inch)\b", text)
        assert not re.search(r"[{}]|  |\bNone\b", text)
        assert text.endswith(("?", "."))
        assert all(s[0].isupper() for s in re.split(r"(?<=[.?]) ", text)), text


def test_plurals_articles_and_pronouns() -> None:
    plurals = dict(pair for scene in (*scenes.COUNTED, *scenes.MEASURED) for pair in scene.items)
    assert [plurals[w] for w in ("cherry", "peach", "shelf", "scarf", "inch", "lily", "bush", "key", "loaf")] == \
        ["cherries", "peaches", "shelves", "scarves", "inches", "lilies", "bushes", "keys", "loaves"]  # fmt: skip
    assert (scenes.article("umbrella"), scenes.article("hat")) == ("an", "a")
    assert not set(scenes.BOYS) & set(scenes.GIRLS)
    stamps = ("stamp", "stamps")
    mia = scenes.Thing(scenes.COUNTED[0], "Mia", scenes.SHE, stamps)
    hugo = scenes.Thing(scenes.COUNTED[0], "Hugo", scenes.HE, ("shell", "shells"))
    fill = "{H} {s} {n} more {noun} than {than2}."
    assert scenes.fill(Random(0), fill, 1, mia, [hugo]) == "Mia has 1 more stamp than Hugo has shells."
    assert (
        scenes.fill(Random(0), "{H} counts {his} {items}: there are {n}.", 7, mia, [])
        == "Mia counts her stamps: there are 7."
    )


def test_the_same_arguments_give_the_same_problems() -> None:
    many = problems("longer", 30, suite="quantities")
    assert problems("longer", 10, suite="quantities") == many[:10]
    assert problems("longer", 10, seed=1, suite="quantities") != many[:10]
    assert [(p.id, p.reference) for p in many[:2]] == PINNED


def test_an_unknown_split_is_said() -> None:
    with pytest.raises(UserError, match=r"unseen-templates' of quantities: use one of train, held-out, longer, reph"):
        problems("unseen-templates", 5, suite="quantities")


PINNED = [("quantities/abea33f7911e", "21"), ("quantities/c0d5b2282cbb", "35")]
