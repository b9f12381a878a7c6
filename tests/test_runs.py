"""Runs on disk: files whole or absent, rows that name their place when they are wrong."""

import json
import math
import os
from pathlib import Path

import pytest

from thinkling import runs
from thinkling.commands.eval import Eval
from thinkling.device import pick_device, pick_dtype
from thinkling.errors import UserError


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_write_that_dies_leaves_the_old_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: str) -> None:
    path = tmp_path / "report.json"
    runs.write_json(path, {"a": 1})

    def dies(*_: object) -> None:
        raise OSError("disk full")

    monkeypatch.setattr(os, call, dies)
    with pytest.raises(OSError, match="disk full"):
        runs.write_json(path, {"a": 2})
    assert json.loads(path.read_text()) == {"a": 1}


def test_rows_come_back_as_written(tmp_path: Path) -> None:
    path = tmp_path / "new" / "rows.jsonl"
    runs.append_jsonl(path, [{"text": "zwölf\n€"}])
    runs.append_jsonl(path, [{"text": "b"}, {"text": "c"}])
    assert [row["text"] for row in runs.read_jsonl(path, required=("text",))] == ["zwölf\n€", "b", "c"]


def test_a_row_that_lacks_a_field_is_named(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_text('{"response": "1", "reference": "1"}\n{"response": "1"}\n')
    with pytest.raises(UserError, match=r"rows.jsonl, line 2: the field 'reference' is missing; it has \['response'\]"):
        list(runs.read_jsonl(path, required=("response", "reference")))


def test_a_run_is_never_overwritten_and_keeps_its_settings(tmp_path: Path) -> None:
    settings = Eval(out=tmp_path / "run")
    runs.new_run(settings.out, settings)
    stored = json.loads((tmp_path / "run" / "config.json").read_text())
    assert stored["num_problems"] == settings.num_problems
    assert set(stored) == set(settings.__dataclass_fields__)
    with pytest.raises(UserError, match="already holds a run: choose another --out"):
        runs.new_run(settings.out, settings)


def test_two_processes_never_write_to_one_run(tmp_path: Path) -> None:
    """Two `scale` commands once appended to one pool, and each cut off the other's half-written line."""
    with runs.alone_in(tmp_path / "run"):
        with pytest.raises(UserError, match=r"run: another process is writing to this run: wait until it ends"):
            runs.alone_in(tmp_path / "run").__enter__()
        with runs.alone_in(tmp_path / "other"):
            pass


def test_a_lock_that_cannot_be_taken_is_named(tmp_path: Path) -> None:
    """Of a run that another user began: the message named the folder, which could be written to."""
    (tmp_path / ".lock").mkdir()  # stands for another user's file, which root may open
    with pytest.raises(UserError, match=rf"^{tmp_path}/\.lock: "), runs.alone_in(tmp_path):
        pass
    with pytest.raises(ZeroDivisionError), runs.alone_in(tmp_path / "run"):
        raise ZeroDivisionError
    with runs.alone_in(tmp_path / "run"):
        pass


def test_devices_by_name() -> None:
    import torch

    cpu = pick_device("cpu")
    assert pick_dtype("auto", cpu) is torch.float32
    assert pick_dtype("bfloat16", cpu) is torch.bfloat16
    with pytest.raises(UserError, match="unknown device 'gpu'"):
        pick_device("gpu")
    with pytest.raises(UserError, match="unknown dtype 'int8'"):
        pick_dtype("int8", cpu)
    if not torch.cuda.is_available():
        with pytest.raises(UserError, match="torch sees no CUDA GPU here: use --device cpu"):
            pick_device("cuda")


def test_what_is_no_number_is_written_as_null(tmp_path: Path) -> None:
    """NaN is no JSON: jq, browsers and most readers but Python's stop at it."""
    value = {"a": [math.nan, 1.5, (math.inf, "NaN ü")], "b": {"c": -math.inf}, "d": 2**70}
    expected = {"a": [None, 1.5, [None, "NaN ü"]], "b": {"c": None}, "d": 2**70}
    runs.write_json(tmp_path / "one.json", value)
    runs.append_jsonl(tmp_path / "rows.jsonl", [value, {"e": 1}])

    def strict(text: str) -> object:
        return json.loads(text, parse_constant=pytest.fail)

    assert strict((tmp_path / "one.json").read_text(encoding="utf-8")) == expected
    lines = (tmp_path / "rows.jsonl").read_text(encoding="utf-8").splitlines()
    assert [strict(line) for line in lines] == [expected, {"e": 1}]
