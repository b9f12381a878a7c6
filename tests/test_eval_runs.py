"""`thinkling eval`, `regrade` and `compare`: repeats, runs that survive, and what may be said of two of them."""

import asyncio
import json
import os
import subprocess
import time
from dataclasses import asdict
from pathlib import Path
from random import Random

import forked
import pytest
from no_room import room_for
from scripted import Scripted, boxed, said
from scripted_runs import adds, run, write_tasks

from thinkling import cli, runs
from thinkling.commands import load
from thinkling.errors import FatalError, UserError
from thinkling.evaluate import manifest
from thinkling.evaluate.compare import compare_all, compared
from thinkling.evaluate.run import SECONDS, loops, seconds_before, thinking_tokens
from thinkling.evaluate.saved import read_run
from thinkling.evaluate.stats import paired_p_value
from thinkling.generate.completion import Completion
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.openai.balanced import BalancedModel
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import save_model
from thinkling.report.compare_words import sentences
from thinkling.report.eval_words import where_noise_comes_from

KILLS = int(os.environ.get("KILLS", "1"))  # of the real command, at random moments: some seconds each
KILL_SEED = int(os.environ.get("KILL_SEED", "0"))


@pytest.fixture
def tasks(tmp_path: Path) -> Path:
    return write_tasks(tmp_path / "sums.jsonl")


def report_in(folder: Path) -> dict:
    return json.loads((folder / "report.json").read_text())


def without_times(folder: Path) -> dict:
    return {name: value for name, value in report_in(folder).items() if name not in ("seconds", "wall_seconds")}


def rows_in(folder: Path) -> list[dict]:
    found = [json.loads(line) for line in (folder / "samples.jsonl").read_text().splitlines()]
    return sorted(found, key=lambda row: (row["row"], row["sample"]))


def fails(capsys: pytest.CaptureFixture, *arguments: object) -> str:
    capsys.readouterr()
    with pytest.raises(SystemExit) as end:
        cli.main([str(argument) for argument in arguments])
    assert end.value.code == 2
    return capsys.readouterr().err


# --- repeats --------------------------------------------------------------------------------------------------------


def test_repeats_are_the_samples_of_a_vote(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """maj@n of n repeats is what self-consistency with n samples scores, and avg@n the mean of what was verified."""
    own = run(monkeypatch, adds(0.8), tasks, tmp_path / "own", "--num-samples", "5")
    shown = capsys.readouterr().out
    vote = run(monkeypatch, adds(0.8), tasks, tmp_path / "vote", "--num-samples", "5", "--method", "self-consistency")
    details = report_in(own)["details"]
    right = [row["status"] == "correct" for row in rows_in(own)]
    assert len(right) == 60 and details["num_samples"] == 5
    assert details["accuracy"]["value"] == pytest.approx(sum(right) / 60) == pytest.approx(report_in(own)["accuracy"])
    assert 0.2 < details["accuracy"]["value"] < details["maj_at"]["5"]["value"] == report_in(vote)["accuracy"]
    by_problem = [right[i : i + 5] for i in range(0, 60, 5)]
    assert details["pass_at"][4]["value"] == pytest.approx(sum(map(any, by_problem)) / 12)
    assert [one["num_correct"] for one in details["problems"]] == [sum(row) for row in by_problem]
    assert f"avg@5 {details['accuracy']['value']:.1%}" in shown and "The standard error is" in shown
    assert {part["name"] for part in details["parts"]["subject"]} == {"even", "odd"}


def test_repeats_of_a_method_that_revises_have_seeds_of_their_own(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Scripted(lambda prompt, sampling: boxed(sampling.seed % 7, -1.0))
    out = run(monkeypatch, model, tasks, tmp_path / "out", "--method", "refine", "--num-samples", "2")
    assert len({sampling.seed for _, sampling in model.asked}) == len(model.asked) == 12 * 2 * 3
    assert len(rows_in(out)) == 24 and {sampling.temperature for _, sampling in model.asked} == {1.0}


def test_repeats_that_would_be_one_text_are_refused(tasks: Path, capsys: pytest.CaptureFixture) -> None:
    line = fails(capsys, "eval", "--tasks", tasks, "--out", "x", "--num-samples", 2, "--temperature", 0)
    assert "temperature 0 makes every sample alike" in line


def test_a_problem_that_fails_once_is_left_out_whole(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def answer(prompt: str, sampling: Sampling) -> Completion:
        if "is 3 +" in prompt and sampling.seed % 2:
            raise UserError("not this one")
        return boxed(2, -1.0)

    out = run(monkeypatch, Scripted(answer), tasks, tmp_path / "out", "--num-samples", "4", "--on-error", "skip")
    report, saved = report_in(out), read_run(out)
    assert report["num_problems"] == 11 and [failure["row"] for failure in report["failed"]] == [4]
    assert {row["row"] for row in saved.rows} == set(range(1, 13)) - {4} and len(saved.rows) == 44
    assert json.loads(runs.to_json(asdict(saved.details))) == report["details"]


def test_the_sentence_on_noise() -> None:
    """All problems alike: what varies is sampling. Each problem always or never right: more samples bring nothing."""
    from thinkling.evaluate.details import details_of

    def rows(right: list[list[bool]]) -> list[dict]:
        completion = {"finish_reason": "stop", "num_tokens": 3, "logprob": -1.0}
        return [
            {"id": f"p{i}", "row": i, "sample": n, "question": "?", "reference": "1", "answer": str(int(yes)),
             "status": "correct" if yes else "incorrect", "completions": [completion]}
            for i, own in enumerate(right) for n, yes in enumerate(own)
        ]  # fmt: skip

    random = Random(0)
    alike = where_noise_comes_from(details_of(rows([[random.random() < 0.5 for _ in range(4)] for _ in range(40)])))
    apart = where_noise_comes_from(details_of(rows([[i % 2 == 0] * 4 for i in range(40)])))
    assert "more samples would help, down to" in alike
    # Half right of 40: sqrt(1/4 · 40/39 / 40) = 8.0 points; twice as many problems: 5.7.
    assert (
        "error is 8.0 points; 0% of the variance comes from sampling" in apart
        and "problems to 5.7: ask more prob" in apart
    )


# --- what was cut off -----------------------------------------------------------------------------------------------


def test_a_run_of_cut_off_answers_is_loud_and_can_fail(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """One in four answers is cut off in a loop; of the others all are right."""

    def answer(prompt: str, sampling: Sampling) -> Completion:
        number = int(prompt.split(" + ")[1].split("?")[0])
        if number % 4 == 0:
            return Completion((1,), (5, 6) * 30, (-0.1,) * 60, "length", "so so " * 30)
        return boxed(2 * number, -1.0)

    with pytest.raises(SystemExit) as end:
        run(monkeypatch, Scripted(answer), tasks, tmp_path / "out", "--fail-on-truncation")
    shown = " ".join(capsys.readouterr().out.split())
    assert end.value.code == 1
    assert "⚠ 25.0%" in shown and "⚠ 25.0% of the completions went round in a loop" in shown
    assert "Of the 9 responses (of 12) that were finished, 100.0% [70.1, 100.0] are right." in shown
    details = report_in(tmp_path / "out")["details"]
    assert (details["truncated"], details["looping"], details["unparsed"]) == (0.25, 0.25, 0.25)
    assert "⚠ 25.0% of the completions were cut off" in (tmp_path / "out" / "report.md").read_text()


def test_loops_and_thinking_are_seen() -> None:
    def cut(tokens: tuple[int, ...], finish: str = "length", text: str = "") -> Completion:
        return Completion((1,), tokens, (), finish, text)

    assert loops(cut((9, 9, 9, *(1, 2, 3) * 11)))
    assert not loops(cut((1, 2, 3) * 3)) and not loops(cut((1, 2, 3) * 11, "stop")) and not loops(cut((7,) * 31))
    assert loops(cut((-1,) * 9, text="I think. " * 9)) and not loops(cut((-1,) * 90, text="".join(map(str, range(99)))))
    model = Scripted()
    whole = said("<think>ab</think>\\boxed{1}", *[-0.1] * 6, pieces=("<think>", "a", "b", "</think>", "\\boxed{", "1}"))
    assert thinking_tokens(whole, model) == 3
    assert thinking_tokens(said("<think>never ends", -1.0, -1.0), model) == 2
    assert thinking_tokens(said("no thinking", -1.0, -1.0), model) == 0
    assert thinking_tokens(said("<think>abc</think>" + "d" * 22, *[-0.1] * 20), None) == 5  # 10 of 40 characters


# --- runs that survive ----------------------------------------------------------------------------------------------


def slowly(*words: str) -> None:
    """The command with a model that answers one request at a time."""
    model, gate = adds(0.8), asyncio.Semaphore(1)
    answer = model.complete

    async def one_by_one(prompt: str, sampling: Sampling) -> Completion:
        async with gate:
            await asyncio.sleep(0.06)
            return await answer(prompt, sampling)

    model.complete = one_by_one
    load.model_of = lambda settings: model
    cli.main(list(words))


def test_killed_at_any_moment_and_resumed(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """Killed with SIGKILL while answers come in, one by one; then the same command again, to the end."""
    whole = run(monkeypatch, adds(0.8), tasks, tmp_path / "whole" / "run", "--num-samples", "3")
    random = Random(KILL_SEED)
    for number in range(KILLS):
        out = tmp_path / f"killed-{number}" / "run"
        flags = ["eval", "--tasks", str(tasks), "--num-samples", "3", "--out", str(out)]
        process = forked.start(tmp_path / "said", slowly, *flags)
        while not (out / "samples.jsonl").exists() and process.is_alive():
            time.sleep(0.01)
        time.sleep(random.random() * 0.5)
        process.kill()
        process.join(60)
        assert (out / "samples.jsonl").exists() and not (out / "report.json").exists()
        kept = len((out / "pool.jsonl").read_bytes().splitlines())
        model = adds(0.8)
        run(monkeypatch, model, tasks, out, "--num-samples", "3")
        assert len(model.asked) in (36 - (kept - 1), 36 - (kept - 1) + 1)  # one line may have been half written
        assert without_times(out) == without_times(whole) and rows_in(out) == rows_in(whole)
        for name in ("report.md", "manifest.json"):
            assert (out / name).read_text() == (whole / name).read_text()


def test_a_full_disk_keeps_all_so_far(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """A row is written in part, and then no more."""
    with room_for(2500), pytest.raises(SystemExit) as end:
        run(monkeypatch, adds(0.8), tasks, tmp_path / "out", "--num-samples", "3")
    assert end.value.code == 2
    assert "File too large: make room there" in capsys.readouterr().err
    kept = [json.loads(line) for line in (tmp_path / "out" / "pool.jsonl").read_text().splitlines()]
    assert 2 < len(kept) < 36
    model = adds(0.8)
    run(monkeypatch, model, tasks, tmp_path / "out", "--num-samples", "3")
    assert len(model.asked) == 36 - (len(kept) - 1)
    other = run(monkeypatch, adds(0.8), tasks, tmp_path / "whole", "--num-samples", "3")
    assert without_times(tmp_path / "out") == without_times(other)


def test_to_look_at_the_checkout_changes_nothing_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a full disk `git status` left its lock, and whoever committed next was refused."""
    file = tmp_path / "thinkling" / "__init__.py"
    file.parent.mkdir()
    file.write_text("")
    git = ["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b"]
    for words in (["init", "-q"], ["add", "."], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True)
    os.utime(file, (1, 1))  # so that the index would be written anew
    monkeypatch.setattr(manifest.thinkling, "__file__", str(file))
    with room_for(10):
        found = manifest.git_state()
    assert found is not None and not found["changed"] and not (tmp_path / ".git" / "index.lock").exists()


def test_a_half_line_of_seconds_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / SECONDS
    runs.append_jsonl(path, [{"seconds": 1.5}, {"seconds": 2.5}])
    whole = path.read_bytes()
    for kept, seconds in ((len(whole) - 1, 1.5), (len(whole) // 2 - 1, 0.0), (3, 0.0)):
        path.write_bytes(whole[:kept])
        assert seconds_before(tmp_path) == seconds
        runs.append_jsonl(path, [{"seconds": 9.0}])  # a line of its own, not the rest of the other one
        assert seconds_before(tmp_path) == 9.0


def test_a_row_that_has_no_room_leaves_no_half(tmp_path: Path) -> None:
    """Half a row was left, and the next, shorter one was written behind it: the file could not be read any more."""
    path = tmp_path / "rows.jsonl"
    runs.append_jsonl(path, [{"a": 1}])
    with room_for(40):
        with pytest.raises(UserError, match="File too large"):
            runs.append_jsonl(path, [{"a": "x" * 60}])
        runs.append_jsonl(path, [{"b": 2}])
    assert list(runs.read_jsonl(path)) == [{"a": 1}, {"b": 2}]


def test_a_run_goes_on_only_with_the_same_problems(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    """The file has the same name, and other rows."""
    broken = Scripted(lambda prompt, sampling: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run(monkeypatch, broken, tasks, tmp_path / "out")
    tasks.write_text(tasks.read_text().replace('"reference": "4"', '"reference": "5"'))
    with pytest.raises(SystemExit):
        run(monkeypatch, adds(1), tasks, tmp_path / "out")
    assert "holds an unfinished run with another problems.sha256 (" in capsys.readouterr().err


def test_what_may_differ_when_a_run_goes_on_is_written_down(tmp_path: Path) -> None:
    path, made_of = tmp_path / "manifest.json", {"model": {"dtype": "float32"}, "packages": {"torch": "2"}, "git": None}
    manifest.keep(path, made_of)
    manifest.keep(path, made_of)
    for _ in range(2):  # the same difference is written down once
        manifest.keep(path, made_of | {"packages": {"torch": "3"}})
    assert json.loads(path.read_text()) == made_of | {"resumed": [{"packages.torch": "3"}]}
    with pytest.raises(UserError, match=r"another model.dtype \(float32, now bfloat16\): give it what it was begun"):
        manifest.keep(path, made_of | {"model": {"dtype": "bfloat16"}})


def test_the_manifest_names_what_was_read(tiny: LanguageModel, tmp_path: Path) -> None:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    before = manifest.model_files(tmp_path / "model")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= set(before)
    (tmp_path / "model" / "config.json").write_bytes((tmp_path / "model" / "config.json").read_bytes() + b" ")
    after = manifest.model_files(tmp_path / "model")
    assert {name for name in before if before[name] != after[name]} == {"config.json"}
    blob = tmp_path / ("a" * 64)  # as the Hub's cache keeps a file: a link to one that is named by its hash
    blob.write_text("x")
    (tmp_path / "linked").mkdir()
    (tmp_path / "linked" / "model.safetensors").symlink_to(blob)
    assert manifest.model_files(tmp_path / "linked") == {"model.safetensors": "a" * 64}


# --- judged anew ----------------------------------------------------------------------------------------------------


def test_regrade_says_what_changed_and_writes_it(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    out = run(monkeypatch, adds(0.8), tasks, tmp_path / "out", "--num-samples", "3")
    before, rows = report_in(out), rows_in(out)
    capsys.readouterr()
    cli.main(["regrade", str(out)])
    assert "0 verdicts of 36 changed" in capsys.readouterr().out
    place = next(n for n, row in enumerate(rows) if row["status"] == "correct")
    rows[place] |= {"status": "incorrect", "score": 0.0}  # as a verifier of earlier days might have said
    runs.write_jsonl(out / "samples.jsonl", rows)
    with pytest.raises(SystemExit) as end:
        cli.main(["regrade", str(out)])
    shown = capsys.readouterr().out
    assert end.value.code == 1 and f"row {rows[place]['row']} (" in shown and "incorrect -> correct" in shown
    runs.write_json(out / "report.json", before | {"accuracy": 0.0, "details": {}})
    cli.main(["regrade", str(out), "--write"])
    assert report_in(out) == before and f"accuracy {before['accuracy'] - 1 / 36:.1%}" in capsys.readouterr().out
    assert [row["status"] for row in rows_in(out)].count("correct") == round(36 * before["accuracy"])


def test_runs_of_earlier_versions_can_be_read(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = run(monkeypatch, adds(0.9), tasks, tmp_path / "out")
    old = [{name: value for name, value in row.items() if name not in ("row", "sample")} for row in rows_in(out)]
    runs.write_jsonl(out / "samples.jsonl", old)
    (out / "manifest.json").unlink()
    found = read_run(out)
    assert json.loads(runs.to_json(asdict(found.details))) == report_in(out)["details"] and found.manifest == {}


def test_what_is_no_run_is_named(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    assert "no such folder" in fails(capsys, "regrade", tmp_path / "none")
    assert "it holds no eval run" in fails(capsys, "compare", tmp_path, tmp_path)
    (tmp_path / "samples.jsonl").write_text("{}\n")
    assert "the run is not finished" in fails(capsys, "regrade", tmp_path)


# --- two runs -------------------------------------------------------------------------------------------------------


def test_compare_says_who_is_better_in_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    tasks = write_tasks(tmp_path / "sums.jsonl", 30)
    weak = run(monkeypatch, adds(0.5), tasks, tmp_path / "weak", "--num-samples", "4")
    strong = run(monkeypatch, adds(1.3), tasks, tmp_path / "strong", "--num-samples", "4")
    again = run(monkeypatch, adds(1.3), tasks, tmp_path / "again", "--num-samples", "4", "--seed", "1")
    capsys.readouterr()
    cli.main(["compare", str(weak), str(strong), str(again), "--out", str(tmp_path / "page.html")])
    shown = " ".join(capsys.readouterr().out.split())
    assert "strong is better than weak, by " in shown and "strong wins" in shown
    assert "again and strong cannot be told apart: the interval [" in shown and "holds zero" in shown
    found = compare_all([read_run(folder) for folder in (weak, strong, again)])
    smallest, middle, largest = sorted(found, key=lambda one: one.p)  # by hand: times 3, 2 and 1, never falling
    assert smallest.p_holm == pytest.approx(3 * smallest.p) and smallest.p > 0
    assert middle.p_holm == pytest.approx(max(2 * middle.p, smallest.p_holm)) and largest.p_holm == largest.p < 1
    one = found[0]
    shares = [[own["num_correct"] / 4 for own in report_in(folder)["details"]["problems"]] for folder in (weak, strong)]
    differences = [b - a for a, b in zip(*shares, strict=True)]
    assert one.difference == pytest.approx(sum(differences) / 30) and one.low < one.difference < one.high
    assert len(one.won) == sum(d > 0 for d in differences) and len(one.lost) == sum(d < 0 for d in differences)
    page = (tmp_path / "page.html").read_text()
    assert "is no .html file" in fails(capsys, "compare", weak, strong, "--out", tmp_path / "other.md")
    assert not (tmp_path / "other.md").exists()  # it wrote other.html
    assert "<script" not in page and "<svg" in page and json.loads((tmp_path / "page.json").read_text())[0]["won"]


def test_a_problem_that_both_answer_as_often_is_neither_won_nor_lost() -> None:
    def answers(**right: str) -> dict:
        return {
            (name, "1"): [
                {"id": name, "question": name, "reference": "1", "response": f"{name}{i}", "status": status}
                for i, status in enumerate("correct" if mark == "+" else "incorrect" for mark in marks)
            ]
            for name, marks in right.items()
        }

    first, second = (
        answers(won="--", tied="+-", lost="++", even="--"),
        answers(won="-+", tied="-+", lost="-+", even="--"),
    )
    one = compared(("a", "b"), first, second, list(first), 0.5, 0.5)
    assert [(d.id, d.first, d.second) for d in one.won] == [("won", 0.0, 0.5)]
    assert [(d.id, d.first, d.second) for d in one.lost] == [("lost", 1.0, 0.5)]
    assert (one.won[0].first_response, one.won[0].second_response) == ("won0", "won1")  # a wrong one and a right one
    assert (one.lost[0].first_response, one.lost[0].second_response) == ("lost0", "lost0")


def test_one_sample_each_is_mcnemars_test(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tasks = write_tasks(tmp_path / "sums.jsonl", 30)
    folders = [run(monkeypatch, adds(skill), tasks, tmp_path / str(skill)) for skill in (0.7, 1.0)]
    [one] = compare_all([read_run(folder) for folder in folders])
    assert one.p == one.p_holm == pytest.approx(paired_p_value(len(one.lost), len(one.won)))
    # Of n problems with variance s² of the differences, what is found 4 times in 5: (1.960 + 0.842) s / sqrt(n).
    spread = (len(one.won) + len(one.lost) - 30 * one.difference**2) / 29
    assert one.detectable == pytest.approx(2.8016 * (spread / 30) ** 0.5, rel=1e-3)
    assert one.enough == pytest.approx(2.8016**2 * spread / one.difference**2, abs=1)
    assert "With 30 problems a true difference of" in sentences(one)[1]


def test_compare_refuses_what_cannot_be_compared(
    tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    first = run(monkeypatch, adds(0.9), tasks, tmp_path / "first")
    fewer = run(monkeypatch, adds(0.9), tasks, tmp_path / "fewer", "--num-problems", "9")
    boxed_too = run(monkeypatch, adds(0.9), tasks, tmp_path / "template", "--template", "none")
    longer = run(monkeypatch, adds(0.9), tasks, tmp_path / "longer", "--max-tokens", "300")
    line = fails(capsys, "compare", first, fewer)
    assert "different problems: 3 are only in the first, 0 only in the second: --allow problems" in line
    assert "different prompts: plain and none: --allow prompts" in fails(capsys, "compare", first, boxed_too)
    assert "different budgets: max-tokens 384 and 300: --allow budgets" in fails(capsys, "compare", first, longer)
    assert "named twice" in fails(capsys, "compare", first, first)
    cli.main(["compare", *map(str, (first, fewer, boxed_too, longer)), "--allow", "problems", "prompts", "budgets"])
    assert "9 problems" in capsys.readouterr().out


# --- several servers ------------------------------------------------------------------------------------------------


class Stub(Scripted):
    """A server that takes a while, or is gone."""

    def __init__(self, gone: bool = False) -> None:
        super().__init__(lambda prompt, sampling: boxed(1, -1.0))
        self.gone = gone

    async def complete(self, prompt: str, sampling: Sampling) -> Completion:
        if self.gone:
            raise FatalError("nothing answers")
        return await super().complete(prompt, sampling)


def test_servers_share_the_work_and_one_may_go(tasks: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    servers = [Stub(), Stub(), Stub()]
    both = BalancedModel(servers, "m at a, b, c")
    run(monkeypatch, both, tasks, tmp_path / "out", "--num-samples", "4")
    assert both.num_asked == [16, 16, 16] == [len(server.asked) for server in servers]
    halved = BalancedModel([Stub(gone=True), Stub()], "m at a, b")
    with pytest.warns(UserWarning, match="nothing answers. It is not asked any more"):
        run(monkeypatch, halved, tasks, tmp_path / "other", "--num-samples", "4")
    assert len(halved.servers[1].asked) == 48
    with pytest.raises(SystemExit), pytest.warns(UserWarning):
        run(monkeypatch, BalancedModel([Stub(True), Stub(True)], "m"), tasks, tmp_path / "none")


def test_servers_are_told_by_commas(tmp_path: Path) -> None:
    from thinkling.commands.eval import Eval
    from thinkling.commands.load import model_of

    model = model_of(Eval(out=tmp_path, server="http://127.0.0.1:1, http://127.0.0.1:2", model="m"))
    assert isinstance(model, BalancedModel) and [server.name for server in model.servers] == [
        "m at http://127.0.0.1:1", "m at http://127.0.0.1:2"
    ]  # fmt: skip
