"""What training has changed: models side by side, asked step by step, greedily and 8 times, on three sets of problems,
and on the two of them that the training mixed.

    python bench/learning.py thinkling-base runs/learn/checkpoints/best

Prints a Markdown table, a row for each model and set, and what separates each model from the first: over the same
problems, so that the interval of the difference is narrower than those of the two.
"""

from dataclasses import dataclass
from statistics import fmean
from typing import Annotated

import tyro
from presets import right
from sides import machine

from thinkling.device import pick_device
from thinkling.evaluate.stats import mean_interval, pass_at_k, share_interval, wilson_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.tasks.builtin import problems
from thinkling.train.rl.rollout import roll_out

SETS = {
    "longer": ("quantities", "longer"),
    "held-out": ("quantities", "held-out"),
    "rephrased": ("quantities", "rephrased"),
}
NUM_SAMPLES = 8


@dataclass(frozen=True, kw_only=True)
class Bench:
    """Measure models beside the first. Example: python bench/learning.py thinkling-base runs/learn/checkpoints/best"""

    models: Annotated[tuple[str, ...], tyro.conf.Positional]
    """Names or folders; the others are compared with the first."""
    template: str = "step-by-step"
    num_problems: int = 500


def measure(bench: Bench, model: LanguageModel, suite: str, split: str) -> dict[str, list[float]]:
    """A share for each problem: right greedily, right in one sample, right in one of eight; and tokens, greedily."""
    asked = problems(split, bench.num_problems, suite=suite)
    greedy, drawn = Sampling(temperature=0.0, max_tokens=384), Sampling(temperature=1.0, max_tokens=384, seed=1)
    answers = roll_out(model, asked, 1, greedy, bench.template)
    sampled = [right(group) for group in roll_out(model, asked, NUM_SAMPLES, drawn, bench.template)]
    return {
        "greedy": [fmean(right(group)) for group in answers],
        "pass@1": [fmean(group) for group in sampled],
        "pass@8": [pass_at_k(NUM_SAMPLES, int(sum(group)), NUM_SAMPLES) for group in sampled],
        "tokens": [float(len(r.completion.tokens)) for [r] in answers],
    }


def cells(found: dict[str, list[float]], first: dict[str, list[float]]) -> list[str]:
    shown = []
    for name in ("greedy", "pass@1", "pass@8"):
        values = found[name]
        change = [mine - other for mine, other in zip(values, first[name], strict=True)]
        own = wilson_interval(int(sum(values)), len(values)) if name == "greedy" else share_interval(values)
        cell = f"{fmean(values):.1%} {percent((max(0.0, own[0]), min(1.0, own[1])))}"
        if found is not first:
            cell += f", {100 * fmean(change):+.1f} {percent(mean_interval(change))}"
        shown.append(cell)
    return [*shown, f"{fmean(found['tokens']):.0f}"]


def percent(interval: tuple[float, float]) -> str:
    return "[{:.1f}, {:.1f}]".format(*(100 * end for end in interval))


def main(bench: Bench) -> None:
    print(f"{machine(pick_device('auto'))}; {bench.template}, n = {bench.num_problems}\n")
    print("| problems | model | greedy | pass@1 | pass@8 | tokens |\n|---|---|---|---|---|---|")
    first: dict[str, dict] = {}
    for path in bench.models:
        model = LanguageModel.load(path)
        found = {name: measure(bench, model, *place) for name, place in SETS.items()}
        pairs = zip(found["longer"].items(), found["held-out"].values(), strict=True)
        found["the two together"] = {key: mine + other for (key, mine), other in pairs}
        for name, shares in found.items():
            print(f"| {name} | {path} | {' | '.join(cells(shares, first.setdefault(name, shares)))} |", flush=True)


if __name__ == "__main__":
    main(tyro.cli(Bench))
