"""Linear parts of the model: ridge regression on what the slices of a knee have in common or not.

Each part is a logistic regression with an L2 penalty on one view of the features, standardised, and
each chooses its own strength by inner cross-validation. With the view `mean` alone it is what every
model has to be held against. The views:

    mean, max, min, sd   of each channel over the slices
    position             the mean near each of `PARTS` places along the stack, so that a finding
                         which is always in the same place is not diluted by the other slices
    clinical             the clinical variables, imputed and standardised
"""

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import threadpoolctl
import torch
from sklearn.linear_model import LogisticRegression
from torch import nn

from oatools.learning.cohort import Cohort
from oatools.learning.folds import Split

CLINICAL = "clinical"
#: Places along a stack at which the view `position` looks.
PARTS = 8
#: Inverse strengths of the penalty that are tried, from strong to weak. Columns are divided by the
#: root of their number, so that a strength means the same for 10 columns and for 10,000.
STRENGTHS = tuple(10.0 ** (step / 2) for step in range(-6, 7))
# Two steps without a lower loss, and weaker ones are not tried.
_PATIENCE = 2
_TOLERANCE = 1e-4
_LAST_TOLERANCE = 1e-6
_KNEES = 256  # at a time when slices are summarised
_SMALLEST_SD = 1e-12


def summarise(values: torch.Tensor, mask: torch.Tensor, view: str) -> torch.Tensor:
    """Return one view (knees, columns) of `values` (knees, slices, channels).

    `mask` (knees, slices) is boolean, True for slices and False for padding, which comes anywhere.
    The view of a knee without a slice is not defined.
    """
    inside = mask[..., None]
    if view == "max":
        return values.masked_fill(~inside, -torch.inf).amax(dim=1)
    if view == "min":
        return values.masked_fill(~inside, torch.inf).amin(dim=1)
    if view == "position":
        weights = position_weights(mask).to(values.dtype)
        return torch.einsum("ksp,ksc->kpc", weights, values.masked_fill(~inside, 0)).flatten(1)
    weights = mask.to(values.dtype) / mask.sum(dim=1, keepdim=True)
    present = values.masked_fill(~inside, 0)
    mean = torch.einsum("ks,ksc->kc", weights, present)
    if view == "mean":
        return mean
    if view == "sd":
        apart = (present - mean[:, None]).masked_fill(~inside, 0)
        variance = torch.einsum("ks,ksc->kc", weights, apart.square())
        # A root has no gradient at 0, where all slices are alike.
        return (variance + 1e-8).sqrt()
    raise ValueError(f"there is no view '{view}'")


def position_weights(mask: torch.Tensor) -> torch.Tensor:
    """Return weights (knees, slices, places) of the slices near each place, which sum to 1.

    Slices lie at (i + 1/2) / n of the way, and places at (j + 1/2) / `PARTS`. A weight falls
    linearly to 0 within the distance of two places, or of two slices where these lie further apart.
    """
    count = mask.sum(dim=1, keepdim=True).double()
    number = mask.long().cumsum(dim=1) - 1
    along = (number + 0.5) / count
    places = (torch.arange(PARTS, device=mask.device, dtype=torch.float64) + 0.5) / PARTS
    reach = torch.clamp(1 / count, min=1 / PARTS)
    weights = (1 - (along[..., None] - places).abs() / reach[..., None]).clamp_min(0)
    weights = weights.masked_fill(~mask[..., None], 0)
    return weights / weights.sum(dim=1, keepdim=True)


class LinearPart(nn.Module):
    """A fitted linear part: log odds that are linear in one view of the slices.

    With several sequences, their views stand side by side.
    """

    mean: torch.Tensor
    scale: torch.Tensor
    weight: torch.Tensor
    bias: torch.Tensor

    def __init__(self, view: str, columns: int) -> None:
        super().__init__()
        self.view = view
        for name in ("mean", "scale", "weight"):
            self.register_buffer(name, torch.zeros(columns))
        self.register_buffer("bias", torch.zeros(1))

    def forward(
        self, features: torch.Tensor, mask: torch.Tensor, clinical: torch.Tensor
    ) -> torch.Tensor:
        """Return log odds (knees,); see `KneeModel.forward` for what comes in."""
        columns = clinical if self.view == CLINICAL else views(features, mask, self.view)
        return self.of_columns(columns)

    def of_columns(self, columns: torch.Tensor) -> torch.Tensor:
        """Return log odds (knees,) of the view itself (knees, columns)."""
        return ((columns - self.mean) * self.scale) @ self.weight + self.bias

    def log_odds(self, columns: np.ndarray) -> np.ndarray:
        """Return log odds (knees,) of the view itself (knees, columns), float32."""
        with torch.inference_mode():
            found = self.of_columns(torch.from_numpy(columns.astype(np.float32)))
        return found.double().numpy()


def columns_of(view: str, channels: int, clinical: int, sequences: int) -> int:
    """Return the number of columns that a view has."""
    if view == CLINICAL:
        return clinical
    return channels * sequences * (PARTS if view == "position" else 1)


def views(features: torch.Tensor, mask: torch.Tensor, view: str) -> torch.Tensor:
    """Return a view (knees, columns) of slices, the sequences side by side.

    `features` (knees, slices, channels) are raw, and `mask` (knees, slices) holds the number of
    each slice's sequence, 0 on padding; or is boolean.
    """
    if mask.dtype == torch.bool:
        return summarise(features, mask, view)
    last = int(mask.max())
    return torch.cat([summarise(features, mask == n, view) for n in range(1, last + 1)], dim=1)


@dataclass(frozen=True)
class Fitted:
    """A part that was fitted on the training knees, and what it said of each when it was left out.

    `held_out` (training knees,) are log odds by the fit that had not seen the knee's inner fold,
    `strength` is the inverse strength that gave the lowest mean log loss of these.
    """

    part: LinearPart
    held_out: np.ndarray
    strength: float


def fit_linear(
    cohort: Cohort, split: Split, names: Iterable[str], clinical: np.ndarray
) -> dict[str, Fitted]:
    """Fit the linear parts `names` on the training knees of a split, by name.

    `clinical` (training knees, variables) is standardised; with variables in it, they are a part
    too, the last.
    """
    label = cohort.label[split.train]
    wanted = [*names, *([CLINICAL] if clinical.shape[1] else [])]
    found = {}
    for name in wanted:
        columns = clinical if name == CLINICAL else _columns(cohort, split.train, name)
        found[name] = fit_view(name, columns, label, split.part)
    return found


def _columns(cohort: Cohort, index: np.ndarray, view: str) -> np.ndarray:
    """Return a view (knees, columns) of the slices of the knees at `index`, float32."""
    out = []
    for chunk in np.array_split(index, -(-len(index) // _KNEES)):
        longest = int(cohort.length[chunk].max())
        values = torch.zeros(len(chunk), longest, cohort.channels)
        mask = torch.zeros(len(chunk), longest, dtype=torch.uint8)
        for row, i in enumerate(chunk):
            length = int(cohort.length[i])
            values[row, :length] = torch.from_numpy(cohort.slices(i))
            numbers = cohort.sequence_numbers[cohort.offsets[i] : cohort.offsets[i + 1]]
            mask[row, :length] = torch.from_numpy(numbers)
        out.append(views(values, mask, view).numpy())
    return np.concatenate(out)


def fit_view(view: str, columns: np.ndarray, label: np.ndarray, part: np.ndarray) -> Fitted:
    """Fit a linear part on its view (knees, columns) of knees with a `label` (knees,).

    `part` (knees,) numbers the inner folds that choose its strength.
    """
    mean, sd = columns.mean(axis=0, dtype=np.float64), columns.std(axis=0, dtype=np.float64)
    scale = np.where(sd > _SMALLEST_SD, 1 / np.maximum(sd, _SMALLEST_SD), 0) / len(mean) ** 0.5
    scaled = ((columns - mean) * scale).astype(np.float32)
    with threadpoolctl.threadpool_limits(1):  # sums in another order give other bytes
        strength, held_out, _ = choose_strength(scaled, label, part)
        model = _regression(strength).set_params(tol=_LAST_TOLERANCE, max_iter=1000)
        _quietly(model, scaled, label)
    fitted = LinearPart(view, len(mean))
    values = {"mean": mean, "scale": scale, "weight": model.coef_[0]}
    for name, value in values.items():
        getattr(fitted, name).copy_(torch.from_numpy(value.astype(np.float32)))
    fitted.bias.fill_(float(model.intercept_[0]))
    return Fitted(fitted, held_out, strength)


def choose_strength(
    columns: np.ndarray,
    label: np.ndarray,
    part: np.ndarray,
    strengths: Sequence[float] = STRENGTHS,
) -> tuple[float, np.ndarray, float]:
    """Return the best of `strengths`, the held-out log odds (knees,) it gives, and their loss.

    `columns` (knees, columns) are scaled, and `part` (knees,) numbers the inner folds from 1. Each
    fold's knees are scored by a fit on all others, and the mean log loss decides.
    """
    folds = []
    for number in np.unique(part):
        folds.append((part != number, part == number, _regression(strengths[0])))
    best = (strengths[0], np.zeros(len(label)), np.inf)
    worse = 0
    for strength in strengths:
        held_out = np.zeros(len(label))
        for others, held, model in folds:
            model.set_params(C=strength)
            _quietly(model, columns[others], label[others])
            held_out[held] = model.decision_function(columns[held])
        loss = log_loss(label, held_out)
        if loss < best[2]:
            best, worse = (strength, held_out, loss), 0
        else:
            worse += 1
            if worse == _PATIENCE:
                break
    return best


def log_loss(label: np.ndarray, log_odds: np.ndarray) -> float:
    """Return the mean log loss (nats) of log odds (knees,)."""
    return float(np.logaddexp(0, np.where(label == 1, -log_odds, log_odds)).mean())


def _regression(strength: float) -> LogisticRegression:
    return LogisticRegression(C=strength, max_iter=200, tol=_TOLERANCE, warm_start=True)


def _quietly(model: LogisticRegression, columns: np.ndarray, label: np.ndarray) -> None:
    with warnings.catch_warnings():  # not quite at its end, it is as good a regression
        warnings.simplefilter("ignore")
        model.fit(columns, label)
