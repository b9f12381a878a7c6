"""The card of a model for the Hub: README.md, with a head that the Hub reads, how it was trained, what was measured.

Everything in it comes from files: the checkpoint, the training run's config.json, an eval run. Paths of this machine
are left out, and so is all that is not one of the run's settings.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from thinkling.evaluate.saved import Run
from thinkling.model.config import ModelConfig
from thinkling.report.eval_words import share

# What made a run, by a setting that no other command has.
COMMANDS = {"teacher": "distill", "rollouts_per_prompt": "grpo", "data": "sft", "vocab_size": "pretrain"}
UNTOLD = ("out", "plan", "trackers", "on_error", "device", "memory_gb", "max_rows", "cache_gb",
          "max_num_batched_tokens", "speculate", "minutes", "save_every")  # fmt: skip


@dataclass(frozen=True)
class Training:
    """A training run. command: of thinkling. base: the model it began with, None where it began with nothing."""

    command: str
    base: str | None
    settings: Mapping[str, object]


def training_of(settings: Mapping[str, object]) -> Training:
    """From a run's config.json."""
    command = next((name for key, name in COMMANDS.items() if key in settings), "train")
    base = settings.get("model") if command != "pretrain" else None
    return Training(command, None if base is None else named(base), settings)


def named(value: object) -> str:
    """A setting as the card shows it: of a path on this machine its last part alone."""
    if isinstance(value, dict):
        return ", ".join(f"{key} {named(own)}" for key, own in value.items())
    if isinstance(value, list | tuple):
        return ", ".join(map(named, value))
    is_path = isinstance(value, str) and (value.startswith(("/", "~", ".")) or "\\" in value)
    return PurePath(value).name if is_path else str(value)


def model_card(
    repo: str, config: ModelConfig, licence: str, languages: Sequence[str], base: str | None,
    training: Training | None, measured: Run | None, gguf: str | None = None,
) -> str:  # fmt: skip
    """base: the Hub id of the model that it was made from, None for none. gguf: the file that it is, if it is one."""
    tags = ["thinkling", "reasoning"] + ([training.command] if training else [])
    head = [f"license: {licence}", "language:", *(f"- {own}" for own in languages)]
    head += [f"base_model: {base}"] if base else []
    head += [f"library_name: {'gguf' if gguf else 'transformers'}", "pipeline_tag: text-generation", "tags:"]
    head += [f"- {tag}" for tag in tags]
    shape = (f"{config.family.architecture}: {config.num_parameters() / 1e6:,.1f} million parameters, "
             f"{config.num_hidden_layers} layers of width {config.hidden_size}, {config.vocab_size:,} tokens, "
             f"{config.max_position_embeddings:,} positions.")  # fmt: skip
    parts = ["---", *head, "---", "", f"# {repo.rpartition('/')[2]}", "", shape, ""]
    if training is not None:
        rows = [(name, named(value)) for name, value in training.settings.items()
                if name not in UNTOLD and value not in (None, "", [], {})]  # fmt: skip
        begun = f", from {training.base}" if training.base else ""
        parts += ["## Training", "", f"`thinkling {training.command}`{begun}, with these settings:", "",
                  markdown_table(("setting", "value"), rows), ""]  # fmt: skip
    if measured is not None:
        parts += ["## Measured", "", *measured_lines(measured), ""]
    parts += ["## Use", "", *use_lines(repo, gguf)]
    return "\n".join(parts) + "\n"


def use_lines(repo: str, gguf: str | None) -> list[str]:
    if gguf:
        return [f"`llama-server -hf {repo}`; or, with the file at hand, `thinkling chat --model {gguf}`."]
    return ["```python", "from transformers import AutoModelForCausalLM, AutoTokenizer", "",
            f'model = AutoModelForCausalLM.from_pretrained("{repo}")',
            f'tokenizer = AutoTokenizer.from_pretrained("{repo}")', "```", "",
            f"Or `thinkling chat --model {repo}`."]  # fmt: skip


def markdown_table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [
        heads,
        ["---"] * len(heads),
        *([cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in rows),
    ]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def measured_lines(run: Run) -> list[str]:
    details, settings, manifest = run.details, run.settings, run.manifest
    row = (named(settings.get("tasks", "?")), named(settings.get("split", "")), named(settings.get("template", "?")),
           named(settings.get("method", "direct")), f"{details.num_problems:,}", str(details.num_samples),
           share(details.accuracy))  # fmt: skip
    heads = ("problems", "split", "template", "method", "how many", "samples of each", "accuracy, 95% interval")
    sampling = {
        name: value for name, value in manifest.get("sampling", {}).items() if value not in (None, "", [], 0, False)
    }
    lines = [markdown_table(heads, [row])]
    if sampling:
        lines += ["", f"Sampling: {named(sampling)}."]
    return lines
