"""Series of one knee, visit and sequence: which of them is taken, and why the others are not."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence

from oatools.core.errors import item_error
from oatools.core.manifest import BadRow
from oatools.dicom.files import digest_of, instances, listing
from oatools.dicom.series import Series
from oatools.dicom.split import identity, part_of, whole_or_failed


class Repeats:
    """What was found of each person and visit, and which series were yielded already.

    With `is_trusted` it does not matter on which side a series lies.
    """

    def __init__(self, is_trusted: bool = False) -> None:
        self.is_trusted = is_trusted
        self.to_come: Counter[str] = Counter()
        self.held: dict[str, list[Series | BadRow]] = {}
        self.yielded: dict[tuple[object, ...], Series] = {}
        self.identified: dict[tuple[object, ...], Series] = {}

    def expect(self, people: Iterable[str]) -> None:
        """Count one more place of each person and visit, which will be settled later."""
        self.to_come.update(people)

    def settle(
        self, found: list[Series | BadRow], person_visit: str | None
    ) -> Iterator[Series | BadRow]:
        """Take what one place holds, and yield what is decided by it.

        That is one series of each set of repeats, once all places of the person and visit are
        known.
        """
        if person_visit is not None:
            self.to_come[person_visit] -= 1
            found = self.held.pop(person_visit, []) + found
            if self.to_come[person_visit] > 0:
                self.held[person_visit] = found
                return
        for series in _without_repeats(whole_or_failed(found), self.is_trusted):
            yield series if isinstance(series, BadRow) else self._decided(series)

    def rest(self) -> Iterator[Series | BadRow]:
        """Yield what was held for places that did not come: the tree changed meanwhile."""
        for person_visit in list(self.held):
            self.to_come[person_visit] = 1
            yield from self.settle([], person_visit)

    def _decided(self, series: Series) -> Series | BadRow:
        """Return what `_once` does, or that the series cannot be compared with those before it."""
        try:
            return self._once(series)
        except Exception as error:  # in files that are read no further until now
            return BadRow.of(str(series.path), error)

    def _once(self, series: Series) -> Series | BadRow:
        """Return a series, or why it is not yielded where one of its name was."""
        earlier = self.yielded.setdefault(_key(series), series)
        if earlier is series:
            return self._whole(series)
        if _place(earlier) == _place(series):
            return _left_out(series, _NAMED_TWICE)
        if earlier.identifier == series.identifier and _has_identifier(series):
            if _holds_the_same(earlier, series):
                return _left_out(series, f"a copy of {earlier.path}; left out")
            return BadRow(
                str(series.path),
                f"{earlier.path} is taken for the same knee, visit and sequence, and holds other "
                "images of the same series",
                remedy="put all files of the series into one folder",
            )
        return BadRow(
            str(series.path),
            f"{earlier.path} is taken for the same knee, visit and sequence",
            remedy="say which `visit`, `side` or sequence (`name`) each of them is, or give one",
        )

    def _whole(self, series: Series) -> Series | BadRow:
        """Return a series, or why it is not yielded where one of its identifier was."""
        earlier = self.identified.setdefault(identity(series), series)
        if earlier is series or not _has_identifier(series):
            return series
        if _holds_the_same(earlier, series):
            return _left_out(series, f"a copy of {earlier.path}; left out")
        return part_of(series, [earlier])


_NAMED_TWICE = "named twice, and read once"


def _without_repeats(
    found: Sequence[Series | BadRow], is_trusted: bool
) -> Iterator[Series | BadRow]:
    """Yield one series of each set of repeats, and say of the others which one was taken."""
    same: dict[tuple[object, ...], list[Series]] = defaultdict(list)
    for series in found:
        if isinstance(series, Series):
            same[_key(series)].append(series)
    left_out: dict[int, str] = {}  # by the identity of the object: a path may be named twice
    for repeats in same.values():
        if len(repeats) > 1:
            distinct = _distinct(repeats, left_out)
            _leave_one(distinct, is_trusted, left_out)
    for series in found:
        reason = left_out.get(id(series))
        if reason is None or isinstance(series, BadRow):
            yield series
        else:
            yield _left_out(series, reason)


def _distinct(repeats: list[Series], left_out: dict[int, str]) -> list[Series]:
    """Return repeats without those that are named twice, and without copies, which are noted."""
    distinct: dict[tuple[str, str | None], Series] = {}
    originals: dict[tuple[object, ...], Series] = {}
    for series in repeats:
        if distinct.setdefault(_place(series), series) is not series:
            left_out[id(series)] = _NAMED_TWICE
            continue
        if series.series is not None:  # one of several in a folder: its files are not told apart
            continue
        # A package may be there twice as a whole: then no header needs to be read.
        known_by = (series.identifier, *listing(series.path))
        original = originals.setdefault(known_by, series)
        if original is not series:
            left_out[id(series)] = f"a copy of {original.path}; left out"
    return [series for series in repeats if id(series) not in left_out]


def _leave_one(repeats: list[Series], is_trusted: bool, left_out: dict[int, str]) -> None:
    """Choose one of repeats, and note of the others why they are left out.

    It is not on the other side, complete, clearly on its side, of most slices, the last: the first
    of these that decides.
    """
    if len(repeats) < 2:
        return
    from oatools.dicom.geometry import Stack, assess, place_text, shown_side  # they load NumPy

    best, best_stack = repeats[0], Stack(0)
    best_rank: tuple[bool, bool, bool, int] | None = None
    misplaced: dict[int, str] = {}
    for series in repeats:
        try:
            stack = assess(series.path, series.series)
        except Exception as error:  # the conversion of the series says which
            stack = Stack(0, str(item_error(error)))
        shown = None if stack.centre is None or is_trusted else shown_side(stack.centre)
        is_elsewhere = shown is not None and shown != series.side
        if is_elsewhere:
            misplaced[id(series)] = f"{place_text(stack.centre)}, "
        is_complete = not stack.problem
        slices = stack.slices if is_complete else 0
        rank = (not is_elsewhere, is_complete, shown == series.side, slices)
        if best_rank is None or rank >= best_rank:
            best, best_stack, best_rank = series, stack, rank
    why = f"which has {best_stack.slices} slices without a gap"
    if best_stack.problem:
        why = f"the last of {len(repeats)}, of which none is complete"
        if misplaced and id(best) not in misplaced:
            why = "which does not lie on the other side"
    for series in repeats:
        if series is not best:
            place = misplaced.get(id(series), "")
            left_out[id(series)] = f"a repeat of {best.path}, {why}; {place}left out"


def _has_identifier(series: Series) -> bool:
    return series.identifier != digest_of("")


def _left_out(series: Series, reason: str) -> BadRow:
    return BadRow(str(series.path), reason, left_out=True)


def _key(series: Series) -> tuple[object, ...]:
    """Return what two repeats have in common.

    Where a header does not say what a series is, that is nothing but itself.
    """
    known = (series.subject, series.visit, series.side, series.sequence)
    return known if all(known) else _place(series)


def _place(series: Series) -> tuple[str, str | None]:
    """Return what tells a series from all others, by whichever path it is reached."""
    return (os.path.realpath(series.path), series.series)


def _holds_the_same(one: Series, other: Series) -> bool:
    """Tell whether two series consist of the same images."""
    return instances(one.path, one.series) == instances(other.path, other.series)
