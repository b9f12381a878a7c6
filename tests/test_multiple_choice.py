"""Multiple choice in six ways, by a model whose every probability is known: it looks at the last token only."""

import asyncio
import json
from dataclasses import replace
from math import log
from pathlib import Path
from statistics import NormalDist

import full_logits
import httpx
import pytest
import torch
from torch import Tensor, nn

from thinkling import cli
from thinkling.commands.choice import Choice, load
from thinkling.errors import UserError
from thinkling.evaluate.choice_prompts import behind_thinking, opening, response_prompt
from thinkling.evaluate.choice_ways import FORMS, WAYS, Asking
from thinkling.evaluate.multiple_choice import Job, ask, choose, common_prefix, guess_band, outcome, score
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling
from thinkling.model.transformer import Transformer
from thinkling.model.weights import save_model
from thinkling.problem import Problem
from thinkling.serve import served
from thinkling.serve.api import Api, Limits
from thinkling.serve.desk import Desk
from thinkling.serve.metrics import Metrics
from thinkling.serve.security import Access
from thinkling.tasks.benchmarks import load_problems
from thinkling.tasks.options import with_options
from thinkling.verify.verifier import verify

GREEDY = Sampling(temperature=0.0, max_tokens=4)


class Bigrams(Transformer):
    """The likelihood of a token depends on the one before it: `after[a][b]` of these, the rest shared equally."""

    def __init__(self, num: int, after: dict[int, dict[int, float]]) -> None:
        nn.Module.__init__(self)
        logprobs = torch.full((num, num), -log(num))
        for before, likely in after.items():
            left = (1 - sum(likely.values())) / (num - len(likely))
            logprobs[before] = log(left)
            for token, share in likely.items():
                logprobs[before, token] = log(share)
        self.lm_head = nn.Linear(num, num, bias=False)
        self.lm_head.weight = nn.Parameter(logprobs.T.contiguous())

    def forward(self, tokens: Tensor, cache: object, recompute: bool = False) -> Tensor:
        return nn.functional.one_hot(tokens, self.lm_head.weight.shape[0]).float()

    @property
    def device(self) -> torch.device:
        return self.lm_head.weight.device


def knowing(tiny: LanguageModel, after: dict[int, dict[int, float]]) -> LanguageModel:
    """The tiny model's tokenizer with a network of bigrams."""
    tiny.network = Bigrams(512, after)
    return tiny


def which(*options: str, right: int = 0, stem: str = "Which?", **more: object) -> Problem:
    return with_options(Problem("p", stem, "", **more), options, right)


def ids(model: LanguageModel, text: str) -> list[int]:
    return model.tokenizer.encode(text)


# --- the scores -------------------------------------------------------------------------------------------------------


def test_each_way_by_hand(tiny: LanguageModel) -> None:
    """Every probability is written down here. " A" and " C" are one token of this tokenizer, " B" is two."""
    (colon,), (space,), (merged,), (b,), (c,), (x,), (q,), (z,) = (
        ids(tiny, text) for text in (":", " ", " A", "B", " C", "x", "q", "z")
    )
    assert ids(tiny, "Answer: B")[-3:] == [colon, space, b] and ids(tiny, ": qqq") == [colon, space, q, q, q]
    model = knowing(tiny, {colon: {space: 0.5, merged: 0.1, c: 0.005}, space: {x: 0.2, q: 0.1, z: 0.04, b: 0.06},
                           q: {q: 0.9}})  # fmt: skip
    problem = which("x", "qqq", "z", right=1)
    found = {choice.way: choice for choice in ask(model, [problem], [*list(WAYS)[1:]], Asking(), GREEDY)}
    assert found["letter"].chosen == "A"
    assert found["letter"].scores == pytest.approx([log(0.1), log(0.5 * 0.06), log(0.005)], abs=1e-5)
    sums = [log(0.5 * 0.2), log(0.5 * 0.1 * 0.9 * 0.9), log(0.5 * 0.04)]
    assert found["answer-sum"].scores == pytest.approx(sums, abs=1e-5) and found["answer-sum"].chosen == "A"
    per_token = [sums[0] / 2, sums[1] / 4, sums[2] / 2]  # the space is a token
    assert found["answer-per-token"].scores == pytest.approx(per_token, abs=1e-5)
    assert found["answer-per-token"].chosen == "B" and found["answer-per-token"].correct
    assert found["answer-per-byte"].scores == pytest.approx([sums[0], sums[1] / 3, sums[2]], abs=1e-5)
    assert found["pmi"].scores == pytest.approx([0, 0, 0], abs=1e-5)  # it never looks at the question
    told = outcome("letter", list(found.values()))
    assert told.on_letters == pytest.approx(0.1 + 0.5 * 0.06 + 0.005, abs=1e-5)
    assert (told.accuracy, told.letters, told.unparsed) == (0.0, {"A": 1}, 0.0)


def test_pmi_takes_away_what_is_likely_without_the_question(tiny: LanguageModel) -> None:
    """Against another computation: the whole text through the network, one option at a time."""
    problem = which("apple", "12", right=1, stem="How many?")

    def logprob(start: str, more: str) -> float:
        tokens, known = ids(tiny, start + more), len(ids(tiny, start))
        mask = torch.arange(len(tokens))[None] >= known
        return full_logits.score(tiny.network, torch.tensor([tokens]), mask)[0].sum().item()

    (choice,) = ask(tiny, [problem], ["pmi"], Asking(), GREEDY)
    wanted = [logprob("Question: How many?\nAnswer:", f" {o}") - logprob("Answer:", f" {o}") for o in ("apple", "12")]
    assert choice.scores == pytest.approx(wanted, abs=1e-4)


def test_a_batch_scores_as_each_alone(tiny: LanguageModel) -> None:
    problems = [replace(which("7", "12", "an apple", stem=f"How many of {i}?"), id=str(i)) for i in range(5)]
    together = ask(tiny, problems, ["letter", "answer-sum"], Asking(form="boxed"), GREEDY)
    alone = [one for p in problems for one in ask(tiny, [p], ["letter", "answer-sum"], Asking(form="boxed"), GREEDY)]
    by_key = {(one.id, one.way): one.scores for one in alone}
    assert len(together) == 10
    for one in together:
        assert one.scores == pytest.approx(by_key[one.id, one.way], abs=1e-4)


# --- the space at the end ---------------------------------------------------------------------------------------------


def test_a_prompt_that_ends_in_a_space_makes_the_letter_impossible(tiny: LanguageModel) -> None:
    """ " A" and " D" are tokens of their own; "Answer: " and "A", encoded apart, never meet them."""
    (colon,), (space,), (a,), (d,) = (ids(tiny, text) for text in (":", " ", " A", " D"))
    apart, together = [*ids(tiny, "Answer: "), *ids(tiny, "A")], ids(tiny, "Answer: A")
    assert together == [*ids(tiny, "Answer:"), a] != apart
    model = knowing(tiny, {colon: {a: 0.1, d: 0.8}, space: {ids(tiny, "A")[0]: 0.9}})  # it knows that D is right
    start, letters = opening(model, Asking(), which(*"wxyz"), lists=True), tuple("ABCD")
    (scored,) = score(model, [Job(start, tuple(f" {letter}" for letter in letters), letters)])
    assert choose([one.logprob for one in scored]) == "D" and scored[3].num_tokens == 1
    assert scored[3].logprob == pytest.approx(log(0.8), abs=1e-5)
    naive = [model.network.lm_head.weight[ids(tiny, letter)[0], space].item() for letter in letters]
    assert choose(naive) == "A"  # behind the space that was encoded alone
    trapped = replace(start, text=f"{start.text} ")  # and such a prompt is seen through: both begin before the space
    (helped,) = score(model, [Job(trapped, letters, letters)])
    assert [one.logprob for one in helped] == pytest.approx([one.logprob for one in scored], abs=1e-5)


def test_the_common_beginning_leaves_a_token_to_score() -> None:
    assert common_prefix([[1, 2, 3], [1, 2, 3, 4], [1, 2, 3, 5]]) == 3
    assert common_prefix([[1, 2, 3], [1, 2, 9], [1, 2, 8, 5]]) == 2  # the prompt's last token was merged away
    assert common_prefix([[1, 2, 3], [1, 2], [1, 2, 3, 4]]) == 1  # one is the prompt's own beginning


# --- prompts ----------------------------------------------------------------------------------------------------------


def test_prompts_as_the_model_reads_them(tiny: LanguageModel) -> None:
    problem = which("x", "y", stem="Which?", family="new")
    shots = tuple(which("u", "v", right=1, stem=f"Shot {family}?", family=family) for family in ("old", "new", "new"))
    text = tiny.tokenizer.decode

    def seen(asking: Asking, lists: bool) -> str:
        return text(opening(tiny, asking, problem, lists).encoded(tiny))

    assert seen(Asking(), True) == "Question: Which?\nA. x\nB. y\nAnswer:"
    assert seen(Asking("boxed"), False) == "Question: Which?\nAnswer:\n"
    own = Asking("plain", num_shots=1, examples=shots)  # an example of the same family
    assert seen(own, True) == "Question: Shot new?\nA. u\nB. v\nAnswer: B\n\nQuestion: Which?\nA. x\nB. y\nAnswer:"
    assert seen(own, False) == "Question: Shot new?\nAnswer: v\n\nQuestion: Which?\nAnswer:"
    chat = seen(replace(own, chat=True), True)
    assert chat.startswith("<|im_start|>user\nShot new?\nA. u\nB. v<|im_end|>\n<|im_start|>assistant\n")
    assert chat.endswith("<|im_start|>assistant\n<think>\n\n</think>\n\nAnswer:")
    asked = text(response_prompt(tiny, Asking(thinking=True), problem))
    assert asked.endswith("B. y\nAnswer with the letter of the right option.<|im_end|>\n<|im_start|>assistant\n")


# --- reasoning models -------------------------------------------------------------------------------------------------


def thought(model: LanguageModel, text: str, closed: bool) -> tuple[list[int], Completion]:
    problem = which("x", "y", "z")
    prompt = response_prompt(model, Asking(thinking=True), problem)
    think, end = (model.tokenizer.special_id(name) for name in ("<think>", "</think>"))
    tokens = [think, *ids(model, text), *([end, *ids(model, "\n\nOkay, a B?")] if closed else [])]
    return prompt, Completion(tuple(prompt), tuple(tokens), (0.0,) * len(tokens), "length", text)


@pytest.mark.parametrize("closed", [True, False])
def test_the_letter_is_looked_at_behind_the_thinking(tiny: LanguageModel, closed: bool) -> None:
    prompt, completion = thought(tiny, "\nOkay, A or so.\n", closed)
    start = behind_thinking(tiny, prompt, completion, "Answer:")
    seen = tiny.tokenizer.decode(start.encoded(tiny))
    middle = "</think>" if closed else "\n</think>"  # thinking that was cut off is closed
    assert seen == tiny.tokenizer.decode(prompt) + f"<think>\nOkay, A or so.\n{middle}\n\nAnswer:"
    assert start.tokens[-1] == tiny.tokenizer.special_id("</think>")


def test_a_model_that_does_not_think_is_asked_at_once(tiny: LanguageModel) -> None:
    prompt = ids(tiny, "Question")
    start = behind_thinking(tiny, prompt, Completion(tuple(prompt), (5, 6), (0.0, 0.0), "stop", ""), "Answer:")
    assert (start.tokens, start.text) == (tuple(prompt), "Answer:")


@pytest.mark.parametrize(
    ("response", "letter"),
    [
        ("Okay, so a lot to look at", None),
        ("<think>Okay, A? No, B. The answer is C.</think>\n\nB", "B"),
        ("<think>\\boxed{A}</think> So the answer is (B).", "B"),
        ("<think>The answer is A", None),
        ("Option B is correct.", "B"),
        ("Option A is wrong, so option B is correct.", "B"),
        ("Option C is not right.", None),
        ("As an AI model, I choose **B**.", "B"),
        ("The answer is a mystery", None),
        ("The answer is A mystery", None),
        ("Which option? A good question.", None),
        ("A. Lyon is wrong. B. Paris is right.", None),  # two letters
        ("B. Paris, by the way", "B"),
        ("The answer is Paris.", "B"),  # the option's own words
        (r"\boxed{\text{Paris}}", "B"),
        (r"\boxed{Rome}", None),
        (r"\boxed{E}", None),  # beyond the options
        ("Answer: B", "B"),
        ("b", "B"),
    ],
)
def test_the_letter_that_a_response_chooses(response: str, letter: str | None) -> None:
    problem = which("Lyon", "Paris", "Nice", right=1)
    verdict = verify(problem, response)
    assert (verdict.answer if verdict.status != "unparsed" else None) == letter
    assert verdict.correct == (letter == "B")


def test_words_count_by_lenient_rules_only() -> None:
    problem = which("Lyon", "Paris", right=1)
    assert verify(problem, r"\boxed{Paris}").correct and not verify(problem, r"\boxed{Paris}", "strict").correct
    same = which("Paris", "paris", right=1)
    assert verify(same, "Paris").status == "unparsed"  # two options are these words


def test_responses_are_counted(tiny: LanguageModel) -> None:
    (choice,) = ask(tiny, [which("x", "y")], ["response"], Asking(), GREEDY)
    told = outcome("response", [choice])
    assert choice.response is not None and choice.truncated and (told.truncated, told.unparsed) == (1.0, 1.0)


def test_the_built_in_model_knows_answers_in_its_own_form() -> None:
    """It never saw a letter, but it has learnt to write \\boxed{42}; answers it can tell from slips."""
    problems = load_problems("choice:builtin", num_problems=40)
    choices = ask(LanguageModel.load("thinkling-base"), problems, ["answer-sum"], Asking("boxed"), GREEDY)
    assert outcome("answer-sum", choices).accuracy > guess_band([4] * 40, 0.99)[1]


# --- beside guessing --------------------------------------------------------------------------------------------------


def test_the_band_of_a_blind_guesser() -> None:
    """Two questions of 2 options: 0, 1, 2 right with 1/4, 1/2, 1/4. Many: the normal's quantiles."""
    assert guess_band([2, 2], level=0.4) == (0.5, 0.5) and guess_band([2, 2], level=0.6) == (0.0, 1.0)
    assert guess_band([2, 4], level=0.7) == (0.0, 0.5)  # P(0) = 3/8, P(1) = 1/2, P(2) = 1/8
    counts = [4] * 900 + [10] * 600
    mean, deviation = sum(1 / n for n in counts), sum(1 / n * (1 - 1 / n) for n in counts) ** 0.5
    wanted = [mean + sign * NormalDist().inv_cdf(0.975) * deviation for sign in (-1, 1)]
    assert [share * 1500 for share in guess_band(counts)] == pytest.approx(wanted, abs=1.5)


def test_of_equal_options_the_first() -> None:
    assert choose([-1.0, -0.5, -0.5]) == "B"


# --- the command ------------------------------------------------------------------------------------------------------


def test_the_command(tiny: LanguageModel, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    rows = [{"question": f"{i} + {i}?", "options": [str(2 * i), "1", "x"], "answer": 0} for i in range(1, 5)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    cli.main(["choice", "--model", str(tmp_path / "model"), "--tasks", str(tmp_path / "rows.jsonl"), "--shots", "1",
              "--shuffle-options", "3", "--max-tokens", "4", "--out", str(tmp_path / "run")])  # fmt: skip
    out = capsys.readouterr().out
    assert all(way in out for way in WAYS) and "3 problems" in out and "Always answering" in out
    assert "100.0% of the responses were cut off" in " ".join(out.split())
    kept = [json.loads(line) for line in (tmp_path / "run" / "choices.jsonl").read_text().splitlines()]
    assert len(kept) == 3 * len(WAYS)
    for one in kept:
        if one["way"] != "response":
            assert one["chosen"] == "ABC"[max(range(3), key=one["scores"].__getitem__)]
    report = json.loads((tmp_path / "run" / "report.json").read_text())
    right = sum(one["chosen"] == one["right"] for one in kept if one["way"] == "pmi")
    assert next(way for way in report["ways"] if way["way"] == "pmi")["accuracy"] == right / 3


def test_examples_are_never_asked(tmp_path: Path) -> None:
    rows = [{"question": f"{i}?", "options": ["x", "y"], "answer": "A"} for i in range(4)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    problems, examples = load(Choice(tasks=str(path), shots=3))
    assert ([p.metadata["stem"] for p in problems], len(examples)) == (["3?"], 3)
    with pytest.raises(UserError, match="4 problems, of which 4 are examples: lower --shots"):
        load(Choice(tasks=str(path), shots=4))
    problems, examples = load(Choice(num_problems=20, shots=5))
    assert len(problems) == 20 and not {p.question for p in problems} & {e.question for e in examples}


def test_what_is_no_choice_is_refused(tiny: LanguageModel) -> None:
    with pytest.raises(UserError, match="p has no options to choose from: give multiple choice, such as mmlu"):
        ask(tiny, [Problem("p", "1 + 1?", "2")], ["letter"], Asking(), GREEDY)
    with pytest.raises(UserError, match=r"a question and its answer are .* tokens long, but the context holds 512"):
        ask(tiny, [which("x", "y", stem="long " * 600)], ["letter"], Asking(), GREEDY)
    with pytest.raises(UserError, match="--ways names none"):
        Choice(ways=())


# --- on a server ------------------------------------------------------------------------------------------------------


class Served(httpx.AsyncBaseTransport):
    """Our own server without a socket: its desk belongs to the event loop that asks."""

    def __init__(self, model: LanguageModel) -> None:
        self.api = Api(served.Served.of(model, None, 0), Limits(), Access("127.0.0.1"))
        self.app = httpx.ASGITransport(self.api.app())

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        if self.api.desk is None or self.api.desk.loop is not asyncio.get_running_loop():
            self.api.desk = Desk(self.api.served.model, 256, Metrics())
        return await self.app.handle_async_request(request)


def test_a_server_scores_as_the_weights_here(tiny: LanguageModel) -> None:
    """One prompt ends otherwise before one option than before another: " A" is one token of this tokenizer."""
    problems = [
        which("1", "two", "three words here"),
        which("é", "x y", right=1, stem="What\nis <it>?"),
        which("A", "B"),
    ]
    asking = Asking(num_shots=1, examples=(which("4", "5", stem="2 + 2?"),))
    server = RemoteModel("http://127.0.0.1:1", "tiny", transport=Served(tiny))
    for form in FORMS:
        asking = replace(asking, form=form)
        here, there = (ask(model, problems, tuple(WAYS), asking, GREEDY) for model in (tiny, server))
        assert [one.chosen for one in there] == [one.chosen for one in here]
        for one, other in zip(here, there, strict=True):
            assert (one.way, one.response) == (other.way, other.response)
            assert other.scores == pytest.approx(one.scores, abs=1e-4)


def test_what_a_server_cannot_score_is_one_line(tiny: LanguageModel) -> None:
    server = RemoteModel("http://127.0.0.1:1", "tiny", transport=Served(tiny))
    with pytest.raises(UserError, match="a server scores no reply in a chat: leave out --chat and --thinking"):
        ask(server, [which("x", "y")], ["response", "letter"], Asking(chat=True), GREEDY)
    [chosen] = ask(server, [which("x", "y")], ["response"], Asking(chat=True), GREEDY)
    assert chosen.response is not None

    async def untold(request: httpx.Request) -> httpx.Response:
        told = {"tokens": ["a", "b"], "token_logprobs": [None, None], "top_logprobs": None}
        choice = {"text": "ab", "logprobs": told, "finish_reason": "length"}
        return httpx.Response(200, json={"choices": [choice], "usage": {"prompt_tokens": 2, "completion_tokens": 1}})

    other = RemoteModel("http://127.0.0.1:1", "m", transport=httpx.MockTransport(untold))
    with pytest.raises(
        UserError, match=r"gives no log-probabilities for given text \(`echo` on /completions\): use anoth"
    ):
        ask(other, [which("x", "y")], ["letter"], Asking(), GREEDY)
