"""Shapes and types in signatures are checked while the tests run, once for each kind of call.

Jaxtyping's import hook decorates every function of the package; beartype checks what goes in and what comes out, with
int welcome where float is asked for (PEP 484). A call with tensors of the same shapes and arguments of the same types
as one that was checked is not checked again: with each call checked, the network decoded at half its speed.
"""

import functools
import inspect
import itertools
import threading
from collections.abc import Callable
from types import FunctionType

import jaxtyping
from beartype import BeartypeConf, beartype
from torch import Tensor

check = beartype(conf=BeartypeConf(is_pep484_tower=True))
at_each_call = jaxtyping.jaxtyped
made_now = threading.local()  # `made`: what the function that is checked has returned
FEW = 4  # values of a list, tuple or dict that are looked at; beartype itself looks at one


class Promise:
    """What a function's signature promises, and the kinds of calls that have kept it."""

    def __init__(self, function: FunctionType) -> None:
        signature = inspect.signature(function)
        self.code = function.__code__  # held, so that no other function's gets its id
        self.takes = self.stand_in(function, signature.replace(return_annotation=inspect.Signature.empty))
        self.returns = self.stand_in(function, signature)
        self.kinds = WITH_STRINGS if "Literal[" in str(signature) else OF_TYPES
        self.kept: dict[object, set[object]] = {}  # what was given -> what came back

    def stand_in(self, function: FunctionType, signature: inspect.Signature) -> Callable[..., object]:
        """Checked at each call, and returns what the function itself has just made."""
        just = made_now  # a cell, since the twin's globals are the function's

        def twin(*args: object, **kwargs: object) -> object:
            return just.made

        twin = FunctionType(twin.__code__, function.__globals__, function.__name__, None, twin.__closure__)
        twin.__qualname__, twin.__module__, twin.__signature__ = function.__qualname__, function.__module__, signature
        return at_each_call(twin, typechecker=check)


class Kinds(dict):
    """For each type, how the kind of a value of it is told; None where the type says it all. Asked at every call."""

    def __init__(self, by_value: bool) -> None:
        self.by_value = by_value  # strings by their value, for a Literal

    def __missing__(self, cls: type) -> Callable[[object], object] | None:
        several = None
        if issubclass(cls, Tensor):
            several = lambda value: (value.shape, value.dtype)  # noqa: E731
        elif issubclass(cls, list | tuple):
            several = lambda value: (cls, *map(self.of, value[:FEW]))  # noqa: E731
        elif issubclass(cls, dict):
            several = lambda value: (dict, *map(self.of, itertools.islice(value.items(), FEW)))  # noqa: E731
        elif self.by_value and issubclass(cls, str):
            several = lambda value: (str, value)  # noqa: E731
        self[cls] = several
        return several

    def of(self, value: object) -> object:
        cls = type(value)
        told = self[cls]
        return cls if told is None else told(value)


OF_TYPES, WITH_STRINGS = Kinds(by_value=False), Kinds(by_value=True)
promises: dict[int, Promise] = {}  # by the code's id: a function inside another is made anew at each call


def once_a_kind(function: FunctionType) -> FunctionType:
    if not function.__annotations__:
        return function
    promise = promises.get(id(function.__code__)) or promises.setdefault(id(function.__code__), Promise(function))
    kind, kept = promise.kinds.of, promise.kept

    @functools.wraps(function)
    def checked(*args: object, **kwargs: object) -> object:
        if jaxtyping.config.jaxtyping_disable:
            return function(*args, **kwargs)
        given = tuple(map(kind, args))
        if kwargs:
            given += tuple((name, kind(value)) for name, value in kwargs.items())
        if (back := kept.get(given)) is None:
            made_now.made = None
            promise.takes(*args, **kwargs)
            back = kept.setdefault(given, set())
        made = function(*args, **kwargs)
        if (came := kind(made)) not in back:
            made_now.made = made
            promise.returns(*args, **kwargs)
            made_now.made = None
            back.add(came)
        return made

    return checked


def jaxtyped(thing: object = None, *, typechecker: object = None) -> object:
    """In the place of jaxtyping's own decorator, of what the import hook decorates."""
    if thing is None:
        return jaxtyped
    if inspect.isclass(thing):
        if "__dataclass_fields__" in vars(thing) and isinstance(vars(thing).get("__init__"), FunctionType):
            thing.__init__ = once_a_kind(thing.__init__)
        return thing
    if isinstance(thing, classmethod | staticmethod):
        return type(thing)(once_a_kind(thing.__func__))
    if isinstance(thing, property):
        return property(*(part and once_a_kind(part) for part in (thing.fget, thing.fset, thing.fdel)))
    return once_a_kind(thing) if isinstance(thing, FunctionType) else thing


def check_each_kind_once() -> None:
    """Before the import hook decorates anything."""
    jaxtyping.jaxtyped = jaxtyped
