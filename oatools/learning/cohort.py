"""Knees with their features, labels and clinical variables, joined from two tables."""

import functools
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest_json
from oatools.core.manifest import MISSING, BadRow, Row, Table, number
from oatools.features.featurefile import feature_space, read_features, space_difference
from oatools.learning.model import window

CODES = {"sex": {"female": 0.0, "male": 1.0}}
LABELS = ("knee", "subject", "label")


@dataclass(frozen=True)
class Cohort:
    """Knees sorted by name. `features` is (knees, slices, channels) float32, zero after each knee's `length` slices.

    `varied` (copies, knees, slices, channels) are the features of varied images of the same knees, for training alone.
    """

    knee: tuple[str, ...]
    subject: tuple[str, ...]
    label: np.ndarray
    features: np.ndarray
    length: np.ndarray
    clinical: np.ndarray
    clinical_names: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()  # of the features table
    space: dict[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    varied: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.knee)

    def take(self, index: np.ndarray) -> "Cohort":
        """The knees at `index` alone, padded to the longest of them: nothing of the others is left in it."""
        if np.array_equal(index, np.arange(len(self))):
            return self
        length = self.length[index]
        return replace(
            self, knee=_pick(self.knee, index), subject=_pick(self.subject, index), label=self.label[index],
            features=np.ascontiguousarray(self.features[index, : length.max(initial=0)]), length=length,
            clinical=self.clinical[index], rows=_pick(self.rows, index) if self.rows else (),
            varied=None if self.varied is None else self.varied[:, index, : length.max(initial=0)],
        )  # fmt: skip

    def slices(self, i: int) -> np.ndarray:
        """The features (slices, channels) of one knee, without padding."""
        return self.features[i, : self.length[i]]

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of all that training reads of each knee: patient, label, features and copies, clinical variables."""
        return tuple(map(self._digest, range(len(self))))

    def digest(self, index: np.ndarray) -> str:
        """SHA-256 of all that training on the knees at `index` reads."""
        return digest_json([self.clinical_names, self.space, [self.digests[i] for i in index]])

    def _digest(self, i: int) -> str:
        total = hashlib.sha256(json.dumps([self.knee[i], self.subject[i], int(self.label[i])]).encode())
        total.update(self.clinical[i].astype(np.float64).tobytes())
        total.update(np.ascontiguousarray(self.slices(i)))
        if self.varied is not None:
            total.update(np.ascontiguousarray(self.varied[:, i, : self.length[i]]))
        return total.hexdigest()


@dataclass(frozen=True)
class Flow:
    """How the tables became the cohort: knees without label or features, rows that failed, the order."""

    without_label: int
    without_features: int
    failed: tuple[tuple[Row | BadRow, str], ...]
    order: tuple[str, ...]


def make_cohort(
    knees: Sequence[str], subjects: Sequence[str], label: Sequence[int], features: Sequence[np.ndarray],
    clinical: np.ndarray | None = None, clinical_names: Sequence[str] = (), **more: Any,
) -> Cohort:  # fmt: skip
    """A cohort from one (slices, channels) array a knee; `clinical` is (knees, variables), NaN where missing.

    With `varied` in `more`, one (copies, slices, channels) array a knee, the cohort has these as well.
    """
    order = np.argsort(np.asarray(knees), kind="stable")
    length = np.array([len(features[i]) for i in order])
    packed = np.zeros((len(knees), int(length.max(initial=0)), features[0].shape[1]), dtype=np.float32)
    for place, i in enumerate(order):
        packed[place, : length[place]] = features[i]
    if (copies := more.pop("varied", None)) is not None:
        more["varied"] = np.zeros((len(copies[0]), *packed.shape), dtype=np.float32)
        for place, i in enumerate(order):
            more["varied"][:, place, : length[place]] = copies[i]
    values = np.zeros((len(knees), 0)) if clinical is None else np.asarray(clinical, dtype=np.float64)
    rows = _pick(more.pop("rows", ()), order)
    return Cohort(_pick(knees, order), _pick(subjects, order), np.asarray(label)[order].astype(np.int64), packed,
                  length, values[order], tuple(clinical_names), rows, **more)  # fmt: skip


def load_cohort(
    features: Table, labels: Table, clinical: Sequence[str] = (), slices: int | None = None,
    sequence: str | None = None, fail_fast: bool = False, augmented: bool = False, also: Sequence[str] = (),
) -> tuple[Cohort, Flow]:  # fmt: skip
    """Join a features table with a labels table by `knee`, and read the feature files of the knees in both.

    Only `slices` around the middle are kept, and varied copies only where `augmented` asks for them; the cohort's rows
    have the columns `also` of the labels. A file that
    cannot be read leaves its knee out. Raises `UsageError` for tables that cannot be joined, feature files of
    different spaces or with different numbers of copies, or a cohort with one class.
    """
    rows, failed = choose_rows(features.require("knee", "path"), sequence)
    labelled = read_labels(labels.require(*LABELS, *clinical, *also))
    both = [knee for knee in rows if knee in labelled]
    if not both:
        raise UsageError(_no_overlap(features, rows, labels, labelled))
    values = {knee: clinical_values(labelled[knee], clinical, labels.name) for knee in both}
    arrays: dict[str, np.ndarray] = {}
    copies: dict[str, np.ndarray] = {}
    spaces: list[tuple[str, dict[str, Any]]] = []
    cautions: set[str] = set()
    for knee in both:
        if failed and fail_fast:
            break
        try:
            arrays[knee], varied, provenance = _read(rows[knee]["path"], slices, augmented)
        except ItemError as error:
            failed.append((rows[knee], str(error)))
            continue
        spaces.append((rows[knee]["path"], feature_space(provenance)))
        check_space(*spaces[-1], *spaces[0])
        if augmented:
            copies[knee] = varied
            if len(varied) != len(copies[next(iter(copies))]):
                paths = f"{spaces[-1][0]} and {spaces[0][0]}"
                raise UsageError(f"{paths} hold different numbers of varied copies; embed them alike")
        cautions.update(cautions_of(provenance))
    used = list(arrays)
    flow = Flow(len(rows) - len(both), len(labelled.keys() - rows.keys()), tuple(failed), tuple(used))
    if not used:
        raise UsageError(f"{features.name}: none of {len(both)} feature files can be read; the first: {failed[0][1]}")
    cohort = make_cohort(
        used, [labelled[k]["subject"] for k in used], [int(labelled[k]["label"]) for k in used],
        [arrays.pop(k) for k in used], np.array([values[k] for k in used]).reshape(len(used), len(clinical)), clinical,
        rows=tuple(_identity(rows[k], labelled[k], also) for k in used), space=spaces[0][1],
        cautions=tuple(sorted(cautions)), varied=[copies.pop(k) for k in used] if augmented else None,
    )  # fmt: skip
    if len(set(cohort.label.tolist())) < 2:
        raise UsageError(f"{labels.name}: all {len(used)} knees used have label {cohort.label[0]}; both are needed")
    return cohort, flow


def choose_rows(table: Table, sequence: str | None) -> tuple[dict[str, Row], list[tuple[Row | BadRow, str]]]:
    """One row a knee, and the lines that are no rows; a `UsageError` where `sequence` does not settle which row."""
    rows: dict[str, Row] = {}
    broken: list[tuple[Row | BadRow, str]] = []
    sequences: dict[str, list[str]] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            broken += [] if row.left_out else [(row, row.error)]
            continue
        sequences.setdefault(row["knee"], []).append(row.get("sequence", MISSING))
        if sequence is None or row.get("sequence") == sequence:
            if row["knee"] in rows:
                raise UsageError(f"{table.name}: {row['knee']} has rows of {_sequences(sequences[row['knee']])}; "
                                 "choose one with --sequence, or drop rows")  # fmt: skip
            rows[row["knee"]] = row
    if not rows:
        there = sorted({s for of_knee in sequences.values() for s in of_knee})
        raise UsageError(
            f"{table.name}: no row{f' of sequence {sequence}; there are {_sequences(there)}' if sequence else 's'}"
        )
    return rows, broken


def read_labels(table: Table) -> dict[str, Row]:
    """The rows with a label, by knee; a `UsageError` for a label but 0 and 1, a knee twice, or no subject."""
    rows: dict[str, Row] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            raise UsageError(f"{row.name}: {row.error}")
        knee, label = row["knee"], row["label"]
        if knee in rows:
            raise UsageError(f"{table.name}: {knee} is there twice; keep one row")
        if label == MISSING:
            continue
        if label not in ("0", "1"):
            raise UsageError(f"{table.name}: {knee} has label '{label}'; labels are 0, 1 or n/a")
        if row["subject"] == MISSING:
            raise UsageError(f"{table.name}: {knee} has no subject, so knees of one patient cannot be kept together")
        rows[knee] = row
    return rows


def clinical_values(row: Row, names: Sequence[str], source: str) -> np.ndarray:
    """Clinical variables (variables,) of a row, NaN where missing, sex 0 female, 1 male; or `UsageError`."""
    try:
        return np.array([clinical_value(row, name) for name in names], dtype=np.float64)
    except ItemError as error:
        raise UsageError(f"{source}: {row['knee']}: {error}") from None


def clinical_value(row: Row, name: str) -> float:
    """One clinical variable of a row, NaN where it is missing; an `ItemError` for text that is no number."""
    codes = CODES.get(name, {})
    if row.get(name) in codes:
        return codes[row[name]]
    value = number(row, name)
    return np.nan if value is None else value


def check_space(path: str, space: dict[str, Any], other: str, reference: dict[str, Any]) -> None:
    """Raise a `UsageError` that names two files and what differs, unless their features can be used together."""
    if difference := space_difference(space, reference):
        raise UsageError(f"{path} and {other} hold features that do not belong together: {difference}")


def cautions_of(provenance: dict[str, Any]) -> set[str]:
    """Why features show nothing of real knees, if so: `random weights`, `phantoms`."""
    found = {"random weights"} if str(provenance.get("weights", "")).startswith("random") else set()
    return found | ({"phantoms"} if provenance.get("phantom") else set())


def _read(path: str, slices: int | None, augmented: bool) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    found = read_features(Path(path), augmented)
    if augmented and found.augmented is None:
        raise ItemError(f"{path}: holds no varied copies; embed it with --augment, or train without --augmented")
    used = window(len(found.features), slices)
    varied = None if found.augmented is None else found.augmented[:, used].astype(np.float32)
    return found.features[used].astype(np.float32), varied, found.provenance


def _identity(row: Row, labelled: Row, also: Sequence[str]) -> Row:
    named = {c: row.get(c) if row.get(c, MISSING) != MISSING else labelled.get(c, MISSING) for c in ("visit", "side")}
    return {**row, **named, **{c: labelled[c] for c in also}}


def _pick(values: Sequence[Any], index: np.ndarray) -> tuple[Any, ...]:
    return tuple(values[i] for i in index) if len(values) else ()


def _sequences(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _no_overlap(features: Table, rows: dict[str, Row], labels: Table, labelled: dict[str, Row]) -> str:
    if not labelled:
        return f"{labels.name}: no knee has a label"
    return (f"no knee is in both tables: {features.name} has {next(iter(rows))}, ...; "
            f"{labels.name} has {next(iter(labelled))}, ...")  # fmt: skip


def telltales(cohort: Cohort, least: int = 20) -> list[str]:
    """What separates the classes alone without an error, where there are `least` knees of each: labels in disguise.

    Looks at clinical variables, and at the mean over slices of every channel of the features.
    """
    columns = [(f"'{n}'", v) for n, v in zip(cohort.clinical_names, cohort.clinical.T, strict=True)]
    means = np.stack([cohort.slices(i).mean(axis=0) for i in range(len(cohort))])
    columns += [(f"channel {c} of the features", v) for c, v in enumerate(means.T)]
    found = []
    for name, values in columns:
        known = ~np.isnan(values)
        one, other = (values[known & (cohort.label == y)] for y in (0, 1))
        if min(len(one), len(other)) >= least and (one.max() < other.min() or other.max() < one.min()):
            found.append(name)
    return found
