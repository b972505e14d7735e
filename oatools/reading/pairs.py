"""Pairs of knees in tables: two rows a pair for readers, and one row a pair in the key."""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from oatools.core import provenance
from oatools.core.errors import UsageError
from oatools.core.files import write_text
from oatools.core.manifest import MISSING, Row, table_bytes, write_table
from oatools.core.people import People

PLACES = ("A", "B")
OTHER_PLACE = {"A": "B", "B": "A"}
#: The columns of a table of pairs that say which knee stands where.
PAIR_IDENTITY = ("knee", "subject", "visit", "side", "pair", "place", "draw")
KEY_COLUMNS = [*PAIR_IDENTITY, "stratum", "jsn", provenance.CAUTION_COLUMN]

_TOOL = "oa-pairs draw"

#: Place (A, B) -> the row of the knee that stands there.
Knees = dict[str, Row]
#: Pair -> its progressor's row in the key.
Key = dict[str, Row]


@dataclass(frozen=True)
class Pair:
    """Two knees of two patients; `place` (A or B) is where the progressor stands."""

    number: str
    stratum: str
    progressor: Row
    partner: Row
    place: str

    def at(self, place: str) -> Row:
        """Return the knee that stands at A or B."""
        return self.progressor if place == self.place else self.partner


def pair_columns(shown: Sequence[str]) -> list[str]:
    """Return the columns of the table of pairs: which knee it is, and what readers are shown."""
    return [*PAIR_IDENTITY, *shown]


def draw_name(pairs: Sequence[Pair]) -> str:
    """Return the name of a draw, by which its pairs, key and answers are known to belong together.

    It is a digest of which knee stands where.
    """
    lines = []
    for pair in pairs:
        lines += [f"{pair.at(place)['knee']}\t{pair.number}\t{place}" for place in PLACES]
    text = "\n".join(lines)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:12]


def pair_rows(pairs: Sequence[Pair], columns: Sequence[str]) -> Iterator[Row]:
    """Yield two rows a pair, A always before B, with the given columns and nothing else."""
    name = draw_name(pairs)
    for pair in pairs:
        for place in PLACES:
            row = {**pair.at(place), "pair": pair.number, "place": place, "draw": name}
            yield {column: row.get(column, MISSING) for column in columns}


def key_rows(pairs: Sequence[Pair]) -> Iterator[Row]:
    """Yield the answers, a row a pair: the progressor, where it stands, its stratum and its JSN."""
    name = draw_name(pairs)
    for pair in pairs:
        yield {
            **pair.progressor,
            "pair": pair.number,
            "place": pair.place,
            "draw": name,
            "stratum": pair.stratum,
        }


def draw_step(
    labels: str, columns: Sequence[str], rows: Iterable[Row], parameters: Mapping[str, Any]
) -> provenance.Step:
    """Return the record of a draw: its settings, and the digest of the labels.

    `columns` and `rows` are what the table `labels` holds. Of labels that came by standard input
    (`-`) the digest is that of the same table in a file.
    """
    if labels != "-":
        return provenance.step(_TOOL, dict(parameters), labels)
    digest = hashlib.sha256(table_bytes(columns, rows)).hexdigest()
    return provenance.Step(_TOOL, dict(parameters), labels, digest)


def record_path(key: Path) -> Path:
    """Return the JSON file beside a key that says how it was made: `key.tsv` has `key.json`."""
    return key.with_name(f"{key.stem}.json")


def save_key(key: Path, pairs: Sequence[Pair], made: provenance.Step, force: bool) -> bool:
    """Write the key of these pairs, and beside it how it was made; return True if it was kept.

    A key that holds these very answers is kept. Without `force`, a `UsageError` protects the key of
    another draw, and a JSON file of the name of this key's record, unless it is that of this draw,
    which ended before the key was there.
    """
    answers = list(key_rows(pairs))
    record = record_path(key)
    recorded = json.dumps(provenance.with_step({}, made), indent=2) + "\n"
    remedy = "use `force` to replace it, or another `key`"

    def why_no_record() -> str:
        is_same = record.is_file() and record.read_bytes() == recorded.encode()
        return "" if is_same else "exists"

    if not key.exists():
        provenance.may_keep(record, why_no_record, force, error=UsageError, remedy=remedy)

    def why_not() -> str:
        is_same = key.read_bytes() == table_bytes(KEY_COLUMNS, answers)
        return "" if is_same else "exists, with the answers to another draw"

    if provenance.may_keep(key, why_not, force, error=UsageError, remedy=remedy):
        return True
    write_text(record, recorded)
    write_table(key, KEY_COLUMNS, answers)
    return False


def read_pairs(rows: Iterable[Row]) -> dict[str, Knees]:
    """Return the knees of each pair, in the table's order, with ids in normal form.

    A knee may have several rows, such as one a sequence, of which the first counts. Raises a
    `UsageError` for a pair that does not have one knee A and another knee B, and as `People.take`
    does.
    """
    pairs: dict[str, Knees] = defaultdict(dict)
    people = People()
    for written in rows:
        row = people.take(written, "the pairs")
        first = pairs[row["pair"]].setdefault(row["place"], row)
        if row["place"] not in PLACES or first["knee"] != row["knee"]:
            raise UsageError(f"pair {row['pair']} does not have one knee A and one knee B")
    for pair, knees in pairs.items():
        if len(knees) != 2:
            raise UsageError(f"pair {pair} does not have one knee A and one knee B")
        knee = knees["A"]["knee"]
        if knee == knees["B"]["knee"]:
            raise UsageError(f"pair {pair} has {knee} at both places", "correct the pairs")
    if not pairs:
        raise UsageError("the pairs hold no pair")
    return dict(pairs)


def read_key(rows: Iterable[Row]) -> Key:
    """Return the key as `oa-pairs draw` wrote it, with ids in normal form.

    Raises a `UsageError` for a pair that is there twice, a place that is neither A nor B, and as
    `People.take` does.
    """
    key: Key = {}
    people = People()
    for written in rows:
        row = people.take(written, "the key")
        if row["pair"] in key:
            raise UsageError(f"the key has pair {row['pair']} twice")
        if row["place"] not in PLACES:
            raise UsageError(
                f"the key has place '{row['place']}' for pair {row['pair']}", "A or B was expected"
            )
        key[row["pair"]] = row
    if not key:
        raise UsageError("the key holds no pair")
    return key


def read_scored_pairs(rows: Iterable[Row], key: Key) -> dict[str, Knees]:
    """Return the knees of the pairs that were shown: all those of the key, or some of them.

    Raises a `UsageError` where the pairs are not those of the key.
    """
    pairs = {}
    for name, knees in read_pairs(rows).items():
        known = find_pair(name, key)
        if known is None:
            raise UsageError(
                f"pair {name} is not in the key", "give the pairs and the key of one draw"
            )
        answer = key[known]
        stands_there = knees[answer["place"]]["knee"] == answer["knee"]
        if not stands_there or not is_of_draw(knees["A"], key):
            raise UsageError(f"pair {name}: the pairs do not fit the key", "give those of one draw")
        pairs[known] = knees
    return pairs


def find_pair(name: str, key: Key) -> str | None:
    """Return the pair of the key that an answer means; spreadsheets make 1 of 001."""
    if name in key:
        return name
    if not _is_number(name):
        return None
    alike = [pair for pair in key if _is_number(pair) and int(pair) == int(name)]
    return alike[0] if len(alike) == 1 else None


def is_of_draw(row: Row, key: Key) -> bool:
    """Return False if row and key both name their draw, and the draws differ."""
    known = next(iter(key.values())).get("draw", MISSING)
    named = row.get("draw", MISSING)
    return MISSING in (known, named) or named == known


def _is_number(pair: str) -> bool:
    return pair.isascii() and pair.isdigit()
