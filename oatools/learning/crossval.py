"""Cross-validation by patient: one model file a fold, beside baselines in the same folds."""

import contextlib
import itertools
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

import numpy as np

from oatools.core.errors import UsageError
from oatools.core.files import digest_json
from oatools.core.manifest import MISSING
from oatools.core.records import as_read
from oatools.core.replacing import Replace
from oatools.learning import workers
from oatools.learning.baseline import baselines
from oatools.learning.cohort import Cohort
from oatools.learning.course import CPU
from oatools.learning.files import is_done, load_model, read_record
from oatools.learning.folds import (
    Split,
    Splitter,
    check_classes,
    check_patients,
    describe,
    split_folds,
    write_folds,
)
from oatools.learning.followup import times_of_cohort
from oatools.learning.model import predict, scores
from oatools.learning.outcome import Outcome
from oatools.learning.predictions import write_predictions
from oatools.learning.results import CrossValidation, OutOfFold
from oatools.learning.settings import DEFAULTS, Settings
from oatools.learning.workers import Task

IMAGES, BOTH = "images", "images+clinical"
#: Below so many patients a cross-validation is repeated unless told otherwise, so many times in
#: all. Repeats tell how much training adds to the error (`intervals.variance_of_mean`), and in
#: large cohorts an interval for the worst case costs less than they do.
FEW_PATIENTS, REPEATS = 1000, 5
_PERMUTATIONS_TRIED = 100


class Listener(Protocol):
    """Whoever is told how a cross-validation goes on, such as a `Console`."""

    def note(self, message: str, /) -> None:
        """Take what everybody should know."""

    def detail(self, message: str, /) -> None:
        """Take what is only for the curious."""


class Silence:
    """A listener that passes everything over."""

    def note(self, message: str, /) -> None:
        """Pass it over."""

    def detail(self, message: str, /) -> None:
        """Pass it over."""


SILENCE = Silence()


@dataclass(frozen=True)
class Plan:
    """The division of knees into folds, and the training of every model.

    `candidates` are the settings to choose from in each fold, mostly one. `compare` puts baselines
    beside the model. `jobs` models are trained at a time, their networks on `device`. Where knees
    are followed, their risks are told `at` so many months, in order.
    """

    candidates: tuple[Settings, ...]
    seed: int
    splitter: Splitter = Splitter()
    endpoint: str | None = None
    compare: bool = True
    jobs: int = 1
    replacing: Replace = Replace.NOTHING
    device: str = CPU
    at: tuple[float, ...] = ()

    @property
    def settings(self) -> Settings:
        """The settings on which all candidates agree: slices, validation, threshold rule."""
        return self.candidates[0]

    def split(self, cohort: Cohort, fold: np.ndarray) -> list[Split]:
        """Return the split of every fold, the same for all that is trained on it."""
        return split_folds(cohort, fold, self.settings.validation, self.seed)


def cross_validate(
    cohort: Cohort,
    folds: int | Splitter = 5,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    out_dir: str | Path | None = None,
    jobs: int = 1,
    repeats: int | None = None,
    device: str = CPU,
    at: Sequence[float] = (),
) -> CrossValidation:
    """Cross-validate a model and its baselines, for use from Python.

    Patients are divided into `folds` by chance, or as a `Splitter` says, and that `repeats` times
    with other seeds; by default as often as `default_repeats` says. The models, and the table
    of folds, go to `out_dir`, where those that were trained alike are kept; without it, they are
    thrown away. Networks are trained on `device`, such as cuda; its models agree with the CPU's
    but for rounding. Where knees are followed, risks are told `at` so many months, by default those
    of `followup.usual_times`, and `survival.crossval.follow_up_metrics` measures them.

        result = cross_validate(cohort, folds=5)
        result.area()
        result.predictions()

    Raises `UsageError` where a fold cannot be trained, or other folds or models are in the way.
    """
    splitter = folds if isinstance(folds, Splitter) else Splitter(folds)
    times = times_of_cohort(cohort.follow_up, at)
    plan = Plan((settings,), seed, splitter, jobs=jobs, device=device, at=times)
    with contextlib.ExitStack() as stack:
        if out_dir is None:
            out_dir = stack.enter_context(tempfile.TemporaryDirectory())
        result = divide_and_validate(cohort, plan, Path(out_dir))
        many = default_repeats(cohort, splitter) if repeats is None else repeats
        return repeat(result, plan, Path(out_dir), many)


def candidates(
    settings: Settings, tune: Sequence[tuple[str, tuple[Any, ...]]]
) -> tuple[Settings, ...]:
    """Return every combination of the values to try, `settings` where nothing is to be tried."""
    names = [name for name, _ in tune]
    if len(set(names)) < len(names):
        raise UsageError(
            "a setting is to be tuned twice",
            "give its values in one `tune`, separated by commas",
        )
    tried = []
    for values in itertools.product(*(values for _, values in tune)):
        changes = dict(zip(names, values, strict=True))
        tried.append(replace(settings, **changes))
    return tuple(tried)


def divide_and_validate(
    cohort: Cohort, plan: Plan, out_dir: Path, listener: Listener = SILENCE
) -> CrossValidation:
    """Divide the knees as planned, and cross-validate.

    `out_dir/folds.tsv` is written before any training, and what is in each fold is told.
    """
    fold = plan.splitter.split(cohort, plan.seed)
    path = out_dir / "folds.tsv"
    are_others = write_folds(path, cohort.knee, cohort.subject, fold, plan.replacing, listener.note)
    kind = "positive" if cohort.follow_up is None else "with the event"
    for line in describe(cohort.subject, cohort.label, fold, kind):
        listener.note(line)
    if are_others:
        remove_models(out_dir)
    return validate(cohort, fold, plan, out_dir, listener)


def default_repeats(cohort: Cohort, splitter: Splitter) -> int:
    """Return how often to cross-validate where nobody says: often where patients are few."""
    if splitter.is_random and len(set(cohort.subject)) < FEW_PATIENTS:
        return REPEATS
    return 1


def repeat(
    first: CrossValidation,
    plan: Plan,
    out_dir: Path,
    repeats: int,
    listener: Listener = SILENCE,
) -> CrossValidation:
    """Return the cross-validation with its repeats, `repeats` in all.

    Each has the next seed, for its folds too, and goes to `out_dir/repeat-N`. Raises `UsageError`
    where folds are not drawn, and so would always be the same.
    """
    if repeats > 1 and not plan.splitter.is_random:
        raise UsageError("folds that are given are the same in every repeat", "give `repeats` of 1")
    again = []
    for number in range(2, repeats + 1):
        folder = out_dir / f"repeat-{number}"
        own = replace(plan, seed=plan.seed + number - 1)
        run = divide_and_validate(first.cohort, own, folder, listener)
        write_predictions(folder, run)
        again.append(run)
    return replace(first, repeats=tuple(again))


def validate(
    cohort: Cohort, fold: np.ndarray, plan: Plan, out_dir: Path, listener: Listener = SILENCE
) -> CrossValidation:
    """Train and score every fold; models go to `out_dir/fold-N.safetensors`, or are kept there.

    `fold` is 1..k a knee, and 0 for a knee that is only trained on. With clinical variables, the
    same model without them is trained beside (`out_dir/images/`). Raises `UsageError` where a
    patient is in two folds (unless the split is leaky), a fold cannot be trained, or a model made
    otherwise is in the way.
    """
    if not plan.splitter.leaky:
        check_patients(cohort.subject, fold)
    if cohort.follow_up is not None and not plan.at:
        plan = replace(plan, at=times_of_cohort(cohort.follow_up, ()))
    # Made once, so that the models and the baselines of a fold see the same knees; and before
    # hours of work, so that a fold that cannot be trained is told now.
    splits = plan.split(cohort, fold)
    series = list(_series(cohort, plan, out_dir))
    tasks = []
    for each in series:
        tasks += each.missing(splits, plan, listener)
    for done, _ in workers.run(cohort, tasks, plan.jobs, out_dir, plan.device):
        listener.detail(f"{tasks[done].name} trained")
    scored = [each.score(splits, plan.at) for each in series]
    models = {each.name: found.results for each, found in zip(series, scored, strict=True)}
    if plan.compare:
        models |= baselines(cohort, splits, plan.settings, plan.seed, plan.at)
    return CrossValidation(
        cohort=cohort,
        fold=fold,
        models={name: found.as_printed() for name, found in models.items()},
        attention=scored[0].attention,
        records=scored[0].records,
        trained=len(tasks),
        kept=len(splits) * len(series) - len(tasks),
        leaky=plan.splitter.leaky,
        left_out=plan.splitter.leave_out or "",
        at=plan.at,
    )


@dataclass(frozen=True)
class _Scored:
    """The results of one model a fold, and the attention and records that came with them."""

    results: OutOfFold
    attention: list[np.ndarray]
    records: list[dict[str, Any]]


@dataclass(frozen=True)
class _Series:
    """One model a fold, in one folder: with the clinical variables of the cohort or without."""

    name: str
    cohort: Cohort
    out_dir: Path
    clinical: bool

    def missing(self, splits: Sequence[Split], plan: Plan, listener: Listener) -> list[Task]:
        """Return what is still to be trained; a `UsageError` where another model is in the way."""
        tasks = []
        for number, split in enumerate(splits, start=1):
            record = model_record(self.cohort, split, plan.candidates, plan.seed, plan.endpoint)
            path = fold_path(self.out_dir, number)
            wanted = wanted_record(record, plan.candidates, plan.seed)
            if is_done(path, record["made_from"], plan.replacing, listener.note, number, wanted):
                continue
            task = Task(
                name=f"fold {number}, {self.name}",
                split=split,
                candidates=plan.candidates,
                seed=plan.seed,
                path=path,
                record={**record, "fold": number},
                clinical=self.clinical,
            )
            tasks.append(task)
        return tasks

    def score(self, splits: Sequence[Split], at: Sequence[float]) -> _Scored:
        """Score the test knees of every fold by its model, and tell risks `at` so many months."""
        results = OutOfFold.empty(len(self.cohort), len(at))
        attention: list[np.ndarray] = [np.empty(0)] * len(self.cohort)
        records = []
        for number, split in enumerate(splits, start=1):
            model = load_model(fold_path(self.out_dir, number))
            knees = self.cohort.scored(split.test)
            if model.hazards is None:
                probability, weights = predict(model, *knees)
                results.probability[split.test] = probability
                results.threshold[split.test] = model.threshold
            else:
                score, weights = scores(model, *knees)
                results.put_risks(split.test, model.hazards.risk(score, at))
            for i, of_knee in zip(split.test, weights, strict=True):
                attention[i] = of_knee
            records.append(model.record)
        return _Scored(results, attention, records)


def _series(cohort: Cohort, plan: Plan, out_dir: Path) -> Iterator[_Series]:
    """The models to train: the one that was asked for first, then that of the images alone."""
    if not cohort.clinical_names:
        yield _Series(IMAGES, cohort, out_dir, clinical=True)
        return
    yield _Series(BOTH, cohort, out_dir, clinical=True)
    if plan.compare:
        yield _Series(IMAGES, cohort.without_clinical(), out_dir / "images", clinical=False)


def null_distribution(
    cohort: Cohort,
    fold: np.ndarray,
    plan: Plan,
    out_dir: Path,
    permutations: int,
    listener: Listener = SILENCE,
) -> np.ndarray:
    """Return the mean area over the folds (permutations,) where outcomes tell nothing.

    It is the ROC AUC, or of follow-up the concordance. `fold` (knees,) is what the plan made of the
    true outcomes. They are permuted between patients who have as many knees, so that knees of a
    patient stay as alike as they were. Where folds are drawn, they are drawn anew for the permuted
    outcomes, in the same way (strata, leaks). Each fold has a split of its own, made in the same
    way as that of the model.
    """
    folds = int(fold.max())
    tasks: list[Task] = []
    outcomes: list[Outcome] = []
    own_folds = []
    for number in range(permutations):
        random = np.random.default_rng([plan.seed, number])
        places, own_fold = _permuted_folds(cohort, fold, plan, random)
        permuted_cohort = cohort.with_outcomes_of(places)
        outcomes.append(permuted_cohort.outcome(np.arange(len(cohort))))
        own_folds.append(own_fold)
        for k, split in enumerate(plan.split(permuted_cohort, own_fold), start=1):
            name = f"permutation {number + 1}, fold {k}"
            tasks.append(Task(name, split, plan.candidates, plan.seed, places=places))
    probability = np.full((permutations, len(cohort)), np.nan)
    trained = workers.run(cohort, tasks, plan.jobs, out_dir, plan.device)
    for ended, (number, result) in enumerate(trained, start=1):
        probability[number // folds, tasks[number].split.test] = result
        if ended % folds == 0:
            listener.detail(f"{ended // folds} of {permutations} permutations")
    areas = map(area_over_folds, outcomes, probability, own_folds)
    return np.array(list(areas))


def area_over_folds(outcome: Outcome, probability: np.ndarray, fold: np.ndarray) -> float:
    """Return the mean of `Outcome.area` over the test folds, 1 and up."""
    numbers = np.unique(fold[fold > 0])
    areas = [outcome.take(fold == n).area(probability[fold == n]) for n in numbers]
    return float(np.mean(areas))


def _permuted_folds(
    cohort: Cohort, fold: np.ndarray, plan: Plan, random: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """Return places of outcomes, permuted, and folds (knees,) of those, each with both classes.

    The model's own folds have both classes, or nothing could be measured; so labels are permuted
    anew until theirs have them too.
    """
    for _ in range(_PERMUTATIONS_TRIED):
        places = permuted(cohort.subject, random)
        found, own = cohort.with_outcomes_of(places), fold
        with contextlib.suppress(UsageError):
            if plan.splitter.is_random:
                own = plan.splitter.split(found, plan.seed)
            check_classes(found.label, own)
            return places, own
    raise UsageError(
        f"in {_PERMUTATIONS_TRIED} permutations of the labels a fold was left with one class",
        "give fewer `folds`",
    )


def permuted(subjects: Sequence[str], random: np.random.Generator) -> np.ndarray:
    """Return for each knee the place of the one that hands its outcome over to it (knees,).

    Those of a patient all go to the same other one, who has as many knees.
    """
    patients, member = np.unique(np.asarray(subjects), return_inverse=True)
    knees = [np.flatnonzero(member == i) for i in range(len(patients))]
    counts = np.array([len(of_patient) for of_patient in knees])
    places = np.arange(len(member))
    for count in np.unique(counts):
        alike = np.flatnonzero(counts == count)
        for to, source in zip(alike, random.permutation(alike), strict=True):
            places[knees[to]] = knees[source]
    return places


def model_record(
    cohort: Cohort,
    split: Split,
    candidates: Sequence[Settings],
    seed: int,
    endpoint: str | None,
) -> dict[str, Any]:
    """Return what a model's record says beyond its training.

    That is the endpoint, and the digests by which the model is known again.
    """
    inputs = cohort.digest(split.train)
    settings = [each.as_dict() for each in candidates]
    sequences = list(cohort.joined)
    if not sequences and cohort.rows:
        found = {cohort.rows[i].get("sequence", MISSING) for i in split.train}
        sequences = sorted(found)
    return {
        "endpoint": endpoint,
        "sequences": sequences,
        "inputs_sha256": inputs,
        "made_from": digest_json([inputs, settings, seed, endpoint]),
    }


def wanted_record(
    record: Mapping[str, Any], candidates: Sequence[Settings], seed: int
) -> dict[str, Any]:
    """Return a `model_record` with the settings and the seed, for `is_done` to compare."""
    settings = as_read([each.as_dict() for each in candidates])
    return {**record, "settings": settings, "seed": seed}


def fold_path(out_dir: Path, number: int) -> Path:
    """Return the path of the model of a fold."""
    return out_dir / f"fold-{number}.safetensors"


def remove_models(out_dir: Path) -> None:
    """Remove the fold models of an earlier run, which may have had more folds, and nothing else."""
    for path in [*out_dir.glob("fold-*.safetensors"), *out_dir.glob("images/fold-*.safetensors")]:
        with contextlib.suppress(UsageError):  # somebody else's
            read_record(path)
            path.unlink()
