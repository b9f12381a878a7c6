"""`thinkling generate`: complete one prompt, text to standard output as it grows."""

from dataclasses import dataclass

from thinkling.checks import at_least
from thinkling.commands.options import PromptSettings, ThinkingSettings
from thinkling.errors import UserError
from thinkling.words import counted


@dataclass(frozen=True, kw_only=True)
class Generate(ThinkingSettings, PromptSettings):
    """Complete a prompt.

    Example: thinkling generate "What is 17 * 23?" --template step-by-step
    """

    max_tokens: int = 256
    """Length of the completion at most, in tokens."""
    stop: tuple[str, ...] = ()
    """Strings that end the completion."""
    max_repeats: int = 0
    """End a completion that ends in one block of text this many times over; 0 lets it go on."""
    num_samples: int = 1
    """How many completions to draw."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, num_samples=self.num_samples)
        self.check_samples(self.temperature)

    def check_samples(self, temperature: float | None) -> None:
        if self.num_samples > 1 and temperature == 0:
            raise UserError(f"--num-samples {self.num_samples} at --temperature 0 would be one text {self.num_samples} "
                            "times: raise --temperature, or draw one sample")  # fmt: skip


def main(settings: Generate) -> None:
    from thinkling.commands.load import flags_of, language_model, prompt_sampling
    from thinkling.generate.sampling import Sampling
    from thinkling.scale.prompts import prompt_of

    sampling = Sampling(
        max_tokens=settings.max_tokens, stop=settings.stop, max_repeats=settings.max_repeats, seed=settings.seed,
        max_thinking_tokens=settings.max_thinking_tokens, **flags_of(settings),
    )  # fmt: skip
    model = language_model(settings)
    sampling = prompt_sampling(model, settings, sampling)
    settings.check_samples(sampling.temperature)
    prompt = prompt_of(model, settings.template, settings.prompt)
    if settings.num_samples == 1:
        for piece in model.stream(prompt, sampling):
            print(piece, end="", flush=True)
        print()
        return
    for i, completion in enumerate(model.complete_each([prompt] * settings.num_samples, sampling), start=1):
        length = counted(len(completion.tokens), "token")
        print(f"--- sample {i}: {length}, log-probability {sum(completion.logprobs):.2f}")
        print(completion.text, flush=True)
