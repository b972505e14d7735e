"""One function over many rows: their order, parallel work, failures of single rows, the summary."""

import contextlib
import os
import queue
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, Protocol, runtime_checkable

from oatools.core import manifest
from oatools.core.claims import FilesOfRun
from oatools.core.console import Console
from oatools.core.errors import ItemError, OatoolsError, item_error, with_options
from oatools.core.failures import FailedTable
from oatools.core.manifest import BadRow, Row, Table
from oatools.core.repeats import Repeats

if TYPE_CHECKING:
    # Loads pickle and socket, which a command that only prints its help need not pay for.
    from oatools.core.process import Child


@dataclass(frozen=True)
class Done:
    """The result of the work on one row: cells that change or are new, and whether it was kept.

    `warnings` are shown unless quiet, `details` only when verbose; a warning names parameters in
    backquotes, as a remedy does, and so does a remark. `remarks` are what many rows share: each is
    said once, at the end, with the number of its rows.
    """

    cells: Row
    kept: bool = False
    warnings: tuple[str, ...] = ()
    details: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


@dataclass(frozen=True)
class Failure:
    """The error by which one row failed, and the traceback if it was not foreseen."""

    error: ItemError
    trace: str = ""


Outcome = Done | Failure
_Finished = tuple[int, Row | BadRow, Outcome]
Work = Callable[[Row], Done]


@runtime_checkable
class WatchingWork(Protocol):
    """Work that looks at what became of its outputs, once all rows are done."""

    def after_rows(self, count: int) -> None:
        """Raise an `ItemError` if the outputs of so many rows are lost by now."""


@dataclass(frozen=True)
class RunOptions:
    """The options that every command over rows has: `-j`, `--failed`, `--fail-fast` and so on.

    `timeout` is the time for one row in seconds of wall clock, None for any. Without `header`, the
    rows are printed without the names of the columns.
    """

    jobs: int = 1
    failed: Path | None = None
    fail_fast: bool = False
    timeout: float | None = None
    header: bool = True


def run_rows(
    console: Console,
    table: Table[Row | BadRow],
    work: Work,
    options: RunOptions = RunOptions(),
    added: Sequence[str] = (),
    target: Callable[[Row], str | Sequence[str]] | None = None,
    workers: Literal["processes", "threads"] = "processes",
    on_done: Callable[[Row, Row], None] | None = None,
    print_rows: bool = True,
    reads: Sequence[str | Path] = (),
    on_failed: Callable[[Row | BadRow, ItemError], None] | None = None,
) -> int:
    """Do `work` on every row, print the resulting rows, and return the exit status (0 or 1).

    Rows leave in the order in which they came, each as soon as it and those before it are finished.
    A row that fails is reported and left out; the others go on. What is said of many rows alike is
    said of the first few, and counted at the end (see `repeats`).

    `added` names the columns that the work appends. `target` gives the file that a row will write,
    or the files, the one by which it is known first: another row with the same one waits for that
    row's end, and then fails, unless that row failed itself. A row fails, too, if it would write
    what another one reads or writes, or the files that the run `reads` beside them (see `claims`).

    With `options.jobs` above one or a `timeout`, `work` runs in that many `workers`. In processes
    it should be picklable (see `process.Children`), and a process that dies, or takes longer than
    the `timeout`, fails only the row that it was at. Threads are as fast where the work waits for
    other programs or is done by libraries that let go of the interpreter, and share what the work
    holds; they cannot be stopped, and it is for the work to keep to a `timeout`.

    `on_done` is called with each row that came out, and its new cells; with `print_rows` False
    that is all that happens to it. `on_failed` is called with each row that failed, and why; then
    it is for the caller to say that, and how many there were.
    """
    input_columns = [column for column in table.columns if column != "error"]
    columns = input_columns + [column for column in added if column not in input_columns]
    failures = None if options.failed is None else FailedTable(options.failed, input_columns)
    collector = _Collector(
        console, columns, options.fail_fast, on_done, print_rows, failures, on_failed
    )
    claims = _Claims(target)
    claims.files.reserve(reads, [] if options.failed is None else [options.failed])
    if print_rows and options.header:
        manifest.emit(manifest.format_header(columns))
    with contextlib.ExitStack() as stack:
        processes: list[_Process] = []
        if workers == "processes" and (options.jobs > 1 or options.timeout is not None):
            # Before there is a progress bar, which is a thread.
            processes = stack.enter_context(_started(work, options))
        # Also after an interrupt: the rows that failed before it have failed.
        stack.callback(collector.repeats.say_rest)
        stack.enter_context(console.progress(table.total))
        if processes:
            _run_side_by_side(table.rows, processes, claims, collector)
        elif options.jobs > 1:
            threads = [_Thread(work) for _ in range(options.jobs)]
            _run_side_by_side(table.rows, threads, claims, collector)
        else:
            _run_in_turn(table.rows, work, claims, collector)
    for remark in collector.remarks_said():
        console.note(remark)
    if on_failed is None:
        console.note(collector.summary())
    if collector.failures is not None:
        collector.failures.finish()
    is_lost = isinstance(work, WatchingWork) and _is_lost(work, collector)
    return 1 if collector.failed or is_lost else 0


def _is_lost(work: WatchingWork, collector: "_Collector") -> bool:
    """Say what became of the outputs of the rows that were done, where they are lost."""
    try:
        work.after_rows(collector.done + collector.kept)
    except ItemError as error:
        collector.console.error(collector.console.describe(error))
        return True
    return False


def attempt(work: Work, row: Row) -> Outcome:
    """Do the work on one row and turn whatever it raises into a `Failure`."""
    try:
        return work(row)
    except (OatoolsError, MemoryError, OSError) as error:
        return Failure(item_error(error))
    except Exception as error:
        return Failure(item_error(error), traceback.format_exc())


def item_name(row: Row | BadRow) -> str:
    """Name a row for messages: by its knee and sequence, its path, or its place in the table."""
    if isinstance(row, BadRow):
        return row.name
    cells = [row.get(column, manifest.MISSING) for column in ("knee", "sequence")]
    known = [cell for cell in cells if cell != manifest.MISSING]
    return " ".join(known) or row.get("path", "a row without a name")


def _failure(reason: str, remedy: str = "") -> Failure:
    return Failure(ItemError(reason, remedy))


def _run_in_turn(
    rows: Iterator[Row | BadRow], work: Work, claims: "_Claims", collector: "_Collector"
) -> None:
    for index, row in enumerate(rows):
        outcome: Outcome
        if isinstance(row, BadRow):
            outcome = _failure(row.error, row.remedy)
        else:
            verdict = claims.check(index, row)  # nothing else is under way: no row waits
            outcome = verdict if isinstance(verdict, Failure) else attempt(work, row)
            claims.settle(index, row, outcome)
        if not collector.finish(index, row, outcome):
            break


@dataclass
class _Claim:
    """The row that writes a file, whether it has, and the rows that wait to see if it does."""

    index: int
    owner: str
    is_written: bool = False
    waiting: list[tuple[int, Row]] = field(default_factory=list)


@dataclass
class _Claims:
    """The files that the rows so far will write: no two rows may write the same one.

    A row that fails gives its claim up, to the first of those that wait for it.
    """

    target: Callable[[Row], str | Sequence[str]] | None
    files: FilesOfRun = field(default_factory=FilesOfRun)
    _claims: dict[str, _Claim] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def check(self, index: int, row: Row) -> Failure | Literal["waits"] | None:
        """Claim the row's file; a `Failure` where another row has written it already.

        `waits` where another row is at it: `settle` of that row will say how this one goes on.
        """
        if self.target is None:
            return None
        owner = _owner(row)
        try:
            names = self._names(row)
            self.files.enter(row, names, owner)
        except ItemError as error:
            return Failure(error)
        name = names[0]
        with self._lock:
            claim = self._claims.get(name)
            if claim is None:
                self._claims[name] = _Claim(index, owner)
                return None
            if claim.is_written:
                return _taken(name, claim.owner)
            claim.waiting.append((index, row))
            return "waits"

    def settle(
        self, index: int, row: Row, outcome: Outcome
    ) -> tuple[tuple[int, Row] | None, list[tuple[int, Row, Failure]]]:
        """End a row's claim: return the row that is to be done in its place, and rows that fail."""
        if self.target is None:
            return None, []
        try:
            name = self._names(row)[0]
        except ItemError:  # it never had a claim
            return None, []
        with self._lock:
            claim = self._claims.get(name)
            if claim is None or claim.is_written or claim.index != index:
                return None, []
            if isinstance(outcome, Done):
                claim.is_written = True
                failure = _taken(name, claim.owner)
                late = [(position, other, failure) for position, other in claim.waiting]
                claim.waiting.clear()
                return None, late
            if not claim.waiting:
                del self._claims[name]
                return None, []
            claim.index, heir = claim.waiting.pop(0)
            claim.owner = _owner(heir)
            return (claim.index, heir), []

    def _names(self, row: Row) -> Sequence[str]:
        """The files that a row will write, the one that it is known by first."""
        names = () if self.target is None else self.target(row)
        return [names] if isinstance(names, str) else names


def _owner(row: Row) -> str:
    return f"{item_name(row)} ({row.get('path', manifest.MISSING)})"


def _taken(name: str, owner: str) -> Failure:
    return _failure(
        f"{name} is already the output of {owner}", "give the rows different knees or sequences"
    )


@dataclass
class _Collector:
    """The rows that are finished, printed in the order of the input as soon as that is possible."""

    console: Console
    columns: list[str]
    fail_fast: bool
    on_done: Callable[[Row, Row], None] | None = None
    print_rows: bool = True
    failures: FailedTable | None = None
    on_failed: Callable[[Row | BadRow, ItemError], None] | None = None
    done: int = 0
    kept: int = 0
    failed: int = 0
    left_out: int = 0
    remarks: dict[str, int] = field(default_factory=dict)
    stopped: bool = False
    repeats: Repeats = field(init=False)
    _next: int = 0
    _waiting: dict[int, tuple[Row | BadRow, Outcome]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.repeats = Repeats(self.console)

    def finish(self, index: int, row: Row | BadRow, outcome: Outcome) -> bool:
        """Take an outcome; False means that no more rows are wanted."""
        self._waiting[index] = (row, outcome)
        while not self.stopped and self._next in self._waiting:
            self._take(*self._waiting.pop(self._next))
            self._next += 1
        return not self.stopped

    def _take(self, row: Row | BadRow, outcome: Outcome) -> None:
        if self.failures is not None and not isinstance(row, BadRow):
            self.failures.tried(row)
        if isinstance(row, BadRow) and row.left_out:
            self.left_out += 1
            self.repeats.note(row.name, row.error, row)
        elif isinstance(outcome, Failure):
            self._fail(row, outcome)
        elif not isinstance(row, BadRow):  # of these there is no work that could have ended well
            self._succeed(row, outcome)
        count = self.done + self.kept + self.failed + self.left_out
        self.console.advance(self.state(), count, self.failed)

    def _succeed(self, row: Row, outcome: Done) -> None:
        try:
            line = manifest.format_row(self.columns, {**row, **outcome.cells})
        except ItemError as error:
            self._fail(row, Failure(error))
            return
        name = item_name(row)
        for warning in outcome.warnings:
            self.repeats.note(name, with_options(warning, self.console.options), row)
        for detail in outcome.details:
            self.console.detail(f"{name}: {detail}")
        for remark in outcome.remarks:
            self.remarks[remark] = self.remarks.get(remark, 0) + 1
        if outcome.kept:
            self.kept += 1
            self.console.detail(f"{name}: kept")
        else:
            self.done += 1
            if self.on_failed is None:
                self.console.detail(f"{name}: done")
        if self.print_rows:
            manifest.emit(line)
        if self.on_done is not None:
            self.on_done(row, outcome.cells)

    def _fail(self, row: Row | BadRow, failure: Failure) -> None:
        self.failed += 1
        message = self.console.describe(failure.error)
        if self.on_failed is None:
            self.repeats.error(item_name(row), message, row)
        else:
            self.on_failed(row, failure.error)
        if failure.trace and self.console.verbose:
            sys.stderr.write(failure.trace)
        if not isinstance(row, BadRow):
            self._write_down(row, message)
        elif "path" in self.columns and os.path.lexists(row.name):
            # A place where no series could be read: it can be run again as a path.
            self._write_down({"path": row.name}, message)
        self.stopped = self.fail_fast

    def _write_down(self, row: Row, message: str) -> None:
        """Add a row to the table of failures; a full disk costs the table, and is said once."""
        if self.failures is None:
            return
        try:
            self.failures.add({**row, "error": " ".join(message.split())})
        except OSError as error:
            reason = f"{self.failures.path}: {error.strerror or error}"
            self.console.error(f"{reason}: rows that fail from here on are not in it")
            self.failures = None

    def remarks_said(self) -> list[str]:
        """Return what rows have in common, each with the number of rows that it is said of."""
        said = []
        for remark, count in self.remarks.items():
            rows = "row" if count == 1 else "rows"
            said.append(f"{count} {rows}: {with_options(remark, self.console.options)}")
        return said

    def state(self) -> str:
        """Return the counts so far, as one line."""
        counts = f"{self.done} done, {self.kept} kept, {self.failed} failed"
        return f"{counts}, {self.left_out} left out" if self.left_out else counts

    def summary(self) -> str:
        """Return the counts at the end, as one line."""
        return f"{self.state()} (stopped at the first failure)" if self.stopped else self.state()


class _Process:
    """A child process that does the work on one row at a time, and is replaced when it dies."""

    def __init__(self, child: "Child", seconds: float | None) -> None:
        self.child = child
        self.seconds = seconds

    def do(self, row: Row) -> Outcome:
        """Do the work on one row."""
        from oatools.core.process import Died, Stopped, TimedOut

        try:
            outcome: Outcome = self.child.do(row, self.seconds)
        except Stopped:
            return _failure("stopped")
        except TimedOut:
            return _failure(
                f"it took more than {self.seconds:g} s and was stopped",
                "the input may be damaged: try it alone, or give it more time (`timeout`)",
            )
        except Died as death:
            from oatools.core.guard import over_time

            error = over_time(death)
            if error is not None:
                return Failure(error)
            return _failure(
                f"its process died ({death})",
                "the input may be damaged or memory too short: try it alone",
            )
        return outcome

    def close(self) -> None:
        """Tell the process to end, whatever it is doing; `wait` sees to it that it does."""
        self.child.close()

    def wait(self, until: float) -> None:
        """Wait for its end, and kill it at a time (monotonic)."""
        self.child.wait(until)


@contextlib.contextmanager
def _started(work: Work, options: RunOptions) -> Iterator[list[_Process]]:
    """Start processes that do the work, and end them after the block."""
    from oatools.core.process import Children

    children = Children(partial(attempt, work))
    try:
        yield [_Process(children.start(), options.timeout) for _ in range(options.jobs)]
    finally:
        children.close()


class _Thread:
    """A worker that does the work in the thread that asks for it, one row at a time."""

    def __init__(self, work: Work) -> None:
        self.work = work
        self.closed = False
        self.busy = threading.Lock()

    def do(self, row: Row) -> Outcome:
        """Do the work on one row."""
        with self.busy:
            return _failure("stopped") if self.closed else attempt(self.work, row)

    def close(self) -> None:
        """Do no other row; one in hand is waited for in `wait`."""
        self.closed = True

    def wait(self, until: float) -> None:
        """Wait for the end of the row in hand, however late: a thread cannot be stopped."""
        with self.busy:
            pass


@dataclass(frozen=True)
class _Traffic:
    """The ways between the threads of a run: rows to the workers, and their outcomes back.

    `finished` takes an outcome in any order, the number of rows once all are read, or whatever a
    thread raised.
    """

    waiting: "queue.Queue[tuple[int, Row]]"
    finished: "queue.Queue[_Finished | int | BaseException]" = field(default_factory=queue.Queue)
    is_over: threading.Event = field(default_factory=threading.Event)

    def read(self, rows: Iterator[Row | BadRow], claims: _Claims) -> None:
        """Hand every row to whichever worker is free, until the run is over."""
        count = 0
        try:
            for row in rows:
                if self.is_over.is_set():
                    return
                self._hand_over(count, row, claims)
                count += 1
            self.finished.put(count)
        except BaseException as error:
            self.finished.put(error)

    def drive(self, worker: "_Process | _Thread", claims: _Claims) -> None:
        """Have a worker do one row after the other, until the run is over.

        After a row that failed it does the one that waited to write the same file.
        """
        try:
            task: tuple[int, Row] | None = None
            while True:
                index, row = task or self.waiting.get()
                outcome = worker.do(row)
                if self.is_over.is_set():
                    return
                task, late = claims.settle(index, row, outcome)
                self.finished.put((index, row, outcome))
                for other in late:
                    self.finished.put(other)
        except BaseException as error:
            self.finished.put(error)

    def collect(self, collector: _Collector) -> None:
        """Take outcomes until all are there or no more are wanted; raise what a thread raised."""
        total: int | None = None
        seen = 0
        while total is None or seen < total:
            message = self.finished.get()
            if isinstance(message, BaseException):
                raise message
            if isinstance(message, int):
                total = message
                continue
            seen += 1
            if not collector.finish(*message):
                break

    def _hand_over(self, index: int, row: Row | BadRow, claims: _Claims) -> None:
        if isinstance(row, BadRow):
            self.finished.put((index, row, _failure(row.error, row.remedy)))
            return
        verdict = claims.check(index, row)
        if verdict is None:
            self.waiting.put((index, row))
        elif isinstance(verdict, Failure):
            self.finished.put((index, row, verdict))


def _run_side_by_side(
    rows: Iterator[Row | BadRow],
    workers: Sequence["_Process | _Thread"],
    claims: _Claims,
    collector: _Collector,
) -> None:
    """Read rows in one thread, drive each worker from another, and print from this one."""
    # Rows are read at most two a worker ahead, so that a table of any length streams.
    traffic = _Traffic(waiting=queue.Queue(maxsize=2 * len(workers)))
    # Daemons: one may wait for a row, or in a read of standard input, when the run is over.
    threading.Thread(target=traffic.read, args=(rows, claims), daemon=True).start()
    for worker in workers:
        threading.Thread(target=traffic.drive, args=(worker, claims), daemon=True).start()
    try:
        traffic.collect(collector)
    finally:
        traffic.is_over.set()
        for worker in workers:
            worker.close()
        from oatools.core.process import GRACE_SECONDS

        until = time.monotonic() + GRACE_SECONDS
        for worker in workers:
            worker.wait(until)
