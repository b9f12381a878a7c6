"""What the settings of several commands share: names that flags may take, checks, the flags of every model and task."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from thinkling.checks import above_zero, at_least, finite, no_password
from thinkling.errors import UserError
from thinkling.scale.prompts import Template, check_question

Split = Literal["train", "held-out", "unseen-templates", "longer", "rephrased"]
OnError = Literal["stop", "skip"]


@dataclass(frozen=True, kw_only=True)
class ModelSettings:
    model: str = "thinkling-base"
    """A built-in model (thinkling-base, -reasoner, -teacher, -nano), a checkpoint's folder or .gguf file, smollm2-135m
    (98 MB, fetched once), or a Hub id: org/name or org/name@revision."""
    adapter: Path | None = None
    """The folder of a PEFT LoRA adapter for this model, added to its weights."""
    device: str = "auto"
    """auto, cpu, cuda, cuda:N or mps."""
    dtype: str = "auto"
    """auto (float32 on a CPU, bfloat16 on a GPU), float32, bfloat16 or float16."""
    quantize: Literal["int8"] | None = None
    """int8: the weights as 8-bit integers, for answering on a CPU: a quarter of the memory. `thinkling quantize-report`
    says what it costs in accuracy and in time. Default: weights as they are."""
    batch_invariant: bool = False
    """The same text, to the last bit of its log-probabilities, whatever else is asked at the same time; on a CPU. It is
    slower (python bench/invariant.py)."""
    max_rows: int = 128
    """Requests that are completed at the same time, at most."""
    max_length: int = 1024
    """Prompt and completion of one request, in tokens, at most."""
    cache_gb: float = 2.0
    """Memory for the key-value cache, in GB, at most; where max_rows do not fit, fewer requests run at once."""
    max_num_batched_tokens: int | None = None
    """Tokens that one step reads at most, over all requests: prompts are read in chunks between the others' tokens, so
    that a long one does not hold up those that are being answered. Default: 512 on a CPU, 2048 on a GPU."""
    speculate: int = 0
    """Tokens to guess ahead at most, where a request repeats what it holds; wrong guesses change nothing. 0: none."""

    def __post_init__(self) -> None:
        finite(self)
        at_least(1, max_rows=self.max_rows)
        if self.max_num_batched_tokens is not None:
            at_least(1, max_num_batched_tokens=self.max_num_batched_tokens)
        at_least(2, max_length=self.max_length)
        at_least(0, speculate=self.speculate)
        above_zero(cache_gb=self.cache_gb)


@dataclass(frozen=True, kw_only=True)
class ThinkingSettings:
    max_thinking_tokens: int | None = None
    """Tokens of thinking at most, of a model that thinks in <think>...</think>: then the thinking is closed, softly
    from three quarters of it on, and the answer has the rest of --max-tokens. Default: as many as come."""


def no_weights_of_a_server(server: str | None, **given: object) -> None:
    """given: flags that change a model's weights, None where they are not set."""
    for name, value in given.items():
        if server is not None and value is not None:
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} has no meaning with --server, which has the weights: leave one of the two out")


@dataclass(frozen=True, kw_only=True)
class PromptSettings(ModelSettings):
    prompt: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="PROMPT")]
    """The question, or with --template none the exact text to continue."""
    template: Template = "plain"
    """How the question is put: `thinkling prompts` shows each. none continues the text as it is."""
    temperature: float | None = None
    """Divides the logits; 0 always takes the likeliest token. Default, here and below: what the checkpoint's
    generation_config.json recommends; else 0."""
    top_k: int | None = None
    """Keep only the k likeliest tokens; 0 keeps all."""
    top_p: float | None = None
    """Keep only the smallest set of tokens with this much probability; 1 keeps all."""
    min_p: float | None = None
    """Drop tokens below this share of the likeliest one's probability; 0 drops none."""
    seed: int = 0
    """Of what is drawn at random: the same seed gives the same answers again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        check_question(self.template, self.prompt)


@dataclass(frozen=True, kw_only=True)
class ServerSettings(ModelSettings):
    """A model that is loaded here or asked on a server."""

    server: str | None = None
    """Ask an OpenAI-compatible server at this URL instead of loading the model here; --model is its name there. A path
    in it, such as /api/v3, is taken as it is; without one it is /v1. URL,URL: several, each as far as it is free."""
    api_key_env: str = "OPENAI_API_KEY"
    """The environment variable that holds the servers' key, if they want one; or `Basic` and a space before the base64
    of user:password, if they want these."""
    timeout: float = 300.0
    """Seconds that a server may take for one whole answer."""
    data_parallel_size: int = 1
    """Processes that share the requests, each with the weights and its part of --cache-gb: on a CPU of as many cores a
    small model answers that much faster. One that fills the memory's bandwidth gains nothing."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, data_parallel_size=self.data_parallel_size)
        if self.server is not None and self.data_parallel_size > 1:
            raise UserError("--data-parallel-size has no meaning with --server: name several servers instead, as "
                            "--server URL,URL")  # fmt: skip
        no_weights_of_a_server(
            self.server, adapter=self.adapter, quantize=self.quantize, speculate=self.speculate or None,
            batch_invariant=self.batch_invariant or None,
        )  # fmt: skip
        above_zero(timeout=self.timeout)
        no_password(self.api_key_env, server=self.server)


@dataclass(frozen=True, kw_only=True)
class ScalingSettings(ServerSettings):
    on_error: OnError = "stop"
    """What happens to a problem that gets no answer (too long, refused, timed out), or whose reference its verifier
    cannot use: stop ends the run and names it; skip leaves it out of every number, and counts and lists it."""
    tasks: str = "quantities"
    """quantities, longer-quantities, builtin, larger-numbers, choice:SUITE, gym:FAMILY (of reasoning-gym), a benchmark
    such as math500 (`thinkling tasks` lists them), a .jsonl, .json, .csv or .parquet file whose rows have question and
    reference (or problem and answer) and may have options and verifier, or FILE.py:FUNCTION, which yields such rows."""
    columns: tuple[str, ...] = ()
    """Which column of a file is which, as question=Problem reference=Result; the others are guessed, and the guesses
    printed."""
    shuffle_options: int | None = None
    """A seed: the options of multiple choice in another order. Default: as they stand."""
    split: Split = "held-out"
    """Of what is made on the spot: held-out has new problems, longer and rephrased (of quantities) more steps and other
    words, unseen-templates (of builtin) word problems of a new kind."""
    num_problems: int | None = None
    """How many problems, from the start of the split or file. Default: all of a file, else 500."""
    max_tokens: int = 384
    """Length of one completion at most, in tokens."""
    top_k: int | None = None
    """Keep only the k likeliest tokens; 0 keeps all. Default, here and below: what the checkpoint's
    generation_config.json recommends; else all."""
    top_p: float | None = None
    """Keep only the smallest set of tokens with this much probability; 1 keeps all."""
    min_p: float | None = None
    """Drop tokens below this share of the likeliest one's probability; 0 drops none."""
    confidence_window: int = 16
    """Tokens in a group, for deepconf and the scorers named confidence-...; DeepConf's authors use 2048."""
    judge_server: str | None = None
    """For the scorer judge: the URL of an OpenAI-compatible server whose model grades the responses."""
    judge_model: str = ""
    """The judge's name on its server."""
    seed: int = 0
    """Of what is drawn at random: the same seed gives the same answers again."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, max_tokens=self.max_tokens, confidence_window=self.confidence_window)
        no_password(self.api_key_env, judge_server=self.judge_server)
        if self.num_problems is not None:
            at_least(1, num_problems=self.num_problems)
