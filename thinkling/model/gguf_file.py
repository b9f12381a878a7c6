"""The header of a GGUF file: its metadata, and where its tensors are.

It is read here, since the `gguf` package's own reader trusts it: a length that is a lie makes it loop for years. Every
length is compared with the file's size before it is believed. Left out: what the metadata and the tensors mean
(gguf_network.py), writing.
"""

import mmap
import struct
from dataclasses import dataclass
from pathlib import Path

from thinkling.errors import UserError

KINDS = ("F32", "F16", "BF16", "Q8_0", "Q4_0", "Q4_1", "Q5_0", "Q5_1", "Q2_K", "Q3_K", "Q4_K", "Q5_K", "Q6_K")
FAMILY_OF = {"llama": "llama", "qwen2": "qwen2", "qwen3": "qwen3", "qwen3moe": "qwen3_moe"}
MOST = 100_000  # of keys, and of tensors
LONGEST_ARRAY = 10_000_000
_SCALARS = {0: "B", 1: "b", 2: "H", 3: "h", 4: "I", 5: "i", 6: "f", 7: "?", 10: "Q", 11: "q", 12: "d"}
_STRING, _ARRAY = 8, 9


@dataclass(frozen=True)
class GgufTensor:
    """shape: as torch has it, rows first. start: its first byte in the file."""

    kind: str
    shape: tuple[int, ...]
    start: int
    num_bytes: int


@dataclass(frozen=True)
class Gguf:
    path: Path
    metadata: dict[str, object]
    tensors: dict[str, GgufTensor]

    def of(self, key: str, default: object = None) -> object:
        """A key of the architecture's own, such as llama.block_count."""
        found = self.metadata.get(f"{self.metadata['general.architecture']}.{key}", default)
        return round_trip(found) if isinstance(found, float) else found


def round_trip(value: float) -> float:
    """The shortest decimal that the same float32 stands for: 1e-5, not 9.999999747e-6."""
    if not abs(value) < 3e38:  # no float32, or none that is finite
        return value
    shortest = (float(f"{value:.{digits}g}") for digits in range(1, 9))
    return next((short for short in shortest if struct.pack("<f", short) == struct.pack("<f", value)), value)


class _Header:
    """The file's bytes from the start on. Whatever would lie beyond its end is an error that says so."""

    def __init__(self, path: Path, data: mmap.mmap) -> None:
        self.path, self.data, self.place = path, data, 0

    def take(self, num_bytes: int) -> bytes:
        if num_bytes > len(self.data) - self.place:
            raise UserError(f"{self.path}: cut off, or not GGUF: something of {num_bytes:,} bytes begins at byte "
                            f"{self.place:,} of {len(self.data):,}; download it again")  # fmt: skip
        self.place += num_bytes
        return self.data[self.place - num_bytes : self.place]

    def number(self, code: str) -> int | float | bool:
        return struct.unpack(f"<{code}", self.take(struct.calcsize(f"<{code}")))[0]

    def count(self, most: int, what: str) -> int:
        found = self.number("Q")
        if found > most:
            raise UserError(f"{self.path}: not a GGUF file that can be meant: {found:,} {what}")
        return found

    def text(self) -> str:
        raw = self.take(self.number("Q"))
        try:
            return raw.decode()
        except UnicodeDecodeError:
            raise UserError(f"{self.path}: the text before byte {self.place:,} is not UTF-8") from None

    def value(self, kind: int) -> object:
        if kind in _SCALARS:
            return self.number(_SCALARS[kind])
        if kind == _STRING:
            return self.text()
        if kind != _ARRAY:
            raise UserError(f"{self.path}: a value of the unknown type {kind} at byte {self.place:,}")
        inner, num = self.number("I"), self.count(LONGEST_ARRAY, "values in one array")
        if inner in _SCALARS:
            code = f"<{num}{_SCALARS[inner]}"
            return list(struct.unpack(code, self.take(struct.calcsize(code))))
        if inner != _STRING:
            raise UserError(f"{self.path}: an array of arrays at byte {self.place:,}, which no model needs")
        return [self.text() for _ in range(num)]


def read_gguf(path: Path) -> Gguf:
    """Everything but the weights. Raises UserError for a file that is cut off, or not of a kind that is known."""
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            return _parse(path, _Header(path, data))
    except (OSError, ValueError) as error:  # ValueError: an empty file
        why = "it is empty" if isinstance(error, ValueError) else error
        raise UserError(f"{path}: cannot be read ({why})") from None


def _parse(path: Path, header: _Header) -> Gguf:
    if header.take(4) != b"GGUF":
        raise UserError(f"{path}: not a GGUF file")
    if (version := header.number("I")) not in (2, 3):
        raise UserError(f"{path}: GGUF of version {version}; thinkling reads 2 and 3")
    num_tensors, num_keys = header.count(MOST, "tensors"), header.count(MOST, "keys")
    metadata: dict[str, object] = {}
    for _ in range(num_keys):
        key = header.text()
        metadata[key] = header.value(header.number("I"))
    if metadata.get("general.architecture") not in FAMILY_OF:
        raise UserError(f"{path}: general.architecture is {repr(metadata.get('general.architecture'))[:40]}; thinkling "
                        f"reads {', '.join(FAMILY_OF)}")  # fmt: skip
    found = [_tensor(path, header) for _ in range(num_tensors)]
    alignment = metadata.get("general.alignment", 32)
    if type(alignment) is not int or not 0 < alignment <= 2**20:
        raise UserError(f"{path}: general.alignment is {repr(alignment)[:40]}")
    base = -(-header.place // alignment) * alignment
    tensors = {}
    for name, tensor in found:
        if base + tensor.start + tensor.num_bytes > len(header.data):
            raise UserError(f"{path}: cut off: {name[:80]} ends beyond the file; download it again")
        tensors[name] = GgufTensor(tensor.kind, tensor.shape, base + tensor.start, tensor.num_bytes)
    if len(tensors) < len(found):
        raise UserError(f"{path}: two tensors of one name")
    return Gguf(path, metadata, tensors)


def _tensor(path: Path, header: _Header) -> tuple[str, GgufTensor]:
    """One line of the table of tensors; the start is still counted from where they begin."""
    from gguf.constants import GGML_QUANT_SIZES, GGMLQuantizationType  # here: `thinkling --help` need not wait

    name, num_dims = header.text(), header.number("I")
    if not 1 <= num_dims <= 4:
        raise UserError(f"{path}: the tensor {name[:80]} has {num_dims} dimensions")
    shape = tuple(reversed([header.count(2**31, "rows") for _ in range(num_dims)]))
    number, start = header.number("I"), header.number("Q")
    known = {kind.value: kind for kind in GGMLQuantizationType}
    if number not in known or known[number].name not in KINDS:
        kind = known[number].name if number in known else number
        raise UserError(f"{path}: the tensor {name[:80]} is stored as {kind}; thinkling reads {', '.join(KINDS)}")
    block, size = GGML_QUANT_SIZES[known[number]]
    if shape[-1] % block:
        raise UserError(f"{path}: the tensor {name[:80]} has rows of {shape[-1]}, no multiple of {block}")
    elements = 1
    for length in shape:
        elements *= length
    return name, GgufTensor(known[number].name, shape, start, elements // block * size)
