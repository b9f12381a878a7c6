"""`thinkling generate`: complete one prompt, text to standard output as it grows."""

from dataclasses import dataclass
from typing import Annotated

import tyro

from thinkling.checks import at_least
from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError
from thinkling.scale.prompts import Template


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
        if self.num_samples > 1 and self.temperature == 0:
            raise UserError(f"--num-samples {self.num_samples} at --temperature 0 would be one text {self.num_samples} "
                            "times: raise --temperature, or draw one sample")  # fmt: skip


def main(settings: Generate) -> None:
    from thinkling.commands.load import language_model
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.prompts import prompt_of

    sampling = Sampling(
        settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.max_tokens, settings.stop,
        settings.max_repeats, settings.seed,
    )  # fmt: skip
    model = language_model(settings)
    prompt = prompt_of(model, settings.template, settings.prompt)
    if settings.num_samples == 1:
        for piece in model.stream(prompt, sampling):
            print(piece, end="", flush=True)
        print()
        return
    for i, completion in enumerate(model.complete_each([prompt] * settings.num_samples, sampling), start=1):
        print(f"--- sample {i}: {len(completion.tokens)} tokens, log-probability {sum(completion.logprobs):.2f}")
        print(completion.text, flush=True)
