"""Records that files hold, such as the metadata of a model, taken apart by type and range.

A file may say anything, of any type and at any depth. So whoever reads one asks for each field by
its kind, and a field that is not of that kind ends the reading with words that name it.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

#: Levels of lists and objects within each other; our own records have eight at most.
MOST_LEVELS = 24
_SHOWN = 40  # characters of a wrong value


class RecordError(ValueError):
    """A record that is not what it should be; the text says which field, and what it holds."""


def parse_json(text: str | bytes) -> Any:
    """Return what a JSON text holds.

    Raises a `RecordError` for anything else, and for values nested deeper than `MOST_LEVELS`.
    """
    try:
        value = json.loads(text)
    except RecursionError:
        raise RecordError("it is nested too deep") from None
    except ValueError as error:
        raise RecordError(f"it is not JSON ({_clipped(str(error), 80)})") from None
    level = [value]
    for _ in range(MOST_LEVELS):
        inside: list[Any] = []
        for each in level:
            if isinstance(each, dict):
                inside += each.values()
            elif isinstance(each, list):
                inside += each
        level = [each for each in inside if isinstance(each, dict | list)]
        if not level:
            return value
    raise RecordError("it is nested too deep")


def as_read(value: Any) -> Any:
    """Return a value as it is read once it was written as JSON: tuples are lists, keys texts."""
    return json.loads(json.dumps(value))


def plain_text(value: Any) -> str:
    """Return a value as one short line, for a message."""
    return _clipped(" ".join(str(value).split()), _SHOWN)


@dataclass(frozen=True)
class Fields:
    """The fields of a record by name, each to be asked for by its kind.

    All methods raise a `RecordError` for a field that is missing or of another kind. Truth values
    are no numbers, and numbers are finite.
    """

    values: Mapping[str, Any]

    @classmethod
    def of(cls, value: Any, what: str = "the record") -> "Fields":
        """Take a value that must be an object with names."""
        if not isinstance(value, Mapping):
            raise RecordError(f"{what} is {_kind(value)}, not an object")
        return cls(value)

    def has(self, name: str) -> bool:
        """Return True where a field is there and not null."""
        return self.values.get(name) is not None

    def text(self, name: str) -> str:
        """Return a text that can be written as UTF-8."""
        value = self._value(name)
        if not _is_text(value):
            raise self._wrong(name, "text")
        return str(value)

    def texts(self, name: str) -> list[str]:
        """Return a list of texts."""
        value = self._value(name)
        if not isinstance(value, list) or not all(map(_is_text, value)):
            raise self._wrong(name, "a list of texts")
        return list(value)

    def flag(self, name: str) -> bool:
        """Return a truth value."""
        value = self._value(name)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def whole(self, name: str, least: int = 0, most: int = 2**63 - 1) -> int:
        """Return a whole number of a range."""
        value = self._value(name)
        if not isinstance(value, int) or isinstance(value, bool) or not least <= value <= most:
            raise self._wrong(name, f"a whole number from {least} to {most}")
        return value

    def number(self, name: str, least: float = -math.inf, most: float = math.inf) -> float:
        """Return a finite number of a range."""
        value = self._value(name)
        if not _is_number(value) or not least <= value <= most:
            limits = (
                "" if math.isinf(least) and math.isinf(most) else f" from {least:g} to {most:g}"
            )
            raise self._wrong(name, f"a finite number{limits}")
        return float(value)

    def numbers(self, name: str, count: int | None = None) -> list[float]:
        """Return a list of finite numbers, so many of them where `count` says how many."""
        value = self._value(name)
        is_list = isinstance(value, list) and all(map(_is_number, value))
        if not is_list or count not in (None, len(value)):
            raise self._wrong(
                name, "a list of finite numbers" if count is None else f"{count} numbers"
            )
        return [float(each) for each in value]

    def part(self, name: str) -> "Fields":
        """Return the fields of an object within."""
        return Fields.of(self._value(name), f"'{name}'")

    def parts(self, name: str) -> list["Fields"]:
        """Return the fields of each object of a list."""
        value = self._value(name)
        if not isinstance(value, list):
            raise self._wrong(name, "a list")
        return [Fields.of(each, f"'{name}'") for each in value]

    def _value(self, name: str) -> Any:
        if name not in self.values:
            raise RecordError(f"it has no '{name}'")
        return self.values[name]

    def _wrong(self, name: str, wanted: str) -> RecordError:
        value = self.values[name]
        is_plain = isinstance(value, str | int | float)
        shown = f"'{plain_text(value)}'" if is_plain else _kind(value)
        return RecordError(f"'{name}' is {shown}, not {wanted}")


def _is_text(value: Any) -> bool:
    if not isinstance(value, str):
        return False
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_number(value: Any) -> bool:
    """Tell whether a value is a finite number that a double can hold."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _kind(value: Any) -> str:
    """What a message calls a value of the wrong kind."""
    names = {type(None): "null", dict: "an object", list: "a list", bool: "true or false"}
    return names.get(type(value), f"of type {type(value).__name__}")


def _clipped(text: str, most: int) -> str:
    safe = text.encode("utf-8", "replace").decode()
    return safe if len(safe) <= most else f"{safe[: most - 3]}..."
