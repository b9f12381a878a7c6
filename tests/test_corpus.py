"""What the base model is fed: the mixture, the loss weights, packing, and checks that name the right step."""

import re
from collections import Counter
from itertools import islice, pairwise
from random import Random

import torch

from thinkling.model.tokenizer import Tokenizer
from thinkling.problem import Problem
from thinkling.tasks.builtin import problems
from thinkling.train.pretrain.corpus import MIXTURE, documents, spoil, worked
from thinkling.train.pretrain.trainer import END_OF_TEXT, Document, FastEncoder, encode_document, packed_batches
from thinkling.verify.math.extract import extract


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
    """Cut at the end of text, every row falls into documents of the stream, unbroken; little is padding."""
    backend, length = tiny_tokenizer.backend, 200
    end = tiny_tokenizer.special_id(END_OF_TEXT)
    tokens, weights = next(packed_batches(backend, "packing", rows=8, length=length, pool_size=50))
    assert tokens.shape == weights.shape == (8, length + 1)
    encode = FastEncoder(backend)
    stream = (encode_document(encode, d) for d in islice(documents("packing"), 600))
    known = {tuple(d.tokens): d.weights for d in stream}
    assert (weights > 0).float().mean() > 0.9
    for row, weight in zip(tokens.tolist(), weights, strict=True):
        used = int((weight > 0).sum())
        assert torch.all(weight[:used] > 0)
        place = 0
        while place < used:
            stop = row.index(end, place) + 1
            assert known[tuple(row[place:stop])] == [round(w, 6) for w in weight[place:stop].tolist()]
            place = stop


def test_short_rows_among_the_long(tiny_tokenizer: Tokenizer) -> None:
    """As many tokens in each batch. No document that fits a short row is kept from it, no long one is lost."""
    end = tiny_tokenizer.special_id(END_OF_TEXT)
    batches = packed_batches(tiny_tokenizer.backend, "short", 8, 400, 50, "templates", short_length=100)
    lengths: dict[tuple[int, ...], list[int]] = {(8, 401): [], (32, 101): []}
    for tokens, weights in islice(batches, 30):
        own = lengths[tuple(tokens.shape)]
        for row, weight in zip(tokens.tolist(), weights, strict=True):
            stops = [-1, *(i for i, token in enumerate(row[: int((weight > 0).sum())]) if token == end)]
            own += [b - a for a, b in pairwise(stops)]
    encode = FastEncoder(tiny_tokenizer.backend)
    stream = [len(encode_document(encode, d).tokens) for d in islice(documents("short"), 600)]
    short, every = lengths[32, 101], lengths[32, 101] + lengths[8, 401]
    assert max(short) <= 101 < max(every)
    share = sum(size > 101 for size in stream) / len(stream)
    assert abs(sum(size > 101 for size in every) / len(every) - share) < 0.05


def test_any_document_may_come_first_in_a_row(tiny_tokenizer: Tokenizer) -> None:
    """A prompt at generation time comes first. Best fit alone put the longest document of each row there, and a model
    trained on that never answered a short question at once."""
    end = tiny_tokenizer.special_id(END_OF_TEXT)
    longest_first = 0
    batches = packed_batches(tiny_tokenizer.backend, "order", rows=16, length=400, pool_size=100)
    for tokens, _ in islice(batches, 4):
        for row in tokens.tolist():
            stops = [-1, *(i for i, token in enumerate(row) if token == end)]
            lengths = [b - a for a, b in pairwise(stops)]
            longest_first += lengths[0] == max(lengths)
    assert longest_first < 40  # of 64 rows; all of them before
