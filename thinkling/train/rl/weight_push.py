"""How a server takes new weights, and the proof that it has taken them.

Weights go by a folder that both sides see: a checkpoint is written, and the server told to read it. That it did is
never taken on trust: what the server says of a probe text is compared with what the network that is trained says of it,
and with what earlier weights said. Left out: weights sent from GPU to GPU (vLLM's NCCL and IPC engines).
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean

import torch

from thinkling.generate.openai.connection import Lost, Refused
from thinkling.generate.openai.exact import ExactServer

PROBE = "Question: What is 12 * 34?\nAnswer:\n12 * 34 = 408\n\\boxed{408}\nQuestion: What is 7 + 5?\nAnswer:\n"
# Mean difference of the probe's log-probabilities, in nats, that two programs with the same weights may come to.
TOLERANCES = {torch.float32: 1e-4, torch.bfloat16: 0.05, torch.float16: 0.05}
ROUNDING = 1e-5  # below this, two of them are the same
NEARER = 0.5  # an earlier version is the server's if it is nearer than so much of the distance to the right one
KEPT = 8  # versions that a server may turn out to have, besides the first


async def push_to_thinkling(server: ExactServer, folder: Path, version: str) -> None:
    await server.connection.beside("POST", "/update_weights", {"folder": folder.name, "version": version})


async def push_to_vllm(server: ExactServer, folder: Path, version: str) -> None:
    """By its routes for development (VLLM_SERVER_DEV_MODE=1). It answers nobody meanwhile."""
    call = {"method": "reload_weights", "kwargs": {"weights_path": str(folder.resolve())}}
    await server.connection.beside("POST", "/pause?mode=wait")
    try:
        await server.connection.beside("POST", "/collective_rpc", call)
        await server.connection.beside("POST", "/reset_prefix_cache")
    finally:
        await server.connection.beside("POST", "/resume")


@dataclass(frozen=True)
class Way:
    """How one kind of server takes weights. needed: how it must be started. stamps: do answers say the version?"""

    push: Callable[[ExactServer, Path, str], Awaitable[None]]
    needed: str
    stamps: bool = False


WAYS = {
    "thinkling": Way(push_to_thinkling, "start it with --allow-weight-updates FOLDER", stamps=True),
    "vllm": Way(push_to_vllm, "start it with VLLM_SERVER_DEV_MODE=1 in its environment"),
}


def way_of(server: ExactServer) -> Way:
    found = WAYS.get(server.identity.owner)
    if found is None:
        raise Lost(f"{server.where} is a {server.identity.owner!r}, which takes no new weights here: use one of "
                   f"{', '.join(WAYS)}")  # fmt: skip
    return found


async def push(server: ExactServer, folder: Path, version: str) -> None:
    """Raises Lost where the server does not take the weights."""
    way = way_of(server)
    try:
        await way.push(server, folder, version)
    except Refused as error:
        hint = f": {way.needed}" if "HTTP 404" in str(error) else ""
        raise Lost(f"{error}{hint}") from None


@dataclass
class Proof:
    """tolerance: mean difference, in nats. own: of each version, by the steps behind it, what the network said of the
    probe's tokens."""

    tolerance: float
    own: dict[int, list[float]] = field(default_factory=dict)

    def add(self, version: int, logprobs: list[float]) -> None:
        self.own[version] = logprobs
        for old in list(self.own)[1:-KEPT]:
            del self.own[old]

    def check(self, where: str, version: int, found: Sequence[float]) -> float:
        """How far a server's answer is from this version's. Raises Lost where it has other weights."""
        wanted = self.own[version]
        if len(found) != len(wanted):
            raise Lost(f"{where} has read the probe as {len(found) + 1} tokens, not {len(wanted) + 1}")
        distance = apart(found, wanted)
        others = {old: apart(found, own) for old, own in self.own.items() if old != version}
        nearest = min(others, key=others.get, default=None)
        if distance > ROUNDING and nearest is not None and others[nearest] < NEARER * distance:
            raise Lost(
                f"{where} has not taken the weights behind {version} steps: what it says of the probe is what "
                f"those behind {nearest} steps said ({others[nearest]:.1g} nats apart, not {distance:.1g})"
            )
        if not distance <= self.tolerance:
            raise Lost(
                f"{where} has other weights than those behind {version} steps, or another dtype: "
                f"log-probabilities of the probe are {distance:.1g} nats apart, more than {self.tolerance:g}"
            )
        return distance


def apart(some: Sequence[float], others: Sequence[float]) -> float:
    return fmean(abs(a - b) for a, b in zip(some, others, strict=True))
