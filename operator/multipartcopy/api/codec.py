"""Frozen dataclasses to and from the JSON of the Kubernetes API: camelCase names, absent for None."""

import dataclasses
import enum
import types
import typing
from collections.abc import Mapping
from typing import Any, TypeVar

T = TypeVar("T")


def camel(name: str) -> str:
    head, *tail = name.split("_")
    return head + "".join(word.capitalize() for word in tail)


def to_json(value: Any) -> Any:
    """The JSON form of a dataclass, a container of them, or a scalar. A field that is None is left out."""
    if type(value) is str:  # Most are: a ledger has thousands.
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        pairs = ((camel(f.name), getattr(value, f.name)) for f in dataclasses.fields(value))
        return {name: to_json(item) for name, item in pairs if item is not None}
    if isinstance(value, Mapping):
        return {key: to_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [to_json(item) for item in value]
    if isinstance(value, enum.Enum):
        return value.value
    return value


def from_json(cls: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from its JSON form. Unknown names are ignored, so that an older program reads a newer object.

    Raises TypeError where a field without a default is missing, ValueError for an unknown enum member.
    """
    hints = typing.get_type_hints(cls)
    arguments = {
        field.name: _decode(hints[field.name], data[camel(field.name)])
        for field in dataclasses.fields(cls)  # type: ignore[arg-type]
        if camel(field.name) in data
    }
    return cls(**arguments)


def _decode(hint: Any, value: Any) -> Any:
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if value is None:
        return None
    if origin in (typing.Union, types.UnionType):
        some = [item for item in arguments if item is not types.NoneType]
        return _decode(some[0], value) if len(some) == 1 else value
    if origin is tuple:
        if arguments[0] is str:
            return tuple(value)
        return tuple(_decode(arguments[0], item) for item in value)
    if origin in (dict, Mapping):
        return {key: _decode(arguments[1], item) for key, item in value.items()}
    if dataclasses.is_dataclass(hint):
        return from_json(typing.cast("type[Any]", hint), value)
    if isinstance(hint, type) and issubclass(hint, enum.Enum):
        return hint(value)
    return value
