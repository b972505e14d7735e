"""Scoring a reading study: how often a reader, or a model, picks the progressor of a pair.

The share of pairs that are right is the area under the ROC curve of the paired design (the
probability that a progressor is ranked above a non-progressor); a tie counts one half. Pairs
without an answer are not in the share.

The result is a table of readers, not of knees: its first column is `reader`.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import MISSING, Row, naming_table, number, read_table
from oatools.core.people import normal_knee, note_forms
from oatools.core.provenance import CAUTION_COLUMN, Caution, cautions_in
from oatools.reading.groups import (
    bootstrap_interval,
    interval_about,
    robust_error,
    share_interval,
)
from oatools.reading.pairs import (
    OTHER_PLACE,
    PLACES,
    Key,
    Knees,
    find_pair,
    is_of_draw,
    read_key,
    read_scored_pairs,
)
from oatools.reading.readers import random_error, readers_covariance
from oatools.reading.strata import stratum_order

SCORE_COLUMNS = [
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
    CAUTION_COLUMN,
]
#: The name of several readers together, each with a share of its own.
MEAN = "mean of readers"
#: The name of all readers where one statistic is of all together.
ALL = "all readers"
#: The name of all strata together.
ALL_PAIRS = "all"

#: Decimal places of shares, intervals and p values; of times in s; and of confidence (1 to 5).
DIGITS, SECONDS_DIGITS, CONFIDENCE_DIGITS = 6, 1, 2

#: Pair -> 1 right, 0 wrong, 0.5 a tie; unanswered pairs are absent.
Scores = dict[str, float]
#: Pair -> the number of its group: pairs of one group share patients.
Groups = Mapping[str, int]


@dataclass(frozen=True)
class ReaderScore:
    """The score of a reader, a model or the readers' mean on the pairs of one stratum.

    `share` of the answered pairs are right, with a 95 % interval from `low` to `high`. Numbers are
    NaN where they are not defined, and counts None where there is nothing to count, as of a mean.
    They are rounded as the table shows them, so that table, figure and sentences never differ.
    """

    reader: str
    stratum: str
    pairs: int
    n_unanswered: int
    groups: int | None = None
    right: int | None = None
    ties: int | None = None
    share: float = math.nan
    low: float = math.nan
    high: float = math.nan
    seconds: float = math.nan
    confidence: float = math.nan
    confidence_auc: float = math.nan

    @property
    def answered(self) -> int:
        """The number of pairs with an answer."""
        return self.pairs - self.n_unanswered

    def row(self) -> Row:
        """Return the score as a row of `SCORE_COLUMNS`."""
        return {
            "reader": self.reader,
            "stratum": self.stratum,
            "pairs": str(self.pairs),
            "groups": _count_text(self.groups),
            "right": _count_text(self.right),
            "ties": _count_text(self.ties),
            "rank_auc": number_text(self.share),
            "ci_low": number_text(self.low),
            "ci_high": number_text(self.high),
            "n_unanswered": str(self.n_unanswered),
            "seconds": number_text(self.seconds, SECONDS_DIGITS),
            "confidence": number_text(self.confidence, CONFIDENCE_DIGITS),
            "confidence_auc": number_text(self.confidence_auc),
        }


@dataclass(frozen=True)
class Method:
    """The method of a score's intervals: `exact`, `clustered` or `bootstrap`, with draws and seed.

    `exact` takes pairs for independent; the others go by groups of pairs that share a patient.
    `n_shared` is the number of pairs that share one with another. With `random_readers` their mean,
    and a model's difference from it, speak of other readers, too.
    """

    interval: str
    draws: int = 2000
    seed: int = 0
    n_shared: int = 0
    random_readers: bool = False

    def share_interval(self, given: np.ndarray, groups: Sequence[int]) -> tuple[float, float]:
        """Return the 95 % interval of a share, from the scores of some pairs and their groups."""
        if self.interval == "exact":
            return exact_interval(float(given.sum()), len(given))
        if self.interval == "clustered":
            return share_interval(given, groups)
        return bootstrap_interval(given, groups, self.draws, self.seed)


@dataclass
class Grades:
    """The scores of readers and `models`, and the answers that could not be graded.

    `scores`, `seconds` and `confidence` are those that were given, by reader and pair, and
    `studies` names the pages each reader read. `errors` are (reader and pair, what is wrong).
    `cautions` are those about the knees and the models.
    """

    scores: dict[str, Scores] = field(default_factory=lambda: defaultdict(dict))
    seconds: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    confidence: dict[str, dict[str, float]] = field(default_factory=lambda: defaultdict(dict))
    studies: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    errors: list[tuple[str, str]] = field(default_factory=list)
    models: list[str] = field(default_factory=list)
    cautions: set[Caution] = field(default_factory=set)

    @property
    def readers(self) -> list[str]:
        """The names of those scored that are not models."""
        return [name for name in self.scores if name not in self.models]

    @property
    def pages(self) -> set[str]:
        """The pages that were read, by all readers together."""
        return set().union(*self.studies.values())


@dataclass(frozen=True)
class Solution:
    """The key of the pairs that were read, and those pairs where they are known.

    `n_not_shown` counts the pairs of the key that are not among them.
    """

    key: Key
    pairs: dict[str, Knees] | None = None
    n_not_shown: int = 0


def read_solution(key_path: str, pairs_path: str | None = None) -> Solution:
    """Read the key, and the pairs that were shown, to which it is cut down."""
    columns = ["knee", "pair", "place"]
    with naming_table(key_path):
        key = read_key(read_table(key_path, columns).rows)
    if pairs_path is None:
        return Solution(key)
    with naming_table(pairs_path):
        pairs = read_scored_pairs(read_table(pairs_path, columns).rows, key)
    shown = {pair: row for pair, row in key.items() if pair in pairs}
    return Solution(shown, pairs, n_not_shown=len(key) - len(shown))


def grade_tables(answers: Sequence[str], models: Sequence[str], solution: Solution) -> Grades:
    """Grade tables of answers and tables of predictions, given as paths.

    A table is of the reader or model that its file is named after, unless a column `reader` says
    otherwise. Raises a `UsageError` where two would have one name.
    """
    grades = Grades()
    for row in solution.key.values():
        grades.cautions |= cautions_in(row.get(CAUTION_COLUMN, MISSING))
    tables = [(_name_of(path), read_table(path, ["pair", "choice"])) for path in answers]
    _require_distinct([name for name, table in tables if "reader" not in table.columns])
    for name, table in tables:
        before = len(grades.errors)
        with naming_table(table.name):
            grade_answers(table.rows, solution.key, name, grades, solution.pairs)
        unused = grades.errors[before:]
        grades.errors[before:] = [(f"{table.name}: {where}", why) for where, why in unused]
    for path in models:
        predictions = read_table(path, ["knee", "probability"])
        name = _name_of(path)
        _require_distinct([*grades.scores, name])
        rows = list(predictions.rows)
        for row in rows:
            grades.cautions |= cautions_in(row.get(CAUTION_COLUMN, MISSING))
        with naming_table(path):
            scores = grade_model(rows, solution.key, solution.pairs or {})
        grades.scores[name] = scores
        grades.models.append(name)
    return grades


def grade_answers(
    rows: Iterable[Row],
    key: Key,
    reader: str,
    grades: Grades,
    pairs: Mapping[str, Knees] | None = None,
) -> None:
    """Add answers (pair, choice, and optional columns) to `grades`.

    `reader` names the answers without a reader. A choice is A or B, in either case, or `n/a`:
    unanswered, which leaves an answer elsewhere as it is. A knee that is named must be the one
    chosen. An unknown pair, an unusable choice and another choice than before are errors, and leave
    the pair as it was; an unusable time or confidence is an error, too, and leaves the answer.
    Answers to another draw than the key's are a `UsageError`.
    """
    for row in rows:
        name = reader if row.get("reader", MISSING) == MISSING else row["reader"].strip()
        _check_reader(name, row, key)
        where = f"{name}, pair {row['pair']}"
        scores = grades.scores[name]
        try:
            pair, score = _grade(row, key, pairs)
            if score is not None and scores.get(pair, score) != score:
                raise ItemError("a second answer, which differs", "the first one counts")
        except ItemError as error:
            grades.errors.append((where, str(error)))
            continue
        if row.get("study", MISSING) != MISSING:
            grades.studies[name].add(row["study"])
        if score is None:
            continue
        scores[pair] = score
        for column, given in (("seconds", grades.seconds), ("confidence", grades.confidence)):
            try:
                value = _extra(row, column)
            except ItemError as error:
                grades.errors.append((where, f"{error} (the choice counts)"))
                continue
            if value is not None:
                given[name][pair] = value


def grade_model(predictions: Iterable[Row], key: Key, pairs: Mapping[str, Knees]) -> Scores:
    """Return the scores of a model, which chooses the knee with the higher `probability`.

    A pair without the probabilities of both knees is unanswered.
    """
    probability: dict[str, float | None] = {}
    for row in predictions:
        note_forms(row, "the predictions")
        knee = normal_knee(row["knee"])
        if knee in probability:
            raise UsageError(
                f"{knee} is in the predictions twice", "keep one row a knee, or their mean"
            )
        try:
            probability[knee] = number(row, "probability")
        except ItemError as error:
            raise UsageError(f"{knee}: {error.reason}", error.remedy) from None
    scores: Scores = {}
    for name, knees in pairs.items():
        place = key[name]["place"]
        right = probability.get(knees[place]["knee"])
        wrong = probability.get(knees[OTHER_PLACE[place]]["knee"])
        if right is None or wrong is None:
            continue
        scores[name] = 0.5 if right == wrong else float(right > wrong)
    return scores


def summarise_all(grades: Grades, key: Key, groups: Groups, method: Method) -> list[ReaderScore]:
    """Return the scores of all readers and models, and of the mean of two or more readers."""
    found = []
    for name in grades.scores:
        found += summarise(name, grades, key, groups, method)
    if len(grades.readers) > 1:
        found += summarise_mean(
            grades.readers, grades, key, groups, random_readers=method.random_readers
        )
    return found


def summarise(
    reader: str, grades: Grades, key: Key, groups: Groups, method: Method
) -> list[ReaderScore]:
    """Return one reader's scores: on all pairs, then on each stratum in ascending order of JSN.

    `groups` counts the groups that the answered pairs make, and `method` makes the interval.
    `seconds` is the median time of the answered pairs, `confidence` its mean, and `confidence_auc`
    the chance that a right answer was given with more confidence than a wrong one (equal confidence
    counts one half): 0.5 where confidence says nothing.
    """
    scores = grades.scores[reader]
    all_seconds = grades.seconds.get(reader, {})
    all_confidence = grades.confidence.get(reader, {})
    found = []
    for stratum, pairs in pairs_by_stratum(key).items():
        answered = [pair for pair in pairs if pair in scores]
        given = [scores[pair] for pair in answered]
        own_groups = [groups[pair] for pair in answered]
        seconds = [all_seconds[pair] for pair in answered if pair in all_seconds]
        confidence = [all_confidence[pair] for pair in answered if pair in all_confidence]
        share = low = high = math.nan
        if given:
            share = sum(given) / len(given)
            low, high = method.share_interval(np.array(given), own_groups)
        score = ReaderScore(
            reader=reader,
            stratum=stratum,
            pairs=len(pairs),
            n_unanswered=len(pairs) - len(given),
            groups=len(set(own_groups)),
            right=given.count(1.0),
            ties=given.count(0.5),
            share=rounded(share),
            low=rounded(low),
            high=rounded(high),
            seconds=_statistic(np.median, seconds, SECONDS_DIGITS),
            confidence=_statistic(np.mean, confidence, CONFIDENCE_DIGITS),
            confidence_auc=rounded(_confidence_auc(scores, all_confidence, answered)),
        )
        found.append(score)
    return found


def summarise_mean(
    readers: Sequence[str],
    grades: Grades,
    key: Key,
    groups: Groups,
    random_readers: bool = False,
) -> list[ReaderScore]:
    """Return the scores of the readers' mean: of their shares, each over the pairs it answered.

    The strata are those of `summarise`. The interval is Student's t with the cluster-robust error
    over groups, and speaks of these readers alone, unless `random_readers` are a sample of all: see
    `readers`. A pair is unanswered here if any of them left it so.
    """
    found = []
    for stratum, pairs in pairs_by_stratum(key).items():
        given = np.full((len(pairs), len(readers)), np.nan)
        for n, reader in enumerate(readers):
            given[:, n] = [grades.scores[reader].get(pair, np.nan) for pair in pairs]
        answered = np.isfinite(given)
        n_unanswered = int((~answered).any(axis=1).sum())
        if not answered.any(axis=0).all():
            found.append(ReaderScore(MEAN, stratum, len(pairs), n_unanswered))
            continue
        shares = np.nanmean(given, axis=0)
        # How far each pair moves the mean of the shares, which are ratios, to the first order.
        influence = np.where(answered, given - shares, 0) / answered.sum(axis=0)
        own_groups = [groups[pair] for pair in pairs]
        mean = float(shares.mean())
        if random_readers:
            error, freedom = random_error(shares, readers_covariance(influence, own_groups))
        else:
            error, freedom = robust_error(influence.mean(axis=1), own_groups)
        low, high = interval_about(mean, error, freedom, least=0, most=1)
        score = ReaderScore(
            reader=MEAN,
            stratum=stratum,
            pairs=len(pairs),
            n_unanswered=n_unanswered,
            groups=len(set(own_groups)),
            share=rounded(mean),
            low=rounded(low),
            high=rounded(high),
        )
        found.append(score)
    return found


def exact_interval(right: float, answered: int) -> tuple[float, float]:
    """Return the exact 95 % (Clopper-Pearson) interval of a share, NaN without answers.

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


def pairs_by_stratum(key: Key) -> dict[str, list[str]]:
    """Return all pairs, as `all`, and those of each stratum, in ascending order of JSN."""
    strata: dict[str, list[str]] = defaultdict(list)
    for pair, row in key.items():
        strata[row.get("stratum", MISSING)].append(pair)
    strata.pop(MISSING, None)
    found = {ALL_PAIRS: list(key)}
    for stratum in sorted(strata, key=stratum_order):
        found[stratum] = strata[stratum]
    return found


def rounded(value: float, digits: int = DIGITS) -> float:
    """Return a number as tables show it: with digits enough to be rounded again."""
    return round(float(value), digits)


def number_text(value: float, digits: int = DIGITS) -> str:
    """Return a number as a cell, `n/a` for NaN."""
    return MISSING if math.isnan(value) else f"{value:.{digits}f}"


def _count_text(count: int | None) -> str:
    return MISSING if count is None else str(count)


def _statistic(of: Callable[[list[float]], float], values: list[float], digits: int) -> float:
    """A statistic of the values, rounded; NaN where there are none."""
    return rounded(of(values), digits) if values else math.nan


def _name_of(path: str) -> str:
    return "stdin" if path == "-" else Path(path).stem


def _require_distinct(names: Sequence[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise UsageError(
                f"two tables would both be reader '{name}'", "give one another file name"
            )


def _check_reader(name: str, row: Row, key: Key) -> None:
    if name in (MEAN, ALL):
        raise UsageError(
            f"a reader is called '{name}', which stands for several together", "call it otherwise"
        )
    if not is_of_draw(row, key):
        raise UsageError(
            f"{name} answered another draw ({row['draw']}) than that of the key", "give its own key"
        )


def _grade(row: Row, key: Key, pairs: Mapping[str, Knees] | None) -> tuple[str, float | None]:
    """Return the pair that was answered, and 1 for a right choice, 0 for a wrong, None for none.

    Raises an `ItemError` for an answer that cannot be graded.
    """
    pair = find_pair(row["pair"].strip(), key)
    if pair is None:
        raise ItemError(
            "no such pair in the key, or among those that were shown", "check the column 'pair'"
        )
    choice, answer = row["choice"].strip().upper(), key[pair]
    if choice == MISSING.upper():
        return pair, None
    if choice not in PLACES:
        raise ItemError(f"choice '{row['choice']}' is not A, B or n/a", "correct it")
    note_forms(row, "the answers")
    knee = normal_knee(row.get("knee", MISSING))
    if knee == MISSING:
        fits = True
    elif pairs:
        fits = knee == pairs[pair][choice]["knee"]
    else:
        # Of the partner nothing is known but that it is another knee than the progressor.
        fits = (knee == answer["knee"]) == (choice == answer["place"])
    if not fits:
        raise ItemError(f"knee {knee} does not stand at {choice}", "correct the knee or the choice")
    return pair, float(choice == answer["place"])


def _extra(row: Row, column: str) -> float | None:
    """Read the time or the confidence of an answer; an `ItemError` for one that cannot be used."""
    value = number(row, column)
    if column == "confidence" and value is not None and not 1 <= value <= 5:
        raise ItemError(f"confidence '{row[column]}' is not from 1 to 5", "correct it or write n/a")
    return value


def _confidence_auc(
    scores: Scores, confidence: Mapping[str, float], answered: Sequence[str]
) -> float:
    """The chance that a right answer was given with more confidence than a wrong one."""
    known = [pair for pair in answered if pair in confidence]
    of_right = np.array([confidence[pair] for pair in known if scores[pair] == 1])
    of_wrong = np.array([confidence[pair] for pair in known if scores[pair] == 0])
    if not (len(of_right) and len(of_wrong)):
        return math.nan
    more = np.sign(of_right[:, None] - of_wrong[None])
    return float((more.mean() + 1) / 2)
