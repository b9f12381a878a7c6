"""`thinkling serve`: an OpenAI-compatible server (serve/)."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import tyro

from thinkling.checks import a_port, above_zero, at_least
from thinkling.commands.options import ModelSettings
from thinkling.errors import UserError


@dataclass(frozen=True, kw_only=True)
class Serve(ModelSettings):
    """Serve a model over OpenAI's API.

    Methods are models, too: MODEL+vote@8, MODEL+best@8, MODEL+refine.

    Example: thinkling serve thinkling-base --port 8000
    """

    model: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="MODEL")] = "thinkling-base"
    """A built-in model's name, a checkpoint's folder or .gguf file, smollm2-135m, or a Hub id."""
    port: int = 8000
    """0 takes any free one, and says which."""
    host: str = "127.0.0.1"
    """The address to listen at. Away from this machine clients need a token: one is made and printed, unless
    --api-key-env has one."""
    name: str | None = None
    """What clients call the model; its own name, without folders, if left out."""
    api_key_env: str = "THINKLING_API_KEY"
    """The environment variable that holds the token which clients must send, if there is one."""
    allow_host: tuple[str, ...] = ()
    """Names by which clients may call the server, besides localhost and its address."""
    allow_origin: tuple[str, ...] = ()
    """Origins of web pages that may ask this server, such as https://chat.example.org."""
    allow_weight_updates: Path | None = None
    """A folder of checkpoints that clients may have taken, by name, in place of the weights that are served: for
    thinkling grpo --rollouts, which pushes its weights there. Without it, weights never change."""
    queue: int = 256
    """Answers that may wait for a place in the batch; what comes then is told to try again later (429)."""
    prefix_gb: float = 0.5
    """The part of --cache-gb, at most half, for what earlier requests have read, stored once however many begin alike:
    a conversation's next turn reads only what is new."""
    request_timeout: float = 600.0
    """Seconds that one answer may take."""
    client_timeout: float = 20.0
    """Seconds that a client may take to send a request, or to read when its connection is full."""
    max_connections: int = 1024
    """Connections at once."""
    data_parallel_size: int = 1
    """Processes behind the one port, each with the weights, --max-rows, and its part of --cache-gb, --prefix-gb and
    --queue: on a CPU of as many cores a small model answers many clients faster. One that fills the memory's bandwidth
    gains nothing."""
    ending: float = 30.0
    """Seconds that answers under way may still take when the server is told to end."""

    def __post_init__(self) -> None:
        super().__post_init__()
        at_least(0, queue=self.queue, ending=self.ending, prefix_gb=self.prefix_gb)
        at_least(1, max_connections=self.max_connections, data_parallel_size=self.data_parallel_size)
        if self.data_parallel_size > 1 and self.allow_weight_updates is not None:
            raise UserError("--allow-weight-updates has no meaning with --data-parallel-size: weights would change in "
                            "one process of several; leave one of the two out")  # fmt: skip
        above_zero(request_timeout=self.request_timeout, client_timeout=self.client_timeout)
        a_port(self.port)
        if self.name is not None and not (self.name and self.name.isprintable() and "+" not in self.name):
            raise UserError(f"--name {self.name!r}: use a name without '+', which stands before a method's name")


def main(settings: Serve) -> None:
    import os

    from thinkling.commands.load import how_to_load, language_model, limits_of
    from thinkling.serve.api import Limits
    from thinkling.serve.front import serve_in_processes
    from thinkling.serve.security import Access
    from thinkling.serve.server import listening, serve

    token = os.environ.get(settings.api_key_env) or None
    access = Access(settings.host, token, settings.allow_host, settings.allow_origin)
    limits = Limits(settings.queue, settings.request_timeout, settings.client_timeout, settings.max_connections)
    listening(access.bind, settings.port).close()  # what is wrong with it is said before a model is loaded
    size = settings.data_parallel_size
    if size > 1:
        engine = limits_of(settings) | {"prefix_gb": settings.prefix_gb}
        return serve_in_processes(size, how_to_load(settings), engine, settings.name, access, settings.port, limits,
                                  settings.ending)  # fmt: skip
    model = language_model(settings, prefix_gb=settings.prefix_gb)
    serve(model, settings.name, access, settings.port, limits, settings.ending, settings.allow_weight_updates)
