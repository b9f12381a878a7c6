"""Checks of what people set: each raises UserError in one line that names the flag and what it may be."""

import math
import re
from dataclasses import fields

from thinkling.errors import UserError


def finite(settings: object) -> None:
    """No number of this dataclass may be nan or infinite: neither is below or above anything, so that checks of a range
    let nan pass."""
    for field in fields(settings):
        values = getattr(settings, field.name)
        for value in values if isinstance(values, tuple) else (values,):
            if isinstance(value, float) and not math.isfinite(value):
                raise UserError(f"--{field.name.replace('_', '-')} must be a finite number, not {value}")


def at_least(minimum: float, **values: float) -> None:
    for name, value in values.items():
        if value < minimum:
            raise UserError(f"--{name.replace('_', '-')} must be at least {minimum}, not {value}")


def above_zero(**values: float | None) -> None:
    for name, value in values.items():
        if value is not None and value <= 0:
            raise UserError(f"--{name.replace('_', '-')} must be above 0, not {value}")


def no_password(variable: str, **urls: str | None) -> None:
    """What is written in a URL stands in the run's files and in messages. variable: of the environment, for the key."""
    for name, url in urls.items():
        if url is not None and re.search("//[^/?#,]*@", url):
            flag = f"--{name.replace('_', '-')}"
            raise UserError(f"{flag} holds a user name or password, which would stand in the run's files: put it into "
                            f"the environment variable {variable}, as \"Basic \" and the base64 of user:password, and "
                            "leave it out of the URL")  # fmt: skip


def a_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise UserError(f"--port must be from 0 to 65535, not {port}")
