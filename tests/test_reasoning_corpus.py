"""What the base model that reasons is fed: reviews that name the planted mistake, prompts as the methods ask them."""

import re
from collections import Counter
from itertools import islice
from random import Random

import pytest
import torch

from thinkling.generate.language_model import LanguageModel
from thinkling.model.tokenizer import Tokenizer
from thinkling.scale import prompts
from thinkling.tasks import quantities
from thinkling.tasks.builtin import problems
from thinkling.tasks.quantities import Made, Step, lines, made_stream, results
from thinkling.train.pretrain import reasoning_corpus as corpus
from thinkling.train.pretrain.config import TextConfig
from thinkling.train.pretrain.packing import Batches
from thinkling.train.pretrain.reviews import NO_MISTAKE, grade_of, review, spoil_quantities


def text_of(document: list) -> str:
    return "".join(text for text, _ in document)


@pytest.fixture(scope="module")
def documents() -> list[list]:
    return list(islice(corpus.documents("test"), 2500))


@pytest.fixture(scope="module")
def asked() -> list[corpus.Asked]:
    return [corpus._quantities(made) for made in islice(made_stream("train", "reviews"), 300)]


def kind_of(text: str) -> str:
    if "You judge what others wrote." in text:
        return "judge"
    if text.startswith("<|im_start|>"):
        return "chat"
    for mark, kind in (("Yes or No?", "p-true"), ("name each mistake", "review"), ("\n\nReview:\n", "revision")):
        if mark in text:
            return kind
    if not text.startswith("Question:"):
        return "facts"
    if "Explain step by step." in text:
        return "worked"
    return "bare" if re.search(r"Answer:\n\\boxed", text) else "unasked"


def test_the_mixture_is_what_it_says(documents: list[list]) -> None:
    found = Counter(kind_of(text_of(d)) for d in documents)
    for kind, share in corpus.FORMS.items():
        assert abs(found[kind] / 25 - share) < 3, (kind, found)


def test_prompts_weigh_little_drafts_nothing_answers_one(documents: list[list]) -> None:
    for document in documents:
        weights = {weight for _, weight in document}
        kind = kind_of(text_of(document))
        assert weights == (
            {0.0, 1.0} if kind in ("p-true", "review", "revision") or weights == {0.0, 1.0} else {0.1, 1.0}
        )
        assert document[-1][1] == 1.0


def test_nothing_held_out_is_read(documents: list[list]) -> None:
    text = "\n".join(text_of(d) for d in documents)
    for suite in ("builtin", "quantities"):
        held_out = [p.question for p in problems("held-out", 100, suite=suite) if len(p.question) > 12]
        assert not [question for question in held_out if f"{question}\n" in text]


def test_a_planted_mistake_is_where_the_review_says() -> None:
    """Up to it the draft is the solution; it is wrong; and its reason is a line of the solution or part of one."""
    random, found = Random(0), Counter()
    for made in islice(made_stream("train", "mistakes"), 500):
        spoilt = spoil_quantities(made, random)
        if spoilt is None:
            continue
        draft, place, reason, answer = spoilt
        right = lines(made.steps)
        assert draft[: place - 1] == right[: place - 1]
        assert draft[place - 1] != right[place - 1]
        assert answer != results(made.steps)[-1]
        assert draft[-1].endswith(f" {answer}")
        label, value = re.sub(r"^the problem says |, not \d+$", "", reason).split(" = ")
        assert any(label.lower() in row.lower() and row.endswith(f" = {value}") for row in right), (reason, right)
        for row in draft[: place - 1] + draft[place:]:  # what follows is worked out from it, rightly
            equation = re.search(r"= (\d+) ([-+*/]) (\d+) = (\d+)$", row)
            if equation:
                assert quantities.apply(equation[2], int(equation[1]), int(equation[3])) == int(equation[4])
        found["the problem" if reason.startswith("the p") else "result" if reason[0].isdigit() else "value"] += 1
    assert set(found) == {"the problem", "result", "value"}, found


class First(Random):
    """Takes the first of everything, and misreads."""

    def choice(self, options: list) -> object:
        return options[0]

    def randrange(self, *_: int) -> int:
        return 1

    def random(self) -> float:
        return 0.0


def test_a_mistake_by_hand() -> None:
    steps = (Step("Mia's shells", "", 12, 0), Step("Hugo's stamps", "-", ~0, 5), Step("Ann's keys", "*", 3, ~1))
    draft, place, reason, answer = spoil_quantities(Made("Mia has 12.", steps), First())
    assert draft == [
        "Ann's keys = 3 * Hugo's stamps", "Hugo's stamps = Mia's shells + 5", "Mia's shells = 12",
        "Hugo's stamps = 12 + 5 = 17", "Ann's keys = 3 * 17 = 51",
    ]  # fmt: skip
    assert (place, reason, answer) == (2, "the problem says Hugo's stamps = Mia's shells - 5", 51)
    assert review(5, place, reason) == f"Line 1 is right.\nLine 2 is wrong: {reason}."
    assert review(2, None) == f"Line 1 is right.\nLine 2 is right.\n{NO_MISTAKE}"


def test_grades() -> None:
    assert [grade_of(4, None, False), grade_of(4, None, True), grade_of(4, 2, True)] == [10, 9, 0]
    assert [grade_of(4, place, False) for place in (1, 2, 3, 4)] == [0, 1, 2, 3]


def test_the_prompts_are_the_methods_own(tiny: LanguageModel, asked: list[corpus.Asked]) -> None:
    """Token by token what refine, p(true) and a judge ask."""
    random, seen = Random(1), set()
    for own in asked[:60]:
        draft = corpus.draft_of(own, random)
        if draft is None:
            continue
        (said, _), _ = corpus._about("critique", own, draft, random, "")
        template = "step-by-step" if "Explain step by step." in said else "plain"
        assert said == tiny.text_of(prompts.critique_prompt(tiny, template, own.question, draft.text))
        (said, _), _ = corpus._about("p-true", own, draft, random, "")
        assert said == tiny.text_of(prompts.p_true_prompt(tiny, "plain", own.question, draft.text))
        seen.add((draft.bare, draft.wrong_line is None))
        if draft.wrong_line is None:
            assert draft.review.endswith(NO_MISTAKE)
    assert len(seen) == 4


def test_other_people_of_the_same_gender() -> None:
    parts = ("William gives Emma 3 of his pens. How many has William's friend?", "3", "Emma has 3")
    question, reference, solution = corpus.renamed(parts, Picks())
    boy, girl = question.split()[0], question.split()[2]
    assert (boy in corpus.BOYS, girl in corpus.GIRLS, boy != "William", girl != "Emma") == (True,) * 4
    assert (reference, solution) == ("3", f"{girl} has 3")
    assert f"{boy}'s friend" in question


class Picks(Random):
    def random(self) -> float:
        return 0.5


def test_workers_make_different_text_and_the_same_each_time(tiny_tokenizer: Tokenizer) -> None:
    data = Batches(tiny_tokenizer.backend.to_str(), TextConfig(corpus="reasoning", rows=2, length=300, workers=2))

    def first() -> list[torch.Tensor]:
        loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2)
        return [batch.tokens for batch in islice(loader, 2)]

    one, again = first(), first()
    assert not torch.equal(one[0], one[1])
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
