"""What guessing ahead gains: new tokens per second and per pass with `--speculate N` and without, the same weights and
prompts, taking turns in one process.

Two kinds of work: word problems with their steps, and revisions (the question, a draft and its review stand in the
prompt). Greedy, so that both sides write the same text. Left out: other models' runs.
"""

import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import torch
import tyro
from sides import machine, spread

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.runs import write_json
from thinkling.scale.prompts import critique_prompt, prompt_of, revise_prompt
from thinkling.tasks.benchmarks import load_problems


@dataclass(frozen=True, kw_only=True)
class Speculate:
    """Measure n-gram speculation. Example: python bench/speculate.py --guesses 4 8"""

    model: str = "thinkling-base"
    template: str = "step-by-step"
    tasks: str = "quantities"
    guesses: tuple[int, ...] = (2, 4, 8)
    rows: tuple[int, ...] = (1, 16)
    prompts: int = 16
    max_tokens: int = 200
    repeats: int = 3
    out: Path | None = None
    """Also write everything measured as JSON."""


def work(settings: Speculate, model: LanguageModel) -> dict[str, list]:
    """The prompts of both kinds of work."""
    greedy = Sampling(temperature=0.0, max_tokens=settings.max_tokens)
    questions = [problem.question for problem in load_problems(settings.tasks, "held-out", settings.prompts)]
    first = [prompt_of(model, settings.template, question) for question in questions]
    drafts = [found.text for found in model.complete_all(first, greedy)]
    pairs = list(zip(questions, drafts, strict=True))
    asks = [critique_prompt(model, settings.template, question, draft) for question, draft in pairs]
    reviews = [found.text for found in model.complete_all(asks, Sampling(temperature=0.0, max_tokens=64))]
    second = [revise_prompt(model, settings.template, question, draft, review)
              for (question, draft), review in zip(pairs, reviews, strict=True)]  # fmt: skip
    return {"steps": first, "revisions": second}


def run(model: LanguageModel, prompts: list, max_tokens: int) -> tuple[float, int, int, list]:
    """Seconds, tokens, passes, and what was said."""
    engine, passes = model.engine, 0
    own = engine.runner.decode

    def decode(*given: object) -> None:
        nonlocal passes
        passes += 1
        own(*given)

    engine.runner.decode = decode
    started = time.perf_counter()
    found = model.complete_all(prompts, Sampling(temperature=0.0, max_tokens=max_tokens))
    seconds = time.perf_counter() - started
    engine.runner.decode = own
    return seconds, sum(len(one.tokens) for one in found), passes, [one.tokens for one in found]


def main(settings: Speculate) -> None:
    loaded = LanguageModel.load(settings.model)
    print(f"{machine(loaded.network.device)}\n{settings.model}, {settings.repeats} runs a side in turn", flush=True)
    rows = []
    for kind, prompts in work(settings, loaded).items():
        for num in settings.rows:
            sides = {n: LanguageModel(settings.model, loaded.network, loaded.tokenizer, max_rows=num, speculate=n)
                     for n in (0, *settings.guesses)}  # fmt: skip
            runs: dict[int, list] = {n: [] for n in sides}
            for turn in range(settings.repeats + 1):
                for n, model in sides.items():
                    one = run(model, prompts, settings.max_tokens)
                    runs[n] += [one] if turn else []  # the first is a warm-up
            without = statistics.median(seconds for seconds, *_ in runs[0])
            for n, own in runs.items():
                seconds = statistics.median(s for s, *_ in own)
                _, tokens, passes, said = own[0]
                same = sum(a == b for a, b in zip(said, runs[0][0][3], strict=True))
                rates = [tokens / s for s, *_ in own]
                print(f"{kind:10} rows {num:3}  guesses {n}: {spread(rates):>24} tokens/s, {without / seconds:.2f}x; "
                      f"{passes} passes, {tokens} tokens; {same} of {len(said)} texts same", flush=True)  # fmt: skip
                rows.append({"kind": kind, "rows": num, "guesses": n, "rates": rates, "passes": passes})
            for model in sides.values():
                model.engine_thread.stop()
    if settings.out:
        write_json(settings.out, {"machine": machine(torch.device("cpu")), "settings": settings, "rows": rows})


if __name__ == "__main__":
    try:
        main(tyro.cli(Speculate))
    except UserError as error:
        sys.exit(str(error))
