"""`thinkling chat`: a conversation in the terminal (serve/chat.py), with a model loaded here or one on a server."""

from dataclasses import dataclass

from thinkling.commands.options import ModelSettings

PREFIX_GB = 0.5  # for what earlier turns have read


@dataclass(frozen=True, kw_only=True)
class Chat(ModelSettings):
    """Talk to a model in the terminal.

    /help lists the commands: /model, /temperature, /think, /vote, /retry, /edit, /save, /load and more. The built-in
    model knows small mathematics problems and nothing else: ask it "What is 12 * 34?".
    """

    server: str | None = None
    """Ask an OpenAI-compatible server at this URL instead of loading the model here; --model is its name there."""
    api_key_env: str = "THINKLING_API_KEY"
    """The environment variable that holds the server's token, if it wants one."""
    thinking: bool = True
    """Let the model think before it answers."""
    temperature: float | None = None
    """Divides the logits; 0 always takes the likeliest token. Default: what the checkpoint's generation_config.json
    recommends, top-k and top-p too; else 0."""
    max_tokens: int = 512
    """Length of one reply at most, thinking included, in tokens."""
    seed: int = 0
    """Of what is drawn at random: the same seed gives the same answers again."""


def main(settings: Chat) -> None:
    import os
    from dataclasses import replace

    from thinkling.commands.load import language_model, sampling_for
    from thinkling.generate.sampling import Sampling
    from thinkling.serve.chat import talk
    from thinkling.serve.talkers import Here, Talker, There

    def find(name: str) -> Talker:
        if settings.server is not None:
            return There(settings.server, name, os.environ.get(settings.api_key_env, ""))
        return Here(language_model(replace(settings, model=name), prefix_gb=PREFIX_GB))

    talker, sampling = find(settings.model), Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    if isinstance(talker, Here):
        sampling = sampling_for(talker.model, sampling, settings.thinking, temperature=settings.temperature)
    else:
        sampling = replace(sampling, temperature=settings.temperature or 0.0)
    talk(talker, sampling, settings.thinking, find)
