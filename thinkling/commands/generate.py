"""`thinkling generate`: complete one prompt, text to standard output as it grows."""

import sys

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.scale.prompts import prompt_of
from thinkling.settings import Generate


def main(settings: Generate) -> None:
    sampling = Sampling(
        settings.temperature, settings.top_k, settings.top_p, settings.min_p, settings.max_tokens, settings.stop,
        settings.max_repeats, settings.seed,
    )  # fmt: skip
    model = LanguageModel.from_settings(settings)
    prompt = prompt_of(model, settings.template, settings.prompt)
    if settings.num_samples == 1:
        for piece in model.stream(prompt, sampling):
            print(piece, end="", flush=True)
        print()
        return
    on_terminal = sys.stderr.isatty()
    for i, completion in enumerate(
        model.complete_all([prompt] * settings.num_samples, sampling, progress=on_terminal), start=1
    ):
        print(f"--- sample {i}: {len(completion.tokens)} tokens, log-probability {sum(completion.logprobs):.2f}")
        print(completion.text)
