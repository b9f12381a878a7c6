"""The page that shows what a run learnt from: what is chosen, how it is packed, and that no text can break out."""

import json
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from thinkling import cli
from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.report.microscope import choose, gather, pack
from thinkling.report.microscope_page import page
from thinkling.report.microscope_script import SCRIPT


def test_steps_are_spread_evenly() -> None:
    assert choose(range(10), groups_per_step=16, max_groups=400) == set(range(10))
    assert choose(range(9), groups_per_step=2, max_groups=10) == {0, 2, 4, 6, 8}
    assert choose(range(100), groups_per_step=16, max_groups=2) == {0, 99}
    assert choose([7], groups_per_step=16, max_groups=400) == {7}


def row(step: int, group: int, advantage: float = 0.0) -> dict:
    return {"step": step, "group": group, "id": f"p{group}", "tokens": [1, 2], "advantage": advantage}


def test_groups_with_a_signal_come_first_where_there_is_no_room_for_all() -> None:
    rows = [row(0, 0), row(0, 0), row(0, 1, 0.5), row(0, 1, -0.5), row(3, 0), row(3, 1)]
    found = gather(rows, max_groups=2)
    assert {step: [g[0]["group"] for g in groups] for step, groups in found.items()} == {0: [1], 3: [0]}
    assert [len(group) for group in gather(rows, max_groups=99)[0]] == [2, 2]


@pytest.fixture
def run(tiny: LanguageModel, tmp_path: Path) -> Path:
    small = dict(steps=2, prompts_per_step=2, rollouts_per_prompt=3, max_tokens=6, preflight=False)
    settings = Grpo(out=tmp_path / "run", eval_every=1, eval_problems=2, eval_samples=2, **small)
    grpo.train(settings, tiny)
    return tmp_path / "run"


def test_what_a_real_run_left_is_packed(run: Path, tiny: LanguageModel) -> None:
    data = pack(run, max_groups=400)
    assert data["run"]["preset"] == "dr-grpo"
    assert [m["step"] for m in data["metrics"]] == [0, 1]
    assert [m["step"] for m in data["measured"]] == [0, 1, 2]
    assert len(data["measured"][0]["examples"]) == 2
    assert list(data["shown"]) == [0, 1]
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    first = data["shown"][0][0]["rollouts"][0]
    text = "".join(data["tokens"][number] for number in first["t"])
    own = next(r for r in rows if r["step"] == 0 and r["id"] == data["shown"][0][0]["id"])
    plain = tiny.tokenizer.decode(own["tokens"])
    assert re.sub(r"\W", "", text.replace("·", " ")).startswith(re.sub(r"\W", "", plain)[:3])
    assert first["l"] == [round(value, 3) for value in own["logprobs"]]


def test_old_runs_without_the_newer_fields_are_shown(run: Path) -> None:
    rows = [json.loads(line) for line in (run / "samples.jsonl").read_text().splitlines()]
    for known in rows:
        for name in ("group", "parts", "entropy", "ratio", "clipped"):
            known.pop(name, None)
    (run / "samples.jsonl").write_text("".join(json.dumps(known) + "\n" for known in rows))
    (run / "validation.jsonl").unlink()
    data = pack(run, max_groups=400)
    assert data["measured"] == []
    assert sum(len(group["rollouts"]) for groups in data["shown"].values() for group in groups) == len(rows)


class Scripts(HTMLParser):
    """The elements of a page, and what its scripts hold."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags and self.tags[-1] == "script" and data.strip():
            self.texts.append(data)


HOSTILE = "</script><script>alert(1)</script><!-- <img src=x onerror=alert(1)> \u2028 & {braces} \ud800"


def test_hostile_text_stays_text(run: Path) -> None:
    data = pack(run, max_groups=400)
    data["folder"] = HOSTILE
    for groups in data["shown"].values():
        for group in groups:
            group["question"] = group["reference"] = HOSTILE
            group["rollouts"][0]["reason"] = HOSTILE
    data["tokens"] = [HOSTILE for _ in data["tokens"]]
    found = Scripts()
    found.feed(page(data))
    assert found.tags.count("script") == 2
    assert "img" not in found.tags
    packed, script = found.texts
    assert script == SCRIPT
    assert "<" not in packed
    assert json.loads(packed)["tokens"][0] == HOSTILE
    page(data).encode("utf-8")
    assert "innerHTML" not in SCRIPT and "eval" not in SCRIPT


def test_the_policy_names_this_script_and_nothing_else(run: Path) -> None:
    import base64
    import hashlib

    text = page(pack(run, max_groups=4))
    script = re.search(r"<script>(.*)</script>", text, re.DOTALL).group(1)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in re.sub(r"\s+", " ", text)
    assert "http" not in re.sub(r'"http://www\.w3\.org/[^"]+"', "", script)


def test_the_command(run: Path, capsys: pytest.CaptureFixture) -> None:
    cli.main(["microscope", str(run)])
    assert "microscope.html" in capsys.readouterr().out.replace("\n", "")
    assert (run / "microscope.html").read_text().startswith("<!DOCTYPE html>")


def test_bad_input_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no run of thinkling grpo"):
        pack(tmp_path, 400)
    (tmp_path / "config.json").write_text('{"model": "thinkling-base"}')
    (tmp_path / "samples.jsonl").write_text("")
    with pytest.raises(UserError, match="no rollouts in it yet"):
        pack(tmp_path, 400)
    (tmp_path / "samples.jsonl").write_text('{"sample": 0}\n')  # of an eval
    with pytest.raises(UserError, match="no run of thinkling grpo"):
        pack(tmp_path, 400)
    (tmp_path / "samples.jsonl").write_text('{"step": 0}\n')
    with pytest.raises(UserError, match="line 1: the field 'id' is missing"):
        pack(tmp_path, 400)
