"""Where problems come from: files, and what may be wrong in them; reasoning-gym; a function. And commands on them."""

import json
import sys
from pathlib import Path
from statistics import fmean

import pytest

import thinkling.tasks
from thinkling import cli
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.weights import save_model
from thinkling.problem import Problem
from thinkling.tasks.benchmarks import load_problems
from thinkling.tasks.builtin import MAX_PROBLEMS, problems
from thinkling.train.rl.curriculum import Curriculum
from thinkling.verify.verifier import verify

# --- files ------------------------------------------------------------------------------------------------------------


def write(path: Path, *rows: object, start: str = "") -> str:
    lines = start + "".join(json.dumps(row) + "\n" for row in rows)
    path.write_bytes(lines.encode())
    return str(path)


def test_a_file_is_taken_whole(tmp_path: Path) -> None:
    """GSM8K's test file has 1,319 problems, and was cut to 500 without a word."""
    path = write(tmp_path / "many.jsonl", *({"question": f"{i}?", "reference": i} for i in range(1319)))
    assert len(load_problems(path)) == 1319
    assert len(load_problems(path, num_problems=7)) == 7 and len(load_problems(path, num_problems=10**9)) == 1319


def test_the_mark_of_excel_and_notepad_is_accepted(tmp_path: Path) -> None:
    row = {"question": "1 + 1?", "reference": "2"}
    (tmp_path / "rows.json").write_bytes(b"\xef\xbb\xbf" + json.dumps([row]).encode())
    for path in (write(tmp_path / "rows.jsonl", row, start="\ufeff"), str(tmp_path / "rows.json")):
        assert [(p.question, p.reference) for p in load_problems(path)] == [("1 + 1?", "2")]


@pytest.mark.parametrize(
    ("row", "why"),
    [
        ({"question": "a \ud800?", "reference": "1"}, "the field 'question' holds half a surrogate pair"),
        ({"question": "a?", "reference": "\udc00"}, "the field 'reference' holds half a surrogate pair"),
        ({"question": "a?", "reference": float("nan")}, "the field 'reference' holds NaN or an infinity"),
        ({"question": "a?", "reference": float("inf")}, "the field 'reference' holds NaN or an infinity"),
        ({"question": "a?", "verifier": "gym:gcd", "metadata": {"a": ["\ud800"]}}, "'metadata' holds half a surrogate"),
        ({"question": "a?", "reference": "1", "verifier": "maths"}, "there is no verifier 'maths': use math, choice,"),
        ({"question": "a?", "reference": "1", "verifier": "nobody.py:f"}, "there is no file nobody.py"),
        ({"question": "a?", "reference": "1", "verifier": 7}, "the field 'verifier' must be a name, not 7"),
        ({"question": "a?", "reference": "1", "metadata": [1]}, "the field 'metadata' must be an object"),
        ({"question": "a?", "verifier": "choice"}, "the field 'reference' (or 'answer') is missing or empty"),
    ],
)  # fmt: skip
def test_a_row_that_is_wrong_is_named(tmp_path: Path, row: dict, why: str) -> None:
    path = write(tmp_path / "rows.jsonl", {"question": "1 + 1?", "reference": "2"}, row)
    with pytest.raises(UserError) as error:
        load_problems(path)
    assert str(error.value).startswith(f"{path}, row 2: ") and why in str(error.value) and "\n" not in str(error.value)


def test_a_folder_says_so(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").mkdir()
    for source in (tmp_path, tmp_path / "rows.jsonl"):
        with pytest.raises(UserError, match=f"{source} is a folder"):
            load_problems(str(source))


@pytest.mark.parametrize("num", [10**9, MAX_PROBLEMS + 1, 0, -1, 2.5])
def test_the_number_is_checked_before_any_work(num: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("thinkling.tasks.builtin.stream", None)
    with pytest.raises(UserError, match="the number of problems must be"):
        load_problems("builtin", num_problems=num)


def test_the_default_is_the_built_in_suite() -> None:
    assert load_problems(num_problems=3) == problems("held-out", 3, suite="quantities")


def test_rows_name_their_verifier_and_what_it_needs(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(
        "def short(problem, response):\n    return len(response) < problem.metadata['most']\n"
    )
    path = write(
        tmp_path / "rows.jsonl",
        {"question": "Say little.", "verifier": "mine.py:short", "metadata": {"most": 4}},
        {"question": "Which? (A) 1 (B) 2", "answer": "B", "verifier": "choice"},
        {"question": "24?", "verifier": "gym:countdown", "metadata": {"numbers": [2, 3, 4], "target": 24}},
        {"question": "1/2?", "reference": 0.5},
    )  # fmt: skip
    found = load_problems(path)
    assert [p.reference for p in found] == ["", "B", "", "0.5"]
    assert Path(found[0].verifier.rpartition(":")[0]) == tmp_path / "mine.py"  # it lies beside the file
    for problem, right, wrong in zip(
        found,
        ("yes", "(B)", r"\boxed{4*3*2}", r"\boxed{1/2}"),
        ("yes, certainly", "(A)", r"\boxed{4+3+2}", "7"),
        strict=True,
    ):
        assert verify(problem, right).correct and not verify(problem, wrong).correct


def test_data_are_linted_by_each_rows_verifier(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    countdown = {"verifier": "gym:countdown", "metadata": {"numbers": [2, 3, 4], "target": 24}}
    path = write(
        tmp_path / "rows.jsonl",
        {"question": "?", "answer": "B", "verifier": "choice"},
        {"question": "?", "answer": "Paris", "verifier": "choice"},
        {"question": "?", "answer": "2*3*4"} | countdown,
        {"question": "?", "answer": "2*3+4"} | countdown,
        {"question": "?", "reference": float("nan")},
        {"question": "?", "reference": "\ud800"},
    )
    with pytest.raises(SystemExit):
        cli.main(["lint-data", path])
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(": ")[0].rpartition(" ")[2] for line in lines[:-1]] == ["2", "4", "5", "6"]
    assert "is no letter" in lines[0] and "gym:countdown scores it 0.05" in lines[1]
    assert "holds NaN or an infinity" in lines[2] and "holds half a surrogate pair" in lines[3]


def test_grade_asks_each_rows_verifier(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = [{"response": "(B)", "reference": ["C", "B"], "verifier": "choice"}, {"response": "B", "reference": "C"}]
    cli.main(["grade", write(tmp_path / "rows.jsonl", *rows), "--verbose"])
    statuses = [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()]
    assert statuses == ["correct", "incorrect"]


# --- sources that make problems ---------------------------------------------------------------------------------------


def test_a_gym_family_has_two_disjoint_splits_that_stay_the_same() -> None:
    held, train = (load_problems("gym:countdown", split, 4) for split in ("held-out", "train"))
    assert held == load_problems("gym:countdown", "held-out", 4)
    assert len({p.id for p in held + train}) == 8
    for problem in train:
        assert problem.question.endswith("Put your final answer, and nothing else, in \\boxed{}.")
        assert json.loads(json.dumps(problem.metadata)) == problem.metadata
        assert verify(problem, f"\\boxed{{{problem.reference}}}", "strict").correct
    with pytest.raises(UserError, match="unknown split 'unseen-templates' of gym:countdown"):
        load_problems("gym:countdown", "unseen-templates")
    with pytest.raises(UserError, match="makes no gym:composite without a configuration"):
        load_problems("gym:composite")
    with pytest.raises(UserError, match="reasoning-gym has no family 'no_such': use one of ab, acre"):
        load_problems("gym:no_such")


ROWS = """
from random import Random

def rows(split, seed):
    random = Random(f"{split}/{seed}")
    for _ in range(3):
        number = random.randrange(10**6)
        yield {"question": f"{number}?", "reference": number}

def nothing(split, seed):
    return []

def broken(split, seed):
    raise ValueError("no disk")
"""


def test_a_function_yields_rows(tmp_path: Path) -> None:
    (tmp_path / "mine.py").write_text(ROWS)
    source = f"{tmp_path / 'mine.py'}:rows"
    found = load_problems(source, "train")
    assert len(found) == 3 and found == load_problems(source, "train") != load_problems(source, "train", seed=1)
    assert [p.question for p in found] == [f"{p.reference}?" for p in found]
    again = Curriculum((source,), 0, by_spread=False).ask(5)  # it ends, and begins again
    assert len(set(again)) == 5
    for name, why in (
        ("nothing", "yields no rows"),
        ("broken", "makes no tasks: ValueError: no disk"),
        ("no", "AttributeError"),
    ):
        with pytest.raises(UserError, match=why):
            load_problems(f"{tmp_path / 'mine.py'}:{name}")


def test_a_new_kind_of_task_is_one_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "echo.py").write_text(
        "from thinkling.problem import Problem\n\n"
        "def problems_of(word, split, seed):\n    yield Problem(f'echo/{word}', f'Say {word}!', word, 'echo')\n"
    )
    monkeypatch.setattr(thinkling.tasks, "__path__", [*thinkling.tasks.__path__, str(tmp_path)])
    try:
        assert load_problems("echo:hi") == [Problem("echo/hi", "Say hi!", "hi", "echo")]
    finally:
        sys.modules.pop("thinkling.tasks.echo", None)
    with pytest.raises(
        UserError,
        match="unknown tasks 'builtin:x': use one of builtin, larger-numbers, quantities, longer-quantities, gym",
    ):
        load_problems("builtin:x")


# --- whole commands ---------------------------------------------------------------------------------------------------


@pytest.fixture
def checkpoint(tiny: LanguageModel, tmp_path: Path) -> str:
    save_model(tmp_path / "model", tiny.network, tiny.tokenizer)
    return str(tmp_path / "model")


@pytest.fixture
def vowels(tmp_path: Path) -> str:
    """A task with no right answer: the share of a response's characters that are an e."""
    (tmp_path / "vowels.py").write_text(
        "def score(problem, response):\n    return response.count('e') / max(len(response), 1)\n"
    )
    rows = [{"question": f"Write e {i} times.", "verifier": "vowels.py:score"} for i in range(4)]
    return write(tmp_path / "vowels.jsonl", *rows)


def test_eval_and_a_vote_on_countdown_and_on_a_users_function(
    checkpoint: str, vowels: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for drawing in ("write_page", "write_pngs"):  # slow, and no matter here
        monkeypatch.setattr(f"thinkling.report.scale_page.{drawing}", lambda *_: None)
    for tasks in ("gym:countdown", vowels):
        out = tmp_path / f"eval-{Path(tasks).stem[:3]}"
        common = ["--model", checkpoint, "--tasks", tasks, "--num-problems", "2", "--max-tokens", "4"]
        cli.main(["eval", *common, "--out", str(out)])
        rows = [json.loads(line) for line in (out / "samples.jsonl").read_text().splitlines()]
        assert len(rows) == 2 and {row["verifier"] for row in rows} == {
            load_problems(tasks, num_problems=1)[0].verifier
        }
        assert all(row["status"] in ("incorrect", "unparsed") and 0 <= row["score"] < 1 for row in rows)
        scale = [
            "--methods",
            "self-consistency=2",
            "best-of-n:heuristic=2",
            "--out",
            str(tmp_path / f"scale-{out.name}"),
        ]
        cli.main(["scale", *common, *scale])
        assert (tmp_path / f"scale-{out.name}" / "table.json").is_file()


def test_a_users_score_rises_under_grpo(tiny: LanguageModel, vowels: str, tmp_path: Path) -> None:
    plan = Grpo(out=tmp_path / "run", tasks=(vowels,), steps=24, prompts_per_step=4, rollouts_per_prompt=6,
                max_tokens=8, lr=1e-2, reward=("score",), preflight=False, eval_every=0, watchdog=False)  # fmt: skip
    rewards = []
    grpo.train(plan, tiny, lambda shown: rewards.append(shown.reward))
    assert fmean(rewards[-3:]) > fmean(rewards[:3]) + 0.1


def test_grpo_takes_steps_on_countdown(tiny: LanguageModel, tmp_path: Path) -> None:
    plan = Grpo(out=tmp_path / "run", tasks=("gym:countdown",), steps=2, prompts_per_step=2, rollouts_per_prompt=2,
                max_tokens=8, reward=("score", "random"), preflight=False, eval_every=0)  # fmt: skip
    grpo.train(plan, tiny)
    rows = [json.loads(line) for line in (tmp_path / "run" / "samples.jsonl").read_text().splitlines()]
    assert len(rows) == 8 and all("score" in row for row in rows)


def test_the_guides_own_tasks() -> None:
    """Chapter 6 trains on them: a function judges the one, reasoning-gym the other."""
    folder = Path(__file__).parent.parent / "guide" / "tasks"
    multiples = load_problems(f"{folder}/multiples.py:problems", "train", 3)
    for problem in multiples:
        n, low = problem.metadata["n"], problem.metadata["low"]
        right = n * (low // n + 1)
        said = [verify(problem, f"\\boxed{{{number}}}").correct for number in (right, right + n, right - n, right + 1)]
        assert said == [True, True, False, False]
        assert not verify(problem, f"It is {right}.").correct
    (small,) = load_problems(f"{folder}/small_gcd.py:problems", "train", 1)
    assert verify(small, f"\\boxed{{{small.reference}}}").reason == "gym:gcd scores it 1"
    assert not verify(small, f"\\boxed{{{int(small.reference) + 1}}}").correct
