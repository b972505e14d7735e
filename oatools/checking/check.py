"""Files that the commands have written, checked for damage: `oa-check` and its call from Python."""

from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from oatools.checking.contents import (
    Verdict,
    check_feature_file,
    check_model,
    check_sidecar,
    check_table,
    check_volume,
)
from oatools.checking.crossval import check_crossval_file
from oatools.checking.page import check_page_file
from oatools.checking.places import (
    CROSSVAL,
    FEATURES,
    MODEL,
    PAGE,
    SIDECAR,
    TABLE,
    VIEW,
    VOLUME,
    Place,
    Search,
)
from oatools.core.errors import ItemError, OatoolsError, item_error
from oatools.core.manifest import BadRow, Row
from oatools.core.paths import require_file
from oatools.core.runner import Done

_CHECKS: dict[str, Callable[[Place], Verdict]] = {
    VOLUME: check_volume,
    SIDECAR: check_sidecar,
    FEATURES: check_feature_file,
    MODEL: check_model,
    TABLE: check_table,
    CROSSVAL: check_crossval_file,
    PAGE: check_page_file,
    VIEW: check_page_file,
}


class Finding(NamedTuple):
    """A file that is damaged: its path, what it should be, and what is wrong with it."""

    path: str
    kind: str
    error: str


def check(*paths: str | Path) -> list[Finding]:
    """Check files for damage, and return those that are damaged; see oa-check(1).

        check("n4", "features.tsv", "cv")

    Each path is a file, a folder, or a table of files (`.tsv`, `.txt`), as the command takes them.
    Nothing is changed. To repair what is damaged, run again what made it.
    """
    findings: list[Finding] = []
    spaces = Spaces()
    for place in Search().places([str(path) for path in paths]):
        if isinstance(place, BadRow):
            findings.append(Finding(place.name, TABLE, place.error))
            continue
        verdict = check_place(place)
        if verdict.error:
            findings.append(finding_of(place, verdict))
        else:
            spaces.add(place, verdict.space)
    return [*findings, *spaces.odd()]


class Damaged(ItemError):
    """A file is damaged: what `finding` says, in the form in which the runner takes it."""

    finding: Finding


def check_row(row: Row) -> Done:
    """Check the place that cells stand for (see `Place.row`), and return the verdict as cells.

    Raises `Damaged` for a file that is.
    """
    place = Place.from_row(row)
    verdict = check_place(place)
    if verdict.error:
        damaged = Damaged(verdict.error)
        damaged.finding = finding_of(place, verdict)
        raise damaged
    return Done({"kind": verdict.kind, "space": verdict.space})


def check_place(place: Place) -> Verdict:
    """Check one place. Whatever a reader raises over a file is what is wrong with the file."""
    try:
        if place.kind not in _CHECKS:
            require_file(place.path)
            return Verdict("")
        return _CHECKS[place.kind](place)
    except OatoolsError as error:
        return Verdict(place.kind, _told(error.reason, place.path))
    except ImportError as error:  # no file is to blame
        raise item_error(error) from None
    except MemoryError:
        return Verdict(place.kind, "takes more memory than there is")
    except OSError as error:
        return Verdict(place.kind, error.strerror or str(error))
    except Exception as error:  # of readers of many formats, on files of whatever content
        return Verdict(place.kind, f"cannot be read ({type(error).__name__}: {_line(str(error))})")


def finding_of(place: Place, verdict: Verdict) -> Finding:
    """Return what is wrong with a place as a finding."""
    return Finding(verdict.path or place.path, verdict.kind, _line(verdict.error))


@dataclass
class Spaces:
    """The feature spaces of files that belong together: those of a table, or of a folder."""

    _groups: dict[str, list[tuple[str, str]]] = field(default_factory=dict)

    def add(self, place: Place, space: str) -> None:
        """Take in a file that was checked; `space` is empty for one without features."""
        if space:
            self._groups.setdefault(place.group, []).append((place.path, space))

    def odd(self) -> Iterator[Finding]:
        """Yield the files whose features do not belong together with most of their group."""
        for files in self._groups.values():
            usual, _ = Counter(space for _, space in files).most_common(1)[0]
            example = next(path for path, space in files if space == usual)
            for path, space in files:
                if space != usual:
                    yield Finding(path, FEATURES, _difference(path, example))


def _difference(path: str, example: str) -> str:
    from oatools.features.featurefile import check_features, space_difference

    try:
        told = space_difference(check_features(path), check_features(example))
    except OatoolsError as error:  # changed meanwhile
        told = error.reason
    return f"does not belong together with {example}: {_line(told)}"


def _told(reason: str, path: str) -> str:
    """Return the reason of an error without the path that it begins with."""
    for start in (f"{path}: ", f"{path} "):
        reason = reason.removeprefix(start)
    return _line(reason)


def _line(text: str) -> str:
    """Return a text as one line without tabs, for a table."""
    return " ".join(text.split())
