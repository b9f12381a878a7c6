"""Every way from a teacher into a small student, at equal training tokens; beside them RL without a teacher.

    python bench/distil.py --out runs/distil

First the teacher answers, once, by `thinkling distill-data`. Then each arm trains the student on so many reply tokens
(those of traces, or those that it samples itself), by `thinkling sft`, `distill` and `grpo` with their own learning
rates, and is asked the same problems greedily. Prints a Markdown table and draws OUT/distil.png, which is
guide/pictures/08-ways.png. What is finished is not done again, so that the table can be made in pieces: rows whose runs
are not there say so. Seconds are the process's own (CPU time), which other work on the machine stretches little; those
of the teacher's traces are extra.
"""

import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from random import Random
from statistics import fmean
from typing import Literal

import tyro
from sides import machine

from thinkling.commands import distill, distill_data, grpo, sft
from thinkling.device import pick_device
from thinkling.evaluate.stats import difference_interval, share_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.report.palette import LIGHT, MARKERS, SERIES
from thinkling.report.plots import dress, new_axes, png, rounded, spread, ticks
from thinkling.runs import read_jsonl, write_json, write_jsonl
from thinkling.tasks.builtin import problems
from thinkling.train.rl.rollout import roll_out
from thinkling.verify.verifier import verify

SPLITS = ("held-out", "longer", "rephrased")
TEMPLATE = "step-by-step"
NOT_YET = "not yet measured"
PER_STEP = {"grpo": 16 * 8, "distill": 16 * 4}  # rollouts


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Train the student in every way and measure. Example: python bench/distil.py --out runs/distil"""

    out: Path = Path("runs/distil")
    student: str = "thinkling-nano"
    """A model's name or folder, as the teacher."""
    teacher: str = "thinkling-teacher"
    tokens: tuple[int, ...] = (60_000, 240_000)
    """Reply tokens that an arm trains on; several make a curve. The table shows the last."""
    num_seeds: int = 3
    tasks: tuple[str, ...] = ("quantities",)
    """What the teacher solves, and what is asked in training."""
    traced: int = 600
    """Problems that the teacher solves, four times each."""
    num_problems: int = 100
    """Of each split."""
    split: Literal["held-out", "longer", "rephrased"] = "held-out"
    """The one whose seeds the table shows, and that is drawn."""
    only: tuple[str, ...] = ()
    """Arms to train; all if none is named."""


@dataclass(frozen=True)
class Work:
    """One arm's run: where it lies, how many reply tokens it may train on, its seed, and the teacher's rows."""

    bench: Bench
    out: Path
    tokens: int
    seed: int
    rows: list[dict]

    def common(self, out: str) -> dict:
        return {"out": self.out / out, "template": TEMPLATE, "eval_every": 0, "save_every": 0, "watchdog": False,
                "seed": self.seed}  # fmt: skip

    def steps(self, command: str) -> int:
        """So many batches of rollouts as have these tokens, if they are as long as the teacher's replies."""
        length = fmean(row["num_tokens"] for row in self.rows)
        return max(1, round(self.tokens / length / PER_STEP[command]))


# --- the arms: each trains, and returns the checkpoint ------------------------------------------------------------


def shortest(rows: list[dict]) -> list[dict]:
    """Of each problem the right trace with the fewest tokens."""
    best: dict[str, dict] = {}
    for row in verified(rows):
        if row["num_tokens"] < best.setdefault(row["id"], row)["num_tokens"]:
            best[row["id"]] = row
    return list(best.values())


def verified(rows: list[dict]) -> list[dict]:
    return [row for row in rows if row["correct"]]


def data(work: Work, chosen: Callable[[list[dict]], list[dict]]) -> Path:
    """A file of these traces in a random order, all of them again and again, up to the tokens of the run."""
    random, rows, left, path = Random(f"distil/{work.seed}"), chosen(work.rows), work.tokens, work.out / "data.jsonl"
    found: list[dict] = []
    while left > 0:
        for row in random.sample(rows, len(rows)):
            if left > 0:
                found.append(row)
                left -= row["num_tokens"]
    write_jsonl(path, found)
    return path


def hard(chosen: Callable[[list[dict]], list[dict]]) -> Callable[[Work], Path]:
    def learn(work: Work) -> Path:
        return sft.train(sft.Sft(model=work.bench.student, data=data(work, chosen), epochs=1, batch_size=16,
                                 lr_decay=0.5, **work.common("run")))  # fmt: skip

    return learn


def soft(work: Work) -> Path:
    return distill.train(distill.Distill(
        model=work.bench.student, teacher=work.bench.teacher, method="soft", data=data(work, verified), epochs=1,
        batch_size=16, lr_decay=0.5, **work.common("run"),
    ))  # fmt: skip


def on_policy(teacher: str | None = None) -> Callable[[Work], Path]:
    def learn(work: Work) -> Path:
        return distill.train(distill.Distill(model=work.bench.student, teacher=teacher or work.bench.teacher,
                                             steps=work.steps("distill"), tasks=work.bench.tasks,
                                             **work.common("run")))  # fmt: skip

    return learn


def reinforced(work: Work, start: str | None = None) -> Path:
    return grpo.train(grpo.Grpo(model=start or work.bench.student, steps=work.steps("grpo"), preflight=False,
                                tasks=work.bench.tasks, **work.common("rl")))  # fmt: skip


def hard_then_reinforced(work: Work) -> Path:
    half = Work(work.bench, work.out, work.tokens // 2, work.seed, work.rows)
    return reinforced(half, str(hard(verified)(half)))


ARMS: dict[str, Callable[[Work], Path]] = {
    "SFT, all traces": hard(list),
    "SFT, verified": hard(verified),
    "SFT, the shortest": hard(shortest),
    "soft, verified": soft,
    "on-policy": on_policy(),
    "self, with the solution as a hint": on_policy(distill.SELF),
    "RL": reinforced,
    "SFT, then RL": hard_then_reinforced,
}


# --- measuring ----------------------------------------------------------------------------------------------------


def traces(bench: Bench) -> list[dict]:
    """All that the teacher answered, right or wrong; asked once."""
    path = bench.out / "traces.jsonl"
    if not path.exists():
        distill_data.make(distill_data.DistillData(
            model=bench.teacher, out=path, tasks=bench.tasks, num_problems=bench.traced, template=TEMPLATE, keep="all"
        ))  # fmt: skip
    return list(read_jsonl(path))


def measure(bench: Bench, model: LanguageModel) -> dict[str, list[bool]]:
    """By split, whether each problem is right."""
    found = {}
    for split in SPLITS:
        asked = problems(split, bench.num_problems, suite="quantities")
        answered = roll_out(model, asked, 1, Sampling(temperature=0.0, max_tokens=384), TEMPLATE)
        found[split] = [verify(p, own.completion.text).correct for p, [own] in zip(asked, answered, strict=True)]
    return found


def trained_tokens(folder: Path) -> int:
    return sum(row["tokens"] for path in sorted(folder.glob("*/metrics.jsonl")) for row in read_jsonl(path))


def run(bench: Bench, name: str, tokens: int, seed: int) -> None:
    """One arm, unless it is done. What was interrupted begins anew, so that its seconds are all counted."""
    out = folder_of(bench, name, tokens, seed)
    if (out / "result.json").exists():
        return
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    rows, started = traces(bench), time.process_time()
    checkpoint = ARMS[name](Work(bench, out, tokens, seed, rows))
    seconds = time.process_time() - started
    found = measure(bench, LanguageModel.load(str(checkpoint)))
    write_json(out / "result.json", found | {"seconds": seconds, "tokens": trained_tokens(out)})
    print(f"{name}, {tokens:,} tokens, seed {seed}: {seconds:,.0f} s, "
          + ", ".join(f"{split} {fmean(found[split]):.0%}" for split in SPLITS), flush=True)  # fmt: skip


def folder_of(bench: Bench, name: str, tokens: int, seed: int) -> Path:
    return bench.out / f"{name.replace(',', '').replace(' ', '-')}-{tokens}-{seed}"


def asked_once(bench: Bench, name: str, model: str) -> dict:
    """A model that is not trained here."""
    path = bench.out / f"{name}.json"
    if not path.exists():
        write_json(path, measure(bench, LanguageModel.load(model)))
    return json.loads(path.read_text(encoding="utf-8"))


# --- the table and the picture ------------------------------------------------------------------------------------


def results(bench: Bench, name: str, tokens: int) -> list[dict]:
    paths = [folder_of(bench, name, tokens, seed) / "result.json" for seed in range(bench.num_seeds)]
    return [json.loads(path.read_text(encoding="utf-8")) for path in paths if path.exists()]


def shares(runs: list[dict], split: str) -> list[float]:
    """Of each problem, over seeds."""
    return [fmean(own) for own in zip(*(run[split] for run in runs), strict=True)]


def cell(runs: list[dict], split: str, student: dict | None) -> str:
    """The mean with its interval over problems; with the student's, instead of it the change and the change's."""
    values = shares(runs, split)
    if student is None:
        low, high = share_interval(values)
        return f"{fmean(values):.0%} [{100 * low:.0f}, {100 * high:.0f}]"
    changes = [value - before for value, before in zip(values, student[split], strict=True)]
    low, high = (round(100 * end) for end in difference_interval(changes))
    words = f"{100 * fmean(changes):+.0f} [{low}, {high}]"
    return f"{fmean(values):.0%}, {f'**{words}**' if low > 0 or high < 0 else words}"


def row(name: str, runs: list[dict], split: str, student: dict | None = None) -> str:
    if not runs:
        return f"| {name} | " + " | ".join([NOT_YET] * (len(SPLITS) + 3)) + " |"
    cells = " | ".join(cell(runs, split, student) for split in SPLITS)
    if "seconds" not in runs[0]:
        return f"| {name} | {cells} | | | |"
    seeds = ", ".join(f"{fmean(run[split]):.0%}" for run in runs)
    tokens, seconds = (fmean(run[key] for run in runs) for key in ("tokens", "seconds"))
    return f"| {name} | {cells} | {seeds} | {tokens / 1000:,.0f}k | {seconds:,.0f} |"


def table(bench: Bench, tokens: int, student: dict, teacher: dict) -> str:
    rows = {**{name: results(bench, name, tokens) for name in ARMS}, "the teacher": [teacher]}
    head = [f"| student | held-out | `longer` | rephrased | {bench.split}, each seed | reply tokens | seconds |"]
    return "\n".join([*head, "|---|---|---|---|---|---|---|", row("nothing", [student], bench.split),
                      *(row(*own, bench.split, student) for own in rows.items())])  # fmt: skip


def draw(bench: Bench, student: dict, teacher: dict, path: Path) -> None:
    """Accuracy against the seconds of training: a line for each arm, its name at its end."""
    axes = new_axes((760, 420), (0.07, 0.12, 0.6, 0.78), LIGHT)
    dress(axes, LIGHT, 10.5, "seconds of training (CPU time)", f"{bench.split} problems right")
    for name, runs in (("nothing", student), ("the teacher", teacher)):
        level = fmean(runs[bench.split])
        axes.axhline(level, color=LIGHT["muted"], linestyle=":", linewidth=1.2)
        axes.annotate(name, (1, level), (-4, 4), xycoords=("axes fraction", "data"), textcoords="offset points",
                      color=LIGHT["muted"], fontsize=10.5, ha="right")  # fmt: skip
    curves = []
    for name in ARMS:
        found = [(fmean(run["seconds"] for run in runs), fmean(shares(runs, bench.split)))
                 for tokens in bench.tokens if (runs := results(bench, name, tokens))]  # fmt: skip
        if found:
            curves.append((name, found))
    seconds = [place for _, found in curves for place, _ in found] or [1.0, 10.0]
    axes.set_xscale("log")
    axes.set_xlim(min(seconds) / 1.3, max(seconds) * 1.3)
    axes.set_xticks(ticks(min(seconds) / 1.3, max(seconds) * 1.3, 8))
    axes.minorticks_off()
    axes.set_ylim(0, 1)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    axes.xaxis.set_major_formatter(lambda value, _: rounded(value))
    heights = spread([found[-1][1] for _, found in curves], 0.055, 0.03, 0.97)
    for place, ((name, found), height) in enumerate(zip(curves, heights, strict=True)):
        colour, marker = LIGHT[SERIES[place % len(SERIES)]], list(MARKERS)[place % len(MARKERS)]
        axes.plot(*zip(*found, strict=True), color=colour, marker=marker, markersize=MARKERS[marker][1], linewidth=1.6)
        axes.annotate(f"{MARKERS[marker][0]} {name}", (1, height), (10, 0), xycoords=("axes fraction", "data"),
                      va="center", textcoords="offset points", color=colour, fontsize=10.5,
                      annotation_clip=False)  # fmt: skip
    path.write_bytes(png(axes.figure, "bench/distil.py"))


def main(bench: Bench) -> None:
    print(
        f"{machine(pick_device('auto'))}; {bench.teacher} into {bench.student}, n = {bench.num_problems}\n", flush=True
    )
    bench.out.mkdir(parents=True, exist_ok=True)
    student = asked_once(bench, "student", bench.student)
    for seed in range(bench.num_seeds):
        for tokens in reversed(bench.tokens):
            for name in bench.only or ARMS:
                run(bench, name, tokens, seed)
    teacher = asked_once(bench, "teacher", bench.teacher)
    for tokens in bench.tokens:
        print(f"\nAt {tokens:,} reply tokens:\n\n{table(bench, tokens, student, teacher)}", flush=True)
    draw(bench, student, teacher, bench.out / "distil.png")


if __name__ == "__main__":
    main(tyro.cli(Bench))
