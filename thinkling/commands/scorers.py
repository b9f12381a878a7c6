"""`thinkling scorers RUN`: how well does each scorer rank right above wrong, on the samples that a run has drawn?"""

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.anywhere import run_anywhere
from thinkling.checks import above_zero, at_least
from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError
from thinkling.scale.methods import ScorerName
from thinkling.scale.prompts import Template


@dataclass(frozen=True, kw_only=True)
class Scorers(ModelSettings):
    """Measure how well each scorer ranks right answers above wrong ones, on the samples of a run.

    RUN is the folder of a scale run, or of an eval run by self-consistency or best-of-n.
    """

    run: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="RUN")]
    """The run's folder."""
    scorers: tuple[ScorerName, ...] = ()
    """Which ones; without it all that need nothing but the model."""
    template: Template = "plain"
    """Of the run's samples, those of this template."""
    temperature: float | None = None
    """And of this temperature. Default: the run's own, else 1."""
    num_samples: int = 8
    """Samples per problem; those that the run did not draw are drawn."""
    confidence_window: int = 16
    """Tokens in a group, for the scorers named confidence-... (DeepConf); its authors use 2048."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(2, num_samples=self.num_samples)
        above_zero(temperature=1.0 if self.temperature is None else self.temperature)


def main(settings: Scorers) -> None:
    from rich.console import Console

    from thinkling.evaluate.scorer_quality import DEFAULT, Ranking, rank
    from thinkling.generate.cached import CachedModel
    from thinkling.generate.language_model import LanguageModel
    from thinkling.generate.sampling import Sampling
    from thinkling.progress import Progress
    from thinkling.report.scorer_table import table
    from thinkling.runs import alone_in, read_object, write_json
    from thinkling.scale.direct import samples
    from thinkling.scale.failures import unusable
    from thinkling.scale.methods import scorer_for
    from thinkling.tasks.benchmarks import load_problems

    config = settings.run / "config.json"
    if not (settings.run / "pool.jsonl").is_file():
        raise UserError(f"{settings.run} holds no pool of samples: give the folder of a scale or eval run")
    run = read_object(config) if config.is_file() else {}
    lacking = [name for name in ("model", "tasks", "split", "num_problems", "max_tokens", "seed") if name not in run]
    if lacking:
        raise UserError(f"{config} lacks {', '.join(lacking)}: give the folder of a scale or eval run")
    temperature = settings.temperature or run.get("temperature") or 1.0
    if run.get("server"):
        raise UserError(f"{settings.run} was drawn from a server: scorers needs the weights here")
    own = {"columns": run.get("columns", ()), "shuffle": run.get("shuffle_options")}
    problems = load_problems(run["tasks"], run["split"], run["num_problems"], **own)
    skipped = {failure.row for failure in unusable(run["tasks"], problems)}
    problems = [problem for row, problem in enumerate(problems, start=1) if row not in skipped]
    sampling = Sampling(temperature=temperature, max_tokens=run["max_tokens"], seed=run["seed"])
    adapter = Path(run["adapter"]) if run.get("adapter") else None
    model = LanguageModel.load(
        run["model"], settings.device, settings.dtype, adapter, settings.quantize, settings.batch_invariant
    )

    async def measure() -> list[Ranking]:
        pool, numbers = CachedModel(model, settings.run / "pool.jsonl"), range(settings.num_samples)
        pools = await asyncio.gather(*(samples(pool, p, settings.template, sampling, numbers) for p in problems))
        found, names = [], settings.scorers or DEFAULT
        with Progress("scoring", len(names)) as progress:
            for name in names:
                progress.update(len(found), name)
                scorer = scorer_for(name, settings.template, settings.confidence_window, run["model"])
                found.append(await rank(name, scorer, pool, problems, pools))
        return sorted(found, key=lambda ranking: -ranking.within)

    with alone_in(settings.run):
        found = run_anywhere(measure())
    Console().print(table(found, len(problems), settings.num_samples, settings.template))
    write_json(settings.run / f"scorers-{settings.template}-{temperature:g}.json", found)
