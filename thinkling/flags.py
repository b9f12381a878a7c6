"""A command's settings from its flags: tyro reads them, here is what help says of each, and what is wrong in one line.

Imported by the command line only, and without torch, so that --help is instant.
"""

import ast
import contextlib
import io
import re
import shutil
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from difflib import get_close_matches
from functools import cache, partial
from inspect import getdoc, getsource
from itertools import pairwise
from typing import Annotated, Any, Literal, get_args, get_origin, get_type_hints

import tyro
from tyro.constructors import ConstructorRegistry, StructConstructorSpec, StructFieldSpec, StructTypeInfo

from thinkling.errors import UserError

REGISTRY = ConstructorRegistry()
TITLES = "Unrecognized options|Value error|Parsing error|Required options|Invalid choice|Missing argument"
STRAY = "Unrecognized options: "


def parse(settings: type, command: str, arguments: Sequence[str]) -> Any:
    """The settings that these flags of `thinkling COMMAND` make. Raises UserError in one line; --help prints and
    exits."""
    complaint = io.StringIO()
    try:
        with contextlib.redirect_stderr(complaint):
            return tyro.cli(
                settings, prog=f"thinkling {command}", description=about(settings), args=arguments, registry=REGISTRY
            )
    except SystemExit as end:
        if not end.code:
            raise
        wrong = one_line(settings, arguments, complaint.getvalue())
        raise UserError(f"{wrong} (see thinkling {command} --help)") from None


# What help says


def about(settings: type) -> str:
    """What a command does, wrapped for this terminal. tyro joins lines again, but for those that begin with a space."""
    width = max(20, shutil.get_terminal_size().columns)
    paragraphs = (" ".join(paragraph.split()) for paragraph in getdoc(settings).split("\n\n"))
    return "\n\n".join(
        textwrap.fill(paragraph, width, subsequent_indent="  ", break_on_hyphens=False) for paragraph in paragraphs
    )


@REGISTRY.struct_rule
def record(info: StructTypeInfo) -> StructConstructorSpec | None:
    """A dataclass as tyro itself reads it, but for the help of its fields: tyro keeps the source's line breaks."""
    if not is_dataclass(info.type):
        return None
    types = get_type_hints(info.type, include_extras=True)
    found = []
    for field in fields(info.type):
        default = default_of(field, info.default)
        kind = Annotated[types[field.name], tyro.conf.arg(help_behavior_hint=partial(hint, default))]
        found.append(StructFieldSpec(field.name, kind, default, partial(help_of, info.type, field.name)))
    return StructConstructorSpec(info.type, tuple(found))


def default_of(field: Field, whole: object) -> object:
    """whole: the default of the record that the field is of, if it has one."""
    if is_dataclass(whole):
        return getattr(whole, field.name)
    if field.default is not MISSING:
        return field.default
    return field.default_factory() if field.default_factory is not MISSING else tyro.MISSING


def hint(default: object, written: str) -> str:
    """What stands behind a flag's help. written: its default, as tyro writes it; it takes a list of words for one that
    may be empty."""
    if default is tyro.MISSING:
        return "(required)"
    return f"(default: {'none' if default in ('', ()) else written})"


def help_of(settings: type, name: str) -> str | None:
    """What stands under the field in the source, as one paragraph."""
    return next((texts[name] for texts in map(texts_of, settings.__mro__[:-1]) if name in texts), None)


@cache
def texts_of(settings: type) -> dict[str, str]:
    body, found = ast.parse(textwrap.dedent(getsource(settings))).body[0].body, {}
    for field, below in pairwise(body):
        match field, below:
            case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(text))):
                found[name] = " ".join(text.split())
    return found


# What is wrong


def one_line(settings: type, arguments: Sequence[str], panel: str) -> str:
    """tyro draws a panel of several lines; what it says in one, without the help that it pastes."""
    known = dict(flags_of(settings))
    given = [word.partition("=")[0].replace("_", "-") for word in arguments if re.match("--?[A-Za-z]", word)]
    unknown = next((word for word in given if word not in known and word not in ("-h", "--help")), None)
    if unknown is not None:
        names = [flag[2:] for flag in known]
        nearest = get_close_matches(unknown.lstrip("-"), names, 1)
        return f"there is no flag {unknown}" + (f": did you mean --{nearest[0]}?" if nearest else "")
    missing = re.search("Missing from thinkling (.*?):(.*?)(?=For full)", panel, flags=re.DOTALL)
    if missing:
        names = re.findall(r"^[│ ] {5}(\S+)", missing[2], flags=re.MULTILINE)
        return f"{missing[1]} needs {' and '.join(names)}"
    words = re.sub(r"[╭╮╰╯│─]+|-{4,}", " ", panel)
    words = re.sub(r"(For full|Argument) helptext.*", "", words, flags=re.DOTALL)
    words = " ".join(re.sub(rf"^\s*({TITLES})\s+", "", words).split())
    if words.startswith(STRAY):
        return stray(known, words.removeprefix(STRAY).split(", "))
    number = re.search(r"Error parsing (--\S+): .*?(int\(\)|to float)[^']*'(.*?)'", words)
    if number:
        return f"{number[1]} must be a {'whole ' if number[2] == 'int()' else ''}number, not '{number[3]}'"
    lacking = re.match(r"Missing value for argument '(.*?)'\. Expected (\d+) values", words)
    if lacking:
        return f"{lacking[1]} needs {'a value' if lacking[2] == '1' else f'{lacking[2]} values'}"
    choice = re.match("invalid choice '(.*)' for argument '(.*?)'", words)
    if choice:
        if choice[2] in known:
            return f"{choice[2]} cannot be '{choice[1]}': use one of {', '.join(choices_of(known[choice[2]]))}"
        return f"'{choice[1]}' must be one of {', '.join(choices_of(known[f'--{choice[2].lower()}']))}"
    return words


def stray(known: dict[str, Any], words: Sequence[str]) -> str:
    """Words that belong to no flag: often a flag's value without the flag, or a text without quotes."""
    flag = next((flag for flag, kind in known.items() if words[0] in choices_of(kind)), None)
    meant = f": did you mean {flag} {words[0]}?" if flag else ": a text of several words needs quotes"
    return f"'{words[0]}' belongs to no flag" + (meant if flag or len(words) > 1 else "")


def flags_of(settings: type) -> Iterator[tuple[str, Any]]:
    """Each flag with its type; those of a record in the settings too."""
    for name, kind in get_type_hints(settings).items():
        if is_dataclass(kind):
            yield from flags_of(kind)
        else:
            flag = name.replace("_", "-")
            yield f"--{flag}", kind
            if kind is bool:
                yield f"--no-{flag}", kind


def choices_of(kind: Any) -> Iterator[str]:
    """The words that a flag of this type may take."""
    if get_origin(kind) is Literal:
        yield from map(str, get_args(kind))
    else:
        for part in get_args(kind):
            yield from choices_of(part)
