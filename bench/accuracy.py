"""The README's table of accuracies: every row measured by this one command, with its interval, on held-out problems.

    python bench/accuracy.py --out runs/accuracy

Trains once with GRPO along the way (in at most --grpo-minutes), then asks the trained model the same questions. Prints
Markdown; OUT keeps every response, and the trained model in OUT/grpo/checkpoints.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from sides import machine

from thinkling.commands import grpo
from thinkling.commands.grpo import Grpo
from thinkling.device import pick_device
from thinkling.evaluate.result import Result
from thinkling.evaluate.run import evaluate
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.runs import new_run, write_json
from thinkling.scale.direct import Direct
from thinkling.scale.vote import SelfConsistency
from thinkling.tasks.builtin import problems
from thinkling.verify.math.grade import grade


@dataclass(frozen=True)
class Settings:
    """Measure the built-in model's table."""

    out: Path = Path("runs/accuracy")
    model: str = "thinkling-base"
    num_problems: int = 500
    num_votes: int = 8
    grpo_minutes: float = 4.0
    grpo_steps: int = 1000
    seed: int = 0


class Table:
    """Measures row after row and prints each as a line of Markdown."""

    def __init__(self, settings: Settings) -> None:
        self.settings, self.reports = settings, {}
        self.splits = {split: problems(split, settings.num_problems) for split in ("held-out", "unseen-templates")}
        print("| asked | method | held-out | 95% interval | unseen templates | tokens | seconds |")
        print("|---|---|---|---|---|---|---|")

    def row(self, model: LanguageModel, name: str, template: str, samples: int, temperature: float) -> None:
        sampling = Sampling(temperature=temperature, max_tokens=256, seed=self.settings.seed)
        method = SelfConsistency(sampling, samples, template) if samples > 1 else Direct(sampling, template)
        reports, pass_rates = {}, {}
        for split, chosen in self.splits.items():
            folder = self.settings.out / f"{len(self.reports) + 1:02}-{name.replace(' ', '-')}-{template}-{split}"
            reports[split], answered = evaluate(model, method, chosen, folder, f"{name}, {template}, {split}")
            solved = [any(grade(c.text, s.problem.reference).correct for c in s.answer.completions) for s in answered]
            pass_rates[split] = sum(solved) / len(solved)
        self.reports[f"{name} | {template}"] = {"reports": reports, f"pass@{samples}": pass_rates}
        report, unseen = reports["held-out"], reports["unseen-templates"]
        extra = f" (pass@{samples} {pass_rates['held-out']:.1%})" if samples > 1 else ""
        print(
            f"| {template} | {name} | {report.accuracy:.1%}{extra} | {interval(report)} | {unseen.accuracy:.1%} "
            f"{interval(unseen)} | {report.tokens:.0f} | {report.wall_seconds:.0f} |",
            flush=True,
        )


def interval(report: Result) -> str:
    low, high = report.low, report.high
    return f"[{100 * low:.1f}, {100 * high:.1f}]"


def main(settings: Settings) -> None:
    new_run(settings.out, settings)
    print(f"{machine(pick_device('auto'))}; n = {settings.num_problems}\n")
    model = LanguageModel.load(settings.model)
    table = Table(settings)
    for template in ("plain", "step-by-step"):
        table.row(model, "greedy", template, 1, 0.0)
        table.row(model, "one sample", template, 1, 1.0)
        table.row(model, f"vote of {settings.num_votes}", template, settings.num_votes, 1.0)
    plan = Grpo(out=settings.out / "grpo", model=settings.model, steps=settings.grpo_steps,
                minutes=settings.grpo_minutes, max_tokens=160, seed=settings.seed,
                eval_every=0, preflight=False)  # fmt: skip
    started, steps = time.perf_counter(), []
    grpo.train(plan, model, steps.append)
    took = time.perf_counter() - started
    table.row(model, "after GRPO, greedy", "plain", 1, 0.0)
    table.row(model, f"after GRPO, vote of {settings.num_votes}", "plain", settings.num_votes, 1.0)
    write_json(settings.out / "table.json", {"settings": settings, "rows": table.reports, "grpo_seconds": took})
    print(f"\nGRPO: {len(steps)} steps in {took:.0f} s ({took / len(steps):.2f} s each), reward {steps[0].reward:.2f} "
          f"-> {steps[-1].reward:.2f}, mean |trainer - sampler log-probability| {steps[-1].mismatch:.1e}")  # fmt: skip


if __name__ == "__main__":
    main(tyro.cli(Settings))
