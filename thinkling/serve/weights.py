"""New weights for a model that is served: checkpoints in one folder, which the command line names, taken by name.

A request names a checkpoint there, never a path. It is read and checked whole first, and put in between two steps of
the engine, so that no token is drawn with half of it. Answers under way go on with the new weights. Left out: weights
that come over the network.
"""

import asyncio
import re
from dataclasses import dataclass, field
from pathlib import Path

import torch

from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.model.quantize import is_quantized, quantize
from thinkling.model.transformer import Transformer
from thinkling.model.weights import load_model
from thinkling.serve.refusals import bad
from thinkling.serve.schema import check

UPDATE, INFO = "/update_weights", "/weight_info"
FIELDS = {
    "folder": {"type": "string", "minLength": 1, "description": "a checkpoint in the folder of --allow-weight-updates"},
    "version": {"type": "string", "description": "what these weights are called from now on"},
}
LONGEST = 100  # characters of a name


@dataclass
class Weights:
    """folder: what checkpoints are taken from. version: what the weights in use are called; "" for the first ones."""

    model: LanguageModel
    folder: Path
    version: str = ""
    turn: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def take(self, body: object) -> None:
        """Use other weights from now on. Raises ApiError, and the old ones stay, for a checkpoint that is not there, or
        not of this network."""
        name, version = asked(body)
        path = checkpoint_in(self.folder, name)
        async with self.turn:
            try:
                new = await asyncio.to_thread(self.read, path)
            except UserError as error:
                raise bad("folder", str(error).replace(f"{self.folder.resolve()}/", "")) from None
            await asyncio.wrap_future(self.model.engine_thread.between_steps(lambda: self.put(new, version)))

    def read(self, path: Path) -> Transformer:
        network = self.model.network
        new = load_model(path, "cpu", network.dtype)
        if new.config != network.config:
            raise UserError(f"{path.name}: another network than the one that is served")
        if is_quantized(network):
            quantize(new)
        return new

    @torch.no_grad()
    def put(self, new: Transformer, version: str) -> None:
        for mine, weight in zip(self.model.network.parameters(), new.parameters(), strict=True):
            mine.copy_(weight)
        self.model.engine.weights_changed()
        self.version = version


def asked(body: object) -> tuple[str, str]:
    """The checkpoint's name and the version that a request says."""
    if not isinstance(body, dict):
        raise bad(None, "the body must be a JSON object")
    for name in body:
        if name not in FIELDS:
            raise bad(name[:LONGEST], f"this parameter is not known; use {' and '.join(FIELDS)}")
    for name, schema in FIELDS.items():
        if body.get(name) is None:
            raise bad(name, "is missing")
        check(schema, body[name], name)
        if len(body[name]) > LONGEST or not body[name].isprintable():
            raise bad(name, f"must be at most {LONGEST} characters, all of them printable")
    return body["folder"], body["version"]


def checkpoint_in(folder: Path, name: str) -> Path:
    """The checkpoint of this name. Whatever is no plain name in the folder itself is refused, unseen."""
    if not re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_.-]*", name):
        raise bad("folder", "must be the name of a checkpoint in the server's folder, not a path")
    path = folder.resolve() / name
    if path.is_symlink() or not path.is_dir():
        raise bad("folder", f"there is no checkpoint {name} in the server's folder")
    return path
