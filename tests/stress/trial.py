"""A trial: one fault done to one command, drawn from a seed, and what went wrong."""

import random
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from stress.stand import Stand


class NotHere(Exception):
    """This machine or this user cannot make the fault; the message says what lacks."""


@dataclass(frozen=True)
class Place:
    """An empty folder for one trial: where the command works, and its places for temporary files and settings."""

    root: Path

    @property
    def work(self) -> Path:
        return self.root / "work"

    @property
    def tmp(self) -> Path:
        return self.root / "tmp"

    @property
    def home(self) -> Path:
        return self.root / "home"

    def make(self) -> "Place":
        for folder in (self.work, self.tmp, self.home):
            folder.mkdir(parents=True, exist_ok=True)
            folder.chmod(0o777)  # some trials are another user's
        return self


@dataclass(frozen=True)
class Verdict:
    """What went wrong, one text each; and whether the command said that it failed, in a clean line."""

    found: list[str]
    clean_error: bool = False


@dataclass(frozen=True)
class Trial:
    """`run` does the fault to a command in an empty place and says what came of it.

    `prepare` makes, once, what all trials of the name need. Trials of one `family` need the same libraries: they are
    forked from a process that has these.
    """

    kind: str
    name: str
    run: Callable[["Stand", Place, random.Random], Verdict]
    prepare: Callable[["Stand"], None]
    family: str = ""


def dice(name: str, seed: int) -> random.Random:
    """The random numbers of a trial: the same for the same name and seed, on every machine."""
    return random.Random(zlib.crc32(name.encode()) * 1_000_003 + seed)
