"""Draw pairs of knees for a reading study: one of the two progresses, and the reader says which."""

import hashlib
import json
import random
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import coo_array
from scipy.sparse.csgraph import maximum_flow

from oatools.core import manifest, provenance
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import write_text
from oatools.core.manifest import MISSING, Row, number

PLACES = ("A", "B")
_TOOL = "oa-pairs draw"
#: What a reader sees besides the images if nothing else is asked for: no outcome, nothing measured
#: after the visit.
SHOWN = ("age", "sex", "bmi", "height", "weight", "jsw")
#: What tells the answer, or may: readers never see it.
TELLING = (
    "label",
    "jsn",
    "stratum",
    "probability",
    "predicted",
    "fold",
    "threshold",
    "attention",
    "heat",
    "choice",
    "outcome",
    "truth",
    "answer",
    "endpoint",
)
_TELLING_STARTS = ("label", "jsn", "prob", "progress")  # label_24m, jsn24, ...
_LATER = re.compile(r"_(?!00)\d\dm?$|^(jsw|kl|womac\w*)\d\dm?$")  # kl_12m, jsw24
#: The scores of which the label is made, where the endpoint is pain.
OF_PAIN = ("womac_pain", "womac_total", "koos_pain")
_EXACT = 1e-9  # 0.1 + 0.2 is within 0.3
#: Knees of each label from which on it is no accident that a variable separates them: less than 1
#: in 90,000.
_NO_ACCIDENT = 10
_IDENTITY = ("knee", "subject", "visit", "side", "pair", "place", "draw")


@dataclass(frozen=True)
class Stratum:
    """`count` progressors with low <= JSN < high, in mm; None is unbounded. `closed`: high itself belongs to it."""

    low: Decimal | None
    high: Decimal | None
    count: int
    closed: bool = False

    @property
    def name(self) -> str:
        """`LOW:HIGH`, an open end left blank, as it is given on the command line."""
        return ":".join("" if bound is None else str(bound) for bound in (self.low, self.high))

    def holds(self, jsn: Decimal) -> bool:
        """Whether a change of joint space width lies in the stratum."""
        above = self.low is None or jsn >= self.low
        return above and (
            self.high is None or jsn < self.high or (self.closed and jsn == self.high)
        )


def strata_in_words(names: Sequence[str]) -> dict[str, str]:
    """Names of strata as in a sentence: `narrowing of more than 0.6 and up to 1.1 mm`.

    That with the greatest bound holds it (see `parse_strata`): `narrowing of at least 0.5 mm`.
    """
    try:
        highest = max(names, key=lambda name: _bounds(name)[1])
    except ValueError:  # a study's own names
        return {name: name for name in names}
    return {name: _in_words(*_bounds(name), closed=name == highest) for name in names}


def _bounds(name: str) -> tuple[float, float]:
    low, _, high = name.partition(":")
    return float(low or "-inf"), float(high or "inf")


def _in_words(low: float, high: float, closed: bool) -> str:
    if high > 0:  # it may have widened
        sizes = [
            f"from {low:g} mm" if np.isfinite(low) else "",
            f"to {high:g} mm" if np.isfinite(high) else "",
        ]
        return " ".join(["a change", *filter(None, sizes)]).replace("-", "\N{MINUS SIGN}")
    parts = [
        f"{'at least' if closed else 'more than'} {-high:g}",
        f"up to {-low:g}" if np.isfinite(low) else "",
    ]
    return f"narrowing of {' and '.join(filter(None, parts))} mm"


@dataclass(frozen=True)
class Caliper:
    """What the two knees of a pair share: `column` within `width` of each other, or the same value if it is None."""

    column: str
    width: float | None

    @property
    def name(self) -> str:
        """As in a sentence: `age within 5`, `sex`."""
        return self.column if self.width is None else f"{self.column} within {self.width:g}"


@dataclass(frozen=True)
class Pair:
    """Two knees of two patients; `place` (A or B) is where the progressor stands."""

    number: str
    stratum: str
    progressor: Row
    partner: Row
    place: str


#: The published reading study's: 10 progressors below -1.1 mm, 130 from there to below -0.6, 10
#: from there to -0.5. The last is closed, since a change of exactly -0.5 mm makes a progressor
#: there.
PAPER_STRATA = (
    Stratum(None, Decimal("-1.1"), 10),
    Stratum(Decimal("-1.1"), Decimal("-0.6"), 130),
    Stratum(Decimal("-0.6"), Decimal("-0.5"), 10, closed=True),
)


def parse_strata(texts: Sequence[str]) -> tuple[Stratum, ...]:
    """Strata from `LOW:HIGH:N` texts, in ascending order; that with the greatest HIGH is closed there.

    Either bound may be blank. Raises a `UsageError` for a text of another form and for strata that
    overlap.
    """
    strata = [_parse(text) for text in texts]
    lowest, highest = Decimal("-Infinity"), Decimal("Infinity")
    strata.sort(key=lambda s: lowest if s.low is None else s.low)
    for first, second in zip(strata, strata[1:], strict=False):
        if first.high is None or second.low is None or first.high > second.low:
            raise UsageError(f"strata {first.name} and {second.name} overlap")
    last = max(strata, key=lambda s: highest if s.high is None else s.high)
    return tuple(Stratum(s.low, s.high, s.count, closed=s is last) for s in strata)


def scale_strata(strata: Sequence[Stratum], total: int) -> tuple[Stratum, ...]:
    """The same strata with counts in the same proportion that add up to `total` (largest remainders rounded up)."""
    whole = sum(s.count for s in strata)
    counts = [s.count * total // whole for s in strata]
    by_remainder = sorted(range(len(strata)), key=lambda i: -(strata[i].count * total % whole))
    for i in by_remainder[: total - sum(counts)]:
        counts[i] += 1
    return tuple(Stratum(s.low, s.high, n, s.closed) for s, n in zip(strata, counts, strict=True))


def parse_calipers(texts: Sequence[str]) -> tuple[Caliper, ...]:
    """Calipers from `COLUMN:WIDTH` or `COLUMN` texts; a `UsageError` for another form and a column named twice."""
    calipers = []
    for text in texts:
        column, colon, width = text.partition(":")
        try:
            calipers.append(Caliper(column, float(width) if colon else None))
            usable = bool(column) and (not colon or 0 <= float(width) < float("inf"))
        except ValueError:
            usable = False
        if not usable:
            raise UsageError(
                f"'{text}' is neither COLUMN:WIDTH nor COLUMN, for example age:5 or sex"
            )
        if tells(column):
            raise UsageError(f"{column} is what knees of a pair differ in; match on something else")
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
    """Draw pairs of a progressor (label 1) and a partner (label 0) of another patient; no knee is used twice.

    `strata` give the progressors by their `jsn`; without any, `count` progressors are drawn from
    all. The two knees of a pair are alike by `calipers`; a knee without such a value is not drawn.
    With `one_knee` no patient is used twice either, so that pairs are independent: of a patient's
    two knees one is kept, the progressor if just one is.

    The draw depends on the seed and on the knees, not on the order of the rows. It finds so many
    pairs whenever that is possible (it is a maximum flow through strata, progressors and partners;
    which knee of a patient is kept is settled before), and otherwise raises a `UsageError` that
    says how many there are.
    """
    chance = random.Random(seed)
    progressors, others = _split(labels)
    available = progressors, others
    if one_knee:
        usable = (
            _usable(rows, calipers, own) for rows, own in ((progressors, strata), (others, ()))
        )
        progressors, others = _one_a_patient(*usable, chance)
    chance.shuffle(progressors)
    chance.shuffle(others)
    groups = _groups(progressors, strata, count)
    wanted = sum(n for _, _, n in groups)
    if len(others) < wanted:
        raise UsageError(
            f"{wanted} non-progressors were asked for as partners, and there are {len(others)}"
        )
    drawn = [
        (groups[g][0], progressors[p], others[o])
        for g, p, o in _matched(groups, progressors, others, calipers)
    ]
    if len(drawn) < wanted:
        raise UsageError(
            _too_few(groups, Counter(name for name, *_ in drawn), calipers, available, one_knee)
        )
    chance.shuffle(drawn)
    width = max(3, len(str(len(drawn))))
    return [
        Pair(f"{n:0{width}d}", *found, chance.choice(PLACES))
        for n, found in enumerate(drawn, start=1)
    ]


def differences(pairs: Sequence[Pair], caliper: Caliper) -> tuple[float, float]:
    """How far a variable differs over pairs: the mean of progressor less partner, and the largest distance."""
    found = np.array(
        [_value(p.progressor, caliper.column) - _value(p.partner, caliper.column) for p in pairs]
    )
    return float(found.mean()), float(np.abs(found).max())


def tells(column: str) -> bool:
    """Whether a column's name says that it holds the answer, what was made from it, or what a later visit found."""
    name = column.lower()
    return name in TELLING or name.startswith(_TELLING_STARTS) or _LATER.search(name) is not None


def shown_columns(
    columns: Sequence[str], shown: Sequence[str], endpoints: Iterable[str], rows: Sequence[Row] = ()
) -> list[str]:
    """The clinical variables that readers get: those asked for, or the reading study's of those there are.

    Raises a `UsageError` for one that is not in the table, names the knee, or tells the answer: by
    its name, or since it separates the labels of `rows` without an error, where there are ten of
    each.
    """
    for column in shown:
        if column not in columns:
            raise UsageError(
                f"the labels have no column '{column}'; columns present: {', '.join(columns)}"
            )
        if column in _IDENTITY or shown.count(column) > 1:
            why = (
                "is asked for twice"
                if shown.count(column) > 1
                else "names the knee, and is no clinical variable"
            )
            raise UsageError(f"'{column}' {why}; leave it out of --show")
        if tells(column) or (column in OF_PAIN and "pain" in endpoints):
            raise UsageError(f"'{column}' may tell readers the answer; leave it out of --show")
    chosen = list(shown or [column for column in SHOWN if column in columns])
    for column in chosen:
        if _separates(
            [
                (row["label"], row[column])
                for row in rows
                if MISSING not in (row["label"], row[column])
            ]
        ):
            raise UsageError(
                f"'{column}' tells the labels apart without an error, as the answer itself would; "
                "choose others with --show"
            )
    return chosen


def pair_columns(shown: Sequence[str]) -> list[str]:
    """The columns of the table of pairs, with the clinical variables that readers are shown: none tells the answer."""
    return ["knee", "subject", "visit", "side", "pair", "place", "draw", *shown]


def draw_name(pairs: Sequence[Pair]) -> str:
    """What tells one draw from another, in the pairs, the key and the answers: a digest of which knee stands where."""
    text = "\n".join(
        f"{row['knee']}\t{row['pair']}\t{row['place']}" for row in pair_rows(pairs, _IDENTITY[:-1])
    )
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def pair_rows(pairs: Sequence[Pair], columns: Sequence[str]) -> Iterable[Row]:
    """Two rows a pair, A always before B, with the given columns (`pair_columns`) and nothing else."""
    name = draw_name(pairs) if "draw" in columns else MISSING
    for pair in pairs:
        knees = [pair.progressor, pair.partner]
        for place, knee in zip(
            PLACES, knees if pair.place == "A" else reversed(knees), strict=True
        ):
            row = {**knee, "pair": pair.number, "place": place, "draw": name}
            yield {column: row.get(column, MISSING) for column in columns}


KEY_COLUMNS = ["knee", "subject", "visit", "side", "pair", "place", "draw", "stratum", "jsn"]


def key_rows(pairs: Sequence[Pair]) -> Iterable[Row]:
    """The answers: a row a pair, with the progressor, its place, its stratum and its change of joint space width."""
    name = draw_name(pairs)
    for pair in pairs:
        yield {
            **pair.progressor,
            "pair": pair.number,
            "place": pair.place,
            "draw": name,
            "stratum": pair.stratum,
        }


def record_of(key: Path) -> Path:
    """The JSON file beside a key that says how it was made: `key.tsv` has `key.json`."""
    return key.with_name(f"{key.stem}.json")


def write_record(
    key: Path,
    labels: str,
    columns: Sequence[str],
    rows: Iterable[Row],
    parameters: Mapping[str, Any],
) -> None:
    """Write how a key was made to the JSON file beside it: settings, and the digest of the labels.

    Of labels that came by standard input (`-`) the digest is that of the same table in a file.
    """
    if labels == "-":
        found = hashlib.sha256(manifest.table_bytes(columns, rows)).hexdigest()
        made = provenance.Step(_TOOL, dict(parameters), labels, found)
    else:
        made = provenance.step(_TOOL, dict(parameters), labels)
    write_text(record_of(key), json.dumps(provenance.with_step({}, made), indent=2) + "\n")


def read_pairs(rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Pair -> place (A, B) -> row, in the table's order; a knee may have several rows, such as one a sequence.

    Raises a `UsageError` for a pair that has not one knee A and another knee B.
    """
    pairs: dict[str, dict[str, Row]] = defaultdict(dict)
    for row in rows:
        known = pairs[row["pair"]].setdefault(row["place"], row)
        if row["place"] not in PLACES or known["knee"] != row["knee"]:
            raise UsageError(f"pair {row['pair']} does not have one knee A and one knee B")
    for pair, knees in pairs.items():
        if len(knees) != 2:
            raise UsageError(f"pair {pair} does not have one knee A and one knee B")
        if knees["A"]["knee"] == knees["B"]["knee"]:
            raise UsageError(
                f"pair {pair} has {knees['A']['knee']} at both places; correct the pairs"
            )
    if not pairs:
        raise UsageError("the pairs hold no pair")
    return dict(pairs)


def _parse(text: str) -> Stratum:
    parts = text.split(":")
    try:
        low, high = (Decimal(part) if part.strip() else None for part in parts[:2])
        count = int(parts[2])
        usable = (
            len(parts) == 3 and count >= 0 and all(b is None or b.is_finite() for b in (low, high))
        )
        usable = usable and (low is None or high is None or low < high)
    except (ValueError, IndexError, InvalidOperation):
        usable = False
    if not usable:
        raise UsageError(
            f"stratum '{text}' is not LOW:HIGH:N with LOW < HIGH in mm, for example -1.1:-0.6:130"
        )
    return Stratum(low, high, count)


def _split(labels: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    groups: dict[str, list[Row]] = {"1": [], "0": [], MISSING: []}
    seen: Counter[str] = Counter()
    visits: dict[tuple[str, str], str] = {}
    for row in labels:
        if row["label"] not in groups:
            raise UsageError(f"{row['knee']}: label '{row['label']}' is neither 0 nor 1")
        seen[row["knee"]] += 1
        if seen[row["knee"]] > 1:
            raise UsageError(f"{row['knee']} is in the labels twice; keep one row a knee")
        first = visits.setdefault((row["subject"], row["side"]), row["visit"])
        if first != row["visit"] and MISSING not in (row["subject"], row["side"]):
            raise UsageError(
                f"the {row['side']} knee of {row['subject']} is in the labels at {first} and "
                f"{row['visit']}, and no knee is used twice; keep one visit of it"
            )
        groups[row["label"]].append(row)
    for label, what in (("1", "progressor"), ("0", "non-progressor")):
        if not groups[label]:
            raise UsageError(
                f"the labels hold no {what} (label {label}), and each pair needs one of both"
            )
    return tuple(sorted(groups[label], key=lambda row: row["knee"]) for label in "10")  # type: ignore[return-value]


def _usable(rows: list[Row], calipers: Sequence[Caliper], strata: Sequence[Stratum]) -> list[Row]:
    """Those that could be drawn at all: in one of the strata, if there are any, and with all values to match on."""
    held = rows
    if strata:
        held = [
            row
            for row in rows
            if (jsn := _jsn(row)) is not None and any(s.holds(jsn) for s in strata if s.count)
        ]
    return [row for row in held if all(row[caliper.column] != MISSING for caliper in calipers)]


def _one_a_patient(
    progressors: list[Row], others: list[Row], chance: random.Random
) -> tuple[list[Row], list[Row]]:
    """One knee of each patient: a progressor where there is one, since they are rare; of two alike, either."""
    kept: dict[str, Row] = {}
    for rows in (progressors, others):
        own: dict[str, list[Row]] = defaultdict(list)
        for row in rows:
            own[row["subject"]].append(row)
        for subject, knees in own.items():
            kept.setdefault(subject, chance.choice(knees))
    chosen = {row["knee"] for row in kept.values()}
    return tuple([row for row in rows if row["knee"] in chosen] for rows in (progressors, others))  # type: ignore


def _groups(
    progressors: list[Row], strata: Sequence[Stratum], count: int
) -> list[tuple[str, list[int], int]]:
    """Name of each stratum, its members (indices of progressors), and how many of them are wanted."""
    if not strata:
        if len(progressors) < count:
            raise UsageError(
                f"{count} progressors were asked for, and there are {len(progressors)}"
            )
        return [(MISSING, list(range(len(progressors))), count)]
    changes = [_jsn(row) for row in progressors]
    groups, short = [], []
    for stratum in strata:
        members = [p for p, jsn in enumerate(changes) if jsn is not None and stratum.holds(jsn)]
        if len(members) < stratum.count:
            noun = "progressor" if len(members) == 1 else "progressors"
            short.append(
                f"stratum {stratum.name} has {len(members)} {noun}, and {stratum.count} were asked for"
            )
        groups.append((stratum.name, members, stratum.count))
    if short:
        raise UsageError(
            f"{'; '.join(short)}; ask for fewer (--pairs, --stratum) or use --no-strata"
        )
    return groups


def _matched(
    groups: Sequence[tuple[str, list[int], int]],
    progressors: list[Row],
    others: list[Row],
    calipers: Sequence[Caliper],
) -> list[tuple[int, int, int]]:
    """Group, progressor and partner of as many pairs as there can be.

    The flow goes from a source through the groups, each as wide as it is wanted, and through
    progressors and partners that may stand together to a sink. All but the groups are one wide.
    That rows come shuffled makes the choice among equals random.
    """
    allowed = _allowed(progressors, others, calipers)
    first_p, first_o = 1 + len(groups), 1 + len(groups) + len(progressors)
    sink = first_o + len(others)
    p, o = np.nonzero(allowed)
    sources = [(0, 1 + g, wanted) for g, (_, _, wanted) in enumerate(groups)]
    sources += [
        (1 + g, first_p + member, 1)
        for g, (_, members, _) in enumerate(groups)
        for member in members
    ]
    sources += [(first_o + n, sink, 1) for n in range(len(others))]
    start, end, width = (np.array(column) for column in zip(*sources, strict=True))
    edges = (np.concatenate([start, first_p + p]), np.concatenate([end, first_o + o]))
    capacity = np.concatenate([width, np.ones(len(p), int)]).astype(np.int32)
    flow = maximum_flow(
        coo_array((capacity, edges), shape=(sink + 1, sink + 1)).tocsr(), 0, sink
    ).flow
    used = flow[first_p:first_o, first_o:sink].tocoo()
    group_of = {member: g for g, (_, members, _) in enumerate(groups) for member in members}
    return sorted(
        (group_of[int(a)], int(a), int(b))
        for a, b, v in zip(*used.coords, used.data, strict=True)
        if v > 0
    )


def _allowed(progressors: list[Row], others: list[Row], calipers: Sequence[Caliper]) -> np.ndarray:
    """Whether a progressor and another knee may make a pair, (progressors, others), booleans."""
    sides = (progressors, others)
    one, other = (np.array([row["subject"] for row in rows]) for rows in sides)
    allowed = one[:, None] != other[None]
    for caliper in calipers:
        if caliper.width is None:
            one, other = (np.array([row[caliper.column] for row in rows]) for rows in sides)
            allowed &= (one[:, None] == other[None]) & (one != MISSING)[:, None]
        else:
            one, other = (np.array([_value(row, caliper.column) for row in rows]) for rows in sides)
            allowed &= np.abs(one[:, None] - other[None]) <= caliper.width + _EXACT
    return allowed


def _separates(values: Sequence[tuple[str, str]]) -> bool:
    """Whether a variable (label, value) leaves no doubt of the label, and there are enough knees to know."""
    by_label = [[value for label, value in values if label == wanted] for wanted in "01"]
    if min(map(len, by_label)) < _NO_ACCIDENT:
        return False
    try:
        one, other = ([float(value) for value in own] for own in by_label)
    except ValueError:
        kinds = [
            set(own) for own in by_label
        ]  # that few kinds share none is no accident; a kind a knee says nothing
        return not kinds[0] & kinds[1] and 2 * len(kinds[0] | kinds[1]) <= len(values)
    return max(one) < min(other) or max(other) < min(one)


def _too_few(
    groups: Sequence[tuple[str, list[int], int]],
    found: Counter,
    calipers: Sequence[Caliper],
    available: tuple[list[Row], list[Row]],
    one_knee: bool,
) -> str:
    """Why there are not enough pairs, for the message."""
    alike = f" alike in {', '.join(caliper.name for caliper in calipers)}" if calipers else ""
    short = [
        f"stratum {name}: {found[name]} of {wanted}"
        if name != MISSING
        else f"{found[name]} of {wanted}"
        for name, _, wanted in groups
        if found[name] < wanted
    ]
    unknown = [
        f"{caliper.column} is n/a in {n} of {len(rows)} {kind}"
        for caliper in calipers
        for rows, kind in zip(available, ("progressors", "others"), strict=True)
        if (n := sum(row[caliper.column] == MISSING for row in rows))
    ]
    remedy = "ask for fewer pairs" + (", or match less closely" if calipers else "")
    if one_knee:
        remedy += ", or try another --seed, which keeps other knees"
    return (
        f"not every progressor finds a partner of another patient{alike} ({'; '.join([*short, *unknown])}); "
        f"{remedy}"
    )


def _value(row: Row, column: str) -> float:
    try:
        value = number(row, column)
    except ItemError as error:
        raise UsageError(f"{row['knee']}: {error}") from None
    return np.nan if value is None else value


def _jsn(row: Row) -> Decimal | None:
    text = row.get("jsn", MISSING)
    if text == MISSING:
        return None
    try:
        jsn = Decimal(text)
    except InvalidOperation:
        jsn = Decimal("nan")
    if not jsn.is_finite():
        raise UsageError(
            f"{row['knee']}: jsn '{text}' is no finite number; correct it or write n/a"
        )
    return jsn
