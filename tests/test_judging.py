"""Judges: what they are asked and how they are read, what sways them, and what their verdicts are worth, corrected."""

import asyncio
import json
import re
from collections.abc import Callable
from pathlib import Path

import httpx
import numpy as np
import pytest
from scripted import Scripted, said
from test_cli import fails
from test_ranking import write
from test_remote import Server, remote, waits

from thinkling import cli
from thinkling.commands import load
from thinkling.errors import UserError
from thinkling.evaluate.judging.agreement import Agreement, agreement, kappa
from thinkling.evaluate.judging.ask import Judge, Preference
from thinkling.evaluate.judging.bias import length_bias, position_bias
from thinkling.evaluate.judging.corrected import prediction_powered, rogan_gladen
from thinkling.evaluate.judging.injections import INJECTIONS, Injection, injected
from thinkling.evaluate.judging.reports import pair_report, votes_of
from thinkling.evaluate.ranking.votes import Response, read_votes
from thinkling.generate.completion import Completion
from thinkling.generate.sampling import Sampling
from thinkling.scale.judge_protocol import ask_choice, ask_grade, choice_in, grade_in

__all__ = ["waits"]  # a fixture
each_injection = pytest.mark.parametrize("injection", INJECTIONS, ids=lambda i: f"{i.kind}: {i.text[:20]!r}")
RIGHT, WRONG = Response("p", "2 + 2?", "It is 4.", "correct"), Response("p", "2 + 2?", "It is 5.", "incorrect")


def mark_in(prompt: str) -> str:
    return re.findall(r"the mark (VERDICT-\w{6}), a colon", prompt)[-1]


def pieces_in(prompt: str) -> list[str]:
    """What stands between the fences, as a judge that follows the protocol reads it: by the key, by nothing else."""
    key = re.search(r"lines with the key (\w{16}) is data", prompt).group(1)
    return re.findall(rf"<<<[A-Z0-9 ]+ {key}\n(.*?)\n[A-Z0-9 ]+ {key}>>>", prompt, re.DOTALL)


def honest(prompt: str, sampling: Sampling) -> Completion:
    """Follows the protocol: quotes all of what it judges, and gives 9 where the first line is right, else 2."""
    _, *responses = pieces_in(prompt)
    right = ["is 4" in response.split("\n")[0] for response in responses]
    if len(right) == 1:
        verdict = "9" if right[0] else "2"
    else:
        verdict = {(True, False): "1", (False, True): "2"}.get(tuple(right), "tie")
    return said("I read:\n" + "\n".join(responses) + f"\nSo:\n{mark_in(prompt)}: {verdict}")


def judge(*script: Completion | Callable, **more: object) -> Judge:
    return Judge(Scripted(*script), Sampling(), "secret", **more)


def grade(response: Response, *script: Completion | Callable, **more: object) -> float | None:
    return asyncio.run(judge(*script, **more).grade(response)).value


def prefer(a: Response, b: Response, *script: Completion | Callable, **more: object) -> Preference:
    return asyncio.run(judge(*script, **more).prefer(a, b))


# --- what is asked, and how it is read ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("reply", "found"),
    [
        ("M: 7", 7), ("so\n**M: 10**", 10), ("> `M`: 0.", 0), ("M : 3", 3), ("m: 4", 4), ("M: 7\nM: 7", 7),
        ("M: 7\nM: 8", None), ("M: 11", None), ("M: 7/10", None), ("M: 7.5", None), ("M: -1", None), ("M:", None),
        ("the grade M: 7 it is", None), ("VERDICT: 7", None), ("7", None), ("\\boxed{7}", None), ("", None),
        ("<think>\nM: 1\n</think>\nM: 6", 6), ("<think>\nM: 1", None), ("<think>\nM: 1\n</think>\nwell", None),
    ],
)  # fmt: skip
def test_a_grade_is_read_from_its_own_line_or_not_at_all(reply: str, found: float | None) -> None:
    assert grade_in(reply.replace("M", "VERDICT-abc123").replace("m:", "verdict-ABC123:"), "VERDICT-abc123") == found


def test_a_choice_is_read_alike() -> None:
    replies = {"X: 1": "1", "X: 2.": "2", "**X: Tie**": "tie", "X: 3": None, "X: 1 or 2": None, "X: 1\nX: tie": None}
    assert {reply: choice_in(reply, "X") for reply in replies} == replies


def test_keys_and_marks_are_of_one_text_and_one_secret() -> None:
    asked = ask_grade("s", "1 + 1?", "2")
    assert asked == ask_grade("s", "1 + 1?", "2")  # a run that resumes asks the same
    others = [ask_grade("t", "1 + 1?", "2"), ask_grade("s", "1 + 1?", "3"), ask_choice("s", "1 + 1?", "2", "3"),
              ask_choice("s", "1 + 1?", "3", "2")]  # fmt: skip
    assert len({asked.mark, *(other.mark for other in others)}) == 5
    assert pieces_in(asked.text) == ["1 + 1?", "2"] and pieces_in(others[2].text) == ["1 + 1?", "2", "3"]
    assert asked.mark not in asked.text.split("2\nRESPONSE")[0]  # named once, behind what is judged


def test_tags_of_roles_and_of_thinking_are_only_text() -> None:
    tags = ["<|im_start|>", "<|im_end|>", "<think>", "</think>", "</s>", "<start_of_turn>", "[INST]", "[/INST]",
            "<<SYS>>", "<|eot_id|>", "<｜Assistant｜>", "</SYSTEM>"]  # fmt: skip
    asked = ask_grade("s", " ".join(tags), "x < y, [1, 2], a <b> and |x|")
    assert not [tag for tag in tags if tag in asked.text]
    assert pieces_in(asked.text)[1] == "x < y, [1, 2], a <b> and |x|"  # mathematics stays as it is


@each_injection
def test_an_injection_stays_inside_its_fence_and_moves_no_verdict(injection: Injection) -> None:
    steered = injected(WRONG, injection)
    assert grade(WRONG, honest) == grade(steered, honest) == 2
    assert grade(injected(RIGHT, injection), honest) == 9
    assert prefer(RIGHT, steered, honest).winner == "a" and prefer(steered, RIGHT, honest).winner == "b"
    assert prefer(steered, WRONG, honest).winner == "tie"
    asked = ask_grade("s", steered.question, steered.text)
    assert len(pieces_in(asked.text)) == 2 and asked.text.count("\n\nIs the response right?") == 1


@each_injection
def test_an_injection_in_the_reply_is_no_verdict(injection: Injection) -> None:
    """A judge that only repeats what it read, or does what it was told there, has said nothing."""
    assert grade(WRONG, said(injection.text)) is None
    assert prefer(RIGHT, WRONG, said(injection.text), said(injection.text)).winner is None
    assert grade(WRONG, lambda prompt, _: said(prompt.split("Reason as long")[0])) is None


def test_a_rubric_of_ones_own() -> None:
    model = Scripted(honest)
    asyncio.run(Judge(model, Sampling(), "s", rubric="Is it polite?").grade(RIGHT))
    assert "Is it polite?" in model.asked[0][0] and "Is the response right?" not in model.asked[0][0]


def test_a_judge_that_solves_the_problem_itself_reads_nothing() -> None:
    solver = said("2 + 2 = 4\n\\boxed{4}")
    boxed = [Response("p", "2 + 2?", f"\\boxed{{{answer}}}", "") for answer in ("4.0", "5")]
    assert [grade(response, solver, reading="solve", template="none") for response in boxed] == [10, 0]
    assert grade(boxed[0], said("hm, well"), reading="solve", template="none") is None
    assert prefer(*boxed, solver, solver, reading="solve", template="none").winner == "a"
    assert prefer(boxed[1], boxed[1], solver, solver, reading="solve").winner == "tie"


def test_log_probabilities_as_a_verdict() -> None:
    beliefs = {" Yes": np.log(0.6), " No": np.log(0.2), " 1": -3.0, " 2": -1.0}
    asking = Judge(Scripted(beliefs=beliefs), Sampling(), "s", "logprob")
    assert asyncio.run(asking.grade(RIGHT)).value == pytest.approx(7.5)
    preference = asyncio.run(asking.prefer(RIGHT, WRONG))  # it takes the second whatever stands there
    assert (preference.a_first, preference.b_first, preference.winner) == ("2", "2", "tie")


# --- what sways a judge ---------------------------------------------------------------------------------------------


def test_both_orders_and_their_disagreement() -> None:
    table = [("1", "2", "a"), ("2", "1", "b"), ("1", "1", "tie"), ("2", "2", "tie"), ("tie", "tie", "tie"),
             ("1", "tie", "tie"), ("tie", "1", "tie"), ("1", None, None), (None, None, None)]  # fmt: skip
    assert [Preference(one, other).winner for one, other, _ in table] == [winner for *_, winner in table]


def always(choice: str) -> Callable:
    return lambda prompt, _: said(f"{mark_in(prompt)}: {choice}")


def longest(prompt: str, _: Sampling) -> Completion:
    _, one, other = pieces_in(prompt)
    return said(f"{mark_in(prompt)}: {1 if len(one) > len(other) else 2}")


def test_a_judge_that_takes_the_first_is_found_out() -> None:
    said_of = [prefer(RIGHT, WRONG, always("1")) for _ in range(20)]
    bias = position_bias(said_of)
    assert bias.first[0] == 1.0 and bias.first[1] > 0.9 and bias.consistent[0] == 0.0
    assert all(preference.winner == "tie" for preference in said_of)
    fair = position_bias([prefer(RIGHT, WRONG, honest)] * 3)
    assert fair.first[0] == 0.5 and fair.consistent[0] == 1.0
    assert position_bias([Preference(None, "1")]).consistent is None
    assert position_bias([Preference("tie", "tie")]).first is None


def test_a_judge_that_takes_the_longer_is_found_out() -> None:
    """Counted only where the verifier calls both equal: a longer response may also be the better one."""
    long_wrong = Response("p", "2 + 2?", "It is 5, of course it is 5.", "incorrect")
    pairs = [(WRONG, long_wrong), (long_wrong, WRONG), (RIGHT, long_wrong), (WRONG, WRONG)]
    report = pair_report(("x", "y"), pairs, [prefer(*pair, longest) for pair in pairs])
    assert (report.a, report.b, report.ties, report.abstained) == (1, 2, 1, 0)
    assert report.longer[0] == 1.0 and report.decided == (0, 0, 1) and report.accuracy[0] == 0.0
    assert length_bias([None]) is None
    honestly = pair_report(("x", "y"), pairs, [prefer(*pair, honest) for pair in pairs])
    assert honestly.longer is None and honestly.decided == (1, 0, 0)
    said_of = [Preference("1", "2"), Preference(None, "1"), Preference("1", "1"), Preference("2", "1")]
    votes = votes_of(("x", "y"), pairs, said_of)
    assert [vote.winner for vote in votes] == ["model_a", "tie", "model_b"]
    assert (votes[0].length_a, votes[0].length_b, votes[0].source) == (8, 27, "judge")


# --- agreement and corrections --------------------------------------------------------------------------------------


def test_agreement_by_hand() -> None:
    found = agreement([True, True, True, False, False, True], [True, True, False, False, True, None])
    assert found == Agreement(hits=2, misses=1, false_alarms=1, refusals=1, abstained=1)
    assert found.sensitivity[0] == pytest.approx(2 / 3) and found.specificity[0] == 0.5
    assert Agreement(5, 0, 0, 0).specificity is None and Agreement(5, 0, 0, 0).kappa is None
    assert Agreement(0, 0, 0, 0).kappa is None


def test_kappa_by_hand() -> None:
    """[[20, 5], [10, 15]]: agreed 0.7, by chance 0.5 · 0.6 + 0.5 · 0.4 = 0.5, so (0.7 - 0.5) / 0.5."""
    value, low, high = kappa([[20, 5], [10, 15]])
    assert value == pytest.approx(0.4) and (low + high) / 2 == pytest.approx(0.4)
    assert kappa([[3, 0], [0, 4]])[0] == 1.0
    assert kappa([[1, 0, 0], [0, 2, 0], [0, 0, 3]]) == (1.0, 1.0, 1.0)
    assert kappa([[0, 5], [5, 0]])[0] == pytest.approx(-1.0)


def test_kappas_interval_is_the_delta_methods() -> None:
    """The variance is the sum over cells of count · slope², each slope found by adding a little to the cell."""
    table, step = [[30, 2], [20, 48]], 1e-5
    value, low, high = kappa(table)
    variance = 0.0
    for i, j in ((0, 0), (0, 1), (1, 0), (1, 1)):
        more = [list(row) for row in table]
        more[i][j] += step
        variance += table[i][j] * ((kappa(more)[0] - value) / step) ** 2
    assert (high - low) / 2 == pytest.approx(1.96 * variance**0.5, rel=1e-3)


def test_kappas_interval_holds_as_often_as_it_says() -> None:
    shares = np.array([[0.4, 0.1], [0.15, 0.35]])
    truth = (0.75 - (0.5 * 0.55 + 0.5 * 0.45)) / 0.5
    tables = np.random.default_rng(0).multinomial(200, shares.ravel(), size=2000).reshape(-1, 2, 2).tolist()
    held = sum(low <= truth <= high for _, low, high in map(kappa, tables))
    assert 0.93 <= held / 2000 <= 0.97


def test_rogan_gladen_by_hand() -> None:
    """62 of 100 judged right; 45 of 50 right ones and 35 of 50 wrong ones seen: (0.62 + 0.7 - 1) / (0.7 + 0.9 - 1)."""
    found = rogan_gladen(62, 100, 45, 50, 35, 50)
    assert found.value == pytest.approx(0.32 / 0.6) and found.low < found.value < found.high
    perfect = rogan_gladen(620_000, 1_000_000, 10**6, 10**6, 10**6, 10**6)  # nothing to correct: the plain interval
    assert perfect.value == pytest.approx(0.62)
    assert perfect.high - perfect.low == pytest.approx(2 * 1.96 * np.sqrt(0.62 * 0.38 / 10**6), rel=0.01)
    assert (coin := rogan_gladen(50, 100, 26, 50, 25, 50)).low == 0 and coin.high == 1
    assert rogan_gladen(2, 100, 45, 50, 35, 50).value == 0  # fewer than the judge's errors alone would make


def test_prediction_powered_by_hand() -> None:
    """Once more, from rows of 0 and 1: one row of each kind added, λ = Cov / ((1 + n / N) Var)."""
    cells, judged, num = (30, 5, 8, 17), 260, 400
    rows = [(1, 1)] * 31 + [(1, 0)] * 6 + [(0, 1)] * 9 + [(0, 0)] * 18
    truth, verdict = np.array(rows, dtype=float).T
    trust = np.cov(truth, verdict, bias=True)[0, 1] / (verdict.var() * (1 + 64 / 400))
    value = trust * judged / num + (truth - trust * verdict).mean()
    half = 1.96 * np.sqrt(trust**2 * 0.65 * 0.35 / num + (truth - trust * verdict).var() / 64)
    found = prediction_powered(judged, num, cells)
    assert (found.value, found.low, found.high) == pytest.approx((value, value - half, value + half))
    ignorant = prediction_powered(judged, num, (20, 20, 20, 20))  # verdict and truth independent: the labels alone
    assert ignorant.value == pytest.approx(0.5)
    assert ignorant.high - 0.5 == pytest.approx(1.96 * np.sqrt(0.25 / 84))


@pytest.mark.parametrize(
    ("share", "sensitivity", "specificity", "num", "labels"),
    [(0.6, 0.9, 0.8, 400, 120), (0.3, 0.75, 0.85, 1000, 150), (0.8, 0.95, 0.6, 500, 200), (0.5, 0.85, 0.95, 200, 60)],
)
def test_corrected_intervals_hold_as_often_as_they_say(
    share: float, sensitivity: float, specificity: float, num: int, labels: int
) -> None:
    """And the judge's own does not: it is wide of the mark."""
    draw, size = np.random.default_rng(1), 20_000
    called = share * sensitivity + (1 - share) * (1 - specificity)
    judged = draw.binomial(num, called, size)
    cells = draw.multinomial(labels, [share * sensitivity, share * (1 - sensitivity), (1 - share) * (1 - specificity),
                                      (1 - share) * specificity], size).T  # fmt: skip
    both, missed, wrongly, neither = cells
    for found in (rogan_gladen(judged, num, both, both + missed, neither, wrongly + neither),
                  prediction_powered(judged, num, cells)):  # fmt: skip
        assert 0.93 <= np.mean((found.low <= share) & (share <= found.high)) <= 0.97
        assert np.mean(found.value) == pytest.approx(share, abs=0.015)
    half = 1.96 * np.sqrt(judged / num * (1 - judged / num) / num)
    assert np.mean(np.abs(judged / num - share) <= half) < 0.9 or abs(called - share) < 0.02


# --- servers --------------------------------------------------------------------------------------------------------


def replied(**message: object) -> Callable[[httpx.Request], httpx.Response]:
    """A server's chat reply; MARK in its texts is the prompt's own."""

    def answer(request: httpx.Request) -> httpx.Response:
        mark = mark_in(json.loads(request.content)["messages"][0]["content"])
        told = {name: text.replace("MARK", mark) if isinstance(text, str) else text for name, text in message.items()}
        body = {"choices": [{"message": {"role": "assistant", **told}, "finish_reason": "stop"}],
                "usage": {"prompt_tokens": 1, "completion_tokens": 1}}  # fmt: skip
        return httpx.Response(200, json=body)

    return answer


@pytest.mark.parametrize(
    ("answers", "found"),
    [
        ([replied(content="MARK: 8")], 8),
        ([replied(content="MARK: 8", reasoning_content="MARK: 1")], 8),
        ([replied(content="MARK: 8", reasoning="no\nMARK: 1")], 8),
        ([replied(content=None, reasoning_content="MARK: 8")], None),
        ([replied(content=None)], None),
        ([replied(content="")], None),
        ([httpx.Response(500), replied(content="MARK: 8")], 8),
        ([httpx.Response(429, headers={"Retry-After": "1"}), replied(content="MARK: 8")], 8),
        ([httpx.Response(200, text='{"choices": [{"mess'), replied(content="MARK: 8")], "fails"),
        ([httpx.ReadTimeout("slow"), replied(content="MARK: 8")], 8),
        ([httpx.Response(500)], "fails"),
    ],
)  # fmt: skip
def test_a_judge_on_a_server_that_has_faults(answers: list, found: float | str | None, waits: list[float]) -> None:
    """A verdict, an abstention or an error: never a verdict that was not given."""
    asking = Judge(remote(Server(*answers)), Sampling(), "s")
    if found == "fails":
        with pytest.raises(UserError):
            asyncio.run(asking.grade(WRONG))
    else:
        assert asyncio.run(asking.grade(WRONG)).value == found


# --- the command ----------------------------------------------------------------------------------------------------


@pytest.fixture
def runs(tmp_path: Path) -> list[Path]:
    """`good` is right on 30 of 40 problems, `poor` on 10 of them."""
    made = []
    for name, right in (("good", 30), ("poor", 10)):
        rows = [{"id": f"p{n}", "question": f"{n} and 2 + 2?", "response": f"It is {4 if n < right else 5}. {name}",
                 "status": "correct" if n < right else "incorrect"} for n in range(40)]  # fmt: skip
        (tmp_path / name).mkdir()
        made.append(write(tmp_path / name / "samples.jsonl", rows).parent)
    return made


def run(*words: object) -> None:
    cli.main(["judge", *map(str, words)])


def test_one_run_is_graded_and_the_score_corrected(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    model, out = Scripted(honest), tmp_path / "out"
    monkeypatch.setattr(load, "model_of", lambda settings: model)
    run(runs[0], "--out", out, "--labelled", 20, "--injections", 1)
    printed = capsys.readouterr().out
    report = json.loads((out / "report.json").read_text())
    found = report["report"]
    assert found["judged"][0] == found["truth"][0] == 0.75 and found["kappa"] == [1.0, 1.0, 1.0]
    assert found["rogan_gladen"][0] == pytest.approx(0.75, abs=0.2) and found["labelled"] == 20
    assert found["agreement"] == {"hits": 30, "misses": 0, "false_alarms": 0, "refusals": 10, "abstained": 0}
    assert report["injections"] == {"tried": 1, "moved": {}}
    assert f"Injections moved 0 of {len(INJECTIONS)} verdicts" in printed and "75.0% [" in printed
    assert (out / "scores.png").read_bytes().startswith(b"\x89PNG")
    rows = [json.loads(line) for line in (out / "judgements.jsonl").read_text().splitlines()]
    assert [row["grade"] for row in rows] == [9] * 30 + [2] * 10
    assert len(model.asked) == 40 + len(INJECTIONS)
    (out / "report.json").unlink()  # as if it had been interrupted: the pool answers, and the secret is the same
    run(runs[0], "--out", out, "--labelled", 20, "--injections", 1)
    assert len(model.asked) == 40 + len(INJECTIONS)


def test_a_failed_call_stops_or_is_an_abstention(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    def sometimes(prompt: str, sampling: Sampling) -> Completion:
        if "39 and" in prompt:
            raise UserError("the server has had enough")
        return honest(prompt, sampling)

    monkeypatch.setattr(load, "model_of", lambda settings: Scripted(sometimes))
    assert "had enough (--on-error skip" in fails(capsys, "judge", runs[0], "--out", tmp_path / "a")
    run(runs[0], "--out", tmp_path / "b", "--on-error", "skip")
    found = json.loads((tmp_path / "b" / "report.json").read_text())["report"]
    assert found["agreement"]["abstained"] == 1 and found["agreement"]["refusals"] == 9


def test_two_runs_are_compared_and_become_votes(
    runs: list[Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(load, "model_of", lambda settings: Scripted(honest))
    run(*runs, "--out", tmp_path / "out")
    votes = read_votes(tmp_path / "out" / "votes.jsonl")
    assert [v.winner for v in votes] == ["tie"] * 10 + ["model_a"] * 20 + ["tie"] * 10
    assert {(v.model_a, v.model_b, v.source) for v in votes} == {("good", "poor", "judge")}
    found = json.loads((tmp_path / "out" / "report.json").read_text())["report"]
    assert found["decided"] == [20, 0, 0] and found["kappa"] == [1.0, 1.0, 1.0]
    assert "no finite ratings exist" in fails(capsys, "rank", tmp_path / "out" / "votes.jsonl")  # nobody beat `good`
    cli.main(["rank", str(tmp_path / "out" / "votes.jsonl"), "--prior", "1"])
    assert "Only the prior makes the ratings finite" in " ".join(capsys.readouterr().out.split())


def test_bad_input_is_one_line(runs: list[Path], tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    def line(*words: object) -> str:
        return fails(capsys, "judge", *words, "--out", tmp_path / "out")

    (tmp_path / "empty").touch()
    assert "one eval run, or of two to compare, not 3" in line(*runs, tmp_path)
    assert "holds no samples.jsonl" in line(tmp_path)
    assert "is named twice" in line(runs[0], runs[0])
    assert "--passing must be a grade from 0 to 10, not 11" in line(runs[0], "--passing", 11)
    assert "--labelled must be at least 0" in line(runs[0], "--labelled", -1)
    assert "leave the other run out" in line(*runs, "--injections", 2)
    assert "cannot be read: name a text file" in line(runs[0], "--rubric", tmp_path / "none")
    assert "is empty: say what to judge by" in line(runs[0], "--rubric", tmp_path / "empty")
    assert not (tmp_path / "out").exists()
