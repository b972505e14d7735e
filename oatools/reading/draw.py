"""Draw pairs of knees for a reading study: one of the two progresses, and the reader says which."""

import random
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation

from oatools.core.errors import UsageError
from oatools.core.manifest import MISSING, Row

PLACES = ("A", "B")
#: What a reader may see besides the images: no outcome, and nothing measured after the visit.
SHOWN = ["age", "sex", "bmi", "height", "weight", "jsw"]


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
        return above and (self.high is None or jsn < self.high or (self.closed and jsn == self.high))


@dataclass(frozen=True)
class Pair:
    """Two knees of two patients; `place` (A or B) is where the progressor stands."""

    number: str
    stratum: str
    progressor: Row
    partner: Row
    place: str


#: The published reading study's: 10 progressors below -1.1 mm, 130 from there to below -0.6, 10 from there to -0.5.
#: The last is closed, since a change of exactly -0.5 mm makes a progressor there.
PAPER_STRATA = (
    Stratum(None, Decimal("-1.1"), 10),
    Stratum(Decimal("-1.1"), Decimal("-0.6"), 130),
    Stratum(Decimal("-0.6"), Decimal("-0.5"), 10, closed=True),
)


def parse_strata(texts: Sequence[str]) -> tuple[Stratum, ...]:
    """Strata from `LOW:HIGH:N` texts, in ascending order; that with the greatest HIGH is closed there.

    Either bound may be blank. Raises a `UsageError` for a text of another form and for strata that overlap.
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


def draw_pairs(labels: Iterable[Row], strata: Sequence[Stratum], count: int, seed: int) -> list[Pair]:
    """Draw pairs of a progressor (label 1) and a partner (label 0) of another patient; no knee is used twice.

    `strata` give the progressors by their `jsn`; without any, `count` progressors are drawn from all. The draw
    depends on the seed and on the knees, not on the order of the rows. Raises a `UsageError` where there are not
    enough knees, naming the stratum.
    """
    chance = random.Random(seed)
    progressors, others = _split(labels)
    drawn = _draw_progressors(progressors, strata, count, chance)
    chance.shuffle(others)
    if len(others) < len(drawn):
        raise UsageError(f"{len(drawn)} non-progressors were asked for as partners, and there are {len(others)}")
    partners = _partners([row for _, row in drawn], others)
    matched = [(stratum, row, partner) for (stratum, row), partner in zip(drawn, partners, strict=True)]
    chance.shuffle(matched)
    width = max(3, len(str(len(matched))))
    return [Pair(f"{n:0{width}d}", *found, chance.choice(PLACES)) for n, found in enumerate(matched, start=1)]


def pair_columns(columns: Sequence[str]) -> list[str]:
    """The columns that readers are given, of those that the labels have: none of them tells the answer."""
    return ["knee", "subject", "visit", "side", "pair", "place", *(c for c in SHOWN if c in columns)]


def pair_rows(pairs: Iterable[Pair], columns: Sequence[str]) -> Iterable[Row]:
    """Two rows a pair, A always before B, with the given columns (`pair_columns`) and nothing else."""
    for pair in pairs:
        knees = [pair.progressor, pair.partner]
        for place, knee in zip(PLACES, knees if pair.place == "A" else reversed(knees), strict=True):
            row = {**knee, "pair": pair.number, "place": place}
            yield {column: row.get(column, MISSING) for column in columns}


KEY_COLUMNS = ["knee", "subject", "visit", "side", "pair", "place", "stratum", "jsn"]


def key_rows(pairs: Iterable[Pair]) -> Iterable[Row]:
    """The answers: a row a pair, with the progressor, its place, its stratum and its change of joint space width."""
    for pair in pairs:
        yield {**pair.progressor, "pair": pair.number, "place": pair.place, "stratum": pair.stratum}


def _parse(text: str) -> Stratum:
    parts = text.split(":")
    try:
        low, high = (Decimal(part) if part.strip() else None for part in parts[:2])
        count = int(parts[2])
        usable = len(parts) == 3 and count >= 0 and all(b is None or b.is_finite() for b in (low, high))
        usable = usable and (low is None or high is None or low < high)
    except (ValueError, IndexError, InvalidOperation):
        usable = False
    if not usable:
        raise UsageError(f"stratum '{text}' is not LOW:HIGH:N with LOW < HIGH in mm, for example -1.1:-0.6:130")
    return Stratum(low, high, count)


def _split(labels: Iterable[Row]) -> tuple[list[Row], list[Row]]:
    groups: dict[str, list[Row]] = {"1": [], "0": [], MISSING: []}
    seen: Counter[str] = Counter()
    for row in labels:
        if row["label"] not in groups:
            raise UsageError(f"{row['knee']}: label '{row['label']}' is neither 0 nor 1")
        seen[row["knee"]] += 1
        if seen[row["knee"]] > 1:
            raise UsageError(f"{row['knee']} is in the labels twice; keep one row a knee")
        groups[row["label"]].append(row)
    for label, what in (("1", "progressor"), ("0", "non-progressor")):
        if not groups[label]:
            raise UsageError(f"the labels hold no {what} (label {label}), and each pair needs one of both")
    return tuple(sorted(groups[label], key=lambda row: row["knee"]) for label in "10")  # type: ignore[return-value]


def _draw_progressors(
    progressors: list[Row], strata: Sequence[Stratum], count: int, chance: random.Random
) -> list[tuple[str, Row]]:
    if not strata:
        if len(progressors) < count:
            raise UsageError(f"{count} progressors were asked for, and there are {len(progressors)}")
        return [(MISSING, row) for row in chance.sample(progressors, count)]
    changes = [(row, _jsn(row)) for row in progressors]
    drawn: list[tuple[str, Row]] = []
    for stratum in strata:
        members = [row for row, jsn in changes if jsn is not None and stratum.holds(jsn)]
        if len(members) < stratum.count:
            raise UsageError(f"stratum {stratum.name} has {len(members)} progressors, and {stratum.count} were asked "
                             f"for; ask for fewer (--pairs, --stratum) or use --no-strata")  # fmt: skip
        drawn += [(stratum.name, row) for row in chance.sample(members, stratum.count)]
    return drawn


def _jsn(row: Row) -> Decimal | None:
    text = row.get("jsn", MISSING)
    try:
        return None if text == MISSING else Decimal(text)
    except InvalidOperation:
        raise UsageError(f"{row['knee']}: jsn '{text}' is no number") from None


def _partners(progressors: list[Row], others: list[Row]) -> list[Row]:
    """For each progressor one of `others`, of another patient: the first that is free, or one that another gives up."""
    taken: dict[int, int] = {}
    for p in range(len(progressors)):
        if not _match(p, progressors, others, taken, set()):
            raise UsageError(f"{progressors[p]['knee']} finds no partner of another patient; ask for fewer pairs")
    partner = {p: o for o, p in taken.items()}
    return [others[partner[p]] for p in range(len(progressors))]


def _match(p: int, progressors: list[Row], others: list[Row], taken: dict[int, int], tried: set[int]) -> bool:
    # Augmenting paths: they find a complete matching whenever there is one.
    allowed = [o for o, row in enumerate(others) if row["subject"] != progressors[p]["subject"] and o not in tried]
    for o in allowed:
        if o not in taken:
            taken[o] = p
            return True
    for o in allowed:
        if o in tried:
            continue
        tried.add(o)
        if _match(taken[o], progressors, others, taken, tried):
            taken[o] = p
            return True
    return False
