"""The digests of a folder's files, in the form that `sha256sum -c` reads.

A folder of many files that belong together, such as those of a cross-validation, has them in
`checksums.sha256`, so that damage to any of them is noticed.
"""

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from oatools.core.errors import ItemError
from oatools.core.files import digest, write_text
from oatools.core.paths import require_file

#: The name of the file.
NAME = "checksums.sha256"

_MOST_BYTES = 1 << 24
_LINE = re.compile(r"(?P<sha256>[0-9a-f]{64})  (?P<name>[^\n]+)")
_OWN = re.compile(r"# these lines: (?P<sha256>[0-9a-f]{64})")


@dataclass(frozen=True)
class Checksums:
    """The digests of a folder's files by their names, which are relative to the folder."""

    folder: Path
    listed: dict[str, str]

    def damage_of(self, name: str) -> str:
        """Say what has become of a listed file; empty for one that is whole, or is not listed."""
        path = self.folder / name
        if name not in self.listed:
            return ""
        if not path.is_file():
            return "is missing"
        return "" if digest(path) == self.listed[name] else "was changed since it was made"


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Write the digests of files in a folder, given by relative names, sorted by these."""
    lines = "".join(f"{digest(folder / name)}  {name}\n" for name in sorted(names))
    write_text(folder / NAME, f"# these lines: {_digest_of(lines)}\n{lines}")


def read_checksums(folder: Path) -> Checksums | None:
    """Read the digests of a folder's files; None where it has none.

    Raises an `ItemError` for a file of them that was changed since it was made.
    """
    path = folder / NAME
    if not path.exists():
        return None
    require_file(path)
    with path.open("rb") as stream:
        content = stream.read(_MOST_BYTES)
    first, _, lines = content.decode("utf-8", "surrogateescape").partition("\n")
    own = _OWN.fullmatch(first)
    if own is None or own["sha256"] != _digest_of(lines):
        raise ItemError(f"{path}: was changed since it was made")
    found = {match["name"]: match["sha256"] for match in _LINE.finditer(lines)}
    return Checksums(folder, found)


def _digest_of(lines: str) -> str:
    return hashlib.sha256(lines.encode("utf-8", "surrogateescape")).hexdigest()
