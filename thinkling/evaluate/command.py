"""`thinkling eval`: from settings to a method, problems and a report on the screen."""

from rich.console import Console

from thinkling.errors import UserError
from thinkling.evaluate.plots import Row
from thinkling.evaluate.report import MUCH_TRUNCATED, table
from thinkling.evaluate.run import Report, evaluate
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.runs import new_run
from thinkling.scale.best_of_n import BestOfN
from thinkling.scale.direct import Direct, Method
from thinkling.scale.scorers import SCORERS
from thinkling.scale.vote import AdaptiveConsistency, SelfConsistency
from thinkling.settings import Eval
from thinkling.tasks.benchmarks import load_problems


def method_of(settings: Eval) -> Method:
    several = settings.method not in ("direct", "step-by-step")
    temperature = settings.temperature if settings.temperature is not None else float(several)
    sampling = Sampling(temperature=temperature, max_tokens=settings.max_tokens, seed=settings.seed)
    template = settings.template or ("step-by-step" if settings.method == "step-by-step" else "plain")
    if settings.scorer is not None and settings.method not in ("best-of-n", "self-consistency"):
        raise UserError(f"--scorer has no meaning for {settings.method}: use it with best-of-n or self-consistency")
    if not several:
        return Direct(sampling, template)
    if temperature == 0 and settings.num_samples > 1:
        raise UserError("--temperature 0 makes every sample alike, so more than one is pointless: raise it above 0")
    if settings.method == "adaptive":
        return AdaptiveConsistency(sampling, settings.num_samples, template)
    if settings.method == "best-of-n":
        return BestOfN(sampling, SCORERS[settings.scorer or "mean-logprob"], settings.num_samples, template)
    scorer = SCORERS[settings.scorer] if settings.scorer else None
    return SelfConsistency(sampling, settings.num_samples, template, scorer)


def row_of(name: str, report: Report) -> Row:
    """A report as a line of the table."""
    return Row(name, report.accuracy, *report.interval, report.tokens_per_problem, report.seconds, report.num_problems,
               report.truncated)  # fmt: skip


def main(settings: Eval) -> None:
    method = method_of(settings)
    problems = load_problems(settings.tasks, settings.split, settings.num_problems)
    model = LanguageModel.from_settings(settings)
    out = new_run(settings.out, settings)
    report, _ = evaluate(model, method, problems, out, f"{settings.method} on {settings.tasks}")
    console = Console()
    console.print(table([row_of(settings.method, report)]))
    if report.truncated > MUCH_TRUNCATED:
        console.print(
            f"[bold red]{report.truncated:.0%} of the completions were cut off[/]: what they would have answered is "
            f"not known. Raise --max-tokens (now {settings.max_tokens})."
        )
    if report.unparsed:
        console.print(f"{report.unparsed:.1%} of the problems got no answer that could be read.")
    console.print(f"Every response: {out / 'samples.jsonl'}")
