"""`thinkling chat`: a conversation in the terminal (serve/chat.py), with a model loaded here or one on a server; or in
the browser (serve/web/)."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING

from thinkling.checks import a_port, at_least, no_password
from thinkling.commands.options import ModelSettings, Split, no_weights_of_a_server
from thinkling.errors import UserError

if TYPE_CHECKING:
    from thinkling.generate.language_model import LanguageModel
    from thinkling.generate.sampling import Sampling
    from thinkling.serve.talkers import There

PREFIX_GB = 0.5  # for what earlier turns have read
OF_THE_PAGE = ("compare", "votes", "tasks", "split", "port", "host", "allow_host")


@dataclass(frozen=True, kw_only=True)
class Chat(ModelSettings):
    """Talk to a model, in the terminal or with --web in the browser.

    /help lists the commands: /model, /temperature, /think, /vote, /retry, /edit, /save, /load and more. The built-in
    models know small mathematics problems and nothing else: ask "What is 12 * 34?".
    """

    model: str = "thinkling-reasoner"
    """A built-in model (thinkling-base, -reasoner, -teacher, -nano), a checkpoint's folder or .gguf file, smollm2-135m
    (98 MB, fetched once), or a Hub id: org/name or org/name@revision."""
    server: str | None = None
    """Ask an OpenAI-compatible server at this URL instead of loading the model here; --model is its name there. With
    --web too."""
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
    """Open a page for the browser instead; it needs an extra: pip install -e '.[chat]'."""
    compare: str | None = None
    """With --web: a second model. Both answer side by side, and it is hidden whose an answer is until you vote."""
    votes: Path = Path("votes.jsonl")
    """With --web: the file that votes are added to; thinkling rank reads it."""
    tasks: str = "quantities"
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
        no_weights_of_a_server(self.server, quantize=self.quantize, batch_invariant=self.batch_invariant or None)
        no_password(self.api_key_env, server=self.server)
        for name, default in ((field.name, field.default) for field in fields(self) if field.name in OF_THE_PAGE):
            if not self.web and getattr(self, name) != default:
                raise UserError(f"--{name.replace('_', '-')} is for the chat in the browser: add --web")
        if self.compare == self.model:
            raise UserError(f"--compare {self.compare} is the model itself, which cannot meet itself")


def main(settings: Chat) -> None:
    if settings.web:
        return on_the_web(settings)
    in_the_terminal(settings)


def on_the_web(settings: Chat) -> None:
    import os

    from thinkling.serve.security import Access
    from thinkling.serve.server import listening
    from thinkling.serve.web.known import Known
    from thinkling.serve.web.page import House, gradio
    from thinkling.serve.web.server import serve
    from thinkling.tasks.benchmarks import load_problems

    gradio()  # what is missing, or in the way, is said before a model is loaded
    listening(settings.host, settings.port).close()
    known = Known(load_problems(settings.tasks, settings.split))
    names = [settings.model, *([settings.compare] if settings.compare else [])]
    models = tuple(model_of(settings, name) for name in names)
    effort = "xhigh" if settings.thinking else "none"
    house = House(models, sampling_of(settings, models[0]), effort, settings.votes, known)
    token = os.environ.get(settings.api_key_env) if settings.server is None else None  # else it is the server's
    serve(house, Access(settings.host, token or None, settings.allow_host), settings.port)


def in_the_terminal(settings: Chat) -> None:
    from thinkling.serve.chat import talk
    from thinkling.serve.talkers import Here, Talker, There

    def find(name: str) -> Talker:
        model = model_of(settings, name)
        return model if isinstance(model, There) else Here(model)

    talker = find(settings.model)
    model = talker if isinstance(talker, There) else talker.model
    talk(talker, sampling_of(settings, model), settings.thinking, find)


def model_of(settings: Chat, name: str) -> "LanguageModel | There":
    """A model on the server that the flags name, or loaded here."""
    import os
    from dataclasses import replace

    from thinkling.commands.load import language_model
    from thinkling.serve.talkers import There

    if settings.server is not None:
        return There(settings.server, name, os.environ.get(settings.api_key_env, ""))
    return language_model(replace(settings, model=name, compare=None), prefix_gb=PREFIX_GB)


def sampling_of(settings: Chat, model: "LanguageModel | There") -> "Sampling":
    """As the flags have it, or else the checkpoint, which a server does not tell."""
    from dataclasses import replace

    from thinkling.commands.load import sampling_for
    from thinkling.generate.sampling import Sampling
    from thinkling.serve.talkers import There

    sampling = Sampling(max_tokens=settings.max_tokens, seed=settings.seed)
    if isinstance(model, There):
        return replace(sampling, temperature=settings.temperature or 0.0)
    return sampling_for(model, sampling, settings.thinking, temperature=settings.temperature)
