"""Checks of what people set: each raises UserError in one line that names the flag and what it may be."""

import math
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


def a_port(port: int) -> None:
    if not 0 <= port <= 65535:
        raise UserError(f"--port must be from 0 to 65535, not {port}")
