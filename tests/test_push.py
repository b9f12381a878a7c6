"""`thinkling push`: the card, what would be sent, and that nothing is sent, nor a token shown, unasked."""

import json
from pathlib import Path

import huggingface_hub
import pytest
from parity import make
from test_gguf import TINY
from test_tokenizer import make as tokenizer_of

from thinkling import cli
from thinkling.errors import UserError
from thinkling.evaluate.manifest import model_files
from thinkling.model.gguf_writer import write_gguf
from thinkling.model.weights import save_model

SECRET = "hf_" + "s" * 30
HEAD = """---
license: mit
language:
- en
base_model: Qwen/Qwen3-0.6B
library_name: transformers
pipeline_tag: text-generation
tags:
- thinkling
- reasoning
- grpo
---

# small
"""


@pytest.fixture
def run(tmp_path: Path) -> Path:
    """A finished training run."""
    out = tmp_path / "run"
    save_model(out / "checkpoints" / "step-00002", make(TINY, 0), tokenizer_of("qwen"))
    training = out / "checkpoints" / "step-00002" / "training"
    training.mkdir()
    (training / "optimizer.safetensors").write_text("not to be sent")
    settings = {"model": "Qwen/Qwen3-0.6B", "rollouts_per_prompt": 8, "lr": 1e-5, "out": str(out), "adapter": None,
                "tasks": ["builtin", "/home/me/secret/my|tasks.jsonl"]}  # fmt: skip
    (out / "config.json").write_text(json.dumps(settings))
    (out / "finished.json").write_text(json.dumps({"checkpoint": str(out / "checkpoints" / "step-00002"), "steps": 2}))
    return out


@pytest.fixture(autouse=True)
def nobody_is_asked(monkeypatch: pytest.MonkeyPatch) -> list:
    """Whoever would talk to the Hub is written down instead."""
    asked: list = []
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda **named: asked.append(named) or Told(asked))
    monkeypatch.setenv("HF_TOKEN", SECRET)
    return asked


class Told:
    repo_id = "me/small"

    def __init__(self, asked: list) -> None:
        self.asked = asked

    def create_repo(self, *told: object, **named: object) -> "Told":
        self.asked.append((told, named))
        return self

    def create_commit(self, repo: str, operations: list, commit_message: str) -> None:
        self.asked.append((repo, [own.path_in_repo for own in operations]))

    def __str__(self) -> str:
        return "the place"


def measured(tmp_path: Path, files: dict) -> Path:
    folder = tmp_path / "eval"
    folder.mkdir()
    right = {"finish_reason": "stop", "num_tokens": 3, "text": "4", "logprob": -1.0}
    same = {"sample": 0, "reference": "4", "response": "4", "reason": "", "completions": [right]}
    rows = [{"row": i, "id": f"p{i}", "question": f"{i}?", "status": status, **same}
            for i, status in enumerate(["correct"] * 3 + ["incorrect"])]  # fmt: skip
    (folder / "samples.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    told = {"tasks": "/data/mine.jsonl", "split": "held-out", "template": "chat", "method": "direct", "model": "it"}
    (folder / "config.json").write_text(json.dumps(told))
    (folder / "report.json").write_text("{}")
    manifest = {"model": {"files": files}, "sampling": {"temperature": 0.7, "max_tokens": 64, "seed": 0, "stop": []}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return folder


def test_a_dry_run_shows_all_and_asks_nobody(run: Path, tmp_path: Path, nobody_is_asked: list, capsys) -> None:
    own = measured(tmp_path, model_files(run / "checkpoints" / "step-00002"))
    cli.main(["push", "me/small", "--model", str(run), "--license", "mit", "--eval", str(own), "--dry-run"])
    said = capsys.readouterr().out
    assert said.startswith(HEAD)
    assert "LlamaForCausalLM: 0.2 million parameters, 2 layers of width 64, 608 tokens, 256 positions." in said
    assert "`thinkling grpo`, from Qwen/Qwen3-0.6B, with these settings:" in said
    assert "| lr | 1e-05 |" in said and r"| tasks | builtin, my\|tasks.jsonl |" in said and "adapter" not in said
    assert "| mine.jsonl | held-out | chat | direct | 4 | 1 | 75.0% [30.1, 95.4] |" in said  # Wilson, by hand
    assert "Sampling: temperature 0.7, max_tokens 64." in said
    assert "small: README.md, config.json, generation_config.json, model.safetensors, tokenizer.json" in said
    assert said.endswith("a dry run: nothing was sent\n") and not nobody_is_asked
    assert "secret" not in said and str(tmp_path) not in said and SECRET not in said and "optimizer.saf" not in said


def test_what_is_sent(run: Path, nobody_is_asked: list, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    cli.main(["push", "me/small", "--model", str(run), "--license", "mit", "--private"])
    assert nobody_is_asked[0] == {"token": SECRET}
    assert nobody_is_asked[1] == (("me/small",), {"private": True, "exist_ok": True})
    files = ["README.md", "config.json", "generation_config.json", "model.safetensors", "tokenizer.json"]
    assert nobody_is_asked[2] == ("me/small", [*files, "tokenizer_config.json"])  # fmt: skip
    assert SECRET not in capsys.readouterr().out

    def refused(self: Told, *told: object, **named: object) -> None:
        raise RuntimeError(f"401 for {SECRET}\nmore")

    monkeypatch.setattr(Told, "create_repo", refused)
    with pytest.raises(UserError, match=r"the Hub did not take it \(401 for \(the token\)\)"):
        cli.run(["push", "me/small", "--model", str(run), "--license", "mit"])


def test_the_card_of_a_gguf_file_does_not_speak_of_transformers(tmp_path: Path, capsys) -> None:
    file = tmp_path / "small.gguf"
    write_gguf(file, make(TINY, 0), tokenizer_of("qwen"), "F16", "small")
    cli.main(["push", "me/small", "--model", str(file), "--license", "mit", "--dry-run"])
    said = capsys.readouterr().out
    assert "library_name: gguf" in said and "ransformers" not in said
    assert "`llama-server -hf me/small`; or, with the file at hand, `thinkling chat --model small.gguf`." in said
    assert "me/small: README.md, small.gguf;" in said and str(tmp_path) not in said


def test_what_cannot_be_pushed(run: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = ["push", "me/small", "--model", str(run)]
    with pytest.raises(UserError, match="its licence is not known here: name it with --license"):
        cli.run(asked)
    with pytest.raises(UserError, match="no name of a repository"):
        cli.run(["push", "me/small/er", "--model", str(run), "--license", "mit"])
    own = measured(tmp_path, {"model.safetensors": "0" * 64})
    with pytest.raises(UserError, match=r"is of another model \(it\)"):
        cli.run([*asked, "--license", "mit", "--eval", str(own)])
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(UserError, match="the environment variable HF_TOKEN holds no token"):
        cli.run([*asked, "--license", "mit"])
