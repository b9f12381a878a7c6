"""`thinkling chat`: a conversation in the terminal (serve/chat.py), with a model loaded here or one on a server; or in
the browser (serve/web/)."""

from dataclasses import dataclass
from pathlib import Path

from thinkling.checks import a_port, at_least
from thinkling.commands.options import ModelSettings, Split
from thinkling.errors import UserError

PREFIX_GB = 0.5  # for what earlier turns have read


@dataclass(frozen=True, kw_only=True)
class Chat(ModelSettings):
    """Talk to a model, in the terminal or with --web in the browser.

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
    web: bool = False
    """Open a page for the browser instead; it needs the extra: pip install 'thinkling[chat]'."""
    compare: str | None = None
    """With --web: a second model. Both answer side by side, and it is hidden whose an answer is until you vote."""
    votes: Path = Path("votes.jsonl")
    """With --web: the file that votes are added to; thinkling rank reads it."""
    tasks: str = "builtin"
    """With --web: problems whose answer is known, see thinkling eval; a reply to one of them gets a verdict."""
    split: Split = "held-out"
    """Of the built-in problems."""
    port: int = 7860
    """With --web; 0 takes any free one, and says which."""
    host: str = "127.0.0.1"
    """With --web: the address to listen at. Away from this machine the page's address has a token."""
    allow_host: tuple[str, ...] = ()
    """With --web: names by which the page may be called, besides localhost and its address."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(1, max_tokens=self.max_tokens)
        a_port(self.port)
        if self.server is not None and self.quantize is not None:
            raise UserError("--quantize has no meaning with --server, which has the weights: leave one of the two out")
        if self.compare is not None and not self.web:
            raise UserError("--compare shows two models side by side in the browser: add --web")
        if self.compare == self.model:
            raise UserError(f"--compare {self.compare} is the model itself, which cannot meet itself")
        if self.web and self.server is not None:
            raise UserError("--web loads its models here: leave --server out, or chat in the terminal")


def main(settings: Chat) -> None:
    if settings.web:
        return on_the_web(settings)
    in_the_terminal(settings)


def on_the_web(settings: Chat) -> None:
    import os
    from dataclasses import replace

    from thinkling.commands.load import language_model, sampling_for
    from thinkling.generate.sampling import Sampling
    from thinkling.serve.security import Access
    from thinkling.serve.web.known import Known
    from thinkling.serve.web.page import House, gradio
    from thinkling.serve.web.server import serve
    from thinkling.tasks.benchmarks import load_problems

    gradio()  # what is missing is said before a model is loaded
    known = Known(load_problems(settings.tasks, settings.split))
    names = [settings.model, *([settings.compare] if settings.compare else [])]
    models = tuple(language_model(replace(settings, model=name, compare=None), prefix_gb=PREFIX_GB) for name in names)
    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    sampling = sampling_for(models[0], sampling, settings.thinking, temperature=settings.temperature)
    house = House(models, sampling, "xhigh" if settings.thinking else "none", settings.votes, known)
    token = os.environ.get(settings.api_key_env) or None
    serve(house, Access(settings.host, token, settings.allow_host), settings.port)


def in_the_terminal(settings: Chat) -> None:
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
