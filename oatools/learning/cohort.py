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
from oatools.core.provenance import Provenance
from oatools.features.featurefile import feature_space, read_features, space_difference
from oatools.learning.model import middle_slices

CODES = {"sex": {"female": 0.0, "male": 1.0}}
LABELS = ("knee", "subject", "label")


@dataclass(frozen=True)
class Cohort:
    """Knees sorted by name. `features` is (knees, slices, channels) float32, zero after each knee's `length` slices.

    `extents` (knees, sequences) says how many slices each sequence of a knee has, one sequence
    after the other; `joined` names the sequences where there are several. `varied` (copies, knees,
    slices, channels) are the features of varied images of the same knees, for training alone.
    """

    knee: tuple[str, ...]
    subject: tuple[str, ...]
    label: np.ndarray
    features: np.ndarray
    extents: np.ndarray
    clinical: np.ndarray
    clinical_names: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()  # of the features table
    space: dict[str, Any] = field(default_factory=dict)
    cautions: tuple[str, ...] = ()
    varied: np.ndarray | None = None
    joined: tuple[str, ...] = ()
    steps: tuple[str, ...] | None = (
        None  # see `Provenance.preparation`; None where they differ between files
    )

    def __len__(self) -> int:
        return len(self.knee)

    def take(self, index: np.ndarray) -> "Cohort":
        """The knees at `index` alone, padded to the longest of them: nothing of the others is left in it."""
        if np.array_equal(index, np.arange(len(self))):
            return self
        length = self.length[index]
        return replace(
            self,
            knee=_pick(self.knee, index),
            subject=_pick(self.subject, index),
            label=self.label[index],
            features=np.ascontiguousarray(self.features[index, : length.max(initial=0)]),
            extents=self.extents[index],
            clinical=self.clinical[index],
            rows=_pick(self.rows, index) if self.rows else (),
            varied=None if self.varied is None else self.varied[:, index, : length.max(initial=0)],
        )

    @functools.cached_property
    def length(self) -> np.ndarray:
        """Slices of each knee (knees,), of all its sequences."""
        return self.extents.sum(axis=1)

    def slices(self, i: int, sequence: int | None = None) -> np.ndarray:
        """The features (slices, channels) of one knee, without padding; of all sequences, or of one by its number."""
        ends = self.extents[i].cumsum()
        if sequence is None:
            return self.features[i, : ends[-1]]
        return self.features[i, ends[sequence] - self.extents[i, sequence] : ends[sequence]]

    def scored(self, index: np.ndarray) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """The features, clinical variables and extents of the knees at `index`, as `model.predict` takes them."""
        return [self.slices(i) for i in index], self.clinical[index], self.extents[index]

    def means(self) -> np.ndarray:
        """Each channel's mean over the slices of a sequence, (knees, sequences x channels)."""
        numbers = range(self.extents.shape[1])
        return np.stack(
            [
                np.concatenate([self.slices(i, n).mean(axis=0) for n in numbers])
                for i in range(len(self))
            ]
        )

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of all that training reads of each knee: patient, label, features and copies, clinical variables."""
        return tuple(map(self._digest, range(len(self))))

    def digest(self, index: np.ndarray) -> str:
        """SHA-256 of all that training on the knees at `index` reads."""
        return digest_json(
            [self.clinical_names, self.space, self.joined, [self.digests[i] for i in index]]
        )

    def _digest(self, i: int) -> str:
        said = [self.knee[i], self.subject[i], int(self.label[i]), self.extents[i].tolist()]
        total = hashlib.sha256(json.dumps(said).encode())
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
    incomplete: int = (
        0  # of those without features: with some of the sequences that are joined, not all
    )


def make_cohort(
    knees: Sequence[str],
    subjects: Sequence[str],
    label: Sequence[int],
    features: Sequence[np.ndarray],
    clinical: np.ndarray | None = None,
    clinical_names: Sequence[str] = (),
    **more: Any,
) -> Cohort:
    """A cohort from one (slices, channels) array a knee; `clinical` is (knees, variables), NaN where missing.

    With `varied` in `more`, one (copies, slices, channels) array a knee, the cohort has these as
    well; with `extents`, one tuple a knee, each knee's slices are those of several sequences, one
    after the other.
    """
    order = np.argsort(np.asarray(knees), kind="stable")
    length = np.array([len(features[i]) for i in order])
    packed = np.zeros(
        (len(knees), int(length.max(initial=0)), features[0].shape[1]), dtype=np.float32
    )
    for place, i in enumerate(order):
        packed[place, : length[place]] = features[i]
    if (copies := more.pop("varied", None)) is not None:
        more["varied"] = np.zeros((len(copies[0]), *packed.shape), dtype=np.float32)
        for place, i in enumerate(order):
            more["varied"][:, place, : length[place]] = copies[i]
    values = (
        np.zeros((len(knees), 0)) if clinical is None else np.asarray(clinical, dtype=np.float64)
    )
    rows = _pick(more.pop("rows", ()), order)
    given = more.pop("extents", None)
    extents = length[:, None] if given is None else np.array([given[i] for i in order])
    if (extents.sum(axis=1) != length).any():
        raise ValueError("extents do not add up to the slices of each knee")
    return Cohort(
        _pick(knees, order),
        _pick(subjects, order),
        np.asarray(label)[order].astype(np.int64),
        packed,
        extents,
        values[order],
        tuple(clinical_names),
        rows,
        **more,
    )


def load_cohort(
    features: Table,
    labels: Table,
    clinical: Sequence[str] = (),
    slices: int | None = None,
    sequences: Sequence[str] = (),
    fail_fast: bool = False,
    augmented: bool = False,
    also: Sequence[str] = (),
) -> tuple[Cohort, Flow]:
    """Join a features table with a labels table by `knee`, and read the feature files of the knees in both.

    Only `slices` around the middle are kept, and varied copies only where `augmented` asks for
    them; the cohort's rows have the columns `also` of the labels. With several `sequences` a knee
    has a file of each, and its rows are those of the first. A file that cannot be read leaves its
    knee out. Raises `UsageError` for tables that cannot be joined, feature files of different
    spaces or with different numbers of copies, or a cohort with one class.
    """
    rows, failed, partial = choose_rows(features.require("knee", "path"), sequences)
    labelled = read_labels(labels.require(*LABELS, *clinical, *also))
    both = [knee for knee in rows if knee in labelled]
    if not both:
        raise UsageError(_no_overlap(features, rows, labels, labelled))
    values = {knee: clinical_values(labelled[knee], clinical, labels.name) for knee in both}
    arrays: dict[str, np.ndarray] = {}
    extents: dict[str, tuple[int, ...]] = {}
    copies: dict[str, np.ndarray] = {}
    spaces: list[tuple[str, dict[str, Any]]] = []
    counts: list[int | None] = []
    cautions: set[str] = set()
    steps: set[tuple[str, ...]] = set()
    for knee in both:
        if failed and fail_fast:
            break
        found = []
        for row in rows[knee]:
            try:
                found.append(_read(row["path"], slices, augmented))
            except ItemError as error:
                failed.append((row, str(error)))
                break
        if len(found) < len(rows[knee]):
            continue
        for row, (_, varied, provenance) in zip(rows[knee], found, strict=True):
            spaces.append((row["path"], feature_space(provenance)))
            check_space(*spaces[-1], *spaces[0])
            counts.append(None if varied is None else len(varied))
            if counts[-1] != counts[0]:
                paths = f"{spaces[-1][0]} and {spaces[0][0]}"
                raise UsageError(
                    f"{paths} hold different numbers of varied copies; embed them alike"
                )
            cautions.update(cautions_of(provenance))
            steps.add(Provenance.from_fields(provenance).preparation())
        arrays[knee] = np.concatenate([each for each, _, _ in found])
        extents[knee] = tuple(len(each) for each, _, _ in found)
        if augmented:
            copies[knee] = np.concatenate([varied for _, varied, _ in found], axis=1)
    used = list(arrays)
    # A knee that lacks a sequence has no features to speak of.
    without = [knee for knee in labelled if knee not in rows]
    flow = Flow(
        len(rows) - len(both),
        len(without),
        tuple(failed),
        tuple(used),
        sum(k in partial for k in without),
    )
    if not used:
        raise UsageError(
            f"{features.name}: none of {len(both)} feature files can be read; the first: {failed[0][1]}"
        )
    cohort = make_cohort(
        used,
        [labelled[k]["subject"] for k in used],
        [int(labelled[k]["label"]) for k in used],
        [arrays.pop(k) for k in used],
        np.array([values[k] for k in used]).reshape(len(used), len(clinical)),
        clinical,
        rows=tuple(_identity(rows[k][0], labelled[k], also) for k in used),
        space=spaces[0][1],
        cautions=tuple(sorted(cautions)),
        varied=[copies.pop(k) for k in used] if augmented else None,
        extents=[extents[k] for k in used],
        joined=tuple(sequences) if len(sequences) > 1 else (),
        steps=steps.pop() if len(steps) == 1 else None,
    )
    if len(set(cohort.label.tolist())) < 2:
        raise UsageError(
            f"{labels.name}: all {len(used)} knees used have label {cohort.label[0]}; both are needed"
        )
    return cohort, flow


def choose_rows(
    table: Table, sequences: Sequence[str] = ()
) -> tuple[dict[str, tuple[Row, ...]], list[tuple[Row | BadRow, str]], set[str]]:
    """The row of each of `sequences` by knee, the lines that are no rows, and the knees that lack some of them.

    Without `sequences`, one row a knee, of whatever sequence. A `UsageError` where that does not
    settle which row.
    """
    wanted = list(sequences) or [None]
    rows: dict[str, dict[str | None, Row]] = {}
    broken: list[tuple[Row | BadRow, str]] = []
    there: dict[str, list[str]] = {}
    for row in table.rows:
        if isinstance(row, BadRow):
            broken += [] if row.left_out else [(row, row.error)]
            continue
        there.setdefault(row["knee"], []).append(row.get("sequence", MISSING))
        sequence = row.get("sequence") if sequences else None
        if sequence in wanted:
            of_knee = rows.setdefault(row["knee"], {})
            if sequence in of_knee:
                advice = (
                    "choose with --sequence, or drop rows" if not sequences else "keep one of each"
                )
                raise UsageError(
                    f"{table.name}: {row['knee']} has rows of {_sequences(there[row['knee']])}; {advice}"
                )
            of_knee[sequence] = row
    whole = {
        knee: tuple(found[s] for s in wanted)
        for knee, found in rows.items()
        if len(found) == len(wanted)
    }
    if not whole:
        names = _sequences(sorted({s for of_knee in there.values() for s in of_knee}))
        of = f" of sequence {sequences[0]}; there are {names}" if len(sequences) == 1 else "s"
        if rows:
            of = f" of every sequence that is to be joined: no knee has all of {_sequences(sequences)}"
        raise UsageError(f"{table.name}: no row{of}")
    return whole, broken, rows.keys() - whole.keys()


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
            raise UsageError(
                f"{table.name}: {knee} has no subject, so knees of one patient cannot be kept together"
            )
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
        raise UsageError(
            f"{path} and {other} hold features that do not belong together: {difference}"
        )


def cautions_of(provenance: dict[str, Any]) -> set[str]:
    """Why features show nothing of real knees, if so: `random weights`, `phantoms`."""
    found = {"random weights"} if str(provenance.get("weights", "")).startswith("random") else set()
    return found | ({"phantoms"} if provenance.get("phantom") else set())


def _read(
    path: str, slices: int | None, augmented: bool
) -> tuple[np.ndarray, np.ndarray | None, dict[str, Any]]:
    found = read_features(Path(path), augmented)
    if augmented and found.augmented is None:
        raise ItemError(
            f"{path}: holds no varied copies; embed it with --augment, or train without --augmented"
        )
    used = middle_slices(len(found.features), slices)
    varied = None if found.augmented is None else found.augmented[:, used].astype(np.float32)
    return found.features[used].astype(np.float32), varied, found.provenance


def _identity(row: Row, labelled: Row, also: Sequence[str]) -> Row:
    named = {
        c: row.get(c) if row.get(c, MISSING) != MISSING else labelled.get(c, MISSING)
        for c in ("visit", "side")
    }
    return {**row, **named, **{c: labelled[c] for c in also}}


def _pick(values: Sequence[Any], index: np.ndarray) -> tuple[Any, ...]:
    return tuple(values[i] for i in index) if len(values) else ()


def _sequences(names: Sequence[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _no_overlap(
    features: Table, rows: dict[str, Row], labels: Table, labelled: dict[str, Row]
) -> str:
    if not labelled:
        return f"{labels.name}: no knee has a label"
    return (
        f"no knee is in both tables: {features.name} has {next(iter(rows))}, ...; "
        f"{labels.name} has {next(iter(labelled))}, ..."
    )


def telltales(cohort: Cohort, least: int = 20) -> list[str]:
    """What separates the classes alone without an error, where there are `least` knees of each: labels in disguise.

    Looks at clinical variables, and at the mean over slices of every channel of the features.
    """
    columns = [(f"'{n}'", v) for n, v in zip(cohort.clinical_names, cohort.clinical.T, strict=True)]
    channels = cohort.features.shape[2]
    columns += [
        (f"channel {c % channels} of the features", v) for c, v in enumerate(cohort.means().T)
    ]
    found = []
    for name, values in columns:
        known = ~np.isnan(values)
        one, other = (values[known & (cohort.label == y)] for y in (0, 1))
        if min(len(one), len(other)) >= least and (
            one.max() < other.min() or other.max() < one.min()
        ):
            found.append(name)
    return found
