"""What the base model is fed: the mixture, true facts, reviews that name the planted mistake, prompts as the methods
ask them; and how it is packed."""

import hashlib
import re
from collections import Counter
from itertools import islice
from random import Random

import pytest
import torch

from thinkling.generate.language_model import LanguageModel
from thinkling.model.tokenizer import Tokenizer
from thinkling.problem import is_held_out
from thinkling.scale import prompts
from thinkling.tasks import quantities
from thinkling.tasks.builtin import problems
from thinkling.tasks.quantities import Made, Step, lines, made_stream, results
from thinkling.train.pretrain import corpus, packing
from thinkling.train.pretrain.bpe import END_OF_TEXT, FastEncoder
from thinkling.train.pretrain.config import TextConfig
from thinkling.train.pretrain.packing import Batches, Document, encode_document, packed_batches
from thinkling.train.pretrain.reviews import NO_MISTAKE, grade_of, review, spoil, spoil_quantities
from thinkling.verify.math.prose.extract import extract


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


def test_the_longer_corpus_has_steps_of_all_numbers_and_nothing_held_out(
    tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 to 10 steps in a third of the documents, half of the tokens, all of the training side; other forms too."""
    made_of: list[tuple[str, int]] = []

    def noted(made: Made) -> corpus.Asked:
        made_of.append((made.question, len(made.steps)))
        return original(made)

    original = corpus._quantities
    monkeypatch.setattr(corpus, "_quantities", noted)
    read = list(islice(corpus.longer_quantities("test"), 1500))
    questions = dict(made_of)
    assert not [q for q in questions if is_held_out(hashlib.sha256(q.encode()).hexdigest())]
    steps = Counter(questions.values())
    assert set(steps) == set(range(2, 11))
    assert steps[10] > steps[8] > 100 and steps[7] > 30
    texts = [text_of(d) for d in read]
    assert set(map(kind_of, texts)) == {*corpus.FORMS, "facts"}
    encode, sizes = FastEncoder(tiny_tokenizer.backend), Counter()
    for text, document in zip(texts, read, strict=True):
        found = next((n for q, n in made_of if n >= 8 and q in text), 0)
        sizes[found >= 8] += len(encode_document(encode, document).tokens)
    assert 0.45 < sizes[True] / sizes.total() < 0.65


def test_facts_are_true() -> None:
    ops = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    random = Random(0)
    found = [line for _ in range(80) for line in text_of(corpus.facts(random)).splitlines()]
    assert len(found) == 640
    for line in found:
        a, op, b, result = re.fullmatch(r"(\d+) ([-+*/]) (\d+) = (-?\d+)", line).groups()
        assert ops[op](int(a), int(b)) == int(result)
        assert op != "/" or int(a) % int(b) == 0


def test_a_spoilt_solution_differs_where_the_critique_says() -> None:
    random = Random(0)
    for problem in problems("train", 400):
        right = f"{problem.solution}\n{corpus.boxed(problem.reference)}"
        draft, critique = spoil(right, random)
        step, line = re.fullmatch(r"Step (\d+) is wrong: (.*)", critique, re.DOTALL).groups()
        changed = [i for i, (a, b) in enumerate(zip(draft.split("\n"), right.split("\n"), strict=True)) if a != b]
        assert changed[0] == int(step) - 1, (draft, right)
        assert right.split("\n")[changed[0]] == line
        assert extract(draft).answer != extract(right).answer, (draft, right)


def test_spoil_by_hand() -> None:
    class Changes(Random):
        def choice(self, options: list) -> object:
            return options[0] if isinstance(options[0], int) and options[0] >= 0 else 1

    draft, critique = spoil("5 + 3 = 8\n8 + 4 = 12\n\\boxed{12}", Changes())
    assert draft == "5 + 3 = 9\n9 + 4 = 12\n\\boxed{13}"
    assert critique == "Step 1 is wrong: 5 + 3 = 8"


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


def test_each_segment_is_encoded_alone(tiny_tokenizer: Tokenizer) -> None:
    backend = tiny_tokenizer.backend
    document = encode_document(FastEncoder(backend), [("Question: 1\nAnswer:\n", 0.1), ("\\boxed{7}", 1.0)])
    prompt, answer = tiny_tokenizer.encode("Question: 1\nAnswer:\n"), tiny_tokenizer.encode("\\boxed{7}")
    end = tiny_tokenizer.special_id(END_OF_TEXT)
    assert document == Document([*prompt, *answer, end], [*[0.1] * len(prompt), *[1.0] * len(answer), 1.0])


def test_numbers_are_read_digit_by_digit(tiny_tokenizer: Tokenizer) -> None:
    for token in range(tiny_tokenizer.backend.get_vocab_size()):
        assert sum(c.isdigit() for c in tiny_tokenizer.decode([token])) <= 1


def test_packing_keeps_documents_whole(tiny_tokenizer: Tokenizer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every row falls into documents of the stream, unbroken and each once; little is padding, and that is no part of
    any of them."""
    text = TextConfig(rows=8, length=600)
    monkeypatch.setattr(packing, "POOL_SIZE", 50)
    batch = next(packed_batches(tiny_tokenizer.backend, text, "packing"))
    assert batch.tokens.shape == batch.weights.shape == batch.documents.shape == (8, 601)
    encode = FastEncoder(tiny_tokenizer.backend)
    stream = (encode_document(encode, d) for d in islice(corpus.documents("packing"), 600))
    known = {tuple(d.tokens): d.weights for d in stream}
    padding = 0
    for tokens, weights, numbers in zip(batch.tokens, batch.weights, batch.documents, strict=True):
        last = int(numbers.max())
        for number in range(last + 1):
            mine = numbers == number
            if not weights[mine].any():
                assert number == last
                padding += int(mine.sum())
                assert set(tokens[mine].tolist()) == {tiny_tokenizer.special_id(END_OF_TEXT)}
                continue
            places = mine.nonzero()[:, 0].tolist()
            assert places == list(range(places[0], places[-1] + 1))
            assert known.pop(tuple(tokens[mine].tolist())) == [round(w, 6) for w in weights[mine].tolist()]
    assert padding < 0.1 * batch.tokens.numel()


def test_workers_make_different_text_and_the_same_each_time(tiny_tokenizer: Tokenizer) -> None:
    data = Batches(tiny_tokenizer.backend.to_str(), TextConfig(rows=2, length=300, workers=2))

    def first() -> list[torch.Tensor]:
        loader = torch.utils.data.DataLoader(data, batch_size=None, num_workers=2)
        return [batch.tokens for batch in islice(loader, 2)]

    one, again = first(), first()
    assert not torch.equal(one[0], one[1])
    assert all(torch.equal(a, b) for a, b in zip(one, again, strict=True))
