"""What a correction did to a volume, where nobody knows the true field. NumPy alone.

Tissues are found among samples in the interior of something: those that differ little from all
their neighbours. The middle between the image before and after the correction, which favours
neither, is divided into three classes by its logarithm (k-means along one axis: in fat-suppressed
images the classes are fat and marrow, muscle and cartilage, fluid and vessels). Within a class the
logarithm should vary little; between classes it should differ as before.
"""

from dataclasses import dataclass

import numpy as np

from oatools.n4.arrays import Array, Doubles, Floats, Mask

_CLASSES = 3
_ROUNDS = 30
_FLAT_STEP = 0.12  # in the logarithm, between neighbours 3 mm apart
_FEWEST = 300  # samples in the interior of tissue, for which measures say something
_FIELD_ENDS = (1, 99)  # percentiles
_ONE_DEVIATION = (15.87, 84.13)  # percentiles


@dataclass(frozen=True)
class Measures:
    """The range of a field in tissue, and how tissues vary before and after the correction.

    `field_range` is the ratio of the 99th to the 1st percentile of the field in tissue.
    `variation` is the deviation of the logarithm within tissues (half the distance of the 16th from
    the 84th percentile, over three classes in quadrature), `contrast` the ratio of the brightest
    class to the darkest: before and after. Both are None where too little tissue was found, and the
    range is then that at all samples.
    """

    field_range: float
    variation: tuple[float, float] | None
    contrast: tuple[float, float] | None

    @property
    def is_worse(self) -> bool:
        """True if tissues vary more after the correction than before."""
        return self.variation is not None and self.variation[1] > self.variation[0]


def measure(image: Array, mask: Mask, log_field: Floats) -> Measures:
    """Measure a correction by samples (i, j, k), positive inside the mask, and the field there."""
    logs = np.log(np.where(mask, image, 1), dtype=np.float32)
    middle = logs - np.float32(0.5) * log_field
    tissue = _interior(middle, mask)
    is_enough = np.count_nonzero(tissue) >= _FEWEST
    low, high = np.percentile(log_field[tissue if is_enough else mask], _FIELD_ENDS)
    if not is_enough:
        return Measures(float(np.exp(high - low)), None, None)
    classes = _classes(middle[tissue].astype(np.float64))
    before = logs[tissue]
    spreads = [_spread(values, classes) for values in (before, before - log_field[tissue])]
    (before_within, before_between), (after_within, after_between) = spreads
    return Measures(
        field_range=float(np.exp(high - low)),
        variation=(before_within, after_within),
        contrast=(before_between, after_between),
    )


def _interior(logs: Floats, mask: Mask) -> Mask:
    """The samples that differ little from their neighbours along all axes, which are inside too."""
    found = mask.copy()
    for axis, size in enumerate(logs.shape):
        if size == 1:
            continue
        before = (slice(None),) * axis
        ahead, behind = (*before, slice(1, None)), (*before, slice(None, -1))
        flat = np.abs(np.diff(logs, axis=axis)) < _FLAT_STEP
        found[ahead] &= flat & mask[behind]
        found[behind] &= flat & mask[ahead]
    return found


def _classes(values: Doubles) -> Array:
    """The class of each value, 0 the darkest: k-means, from the middles of three equal parts."""
    centres = np.quantile(values, (np.arange(_CLASSES) + 0.5) / _CLASSES)
    ordered = np.sort(values)
    totals = np.concatenate([[0.0], np.cumsum(ordered)])
    for _ in range(_ROUNDS):
        cuts = np.searchsorted(ordered, (centres[1:] + centres[:-1]) / 2)
        edges = np.concatenate([[0], cuts, [len(ordered)]])
        counts = np.diff(edges)
        new = np.where(counts > 0, np.diff(totals[edges]) / np.maximum(counts, 1), centres)
        if np.array_equal(new, centres):
            break
        centres = new
    return np.searchsorted((centres[1:] + centres[:-1]) / 2, values)


def _spread(logs: Floats, classes: Array) -> tuple[float, float]:
    """The deviation within classes, and the ratio between the outer ones, of logarithms."""
    variances, counts, medians = [], [], []
    for number in range(_CLASSES):
        own = logs[classes == number]
        if own.size == 0:
            continue
        low, middle, high = np.percentile(own, (_ONE_DEVIATION[0], 50, _ONE_DEVIATION[1]))
        variances.append(((high - low) / 2) ** 2)
        counts.append(own.size)
        medians.append(middle)
    within = float(np.sqrt(np.average(variances, weights=counts)))
    return within, float(np.exp(medians[-1] - medians[0]))
