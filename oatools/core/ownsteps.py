"""Steps as these commands write them into sidecars, told from what others put in their place.

A file may claim that a command of ours made it, and hold anything in the record of that. So of a
step only that passes which has the form of what the command writes: numbers, truth values, digests,
and words that are listed here.
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

_Check = Callable[[Any], bool]

#: The place in the record of a step that another program left there, whatever it wrote.
STRANGER = {"tool": "another program"}
#: A digest in a record.
SHA256 = re.compile(r"[0-9a-f]{64}")

_TOOL = re.compile("oa-(convert|orient|n4|embed|label|train|predict|cv|cam|pairs|phantom|check)")
_VERSION = re.compile(r"\d{1,3}(\.\d{1,3}){1,3}((a|b|rc|\.dev|\.post)\d{1,3})?(\+[0-9a-f]{1,12})?")
_SERIES = re.compile(r"[0-9a-f]{8}")
_LEVEL_KEYS = {"spans", "iterations", "convergence"}
_DEEPEST = 3  # lists in lists of an affine's numbers
_LARGEST = 1e7  # an intensity; dates of eight digits are larger


def own_step(recorded: Any, may_be_named: Callable[[str], bool]) -> dict[str, Any]:
    """Return a recorded step without what these commands never write into one.

    The name of its input is kept if it `may_be_named`. Of another program's step only the place is
    left, which is `STRANGER`.
    """
    tool = recorded.get("tool") if isinstance(recorded, dict) else None
    if not isinstance(tool, str) or not _TOOL.fullmatch(tool):
        return STRANGER
    kept: dict[str, Any] = {}
    for key, value in recorded.items():
        if key == "parameters" and isinstance(value, dict):
            kept[key] = _of_form(value, _PARAMETERS.get(tool, {}))
        elif key == "input" and isinstance(value, dict):
            kept[key] = _of_form(value, {"name": _named(may_be_named), "sha256": _digest})
        elif key in _FIELDS and _FIELDS[key](value):
            kept[key] = value
    return kept


def _of_form(values: Mapping[str, Any], forms: Mapping[str, _Check]) -> dict[str, Any]:
    """Return the values whose names are known and whose form is right."""
    return {name: value for name, value in values.items() if name in forms and forms[name](value)}


def _named(may_be_named: Callable[[str], bool]) -> _Check:
    return lambda value: isinstance(value, str) and may_be_named(value)


def _matches(pattern: re.Pattern[str]) -> _Check:
    return lambda value: isinstance(value, str) and pattern.fullmatch(value) is not None


def _word(*words: str) -> _Check:
    return lambda value: isinstance(value, str) and value in words


def _number(value: Any) -> bool:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return is_number and abs(value) < _LARGEST


def _numbers(value: Any, depth: int = 0) -> bool:
    """Tell whether a value is a number, or a list of such within each other."""
    if isinstance(value, list):
        return depth < _DEEPEST and all(_numbers(each, depth + 1) for each in value)
    return _number(value)


def _list_of(check: _Check) -> _Check:
    return lambda value: isinstance(value, list) and all(map(check, value))


def _or_none(check: _Check) -> _Check:
    return lambda value: value is None or check(value)


def _truth(value: Any) -> bool:
    return isinstance(value, bool)


def _levels(value: Any) -> bool:
    """Tell whether a value lists what N4 did at each level of the field."""
    levels = value if isinstance(value, list) else [None]
    return all(
        isinstance(level, dict) and set(level) <= _LEVEL_KEYS and all(map(_numbers, level.values()))
        for level in levels
    )


_digest = _matches(SHA256)
_side = _word("left", "right")
# What a step holds beside its parameters and its input: `Step.results`, in numbers and our words.
_FIELDS: Mapping[str, _Check] = {
    "tool": lambda _: True,
    "version": _matches(_VERSION),
    "shrink": _numbers,
    "floor": _numbers,
    "levels": _levels,
    "field_range": _number,
    "variation": _or_none(_numbers),
    "contrast": _or_none(_numbers),
    "side_from": _word("option", "geometry", "stated"),
    "by_hand": _list_of(_word("subject", "visit", "side", "sequence")),
}
# The parameters of the commands that write volumes.
_PARAMETERS: Mapping[str, Mapping[str, _Check]] = {
    "oa-convert": {
        "echo": _or_none(_number),
        "series": _or_none(_matches(_SERIES)),
        "coverage": _number,
    },
    "oa-orient": {
        "reference": _side,
        "side": _side,
        "plane": _word("coronal", "sagittal", "axial"),
        "axes": _numbers,
        "flips": _list_of(_truth),
        "input_affine": _numbers,
    },
    "oa-n4": {
        "engine": _word("fast", "itk"),
        "start": _word("gradient", "flat"),
        "weights": _word("brightness", "equal"),
        "mask": lambda value: _word("air", "log-otsu", "otsu", "none")(value) or _digest(value),
        "floor": _or_none(_number),
        "shrink": _or_none(lambda value: value == "auto" or _numbers(value)),
        "iterations": _numbers,
        "convergence": _number,
        "spans": _numbers,
        "fwhm": _number,
        "noise": _number,
        "bins": _number,
        "dtype": _word("float32", "same"),
    },
    "oa-cam": {
        "model": _digest,
        "method": _word("gradcam", "gradcam++", "hirescam", "occlusion", "occlusion-stack"),
        "class": _number,
        "montage": _number,
        "grid": _word("input", "scan"),
        "faithfulness": _truth,
        "at": _number,
        "with": _list_of(_digest),
        "clinical": _list_of(_or_none(_number)),
    },
}
