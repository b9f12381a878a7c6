"""Settings of the commands that measure: eval, scale, scorers, grade, lint-data, lint-reward."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.settings.base import MethodName, ModelSettings, Policy, ScorerName, Split, Template, above_zero, at_least


@dataclass(frozen=True, kw_only=True)
class ScalingSettings(ModelSettings):
    server: str | None = None
    """Ask an OpenAI-compatible server at this URL instead of loading the model here; --model is its name there."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the servers' key, if they want one."""
    timeout: float = 300.0
    """Seconds that a server may take for one answer."""
    tasks: str = "builtin"
    """builtin, larger-numbers, or a .jsonl / .json file whose rows have question and reference (or problem and
    answer)."""
    split: Split = "held-out"
    """Of the built-in problems: held-out has new numbers, unseen-templates has word problems of a new kind."""
    num_problems: int = 500
    """How many problems, from the start of the split or file."""
    max_tokens: int = 256
    """Length of one completion at most, in tokens."""
    confidence_window: int = 16
    """Tokens in a group, for deepconf and the scorers named confidence-...; DeepConf's authors use 2048."""
    judge_server: str | None = None
    """For the scorer judge: the URL of an OpenAI-compatible server whose model grades the responses."""
    judge_model: str = ""
    """The judge's name on its server."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(
            1, num_problems=self.num_problems, max_tokens=self.max_tokens, confidence_window=self.confidence_window
        )
        above_zero(timeout=self.timeout)


@dataclass(frozen=True, kw_only=True)
class Eval(ScalingSettings):
    """Measure a model and a method on problems: accuracy with its interval, truncation, tokens, seconds.

    Writes OUT/report.json and every response to OUT/samples.jsonl. An interrupted run goes on when it is started again.
    """

    out: Path
    """The run's folder; it must hold no finished run."""
    method: MethodName = "direct"
    """direct asks plainly, step-by-step asks for an explanation, self-consistency votes among samples, adaptive stops
    voting once the winner is clear, deepconf also stops samples that the model is not sure of, best-of-n keeps the
    sample that --scorer likes best, refine criticises and revises, budget-forcing cuts thinking off, wait prolongs it,
    beam and dvts search over steps, cot-decoding branches on the first token."""
    scorer: ScorerName | None = None
    """For best-of-n, beam and dvts (default mean-logprob), for refine to keep what is not worse (default: always the
    revision), for self-consistency to weigh the votes."""
    template: Template | None = None
    """Another way to put the question than the method's own; for a Qwen3 checkpoint try boxed or chat-thinking."""
    num_samples: int = 8
    """Samples or paths per problem, for the methods that take several; at most, for adaptive and deepconf."""
    rounds: int = 1
    """Of critique and revision, for refine."""
    thinking_tokens: int = 128
    """For budget-forcing at most, for wait at least."""
    temperature: float | None = None
    """Default: 0 (greedy) for one answer, 1 for several."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_samples=self.num_samples, rounds=self.rounds, thinking_tokens=self.thinking_tokens)


@dataclass(frozen=True, kw_only=True)
class Scale(ScalingSettings):
    """What each point of accuracy costs: many methods at many budgets, on the same problems and samples.

    Samples are drawn once and shared; each method is charged as if it had run alone. Ends with OUT/report.html:
    accuracy against tokens, seconds and FLOPs, the cheapest way to each accuracy, tests between neighbours. Started
    again, it goes on where it stopped, with other methods or budgets if you like.
    """

    out: Path = Path("runs/scale")
    """The run's folder; the samples in it are used again."""
    methods: tuple[str, ...] = ()
    """Each NAME[:SCORER][@TEMPLATE][~TEMPERATURE][=BUDGETS], such as best-of-n:heuristic@plain~0.7=2,4,8; names as for
    eval --method. The default is a table of about thirty."""
    budgets: tuple[int, ...] = (1, 2, 4, 8, 16, 32)
    """Samples or paths, for the methods that name no budgets of their own."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, budgets=min(self.budgets, default=0))


@dataclass(frozen=True, kw_only=True)
class Scorers(ModelSettings):
    """How well does each scorer rank right answers above wrong ones? Measured on the samples of a run.

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


@dataclass(frozen=True, kw_only=True)
class Grade:
    """Judge responses against reference answers: correct, incorrect or unparsed, and why.

    FILE is JSON Lines: each row has a response and a reference (a text, or a list of them, any of which is right). Out
    come the same rows with status, answer, reason and rule added, and a summary.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """The .jsonl file to grade."""
    out: Path | None = None
    """Where the graded rows go; without it to standard output, and the summary to standard error."""
    policy: Policy = "lenient"
    """boxed-only takes only a box for an answer, as rewards do; lenient also a stated answer or a formula."""
    audit: Literal["math-verify"] | None = None
    """Run this verifier beside ours, and print where the two disagree."""


@dataclass(frozen=True, kw_only=True)
class LintData:
    """Check that every reference answer in a file can be verified: that it is read, and equals itself.

    Lists those that do not; exit code 1 if there are any. What it lists is better dropped before training.
    """

    file: Annotated[Path, tyro.conf.Positional, tyro.conf.arg(metavar="FILE")]
    """A .jsonl file, or a .json file that holds one array: MATH-500 and GSM8K as they are."""
    field: str | None = None
    """The field with the reference; without it reference, else answer. Of a GSM8K answer what follows ####."""


@dataclass(frozen=True, kw_only=True)
class LintReward:
    """Run a reward function against hostile completions: they must not be paid, nor take it down.

    It is called with a response and a reference, in a child process that is watched, timed and killed if it hangs.
    Exit code 1 if anything is found.
    """

    reward: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODULE:FUNCTION")] = (
        "thinkling.verify.adversarial.lint:reward"
    )
    """The reward function, response and reference -> number; also FILE.py:FUNCTION. The default is thinkling's own."""
    time_limit: float = 2.0
    """Seconds that one call may take."""

    def __post_init__(self) -> None:
        above_zero(time_limit=self.time_limit)
