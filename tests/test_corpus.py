"""What the base model is fed: the mixture, the loss weights, packing, and checks that name the right step."""

import re
from collections import Counter
from itertools import islice
from random import Random

from thinkling.model.tokenizer import Tokenizer
from thinkling.problem import Problem
from thinkling.tasks.builtin import problems
from thinkling.train.pretrain.bpe import END_OF_TEXT, FastEncoder
from thinkling.train.pretrain.config import TextConfig
from thinkling.train.pretrain.corpus import MIXTURE, documents, spoil, worked
from thinkling.train.pretrain.packing import Document, encode_document, packed_batches
from thinkling.verify.math.prose.extract import extract


def text_of(document: list) -> str:
    return "".join(text for text, _ in document)


def kind_of(text: str) -> str:
    if text.startswith("<|im_start|>"):
        return "chat"
    if not text.startswith("Question:"):
        return "facts"
    if "\nCheck:\n" in text:
        return "checked"
    if "Explain step by step." in text:
        return "worked"
    return "bare" if re.search(r"Answer:\n\\boxed", text) else "unasked"


def test_the_mixture_is_what_it_says() -> None:
    found = Counter(kind_of(text_of(d)) for d in islice(documents("mixture"), 4000))
    for kind, share in MIXTURE.items():
        assert abs(found[kind] / 40 - share) < 3, (kind, found)


def test_answers_weigh_one_and_prompts_a_tenth() -> None:
    for document in islice(documents("weights"), 200):
        assert {weight for _, weight in document} == {0.1, 1.0}
        text = text_of(document)
        if kind_of(text) in ("bare", "worked"):
            prompt = "".join(t for t, weight in document if weight < 1)
            assert prompt.startswith("Question:")
            assert prompt.endswith("Answer:\n")


def test_facts_are_true() -> None:
    ops = {"+": int.__add__, "-": int.__sub__, "*": int.__mul__, "/": int.__floordiv__}
    lines = [
        line for d in islice(documents("facts"), 1500) if kind_of(text_of(d)) == "facts"
        for line in text_of(d).splitlines()
    ]  # fmt: skip
    assert len(lines) > 500
    for line in lines:
        a, op, b, result = re.fullmatch(r"(\d+) ([-+*/]) (\d+) = (-?\d+)", line).groups()
        assert ops[op](int(a), int(b)) == int(result)
        assert op != "/" or int(a) % int(b) == 0


def test_no_document_is_made_from_a_held_out_question() -> None:
    held_out = [p.question for p in problems("held-out", 400) if len(p.question) > 12]
    corpus = "\n".join(text_of(d) for d in islice(documents("leak"), 4000))
    assert not [question for question in held_out if f"{question}\n" in corpus]


def test_a_spoilt_solution_differs_where_the_critique_says() -> None:
    random = Random(0)
    for problem in problems("train", 400):
        right = worked(problem)
        draft, critique = spoil(right, random)
        step, line = re.fullmatch(r"Step (\d+) is wrong: (.*)", critique, re.DOTALL).groups()
        changed = [i for i, (a, b) in enumerate(zip(draft.split("\n"), right.split("\n"), strict=True)) if a != b]
        assert changed[0] == int(step) - 1, (draft, right)
        assert right.split("\n")[changed[0]] == line
        assert extract(draft).answer != extract(right).answer, (draft, right)


def test_spoil_by_hand() -> None:
    class Picks(Random):
        def choice(self, options: list) -> object:
            return options[0] if isinstance(options[0], int) and options[0] >= 0 else 1

    problem = Problem("p", "What is 5 + 3 + 4?", "12", solution="5 + 3 = 8\n8 + 4 = 12")
    draft, critique = spoil(worked(problem), Picks())
    assert draft == "5 + 3 = 9\n9 + 4 = 12\n\\boxed{13}"
    assert critique == "Step 1 is wrong: 5 + 3 = 8"


def test_each_segment_is_encoded_alone(tiny_tokenizer: Tokenizer) -> None:
    backend = tiny_tokenizer.backend
    document = encode_document(FastEncoder(backend), [("Question: 1\nAnswer:\n", 0.1), ("\\boxed{7}", 1.0)])
    prompt, answer = tiny_tokenizer.encode("Question: 1\nAnswer:\n"), tiny_tokenizer.encode("\\boxed{7}")
    end = tiny_tokenizer.special_id(END_OF_TEXT)
    assert document == Document([*prompt, *answer, end], [*[0.1] * len(prompt), *[1.0] * len(answer), 1.0])


def test_numbers_are_read_digit_by_digit(tiny_tokenizer: Tokenizer) -> None:
    for token in range(tiny_tokenizer.backend.get_vocab_size()):
        assert sum(c.isdigit() for c in tiny_tokenizer.decode([token])) <= 1


def test_packing_keeps_documents_whole(tiny_tokenizer: Tokenizer) -> None:
    """Every row falls into documents of the stream, unbroken and each once; little is padding, and that is no part of
    any of them."""
    text = TextConfig(rows=8, length=200)
    batch = next(packed_batches(tiny_tokenizer.backend, text, "packing", pool_size=50))
    assert batch.tokens.shape == batch.weights.shape == batch.documents.shape == (8, 201)
    encode = FastEncoder(tiny_tokenizer.backend)
    stream = (encode_document(encode, d) for d in islice(documents("packing"), 600))
    known = {tuple(d.tokens): d.weights for d in stream}
    assert (batch.weights > 0).float().mean() > 0.9
    for tokens, weights, numbers in zip(batch.tokens, batch.weights, batch.documents, strict=True):
        last = int(numbers.max())
        for number in range(last + 1):
            mine = numbers == number
            if not weights[mine].any():
                assert number == last  # padding
                assert set(tokens[mine].tolist()) == {tiny_tokenizer.special_id(END_OF_TEXT)}
                continue
            places = mine.nonzero()[:, 0].tolist()
            assert places == list(range(places[0], places[-1] + 1))
            assert known.pop(tuple(tokens[mine].tolist())) == [round(w, 6) for w in weights[mine].tolist()]
