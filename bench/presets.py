"""Every objective of `thinkling grpo`, and the control arms, trained from the built-in model with several seeds.

    python bench/presets.py --out runs/presets

Prints a Markdown table and draws OUT/presets.png, which is guide/pictures/07-presets.png: accuracy on held-out problems
and on longer ones before and after, pass@8, length, tokens and seconds. Every run is a folder in OUT; what is
finished is not done again, so a long table can be made in pieces, and drawn anew. Two updates per batch, so that the
second is off policy and clips have something to do.
"""

import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from statistics import fmean

import tyro
from matplotlib.lines import Line2D
from sides import machine

from thinkling.commands.grpo import Grpo, train
from thinkling.device import pick_device
from thinkling.evaluate.stats import pass_at_k, share_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.report.palette import LIGHT
from thinkling.report.plots import dress, new_axes, png
from thinkling.runs import read_jsonl, write_json
from thinkling.tasks.builtin import problems
from thinkling.train.rl.objective import PRESETS
from thinkling.train.rl.rollout import Rollout, roll_out
from thinkling.train.run import FINISHED
from thinkling.verify.math.grade import grade

SCATTER = 0.2  # between the lowest and the highest seed
SEED = {"color": LIGHT["paper"], "markeredgecolor": LIGHT["ink"], "markeredgewidth": 0.9, "markersize": 4}
ARMS = {"random reward": ("random",), "format-only reward": ("format-only",)}  # dr-grpo, but for the reward


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Train every preset with every seed, and measure. Example: python bench/presets.py --out runs/presets"""

    out: Path = Path("runs/presets")
    names: tuple[str, ...] = (*PRESETS, *ARMS)
    """Presets, and of the control arms: "random reward", "format-only reward"."""
    num_seeds: int = 3
    steps: int = 40
    updates_per_batch: int = 2
    num_problems: int = 500
    """Held-out problems, asked greedily; two fifths of them are asked 8 times for pass@8, and as many longer ones
    greedily."""
    jobs: int = 2
    """Runs at the same time, each with its share of the cores."""
    train: bool = True
    """False: only the table and the picture of the runs that are there."""
    only: str = ""
    """One run, as NAME/SEED, in this process; what the jobs do."""


def plan(bench: Bench, name: str, seed: int) -> Grpo:
    arm = name in ARMS
    return Grpo(
        out=folder_of(bench, name, seed), preset="dr-grpo" if arm else name, reward=ARMS.get(name, ("correct",)),
        seed=seed, steps=bench.steps, updates_per_batch=bench.updates_per_batch, eval_every=0, preflight=False,
        save_every=0, watchdog=False,
    )  # fmt: skip


def folder_of(bench: Bench, name: str, seed: int) -> Path:
    return bench.out / f"{name.replace(' ', '-')}-{seed}"


def run_one(bench: Bench, name: str, seed: int) -> None:
    """Train, unless that is done, and measure."""
    settings = plan(bench, name, seed)
    if not (settings.out / FINISHED).exists():
        train(settings)
    finished = json.loads((settings.out / FINISHED).read_text(encoding="utf-8"))
    rows = list(read_jsonl(settings.out / "metrics.jsonl"))
    seconds = [sum(row[f"{part}_seconds"] for part in ("generate", "score", "train")) for row in rows]
    found = measure(bench, LanguageModel.load(finished["checkpoint"]))
    more = {"tokens": sum(row["tokens"] for row in rows), "seconds": sum(seconds), "updates": len(rows)}
    write_json(settings.out / "result.json", found | more)


def measure(bench: Bench, model: LanguageModel) -> dict:
    """Shares per problem, so that intervals can be over problems: greedy, longer problems greedily, 8 samples."""
    greedy, drawn = Sampling(temperature=0.0, max_tokens=384), Sampling(temperature=1.0, max_tokens=384, seed=1)
    fewer = bench.num_problems * 2 // 5
    held_out, longer = (problems(split, number, suite="quantities")
                        for split, number in (("held-out", bench.num_problems), ("longer", fewer)))  # fmt: skip
    answered = roll_out(model, held_out, 1, greedy, "plain")
    sampled = [right(group) for group in roll_out(model, held_out[:fewer], 8, drawn, "plain")]
    return {
        "held_out": [fmean(right(group)) for group in answered],
        "longer": [fmean(right(group)) for group in roll_out(model, longer, 1, greedy, "plain")],
        "pass_1": [fmean(group) for group in sampled],
        "pass_8": [pass_at_k(8, int(sum(group)), 8) for group in sampled],
        "length": fmean(len(group[0].completion.tokens) for group in answered),
    }


def right(group: list[Rollout]) -> list[float]:
    """Graded as `thinkling eval` does, with or without a box."""
    problem: Problem = group[0].problem
    return [float(grade(r.completion.text, problem.reference).correct) for r in group]


# --- the table ----------------------------------------------------------------------------------------------------


def table(bench: Bench, before: dict) -> list[dict]:
    """One row per name, of the seeds whose runs are there; the base model first. Means over seeds, intervals over
    problems."""
    rows = [row_of("before", [before | {"tokens": 0, "seconds": 0.0, "updates": 0}])]
    for name in bench.names:
        paths = [folder_of(bench, name, seed) / "result.json" for seed in range(bench.num_seeds)]
        paths = [path for path in paths if path.exists()]
        if paths:
            rows.append(row_of(name, [json.loads(path.read_text(encoding="utf-8")) for path in paths]))
    return rows


def row_of(name: str, runs: list[dict]) -> dict:
    row = {"name": name, "seeds": [fmean(run["held_out"]) for run in runs]}
    for key in ("held_out", "longer", "pass_1", "pass_8"):
        values = [fmean(own) for own in zip(*(run[key] for run in runs), strict=True)]  # of a problem, over seeds
        row[key], row[f"{key}_interval"] = fmean(values), share_interval(values)
    for key in ("length", "tokens", "seconds", "updates"):
        row[key] = fmean(run[key] for run in runs)
    return row


def markdown(rows: list[dict]) -> str:
    lines = [
        "| objective | held-out | 95% interval | seeds | pass@1 | pass@8 | longer | length | tokens | "
        "seconds per step |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for row in rows:
        low, high = row["held_out_interval"]
        each = row["seeds"]
        seeds = f"{len(each)}: {min(each):.1%} to {max(each):.1%}" if len(each) > 1 else str(len(each))
        lines.append(
            f"| {row['name']} | {row['held_out']:.1%} | [{100 * low:.1f}, {100 * high:.1f}] | {seeds} | "
            f"{row['pass_1']:.1%} | {row['pass_8']:.1%} | {row['longer']:.1%} | {row['length']:.0f} | "
            + (f"{row['tokens'] / 1e6:.2f}M | {row['seconds'] / row['updates']:.2f} |" if row["updates"] else " | |")
        )
    return "\n".join(lines)


def draw(rows: list[dict], path: Path) -> None:
    """A row for each: the mean of the seeds with its interval, every seed, and pass@8.

    Where seeds differ by more than SCATTER, a mean says nothing of any of them: only the seeds are drawn.
    """
    height = 24 * len(rows) + 78
    axes = new_axes((760, height), (0.17, 46 / height, 0.8, 1 - 78 / height), LIGHT)
    dress(axes, LIGHT, 10.5, "held-out problems right", "", lines="x")
    for place, row in enumerate(reversed(rows)):
        colour = LIGHT["muted" if row["name"] == "before" else "accent"]
        if max(row["seeds"]) - min(row["seeds"]) <= SCATTER:
            span = {"color": colour, "alpha": 0.35, "linewidth": 6, "solid_capstyle": "butt"}
            axes.plot(row["held_out_interval"], [place] * 2, **span)
            axes.plot(row["held_out"], place, "o", color=colour, markersize=7)
            axes.plot(row["pass_8"], place, "D", color=LIGHT["series-2"], markersize=5)
        if len(row["seeds"]) > 1:
            axes.plot(row["seeds"], [place] * len(row["seeds"]), "o", **SEED)
    axes.set_yticks(range(len(rows)), [row["name"] for row in reversed(rows)])
    axes.tick_params(axis="y", labelcolor=LIGHT["ink"], length=0)
    axes.set_xlim(0, 1)
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.xaxis.set_major_formatter(lambda value, _: f"{value:.0%}")
    signs = [
        Line2D(
            [],
            [],
            color=LIGHT["accent"],
            marker="o",
            markersize=7,
            linewidth=6,
            alpha=0.6,
            label="greedy: mean of the seeds, 95% interval",
        ),
        Line2D([], [], marker="o", linewidth=0, label="each seed", **SEED),
        Line2D([], [], color=LIGHT["series-2"], marker="D", markersize=5, linewidth=0, label="pass@8"),
    ]
    axes.figure.legend(
        handles=signs,
        loc="upper left",
        bbox_to_anchor=(0.16, 1),
        ncols=3,
        frameon=False,
        fontsize=10.5,
        labelcolor=LIGHT["muted"],
    )
    path.write_bytes(png(axes.figure, "bench/presets.py"))


def main(bench: Bench) -> None:
    if bench.only:
        name, seed = bench.only.rsplit("/", 1)
        return run_one(bench, name, int(seed))
    print(f"{machine(pick_device('auto'))}; {bench.steps} steps x 16 problems x 8 rollouts, {bench.updates_per_batch} "
          f"updates per batch, {bench.num_seeds} seeds, n = {bench.num_problems}\n", flush=True)  # fmt: skip
    base = bench.out / "before.json"
    if not base.exists():
        write_json(base, measure(bench, LanguageModel.load("thinkling-base")))
    wanted = [(name, seed) for seed in range(bench.num_seeds) for name in bench.names]
    missing = [(n, s) for n, s in wanted if bench.train and not (folder_of(bench, n, s) / "result.json").exists()]
    threads = str(max(1, (os.cpu_count() or 1) // bench.jobs))

    def start(run: tuple[str, int]) -> None:
        own = replace(bench, only=f"{run[0]}/{run[1]}")
        given = {key: value for key, value in asdict(own).items() if key not in ("names", "train")}
        flags = [f"--{key.replace('_', '-')}={value}" for key, value in given.items()]
        subprocess.run([sys.executable, __file__, *flags], check=True, env=os.environ | {"OMP_NUM_THREADS": threads})

    with ThreadPoolExecutor(bench.jobs) as pool:
        list(pool.map(start, missing))
    rows = table(bench, json.loads(base.read_text(encoding="utf-8")))
    print(markdown(rows))
    write_json(bench.out / "table.json", {"settings": bench, "machine": machine(pick_device("auto")), "rows": rows})
    draw(rows, bench.out / "presets.png")


if __name__ == "__main__":
    main(tyro.cli(Bench))
