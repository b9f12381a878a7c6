"""Does a GRPO run's memory stay where it was, and does it grow with the group? Peak memory beside what --plan says.

    python bench/memory.py

Each group size trains in a process of its own. The peak is the process's so far: it can only rise, so what it gained
between two steps is what was leaked or had not been needed before.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from tempfile import TemporaryDirectory

import tyro
from sides import Side, machine, peak_bytes

from thinkling.device import pick_device
from thinkling.generate.language_model import LanguageModel
from thinkling.settings import Grpo
from thinkling.train import grpo
from thinkling.train.memory import plan

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Train with several group sizes, and look at peak memory. Example: python bench/memory.py --steps 50"""

    model: str = "thinkling-base"
    template: str = "step-by-step"
    steps: int = 50
    prompts_per_step: int = 8
    group_sizes: tuple[int, ...] = (8, 16, 32, 64)
    micro_batch_tokens: int = 8192


def one_size(pipe: Connection, bench: Bench, size: int) -> None:
    """Peak memory (GiB) with the model loaded and after each step, and what --plan says (GiB)."""
    pipe.recv()
    model = LanguageModel.load(bench.model)
    device = model.network.device
    peaks = [peak(device)]
    with TemporaryDirectory() as folder:
        settings = Grpo(
            model=bench.model, out=Path(folder) / "run", steps=bench.steps, prompts_per_step=bench.prompts_per_step,
            rollouts_per_prompt=size, template=bench.template, micro_batch_tokens=bench.micro_batch_tokens,
            eval_every=0, doctor=False, watchdog=False,
        )  # fmt: skip
        grpo.train(settings, model, lambda _: peaks.append(peak(device)))
        planned = plan(settings, model.network.config, model.network.dtype)
    pipe.send({"peaks": peaks, "plan": 1e9 * planned.total / GIB})


def peak(device: object) -> float:
    found = peak_bytes(device)
    return found.get("cuda", found["rss"]) / GIB


def main(bench: Bench) -> None:
    print(f"{machine(pick_device('auto'))}; {bench.steps} steps of {bench.prompts_per_step} problems\n")
    middle = bench.steps // 5
    print(f"| rollouts per problem | loaded, GiB | after step 1 | after step {middle} | after step {bench.steps} | "
          "training alone | `--plan` |\n|---|---|---|---|---|---|---|")  # fmt: skip
    for size in bench.group_sizes:
        side = Side(one_size, bench, size)
        found = side.ask()
        side.stop()
        peaks = found["peaks"]
        shown = [peaks[0], peaks[1], peaks[middle], peaks[-1], peaks[-1] - peaks[0], found["plan"]]
        print(f"| {size} | " + " | ".join(f"{value:.2f}" for value in shown) + " |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Bench))
