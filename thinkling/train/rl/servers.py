"""Rollouts from servers that hold the weights which are trained: many as one model, none of them trusted.

Each server gets the weights before it is asked, and proves that it has them; what it answers is stamped with their
version. One that fails is left out until the next push, and what it was asked goes to another: an answer counts once,
whoever gives it. When all are gone they are waited for. Prompts and texts are made here, by the trainer's tokenizer.
"""

import asyncio
import hashlib
import os
import shutil
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch

from thinkling.anywhere import run_anywhere
from thinkling.distributed import RESUMES, barrier, broadcast, is_first, phase
from thinkling.errors import FatalError, UserError
from thinkling.generate.completion import Completion, check_prompt
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Forwarding
from thinkling.generate.openai.connection import Lost
from thinkling.generate.openai.exact import ExactServer, Unanswerable
from thinkling.generate.sampling import Sampling
from thinkling.generate.score import score_packed
from thinkling.generate.stop_strings import StopStrings
from thinkling.runs import refused_by_name
from thinkling.train import checkpoint
from thinkling.train.rl.weight_push import PROBE, TOLERANCES, Proof, push, way_of
from thinkling.words import counted

KEPT = 2  # versions that stay in the folder: a server may still read the one before
PAUSE = 2.0  # seconds between two looks at servers that are gone


@dataclass(frozen=True, kw_only=True)
class ServersConfig:
    """folder: where weights are written for the servers. prove_every: pushes between two proofs, of each server; the
    first is always proved, 0 leaves it at that. tolerance: see Proof; None by the network's dtype. max_stale: a rollout
    counts if its weights are at most so many steps older than they should be. patience: seconds that a server is waited
    for when all are gone."""

    folder: Path
    prove_every: int = 1
    tolerance: float | None = None
    max_stale: int = 0
    patience: float = 300.0


@dataclass
class Member:
    """A server, and what is known of it. why: it is not asked; None if it is. version: of its weights, by the steps
    behind them. pushes: since the last proof, None before the first."""

    server: ExactServer
    why: str | None = "it has no weights yet"
    version: int = -1
    pushes: int | None = None
    under_way: int = 0
    num_asked: int = 0


class RolloutServers(Forwarding):
    """A Model: `complete` asks a server, everything else the model that is trained, which has the tokenizer.

    version: steps behind the weights that were pushed last. thrown_away: completions whose weights were too old, so
    far.
    """

    def __init__(self, model: LanguageModel, servers: Sequence[ExactServer], config: ServersConfig) -> None:
        self.model, self.config, self.name = model, config, model.name
        self.members = [Member(server) for server in servers]
        self.version, self.thrown_away = -1, 0
        self.folder = Path(config.folder)
        self.run = hashlib.sha256(str(self.folder.resolve()).encode()).hexdigest()[:8]  # tells runs apart at a server
        tolerance = config.tolerance or TOLERANCES[model.network.dtype]
        self.proof, self.probe = Proof(tolerance), model.text_prompt(PROBE)
        self._coming_back: asyncio.Task | None = None

    # --- weights ---

    def push(self, step: int) -> None:
        """Have every server take the weights as they are behind `step` steps. Of several ranks all must call it, and
        rank 0 pushes. What they have already is not pushed again. Raises FatalError where no server has taken them."""
        if self.version == step:
            return
        with phase("pushing weights"):
            if is_first():
                self.write(step)
            barrier()
            self.proof.add(step, own_logprobs(self.model, self.probe))
            self.version = step  # last: another thread may be drawing, and push to a server that is back
            if is_first():
                run_anywhere(self._push_to_all(due=True))
                if not self.able:
                    run_anywhere(self._come_back())
            told = broadcast([(member.why, member.server.identity) for member in self.members])
            for member, (why, identity) in zip(self.members, told, strict=True):
                member.why, member.server.identity, member.version = why, identity, step if why is None else -1

    def label(self, version: int) -> str:
        """What servers call the weights."""
        return f"{self.run}.{version:06d}"

    def write(self, version: int) -> None:
        """The weights as a folder, whole or not at all; older ones of this run go. Raises FatalError if the disk does
        not take it."""
        target, growing = self.folder / self.label(version), self.folder / f"{self.run}.growing"
        try:
            with refused_by_name(target):
                self.folder.mkdir(parents=True, exist_ok=True)
                shutil.rmtree(growing, ignore_errors=True)
                checkpoint.save_weights(growing, self.model, with_head=True)
                shutil.rmtree(target, ignore_errors=True)
                os.replace(growing, target)
        except UserError as error:
            what = str(error).replace(str(growing.resolve()), str(target))
            raise FatalError(f"--push-folder: {what}; {RESUMES}") from None
        for old in sorted(self.folder.glob(f"{self.run}.*"))[:-KEPT]:
            if old != target:
                shutil.rmtree(old, ignore_errors=True)

    async def _push_to_all(self, due: bool) -> None:
        await asyncio.gather(*(self._push_to(member) for member in self.members if due or member.why is not None))

    async def _push_to(self, member: Member) -> None:
        server, back, version = member.server, member.why is not None, self.version
        try:
            await server.meet()
            await push(server, self.folder / self.label(version), self.label(version))
            every = self.config.prove_every
            if back or member.pushes is None or (every and member.pushes + 1 >= every):
                self.proof.check(server.where, version, await server.logprobs_of(self.probe))
                member.pushes = 0
            else:
                member.pushes += 1
            member.why, member.version = None, version
        except UserError as error:
            self.lose(member, f"pushing the weights behind {counted(version, 'step')}: {error}")

    # --- who is asked ---

    @property
    def able(self) -> list[Member]:
        return [member for member in self.members if member.why is None]

    def lose(self, member: Member, why: str) -> None:
        told, member.why = member.why, why
        if told is None and self.able:
            warnings.warn(f"{why}. It is left out until the next push", stacklevel=2)

    async def _free(self) -> Member:
        """The server that has least to do; where all are gone, the first one that is back."""
        while not self.able:
            if self._coming_back is None or self._coming_back.done():
                self._coming_back = asyncio.create_task(self._come_back())
            await asyncio.shield(self._coming_back)
        return min(self.able, key=lambda member: (member.under_way, member.num_asked))

    async def _come_back(self) -> None:
        """Push to the servers that are gone until one is back. Raises FatalError when patience is over."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        if self.config.patience:
            warnings.warn(f"{self.members[0].why}. No server is left: waiting {self.config.patience:g} s for one to "
                          "come back", stacklevel=2)  # fmt: skip
        while True:
            first = [member.why for member in self.members]
            left = self.config.patience - (loop.time() - began)
            if left <= 0:
                raise FatalError(f"{'; '.join(first)}; no server is left; {RESUMES}")
            await asyncio.sleep(min(PAUSE, left))
            await self._push_to_all(due=False)
            if self.able:
                return

    # --- the calls of a model ---

    async def complete(self, prompt: Any, sampling: Sampling) -> Completion:
        """A completion with its weights' version, from whichever server gives one first. Raises UserError for a request
        that none would take, FatalError where all are gone."""
        tokens = self.model.tokens_of(prompt)
        room = self.model.engine.max_length
        check_prompt(tokens, room)
        most = min(sampling.max_tokens, room - len(tokens))
        for _ in range(2 * len(self.members) + 3):
            member = await self._free()
            begun = member.version
            member.under_way += 1
            member.num_asked += 1
            try:
                found, stamp = await member.server.complete(tokens, sampling, most)
                return self._as_here(found, sampling, self._version(member, begun, stamp))
            except Unanswerable:
                raise
            except UserError as error:
                self.lose(member, f"drawing rollouts for step {self.version + 1}: {error}")
            finally:
                member.under_way -= 1
        raise FatalError(f"a rollout failed on every server, again and again; the last time: {member.why}")

    def _version(self, member: Member, begun: int, stamp: str | None) -> int:
        """Of the weights that an answer began with. begun: those that the server had then, as far as is known. Raises
        Lost for weights that are too old, or not this run's."""
        if not way_of(member.server).stamps:
            return begun
        run, _, steps = (stamp or "").partition(".")
        found = int(steps) if run == self.run and steps.isdecimal() else None
        if found is None or found < self.version - self.config.max_stale:
            self.thrown_away += 1
            whose = (
                "the weights that it began with, or another run's"
                if found is None
                else f"weights behind {counted(found, 'step')}, not {self.version}"
            )
            raise Lost(f"{member.server.where} answers with {whose}: was it started anew?")
        return found

    def _as_here(self, found: Completion, sampling: Sampling, version: int) -> Completion:
        """With the text that the model here would have given it."""
        watcher = StopStrings(self.model.tokenizer, sampling.stop) if sampling.stop else None
        for token in found.tokens if watcher else ():
            watcher(token)
        return replace(self.model.with_text(found, watcher), version=version)


@torch.no_grad()
def own_logprobs(model: LanguageModel, tokens: Sequence[int]) -> list[float]:
    """Of each token but the first, at temperature 1."""
    logprobs, _ = score_packed(model.network, [tokens[:1]], [[tokens[1:]]], 1.0)
    return logprobs.tolist()
