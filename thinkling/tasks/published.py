"""The published benchmarks that have a name: where each stands on the Hub, at which revision, and its splits.

A row of this table is all that a benchmark needs; hub.py fetches it, and columns.py and options.py read its columns. A
revision is a commit of the repository, as public evaluation code pins it; "" is one that is not known, and is pinned by
the first download (see hub.py). A sha256 stands here where two independent public sources state the same.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Published:
    """repo: of the Hub, a data set. splits: our split -> the files that hold it, as a pattern. columns: role -> column,
    where it is not guessed. shuffle: the right option stands first in the file, so the options are always shuffled.
    gated: its authors' terms must be accepted first. num: problems of the test."""

    says: str
    num: int
    repo: str
    revision: str
    splits: Mapping[str, str]
    columns: Mapping[str, str] = field(default_factory=dict)
    sha256: Mapping[str, str] = field(default_factory=dict)
    shuffle: bool = False
    gated: bool = False


BENCHMARKS = {
    "math500": Published(
        "competition mathematics, 500 of MATH's test problems (Lightman et al. 2023)", 500, "HuggingFaceH4/MATH-500",
        "6e4ed1a2a79af7d8630a6b768ec859cb5af4d3be", {"held-out": "test.jsonl"},
        sha256={"test.jsonl": "35dc41080a3680858b27fa7e0533d2d547825316fc5dafe5d316f4ccc5a06132"},
    ),
    "gsm8k": Published(
        "grade-school word problems (Cobbe et al. 2021)", 1319, "openai/gsm8k",
        "740312add88f781978c0658806c59bc2815b9866",
        {"held-out": "main/test-*.parquet", "train": "main/train-*.parquet"},
    ),
    "aime24": Published(
        "AIME 2024, I and II", 30, "HuggingFaceH4/aime_2024", "e6cf0cd64082ada1c025717826bd40e155b1ec81",
        {"held-out": "data/train-*.parquet"},
    ),
    "aime25": Published(
        "AIME 2025, I and II", 30, "math-ai/aime25", "563bb8404243c5f09de6ec262f2db674fe5bce9b",
        {"held-out": "test.jsonl"},
    ),
    "amc23": Published(
        "AMC 12 of 2023, as questions with a number for an answer", 40, "math-ai/amc23",
        "80815d37005feb82cd7f8fbc6901d5d3eff43057", {"held-out": "test-*.parquet"},
    ),
    "mmlu": Published(
        "57 subjects, 4 options (Hendrycks et al. 2021)", 14042, "cais/mmlu",
        "c30699e8356da336a370243923dbaf21066bb9fe",
        {"held-out": "all/test-*.parquet", "shots": "all/dev-*.parquet"},
        sha256={"all/test-00000-of-00001.parquet": "74a41822ce7d3def56e1682f958469c04642a5336a5ce912fa375fdb90fb25d7"},
    ),
    "mmlu-pro": Published(
        "14 subjects, up to 10 options (Wang et al. 2024)", 12032, "TIGER-Lab/MMLU-Pro",
        "527feea0afed1de15a8c115abf7be4c912123315",
        {"held-out": "data/test-*.parquet", "shots": "data/validation-*.parquet"},
    ),
    "gpqa-diamond": Published(
        "science at a graduate's level, 4 options (Rein et al. 2023)", 198, "Idavidrein/gpqa", "",
        {"held-out": "gpqa_diamond.csv"},
        columns={"question": "Question", "subject": "High-level domain"}, shuffle=True, gated=True,
    ),
}  # fmt: skip
