"""The whole story in one run: ask a base model, let it think, let it vote, train it, and look at what changed."""

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from thinkling.device import facts
from thinkling.evaluate.result import Result
from thinkling.evaluate.run import Sample, evaluate
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.report.eval_report import BeforeAfter, table, training_headline, write_html
from thinkling.report.tables import interval
from thinkling.runs import new_run, write_json
from thinkling.scale.direct import Direct, Method
from thinkling.scale.vote import SelfConsistency
from thinkling.settings import Grpo, Tour
from thinkling.tasks.builtin import problems
from thinkling.train.rl import trainer as grpo
from thinkling.train.rl.live_table import LiveTable

VOTES = 8
PLAIN = "plain"
GREEDY = Sampling(temperature=0.0, max_tokens=256)
DIVERSE = Sampling(temperature=1.0, max_tokens=256)


class Measurements:
    """Runs one measurement after the other and keeps a row of the table for each."""

    def __init__(self, console: Console, held_out: Sequence[Problem], out: Path) -> None:
        self.console, self.held_out, self.out = console, held_out, out
        self.rows: list[Result] = []

    def add(self, name: str, model: LanguageModel, method: Method) -> list[Sample]:
        folder = self.out / f"{len(self.rows) + 1}-{name.replace(' ', '-').replace(',', '')}"
        report, samples = evaluate(model, method, self.held_out, folder, name)
        self.rows.append(report)
        self.console.print(
            f"  {name:<22} [bold]{report.accuracy:6.1%}[/]  {interval(report.low, report.high)}"
            f"  {report.tokens:5.0f} tokens a problem  {report.wall_seconds:5.1f} s",
            highlight=False,
        )
        return samples


def main(settings: Tour) -> None:
    console = Console()
    out = new_run(free_folder(settings.out), settings)
    with console.status("making problems and loading the model"):
        held_out = problems("held-out", settings.num_problems)
        model = LanguageModel.load(settings.model, settings.device)
    size = model.network.config.num_parameters()
    console.rule(f"[bold]{settings.model}[/]: {size / 1e6:.1f} million parameters, {len(held_out)} held-out problems")
    measure = Measurements(console, held_out, out)

    console.print("\n[bold]1. The base model, as it is.[/] It answers at once.")
    before = measure.add(PLAIN, model, Direct(GREEDY))
    console.print("\n[bold]2. The same weights, asked to explain step by step.[/] Tokens buy accuracy.")
    measure.add("step by step", model, Direct(GREEDY, "step-by-step"))
    console.print(f"\n[bold]3. The same weights, {VOTES} samples and a vote.[/]")
    measure.add(f"vote of {VOTES}", model, SelfConsistency(DIVERSE, VOTES))

    console.print("\n[bold]4. Reinforcement learning.[/] The plain question again; a right answer is the only reward.")
    rewards = learn(settings, model, out)
    console.print("\n\n[bold]5. The trained model, asked plainly.[/] Nobody tells it to explain.")
    after = measure.add(f"{PLAIN}, after GRPO", model, Direct(GREEDY))
    measure.add(f"vote of {VOTES}, after GRPO", model, SelfConsistency(DIVERSE, VOTES))

    console.print()
    console.print(table(measure.rows))
    rows = measure.rows
    first, second = rows[0], next(row for row in rows if row.method == f"{PLAIN}, after GRPO")
    for line in training_headline(rows, first, second):
        console.print(line, style="bold", highlight=False)
    examples = learned(before, after)
    show(console, examples)
    write_json(out / "report.json", {"rows": measure.rows, "rewards": rewards})
    write_html(
        out / "report.html",
        "From a base model to a reasoning model",
        measure.rows,
        rewards,
        examples,
        how_it_was_made(settings),
        trained=(first, second),
    )
    checkpoint = sorted((out / "grpo" / "checkpoints").iterdir())[-1]
    console.print(f"\nThe report, with plots: [bold]{out / 'report.html'}[/]", soft_wrap=True)
    console.print("What to try next:", highlight=False)
    console.print(f'  thinkling generate "What is 37 * 24?" --model {checkpoint}', highlight=False, soft_wrap=True)
    more = f"  thinkling eval --model {checkpoint} --split unseen-templates --out runs/unseen"
    console.print(more, highlight=False, soft_wrap=True)  # a command is pasted, so its line is not broken
    console.print("  guide/01-understanding-reasoning-models.md", highlight=False)


def learn(settings: Tour, model: LanguageModel, out: Path) -> list[tuple[int, float]]:
    """Train the model in place; returns the reward after each step."""
    plan = Grpo(
        out=out / "grpo", model=settings.model, steps=settings.grpo_steps, minutes=settings.grpo_minutes,
        seed=settings.seed, device=settings.device, eval_every=0, doctor=False,
    )  # fmt: skip
    with LiveTable(plan.steps) as live:
        grpo.train(plan, model, live)
    return [(metrics.step + 1, metrics.reward) for metrics in live.rows]


def learned(before: Sequence[Sample], after: Sequence[Sample], most: int = 2) -> list[BeforeAfter]:
    """Problems that the base model got wrong and the trained one right: first those with the most to show, in words."""
    pairs = [(b, a) for b, a in zip(before, after, strict=True) if a.verdict.correct and not b.verdict.correct]
    pairs.sort(key=lambda pair: (pair[1].problem.family != "word", len(pair[1].answer.text)))
    return [
        BeforeAfter(
            a.problem.question, a.problem.reference, b.answer.text, a.answer.text, b.verdict.reason, a.verdict.reason
        )
        for b, a in pairs[:most]
    ]


def show(console: Console, examples: Sequence[BeforeAfter]) -> None:
    for example in examples:
        console.rule(style="dim")
        console.print(f"[bold]{example.question}[/]   (answer: {example.reference})", highlight=False)
        for title, text, reason in (
            ("base model", example.before_text, example.before_reason),
            ("after GRPO", example.after_text, example.after_reason),
        ):
            console.print(f"\n[dim]{title}: {reason}[/]", highlight=False)
            console.print(text, markup=False, highlight=False)


def how_it_was_made(settings: Tour) -> dict[str, str]:
    return {
        "command": f"thinkling tour --model {settings.model} --num-problems {settings.num_problems} "
        f"--grpo-steps {settings.grpo_steps} --grpo-minutes {settings.grpo_minutes} --seed {settings.seed}",
        **facts(),
        "seeds": f"problems 0, sampling 0, training {settings.seed}",
    }


def free_folder(wanted: Path) -> Path:
    """The folder itself, or the first of wanted-2, wanted-3, ... that holds no run."""
    number, folder = 1, wanted
    while (folder / "config.json").exists():
        number += 1
        folder = wanted.with_name(f"{wanted.name}-{number}")
    return folder
