"""Output on any terminal: where its encoding lacks a character, a plain sign or the character's code stands for it.

Without this, one bar of a sparkline or one word of a model's Chinese would end a run with a traceback. Leaves out
tables: rich draws their lines in ASCII by itself. Knows also by which name the shell finds this program.
"""

import codecs
import shutil
import sys
from pathlib import Path

# What we print ourselves, as ASCII. Characters that stand in columns have one for one.
PLAIN = dict(zip("▁▂▃▄▅▆▇█", "_.-:=+*#", strict=True)) | dict(zip("▉▊▋▌▍▎▏░", "####|||.", strict=True))
PLAIN |= dict(zip("·◂▸×–—“”‘’…⏎✓", ".<>x--\"\"''.$v", strict=True))
PLAIN |= {"⚠": "!", "→": "->", "≤": "<=", "≥": ">=", "±": "+-"}


def plain(error: UnicodeError) -> tuple[str, int]:
    """An error handler for codecs: characters that cannot be encoded, as PLAIN has them or as their codes, \\u4e2d."""
    if not isinstance(error, UnicodeEncodeError):
        raise error
    lacking = error.object[error.start : error.end]
    spelt = (PLAIN.get(char) or spinner(char) or char.encode("ascii", "backslashreplace").decode() for char in lacking)
    return "".join(spelt), error.end


def spinner(char: str) -> str:
    """rich's spinner turns in Braille."""
    return "|/-\\"[ord(char) % 4] if 0x2800 <= ord(char) < 0x2900 else ""


def print_anywhere() -> None:
    """From here on, nothing that is printed raises for want of a character. UTF-8 has all but half surrogate pairs."""
    codecs.register_error("plain", plain)
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # not where a test or a notebook has put something else in its place
            stream.reconfigure(errors="plain")


def visible(text: str) -> str:
    """Text of a model or of a file without what could steer the terminal."""
    return "".join(char if char.isprintable() or char in "\n\t" else "\N{REPLACEMENT CHARACTER}" for char in text)


def own_name() -> str:
    """What to type to start this program: its name, or where the shell does not find it, the path it was started by."""
    started = Path(sys.argv[0])
    return str(started) if started.name == "thinkling" and shutil.which("thinkling") is None else "thinkling"
