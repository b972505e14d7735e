"""Knees with the features of their slices, labels and clinical variables."""

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import numpy as np

from oatools.core.files import digest_json
from oatools.core.manifest import Row
from oatools.core.people import People
from oatools.core.provenance import Caution
from oatools.features.backbone_record import Weights
from oatools.learning.followup import FollowUp
from oatools.learning.outcome import Classes, Happened, Outcome

T = TypeVar("T")


@dataclass(frozen=True)
class Cohort:
    """Knees sorted by name, with all their slices in one array.

    `features` (slices of all knees, channels), float32, holds one knee after the other, and of each
    knee one sequence after the other; `extents` (knees, sequences) counts the slices of each. They
    are padded in a mini-batch alone. `augmented` (copies, slices of all knees, channels) are the
    features of augmented images of the same slices, for training alone.

    `label` (knees,) is 0 or 1; where knees are followed (`follow_up`) it tells whether it happened
    to them. `clinical` (knees, variables) raw, NaN where missing. `rows` are
    those of the features table. `space`, `weights`, `cautions` and `steps` say how the features
    were made (see `features.featurefile.feature_space` and `Provenance.preparation`); `steps` is
    None where they differ between files. `joined` names the sequences where there are several.
    """

    knee: tuple[str, ...]
    subject: tuple[str, ...]
    label: np.ndarray
    features: np.ndarray
    extents: np.ndarray
    clinical: np.ndarray
    clinical_names: tuple[str, ...] = ()
    rows: tuple[Row, ...] = ()
    space: dict[str, Any] = field(default_factory=dict)
    weights: Weights | None = None
    cautions: tuple[Caution, ...] = ()
    augmented: np.ndarray | None = None
    joined: tuple[str, ...] = ()
    steps: tuple[str, ...] | None = None
    follow_up: FollowUp | None = None

    def __len__(self) -> int:
        return len(self.knee)

    @property
    def channels(self) -> int:
        """The number of features of a slice."""
        return self.features.shape[1]

    @property
    def sequences(self) -> int:
        """The number of sequences of a knee."""
        return self.extents.shape[1]

    @functools.cached_property
    def length(self) -> np.ndarray:
        """The number of slices of each knee (knees,), of all its sequences."""
        return self.extents.sum(axis=1)

    @functools.cached_property
    def offsets(self) -> np.ndarray:
        """The place (knees + 1,) of each knee's first slice in `features`, and the end of all."""
        return np.append(0, self.length.cumsum())

    @functools.cached_property
    def sequence_numbers(self) -> np.ndarray:
        """The number of each slice's sequence (slices of all knees,), from 1."""
        numbers = np.tile(np.arange(1, self.sequences + 1, dtype=np.uint8), len(self))
        return numbers.repeat(self.extents.ravel())

    def slices(self, i: int, sequence: int | None = None) -> np.ndarray:
        """The features (slices, channels) of one knee; of all sequences, or of one by its number.

        A view: what is written to it is written to the cohort.
        """
        start, end = self.offsets[i], self.offsets[i + 1]
        if sequence is not None:
            start = start + self.extents[i, :sequence].sum()
            end = start + self.extents[i, sequence]
        return self.features[start:end]

    def slice_index(self, index: np.ndarray) -> np.ndarray:
        """The places in `features` of all slices of the knees at `index`, one after the other."""
        ranges = [np.arange(self.offsets[i], self.offsets[i + 1]) for i in index]
        return np.concatenate([np.zeros(0, dtype=np.int64), *ranges])

    def take(self, index: np.ndarray) -> "Cohort":
        """Return the knees at `index` alone: nothing of the others is left in it."""
        at = self.slice_index(index)
        augmented = self.augmented
        if augmented is not None:
            augmented = augmented[:, at]
        return replace(
            self,
            knee=_pick(self.knee, index),
            subject=_pick(self.subject, index),
            label=self.label[index],
            features=self.features[at],
            extents=self.extents[index],
            clinical=self.clinical[index],
            rows=_pick(self.rows, index),
            augmented=augmented,
            follow_up=None if self.follow_up is None else self.follow_up.take(index),
        )

    def outcome(self, index: np.ndarray) -> Outcome:
        """Return what a model is fitted to on the knees at `index`."""
        if self.follow_up is None:
            return Classes(self.label[index])
        return Happened.of(self.follow_up.take(index))

    def followed(self) -> FollowUp:
        """Return the follow-up of the knees; a `ValueError` where they are of two classes."""
        if self.follow_up is None:
            raise ValueError("these knees are of two classes, and not followed")
        return self.follow_up

    def with_outcomes_of(self, places: np.ndarray) -> "Cohort":
        """Return the same knees with labels and follow-up of the knees at `places` (knees,)."""
        followed = None if self.follow_up is None else self.follow_up.take(places)
        return replace(self, label=self.label[places], follow_up=followed)

    def without_clinical(self) -> "Cohort":
        """Return the same knees with their images alone."""
        return replace(self, clinical=np.zeros((len(self), 0)), clinical_names=())

    def scored(
        self, index: Iterable[int] | None = None
    ) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
        """Features, clinical variables and extents of knees, as `model.predict` takes them.

        Of the knees at `index`, or of all.
        """
        at = np.arange(len(self)) if index is None else np.asarray(index, dtype=np.int64)
        return [self.slices(i) for i in at], self.clinical[at], self.extents[at]

    def means(self) -> np.ndarray:
        """The mean of each channel over the slices of a sequence, (knees, sequences x channels)."""
        means = np.empty((len(self), self.sequences, self.channels), dtype=self.features.dtype)
        for i in range(len(self)):
            for number in range(self.sequences):
                means[i, number] = self.slices(i, number).mean(axis=0)
        return means.reshape(len(self), -1)

    @functools.cached_property
    def digests(self) -> tuple[str, ...]:
        """SHA-256 of all that training reads of each knee.

        That is patient, label or follow-up, features and their augmented copies, and clinical
        variables.
        """
        return tuple(self._digest(i) for i in range(len(self)))

    def digest(self, index: np.ndarray) -> str:
        """SHA-256 of all that training on the knees at `index` reads."""
        knees = [self.digests[i] for i in index]
        return digest_json([self.clinical_names, self.space, self.joined, knees])

    def _digest(self, i: int) -> str:
        said = [self.knee[i], self.subject[i], int(self.label[i]), self.extents[i].tolist()]
        if self.follow_up is not None:
            said += [float(self.follow_up.start[i]), float(self.follow_up.stop[i])]
        total = hashlib.sha256(json.dumps(said).encode())
        total.update(self.clinical[i].astype(np.float64).tobytes())
        total.update(np.ascontiguousarray(self.slices(i)).data)
        if self.augmented is not None:
            copies = self.augmented[:, self.offsets[i] : self.offsets[i + 1]]
            total.update(np.ascontiguousarray(copies).data)
        return total.hexdigest()


def make_cohort(
    knees: Sequence[str],
    subjects: Sequence[str],
    label: Sequence[int] | np.ndarray,
    features: Sequence[np.ndarray],
    clinical: np.ndarray | None = None,
    clinical_names: Sequence[str] = (),
    *,
    extents: Sequence[Sequence[int]] | None = None,
    augmented: Sequence[np.ndarray] | None = None,
    rows: Sequence[Row] = (),
    joined: Sequence[str] = (),
    space: dict[str, Any] | None = None,
    weights: Weights | None = None,
    cautions: Sequence[Caution] = (),
    steps: tuple[str, ...] | None = None,
    follow_up: FollowUp | None = None,
) -> Cohort:
    """Make a cohort of arrays: `features` holds one (slices, channels) array a knee.

    The names of knees and patients are brought to the form in which they are compared, so that the
    knees of one patient stay together however they were written (see `core.people`).

    `clinical` is (knees, variables), NaN where missing. `extents` holds for each knee the number of
    slices of each of its sequences, `augmented` one (copies, slices, channels) array a knee. All
    else is described at `Cohort`; whatever goes by knee is in the order of `knees`. Raises
    `ValueError` where extents do not add up to the slices of a knee, and a `UsageError` for a knee
    that is there twice, or as `People.take` does.
    """
    named = [{"knee": str(k), "subject": str(s)} for k, s in zip(knees, subjects, strict=True)]
    people = People().by_knee(named, "the cohort")
    knees = list(people)
    subjects = [row["subject"] for row in people.values()]
    order = np.argsort(np.asarray(knees), kind="stable")
    length = np.array([len(features[i]) for i in order])
    counts = length[:, None]
    if extents is not None:
        counts = np.array([extents[i] for i in order])
    if (counts.sum(axis=1) != length).any():
        raise ValueError("extents do not add up to the slices of each knee")
    copies = None
    if augmented is not None:
        of_knees = [np.asarray(augmented[i], dtype=np.float32) for i in order]
        copies = np.concatenate(of_knees, axis=1)
    values = np.zeros((len(knees), 0))
    if clinical is not None:
        values = np.asarray(clinical, dtype=np.float64)
    return Cohort(
        knee=_pick(knees, order),
        subject=_pick(subjects, order),
        label=np.asarray(label)[order].astype(np.int64),
        features=np.concatenate([np.asarray(features[i], dtype=np.float32) for i in order]),
        extents=counts,
        clinical=values[order],
        clinical_names=tuple(clinical_names),
        rows=_pick(rows, order),
        space=space or {},
        weights=weights,
        cautions=tuple(cautions),
        augmented=copies,
        joined=tuple(joined),
        steps=steps,
        follow_up=None if follow_up is None else follow_up.take(order),
    )


def _pick(values: Sequence[T], index: np.ndarray) -> tuple[T, ...]:
    """The values at `index`; none where there are none at all."""
    return tuple(values[i] for i in index) if values else ()
