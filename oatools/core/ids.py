"""Ids of people: one form for all commands, whoever wrote them where.

A participant stands in DICOM headers, in tables of several programs and on the command line, with a
blank behind, in another case, or as a spreadsheet's number. All of these are one person, so that
every command writes an id in one form and compares it in that form.
"""

import re
import unicodedata

from oatools.core.errors import ItemError

#: The longest id that leaves room for the rest of a file's name.
LONGEST = 100

# Characters without a picture: controls, zero-width blanks, marks of direction and of byte order.
_INVISIBLE = ("Cc", "Cf")
_SIGNS = re.compile(r"[\W_]+")
_WHOLE_NUMBER = re.compile(r"(\d+)\.0+")
_ALLOWED = re.compile(r"[^\W_][\w.+-]*")
# The knee's name goes on like this after the id: an id with it inside could be read in two ways.
_KNEE = re.compile(r"_\d+m_(left|right)(_|$)")


def normal_id(text: str) -> str:
    """Return an id in the one form in which ids are written and compared; empty for blanks.

    Blanks of every kind around it are taken off, letters are made small, and a spreadsheet's
    `9000099.0` becomes `9000099`. A letter and its accent are one character. Zeros in front stay:
    `007` and `7` may be two people.
    """
    composed = unicodedata.normalize("NFC", text)
    start, end = 0, len(composed)
    while start < end and _is_blank(composed[start]):
        start += 1
    while end > start and _is_blank(composed[end - 1]):
        end -= 1
    trimmed = composed[start:end].casefold()
    number = _WHOLE_NUMBER.fullmatch(trimmed)
    return number[1] if number else trimmed


def _is_blank(character: str) -> bool:
    return character.isspace() or unicodedata.category(character) in _INVISIBLE


def subject_id(text: str) -> str:
    """Return an id in its normal form (see `normal_id`), fit for the names of knees and files.

    Letters and digits of any script, and `-`, `_`, `.`, `+` after the first of them. Raises an
    `ItemError` for what a name cannot hold.
    """
    normal = normal_id(text)
    if not normal:
        raise ItemError("an empty id", "give every person an id")
    if _ALLOWED.fullmatch(normal) is None or _KNEE.search(normal) or len(normal) > LONGEST:
        raise ItemError(
            f"the id {text!r} cannot be part of a name",
            f"write it with letters, digits, '-', '_', '.' and '+', up to {LONGEST} of them",
        )
    return normal


def zero_key(normal: str) -> str:
    """Return what an id has in common with the same number written with other zeros in front."""
    return normal.lstrip("0") or "0" if normal.isdigit() else normal


def alike_key(normal: str) -> str:
    """Return what an id has in common with those that may be the same, written in another way.

    That is the same number with other zeros in front (`007`, `7`), and the same letters and digits
    with other signs and blanks between them (`A-9000037`, `A 9000037`, `A9000037`). Between two
    digits something stays: `1-23` and `12-3` are two. Where two different ids of one table share
    the key, nothing says whether they are one person.
    """
    return zero_key(_SIGNS.sub(_between, normal))


def alike_in(one: str, other: str) -> str:
    """Return in what alone two ids of one `alike_key`, or two knees of such, differ, in words."""
    is_by_zeros = one.lstrip("0") == other.lstrip("0")
    return "leading zeros" if is_by_zeros else "signs or blanks inside"


def _between(signs: re.Match[str]) -> str:
    before, after = signs.string[: signs.start()][-1:], signs.string[signs.end() :][:1]
    return "-" if before.isdigit() and after.isdigit() else ""
