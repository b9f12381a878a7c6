"""A model on every split: plainly and step by step, greedy, and how far eight tries would go.

    python bench/splits.py --model thinkling-base --out runs/splits.json
    python bench/splits.py --model thinkling-reasoner --chat --greedy --out runs/reasoner.json

One line of Markdown for each, as it is measured; OUT keeps the numbers, and the first answers of each to read. What OUT
has is not measured again. Votes of eight take the first --num-voted problems only.
"""

import json
import time
from dataclasses import dataclass
from pathlib import Path

import tyro

from thinkling.evaluate.run import evaluate
from thinkling.evaluate.stats import wilson_interval
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.runs import write_json
from thinkling.scale.direct import Direct
from thinkling.scale.refine import Refine
from thinkling.scale.vote import SelfConsistency
from thinkling.tasks.builtin import problems
from thinkling.verify.verifier import verify

PLAIN, STEPS = "plain", "step-by-step"
CHAT = {PLAIN: "chat", STEPS: "chat-thinking"}
MEASURED = (  # suite, split, template, samples (0: greedy refinement)
    ("quantities", "held-out", STEPS, 1), ("quantities", "held-out", PLAIN, 1), ("quantities", "longer", STEPS, 1),
    ("quantities", "rephrased", STEPS, 1), ("builtin", "held-out", STEPS, 1), ("builtin", "held-out", PLAIN, 1),
    ("builtin", "unseen-templates", STEPS, 1), ("quantities", "held-out", STEPS, 8), ("quantities", "longer", STEPS, 8),
    ("quantities", "held-out", PLAIN, 8), ("quantities", "held-out", STEPS, 0), ("quantities", "held-out", PLAIN, 0),
    ("quantities", "rephrased", PLAIN, 1), ("quantities", "longer", PLAIN, 1), ("larger-numbers", "held-out", STEPS, 1),
)  # fmt: skip


@dataclass(frozen=True)
class Settings:
    """Measure a model on every split."""

    model: str = "thinkling-base"
    out: Path = Path("runs/splits.json")
    num_problems: int = 500
    num_voted: int = 200
    max_tokens: int = 400
    max_rows: int = 512
    device: str = "auto"
    dtype: str = "auto"
    cache_gb: float = 2.0
    read: int = 8  # answers of each that are kept to read
    chat: bool = False  # ask in the chat template: with thinking where a base model is asked for steps, else without
    greedy: bool = False  # leave out what asks more than once


def method_of(samples: int, template: str, max_tokens: int) -> Direct | Refine | SelfConsistency:
    greedy = Sampling(temperature=0.0, max_tokens=max_tokens)
    if samples == 0:
        return Refine(greedy, template=template)
    if samples == 1:
        return Direct(greedy, template)
    return SelfConsistency(Sampling(temperature=1.0, max_tokens=max_tokens), samples, template)


def main(settings: Settings) -> None:
    model = LanguageModel.load(settings.model, settings.device, settings.dtype, max_rows=settings.max_rows,
                               cache_gb=settings.cache_gb)  # fmt: skip
    print("| suite | split | asked | accuracy | any of the tries | tokens | seconds |\n|---|---|---|---|---|---|---|")
    rows = json.loads(settings.out.read_text(encoding="utf-8")) if settings.out.exists() else []
    done = {(row["suite"], row["split"], row["template"], row["samples"]) for row in rows}
    known = {}
    for suite, split, asked_how, samples in MEASURED:
        template = CHAT[asked_how] if settings.chat else asked_how
        if (suite, split, template, samples) in done or (settings.greedy and samples != 1):
            continue
        started = time.perf_counter()
        asked = known.get((suite, split)) or problems(split, settings.num_problems, suite=suite)
        known[suite, split] = asked
        asked = asked[: settings.num_voted] if samples > 1 else asked
        method = method_of(samples, template, settings.max_tokens)
        report, answered = evaluate(model, method, asked, None, f"{suite}, {split}, {template}")
        any_right = [any(verify(s.problem, c.text).correct for c in s.answer.completions) for s in answered]
        by_kind: dict[str, list[bool]] = {}
        for sample in answered:
            by_kind.setdefault(sample.problem.kind.rsplit("/", 1)[-1], []).append(sample.verdict.correct)
        kinds = {kind: sum(own) / len(own) for kind, own in sorted(by_kind.items())} if suite == "quantities" else {}
        changed = [(verify(s.problem, s.answer.rounds[0]).correct, s.verdict.correct)
                   for s in answered if samples == 0]  # fmt: skip
        rows.append({
            "suite": suite, "split": split, "template": template, "samples": samples, "report": report,
            "pass": wilson_interval(sum(any_right), len(any_right)), "pass_rate": sum(any_right) / len(any_right),
            "by_steps": kinds, "fixed": changed.count((False, True)), "broken": changed.count((True, False)),
            "read": [[s.problem.question, s.problem.reference, [c.text for c in s.answer.completions]]
                     for s in answered[: settings.read]],
        })  # fmt: skip
        how = "refined" if samples == 0 else f"vote of {samples}" if samples > 1 else "greedy"
        print(f"| {suite} | {split} | {template}, {how} | {report.accuracy:.1%} [{report.low:.1%}, "
              f"{report.high:.1%}] | {rows[-1]['pass_rate']:.1%} | {report.tokens:.0f} | "
              f"{time.perf_counter() - started:.0f} |", flush=True)  # fmt: skip
        if kinds:
            print("  by steps: " + ", ".join(f"{kind}: {share:.0%}" for kind, share in kinds.items()), flush=True)
        if changed:
            print(f"  fixed {rows[-1]['fixed']}, broken {rows[-1]['broken']}", flush=True)
        write_json(settings.out, rows)


if __name__ == "__main__":
    main(tyro.cli(Settings))
