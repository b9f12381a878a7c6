"""`thinkling env`: what thinkling runs on here, as lines for a bug report.

Leaves out the Hub's token and every other environment variable but those named here.
"""

import os
import platform
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

LIBRARIES = (
    "numpy", "tokenizers", "safetensors", "huggingface_hub", "httpx", "filelock", "mpmath", "reasoning-gym", "tyro",
    "rich", "matplotlib", "latex2mathml", "jaxtyping", "transformers", "math-verify",
)  # fmt: skip
THREAD_VARIABLES = ("OMP_NUM_THREADS", "OMP_WAIT_POLICY", "MKL_NUM_THREADS")
CPU_FLAGS = {"avx2": "AVX2", "avx512f": "AVX-512", "avx512_bf16": "AVX-512 bf16", "amx_bf16": "AMX bf16", "amx_fp16":
             "AMX fp16", "asimd": "NEON", "bf16": "NEON bf16", "sve": "SVE"}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Env:
    """Say what thinkling runs on here: paste it into a bug report.

    Machine, threads, devices, dtypes, folders, versions.
    """


def main(settings: Env) -> None:
    for name, value in lines():
        print(f"{name + ':':<11}{value}")


def lines() -> Iterator[tuple[str, str]]:
    """Each line's name and its text."""
    import torch

    import thinkling
    from thinkling.device import pick_device, pick_dtype

    yield "thinkling", f"{thinkling.__version__}, {Path(thinkling.__file__).parent}"
    yield "Python", f"{platform.python_version()}, {sys.executable}"
    yield "system", platform.platform()
    yield "machine", machine()
    told = ", ".join(f"{name} {os.environ.get(name, 'not set')}" for name in THREAD_VARIABLES)
    passive = os.environ.get("OMP_WAIT_POLICY", "").lower() == "passive" and torch.get_num_threads() > 1
    alone = "; with OMP_WAIT_POLICY=active training is faster where nothing else runs" if passive else ""
    yield "threads", f"torch uses {torch.get_num_threads()}; {told}{alone}"
    yield "torch", f"{torch.__version__}, CUDA {torch.version.cuda or 'not built in'}"
    device = pick_device()
    yield "device", f"auto is {device}; CPU, {gpus()}"
    yield "dtype", f"auto is {str(pick_dtype('auto', device)).removeprefix('torch.')}; {dtypes()}"
    yield "products", products()
    yield "compiler", compiler()
    yield "folders", f"here {Path.cwd()}, the Hub's downloads {downloads()}"
    yield "output", f"{sys.stdout.encoding if sys.stdout else 'none'}, {shutil.get_terminal_size().columns} columns"
    yield "libraries", ", ".join(versions())


def products() -> str:
    """How a CPU multiplies when it answers."""
    import torch

    from thinkling.model.int8 import has_int8_instructions
    from thinkling.model.prepacked import can_prepack
    from thinkling.threads import SMALL

    names = [name for name in ("float32", "bfloat16") if can_prepack(getattr(torch, name))]
    blocks = f"a CPU answers through weights in blocks in {' and '.join(names)}, from {SMALL} wide on" if names else ""
    int8 = f"int8 {'has' if has_int8_instructions() else 'lacks'} instructions of its own"
    return f"{blocks or 'a CPU answers through weights as they lie'}; {int8}"


def machine() -> str:
    from thinkling.device import usable_cores

    load = f", load {os.getloadavg()[0]:.1f}" if hasattr(os, "getloadavg") else ""
    memory = ""
    if "SC_PHYS_PAGES" in getattr(os, "sysconf_names", {}):
        memory = f", {os.sysconf('SC_PHYS_PAGES') * os.sysconf('SC_PAGE_SIZE') / 2**30:.1f} GiB of memory"
    model = cpu_info().get("model name", "").strip()
    what = f"{platform.machine()} {model}".strip()
    return f"{what}, {os.cpu_count()} cores, {usable_cores()} usable{memory}{load}"


def cpu_info() -> dict[str, str]:
    """What Linux says of the first core; nothing elsewhere."""
    path = Path("/proc/cpuinfo")
    if not path.is_file():
        return {}
    first = path.read_text(encoding="utf-8", errors="replace").split("\n\n")[0]
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value for name, _, value in pairs}


def gpus() -> str:
    import torch

    if not torch.cuda.is_available():
        return "an Apple GPU" if torch.backends.mps.is_available() else "no GPU that torch sees"
    found = [torch.cuda.get_device_properties(i) for i in range(torch.cuda.device_count())]
    return ", ".join(f"{gpu.name} ({gpu.total_memory / 2**30:.0f} GiB, sm_{gpu.major}{gpu.minor})" for gpu in found)


def dtypes() -> str:
    """What computes narrow numbers here: the CPU's instructions, and the GPU's bf16."""
    import torch

    info = cpu_info()
    flags = (info.get("flags") or info.get("Features") or "").split()
    has = ", ".join(said for flag, said in CPU_FLAGS.items() if flag in flags) or "not known"
    told = f"the CPU has {has}"
    if torch.cuda.is_available():
        told += f"; the GPU {'has' if torch.cuda.is_bf16_supported() else 'lacks'} bf16"
    return told


def compiler() -> str:
    found = shutil.which(os.environ.get("CXX", "g++")) or shutil.which("clang++")
    return found or "no C++ compiler, so torch.compile is not used on the CPU"


def downloads() -> str:
    from huggingface_hub import constants

    return f"{constants.HF_HUB_CACHE}{' (offline)' if constants.HF_HUB_OFFLINE else ''}"


def versions() -> Iterator[str]:
    from importlib.metadata import PackageNotFoundError, version

    for name in LIBRARIES:
        try:
            yield f"{name} {version(name)}"
        except PackageNotFoundError:
            yield f"{name} not installed"
