"""Training of one model, and all that is chosen for it, from the knees that it is given."""

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from scipy.special import expit

from oatools.core.errors import UsageError
from oatools.learning.batches import scale_features, to_tensors
from oatools.learning.cohort import Cohort
from oatools.learning.course import CPU, Course, Progress, Training, log_odds, run_together
from oatools.learning.folds import Split, split_training
from oatools.learning.hazard import Hazards, fit_hazards
from oatools.learning.linear import Fitted, fit_linear
from oatools.learning.metrics import choose_threshold
from oatools.learning.mixture import Mixture, mix, mix_given
from oatools.learning.model import (
    NETWORK,
    FittedModel,
    KneeModel,
    Networks,
    join,
    predict,
    scores,
)
from oatools.learning.outcome import Happened, Outcome
from oatools.learning.scaling import ClinicalScaling, fit_clinical
from oatools.learning.settings import DEFAULTS, Settings


def fit(
    cohort: Cohort,
    settings: Settings = DEFAULTS,
    seed: int = 0,
    split: Split | None = None,
    start: Progress | None = None,
    keep: Callable[[Progress], None] | None = None,
) -> FittedModel:
    """Train a model on a cohort; the same bytes for the same knees, settings and seed.

    The training patients are divided into inner folds (`settings.validation`), and each is set
    aside in turn: the linear parts weigh their strengths on what is set aside, a network learns
    from all others, and the epoch, the weights of the parts, the calibration and the threshold are
    chosen on the log odds of knees that were set aside. With `settings.inner` "single", one inner
    fold alone is set aside, scaling, imputation and class weights come from the others, and there
    is one network. Trains on all knees, or on those of a `split` and on nothing else. `keep` is
    handed the progress of every epoch, and `start` goes on from one. It computes on the CPU.

        model = fit(load_cohort("features.tsv", "labels.tsv"))

    Raises `UsageError` for too few patients, or where the loss is no longer a finite number; and a
    `RecordError` for a `start` that is not of this training.
    """
    if split is None:
        split = split_training(cohort, settings.validation, seed)
    with one_thread():
        fitting = Fitting.begin(cohort, settings, seed, split)
        if fitting.training is not None:
            Course([fitting.training], torch.device(CPU)).run(start, keep)
        return fitting.finish()


@dataclass
class Fitting:
    """A model on its way: its linear parts are fitted, and its networks are to be trained next.

    `outcome` is that of the training knees, `linear` are the linear parts by name, and `training`
    is that of the networks; None where there are none. `finish` joins them once `training` has run.
    """

    cohort: Cohort
    settings: Settings
    seed: int
    split: Split
    outcome: Outcome
    scaling: ClinicalScaling
    linear: dict[str, Fitted]
    training: Training | None

    @classmethod
    def begin(
        cls,
        cohort: Cohort,
        settings: Settings,
        seed: int,
        split: Split,
        linear: dict[str, Fitted] | None = None,
    ) -> "Fitting":
        """Fit the linear parts, unless they are given, and draw the networks by the seed."""
        outcome = cohort.outcome(split.train)
        _check_loss(outcome, settings)
        is_single = settings.inner == "single"
        used = split.fit if is_single else split.train
        scaling = fit_clinical(cohort.clinical[used], cohort.clinical_names)
        if linear is None:
            linear = linear_parts(cohort, settings, split)
        training = None
        if settings.network:
            parts = [1] if is_single else list(range(1, split.parts + 1))
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(seed)
                training = _prepare(cohort, outcome, settings, seed, split, parts, scaling)
            training.others = {name: each.held_out for name, each in linear.items()}
        return cls(cohort, settings, seed, split, outcome, scaling, linear, training)

    def finish(self) -> FittedModel:
        """Return the model of the linear parts and the networks, which have been trained."""
        return self._single() if self.settings.inner == "single" else self._rotating()

    def _single(self) -> FittedModel:
        """Choose the threshold of one network on the inner fold that chose its epoch."""
        training, cohort = self._trained(), self.cohort
        validate, weights = self.split.validate, training.weights[0]
        training.networks.offset.copy_(-torch.log(weights))
        module = KneeModel(cohort.channels, cohort.sequences, [], training.networks).eval()
        model = FittedModel(module, self.settings, self.scaling, threshold=0.5)
        score, _ = scores(model, *cohort.scored(validate))
        probability, _ = predict(model, *cohort.scored(validate))
        held, loss = self.outcome.take(self.split.part == 1), min(training.history)
        chosen = _Chosen(held, score, probability, loss, "on the validation knees")
        record = _training_record(self.settings, self.seed, training.history)
        record |= {"class_weights": weights.tolist()}
        record |= _data_record(cohort, self.split.fit, validate)
        return _judged(replace(model, record=record), chosen)

    def _rotating(self) -> FittedModel:
        """Weigh all parts by what they said of the inner fold that each had not seen."""
        cohort, train = self.cohort, self.split.train
        label, outcome = cohort.label[train], self.outcome
        held_out = {name: each.held_out for name, each in self.linear.items()}
        history: list[float] = []
        networks: Networks | None = None
        if self.training is not None:
            training = self._trained()
            history, networks = training.history, training.networks
            held_out[NETWORK] = log_odds(training.held_logits())
        linear = [each.part for each in self.linear.values()]
        everything = KneeModel(cohort.channels, cohort.sequences, linear, networks)
        mixture, outcome = mix_given(outcome, held_out, NETWORK)
        module = join(everything, mixture).eval()
        odds = mixture.log_odds(held_out)
        chosen = _Chosen(
            outcome,
            odds,
            expit(odds),
            outcome.loss(odds),
            "on the training knees, each scored by parts that had not seen its patient",
        )
        record = _training_record(self.settings, self.seed, history)
        record |= {
            "class_weights": _loss_weights(label, self.settings).tolist(),
            "parts": _parts_record(outcome, self.linear, held_out, mixture),
            "linear_roc_auc": _linear_area(outcome, held_out),
        }
        record |= _data_record(cohort, train, train)
        model = FittedModel(module, self.settings, self.scaling, 0.5, record)
        return _judged(model, chosen)

    def _trained(self) -> Training:
        """The training, whose tensors of all knees nobody needs any more after this."""
        training, self.training = self.training, None
        if training is None:
            raise ValueError("a fitting is finished once, and a single one has networks")
        return training


def train_networks(fittings: Sequence[Fitting], device: torch.device) -> None:
    """Train the networks of several models on a device, those of one shape together."""
    run_together([each.training for each in fittings if each.training is not None], device)


def linear_parts(cohort: Cohort, settings: Settings, split: Split) -> dict[str, Fitted]:
    """Return the linear parts by name, fitted on the training knees of a split."""
    if not settings.linear:
        return {}
    clinical = cohort.clinical[split.train]
    scaled = fit_clinical(clinical, cohort.clinical_names).apply(clinical)
    return fit_linear(cohort, cohort.outcome(split.train), split, settings.linear, scaled)


@dataclass(frozen=True)
class _Chosen:
    """What is chosen on: the outcome of knees, and scores of fits that had not seen them."""

    outcome: Outcome
    score: np.ndarray
    probability: np.ndarray
    loss: float
    where: str


def _judged(model: FittedModel, chosen: _Chosen) -> FittedModel:
    """Choose the threshold of a model, or the hazards of a score of 0, and record on what."""
    record = model.record | {
        "validation_loss": chosen.loss,
        "validation_roc_auc": chosen.outcome.area(chosen.score),
    }
    if isinstance(chosen.outcome, Happened):
        hazards = _calibrated(chosen.outcome, chosen.score, model.settings)
        record |= {"threshold_rule": f"none: hazards are fitted {chosen.where}"}
        return replace(model, hazards=hazards, record=record)
    rule = model.settings.threshold_rule
    threshold = choose_threshold(chosen.outcome.label, chosen.probability, rule)
    record |= {"threshold": threshold, "threshold_rule": f"{rule} {chosen.where}"}
    return replace(model, threshold=threshold, record=record)


def _calibrated(outcome: Happened, score: np.ndarray, settings: Settings) -> Hazards:
    """Return the hazards of knees whose score is 0, by knees that the scores had not seen.

    One for each piece of time where all training knees were set aside in turn; where few were, the
    pieces stay in proportion.
    """
    if settings.inner == "rotate":
        return outcome.given(score).hazards
    whole = fit_hazards(outcome.follow_up, outcome.hazards.ends[-1:], score)
    as_one = fit_hazards(outcome.follow_up, outcome.hazards.ends[-1:])
    return outcome.hazards.times(float(whole.rates[0] / as_one.rates[0]))


def _check_loss(outcome: Outcome, settings: Settings) -> None:
    """Raise a `UsageError` for settings of a loss of classes where knees are followed."""
    if not isinstance(outcome, Happened):
        return
    for name in ("focal", "smoothing"):
        if getattr(settings, name):
            raise UsageError(
                f"`{name}` changes the loss of two classes, and these knees are followed",
                "leave it out",
            )


def _prepare(
    cohort: Cohort,
    outcome: Outcome,
    settings: Settings,
    seed: int,
    split: Split,
    parts: Sequence[int],
    scaling: ClinicalScaling,
) -> Training:
    """Return the training of a network for each of the inner folds `parts`, which it leaves out."""
    used = split.train if len(parts) > 1 else split.fit
    networks = Networks(len(parts), cohort.channels, len(scaling.names), settings, cohort.sequences)
    scale_features(networks, cohort, used)
    weights = []
    for part in parts:
        weights.append(_loss_weights(cohort.label[split.train[split.part != part]], settings))
    return Training(
        networks=networks,
        knees=to_tensors(cohort, split.train, scaling, networks, settings.precision, outcome),
        outcome=outcome,
        fits=torch.from_numpy(np.stack([split.part != part for part in parts])),
        weights=torch.stack(weights),
        settings=settings,
        seed=seed,
    )


def _training_record(settings: Settings, seed: int, history: Sequence[float]) -> dict[str, Any]:
    """Return what a model records of its training; epochs are 0 where no network was trained."""
    return {
        "settings": settings.as_dict(),
        "seed": seed,
        "epochs": len(history),
        "best_epoch": int(np.argmin(history)) + 1 if history else 0,
    }


def _linear_area(outcome: Outcome, held_out: Mapping[str, np.ndarray]) -> float | None:
    """The area that the linear parts reach by themselves on held-out knees, if there are any."""
    linear = {name: odds for name, odds in held_out.items() if name != NETWORK}
    if not linear:
        return None
    return outcome.area(mix(outcome, linear).log_odds(linear))


def _parts_record(
    outcome: Outcome,
    linear: Mapping[str, Fitted],
    held_out: Mapping[str, np.ndarray],
    mixture: Mixture,
) -> list[dict[str, Any]]:
    """Return what a model records of each part: its weight, and how good it is by itself.

    `roc_auc` is the area of the part's held-out log odds (see `Outcome.area`).
    """
    records = []
    for name, odds in held_out.items():
        record: dict[str, Any] = {
            "name": name,
            "weight": mixture.weights.get(name, 0.0),
            "roc_auc": outcome.area(odds),
        }
        if name in linear:
            record |= {"strength": linear[name].strength, "power": linear[name].power}
        records.append(record)
    return records


def _data_record(cohort: Cohort, fitted: np.ndarray, validated: np.ndarray) -> dict[str, Any]:
    """Return what a model records of the knees that it was trained on, and of their features."""
    return {
        "channels": cohort.channels,
        "feature_space": cohort.space,
        "weights": None if cohort.weights is None else cohort.weights.to_json(),
        "joined": list(cohort.joined),
        "volume_steps": None if cohort.steps is None else list(cohort.steps),
        "cautions": [caution.value for caution in cohort.cautions],
        "training_knees": [cohort.knee[i] for i in fitted],
        "validation_knees": [cohort.knee[i] for i in validated],
    }


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """Compute on one thread: sums in another order give other bytes."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def _loss_weights(label: np.ndarray, settings: Settings) -> torch.Tensor:
    """The weights (2,) of the classes in the loss."""
    return class_weights(label) if settings.balanced else torch.ones(2)


def class_weights(label: np.ndarray) -> torch.Tensor:
    """Return weights (2,) by inverse frequency.

    Both classes weigh the same, and a knee weighs 1 on average.
    """
    counts = np.bincount(label, minlength=2)
    return torch.tensor(len(label) / (2 * counts), dtype=torch.float32)
