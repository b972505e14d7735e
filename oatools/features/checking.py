"""Feature files verified one after the other, as `samtools quickcheck` does for alignments."""

from typing import Any

from oatools.core.errors import ItemError
from oatools.core.manifest import Row
from oatools.core.runner import Done
from oatools.features.featurefile import check_features, space_difference


class Checker:
    """Checks a row's feature file, and that it belongs together with the first good one; called with rows in order."""

    def __init__(self) -> None:
        self._first: tuple[str, dict[str, Any]] | None = None

    def __call__(self, row: Row) -> Done:
        """Pass a row whose file is good; see `check_features` for what makes an `ItemError` of a bad one."""
        space = check_features(row["path"])
        if self._first is None:
            self._first = row["path"], space
        elif difference := space_difference(space, self._first[1]):
            raise ItemError(
                f"{row['path']}: does not belong together with {self._first[0]}: {difference}"
            )
        return Done({})
