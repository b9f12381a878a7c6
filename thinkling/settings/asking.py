"""Settings of the commands that ask a model: generate, chat, explain, prompts."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.errors import UserError
from thinkling.settings.base import ModelSettings, Template, at_least


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
class Explain(ModelSettings):
    """Show how the next token is chosen, and follow a completion token by token.

    The flags mean what they mean for generate, so that what is followed is what generate prints. Example:
    thinkling explain "What is 17 * 23?" --temperature 0.8 --top-p 0.9 --out picture.html
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
    max_tokens: int = 32
    """How far to follow the completion, in tokens."""
    top: int = 10
    """How many of the likeliest next tokens to show."""
    seed: int = 0
    out: Path | None = None
    """A .html or .png file to draw it into as well; an older drawing in its place is replaced, another file is not."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, top=self.top)
        if self.out is not None and self.out.suffix.lower() not in (".html", ".png"):
            raise UserError(f"--out {self.out} is neither a .html nor a .png file: name one that is")


@dataclass(frozen=True, kw_only=True)
class Prompts:
    """Show the templates that a question can be put in, exactly as a model sees them."""

    question: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="QUESTION")] = "What is 17 + 25 - 9?"
    """The question to put."""
    template: Template | None = None
    """Only this one."""
