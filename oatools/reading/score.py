"""Score a reading study: how often a reader, or a model, picks the progressor of a pair.

The share of pairs that are right is the area under the ROC curve of the paired design (the
probability that a progressor is ranked above a non-progressor); a tie counts one half. Pairs
without an answer are not in the share.

The result is a table of readers, not of knees: its first column is `reader`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import MISSING, Row, number
from oatools.reading import draw as drawn
from oatools.reading import groups as grouping
from oatools.reading.draw import PLACES

RESULT_COLUMNS = [
    "reader",
    "stratum",
    "pairs",
    "groups",
    "right",
    "ties",
    "rank_auc",
    "ci_low",
    "ci_high",
    "n_unanswered",
    "seconds",
    "confidence",
    "confidence_auc",
]
#: What stands for several readers together.
MEAN = "mean of readers"
#: What stands for all readers where one statistic is of all together.
ALL = "all readers"

#: Pair -> its progressor's row in the key.
Key = dict[str, Row]
#: Pair -> 1 right, 0 wrong, 0.5 a tie; unanswered pairs are absent.
Scores = dict[str, float]
#: Pair -> the number of its group: pairs of one group share patients.
Groups = Mapping[str, int]
#: The 95 % interval of a share, from the scores of some pairs and their groups.
Bounds = Callable[[np.ndarray, Sequence[int]], tuple[float, float]]


@dataclass
class Graded:
    """Reader -> scores, and what could not be graded (reader and pair, what is wrong).

    `seconds` and `confidence` are those that were given, by reader and pair; `studies` the pages
    read.
    """

    scores: dict[str, Scores] = field(default_factory=lambda: defaultdict(dict))
    seconds: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    confidence: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    studies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    errors: list[tuple[str, str]] = field(default_factory=list)


def read_key(rows: Iterable[Row]) -> Key:
    """The key as `oa-pairs draw` wrote it; a `UsageError` for a pair that is there twice or a place not A or B."""
    key: Key = {}
    for row in rows:
        if row["pair"] in key:
            raise UsageError(f"the key has pair {row['pair']} twice")
        if row["place"] not in PLACES:
            raise UsageError(
                f"the key has place '{row['place']}' for pair {row['pair']}; A or B was expected"
            )
        key[row["pair"]] = row
    if not key:
        raise UsageError("the key holds no pair")
    return key


def read_pairs(rows: Iterable[Row], key: Key) -> dict[str, dict[str, Row]]:
    """Pair -> place -> the knee's row, of the pairs that were shown: those of the key, or some of them.

    Raises a `UsageError` where the pairs are not those of the key.
    """
    pairs = {}
    for name, knees in drawn.read_pairs(rows).items():
        known = find_pair(name, key)
        if known is None:
            raise UsageError(
                f"pair {name} is not in the key; give the pairs and the key of one draw"
            )
        if (
            not _of_one_draw(knees["A"], key)
            or knees[key[known]["place"]]["knee"] != key[known]["knee"]
        ):
            raise UsageError(f"pair {name}: the pairs do not fit the key; give those of one draw")
        pairs[known] = knees
    return pairs


def find_pair(name: str, key: Key) -> str | None:
    """The pair of the key that an answer means; spreadsheets make 1 of 001."""
    if name in key:
        return name
    if not (name.isascii() and name.isdigit()):
        return None
    alike = [pair for pair in key if pair.isascii() and pair.isdigit() and int(pair) == int(name)]
    return alike[0] if len(alike) == 1 else None


def grade_answers(
    rows: Iterable[Row], key: Key, reader: str, graded: Graded, pairs: Mapping | None = None
) -> None:
    """Grade answers (pair, choice, and optional columns) into `graded`; `reader` names those without a reader.

    A choice is A or B, in either case, or `n/a`: unanswered, which leaves an answer elsewhere as it
    is. A knee that is named must be the one chosen. An unknown pair, an unusable choice and another
    choice than before are errors, and leave the pair as it was; an unusable time or confidence is
    one, too, and leaves the answer. Answers to another draw than the key's are a `UsageError`.
    """
    for row in rows:
        name = reader if row.get("reader", MISSING) == MISSING else row["reader"].strip()
        if name in (MEAN, ALL):
            raise UsageError(
                f"a reader is called '{name}', which stands for several together; call it otherwise"
            )
        if not _of_one_draw(row, key):
            raise UsageError(
                f"{name} answered another draw ({row['draw']}) than that of the key; give its own key"
            )
        scores = graded.scores[name]
        try:
            pair = find_pair(row["pair"].strip(), key)
            if pair is None:
                raise ItemError(
                    "no such pair in the key, or among those of --pairs; check the column 'pair'"
                )
            score = _grade(row, pair, key, pairs)
            if score is not None and scores.get(pair, score) != score:
                raise ItemError("a second answer, which differs; the first one counts")
        except ItemError as error:
            graded.errors.append((f"{name}, pair {row['pair']}", str(error)))
            continue
        graded.studies[name].update({row.get("study", MISSING)} - {MISSING})
        if score is None:
            continue
        scores[pair] = score
        for column, kept in (("seconds", graded.seconds), ("confidence", graded.confidence)):
            try:
                value = number(row, column)
                if column == "confidence" and value is not None and not 1 <= value <= 5:
                    raise ItemError(
                        f"confidence '{row[column]}' is not from 1 to 5; correct it or write n/a"
                    )
            except ItemError as error:
                graded.errors.append(
                    (f"{name}, pair {row['pair']}", f"{error} (the choice counts)")
                )
                continue
            if value is not None:
                kept[name][pair] = value


def grade_model(
    predictions: Iterable[Row], key: Key, pairs: Mapping[str, Mapping[str, Row]]
) -> Scores:
    """Grade a model's choices: the knee with the higher `probability`; a pair without both of them is unanswered."""
    probability: dict[str, float | None] = {}
    for row in predictions:
        if row["knee"] in probability:
            raise UsageError(
                f"{row['knee']} is in the predictions twice; keep one row a knee, or their mean"
            )
        try:
            probability[row["knee"]] = number(row, "probability")
        except ItemError as error:
            raise UsageError(f"{row['knee']}: {error}") from None
    scores: Scores = {}
    for name, knees in pairs.items():
        right = probability.get(knees[key[name]["place"]]["knee"])
        wrong = probability.get(knees["B" if key[name]["place"] == "A" else "A"]["knee"])
        if right is not None and wrong is not None:
            scores[name] = 0.5 if right == wrong else float(right > wrong)
    return scores


def summarise(reader: str, graded: Graded, key: Key, groups: Groups, bounds: Bounds) -> list[Row]:
    """Result rows of one reader: all pairs (`all`), then each stratum of the key in ascending order of JSN.

    The column `groups` is how many of the groups those answered make, and `bounds` gives the
    interval. `seconds` is the median time of the answered pairs, `confidence` its mean, and
    `confidence_auc` the chance that a right answer was given with more confidence than a wrong one
    (equal confidence counts one half): 0.5 where confidence says nothing.
    """
    return [
        _summary(reader, stratum, names, graded, groups, bounds)
        for stratum, names in _strata(key).items()
    ]


def summarise_mean(readers: Sequence[str], graded: Graded, key: Key, groups: Groups) -> list[Row]:
    """Result rows of the readers' mean, as in `summarise`: the mean of their shares, each over the pairs it answered.

    The interval is Student's t with the cluster-robust error over groups; the readers are fixed, so
    it speaks of these readers alone. A pair is unanswered here if any of them left it so.
    """
    rows = []
    for stratum, names in _strata(key).items():
        given = np.array(
            [[graded.scores[reader].get(name, np.nan) for reader in readers] for name in names]
        )
        answered = np.isfinite(given)
        row = dict.fromkeys(RESULT_COLUMNS, MISSING) | {
            "reader": MEAN,
            "stratum": stratum,
            "pairs": str(len(names)),
        }
        row["n_unanswered"] = str(int((~answered).any(axis=1).sum()))
        if answered.any(axis=0).all():
            shares = np.nanmean(given, axis=0)
            # Of the mean of ratios, to the first order.
            influence = (np.where(answered, given - shares, 0) / answered.sum(axis=0)).mean(axis=1)
            own = [groups[name] for name in names]
            low, high = grouping.t_bounds(float(shares.mean()), influence, own, 0, 1)
            row |= {
                "groups": str(len(set(own))),
                "rank_auc": text(shares.mean()),
                "ci_low": text(low),
                "ci_high": text(high),
            }
        rows.append(row)
    return rows


def exact_bounds(given: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
    """The exact interval of the share right; it takes pairs for independent."""
    return interval(float(given.sum()), len(given))


def bounds_by(method: str, draws: int, seed: int) -> Bounds:
    """How to make intervals of shares: `exact` on pairs, or over groups `clustered` or by `bootstrap`."""
    if method == "bootstrap":
        return lambda given, groups: grouping.bootstrap_bounds(given, groups, draws, seed)
    return {"exact": exact_bounds, "clustered": grouping.share_bounds}[method]


def interval(right: float, answered: int) -> tuple[float, float]:
    """The exact 95 % (Clopper-Pearson) interval of a share, NaN without answers.

    Half successes (an odd number of ties) are no binomial count: the lower bound is that of the
    count rounded down, the upper bound that of the count rounded up, so that the interval is never
    too short.
    """
    from scipy.stats import binomtest

    if not answered:
        return math.nan, math.nan
    low = binomtest(math.floor(right), answered).proportion_ci(0.95, method="exact").low
    high = binomtest(math.ceil(right), answered).proportion_ci(0.95, method="exact").high
    return float(low), float(high)


def _of_one_draw(row: Row, key: Key) -> bool:
    """Whether a row belongs to the key's draw, as far as both say which that is."""
    known = next(iter(key.values())).get("draw", MISSING)
    return MISSING in (known, row.get("draw", MISSING)) or row["draw"] == known


def _grade(row: Row, pair: str, key: Key, pairs: Mapping | None) -> float | None:
    choice, answer = row["choice"].strip().upper(), key[pair]
    if choice == MISSING.upper():
        return None
    if choice not in PLACES:
        raise ItemError(f"choice '{row['choice']}' is not A, B or n/a; correct it")
    knee = row.get("knee", MISSING)
    if knee != MISSING:
        fits = (
            knee == pairs[pair][choice]["knee"]
            if pairs
            else (knee == answer["knee"]) == (choice == answer["place"])
        )
        if not fits:
            raise ItemError(
                f"knee {knee} does not stand at {choice}; correct the knee or the choice"
            )
    return float(choice == answer["place"])


def _strata(key: Key) -> dict[str, list[str]]:
    """All pairs, and those of each stratum, in ascending order of JSN."""
    strata: dict[str, list[str]] = defaultdict(list)
    for name, row in key.items():
        strata[row.get("stratum", MISSING)].append(name)
    strata.pop(MISSING, None)
    return {"all": list(key)} | {
        stratum: strata[stratum] for stratum in sorted(strata, key=_lower_bound)
    }


def _summary(
    reader: str, stratum: str, names: Sequence[str], graded: Graded, groups: Groups, bounds: Bounds
) -> Row:
    scores = graded.scores[reader]
    answered = [name for name in names if name in scores]
    given = [scores[name] for name in answered]
    own = [groups[name] for name in answered]
    low, high = bounds(np.array(given), own) if given else (math.nan, math.nan)
    seconds, confidence = (
        [kept[reader][n] for n in answered if n in kept.get(reader, {})]
        for kept in (graded.seconds, graded.confidence)
    )
    share = sum(given) / len(given) if given else math.nan
    return {
        "reader": reader,
        "stratum": stratum,
        "pairs": str(len(names)),
        "groups": str(len(set(own))),
        "right": str(given.count(1.0)),
        "ties": str(given.count(0.5)),
        "rank_auc": text(share),
        "ci_low": text(low),
        "ci_high": text(high),
        "n_unanswered": str(len(names) - len(given)),
        "seconds": f"{np.median(seconds):.1f}" if seconds else MISSING,
        "confidence": f"{np.mean(confidence):.2f}" if confidence else MISSING,
        "confidence_auc": text(
            _confidence_auc(scores, graded.confidence.get(reader, {}), answered)
        ),
    }


def _confidence_auc(scores: Scores, confidence: Mapping[str, float], names: Sequence[str]) -> float:
    sure = {
        right: np.array([confidence[n] for n in names if n in confidence and scores[n] == right])
        for right in (0, 1)
    }
    if not (len(sure[0]) and len(sure[1])):
        return math.nan
    more = np.sign(sure[1][:, None] - sure[0][None])
    return float((more.mean() + 1) / 2)


def _lower_bound(stratum: str) -> tuple[float, str]:
    try:
        return float(stratum.partition(":")[0] or "-inf"), stratum
    except ValueError:
        return math.inf, stratum


def text(value: float) -> str:
    """A number as tables have it, with digits enough to be rounded again."""
    return MISSING if math.isnan(value) else f"{value:.6f}"
