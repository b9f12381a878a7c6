"""`thinkling scorers RUN`: how well does each scorer rank right above wrong, on the samples that a run has drawn?"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from rich import box
from rich.console import Console
from rich.table import Table

from thinkling.errors import UserError
from thinkling.evaluate.stats import auroc, auroc_interval, auroc_within, mean_interval, wilson_interval
from thinkling.generate.cached import CachedModel
from thinkling.generate.language_model import Completion, LanguageModel, Model
from thinkling.generate.sampling import Sampling
from thinkling.problem import Problem
from thinkling.runs import alone_in, read_object, write_json
from thinkling.scale.direct import samples
from thinkling.scale.methods import scorer_for
from thinkling.scale.scorers import ALONE, Scorer
from thinkling.settings import Scorers
from thinkling.tasks.benchmarks import load_problems
from thinkling.verify.math.grade import grade

DEFAULT = (*ALONE, "confidence-mean", "confidence-group", "confidence-bottom", "confidence-tail", "p-true")


@dataclass(frozen=True)
class Ranking:
    """One scorer on one pool.

    overall: the chance that a right completion scores above a wrong one, of any problem (AUROC; 0.5 knows nothing).
    within: the same between completions of one problem, averaged over the problems that have both: what best of n
    needs. best: the accuracy of the best-scored completion of each problem. Intervals are 95%.
    """

    scorer: str
    overall: float
    overall_interval: tuple[float, float]
    within: float
    within_interval: tuple[float, float]
    best: float
    best_interval: tuple[float, float]


async def rank(
    name: str, scorer: Scorer, model: Model, problems: Sequence[Problem], pools: Sequence[Sequence[Completion]]
) -> Ranking:
    """Score every completion of every pool, and compare with the verdicts. Raises UserError if none is right, or
    none is wrong."""
    asked = [scorer(model, problem, c) for problem, pool in zip(problems, pools, strict=True) for c in pool]
    scores = [max(score, -1e30) for score in await asyncio.gather(*asked)]  # minus infinity: no answer
    places = [place for place, pool in enumerate(pools) for _ in pool]
    labels = [
        grade(c.text, problem.reference).correct for problem, pool in zip(problems, pools, strict=True) for c in pool
    ]
    within = auroc_within(scores, labels, places)
    first_best: dict[int, tuple[float, bool]] = {}
    for place, score, right in zip(places, scores, labels, strict=True):
        first_best[place] = max(first_best.get(place, (score, right)), (score, right), key=lambda pair: pair[0])
    best = sum(right for _, right in first_best.values())
    return Ranking(name, auroc(scores, labels), auroc_interval(scores, labels, places), fmean(within),
                   mean_interval(within), best / len(pools), wilson_interval(best, len(pools)))  # fmt: skip


def main(settings: Scorers) -> None:
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
    problems = load_problems(run["tasks"], run["split"], run["num_problems"])
    sampling = Sampling(temperature=temperature, max_tokens=run["max_tokens"], seed=run["seed"])
    model = LanguageModel.load(run["model"], settings.device, settings.dtype)
    console = Console()

    async def measure() -> list[Ranking]:
        pool, numbers = CachedModel(model, settings.run / "pool.jsonl"), range(settings.num_samples)
        pools = await asyncio.gather(*(samples(pool, p, settings.template, sampling, numbers) for p in problems))
        found = []
        for name in settings.scorers or DEFAULT:
            scorer = scorer_for(name, settings.template, settings.confidence_window, run["model"])
            with console.status(name):
                found.append(await rank(name, scorer, pool, problems, pools))
        return sorted(found, key=lambda ranking: -ranking.within)

    with alone_in(settings.run):
        found = asyncio.run(measure())
    console.print(table(found, len(problems), settings))
    write_json(settings.run / f"scorers-{settings.template}-{temperature:g}.json", found)


def table(found: Sequence[Ranking], num_problems: int, settings: Scorers) -> Table:
    drawn = Table(
        box=box.SIMPLE_HEAD, padding=(0, 1), pad_edge=False, caption_justify="left",
        caption=f"{num_problems} problems x {settings.num_samples} samples, {settings.template}; in brackets, 95% "
        "intervals. .5 knows nothing.",
    )  # fmt: skip
    for header in ("scorer", "right above wrong,\nsame problem", "right above wrong,\nany problem"):
        drawn.add_column(header, justify="left" if header == "scorer" else "right")
    drawn.add_column(f"best of {settings.num_samples}", justify="right")
    for r in found:
        areas = [(r.within, *r.within_interval), (r.overall, *r.overall_interval)]
        cells = ["{} [{}, {}]".format(*map(share, area)) for area in areas]
        low, high = r.best_interval
        drawn.add_row(r.scorer, *cells, f"{r.best:.1%} [{100 * low:.1f}, {100 * high:.1f}]")
    return drawn


def share(value: float) -> str:
    """Three decimals, and no zero before the point: .926, 1.000."""
    return f"{value:.3f}".removeprefix("0")
