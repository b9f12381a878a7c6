"""`thinkling demo`: the whole story in one run. Ask a base model, let it think, let it vote, train it, look at what
changed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rich.console import Console
from rich.text import Text

from thinkling.checks import above_zero, at_least, finite
from thinkling.words import counted

if TYPE_CHECKING:
    from thinkling.evaluate.result import Result
    from thinkling.evaluate.run import Sample
    from thinkling.generate.language_model import LanguageModel
    from thinkling.problem import Problem
    from thinkling.report.eval_report import BeforeAfter
    from thinkling.scale.method import Method

VOTES = 8
PLAIN = "plain"
SUITE = "quantities"
MAX_TOKENS = 384


@dataclass(frozen=True, kw_only=True)
class Demo:
    """Run the whole story on the built-in model: ask, think, vote, train, see what changed.

    Ends with OUT/report.html. Takes a few minutes on two CPU cores.
    """

    out: Path = Path("runs/demo")
    """The run's folder; an earlier one in it is kept beside, as demo-2, demo-3, ..."""
    model: str = "thinkling-base"
    """The base model to start from."""
    num_problems: int = 200
    """Held-out problems per measurement."""
    grpo_minutes: float = 3.5
    """How long to train, in minutes, at most."""
    grpo_steps: int = 60
    """How long to train, in steps, at most."""
    seed: int = 0
    """Of all that is drawn at random, in answers and in training."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(1, num_problems=self.num_problems, grpo_steps=self.grpo_steps)
        above_zero(grpo_minutes=self.grpo_minutes)  # said before anything is measured, not when training begins


class Measurements:
    """Runs one measurement after the other and keeps a row of the table for each."""

    def __init__(self, console: Console, held_out: Sequence[Problem], out: Path) -> None:
        self.console, self.held_out, self.out = console, held_out, out
        self.rows: list[Result] = []

    def add(self, name: str, model: LanguageModel, method: Method) -> list[Sample]:
        from thinkling.evaluate.run import evaluate
        from thinkling.report.tables import flowing, interval

        folder = self.out / f"{len(self.rows) + 1}-{name.replace(' ', '-').replace(',', '')}"
        report, samples = evaluate(model, method, self.held_out, folder, name)
        self.rows.append(report)
        cells = [Text(f"{name:<22} ").append(f"{report.accuracy:6.1%}", "bold"), interval(report.low, report.high),
                 f"{report.tokens:5.0f} tokens a problem", f"{report.wall_seconds:5.1f} s"]  # fmt: skip
        self.console.print(*flowing(cells, self.console.width), sep="\n", highlight=False)
        return samples


def main(settings: Demo) -> None:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.generate.sampling import Sampling
    from thinkling.report.eval_report import table, training_headline, write_html
    from thinkling.runs import new_run, write_json
    from thinkling.scale.direct import Direct
    from thinkling.scale.vote import SelfConsistency
    from thinkling.tasks.builtin import problems

    greedy = Sampling(temperature=0.0, max_tokens=MAX_TOKENS)
    diverse = Sampling(temperature=1.0, max_tokens=MAX_TOKENS)
    console = Console()
    out = new_run(free_folder(settings.out), settings)
    with console.status("making problems and loading the model"):
        held_out = problems("held-out", settings.num_problems, suite=SUITE)
        model = LanguageModel.load(settings.model, settings.device)
    size = model.network.config.num_parameters()
    console.rule(
        f"[bold]{settings.model}[/]: {size / 1e6:.1f} million parameters, {counted(len(held_out), 'held-out problem')}"
    )
    measure = Measurements(console, held_out, out)

    console.print("\n[bold]1. The base model, as it is.[/] It answers at once.")
    before = measure.add(PLAIN, model, Direct(greedy))
    console.print("\n[bold]2. The same weights, asked to explain step by step.[/] Tokens buy accuracy.")
    measure.add("step by step", model, Direct(greedy, "step-by-step"))
    console.print(f"\n[bold]3. The same weights, {VOTES} samples and a vote.[/]")
    measure.add(f"vote of {VOTES}", model, SelfConsistency(diverse, VOTES))

    console.print("\n[bold]4. Reinforcement learning.[/] The plain question again; a right answer is the only reward.")
    checkpoint, rewards = learn(settings, model, out)
    model = LanguageModel.load(str(checkpoint), settings.device)  # the one in memory may have collapsed
    console.print("\n\n[bold]5. The trained model, asked plainly.[/] Nobody tells it to explain.")
    after = measure.add(f"{PLAIN}, after GRPO", model, Direct(greedy))
    measure.add(f"vote of {VOTES}, after GRPO", model, SelfConsistency(diverse, VOTES))

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
    console.print(f"\nThe report, with plots: [bold]{out / 'report.html'}[/]", soft_wrap=True)
    suggest(console, checkpoint)


def suggest(console: Console, checkpoint: Path) -> None:
    """Commands to paste."""
    from thinkling.terminal import own_name

    name = own_name()
    console.print("What to try next:", highlight=False)
    console.print(f'  {name} generate "What is 37 * 24?" --model {checkpoint}', highlight=False, soft_wrap=True)
    more = f"  {name} eval --model {checkpoint} --split longer --out runs/longer"
    console.print(more, highlight=False, soft_wrap=True)  # a command is pasted, so its line is not broken
    console.print("  guide/01-understanding-reasoning-models.md", highlight=False)


def learn(settings: Demo, model: LanguageModel, out: Path) -> tuple[Path, list[tuple[int, float]]]:
    """Train the model in place; returns the checkpoint that counts, and the reward after each step."""
    from thinkling.commands.grpo import Grpo, train
    from thinkling.runs import FINISHED, read_object
    from thinkling.train.rl.live_table import LiveTable

    plan = Grpo(
        out=out / "grpo", model=settings.model, steps=settings.grpo_steps, minutes=settings.grpo_minutes,
        tasks=(SUITE,), max_tokens=MAX_TOKENS, seed=settings.seed, device=settings.device, eval_every=0,
        preflight=False,
    )  # fmt: skip
    with LiveTable(plan.steps) as live:
        checkpoint = train(plan, model, live)
    finished = read_object(plan.out / FINISHED)
    if finished["stopped"]:
        live.live.console.print(f"\nStopped: {finished['stopped']}. What follows is measured at {checkpoint}.",
                                soft_wrap=True)  # fmt: skip
    elif finished["steps"] < plan.steps:
        live.live.console.print(f"\nAfter {plan.minutes:g} minutes (--grpo-minutes) it ends, at step "
                                f"{finished['steps']} of {plan.steps}.", soft_wrap=True)  # fmt: skip
    return checkpoint, [(metrics.step + 1, metrics.reward) for metrics in live.rows]


def learned(before: Sequence[Sample], after: Sequence[Sample], most: int = 2) -> list[BeforeAfter]:
    """Problems that the base model got wrong and the trained one right: the shortest, which are soonest read."""
    from thinkling.report.eval_report import BeforeAfter

    pairs = [(b, a) for b, a in zip(before, after, strict=True) if a.verdict.correct and not b.verdict.correct]
    pairs.sort(key=lambda pair: len(pair[1].answer.text))
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


def how_it_was_made(settings: Demo) -> dict[str, str]:
    from thinkling.device import facts

    return {
        "command": f"thinkling demo --model {settings.model} --num-problems {settings.num_problems} "
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
