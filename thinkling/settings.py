"""Every command's settings: one frozen dataclass each, the only home of each default.

The command line, the Python API and a run's config.json all come from here. Nothing heavy is imported, so that `--help`
is instant.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.errors import UserError

Split = Literal["train", "held-out", "unseen-templates"]
MethodName = Literal["direct", "step-by-step", "self-consistency", "adaptive", "best-of-n"]
ScorerName = Literal["heuristic", "mean-logprob", "sum-logprob", "answer-logprob"]
Policy = Literal["lenient", "boxed-only"]
Template = Literal["plain", "step-by-step", "boxed", "few-shot", "chat", "chat-thinking", "none"]


def at_least(minimum: float, **values: float) -> None:
    for name, value in values.items():
        if value < minimum:
            raise UserError(f"--{name.replace('_', '-')} must be at least {minimum}, not {value}")


def above_zero(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value}")


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    model: str = "thinkling-base"
    """A built-in model's name, a checkpoint's folder, or a Hub id: org/name or org/name@revision."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto (float32 on a CPU, bfloat16 on a GPU), float32, bfloat16 or float16."""
    max_rows: int = 128
    """Requests that are completed at the same time, at most."""
    max_length: int = 1024
    """Prompt and completion of one request, in tokens, at most."""
    cache_gb: float = 2.0
    """Memory for the key-value cache, in GB, at most; where max_rows do not fit, fewer requests run at once."""

    def __post_init__(self) -> None:
        at_least(1, max_rows=self.max_rows)
        at_least(2, max_length=self.max_length)


@dataclass(frozen=True, kw_only=True)
class Generate(ModelSettings):
    """Complete a prompt.

    Example: thinkling generate "What is 17 * 23?" --template step-by-step
    """

    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """The question, or with --template none the exact text to continue."""
    template: Template = "plain"
    """How the question is put: see thinkling/scale/prompts.py. none continues the text as it is."""
    temperature: float = 0.0
    """Divides the logits; 0 always takes the likeliest token."""
    top_k: int = 0
    """Keep only the k likeliest tokens; 0 keeps all."""
    top_p: float = 1.0
    """Keep only the smallest set of tokens with this much probability; 1 keeps all."""
    min_p: float = 0.0
    """Drop tokens below this share of the likeliest one's probability; 0 drops none."""
    max_tokens: int = 256
    """Length of the completion at most, in tokens."""
    stop: tuple[str, ...] = ()
    """Strings that end the completion."""
    max_repeats: int = 0
    """End a completion that ends in one block of text this many times over; 0 lets it go on."""
    num_samples: int = 1
    """How many completions to draw."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_samples=self.num_samples)


@dataclass(frozen=True, kw_only=True)
class Chat(ModelSettings):
    """Talk to a model in the terminal.

    /reset forgets the conversation, /think and /no_think switch thinking, /quit ends. The built-in model knows small
    mathematics problems and nothing else: ask it "What is 12 * 34?".
    """

    thinking: bool = True
    """Let the model think before it answers."""
    temperature: float = 0.0
    """Divides the logits; 0 always takes the likeliest token."""
    max_tokens: int = 512
    """Length of one reply at most, thinking included, in tokens."""
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Show the templates that a question can be put in, exactly as a model sees them."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")] = "What is 17 + 25 - 9?"
    """The question to put."""
    template: Template | None = None
    """Only this one."""


@dataclass(frozen=True, kw_only=True)
class Eval(ModelSettings):
    """Measure a model and a method on problems: accuracy with its 95% interval, truncation, tokens, seconds.

    Writes OUT/report.json and every response to OUT/samples.jsonl.
    """

    out: Path
    """The run's folder; it must not hold a run yet."""
    tasks: str = "builtin"
    """builtin, or a .jsonl / .json file whose rows have question and reference (or problem and answer)."""
    split: Split = "held-out"
    """Of the built-in problems: held-out has new numbers, unseen-templates has word problems of a new kind."""
    method: MethodName = "direct"
    """direct asks plainly, step-by-step asks for an explanation, self-consistency votes among samples, adaptive stops
    voting once the winner is clear, best-of-n keeps the sample that --scorer likes best."""
    scorer: ScorerName | None = None
    """For best-of-n (default mean-logprob), or to weigh the votes of self-consistency by e^score."""
    template: Template | None = None
    """Another way to put the question than the method's own; for a Qwen3 checkpoint try boxed or chat-thinking."""
    num_problems: int = 500
    """How many problems, from the start of the split or file."""
    num_samples: int = 8
    """Samples per problem, for the methods that take several; at most, for adaptive."""
    temperature: float | None = None
    """Default: 0 (greedy) for one answer, 1 for several."""
    max_tokens: int = 256
    """Length of one completion at most, in tokens."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_problems=self.num_problems, num_samples=self.num_samples, max_tokens=self.max_tokens)


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
        "thinkling.verify.lint:reward"
    )
    """The reward function, response and reference -> number; also FILE.py:FUNCTION. The default is thinkling's own."""
    time_limit: float = 2.0
    """Seconds that one call may take."""

    def __post_init__(self) -> None:
        above_zero(time_limit=self.time_limit)


@dataclass(frozen=True, kw_only=True)
class Grpo(ModelSettings):
    """Train a model with verifiable rewards (GRPO in the form of Dr. GRPO, arXiv:2503.20783).

    Each step asks prompts-per-step problems, draws rollouts-per-prompt answers to each, rewards the right ones with 1,
    and makes the answers that beat their siblings likelier. Checkpoints in OUT/checkpoints load by their path.
    """

    out: Path
    """The run's folder; it must not hold a run yet."""
    steps: int = 60
    """Optimizer steps."""
    minutes: float | None = None
    """Stop after this many minutes, if the steps are not done by then."""
    prompts_per_step: int = 16
    rollouts_per_prompt: int = 8
    template: Template = "plain"
    """How the question is put; plain lets the model find out that thinking pays."""
    max_tokens: int = 160
    """Length of one rollout at most, in tokens; a longer one is cut and earns nothing."""
    temperature: float = 1.0
    """Rollouts are drawn, and their log-probabilities computed, at this temperature."""
    lr: float = 3e-4
    """AdamW's learning rate. The default suits the 3M built-in model; use 1e-6 for Qwen3-0.6B and larger."""
    clip_low: float = 0.2
    clip_high: float = 0.2
    """The ratio to the sampling policy is clipped to [1 - clip_low, 1 + clip_high]."""
    micro_batch_tokens: int = 16_384
    """Tokens of completions, padding included, in one forward and backward pass; lower it when memory runs out."""
    save_every: int = 0
    """Also save a checkpoint every so many steps; 0 saves only the last."""
    seed: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, steps=self.steps, prompts_per_step=self.prompts_per_step, max_tokens=self.max_tokens)
        at_least(2, rollouts_per_prompt=self.rollouts_per_prompt)
        above_zero(minutes=self.minutes)
        if self.temperature <= 0:
            raise UserError("--temperature must be above 0: greedy rollouts are all alike and teach nothing")


@dataclass(frozen=True, kw_only=True)
class Pretrain:
    """Train a base model from nothing on generated mathematics: how thinkling-base was made.

    OUT becomes a checkpoint folder that generate, eval and grpo load by its path.
    """

    out: Path
    """The folder to write; it must not exist yet."""
    size: str = "thinkling-base"
    """The network's shape: a name from thinkling/model/config.py."""
    num_tokens: int = 30_000_000
    """How much text to read, in tokens."""
    rows: int = 32
    length: int = 320
    """One step reads rows x length tokens."""
    muon_lr: float = 0.02
    """Muon's learning rate, for the matrices of the layers."""
    lr: float = 3e-3
    """AdamW's learning rate, for everything else."""
    warmup_steps: int = 50
    decay_share: float = 0.4
    """The share of the steps, at the end, over which the learning rate falls to zero."""
    seed: int = 0
    device: str = "auto"
    dtype: str = "bfloat16"
    """The network's dtype while it learns; the optimizer keeps float32 masters."""
    compile: bool = True
    """Compile the training step with torch.compile where a C++ compiler is at hand."""

    def __post_init__(self) -> None:
        at_least(1, num_tokens=self.num_tokens, rows=self.rows, warmup_steps=self.warmup_steps)
        at_least(64, length=self.length)


@dataclass(frozen=True, kw_only=True)
class Tour:
    """The whole story in one run, on the built-in model: ask, think, vote, train, and look at what changed.

    Ends with OUT/report.html. Takes a few minutes on two CPU cores.
    """

    out: Path = Path("runs/tour")
    """The run's folder; an earlier tour in it is kept beside, as tour-2, tour-3, ..."""
    model: str = "thinkling-base"
    """The base model to start from."""
    num_problems: int = 200
    """Held-out problems per measurement."""
    grpo_minutes: float = 3.5
    """How long to train, in minutes, at most."""
    grpo_steps: int = 60
    """How long to train, in steps, at most."""
    seed: int = 0
    device: str = "auto"

    def __post_init__(self) -> None:
        at_least(1, num_problems=self.num_problems, grpo_steps=self.grpo_steps)
        above_zero(grpo_minutes=self.grpo_minutes)  # said before anything is measured, not when training begins
