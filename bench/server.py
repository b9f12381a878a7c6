"""The same methods on the same weights, in this process and on a server: the same table, and who takes how long.

    python bench/server.py --server http://127.0.0.1:8000 --served-name thinkling-base

Start the server first, on the same folder and in float32; bench/README.md has the commands. Prints Markdown: accuracies
with their 95% intervals, the exact McNemar test between the two, tokens per second of each. Samples are drawn from
different random streams, so only greedy answers can be equal one by one. The two take turns, method after method, so
that a noisy machine troubles both.
"""

import time
from dataclasses import dataclass
from pathlib import Path

import tyro
from sides import machine

from thinkling.device import pick_device
from thinkling.evaluate.run import Sample, evaluate
from thinkling.evaluate.stats import paired_p_value, wilson_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling
from thinkling.report.scale_words import interval
from thinkling.runs import new_run, write_json
from thinkling.scale.methods import build, parse, scorer_for
from thinkling.tasks.builtin import problems


@dataclass(frozen=True)
class Settings:
    """Compare this process with a server."""

    server: str
    served_name: str
    model: str = "thinkling-base"
    out: Path = Path("runs/server")
    num_problems: int = 200
    methods: tuple[str, ...] = (
        "direct", "step-by-step", "self-consistency=8", "adaptive=8", "best-of-n:mean-logprob=8", "best-of-n:p-true=2",
        "self-consistency:confidence-group=8", "refine:mean-logprob=1", "budget-forcing=64", "beam=4",
        "cot-decoding=4",
    )  # fmt: skip


def measure(model: Model, text: str, settings: Settings) -> tuple[list[Sample], float]:
    recipe = parse(text)
    sampling = Sampling(temperature=recipe.kind.temperature, max_tokens=256)
    method = build(recipe, recipe.budgets[0], sampling,
                   lambda name: scorer_for(name, recipe.template, 16, settings.model))  # fmt: skip
    started = time.perf_counter()
    _, samples = evaluate(model, method, problems("held-out", settings.num_problems), None, f"{text}, {model.name}")
    return samples, time.perf_counter() - started


def main(settings: Settings) -> None:
    new_run(settings.out, settings)
    print(f"{machine(pick_device('auto'))}; n = {settings.num_problems}; the server: {settings.server}\n")
    sides = {"here": LanguageModel.load(settings.model), "server": RemoteModel(settings.server, settings.served_name)}
    for model in sides.values():  # warm both up
        measure(model, "direct", Settings(settings.server, settings.served_name, settings.model, num_problems=20))
    print("| method | here | server | same answers | p | here, tokens/s | server, tokens/s | ratio |")
    print("|---|---|---|---|---|---|---|---|")
    rows = []
    for text in settings.methods:
        found = {side: measure(model, text, settings) for side, model in sides.items()}
        rows.append(row(text, found))
        print("| " + " | ".join(rows[-1].values()) + " |", flush=True)
    write_json(settings.out / "table.json", {"settings": settings, "rows": rows})


def row(text: str, found: dict[str, tuple[list[Sample], float]]) -> dict[str, str]:
    right = {side: [s.verdict.correct for s in samples] for side, (samples, _) in found.items()}
    pairs = list(zip(right["here"], right["server"], strict=True))
    answers = zip(*([s.answer.final for s in samples] for samples, _ in found.values()), strict=True)
    speed = {side: sum(len(c.tokens) for s in samples for c in s.answer.completions) / seconds
             for side, (samples, seconds) in found.items()}  # fmt: skip
    return {
        "method": text,
        **{side: share(hits) for side, hits in right.items()},
        "same answers": f"{sum(a == b for a, b in answers) / len(pairs):.0%}",
        "p": f"{paired_p_value(sum(a and not b for a, b in pairs), sum(b and not a for a, b in pairs)):.2f}",
        **{f"{side}, tokens/s": f"{rate:,.0f}" for side, rate in speed.items()},
        "ratio": f"{speed['here'] / speed['server']:.1f}x",
    }


def share(hits: list[bool]) -> str:
    return f"{sum(hits) / len(hits):.1%} {interval(*wilson_interval(sum(hits), len(hits)))}"


if __name__ == "__main__":
    main(tyro.cli(Settings))
