"""Real torchrun, which tests/test_distributed.py does without: `python tests/torchrun_runs.py`, a part of `make fuzz`.

A run of two processes, one of which is killed from outside: all end, with one line. The same command resumes it on four
processes, one of which is killed; and then on one, which ends it with the weights that one process alone comes to.
"""

import json
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import torch
from safetensors.torch import load_file

from thinkling.model.tokenizer import Tokenizer
from thinkling.model.transformer import Transformer, init_weights
from thinkling.model.weights import load_model, resolve, save_model

ROOT = Path(__file__).parents[1]
ENVIRONMENT = os.environ | {"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}


def make(folder: Path) -> list[str]:
    """A small network of random weights and something to learn; returns the flags of a run on it."""
    start = resolve("thinkling-base")
    whole = load_model(start)
    network = init_weights(Transformer(whole.config), seed=0)
    save_model(folder / "model", network, Tokenizer.load(start))
    rows = [{"question": f"What is {i} + 1?", "response": f"{i + 1}" + " indeed" * (i % 5)} for i in range(90)]
    (folder / "rows.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return ["--model", str(folder / "model"), "--data", str(folder / "rows.jsonl"), "--epochs", "2", "--batch-size",
            "9", "--save-every", "3", "--lr", "1e-4", "--eval-every", "0", "--device", "cpu"]  # fmt: skip


def start(ranks: int, out: Path, flags: list[str]) -> subprocess.Popen:
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks), "-m",
              "thinkling"] if ranks > 1 else [sys.executable, "-m", "thinkling"]  # fmt: skip
    return subprocess.Popen([*launch, "sft", "--out", str(out), *flags], env=ENVIRONMENT, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT)  # fmt: skip


def steps_in(out: Path) -> int:
    rows = out / "metrics.jsonl"
    return rows.read_text().count("\n") if rows.exists() else 0


def child(parent: int, rank: int) -> int:
    """The process that torchrun has started as this rank."""
    for entry in Path("/proc").glob("[0-9]*"):
        try:
            stat = (entry / "stat").read_text()
            environment = (entry / "environ").read_bytes().decode(errors="replace").split("\0")
        except OSError:
            continue
        if int(stat.rpartition(")")[2].split()[1]) == parent and f"RANK={rank}" in environment:
            return int(entry.name)
    raise LookupError(f"torchrun has no rank {rank}")


def killed(ranks: int, out: Path, flags: list[str], num: int) -> int:
    """Go on on so many ranks, of which rank 1 is killed once so many steps are behind it; returns how many there are
    then."""
    run = start(ranks, out, flags)
    while steps_in(out) < num:
        assert run.poll() is None, run.communicate()[0]
        time.sleep(0.01)
    os.kill(child(run.pid, 1), signal.SIGKILL)
    said = run.communicate()[0]
    assert run.returncode != 0, said
    lines = [line for line in said.splitlines() if line.startswith("thinkling: ")]
    assert len(lines) == 1 and re.search(rf"rank \d of {ranks}, at 'step", lines[0]), said
    print(lines[0])
    done = steps_in(out)
    assert done < 20, "it was over before it was killed"
    return done


def main(folder: Path) -> None:
    flags = make(folder)
    done = [killed(2, folder / "run", flags, 5), killed(4, folder / "run", flags, 11)]
    for out in (folder / "run", folder / "alone"):
        process = start(1, out, flags)
        said = process.communicate()[0]
        assert process.returncode == 0, said
        assert said.count("The trained model:") == 1, said
    a, b = (load_file(folder / name / "checkpoints" / "step-00020" / "model.safetensors") for name in ("run", "alone"))
    apart = max(float((a[name] - b[name]).abs().max()) for name in a)
    print(f"killed at steps {done}, of 2 and 4 processes, resumed on one: weights {apart:.1e} from those of one alone")
    assert apart < 1e-5 and not torch.equal(a["model.norm.weight"], torch.ones_like(a["model.norm.weight"]))


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        main(Path(place))
