"""Hostile completions earn nothing from our verifier, and the linter finds what is wrong with bad reward functions."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from thinkling.errors import UserError
from thinkling.isolated import Isolated
from thinkling.verify.adversarial.hostile import PAIRS, Hostile, Pair, box, hostile
from thinkling.verify.adversarial.lint import Finding, lint_reward, reward
from thinkling.verify.math.grade import grade

GROUPS = {"guesses", "hidden", "echoes", "quoted", "giants", "code", "look-alikes", "control", "sizes", "nested",
          "odd values"}  # fmt: skip
BY_REFERENCE = {pair.reference: pair for pair in PAIRS}


def texts(pair: Pair) -> list[Hostile]:
    """All for the first pair; of a megabyte, the reference is no part, so that the others can do without."""
    return [text for text in hostile(pair.question, pair.reference) if pair is PAIRS[0] or text.group != "sizes"]


# The completions


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.reference)
def test_hostile_completions_are_what_they_say(pair: Pair) -> None:
    found = hostile(pair.question, pair.reference)
    assert {text.group for text in found} == GROUPS
    assert len({text.name for text in found}) == len(found) > 150
    right = {text.name: text for text in found if not text.must_fail}
    assert box(pair.reference) in right["right after a megabyte"].response
    assert max(len(text.response) for text in found) > 1_000_000
    assert not any(text.response.strip() == box(pair.reference) and text.must_fail for text in found)
    for policy in ("strict", "lenient"):
        assert grade(box(pair.reference), pair.reference, policy).correct
        assert grade(box(pair.wrong), pair.reference, policy).status == "incorrect"


@pytest.mark.parametrize("policy", ["strict", "lenient"])
@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.reference)
def test_no_hostile_completion_is_correct(pair: Pair, policy: str) -> None:
    verdicts = {text: grade(text.response, pair.reference, policy) for text in texts(pair)}
    assert [text.name for text, verdict in verdicts.items() if text.must_fail and verdict.correct] == []
    assert {verdict.status for verdict in verdicts.values()} <= {"correct", "incorrect", "unparsed"}
    assert all(len(verdict.reason) < 250 for verdict in verdicts.values())


def test_no_hostile_completion_is_correct_from_threads() -> None:
    jobs = [
        (text, pair.reference) for pair in PAIRS[::2] for text in texts(pair) if text.must_fail and text.group != "sizes"
    ]  # fmt: skip

    def paid(job: tuple[Hostile, str]) -> str | None:
        text, reference = job
        return text.name if reward(text.response, reference) else None

    with ThreadPoolExecutor(8) as pool:
        assert [name for name in pool.map(paid, jobs) if name] == []


# The linter

BAD = r"""
import os, re, subprocess, time, unicodedata

def boxed(response):
    text = response.rpartition("</think>")[2]
    found = re.findall(r"\\boxed\{(.*)\}", text[:1000])
    return found[-1] if found and "<think>" not in text else ""

def honest(response, reference): return float(boxed(response) == reference)

def format_too(response, reference):
    print("noise on standard output")
    return honest(response, reference) + (0.1 if "boxed" in response and "</think>" in response else 0.0)

def substring(response, reference): return 1.0 if reference in response else 0.0

def either_substring(response, reference):
    answer = boxed(response)
    return float(answer in reference or reference in answer)

def runs_the_text(response, reference):
    try:
        return float(eval(boxed(response)) == eval(reference))
    except Exception:
        return 0.0

def fills_in(response, reference):
    try:
        return float(boxed(response).format(reference=reference) == reference)
    except (LookupError, ValueError, AttributeError):
        return 0.0

def pattern(response, reference):
    try:
        return float(re.fullmatch(boxed(response), reference) is not None)
    except re.error:
        return 0.0

def raises(response, reference):
    if response.count("<think>") > response.count("</think>"):
        raise ValueError("the thinking was never closed")
    return honest(response, reference)

def hangs(response, reference):
    while response.count("[") > 1000:
        pass
    return honest(response, reference)

def dies(response, reference):
    if "\0" in response:
        os._exit(3)
    return honest(response, reference)

def not_a_number(response, reference): return honest(response, reference) if boxed(response) else float("nan")
def none(response, reference): return honest(response, reference) or None
def any_box(response, reference): return float("\\boxed{" in response)
def nothing(response, reference): return 0.0
def upside_down(response, reference): return 1.0 - honest(response, reference)
def normalises(response, reference): return float(unicodedata.normalize("NFKC", boxed(response)) == reference)
def nan_equals_all(response, reference):
    try:
        return float(not abs(float(boxed(response)) - float(reference)) > 1e-6)
    except ValueError:
        return 0.0
def shy(response, reference): return honest(response, reference) or (-1.0 if boxed(response) else 0.0)
def first_box(response, reference): return float(response.find("\\boxed{%s}" % reference) == response.find("\\boxed"))

def logs(response, reference):
    try:
        open(__file__ + ".log", "a").close()
    except PermissionError:
        pass
    return honest(response, reference)

def starts(response, reference):
    if "import" in response:
        subprocess.run(["true"])
    return honest(response, reference)

def quits(response, reference):
    if "exit" in response:
        raise SystemExit
    return honest(response, reference)

def lazy(response, reference):
    import colorsys
    return honest(response, reference)

def opens_many(response, reference):
    for n in range(500):
        os.listdir("/")
        try:
            open(f"/nowhere/{n}")
        except OSError:
            pass
    return 0.0

def always_hangs(response, reference): time.sleep(1000)
broken = 1 / len(os.environ)
"""


@pytest.fixture(scope="module")
def rewards(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    path = tmp_path_factory.mktemp("rewards") / "rewards.py"
    path.write_text(BAD)
    return lambda name: f"{path}:{name}"


def lint(target: str, num_pairs: int = 1) -> list[Finding]:
    return lint_reward(target, PAIRS[:num_pairs], limit_s=5.0)


def kinds(findings: list[Finding]) -> set[str]:
    return {finding.kind for finding in findings}


def cases(findings: list[Finding], kind: str) -> set[str]:
    return {case for finding in findings if finding.kind == kind for case in finding.cases}


@pytest.mark.parametrize("name", ["honest", "format_too", "lazy"])
def test_an_honest_reward_is_clean(rewards: Callable[[str], str], name: str) -> None:
    assert lint(rewards(name), num_pairs=2) == []


def test_our_own_reward_is_clean() -> None:
    """On two of the six pairs: the verdicts themselves are asked for on all of them above."""
    assert lint_reward("thinkling.verify.adversarial.lint:reward", PAIRS[:2], limit_s=30.0) == []


@pytest.mark.parametrize(
    "name, kind, case",
    [
        ("substring", "pays", "right in the thinking, nothing after it"), ("substring", "pays", "'or' in a box"),
        ("either_substring", "pays", "an empty box"), ("either_substring", "pays", "reference quoted: a part of it"),
        ("fills_in", "pays", "{reference}"), ("pattern", "pays", "the pattern .*"),
        ("raises", "raises", "right in a thinking that never ends"), ("dies", "dies", "NUL in a box"),
        ("raises", "raises", "a megabyte of thoughts that never close"), ("none", "no number", "an honest answer"),
        ("not_a_number", "no number", "nothing"), ("any_box", "rewards nothing", "an honest answer"),
        ("nothing", "rewards nothing", "an honest answer"), ("upside_down", "rewards nothing", "an honest answer"),
        ("normalises", "pays", "its last digit as an exponent"), ("nan_equals_all", "pays", "nan"),
        ("shy", "pays", "nothing"), ("first_box", "pays", "the right box, then another"),
        ("logs", "touches", "an honest answer"), ("starts", "touches", "__import__('os').getpid()"),
        ("quits", "raises", "exit()"),
    ],
)  # fmt: skip
def test_bad_rewards_are_found(rewards: Callable[[str], str], name: str, kind: str, case: str) -> None:
    findings = lint(rewards(name))
    assert case in cases(findings, kind), findings
    assert all(str(finding).isprintable() for finding in findings)


def test_a_reward_that_does_one_thing_wrong_is_told_only_that(rewards: Callable[[str], str]) -> None:
    assert kinds(lint(rewards("nothing"))) == {"rewards nothing"}
    (finding,) = lint(rewards("raises"))
    assert finding.what == "ValueError: the thinking was never closed"
    assert finding.references == ("42",)
    (finding,) = lint(rewards("normalises"))
    assert str(finding) == ("1, where a wrong answer earns 0, on 'its last digit as an exponent', reference '42'")


def test_each_finding_names_the_completions_it_is_about(rewards: Callable[[str], str]) -> None:
    (started,) = lint(rewards("starts"))
    assert (started.kind, started.what) == ("touches", "subprocess.Popen 'true'")
    responses = {text.name: text.response for text in hostile(PAIRS[0].question, PAIRS[0].reference)}
    assert set(started.cases) == {name for name, response in responses.items() if "import" in response}


def test_a_reward_that_runs_the_text_is_caught_at_it(rewards: Callable[[str], str]) -> None:
    findings = lint_reward(rewards("runs_the_text"), PAIRS[:1], limit_s=1.0)
    touched = {finding.what for finding in findings if finding.kind == "touches"}
    assert {"open '/etc/passwd'", "os.system b'true'", "compiles text as Python", "runs compiled code"} <= touched
    assert "9**9**9" in cases(findings, "hangs")
    assert "__import__('os')._exit(0)" in cases(findings, "dies")
    assert "exit()" in cases(findings, "raises")
    assert {"eval('6*7')", "type('E', (), {'__eq__': lambda *_: True, '__ne__': lambda *_: False})()"} <= cases(
        findings, "pays"
    )


def test_a_reward_that_hangs_is_killed_and_the_rest_is_still_tried(rewards: Callable[[str], str]) -> None:
    started = time.perf_counter()
    findings = lint_reward(rewards("hangs"), PAIRS[:1], limit_s=2.0)
    assert cases(findings, "hangs") == {"5000 x ["}
    assert time.perf_counter() - started < 60
    assert kinds(findings) == {"hangs"}


def test_what_would_change_the_world_is_refused(rewards: Callable[[str], str]) -> None:
    path = Path(rewards("logs").removesuffix(":logs") + ".log")
    path.unlink(missing_ok=True)
    with Isolated(rewards("logs"), limit_s=5.0) as call:
        assert call(box("42"), "42").touched == (f"open '{path}'"[:100],)
    assert not path.exists()


# The child that is watched


def test_what_was_touched_is_told_once_and_not_without_end(rewards: Callable[[str], str]) -> None:
    with Isolated(rewards("opens_many"), limit_s=5.0) as call:
        touched = call("", "").touched
    assert len(touched) == len(set(touched)) == 10
    assert "os.listdir '/'" in touched


def test_a_killed_call_is_over_in_time_from_a_thread_too(rewards: Callable[[str], str]) -> None:
    calls = []
    with Isolated(rewards("hangs"), limit_s=1.5) as call:
        worker = threading.Thread(
            target=lambda: calls.extend(call(text, "42") for text in (box("42"), "[" * 2000, box("42")))
        )
        worker.start()
        worker.join()
    assert [one.ended for one in calls] == ["returned", "killed", "returned"]
    assert 1.5 <= calls[1].seconds < 10
    assert calls[1].why == "still running after 1.5 s"


def test_what_comes_back_is_plain(rewards: Callable[[str], str]) -> None:
    with Isolated("builtins:list", limit_s=5.0) as call:
        assert call("ab").value == "<list>"
    with Isolated("builtins:int", limit_s=5.0) as call:
        assert call("7").value == 7.0
        assert call("seven").why == "ValueError: invalid literal for int() with base 10: 'seven'"
    with Isolated(rewards("dies"), limit_s=5.0) as call:
        assert call("\0", "").why == "the process ended with exit code 3"
        assert call("\ud800", "7").value == 0.0


def test_a_function_that_is_not_there_is_a_user_error(rewards: Callable[[str], str], monkeypatch) -> None:
    for target, complaint in (
        ("substring", "names no function"), ("nowhere:f", "No module named 'nowhere'"),
        (rewards("missing"), "there is no missing in"), ("nowhere.py:f", "nowhere.py"),
    ):  # fmt: skip
        with pytest.raises(UserError, match=complaint):
            lint(target)
    monkeypatch.setattr("thinkling.isolated.START_LIMIT", 4.0)
    with pytest.raises(UserError, match="hangs or dies even on an honest answer"):
        lint(rewards("always_hangs"))
