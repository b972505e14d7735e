"""Names in the place of those that must not come out, by a key that makes them the same each time.

A digest without a key hides nothing: the ids of a hospital are a million numbers, which are tried
in seconds. With one, nobody can tell who is who but those who have the key and a list of ids, and a
person has the same name in every run with that key.
"""

import functools
import os
import re
import secrets
import stat
from collections.abc import Callable, Sequence
from pathlib import Path

from oatools.core.errors import UsageError
from oatools.core.files import write_first
from oatools.core.ids import normal_id

#: The name of the key that is made in a folder of outputs.
KEY_NAME = "id.key"
#: The fewest bytes of a key, blanks around it aside.
FEWEST_BYTES = 16

_MOST_BYTES = 1 << 16
_FRESH_BYTES = 32
_ANON = re.compile(r"anon-([0-9a-f]{8}|[0-9a-f]{16})_")
# With 64 bits, the people of a study share none by chance; with 32, its sequences do not.
_PERSON_DIGITS, _WORDS_DIGITS = 16, 8


class Pseudonyms:
    """The names that one key gives; `key` is asked for it when the first name is needed.

    Without it, the key is fresh and nowhere kept: its names hold as long as this object.
    """

    def __init__(self, key: Callable[[], bytes] | None = None) -> None:
        self._key = functools.cache(key or functools.partial(secrets.token_bytes, _FRESH_BYTES))
        self.is_used = False

    def person(self, patient_id: str) -> str:
        """Return the name of a patient, however the id is written."""
        return f"anon-{self._digest('person', normal_id(patient_id), _PERSON_DIGITS)}"

    def nobody(self, series: str) -> str:
        """Return the name of a patient without an id, by the identifier of the series."""
        return f"anon-{self._digest('series', series, _PERSON_DIGITS)}"

    def words(self, hidden: Sequence[str]) -> str:
        """Return what stands for words of a description that must not come out."""
        return f"x{self._digest('words', ' '.join(hidden), _WORDS_DIGITS)}"

    def _digest(self, what: str, text: str, digits: int) -> str:
        """Return hexadecimal digits of the HMAC-SHA256 of a text, of which kind it is before it."""
        import hashlib
        import hmac

        self.is_used = True
        message = f"{what}\0{text}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key(), message, hashlib.sha256).hexdigest()[:digits]


def read_key(path: Path) -> bytes:
    """Return the key that a file holds, without the blanks around it.

    Raises a `UsageError` for what is missing, is no file, or too short to keep anything secret.
    """
    try:
        # A pipe would be waited for, so that it is opened without waiting, and looked at first.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as stream:
            if not stat.S_ISREG(os.fstat(descriptor).st_mode):
                raise UsageError(f"the key {path} is no plain file", "give a file with `id_key`")
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        raise UsageError(f"the key {path} is missing", "make one as oa-convert(1) shows") from None
    except OSError as error:
        raise UsageError(
            f"the key {path} cannot be read: {error.strerror}", "give yours with `id_key`"
        ) from None
    key = content.strip()
    if len(content) > _MOST_BYTES or len(key) < FEWEST_BYTES:
        held = "more than 64 KiB" if len(content) > _MOST_BYTES else f"{len(key)} bytes"
        raise UsageError(
            f"the key {path} holds {held}, and {FEWEST_BYTES} to 65536 are needed",
            "make one as oa-convert(1) shows",
        )
    return key


def is_open_to_others(path: Path) -> bool:
    """Tell whether everybody on this machine may read a key."""
    return bool(path.stat().st_mode & stat.S_IROTH)


def folder_key(folder: Path, made: Callable[[Path], None]) -> bytes:
    """Return the key of a folder of outputs, which is made where there is none.

    Of processes that find none at once, one makes it, and all have that one. `made` is told where
    it is. Raises a `UsageError` where there can be none, and where the folder holds ids already
    that another key made: one person would have two.
    """
    path = folder / KEY_NAME
    if not os.path.lexists(path):
        try:
            folder.mkdir(parents=True, exist_ok=True)
            other = next((each.name for each in folder.iterdir() if _ANON.match(each.name)), "")
            if other and not os.path.lexists(path):
                raise UsageError(
                    f"{folder} holds ids of another key ({other}), so that a person would have two",
                    "give that key with `id_key`, or another folder with `out_dir`",
                )
            if write_first(path, _fresh_key(), private=True):
                made(path)
        except OSError as error:
            raise UsageError(
                f"the key {path} cannot be made: {error.strerror}", "give yours with `id_key`"
            ) from None
    return read_key(path)


def _fresh_key() -> bytes:
    return secrets.token_hex(_FRESH_BYTES).encode() + b"\n"
