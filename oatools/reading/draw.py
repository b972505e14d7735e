"""Drawing pairs of knees for a reading study.

One of the two progresses, and the reader says which.
"""

import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from oatools.core.errors import ItemError, UsageError
from oatools.core.manifest import MISSING, Row, number
from oatools.core.people import People
from oatools.learning.presets import reveals_outcome
from oatools.reading.pairs import PLACES, Pair
from oatools.reading.strata import Stratum, narrowing

_EXACT = 1e-9  # 0.1 + 0.2 is within 0.3


@dataclass(frozen=True)
class Caliper:
    """A variable in which the two knees of a pair are alike.

    Their values are numbers within `width` of each other, or the same text where `width` is None.
    """

    column: str
    width: float | None

    @property
    def name(self) -> str:
        """The caliper as in a sentence: `age within 5`, `sex`."""
        return self.column if self.width is None else f"{self.column} within {self.width:g}"


@dataclass(frozen=True)
class _Quota:
    """The progressors of a stratum, as indices, and how many of them are wanted."""

    stratum: str
    members: list[int]
    wanted: int


def parse_calipers(texts: Sequence[str]) -> tuple[Caliper, ...]:
    """Return calipers from `COLUMN:WIDTH` or `COLUMN` texts.

    Raises a `UsageError` for another form, a column named twice, and one that reveals the outcome.
    """
    calipers = [_parse_caliper(text) for text in texts]
    columns = [caliper.column for caliper in calipers]
    for column in columns:
        if columns.count(column) > 1:
            raise UsageError(f"{column} is matched on twice")
    return tuple(calipers)


def draw_pairs(
    labels: Iterable[Row],
    strata: Sequence[Stratum],
    count: int,
    seed: int,
    calipers: Sequence[Caliper] = (),
    one_knee: bool = False,
) -> list[Pair]:
    """Draw pairs of a progressor (label 1) and a partner (label 0) of another patient.

    No knee is used twice. `strata` select the progressors by their `jsn`; without any, `count`
    progressors are drawn from all. The two knees of a pair are alike by `calipers`; a knee without
    such a value is not drawn. With `one_knee` no patient is used twice either, so that pairs are
    independent: of a patient's two knees one is kept, the progressor if just one is.

    Ids are compared, and come out, in normal form (see `core.people`). The draw depends on the seed
    and on the knees, not on the order of the rows. It finds all the
    pairs that are asked for whenever that is possible (see `_match`; which knee of a patient is
    kept is decided before that), and otherwise raises a `UsageError` that says how many there are.
    """
    chance = random.Random(seed)
    progressors, others = _split_by_label(labels)
    shortage = _Shortage(calipers, progressors, others, one_knee)
    if one_knee:
        could_progress = _usable(progressors, calipers, strata)
        could_partner = _usable(others, calipers)
        progressors, others = _keep_one_knee(could_progress, could_partner, chance)
    # The matching takes rows as they come: their order decides among equals.
    chance.shuffle(progressors)
    chance.shuffle(others)

    quotas = _quotas(progressors, strata, count)
    wanted = sum(quota.wanted for quota in quotas)
    if len(others) < wanted:
        raise UsageError(
            f"{wanted} non-progressors were asked for as partners, and there are {len(others)}"
        )
    matched = _match(quotas, progressors, others, calipers)
    if len(matched) < wanted:
        raise shortage.error(quotas, matched)
    chance.shuffle(matched)
    width = max(3, len(str(len(matched))))
    pairs = []
    for n, (quota, progressor, partner) in enumerate(matched, start=1):
        pair = Pair(
            number=f"{n:0{width}d}",
            stratum=quotas[quota].stratum,
            progressor=progressors[progressor],
            partner=others[partner],
            place=chance.choice(PLACES),
        )
        pairs.append(pair)
    return pairs


def differences(pairs: Sequence[Pair], caliper: Caliper) -> tuple[float, float]:
    """Return how far a variable differs within pairs.

    The mean of progressor less partner, and the largest distance of the two.
    """
    progressors = _values([pair.progressor for pair in pairs], caliper.column)
    partners = _values([pair.partner for pair in pairs], caliper.column)
    apart = progressors - partners
    return float(apart.mean()), float(np.abs(apart).max())


def _parse_caliper(text: str) -> Caliper:
    column, colon, width_text = text.partition(":")
    refused = UsageError(f"'{text}' is neither COLUMN:WIDTH nor COLUMN, for example age:5 or sex")
    try:
        width = float(width_text) if colon else None
    except ValueError:
        raise refused from None
    if not column or (width is not None and not 0 <= width < float("inf")):
        raise refused
    if reveals_outcome(column):
        raise UsageError(f"{column} is what knees of a pair differ in", "match on something else")
    return Caliper(column, width)


def _split_by_label(labels: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    """Return progressors and others, by knee; rows without a label are passed over.

    Knees and subjects are in normal form. Raises a `UsageError` for labels that are not 0 or 1, a
    knee with two rows, labels of one class, and as `People.take` does.
    """
    by_label: dict[str, list[Row]] = {"1": [], "0": [], MISSING: []}
    visits: dict[tuple[str, str], str] = {}
    for row in People().by_knee(labels, "the labels").values():
        knee, subject, side, visit = row["knee"], row["subject"], row["side"], row["visit"]
        if row["label"] not in by_label:
            raise UsageError(f"{knee}: label '{row['label']}' is neither 0 nor 1")
        first = visits.setdefault((subject, side), visit)
        if first != visit and MISSING not in (subject, side):
            raise UsageError(
                f"the {side} knee of {subject} is in the labels at {first} and {visit}, and no "
                "knee is used twice",
                "keep one visit of it",
            )
        by_label[row["label"]].append(row)
    for label, what in (("1", "progressor"), ("0", "non-progressor")):
        if not by_label[label]:
            raise UsageError(
                f"the labels hold no {what} (label {label}), and each pair needs one of both"
            )
    progressors = sorted(by_label["1"], key=lambda row: row["knee"])
    others = sorted(by_label["0"], key=lambda row: row["knee"])
    return progressors, others


def _usable(
    rows: Sequence[Row], calipers: Sequence[Caliper], strata: Sequence[Stratum] = ()
) -> list[Row]:
    """Return the knees with all values to match on, and in one of the strata if there are any."""
    asked_for = [stratum for stratum in strata if stratum.count]
    usable = []
    for row in rows:
        if strata:
            jsn = narrowing(row)
            if jsn is None or not any(stratum.holds(jsn) for stratum in asked_for):
                continue
        if all(row[caliper.column] != MISSING for caliper in calipers):
            usable.append(row)
    return usable


def _keep_one_knee(
    progressors: Sequence[Row], others: Sequence[Row], chance: random.Random
) -> tuple[list[Row], list[Row]]:
    """Keep one knee of each patient: a progressor where there is one, since they are rare.

    Of two knees with the same label, either is kept.
    """
    kept: dict[str, str] = {}
    for rows in (progressors, others):
        knees: dict[str, list[str]] = defaultdict(list)
        for row in rows:
            knees[row["subject"]].append(row["knee"])
        for subject, own in knees.items():
            kept.setdefault(subject, chance.choice(own))
    chosen = set(kept.values())
    return (
        [row for row in progressors if row["knee"] in chosen],
        [row for row in others if row["knee"] in chosen],
    )


def _quotas(progressors: Sequence[Row], strata: Sequence[Stratum], count: int) -> list[_Quota]:
    """Sort progressors into the strata; without strata, all are one.

    Raises a `UsageError` that names the strata with fewer progressors than are asked for.
    """
    if not strata:
        if len(progressors) < count:
            raise UsageError(
                f"{count} progressors were asked for, and there are {len(progressors)}",
                f"give `count` {len(progressors)} or less",
            )
        return [_Quota(MISSING, list(range(len(progressors))), count)]
    changes = [narrowing(row) for row in progressors]
    quotas, short = [], []
    for stratum in strata:
        members = [n for n, jsn in enumerate(changes) if jsn is not None and stratum.holds(jsn)]
        if len(members) < stratum.count:
            noun = "progressor" if len(members) == 1 else "progressors"
            found = f"stratum {stratum.name} has {len(members)} {noun}"
            short.append(f"{found}, and {stratum.count} were asked for")
        quotas.append(_Quota(stratum.name, members, stratum.count))
    if short:
        raise UsageError("; ".join(short), "ask for fewer (`count`, `strata`) or use `no_strata`")
    return quotas


def _match(
    quotas: Sequence[_Quota],
    progressors: Sequence[Row],
    others: Sequence[Row],
    calipers: Sequence[Caliper],
) -> list[tuple[int, int, int]]:
    """Return as many pairs as there can be: indices of quota, progressor and partner, in order.

    Taking partners one by one could use up the only partner of a later progressor. The pairs are
    therefore found all at once, as the maximum flow through a network of layers:

        source -> quotas -> progressors -> partners -> sink

    An edge from the source to a quota carries as many units as pairs are wanted of it, and every
    other edge carries one. A progressor is reached from its own quota alone, and leads to all knees
    that may stand beside it. Since each knee passes on one unit at most, a unit of flow is a pair,
    no knee is in two of them, and no quota is exceeded. Capacities are whole numbers, so the flow
    along each edge is one too. If the maximum flow falls short of what is wanted, then no choice of
    progressors and partners would do (Ford and Fulkerson 1956).

    Rows come shuffled: among all maximum flows, the one found depends on their order alone, and so
    the choice among equals is random.
    """
    allowed = _may_pair(progressors, others, calipers)
    # Nodes are numbered layer by layer, the source being 0.
    first_quota = 1
    first_progressor = first_quota + len(quotas)
    first_other = first_progressor + len(progressors)
    sink = first_other + len(others)

    edges = []  # from, to, capacity
    quota_of = {}
    for q, quota in enumerate(quotas):
        edges.append((0, first_quota + q, quota.wanted))
        for member in quota.members:
            edges.append((first_quota + q, first_progressor + member, 1))
            quota_of[member] = q
    edges += [(first_other + n, sink, 1) for n in range(len(others))]
    start, end, capacity = np.array(edges, dtype=np.int32).T
    # The edges between knees are by far the most, and are made without a loop.
    progressor, other = np.nonzero(allowed)
    start = np.concatenate([start, first_progressor + progressor])
    end = np.concatenate([end, first_other + other])
    capacity = np.concatenate([capacity, np.ones(len(other), np.int32)])
    network = coo_array((capacity, (start, end)), shape=(sink + 1, sink + 1))

    flow = maximum_flow(network.tocsr(), 0, sink).flow
    between = flow[first_progressor:first_other, first_other:sink].tocoo()
    used = between.data > 0
    pairs = zip(between.row[used].tolist(), between.col[used].tolist(), strict=True)
    return sorted((quota_of[p], p, o) for p, o in pairs)


def _may_pair(
    progressors: Sequence[Row], others: Sequence[Row], calipers: Sequence[Caliper]
) -> np.ndarray:
    """Find who may stand beside whom, (progressors, others), booleans.

    They are knees of two patients, and alike by all calipers.
    """
    allowed = _cells(progressors, "subject")[:, None] != _cells(others, "subject")[None]
    for caliper in calipers:
        if caliper.width is None:
            one, other = _cells(progressors, caliper.column), _cells(others, caliper.column)
            is_known = one != MISSING
            allowed &= (one[:, None] == other[None]) & is_known[:, None]
        else:
            one, other = _values(progressors, caliper.column), _values(others, caliper.column)
            # NaN, for a value that is missing, is within no distance of anything.
            allowed &= np.abs(one[:, None] - other[None]) <= caliper.width + _EXACT
    return np.asarray(allowed)


@dataclass(frozen=True)
class _Shortage:
    """The circumstances of a draw, for the message where there are too few pairs."""

    calipers: Sequence[Caliper]
    progressors: Sequence[Row]
    others: Sequence[Row]
    one_knee: bool

    def error(
        self, quotas: Sequence[_Quota], matched: Sequence[tuple[int, int, int]]
    ) -> UsageError:
        """Return the error that says how many pairs there are, and which values are missing."""
        found = Counter(quota for quota, _, _ in matched)
        details = []
        for q, quota in enumerate(quotas):
            if found[q] == quota.wanted:
                continue
            which = "" if quota.stratum == MISSING else f"stratum {quota.stratum}: "
            details.append(f"{which}{found[q]} of {quota.wanted}")
        details += self._missing_values()
        alike = ""
        if self.calipers:
            names = ", ".join(caliper.name for caliper in self.calipers)
            alike = f" alike in {names}"
        reason = f"not every progressor finds a partner of another patient{alike}"
        return UsageError(f"{reason} ({'; '.join(details)})", self._remedy())

    def _missing_values(self) -> list[str]:
        found = []
        for caliper in self.calipers:
            for rows, kind in ((self.progressors, "progressors"), (self.others, "others")):
                missing = sum(row[caliper.column] == MISSING for row in rows)
                if missing:
                    found.append(f"{caliper.column} is n/a in {missing} of {len(rows)} {kind}")
        return found

    def _remedy(self) -> str:
        remedies = ["ask for fewer pairs"]
        if self.calipers:
            remedies.append("or match less closely")
        if self.one_knee:
            remedies.append("or try another `seed`, which keeps other knees")
        return ", ".join(remedies)


def _cells(rows: Sequence[Row], column: str) -> np.ndarray:
    return np.array([row[column] for row in rows])


def _values(rows: Sequence[Row], column: str) -> np.ndarray:
    """The numbers in a column, NaN for `n/a`; a `UsageError` names the knee of any other text."""
    values = np.full(len(rows), np.nan)
    for n, row in enumerate(rows):
        try:
            value = number(row, column)
        except ItemError as error:
            raise UsageError(f"{row['knee']}: {error.reason}", error.remedy) from None
        if value is not None:
            values[n] = value
    return values
