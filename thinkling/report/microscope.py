"""A training run's files, packed for the microscope's page.

Reads the run's files, chooses the steps to show, and packs them for the page (microscope_page.py). Everything that the
model wrote is data there, never markup.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from thinkling.errors import UserError
from thinkling.model.tokenizer import Tokenizer
from thinkling.model.weights import resolve
from thinkling.report.explain_words import visible
from thinkling.runs import read_jsonl, read_object

CURVES = ("right", "signal", "entropy", "length", "truncated", "grad_norm")


def pack(run: Path, max_groups: int) -> dict:
    """Everything that the page shows, as JSON can hold it.

    Raises UserError if the folder is no run of grpo, or has no rollouts yet.
    """
    files = [run / "config.json", run / "samples.jsonl"]
    if not all(map(Path.is_file, files)) or "step" not in next(read_jsonl(files[1]), {"step": 0}):  # an eval has none
        raise UserError(
            f"{run}: no run of thinkling grpo that has drawn rollouts; give the folder that its --out named"
        )
    config = read_object(run / "config.json")
    metrics = list(read_jsonl(run / "metrics.jsonl")) if (run / "metrics.jsonl").exists() else []
    measured = list(read_jsonl(run / "validation.jsonl")) if (run / "validation.jsonl").exists() else []
    sizes: dict[int, set[object]] = {}
    for row in read_jsonl(run / "samples.jsonl", ("step", "id", "tokens", "advantage")):
        sizes.setdefault(row["step"], set()).add(group_key(row))
    if not sizes:
        raise UserError(f"{run / 'samples.jsonl'}: no rollouts in it yet")
    steps = choose(sorted(sizes), max(len(groups) for groups in sizes.values()), max_groups)
    names = Names(tokenizer_of(run, config))
    chosen = (row for row in read_jsonl(run / "samples.jsonl") if row["step"] in steps)
    shown = {step: [group_of(rows, names) for rows in groups] for step, groups in gather(chosen, max_groups).items()}
    return {
        "run": only(config, ("model", "preset", "prompts_per_step", "rollouts_per_prompt")), "folder": run.name,
        "metrics": [only(row, ("step", *CURVES)) for row in metrics],
        "measured": [only(row, ("step", "pass_1", "pass_k", "examples")) for row in measured],
        "shown": shown, "num_steps": len(sizes), "tokens": names.texts,
    }  # fmt: skip


def only(row: dict, names: Sequence[str]) -> dict:
    return {name: row.get(name) for name in names}


def group_key(row: dict) -> object:
    return row.get("group", row["id"])


def choose(steps: Sequence[int], groups_per_step: int, max_groups: int) -> set[int]:
    """The first, the last, and evenly between them as many as the number of groups allows; two at least."""
    num = min(len(steps), max(2, max_groups // groups_per_step))
    if num == 1:
        return set(steps)
    return {steps[round(i * (len(steps) - 1) / (num - 1))] for i in range(num)}


def gather(rows: Iterable[dict], max_groups: int) -> dict[int, list[list[dict]]]:
    """Rows of each step and group. A step that alone has too many groups keeps those with a signal first."""
    steps: dict[int, dict[object, list[dict]]] = {}
    for row in rows:
        steps.setdefault(row["step"], {}).setdefault(group_key(row), []).append(row)
    most = max(1, max_groups // len(steps))
    ordered = {step: sorted(groups.values(), key=lambda g: not has_signal(g)) for step, groups in steps.items()}
    return {step: groups[:most] for step, groups in sorted(ordered.items())}


def has_signal(group: Sequence[dict]) -> bool:
    return any(row["advantage"] for row in group)


def group_of(rows: Sequence[dict], names: "Names") -> dict:
    first = rows[0]
    return {
        "id": first["id"], "question": first.get("question", ""), "reference": first.get("reference", ""),
        "signal": has_signal(rows), "rollouts": [rollout_of(row, names) for row in rows],
    }  # fmt: skip


def rollout_of(row: dict, names: "Names") -> dict:
    """Short names, for there are many: t tokens, l log-probabilities, h entropies, r ratios, k credits, c the places
    that were clipped, g those that were given, not sampled."""
    found = only(row, ("status", "reason", "reward", "parts", "advantage", "finish_reason"))
    found |= {"t": [names.number(token) for token in row["tokens"]]}
    columns = {"l": row.get("logprobs"), "h": row.get("entropy"), "r": row.get("ratio"), "k": row.get("credits")}
    found |= {short: [round(value, 3) for value in values] for short, values in columns.items() if values}
    given = [place for place, sampled in enumerate(row.get("mask", ())) if not sampled]
    places = {"c": row.get("clipped"), "g": given}
    return found | {short: own for short, own in places.items() if own}


class Names:
    """The texts of tokens, each kept once."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer, self.texts, self.numbers = tokenizer, [], {}

    def number(self, token: int) -> int:
        if token not in self.numbers:
            self.numbers[token] = len(self.texts)
            self.texts.append(visible(self.tokenizer, token))
        return self.numbers[token]


def tokenizer_of(run: Path, config: dict) -> Tokenizer:
    """Of the newest checkpoint, or of the model that training began with."""
    folders = sorted((run / "checkpoints").glob("step-*"))
    return Tokenizer.load(folders[-1] if folders else resolve(config["model"]))
