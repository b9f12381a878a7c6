"""`thinkling chat`: a conversation in the terminal (serve/chat.py)."""

from dataclasses import dataclass

from thinkling.commands.options import ModelSettings


@dataclass(frozen=True, kw_only=True)
class Chat(ModelSettings):
    """Talk to a model in the terminal.

    /reset forgets the conversation, /think and /no_think switch thinking, /quit ends. The built-in model knows small
    mathematics problems and nothing else: ask it "What is 12 * 34?".
    """

    thinking: bool = True
    """Let the model think before it answers."""
    temperature: float | None = None
    """Divides the logits; 0 always takes the likeliest token. Default: what the checkpoint's generation_config.json
    recommends, top-k and top-p too; else 0."""
    max_tokens: int = 512
    """Length of one reply at most, thinking included, in tokens."""
    seed: int = 0


def main(settings: Chat) -> None:
    from thinkling.commands.load import language_model, sampling_for
    from thinkling.generate.sampling import Sampling
    from thinkling.serve.chat import talk

    model, sampling = language_model(settings), Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    sampling = sampling_for(model, sampling, settings.thinking, temperature=settings.temperature)
    talk(model, sampling, settings.thinking)
