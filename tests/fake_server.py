"""A server that draws rollouts, without a network, and goes wrong when it is told to: for the trainer's side of a push.

It has a small model of its own, speaks like `thinkling serve` or like vLLM, and its faults are functions that stand in
for a route: they see the server and the request, and do worse than the route would.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable
from pathlib import Path

import httpx
import torch
from safetensors.torch import load_file
from torch import nn

from thinkling.generate.language_model import LanguageModel
from thinkling.generate.sampling import Sampling
from thinkling.train.rl.servers import own_logprobs

Fault = Callable[["FakeServer", dict], Awaitable[object]]
UPDATES = {"thinkling": "/update_weights", "vllm": "/collective_rpc"}


class FakeServer:
    """model: a copy that is its own. fault: by path, what it does instead. seen: the paths that were asked, in order.
    log: the completions that it has given, as (prompt, seed)."""

    def __init__(self, model: LanguageModel, owner: str = "thinkling", folder: Path = Path()) -> None:
        self.model, self.owner, self.folder = model, owner, folder
        self.version, self.fault, self.seen, self.log = "", {}, [], []

    async def __call__(self, request: httpx.Request) -> httpx.Response:
        path, body = request.url.path, json.loads(request.content) if request.content else {}
        self.seen.append(path)
        done = self.fault[path](self, body) if path in self.fault else self.answer(path, body)
        found = await done
        return found if isinstance(found, httpx.Response) else httpx.Response(200, json=found)

    async def answer(self, path: str, body: dict) -> object:
        if path == "/v1/models":
            return {"data": [{"id": "m", "owned_by": self.owner}]}
        if path == "/v1/completions":
            return self.given(body["prompt"]) if body.get("echo") else await self.drawn(body)
        if path == UPDATES[self.owner]:
            self.take(body)
            return {}
        if self.owner == "vllm" and path in ("/pause", "/resume", "/reset_prefix_cache"):
            return httpx.Response(200)
        return httpx.Response(404, json={"detail": "Not Found"})

    @torch.no_grad()
    def take(self, body: dict, dtype: torch.dtype = torch.float32, share: float = 1.0) -> None:
        """What an update does; a share of the tensors, or rounded to another dtype. vLLM 0.32 on a CPU has a head of
        its own, though it is tied, and reads it only where the file names it."""
        network = self.model.network
        if self.owner == "vllm":
            folder = Path(body["kwargs"]["weights_path"])
            if network.lm_head.weight is network.model.embed_tokens.weight:
                network.lm_head.weight = nn.Parameter(network.lm_head.weight.clone())
        else:
            folder, self.version = self.folder / body["folder"], body["version"]
        new = load_file(folder / "model.safetensors")
        pairs = [(mine, new[name]) for name, mine in network.named_parameters() if name in new]
        assert len(pairs) >= len(new) - 1  # all but a tied head
        for mine, weight in pairs[: round(share * len(pairs))]:
            mine.copy_(weight.to(dtype))

    def given(self, tokens: list[int]) -> dict:
        told = {"tokens": [""] * len(tokens), "token_logprobs": [None, *own_logprobs(self.model, tokens)]}
        return {"choices": [{"text": "", "finish_reason": "length", "logprobs": told}]}

    async def drawn(self, body: dict) -> dict:
        self.log.append((tuple(body["prompt"]), body["seed"]))
        stamp = {"system_fingerprint": self.version} if self.owner == "thinkling" else {}  # of now, as the real one
        sampling = Sampling(max_tokens=body["max_tokens"], seed=body["seed"])
        found = await self.model.complete(body["prompt"], sampling)
        told = {"tokens": ["?"] * len(found.tokens), "token_logprobs": list(found.logprobs)}
        choice = {"text": found.text, "finish_reason": found.finish_reason, "logprobs": told,
                  "token_ids": list(found.tokens), "prompt_token_ids": list(found.prompt_tokens)}  # fmt: skip
        return {"choices": [choice], "usage": {"completion_tokens": len(found.tokens)}} | stamp


# --- faults ---


async def hangs(server: FakeServer, body: dict) -> object:
    await asyncio.sleep(3600)


async def dies(server: FakeServer, body: dict) -> object:
    """From now on nobody is there."""
    server.fault = dict.fromkeys(("/v1/models", "/v1/completions", *UPDATES.values(), "/pause", "/resume"), dies)
    raise httpx.ConnectError("connection refused")


async def breaks(server: FakeServer, body: dict) -> object:
    return httpx.Response(500, json={"error": {"message": "out of memory"}})


async def ignores(server: FakeServer, body: dict) -> object:
    """Says that it has taken the weights, and has not."""
    server.version = body.get("version", "")
    return {}


async def rounds(server: FakeServer, body: dict) -> object:
    server.take(body, dtype=torch.bfloat16)
    return {}


async def halves(server: FakeServer, body: dict) -> object:
    server.take(body, share=0.5)
    return {}


def later(fault: Fault, calls: int) -> Fault:
    """The fault, but not at the first so many calls."""
    left = [calls]

    async def answer(server: FakeServer, body: dict) -> object:
        left[0] -= 1
        path = server.seen[-1]
        return await (fault(server, body) if left[0] < 0 else server.answer(path, body))

    return answer
