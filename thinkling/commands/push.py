"""`thinkling push --model M REPO`: a checkpoint and a card for it, on the Hub."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import tyro

from thinkling.errors import UserError

if TYPE_CHECKING:
    from thinkling.report.model_card import Training

TOKEN = "HF_TOKEN"
FILES = (".safetensors", ".json", ".jinja")


@dataclass(frozen=True, kw_only=True)
class Push:
    """Put a model on the Hub, with a card that says how it was trained and what was measured.

    The Hub's token comes from the environment, HF_TOKEN, and is written nowhere. --dry-run prints the card and the
    files, and asks nobody.
    """

    repo: Annotated[str, tyro.conf.Positional, tyro.conf.arg(metavar="REPO")]
    """Where to, as name or organisation/name. It is made if it is not there."""
    model: str
    """A built-in model's name, a checkpoint's folder, a training run's folder, or a .gguf file."""
    license: str | None = None
    """As the Hub writes it, such as apache-2.0. Default: the built-in model's, or that of the one it was trained from;
    where none is known it must be given."""
    base_model: str | None = None
    """The Hub id of the model that this one was made from. Default: what the training run began with."""
    languages: tuple[str, ...] = ("en",)
    """The languages it writes, as the Hub writes them."""
    eval: Path | None = None
    """The folder of a finished thinkling eval of this model: its numbers go into the card."""
    private: bool = False
    """Make the repository a private one."""
    dry_run: bool = False
    """Only show what would be done."""


def main(settings: Push) -> None:
    from thinkling.evaluate.saved import read_run
    from thinkling.model.stored import config_at
    from thinkling.model.weights import resolve
    from thinkling.report.model_card import model_card

    if not re.fullmatch(r"([\w.-]+/)?[A-Za-z0-9][\w.-]*", settings.repo):
        raise UserError(f"{settings.repo!r}: no name of a repository: write it name or organisation/name")
    folder = resolve(settings.model)
    training = trained_by(settings.model)
    measured = None if settings.eval is None else read_run(settings.eval)
    if measured is not None and not same_model(folder, measured.manifest):
        raise UserError(f"{settings.eval}: is of another model ({measured.settings.get('model')}): give an eval of "
                        f"{settings.model}")  # fmt: skip
    card = model_card(settings.repo, config_at(folder), licence_of(settings, training), settings.languages,
                      base_of(settings, training), training, measured,
                      folder.name if folder.is_file() else None)  # fmt: skip
    files = files_of(folder)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(card if settings.dry_run else "", end="")
    print(f"{settings.repo}: README.md, {', '.join(path.name for path in files)}; {size:,.1f} MB")
    if settings.dry_run:
        return print("a dry run: nothing was sent")
    upload(settings, card, files)


def trained_by(name: str) -> Training | None:
    """The training run whose folder, or one of whose checkpoints, this is."""
    from thinkling.report.model_card import training_of
    from thinkling.runs import read_object

    folder = Path(name).expanduser()
    for place in (folder, folder.resolve().parent.parent):
        if (place / "checkpoints").is_dir() and (place / "config.json").is_file():
            return training_of(read_object(place / "config.json"))
    return None


def licence_of(settings: Push, training: Training | None) -> str:
    from thinkling.model.package_index import KNOWN
    from thinkling.model.weights import builtin_names

    begun = settings.model if training is None else training.base
    if settings.license is not None:
        return settings.license
    if begun is None or begun in builtin_names():
        return "apache-2.0"
    if begun in KNOWN:
        return KNOWN[begun].licence.lower()
    raise UserError(f"{settings.model}: its licence is not known here: name it with --license, as the Hub writes it")


def base_of(settings: Push, training: Training | None) -> str | None:
    """Only a name that the Hub may know."""
    if settings.base_model is not None or training is None or training.base is None:
        return settings.base_model
    return training.base if re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", training.base) else None


def same_model(folder: Path, manifest: dict) -> bool:
    """By the hashes of the weights, as far as the eval has written them down."""
    from thinkling.evaluate.manifest import model_files

    def weights(files: dict) -> dict:
        return {name: digest for name, digest in files.items() if name.endswith((".safetensors", ".gguf"))}

    told = (manifest.get("model") or {}).get("files")
    return not told or weights(told) == weights(model_files(folder))


def files_of(folder: Path) -> list[Path]:
    if folder.is_file():
        return [folder]
    return sorted(path for path in folder.iterdir() if path.is_file() and path.suffix in FILES)


def upload(settings: Push, card: str, files: list[Path]) -> None:
    from huggingface_hub import CommitOperationAdd, HfApi

    token = os.environ.get(TOKEN)
    if not token:
        raise UserError(
            f"the environment variable {TOKEN} holds no token: make one on the Hub that may write, and export it"
        )
    api = HfApi(token=token)
    try:
        where = api.create_repo(settings.repo, private=settings.private, exist_ok=True)
        operations = [CommitOperationAdd("README.md", card.encode())]
        operations += [CommitOperationAdd(path.name, str(path)) for path in files]
        api.create_commit(where.repo_id, operations, commit_message="Upload by thinkling push")
    except Exception as error:  # the network fails in as many ways as there are layers
        reason = (str(error).strip() or type(error).__name__).splitlines()[0].replace(token, "(the token)")
        raise UserError(f"{settings.repo}: the Hub did not take it ({reason}); check the name, the token's rights and "
                        "the connection") from None  # fmt: skip
    print(f"sent: {where}")
