"""Problems that fail: named by the run that they end, or skipped, counted and listed; never graded as wrong.

The servers are real ones, on this machine: `eval` and `scale` are run as a person runs them.
"""

import asyncio
import json
import re
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import rl_steps
from scripted import Scripted, boxed

from thinkling import cli
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import FatalError, UserError
from thinkling.evaluate import run as run_module
from thinkling.evaluate.run import evaluate
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import save_model
from thinkling.problem import Problem
from thinkling.report import scale_page, scale_terminal
from thinkling.scale.direct import Direct
from thinkling.scale.failures import Failure, too_long
from thinkling.scale.vote import SelfConsistency
from thinkling.train.rl.curriculum import Curriculum

Handler = Callable[[dict], tuple[int, dict]]


class Server(ThreadingHTTPServer):
    """Answers "What is N + N?" as `answer` says; `bodies` are the requests it was sent."""

    daemon_threads = True

    def __init__(self, answer: Handler) -> None:
        super().__init__(("127.0.0.1", 0), Request)
        self.answer, self.bodies = answer, []
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: object) -> None:
        """A client that has ended the run hangs up in the middle of other answers: no traceback on standard error."""
        if not isinstance(sys.exception(), ConnectionError):
            raise


class Request(BaseHTTPRequestHandler):
    server: Server

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.bodies.append(body)
        status, answer = self.server.answer(body)
        content = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def serve() -> Iterator[Callable[[Handler], Server]]:
    servers: list[Server] = []

    def start(answer: Handler) -> Server:
        servers.append(Server(answer))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
        return servers[-1]

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def right(body: dict) -> tuple[int, dict]:
    """Only text: this server gives no log-probabilities, and adds them up rightly."""
    number = int(re.findall(r"\d+", body["prompt"])[-1])
    choice = {"text": rf"\boxed{{{2 * number}}}", "finish_reason": "stop", "logprobs": None}
    return 200, {"choices": [choice], "usage": {"prompt_tokens": 9, "completion_tokens": 5}}


def but(number: int, status: int, answer: dict) -> Handler:
    """All are answered rightly but this one."""
    return lambda body: (status, answer) if f"is {number} +" in body["prompt"] else right(body)


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    path = tmp_path / "sums.jsonl"
    rows = [{"question": f"What is {i} + {i}?", "reference": str(2 * i)} for i in range(20)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def rows_of(path: Path) -> list[dict]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def run(command: str, server: Server, tasks: Path, out: Path, *more: str) -> None:
    cli.main([command, "--server", server.url, "--model", "m", "--tasks", str(tasks), "--out", str(out), *more])


@pytest.fixture
def no_pictures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What scale draws takes seconds, and is looked at elsewhere."""
    for name, home in (("write_page", scale_page), ("write_pngs", scale_page), ("terminal", scale_terminal)):
        monkeypatch.setattr(home, name, lambda *arguments: [])


# --- a server that gives no log-probabilities -----------------------------------------------------------------------


@pytest.mark.parametrize("method", ["direct", "self-consistency", "adaptive", "best-of-n:heuristic"])
def test_eval_needs_no_logprobs_where_the_method_needs_none(
    method: str, serve: Callable, tasks: Path, tmp_path: Path
) -> None:
    server = serve(right)
    name, _, scorer = method.partition(":")
    flags = ["--scorer", scorer] if scorer else []
    run("eval", server, tasks, tmp_path / "out", "--method", name, "--num-samples", "2", "--num-problems", "3", *flags)
    assert json.loads((tmp_path / "out" / "report.json").read_text())["accuracy"] == 1.0
    assert {body["logprobs"] for body in server.bodies} == {1}  # taken where it is given, and not insisted on


@pytest.mark.parametrize(
    ("flags", "named"),
    [
        (["--method", "best-of-n", "--scorer", "confidence-mean"], "the scorer confidence-mean: needs log-prob"),
        (["--method", "self-consistency", "--scorer", "self-certainty"], "the scorer self-certainty: needs log-prob"),
        (["--method", "cot-decoding"], "cot-decoding: needs log-prob"),
        (["--method", "best-of-n", "--scorer", "p-true"], "the scorer p-true: needs log-prob"),
        (["--method", "best-of-n", "--scorer", "mean-logprob"], "the scorer mean-logprob needs numbers"),
    ],
)
def test_what_needs_logprobs_is_named(
    flags: list[str], named: str, serve: Callable, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit):
        run("eval", serve(right), tasks, tmp_path / "out", "--num-problems", "2", "--num-samples", "2", *flags)
    error = capsys.readouterr().err.strip()
    assert named in error and error.count("\n") == 0


@pytest.mark.usefixtures("no_pictures")
def test_scale_without_methods_asks_a_server_only_what_any_can_answer(
    serve: Callable, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    server = serve(right)
    run("scale", server, tasks, tmp_path / "out", "--num-problems", "2")
    names = {point["method"] for point in json.loads((tmp_path / "out" / "table.json").read_text())["points"]}
    assert {"plain, one answer", "plain, vote of n", "plain, best of n by heuristic"} <= names
    assert not any("logprob" in name or "deepconf" in name for name in names)
    with pytest.raises(SystemExit):
        run("scale", server, tasks, tmp_path / "out", "--methods", "direct", "best-of-n:confidence-mean=2")
    assert "the scorer confidence-mean: needs log-prob" in capsys.readouterr().err


# --- one bad problem ------------------------------------------------------------------------------------------------


def test_one_refused_of_twenty_is_named_and_the_others_are_kept(
    serve: Callable, tasks: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    """It was the end of the run, with nothing kept, and again after each restart."""
    out = tmp_path / "out"
    server = serve(but(7, 400, {"error": {"message": "this prompt is not allowed"}}))
    with pytest.raises(SystemExit):
        run("eval", server, tasks, out)
    error = capsys.readouterr().err
    assert "row 8 (sums/" in error and "this prompt is not allowed" in error and "--on-error skip" in error
    assert len(rows_of(out / "pool.jsonl")) == 1 + 19 and not (out / "report.json").exists()

    asked = len(server.bodies)
    run("eval", server, tasks, out, "--on-error", "skip")
    assert len(server.bodies) == asked + 1  # what was answered is not asked again
    report = json.loads((out / "report.json").read_text())
    assert (report["num_problems"], report["accuracy"]) == (19, 1.0)
    (failed,) = report["failed"]
    assert failed["row"] == 8 and failed["question"] == "What is 7 + 7?" and "not allowed" in failed["error"]
    assert [row["id"] for row in rows_of(out / "samples.jsonl") if row["status"] == "failed"] == [failed["id"]]
    said = capsys.readouterr().out
    assert "1 problem left out of every number above: row 8" in said and "row 8" in said


@pytest.mark.parametrize(
    ("status", "answer"),
    [
        (200, {"choices": [{"text": "I must not", "finish_reason": "content_filter"}]}),
        (200, {"choices": [{"finish_reason": "stop"}]}),
        (413, {"detail": "too large"}),
    ],
)
def test_what_else_is_skipped(status: int, answer: dict, serve: Callable, tasks: Path, tmp_path: Path) -> None:
    run("eval", serve(but(3, status, answer)), tasks, tmp_path / "out", "--on-error", "skip", "--num-problems", "5")
    report = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (report["num_problems"], report["accuracy"], len(report["failed"])) == (4, 1.0, 1)


@pytest.mark.usefixtures("no_pictures")
def test_scale_compares_the_problems_that_no_method_failed(serve: Callable, tasks: Path, tmp_path: Path) -> None:
    """The first method has answered problem 3 when the second fails on it: both are measured on the other four."""

    def answer(body: dict) -> tuple[int, dict]:
        refused = "step by step" in body["prompt"] and "is 3 +" in body["prompt"]
        return (400, {"error": {"message": "no"}}) if refused else right(body)

    server = serve(answer)
    methods = ["direct", "step-by-step", "self-consistency=1,2"]
    run("scale", server, tasks, tmp_path / "out", "--on-error", "skip", "--num-problems", "5", "--methods", *methods)
    table = json.loads((tmp_path / "out" / "table.json").read_text())
    assert {len(point["correct"]) for point in table["points"] if not point["oracle"]} == {4}
    assert [(failure["row"], failure["question"]) for failure in table["failed"]] == [(4, "What is 3 + 3?")]
    assert len(server.bodies) == 5 + 5 + 2 * 4  # each once: the pool answers the second time


def test_where_all_fail_there_is_no_report(tmp_path: Path) -> None:
    def fails(prompt: str, sampling: Sampling) -> Completion:
        raise UserError("no")

    with pytest.raises(UserError, match=r"none of 2 problems got an answer; row 1 \(a\): no"):
        evaluate(Scripted(fails), Direct(Sampling()), [Problem("a", "?", "1"), Problem("b", "?", "1")], skipped=[])


def test_what_is_everyones_failure_is_never_skipped() -> None:
    """A server that is gone would make all that is left of a run failures, and the run finished."""

    def gone(prompt: str, sampling: Sampling) -> Completion:
        if "b?" in prompt:
            raise FatalError("nobody there")
        return boxed(1, -1.0)

    skipped: list[Failure] = []
    with pytest.raises(FatalError, match=r"^nobody there$"):
        evaluate(Scripted(gone), Direct(Sampling()), [Problem("a", "a?", "1"), Problem("b", "b?", "1")],
                 skipped=skipped)  # fmt: skip
    assert not skipped


def test_a_bug_is_not_skipped() -> None:
    def broken(prompt: str, sampling: Sampling) -> Completion:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        evaluate(Scripted(broken), Direct(Sampling()), [Problem("a", "a?", "1")], skipped=[])


def test_the_first_failure_in_order_is_raised_and_the_rest_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run_module, "GRACE", 0.05)
    ended: list[str] = []

    class Slow(Scripted):
        async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
            try:
                await asyncio.sleep({"a": 0.02, "b": 0.0, "c": 0.01, "d": 60.0}[prompt])
            except asyncio.CancelledError:
                ended.append(prompt)
                raise
            if prompt in "ab":
                raise UserError("no")
            return boxed(1, -1.0)

    problems = [Problem(name, name, "1") for name in "abcd"]
    with pytest.raises(UserError, match=r"row 1 \(a\)"):
        evaluate(Slow(), Direct(Sampling(), "none"), problems)
    assert ended == ["d"]


# --- too long -------------------------------------------------------------------------------------------------------


def test_too_long_is_found_in_the_template_that_is_asked(tiny: LanguageModel) -> None:
    words = tiny.tokenizer.encode("Question: what\nAnswer:\n")
    problems = [Problem("a", "what", "1"), Problem("b", "what " * 600, "1"), Problem("c", "7" * 600, "1")]
    (failure, other) = too_long(tiny, ["plain"], problems)
    assert len(words) < 512 and (failure.id, failure.row) == ("b", 2) and other.row == 3
    assert re.search(r"tokens long, but the context holds 512.*raise --max-length", str(failure))
    whole = len(tiny.tokenizer.encode("Question: " + "7" * 200 + "\nAnswer:\n"))
    for limit, found in ((whole + 1, 0), (whole, 1)):  # one token at least must be left to answer with
        tiny.engine.max_length = limit
        assert len(too_long(tiny, ["plain", "plain"], [Problem("d", "7" * 200, "1")])) == found
    assert too_long(Scripted(), ["plain"], problems) == []  # a server's


@pytest.fixture
def checkpoint(tiny: LanguageModel, tmp_path: Path) -> Path:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    return tmp_path / "model"


@pytest.fixture
def with_a_long_one(tmp_path: Path) -> Path:
    path = tmp_path / "mixed.jsonl"
    rows = [{"question": q, "reference": "2"} for q in ("1 + 1?", "7 " * 3000, "3 - 1?")]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@pytest.mark.usefixtures("no_pictures")
@pytest.mark.parametrize("command", ["eval", "scale"])
def test_a_question_that_is_too_long_is_said_before_any_work(
    command: str, checkpoint: Path, with_a_long_one: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    out = tmp_path / "out"
    flags = ["--model", str(checkpoint), "--tasks", str(with_a_long_one), "--out", str(out), "--max-tokens", "4"]
    flags += ["--methods", "direct"] if command == "scale" else []
    with pytest.raises(SystemExit):
        cli.main([command, *flags])
    error = capsys.readouterr().err
    assert "row 2 (mixed/" in error and "tokens long" in error and "--max-length" in error
    assert not (out / "pool.jsonl").exists()
    cli.main([command, *flags, "--on-error", "skip"])
    written = json.loads((out / ("report.json" if command == "eval" else "table.json")).read_text())
    assert [failure["row"] for failure in written["failed"]] == [2]


@pytest.mark.parametrize("held_out", ["builtin", "another"])
def test_grpo_trains_on_the_others(held_out: str, tiny: LanguageModel, with_a_long_one: Path, tmp_path: Path) -> None:
    """It used to die when that problem's turn came."""
    another = tmp_path / "another.jsonl"
    another.write_text(
        with_a_long_one.read_text().replace("1 + 1", "1 + 9").replace("3 - 1", "3 - 9").replace("7 7", "8 8")
    )
    files = {"tasks": (str(with_a_long_one),), "held_out": str(another) if held_out == "another" else "builtin"}
    settings = Grpo(out=tmp_path / "run", steps=2, prompts_per_step=3, rollouts_per_prompt=2, max_tokens=4,
                    eval_every=2, eval_problems=3, eval_samples=1, preflight=False, **files)  # fmt: skip
    with pytest.raises(UserError, match=r"mixed.jsonl, row 2 .*tokens long.*--on-error skip"):
        grpo.train(settings, tiny)
    assert not settings.out.exists()
    grpo.train(replace(settings, on_error="skip"), tiny)
    asked = {row["question"] for row in rows_of(settings.out / "samples.jsonl")}
    assert asked == {"1 + 1?", "3 - 1?"}
    (failed,) = {row["row"] for row in json.loads((settings.out / "failed.json").read_text())}
    assert failed == 2
    measured = rows_of(settings.out / "validation.jsonl")
    assert {row["num_problems"] for row in measured} == {2 if held_out == "another" else 3}


def test_preflight_skips_them_too(tiny: LanguageModel, with_a_long_one: Path, tmp_path: Path) -> None:
    settings = Grpo(out=tmp_path, tasks=(str(with_a_long_one),), rollouts_per_prompt=2, max_tokens=4)
    with pytest.raises(UserError, match=r"was answered right|are cut off"):  # it has asked, and found a random model
        rl_steps.examine(settings, tiny, frozenset({"7 " * 3000}))


def test_a_file_of_which_nothing_can_be_asked(tmp_path: Path) -> None:
    path = tmp_path / "one.jsonl"
    path.write_text('{"question": "1?", "reference": "1"}\n')
    with pytest.raises(UserError, match="none of its problems can be asked"):
        Curriculum((str(path),), 0, False, frozenset({"1?"}))


def test_a_vote_of_which_one_sample_fails_fails(tmp_path: Path) -> None:
    """Half a vote is another method, and would pass for the whole one."""
    answers = iter([boxed(1, -1.0), UserError("timed out"), *[boxed(2, -1.0)] * 2])

    def script(prompt: str, sampling: Sampling) -> Completion:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    skipped: list[Failure] = []
    problems = [Problem("a", "a?", "1"), Problem("b", "b?", "2")]
    report, samples = evaluate(Scripted(script), SelfConsistency(Sampling(), 2), problems, tmp_path, skipped=skipped)
    assert [failure.id for failure in skipped] == ["a"] and [sample.problem.id for sample in samples] == ["b"]
    assert (report.num_problems, report.accuracy) == (1, 1.0)
