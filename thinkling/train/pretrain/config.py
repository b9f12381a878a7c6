"""What a base model reads, as a record without torch."""

from dataclasses import dataclass
from typing import Literal

from thinkling.checks import at_least

CorpusName = Literal["reasoning", "worked-quantities", "longer-quantities"]


@dataclass(frozen=True, kw_only=True)
class TextConfig:
    """Text for a run that trains a base model.

    corpus: problems over quantities above all, and reviews of drafts; or worked quantities and little else,
    up to 7 steps or up to 10. rows,
    length: one step reads rows x length tokens. workers: processes that make text; another number gives other text.
    seed: of the text.
    """

    corpus: CorpusName = "reasoning"
    rows: int = 16
    length: int = 768
    workers: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        at_least(1, rows=self.rows, workers=self.workers)
        at_least(64, length=self.length)
