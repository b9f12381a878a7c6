"""Files of problems: four kinds, columns guessed or named, what is wrong in one line; and options in every form."""

import importlib.util
import json
import sys
from pathlib import Path

import pytest

from thinkling import cli
from thinkling.errors import UserError
from thinkling.problem import Problem
from thinkling.tasks.benchmarks import load_problems, problem_of
from thinkling.tasks.columns import Columns
from thinkling.tasks.options import shuffled, with_options
from thinkling.verify.verifier import verify

DATA = Path(__file__).parents[2] / "shared" / "data"


def saved(path: Path, content: str | bytes) -> str:
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return str(path)


# --- kinds of files ---------------------------------------------------------------------------------------------------


def test_a_table_from_a_spreadsheet(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    """A mark of the byte order, lines of Windows, a cell of two lines and a comma, quotes within quotes."""
    text = '\ufeffProblem,Final Answer\r\n"Add 1, 2,\r\nand 3.",6\r\n"What is ""x"" if x = 2?",2\r\n\r\n'
    found = load_problems(saved(tmp_path / "a.csv", text))
    assert [(p.question, p.reference) for p in found] == [
        ("Add 1, 2,\r\nand 3.", "6"), ('What is "x" if x = 2?', "2"),
    ]  # fmt: skip
    assert capsys.readouterr().err == f"{tmp_path}/a.csv: question from 'Problem', reference from 'Final Answer'\n"


@pytest.mark.parametrize(("name", "mark"), [("a.csv", ";"), ("a.csv", "\t"), ("a.tsv", "\t"), ("a.csv", ",")])
def test_the_mark_between_cells_is_found(tmp_path: Path, name: str, mark: str) -> None:
    path = saved(tmp_path / name, f"question{mark}answer{mark}level\n1 + 1?{mark}2{mark}\n2 + 2?{mark}4{mark}5\n")
    found = load_problems(path)
    assert [(p.question, p.reference, p.metadata) for p in found] == [
        ("1 + 1?", "2", {}),
        ("2 + 2?", "4", {"level": "5"}),
    ]


@pytest.mark.parametrize(
    ("content", "why"),
    [
        ("question,answer\n1 + 1?,2\n2, 2?,4\n", "line 3: 3 cells, but the first line names 2"),
        ("question,question\na?,2\n", "its first line names the column 'question' twice"),
        ('question,answer\n"a?,2\n', "line 2: not CSV (unexpected end of data): look for a double quote"),
        ("question,answer\n", "no problems in this file"),
        ("", "no problems in this file"),
        ("question,answer\né?,2\n".encode("latin-1"), "byte 17 is no UTF-8"),
        ("question,answer\na?,\n", "row 1: the field 'reference' (or 'answer') is missing or empty"),
        ("frage,antwort\na?,1\n", "row 1: the field 'question' (or 'problem') is missing or empty"),
        ('question,options,answer\na?,"[1",1\n', "row 1: the field 'options' must be a list or an object"),
        ('question,options,answer\na?,"[1]",1\n', "row 1: 1 options: multiple choice has from 2 to 26"),
        ("question,A,B,answer\na?,x,y,C\n", "row 1: the reference 'C' names none of its 2 options"),
        ("question,A,B,answer\na?,B,A,B\n", "row 1: the reference 'B' may name two of its 2 options"),
    ],
)  # fmt: skip
def test_a_table_that_is_wrong(tmp_path: Path, content: str | bytes, why: str) -> None:
    with pytest.raises(UserError) as error:
        load_problems(saved(tmp_path / "a.csv", content))
    assert str(error.value).startswith(f"{tmp_path}/a.csv") and why in str(error.value)
    assert "\n" not in str(error.value)


def test_repeats_are_left_out_and_contradictions_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    rows = ["question,answer", "a?,1", "b?,2", "a?,1", "a?,1"]
    found = load_problems(saved(tmp_path / "a.csv", "\n".join(rows)))
    assert [p.question for p in found] == ["a?", "b?"]
    assert capsys.readouterr().err == f"{tmp_path}/a.csv: 2 repeated rows left out\n"
    with pytest.raises(UserError, match=r"row 5: asks what row 1 asks, but its reference is '3', not '1'"):
        load_problems(saved(tmp_path / "a.csv", "\n".join([*rows, "a?,3"])))


def test_columns_are_named_by_flags(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    path = saved(tmp_path / "a.csv", "prompt,text,wrong,result\nsystem,1 + 1?,3,2\n")
    cli.main(["tasks", path, "--columns", "question=text", "reference=result"])
    out, err = capsys.readouterr()
    assert "  1 + 1?\n  reference: 2\n" in out and err == ""
    for columns, why in (
        (("question=tekst",), "no column 'tekst' for the question: it has prompt, result, text, wrong"),
        (("frage=text",), "--columns frage=text: write what the column holds and its name, as question=Problem"),
        (("question",), "--columns question: write"),
    ):
        with pytest.raises(UserError, match=why):
            load_problems(path, columns=columns)
    with pytest.raises(UserError, match="--columns has no meaning for builtin"):
        load_problems("builtin", columns=("question=text",))


def test_parquet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = saved(tmp_path / "a.parquet", b"PAR1 or not")
    if importlib.util.find_spec("pyarrow"):
        import pyarrow
        import pyarrow.parquet

        with pytest.raises(UserError, match=r"a\.parquet: not a Parquet file"):
            load_problems(path)
        table = pyarrow.table({"question": ["a?", "b?"], "choices": [["x", "y", "z"], ["u", "v"]], "answer": [2, 0]})
        pyarrow.parquet.write_table(table, path)
        assert [(p.reference, p.metadata["options"]) for p in load_problems(path)] == [
            ("C", ["x", "y", "z"]), ("A", ["u", "v"]),
        ]  # fmt: skip
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    with pytest.raises(UserError, match=r"Parquet is read by pyarrow, .*, pip install -e '\.\[parquet\]'"):
        load_problems(path)


@pytest.mark.skipif(not DATA.is_dir(), reason="the published files are not here")
def test_published_files_as_they_are(capsys: pytest.CaptureFixture) -> None:
    math, gsm = load_problems(f"{DATA}/math500_test.json"), load_problems(f"{DATA}/gsm8k_test.jsonl")
    assert (len(math), len(gsm), gsm[0].reference) == (500, 1319, "18")
    assert len({p.family for p in math}) == 7 and {p.metadata["level"] for p in math} == {1, 2, 3, 4, 5}
    assert capsys.readouterr().err == ""  # nothing was guessed


# --- options ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("row", "options", "right"),
    [
        ({"choices": ["x", "y", "z"], "answer": 2}, ["x", "y", "z"], "C"),  # MMLU
        ({"options": ["4", "2"], "answer": "B", "answer_index": 1}, ["4", "2"], "B"),  # MMLU-Pro
        ({"choices": {"text": ["x", "y"], "label": ["1", "2"]}, "answerKey": "2"}, ["x", "y"], "B"),  # ARC
        ({"options": {"A": "x", "B": "y"}, "answer": "A"}, ["x", "y"], "A"),  # MedQA
        ({"A": "x", "B": "y", "C": None, "answer": "b"}, ["x", "y"], "B"),
        ({"option_a": "x", "option_b": "y", "answer": "y"}, ["x", "y"], "B"),
        ({"choices": "[\"x\", \"y\"]", "answer": "1"}, ["x", "y"], "B"),  # of a table: text
        ({"choices": ["3", "1"], "answer": "1"}, ["3", "1"], "B"),  # its text before its place
        ({"Correct Answer": "r", "Incorrect Answer 1": "s", "Incorrect Answer 2": "t"}, ["r", "s", "t"], "A"),  # GPQA
    ],
)  # fmt: skip
def test_the_forms_of_options(row: dict, options: list[str], right: str) -> None:
    problem = problem_of(Path("a.json"), 1, {"question": "Which?"} | row)
    assert (problem.metadata["options"], problem.reference, problem.verifier) == (options, right, "choice")
    lines = [f"{letter}. {option}" for letter, option in zip("ABC", options, strict=False)]
    assert problem.question.split("\n") == ["Which?", *lines, "Answer with the letter of the right option."]


def test_a_column_a_beside_no_b_is_no_option() -> None:
    problem = problem_of(Path("a.json"), 1, {"question": "Which?", "a": "x", "answer": "7"})
    assert problem.verifier == "math" and problem.reference == "7"


def test_options_in_another_order_keep_the_problem() -> None:
    problem = with_options(Problem("p", "Which?", ""), ["w", "x", "y", "z"], 2)
    orders = {tuple(shuffled(problem, seed).metadata["options"]) for seed in range(20)}
    assert len(orders) > 10
    for seed in range(20):
        again = shuffled(problem, seed)
        assert again == shuffled(problem, seed) and again.id == problem.id
        assert again.metadata["options"]["ABCD".index(again.reference)] == "y"
        assert f"{again.reference}. y" in again.question.split("\n")


@pytest.mark.parametrize("option", ["All of the above", "none of these", "Both A and B", "B or C", "none above"])
def test_options_that_speak_of_others_stay(option: str) -> None:
    problem = with_options(Problem("p", "Which?", ""), ["w", "x", "y", option], 3)
    assert all(shuffled(problem, seed) == problem for seed in range(5))


def test_made_options_are_right_once_and_alike() -> None:
    for suite in ("builtin", "quantities"):
        made, plain = (load_problems(f"{kind}{suite}", num_problems=30) for kind in ("choice:", ""))
        for problem, original in zip(made, plain, strict=True):
            options = problem.metadata["options"]
            assert len(set(options)) == 4 and options["ABCD".index(problem.reference)] == original.reference
            assert verify(problem, f"\\boxed{{{problem.reference}}}").correct
            if "/" not in original.reference:
                places = {option.partition(".")[2].__len__() for option in options}
                assert places == {len(original.reference.partition(".")[2])}  # as many decimals as the right one
        assert {problem.reference for problem in made} == set("ABCD")
    with pytest.raises(UserError, match="there is no choice:gym: use one of choice:builtin, "):
        load_problems("choice:gym")


def test_guesses_prefer_the_likelier_name_and_the_first_column() -> None:
    columns = Columns()
    row = {"input": "i", "Question": "q", "target": "t", "Answer_Key": "k"}
    assert (columns.of(row, "question"), columns.of(row, "reference")) == ("q", "t")
    assert columns.told() == "question from 'Question', reference from 'target'"
    assert Columns({"reference": "Answer_Key"}).of(row, "reference") == "k"


def test_lint_reads_tables_too(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    cli.main(["lint-data", saved(tmp_path / "a.csv", "question,answer\na?,1/2\nb?,7\n")])
    assert capsys.readouterr().out == "2 references, and each verifies against itself\n"


def test_eval_asks_multiple_choice(tmp_path: Path) -> None:
    """The options reach the prompt, in the order of the seed; the verifier knows them."""
    path = saved(tmp_path / "a.jsonl", json.dumps({"question": "Which?", "options": ["x", "y"], "answer": "y"}))
    orders = {load_problems(path, shuffle=seed)[0].question for seed in range(8)}
    assert len(orders) == 2
    (problem,) = load_problems(path)
    assert verify(problem, "The answer is y.").correct and not verify(problem, r"\boxed{x}").correct
