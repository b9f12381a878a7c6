"""Several servers with the same model as one: each request goes to the one that has the least to do.

A server that is gone is not asked any more, and what it was asked goes to another; once all are gone, the last one's
error is the run's. Leaves out everything that a single server does (remote.py).
"""

import warnings
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, TypeVar

from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion
from thinkling.generate.model import Forwarding, NoLogprobs
from thinkling.generate.openai.format import ServerToken
from thinkling.generate.openai.remote import RemoteModel
from thinkling.generate.sampling import Sampling

Answer = TypeVar("Answer")


class BalancedModel(Forwarding):
    """The calls of RemoteModel, spread over several; the first answers what no server is asked for. Its name tells the
    model and every server."""

    def __init__(self, servers: Sequence[RemoteModel], name: str) -> None:
        if len(servers) < 2:
            raise UserError("balancing takes two servers or more")
        self.name, self.servers, self.model = name, list(servers), servers[0]
        self.num_asked = [0] * len(servers)  # requests that each server was given
        self._under_way = [0] * len(servers)
        self._gone: set[int] = set()

    async def _ask(self, call: Callable[[RemoteModel], Awaitable[Answer]]) -> Answer:
        while True:
            able = [place for place in range(len(self.servers)) if place not in self._gone]
            place = min(
                able or range(len(self.servers)), key=lambda place: (self._under_way[place], self.num_asked[place])
            )
            self._under_way[place] += 1
            self.num_asked[place] += 1
            try:
                return await call(self.servers[place])
            except NoLogprobs:
                raise
            except FatalError as error:
                if place not in self._gone and len(self._gone) + 1 < len(self.servers):
                    warnings.warn(f"{error}. It is not asked any more; the other servers are", stacklevel=2)
                self._gone.add(place)
                if len(self._gone) == len(self.servers):
                    raise
            finally:
                self._under_way[place] -= 1

    async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
        return await self._ask(lambda server: server.complete(prompt, sampling))

    async def first_tokens(self, prompt: Any, num: int) -> list[Completion]:
        return await self._ask(lambda server: server.first_tokens(prompt, num))

    async def logprob_of(self, prompt: Any, text: str) -> float:
        return await self._ask(lambda server: server.logprob_of(prompt, text))

    async def read(self, text: str) -> list[ServerToken]:
        return await self._ask(lambda server: server.read(text))
