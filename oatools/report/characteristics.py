"""The characteristics of a cohort by label, as the first table of a paper has them.

Knees are counted, and patients beside them. Standardised mean differences (Austin, Stat Med 2009;
of categories Yang and Dalton, SAS Global Forum 2012) do not grow with the number of knees, as tests
do.
"""

import contextlib
import math
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row, number
from oatools.oai.clinical import VARIABLES

#: The variables that tables of labels usually have, in the order of papers.
USUAL = (
    "age",
    "sex",
    "race",
    "bmi",
    "height",
    "weight",
    "injury",
    "surgery",
    "kl",
    "jsm",
    "jsw",
    "womac_pain",
    "womac_stiffness",
    "womac_function",
    "womac_total",
    "koos_pain",
    "site",
    "cohort",
)
#: Beyond this skewness, either way, median and quartiles say more than mean and SD.
SKEWED = 1.0
_CATEGORIES = ("sex", "race", "injury", "surgery", "kl", "jsm", "site", "cohort")
_UNITS = {"jsw": "mm"} | {
    each.name: each.unit for each in VARIABLES if each.name not in _CATEGORIES
}
_MOST_LEVELS = 5  # whole numbers up to which a variable that is not known here has categories
_MOST_LINES = 12  # categories of a variable that are shown one by one


def caption(groups: tuple[str, str]) -> str:
    """Return what is to be said below the table, whose groups of knees are called like this."""
    return (
        "By knee; a patient with a knee of each kind counts in both columns. Shares are of the "
        f"knees with a value. SMD: standardised mean difference, {groups[1]} minus {groups[0]} (of "
        "more than two categories their distance). Starred variables are given to the model."
    )


@dataclass(frozen=True)
class Characteristic:
    """One line of the table: all knees, those of label 0, those of label 1.

    `missing` counts the knees of either label without a value, and `difference` is the standardised
    mean difference, label 1 minus label 0, NaN where it has no meaning; None in the lines of single
    categories, whose variable has a line of its own.
    """

    name: str
    cells: tuple[str, str, str]
    difference: float | None = None
    missing: tuple[int, int] | None = None

    def row(self, groups: tuple[str, str] = ("label 0", "label 1")) -> Row:
        """Return the line as cells of the table; `groups` are the heads of its columns."""
        difference, missing = "", ""
        if self.difference is not None:
            undefined = not math.isfinite(self.difference)
            difference = MISSING if undefined else f"{self.difference:.2f}"
        if self.missing is not None:
            missing = f"{self.missing[0]} / {self.missing[1]}"
        every, negative, positive = self.cells
        return {
            "": self.name,
            "all": every,
            groups[0]: negative,
            groups[1]: positive,
            "SMD": difference,
            "missing, 0 / 1": missing,
        }


def characteristics(
    subjects: Sequence[str], label: np.ndarray, rows: Sequence[Row], used: Sequence[str]
) -> list[Characteristic]:
    """Describe knees by label: counts, then the variables `used` by the model and the usual ones.

    `subjects`, `label` and `rows`, those of the labels table, go by knee. Variables that no knee
    has are left out; those in use are marked with a star.
    """
    patients = np.asarray(subjects)
    groups = (np.ones(len(label), dtype=bool), label == 0, label == 1)
    counts = [len(set(patients[at].tolist())) for at in groups]
    lines = [
        Characteristic("knees", _cells(str(int(at.sum())) for at in groups)),
        Characteristic("patients", _cells(map(str, counts))),
    ]
    for name in dict.fromkeys([*(each for each in USUAL if each in rows[0]), *used]):
        values = [row.get(name, MISSING) for row in rows]
        if set(values) != {MISSING}:
            star = " *" if name in used else ""
            lines += _describe(name, star, values, label)
    return lines


def _describe(
    name: str, star: str, values: Sequence[str], label: np.ndarray
) -> Iterator[Characteristic]:
    numbers = _numbers(values)
    if _is_category(name, values, numbers):
        known = np.array([value != MISSING for value in values])
        text = np.array([_plain(value) for value in values])
        yield from _category(name, star, text[known], label[known], _missing(known, label))
    else:
        known = ~np.isnan(numbers)
        yield _quantity(name, star, numbers[known], label[known], _missing(known, label))


def _missing(known: np.ndarray, label: np.ndarray) -> tuple[int, int]:
    """Count the knees of either label without a value."""
    return int((~known & (label == 0)).sum()), int((~known & (label == 1)).sum())


def _quantity(
    name: str, star: str, values: np.ndarray, label: np.ndarray, missing: tuple[int, int]
) -> Characteristic:
    """Return the line of a number: mean and SD, or median and quartiles where it is skewed."""
    groups = (values, values[label == 0], values[label == 1])
    unit = f" ({_UNITS[name]})" if name in _UNITS else ""
    if abs(_skewness(values)) > SKEWED:
        cells, how = _cells(map(_median, groups)), "median [quartiles]"
    else:
        decimals = _decimals(values)
        cells, how = _cells(_mean(group, decimals) for group in groups), "mean ± SD"
    difference = mean_difference(groups[1], groups[2])
    return Characteristic(f"{name}{star}{unit}, {how}", cells, difference, missing)


def _category(
    name: str, star: str, values: np.ndarray, label: np.ndarray, missing: tuple[int, int]
) -> Iterator[Characteristic]:
    """Yield the line of the second of two categories, or one for each of more."""
    levels = sorted(set(values.tolist()))
    groups = (values, values[label == 0], values[label == 1])
    difference = category_difference(groups[1], groups[2])
    if len(levels) <= 2:
        level = levels[-1]
        shown = f"{name}{star}: {level}, n (%)"
        yield Characteristic(shown, _cells(_share(g, level) for g in groups), difference, missing)
        return
    if len(levels) > _MOST_LINES:
        counts = _cells(f"{len(np.unique(group))} categories" for group in groups)
        yield Characteristic(f"{name}{star}", counts, difference, missing)
        return
    yield Characteristic(f"{name}{star}, n (%)", ("", "", ""), difference, missing)
    for level in levels:
        yield Characteristic(f"– {level}", _cells(_share(group, level) for group in groups))


def mean_difference(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return the difference of two means in units of the mean of their variances' root; or NaN."""
    if min(len(negative), len(positive)) < 2:
        return math.nan
    spread = math.sqrt((negative.var(ddof=1) + positive.var(ddof=1)) / 2)
    difference = float(positive.mean() - negative.mean())
    return difference / spread if spread else math.nan


def category_difference(negative: np.ndarray, positive: np.ndarray) -> float:
    """Return the standardised difference of two groups of categories; or NaN.

    Of two categories that of their shares, with the sign of the second one's; of more the
    Mahalanobis distance of all shares but the first.
    """
    if not (len(negative) and len(positive)):
        return math.nan
    levels = sorted({*negative.tolist(), *positive.tolist()})[1:]
    if not levels:
        return math.nan
    shares = [
        np.array([(group == level).mean() for level in levels]) for group in (negative, positive)
    ]
    difference = shares[1] - shares[0]
    covariance = sum(np.diag(share) - np.outer(share, share) for share in shares) / 2
    if np.linalg.matrix_rank(covariance) < len(levels):
        return math.nan
    distance = math.sqrt(difference @ np.linalg.solve(covariance, difference))
    return math.copysign(distance, difference[0]) if len(levels) == 1 else distance


def _numbers(values: Sequence[str]) -> np.ndarray:
    """Return values as numbers (knees,), NaN where they are missing or none."""
    return np.array([_number(value) for value in values])


def _number(value: str) -> float:
    with contextlib.suppress(ItemError):
        found = number({"value": value}, "value")
        return math.nan if found is None else found
    return math.nan


def _is_category(name: str, values: Sequence[str], numbers: np.ndarray) -> bool:
    if name in _UNITS:
        return False
    levels = np.unique(numbers[~np.isnan(numbers)])
    is_text = any(value != MISSING for value in np.array(values)[np.isnan(numbers)])
    few = len(levels) <= _MOST_LEVELS and not np.mod(levels, 1).any()
    return name in _CATEGORIES or is_text or few


def _plain(value: str) -> str:
    """Return a number as short as it may be written, so that `1.0` and `1` are one category."""
    found = _number(value)
    return value if math.isnan(found) else f"{found:g}"


def _skewness(values: np.ndarray) -> float:
    spread = values.std()
    return float((((values - values.mean()) / spread) ** 3).mean()) if spread else 0.0


def _decimals(values: np.ndarray) -> int:
    """Return the decimals that give the SD two digits or, from 10 to 100, three."""
    spread = values.std(ddof=1) if len(values) > 1 else 0.0
    if not spread:
        return 1
    least = 1 if spread < 100 else 0
    return min(max(least, 1 - math.floor(math.log10(spread))), 4)


def _mean(values: np.ndarray, decimals: int) -> str:
    if not len(values):
        return MISSING
    spread = f"{values.std(ddof=1):.{decimals}f}" if len(values) > 1 else MISSING
    mean = round(float(values.mean()), decimals) + 0.0  # no -0.0
    return f"{mean:.{decimals}f} ± {spread}"


def _median(values: np.ndarray) -> str:
    if not len(values):
        return MISSING
    low, middle, high = np.percentile(values, [25, 50, 75])
    return f"{middle:.4g} [{low:.4g}, {high:.4g}]"


def _share(values: np.ndarray, level: str) -> str:
    count = int((values == level).sum())
    return f"{count} ({100 * count / len(values):.1f})" if len(values) else MISSING


def _cells(texts: Iterable[str]) -> tuple[str, str, str]:
    every, negative, positive = texts
    return every, negative, positive
