"""What this server has to offer: one model, by its public name, and the methods that answer with it.

A name from a request is compared with these names and never used for anything else: it opens no file.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.recommended import recommended
from thinkling.scale.methods import KINDS, Recipe, parse
from thinkling.serve.refusals import ApiError, bad

SHORT = {"vote": "self-consistency", "best": "best-of-n"}  # how methods may be called besides their own names
LISTED = ("vote@8", "best@8", "refine")
MOST_BUDGET = {"samples": 64, "paths": 16, "rounds": 8, "thinking tokens": 100_000}


@dataclass(frozen=True)
class Served:
    """name: what clients call the model. defaults: sampling parameters where a request gives none."""

    model: LanguageModel
    name: str
    defaults: dict[str, float]
    created: int

    @classmethod
    def of(cls, model: LanguageModel, name: str | None, created: int) -> "Served":
        own = recommended(model.tokenizer.kept.get("generation_config.json", {}))
        return cls(model, name or public_name(model.name), {"temperature": 1.0} | own, created)

    @property
    def names(self) -> list[str]:
        return [self.name, *(f"{self.name}+{method}" for method in LISTED)]

    def method(self, name: str | None) -> Recipe | None:
        """The method that this model name asks for, None for the model itself. Raises ApiError for another name."""
        if name is None or name == self.name:
            return None
        found = re.fullmatch(r"\+([a-z0-9-]{1,30})(?:@(\d{1,6}))?", name.removeprefix(self.name))
        kind = KINDS.get(SHORT.get(found[1], found[1])) if found and name.startswith(self.name) else None
        if kind is None:
            raise ApiError(404, f"model: there is no model {name[:80]!r} here: use one of {', '.join(self.names)}",
                           "model", "model_not_found")  # fmt: skip
        most = MOST_BUDGET.get(kind.unit, 0)
        if found[2] and not 1 <= int(found[2]) <= most:
            raise bad("model", f"@{found[2]} is not a budget for {found[1]}: {kind.unit or 'none'}, from 1 to {most}")
        scorer = ":mean-logprob" if kind.scorer == "mean-logprob" else ""
        return parse(f"{kind.name}{scorer}" + (f"={found[2]}" if found[2] else ""))


def public_name(name: str) -> str:
    """A model's name without the folder that it lies in, and without `.gguf`; a Hub id stays whole."""
    return Path(name).absolute().name.removesuffix(".gguf") if Path(name).exists() else name
