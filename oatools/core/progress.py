"""How far the commands of a pipe are, on one line of the terminal that they share.

The commands of a pipe are one job of the shell, and so one process group. Each leaves its counts in
a folder of that group, and the one that was started last draws the line, for all: bars of their own
would overwrite each other. A message of any of them clears the line first.
"""

import contextlib
import json
import math
import os
import stat
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from oatools.core.terminal import CLEAR

if TYPE_CHECKING:
    from rich.console import Console as Terminal

_REFRESH_SECONDS = 0.2
_STALE_SECONDS = 5.0
_BAR_WIDTH = 20


@dataclass(frozen=True)
class Stage:
    """One command of a pipe: rows that it is through with, failed ones among them, and all of them.

    `total` is None where it is not known, and `seconds` the time that these took.
    """

    name: str
    count: int
    failed: int = 0
    total: int | None = None
    seconds: float = 0.0

    def __add__(self, other: "Stage") -> "Stage":
        """Return two processes of one command as one, as `xargs -P` starts them."""
        totals = [each.total for each in (self, other) if each.total is not None]
        return Stage(
            name=self.name,
            count=self.count + other.count,
            failed=self.failed + other.failed,
            total=sum(totals) if len(totals) == 2 else None,
            seconds=max(self.seconds, other.seconds),
        )

    def text(self) -> str:
        """Return the stage in a few words: `n4 12/144, 1 failed`."""
        whole = "" if self.total is None else f"/{self.total}"
        failed = f", {self.failed} failed" if self.failed else ""
        return f"{self.name.removeprefix('oa-')} {self.count}{whole}{failed}"


def duration_text(seconds: float) -> str:
    """Return a time in its two largest units: `5 h 20 min`, `40 s`."""
    whole = max(0, round(seconds))
    for unit, length, smaller, divisor in (
        ("d", 86400, "h", 3600),
        ("h", 3600, "min", 60),
        ("min", 60, "s", 1),
    ):
        if whole >= length:
            return f"{whole // length} {unit} {whole % length // divisor} {smaller}"
    return f"{whole} s"


def rate_text(count: int, seconds: float) -> str:
    """Return how fast items are done: `14.1 a minute`, or by the second or hour."""
    if not count or seconds <= 0:
        return "none a minute"
    for unit, length in (("a second", 1), ("a minute", 60), ("an hour", 3600)):
        rate = count * length / seconds
        if rate >= 1:
            return f"{_three_digits(rate)} {unit}"
    return f"{_three_digits(count * 86400 / seconds)} a day"


def _three_digits(rate: float) -> str:
    digits = max(0, 2 - math.floor(math.log10(rate)))
    return f"{rate:,.{digits}f}"


def left_text(count: int, total: int | None, done: int, seconds: float) -> str:
    """Return the time that is left, where it is known, from `done` items in so many seconds."""
    if total is None or not done or count >= total:
        return ""
    return f"{duration_text((total - count) * seconds / done)} left"


class Line:
    """This process's part in the line of its pipe, drawn until the block ends.

    Where the folder of the group cannot be had, or is somebody else's, the line is of this process
    alone.
    """

    def __init__(self, name: str, total: int | None) -> None:
        self._stage = Stage(name, 0, total=total)
        self._since = time.monotonic()
        self._folder = _folder_of_group()
        self._is_drawn = False
        self._end = threading.Event()

    def __enter__(self) -> "Line":
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self._leave()

    def advance(self, count: int, failed: int) -> None:
        """Take the counts of rows so far."""
        seconds = time.monotonic() - self._since
        self._stage = Stage(self._stage.name, count, failed, self._stage.total, seconds)

    def _run(self) -> None:
        from rich.console import Console as Terminal

        terminal = Terminal(stderr=True)
        while not self._end.wait(_REFRESH_SECONDS):
            stages = {os.getpid(): self._stage} | self._shared()
            if max(stages) == os.getpid() and _is_in_foreground():
                _write(CLEAR + line(self._stage, _by_name(stages), terminal))
                self._is_drawn = True
            elif self._is_drawn:
                self._is_drawn = False  # the line is another process's now

    def _shared(self) -> dict[int, Stage]:
        """Say how far this process is, and return what the others say, by their numbers."""
        if self._folder is None:
            return {}
        own = self._folder / str(os.getpid())
        with contextlib.suppress(OSError):
            new = own.with_suffix(".new")
            new.write_text(json.dumps(asdict(self._stage)))
            new.replace(own)
        return dict(_stages_in(self._folder))

    def _leave(self) -> None:
        if self._folder is not None:
            with contextlib.suppress(OSError):
                (self._folder / str(os.getpid())).unlink(missing_ok=True)
                self._folder.rmdir()  # by the last of the pipe
        if self._is_drawn:
            _write(CLEAR)


def line(own: Stage, stages: Sequence[Stage], terminal: "Terminal") -> str:
    """Return the line of a pipe, for a terminal: its stages in order, a bar, and the time left.

    Bar and time are those of `own`, the last stage, out of the rows that the first stage which
    knows its total has.
    """
    from rich.progress_bar import ProgressBar
    from rich.table import Table

    totals = [stage.total for stage in stages if stage.total is not None]
    total = own.total if own.total is not None else (totals[0] if totals else None)
    cells: list[str | ProgressBar] = [" | ".join(stage.text() for stage in stages)]
    if total:
        cells.append(ProgressBar(total=total, completed=own.count, width=_BAR_WIDTH))
        cells.append(left_text(own.count, total, own.count, own.seconds))
    else:
        cells.append(rate_text(own.count, own.seconds) if own.count else "")
    table = Table.grid(padding=(0, 1))
    for _ in cells:
        table.add_column(no_wrap=True, overflow="ellipsis")
    table.add_row(*cells)
    with terminal.capture() as captured:
        terminal.print(table, end="")
    return captured.get().split("\n")[0].rstrip()


def _by_name(stages: dict[int, Stage]) -> list[Stage]:
    """Return the stages in the order in which they were started, each command once."""
    found: dict[str, Stage] = {}
    for _, stage in sorted(stages.items()):
        before = found.get(stage.name)
        found[stage.name] = stage if before is None else before + stage
    return list(found.values())


def _stages_in(folder: Path) -> Iterator[tuple[int, Stage]]:
    """Yield what the living processes of a folder say."""
    try:
        paths = list(folder.iterdir())
    except OSError:
        return
    for path in paths:
        if not path.name.isdecimal():
            continue
        with contextlib.suppress(OSError, ValueError, TypeError):
            if time.time() - path.stat().st_mtime < _STALE_SECONDS:
                yield int(path.name), Stage(**json.loads(path.read_text()))
            else:  # killed, so that it could not leave
                path.unlink()


def _folder_of_group() -> Path | None:
    """Return the folder of this job of the shell; None where it is not this user's alone."""
    base = os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()
    own = Path(base) / f"oatools-{os.getuid()}"
    folder = own / str(os.getpgrp())
    try:
        for each in (own, folder):
            with contextlib.suppress(FileExistsError):
                each.mkdir(mode=0o700)
            found = each.lstat()
            is_own = stat.S_ISDIR(found.st_mode) and found.st_uid == os.getuid()
            if not is_own or found.st_mode & 0o022:
                return None
    except OSError:
        return None
    return folder


def _is_in_foreground() -> bool:
    """Tell whether this job has the terminal, and was not put aside (`command &`)."""
    try:
        return os.tcgetpgrp(2) == os.getpgrp()
    except OSError:
        return True


def _write(text: str) -> None:
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(text)
        sys.stderr.flush()
