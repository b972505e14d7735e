"""The feature files of knees, read one after the other and held to one another."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from oatools.core.errors import ItemError, OatoolsError, UsageError
from oatools.core.manifest import MISSING, BadRow, Row
from oatools.core.provenance import Caution, Provenance
from oatools.core.runner import item_name
from oatools.features.backbone_record import Weights
from oatools.features.featurefile import (
    NO_DIGEST,
    Features,
    feature_space,
    read_features,
    space_difference,
)
from oatools.learning.identity import Witness, known_side, recorded_patients
from oatools.learning.join import FailedRow
from oatools.learning.model import middle_slices
from oatools.learning.sequences import row_sequence


@dataclass(frozen=True)
class Selection:
    """The choice of what to take from the tables.

    `clinical` names clinical variables or sets of them (see `presets.clinical_set`). Of each
    sequence only `slices` around the middle are kept. With several `sequences` a knee has a file of
    each; without, it has one row, and knees of different sequences are refused unless
    `any_sequence`. `augmented` asks for augmented copies too. `columns` of the
    labels are kept in the rows of the cohort. `allow_label_leakage` takes variables that, by their
    names, were found after the visit.

    `on_failure` says what a row or feature file that cannot be used does: with "leave out" its knee
    is left out and counted, with "stop" nothing more is read after it, with "raise" its error ends
    the call.
    """

    clinical: tuple[str, ...] = ()
    slices: int | None = None
    sequences: tuple[str, ...] = ()
    augmented: bool = False
    columns: tuple[str, ...] = ()
    on_failure: Literal["leave out", "stop", "raise"] = "leave out"
    any_sequence: bool = False
    allow_label_leakage: bool = False


#: All of the one sequence that the tables have, with no clinical variable.
EVERYTHING = Selection()


@dataclass(frozen=True)
class KneeFiles:
    """The features of one knee, one sequence after the other; see `Cohort`."""

    features: np.ndarray
    extents: tuple[int, ...]
    augmented: np.ndarray | None
    rows: tuple[Row, ...]
    files: tuple[dict[str, Any], ...]
    scans: frozenset[str]


@dataclass
class Reader:
    """Reads the feature files of knees, and checks that they belong together."""

    selection: Selection
    failed: list[FailedRow] = field(default_factory=list)
    knees: dict[str, KneeFiles] = field(default_factory=dict)
    first: tuple[str, Features] | None = None
    weights: Weights | None = None
    sequences: dict[str, str] = field(default_factory=dict)  # by knee
    cautions: set[Caution] = field(default_factory=set)
    steps: set[tuple[str, ...]] = field(default_factory=set)
    without_digest: list[str] = field(default_factory=list)  # paths

    def read(self, knee: str, rows: Sequence[Row]) -> None:
        """Read the files of one knee; one that cannot be read leaves the knee out."""
        found: list[Features] = []
        for row in rows:
            try:
                found.append(read_features(Path(row["path"]), self.selection.augmented))
                _require_copies(row["path"], found[-1], self.selection)
            except ItemError as error:
                self.fail(row, error)
                return
        # Before any slice is cut off: the same scan is the same whole.
        scans = frozenset().union(*map(_scans, found))
        found = [_used(each, self.selection) for each in found]
        for row, features in zip(rows, found, strict=True):
            self._check(row["path"], features)
            if not features.has_digest and features.making_is_recorded:
                self.without_digest.append(row["path"])
        self.sequences[knee] = row_sequence(rows[0], found[0].provenance)
        augmented = None
        if self.selection.augmented:
            copies = [each.augmented for each in found if each.augmented is not None]
            augmented = np.concatenate(copies, axis=1)
        self.knees[knee] = KneeFiles(
            features=np.concatenate([each.features for each in found]),
            extents=tuple(len(each.features) for each in found),
            augmented=augmented,
            rows=tuple(rows),
            files=tuple(each.provenance for each in found),
            scans=scans,
        )

    def witness(self, knee: str, labelled: Row) -> Witness:
        """Return all that tells whose knee it is, and of which scans."""
        read = self.knees[knee]
        elsewhere = [recorded_patients(*pair) for pair in zip(read.rows, read.files, strict=True)]
        return Witness(
            knee=knee,
            subject=labelled["subject"],
            side=known_side(read.rows[0], labelled),
            elsewhere=frozenset().union(*elsewhere),
            scans=read.scans,
            is_stated=read.rows[0].get("subject", MISSING) != MISSING,
        )

    def doubts(self) -> list[str]:
        """Return what is doubtful about the files, in words for the user."""
        if not self.without_digest:
            return []
        first, more = self.without_digest[0], len(self.without_digest) - 1
        others = f" and {more} more files" if more else ""
        return [f"{first}{others}: {NO_DIGEST}"]

    def fail(self, row: Row | BadRow, error: OatoolsError) -> None:
        """Note that a row cannot be used, or raise why not."""
        if self.selection.on_failure == "raise":
            raise ItemError(f"{item_name(row)}: {error.reason}", error.remedy)
        self.failed.append((row, error))

    def _check(self, path: str, features: Features) -> None:
        if self.first is None:
            self.first = (path, features)
        first_path, first = self.first
        difference = space_difference(
            feature_space(features.provenance), feature_space(first.provenance)
        )
        if difference:
            raise UsageError(
                f"{path} and {first_path} hold features that do not belong together: {difference}"
            )
        channels = [each.features.shape[1] for each in (features, first)]
        if channels[0] != channels[1]:
            raise UsageError(
                f"{path} and {first_path} hold features that do not belong together: "
                f"{channels[0]} a slice, not {channels[1]}"
            )
        if _copies(features) != _copies(first):
            raise UsageError(
                f"{path} and {first_path} hold different numbers of augmented copies",
                "embed them alike",
            )
        if not features.making_is_recorded:
            self.cautions.add(Caution.UNKNOWN_MAKING)
        provenance = Provenance.from_fields(features.provenance)
        weights = Weights.from_provenance(features.provenance)
        if weights is not None:
            self.weights = self.weights or weights
            if weights.is_random:
                self.cautions.add(Caution.RANDOM_WEIGHTS)
        if provenance.is_phantom:
            self.cautions.add(Caution.PHANTOMS)
        self.steps.add(provenance.preparation())


def _require_copies(path: str, found: Features, selection: Selection) -> None:
    """Raise an `ItemError` for a file without the augmented copies that are asked for."""
    if selection.augmented and found.augmented is None:
        raise ItemError(
            f"{path}: holds no augmented copies",
            "embed it with oa-embed --augment, or train without `augmented`",
        )


def _scans(found: Features) -> frozenset[str]:
    """Return what two feature files of one scan have in common: the digest of the volume that was
    embedded, where it is recorded, and that of the features, unless all slices are alike.
    """
    scans = set()
    source = found.provenance.get("source_sha256")
    if isinstance(source, str) and source.strip("0"):
        scans.add(f"volume {source}")
    if np.ptp(found.features, axis=0).any():
        content = np.ascontiguousarray(found.features)
        scans.add(f"features {hashlib.blake2b(content.data, digest_size=16).hexdigest()}")
    return frozenset(scans)


def _used(found: Features, selection: Selection) -> Features:
    """Return features as float32, cut to the slices that are used."""
    used = middle_slices(len(found.features), selection.slices)
    copies = found.augmented
    if copies is not None:
        copies = copies[:, used].astype(np.float32)
    features = found.features[used].astype(np.float32)
    return replace(found, features=features, position=found.position[used], augmented=copies)


def _copies(features: Features) -> int:
    return 0 if features.augmented is None else len(features.augmented)
