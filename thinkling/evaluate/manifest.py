"""What a run was made of, so that it can be made again: hashes of model, problems, prompts and verifier; how it drew.

A run resumes only with the same model, problems and prompts. What may differ then (packages, the state of the code,
the machine) is written down. Leaves out the settings themselves, which config.json has.
"""

import hashlib
import json
import platform
import re
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import thinkling
from thinkling.errors import UserError
from thinkling.generate.language_model import LanguageModel
from thinkling.generate.model import Model
from thinkling.generate.sampling import Sampling
from thinkling.model.quantize import is_quantized
from thinkling.model.weights import resolve
from thinkling.problem import Problem
from thinkling.runs import read_object, to_json, write_json
from thinkling.scale.prompts import prompt_of, render

MODEL_FILES = {".safetensors", ".json", ".gguf", ".jinja", ".model", ".txt"}
PACKAGES = ("torch", "numpy", "tokenizers", "mpmath", "reasoning-gym", "httpx")
MAY_DIFFER = ("verifier", "packages", "git", "machine")  # without other answers, or as far as is known


def manifest_of(
    model: Model, problems: Sequence[Problem], template: str, sampling: Sampling, adapter: Path | None = None
) -> dict:
    """The manifest. `problems` in their order; `sampling` before its seed is derived for each of them."""
    verifiers = sorted({problem.verifier for problem in problems})
    return {
        "model": model_facts(model, adapter),
        "problems": {"number": len(problems), "sha256": sha256(to_json(asdict(problem)) for problem in problems)},
        "prompts": prompt_facts(model, template, problems),
        "sampling": asdict(sampling),
        "verifier": {name: verifier_version(name) for name in verifiers},
        "packages": {"thinkling": thinkling.__version__, "python": platform.python_version()}
        | {name: found for name in PACKAGES if (found := version_of(name))},
        "git": git_state(),
        "machine": platform.machine(),
    }


def model_facts(model: Model, adapter: Path | None) -> dict:
    if not isinstance(model, LanguageModel):
        return {"name": model.name, "files": None, "dtype": None, "device": None}
    files = model_files(resolve(model.name)) if is_stored(model.name) else {}
    if adapter is not None:
        files |= {f"adapter/{name}": digest for name, digest in model_files(adapter).items()}
    how = {"quantize": "int8"} if is_quantized(model.network) else {}
    how |= {"batch_invariant": True} if model.network.batch_invariant else {}
    return {"name": model.name, "files": files, "dtype": str(model.network.dtype).removeprefix("torch."),
            "device": model.network.device.type} | how  # fmt: skip


def is_stored(name: str) -> bool:
    """Is there a folder or file of this name? A model that was made in memory has none."""
    try:
        return resolve(name).exists()
    except UserError:
        return False


def model_files(place: Path) -> dict[str, str]:
    """sha256 of each file that a model is read from. The Hub's cache names its files by it, so they are not read."""
    paths = [place] if place.is_file() else sorted(path for path in place.iterdir() if path.suffix in MODEL_FILES)
    found = {}
    for path in paths:
        name = path.resolve().name
        if re.fullmatch("[0-9a-f]{64}", name):
            found[path.name] = name
            continue
        with open(path, "rb") as file:
            found[path.name] = hashlib.file_digest(file, "sha256").hexdigest()
    return found


def prompt_facts(model: Model, template: str, problems: Sequence[Problem]) -> dict:
    """sha256 of all prompts: as text before the model's own chat template ("questions"), by which runs of different
    models are compared; and exactly as this model reads them, token by token, or as they are sent to a server. A
    prompt that is too long counts as its text."""

    def exact(problem: Problem) -> str:
        try:
            return repr(prompt_of(model, template, problem.question))
        except UserError:
            return problem.question

    return {
        "template": template,
        "questions_sha256": sha256(render(template, problem.question) for problem in problems),
        "sha256": sha256(map(exact, problems)),
    }


def verifier_version(name: str) -> str:
    """sha256 of the source that judges: the folder thinkling/verify, and a user's own file."""
    folder = Path(thinkling.__file__).parent / "verify"
    texts = [path.read_text(encoding="utf-8") for path in sorted(folder.rglob("*.py"))]
    own = Path(name.rpartition(":")[0])
    if own.suffix == ".py" and own.is_file():
        texts.append(own.read_text(encoding="utf-8", errors="replace"))
    return sha256(texts)


def sha256(texts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for text in texts:
        digest.update(text.encode("utf-8", "replace") + b"\0")
    return digest.hexdigest()


def version_of(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def git_state() -> dict | None:
    """The commit of the checkout that this code runs from, and whether files were changed since; None elsewhere."""
    folder = Path(thinkling.__file__).parent

    def git(*words: str) -> str:
        command = ["git", "--no-optional-locks", "-C", str(folder), *words]  # it only looks: the index stays as it is
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        git("ls-files", "--error-unmatch", "__init__.py")
        return {"commit": git("rev-parse", "HEAD"), "changed": bool(git("status", "--porcelain", "--", "."))}
    except (OSError, subprocess.SubprocessError):
        return None


def keep(path: Path, manifest: dict) -> None:
    """Write the manifest, or compare it with the one of the run that is resumed.

    Raises UserError that names what differs, unless no answer depends on it; that is written down under "resumed".
    """
    manifest = json.loads(to_json(manifest))  # as it will be read from its file
    if not path.exists():
        write_json(path, manifest)
        return
    before = read_object(path)
    changed = differences({name: value for name, value in before.items() if name != "resumed"}, manifest)
    for name, (was, now) in changed.items():
        if name.split(".")[0] not in MAY_DIFFER:
            raise UserError(f"{path.parent} holds an unfinished run with another {name} ({short(was)}, now "
                            f"{short(now)}): give it what it was begun with, or choose another --out")  # fmt: skip
    if changed:
        said = {name: now for name, (_, now) in changed.items()}
        if said not in before.get("resumed", []):
            write_json(path, before | {"resumed": [*before.get("resumed", []), said]})


def differences(first: dict, second: dict) -> dict[str, tuple[object, object]]:
    """What two manifests say differently, by names such as model.dtype."""
    a, b = flat(first), flat(second)
    return {name: (a.get(name), b.get(name)) for name in {**a, **b} if a.get(name) != b.get(name)}


def flat(record: dict, before: str = "") -> dict[str, object]:
    found: dict[str, object] = {}
    for name, value in record.items():
        if isinstance(value, dict):
            found |= flat(value, f"{before}{name}.")
        else:
            found[f"{before}{name}"] = value
    return found


def short(value: object) -> str:
    text = "nothing" if value is None else str(value)
    return text if len(text) <= 24 else f"{text[:12]}..."
