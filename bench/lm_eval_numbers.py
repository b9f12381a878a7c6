"""lm-eval's local-completions against `thinkling serve`: does it find the numbers that our own commands find?

    python -m venv .venv-lm-eval && .venv-lm-eval/bin/pip install 'lm-eval[api]' transformers
    python bench/lm_eval_numbers.py --lm-eval .venv-lm-eval/bin/lm_eval

The same problems for both, as files: greedy responses (`thinkling eval`), and multiple choice by the log-probability of
the answer, as it is and per byte (`thinkling choice`). Prints a line for each; exit code 1 where two numbers differ.
No network. Left out: contexts that end in a space or a newline, which lm-eval takes apart from the answer, so that it
may ask for other tokens than those of the text as a whole.
"""

import json
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from string import ascii_uppercase
from tempfile import TemporaryDirectory

import tyro
from served import our_server

from thinkling.runs import write_jsonl, write_text
from thinkling.tasks.benchmarks import load_problems
from thinkling.tasks.options import options_of

MODEL = "thinkling-base"
HEAD = "task: {name}\ndataset_path: json\ndataset_kwargs: {{data_files: {{test: {rows}}}}}\ntest_split: test\n"
SUMS = (
    HEAD
    + r"""output_type: generate_until
doc_to_text: "Question: {{{{question}}}}\nAnswer:\n"
doc_to_target: "{{{{reference}}}}"
generation_kwargs: {{until: ["<|endoftext|>"], do_sample: false, temperature: 0, max_gen_toks: 384}}
filter_list:
  - name: boxed
    filter:
      - {{function: regex, regex_pattern: "\\\\boxed\\{{([^}}]*)\\}}", group_select: -1}}
      - {{function: take_first}}
metric_list: [{{metric: exact_match, aggregation: mean, higher_is_better: true}}]
"""
)
CHOICES = (
    HEAD
    + r"""output_type: multiple_choice
doc_to_text: "Question: {{{{question}}}}\nAnswer:"
doc_to_choice: "{{{{options}}}}"
doc_to_target: "{{{{place}}}}"
target_delimiter: " "
metric_list:
  - {{metric: acc, aggregation: mean, higher_is_better: true}}
  - {{metric: acc_norm, aggregation: mean, higher_is_better: true}}
"""
)


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Compare lm-eval's numbers with ours."""

    lm_eval: Path
    num_problems: int = 60


def write_tasks(folder: Path, num: int) -> None:
    sums = load_problems("quantities", "held-out", num)
    choices = load_problems("choice:quantities", "held-out", num)
    write_jsonl(folder / "sums.jsonl", [{"question": p.question, "reference": p.reference} for p in sums])
    write_jsonl(folder / "choices.jsonl", [
        {"question": p.metadata["stem"], "options": options_of(p), "answer": p.reference,
         "place": ascii_uppercase.index(p.reference)} for p in choices
    ])  # fmt: skip
    for name, text in (("sums", SUMS), ("choices", CHOICES)):
        write_text(folder / f"{name}.yaml", text.format(name=name, rows=folder / f"{name}.jsonl"))


def ours(folder: Path) -> dict[str, float]:
    thinkling = [sys.executable, "-m", "thinkling"]
    sums, choices = (["--tasks", folder / f"{name}.jsonl", "--out", folder / name] for name in ("sums", "choices"))
    ways = ["--ways", "answer-sum", "answer-per-byte"]
    for command in (["eval", "--temperature", "0", *sums], ["choice", *ways, *choices]):
        subprocess.run(list(map(str, thinkling + command)), check=True, stdout=subprocess.DEVNULL)
    by_way = {row["way"]: row["accuracy"] for row in json.loads((folder / "choices/report.json").read_text())["ways"]}
    greedy = json.loads((folder / "sums/report.json").read_text())["accuracy"]
    return {"greedy responses": greedy, "likeliest answer": by_way["answer-sum"], "per byte": by_way["answer-per-byte"]}


def theirs(folder: Path, lm_eval: Path, url: str) -> dict[str, float]:
    tokenizer = Path(sys.modules["thinkling"].__file__).parent / "model/builtin" / MODEL
    args = f"model={MODEL},base_url={url}/v1/completions,num_concurrent=16,max_length=1024,tokenizer={tokenizer}"
    command = [lm_eval, "--model", "local-completions", "--model_args", args, "--tasks", "sums,choices",
               "--include_path", folder, "--output_path", folder / "theirs"]  # fmt: skip
    offline = dict.fromkeys(("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE", "TRANSFORMERS_OFFLINE"), "1")
    env = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"} | offline
    subprocess.run(list(map(str, command)), check=True, env=env, capture_output=True, text=True)
    (written,) = (folder / "theirs").rglob("results*.json")
    found = json.loads(written.read_text())["results"]
    return {"greedy responses": found["sums"]["exact_match,boxed"], "likeliest answer": found["choices"]["acc,none"],
            "per byte": found["choices"]["acc_norm,none"]}  # fmt: skip


def main(settings: Settings) -> None:
    with TemporaryDirectory() as name:
        folder = Path(name)
        write_tasks(folder, settings.num_problems)
        here = ours(folder)
        with our_server(MODEL) as (url, _):
            there = theirs(folder, settings.lm_eval, url)
    for what, value in here.items():
        print(f"{what}: thinkling {value:.4f}, lm-eval {there[what]:.4f}, of {settings.num_problems} problems")
    sys.exit(any(abs(value - there[what]) > 1e-9 for what, value in here.items()))


if __name__ == "__main__":
    main(tyro.cli(Settings))
