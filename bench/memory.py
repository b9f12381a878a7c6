"""Does a GRPO run's memory stay where it was, and does it grow with the group? Peaks of single steps beside --plan.

    python bench/memory.py

Each group size trains in a process of its own. Before each step free memory is given back and the peak forgotten, so
that what stands below is that step's own: what is held before it, and the most that was held during it. Needs Linux.
"""

from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import tyro
from sides import Side, forget_peak, machine, peak_bytes

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo, workload
from thinkling.device import pick_device
from thinkling.generate.language_model import LanguageModel
from thinkling.train.memory import plan

GIB = 2**30


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Train with several group sizes, and look at each step's memory. Example: python bench/memory.py --steps 50"""

    model: str = "thinkling-base"
    template: str = "step-by-step"
    steps: int = 50
    prompts_per_step: int = 8
    group_sizes: tuple[int, ...] = (8, 16, 32, 64)
    micro_batch_tokens: int = 4096


def one_size(pipe: Connection, bench: Bench, size: int) -> None:
    """GiB with the model loaded, before each step and at its peak, and what --plan says."""
    pipe.recv()
    model = LanguageModel.load(bench.model)
    device = model.network.device
    held, peaks = [], []

    def look(_: object = None) -> None:
        peaks.append(peak(device))
        forget_peak(device)
        held.append(peak(device))

    look()
    with TemporaryDirectory() as folder:
        settings = Grpo(
            model=bench.model, out=Path(folder) / "run", steps=bench.steps, prompts_per_step=bench.prompts_per_step,
            rollouts_per_prompt=size, template=bench.template, micro_batch_tokens=bench.micro_batch_tokens,
            eval_every=0, preflight=False, watchdog=False,
        )  # fmt: skip
        grpo.train(settings, model, look)
        planned = plan(workload(settings), model.network.config, model.network.dtype)
    pipe.send({"held": held, "peaks": peaks[1:], "plan": 1e9 * planned.total / GIB})


def peak(device: object) -> float:
    found = peak_bytes(device)
    return found.get("cuda", found["rss"]) / GIB


def main(bench: Bench) -> None:
    print(f"{machine(pick_device('auto'))}; {bench.steps} steps of {bench.prompts_per_step} problems; GiB\n")
    few = max(1, bench.steps // 5)
    print(f"| rollouts per problem | loaded | held after step 1 | after step {bench.steps} | peak of a step, median "
          f"(most): the first {few} | the last {few} | the most, less what was loaded | `--plan` |\n"
          "|---|---|---|---|---|---|---|---|")  # fmt: skip
    for size in bench.group_sizes:
        side = Side(one_size, bench, size)
        found = side.ask()
        side.stop()
        held, peaks = found["held"], found["peaks"]
        parts = [f"{median(part):.2f} ({max(part):.2f})" for part in (peaks[:few], peaks[-few:])]
        print(f"| {size} | {held[0]:.2f} | {held[1]:.2f} | {held[-1]:.2f} | {parts[0]} | {parts[1]} | "
              f"{max(peaks) - held[0]:.2f} | {found['plan']:.2f} |", flush=True)  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Bench))
