"""The reading page: a folder that shows pairs of knees in any browser, from disk.

It knows nothing of the answers.
"""

import contextlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Any

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest_json, write_new
from oatools.core.manifest import IDENTITY, MISSING, Row
from oatools.core.people import normal_knee, note_forms
from oatools.core.provenance import read_provenance, seen, step
from oatools.core.runner import Done
from oatools.core.suggestions import did_you_mean
from oatools.imaging.orient import check_side
from oatools.imaging.volume import read_geometry
from oatools.learning.presets import PAIN_SCORES, reveals_outcome
from oatools.reading.images import Frame, common_frame, equalise, grey_values, write_script
from oatools.reading.pagefolder import READING, damage_of, is_page, read_study, write_study
from oatools.reading.pairs import PAIR_IDENTITY, PLACES, Knees, read_pairs
from oatools.version import __version__

#: The columns of a table of pairs that are no clinical variables.
_NO_VARIABLES = (*IDENTITY, *PAIR_IDENTITY)
#: Clinical variables of oa-label as a reader sees them, with their units.
VARIABLE_NAMES = {
    "age": "Age, years",
    "sex": "Sex",
    "bmi": "BMI, kg/m²",
    "height": "Height, m",
    "weight": "Weight, kg",
    "jsw": "Minimum medial joint space width, mm",
    "kl": "Kellgren-Lawrence grade",
    "injury": "Past injury",
    "surgery": "Past surgery",
    "race": "Race",
    "womac_pain": "WOMAC pain",
    "womac_stiffness": "WOMAC stiffness",
    "womac_function": "WOMAC function",
    "womac_total": "WOMAC total",
}
_YES_NO = {"0": "no", "1": "yes"}
_VALUE_NAMES = {"injury": _YES_NO, "surgery": _YES_NO}
# Decimals that a reader is shown: no more than the measurement has.
_DECIMALS = {"height": 2, "weight": 1, "bmi": 1, "jsw": 1}
#: What lies at the left and the right of a slice, and at the first and the last slice, by plane.
ENDS = {
    "coronal": ("lateral", "medial"),
    "axial": ("lateral", "medial"),
    "sagittal": ("posterior", "anterior"),
}
ALONG = {
    "coronal": ("posterior", "anterior"),
    "axial": ("inferior", "superior"),
    "sagittal": ("lateral", "medial"),
}
#: Pair, place and sequence: they name a volume of the page.
_Slot = tuple[str, str, str]


@dataclass(frozen=True)
class PageText:
    """The words of a page: its title, the question, and what follows "A" and "B" on the buttons.

    `about` says before the first pair what is asked for, as the study defines it.
    """

    title: str
    question: str
    answer: str
    about: str = ""


@dataclass(frozen=True)
class PagePlan:
    """The contents of a page: pairs, clinical variables, and the sequences with their grids.

    `names` has the file of each pair, place and sequence: numbers alone, whatever the table calls
    them. `hidden` are the table's other columns.
    """

    pairs: Mapping[str, Knees]
    variables: Sequence[str]
    frames: Mapping[str, Frame]
    names: Mapping[_Slot, str]
    hidden: Sequence[str] = ()


@dataclass(frozen=True)
class PageVolume:
    """A volume that was written for the page.

    That is its row, its file, the checksum of its values, and what identifies the volume itself.
    """

    row: Row
    file: str
    check: str
    source: str
    is_phantom: bool

    @property
    def pair(self) -> str:
        """The pair that the volume is of."""
        return self.row["pair"]

    @property
    def slot(self) -> _Slot:
        """The pair, place and sequence of the volume."""
        return _slot(self.row)

    def cells(self) -> Row:
        """Return the new cells of the volume's row, from which `from_cells` makes it again."""
        return {
            "page": self.file,
            "check": self.check,
            "source": self.source,
            "phantom": str(int(self.is_phantom)),
        }

    def printed_row(self) -> Row:
        """Return the row of the volume with its file in the page."""
        return {**self.row, "page": self.file}

    @classmethod
    def from_cells(cls, row: Row, cells: Row) -> "PageVolume":
        """Make a volume from its row and the cells that were added to it."""
        is_phantom = cells["phantom"] == "1"
        return cls(row, cells["page"], cells["check"], cells["source"], is_phantom)


def read_blinded_pairs(columns: Sequence[str], rows: Iterable[Row]) -> dict[str, Knees]:
    """Return the knees of each pair that readers may see, in the table's order.

    Raises a `UsageError` for a column that reveals the answer, for a pair that does not have one
    knee A and another knee B, of two patients, and for a knee of no known side.
    """
    for column in columns:
        if reveals_outcome(column):
            raise UsageError(
                f"the pairs have a column '{column}', which may tell readers the answer",
                "leave it out",
            )
    pairs = read_pairs(rows)
    for pair, knees in pairs.items():
        for row in knees.values():
            if row["side"] not in ("left", "right"):
                raise UsageError(
                    f"{row['knee']}: side '{row['side']}' is neither left nor right",
                    "correct the pairs",
                )
        one, other = [knees[place].get("subject", MISSING) for place in PLACES]
        if one == other != MISSING:
            raise UsageError(f"pair {pair} has two knees of patient {one}", "correct the pairs")
    return pairs


def page_variables(columns: Sequence[str], shown: Sequence[str] = ()) -> list[str]:
    """Return the clinical variables that readers see: those `shown`, or else those of oa-label.

    `columns` are those of the pairs' table. Raises a `UsageError` for a column that is not there,
    says which knee it is, or is asked for twice.
    """
    for column in shown:
        is_variable = column in columns and column not in _NO_VARIABLES
        if not is_variable or shown.count(column) > 1:
            present = ", ".join(columns)
            raise UsageError(
                f"{column}: it is no clinical variable of the pairs, or is asked for twice; "
                f"their columns: {present}"
            )
    if shown:
        return list(shown)
    # The endpoint is not known here: scores of which the label of pain is made are shown only if
    # they are asked for.
    return [column for column in columns if column in VARIABLE_NAMES and column not in PAIN_SCORES]


def plan_page(
    columns: Sequence[str],
    pairs: Mapping[str, Knees],
    volumes: Iterable[Row],
    sequences: Sequence[str],
    variables: Sequence[str],
) -> tuple[PagePlan, list[Row]]:
    """Plan a page, and return a row for each volume of it: pair by pair, A before B, by sequence.

    `columns` are those of the pairs' table, and `variables` those that are shown. `volumes` are
    rows with knee, sequence and path; `sequences` are those to show, in that order, or none for all
    that occur, sorted. A knee without a volume of one of them gets a row whose path is `n/a`.

    Raises a `UsageError` where a knee has two volumes of a sequence, a sequence is in none of the
    volumes, or some of its volumes went through oa-n4 and others not, or otherwise: that would
    show. An `ItemError` for a header that cannot be read is left to the volume's own turn.
    """
    paths = _paths_of(pairs, volumes)
    found = sorted({sequence for _, sequence in paths})
    if not found:
        raise UsageError("no knee of the pairs is in the volumes", "check their column 'knee'")
    for sequence in sequences:
        if sequence not in found:
            present = ", ".join(found)
            meant = did_you_mean(sequence, found)
            raise UsageError(f"no volume of sequence '{sequence}'; there are {present}", meant)
    chosen = list(dict.fromkeys(sequences or found))

    rows, names = [], {}
    width = max(3, len(str(len(pairs))))
    for n, (pair, knees) in enumerate(pairs.items(), start=1):
        for place in PLACES:
            for k, sequence in enumerate(chosen, start=1):
                path = paths.get((knees[place]["knee"], sequence), MISSING)
                rows.append({**knees[place], "sequence": sequence, "path": path})
                names[pair, place, sequence] = f"{n:0{width}d}-{place}-{k}"
    frames = {}
    for sequence in chosen:
        own = [row["path"] for row in rows if row["sequence"] == sequence]
        _require_same_correction(sequence, own)
        frames[sequence] = _frame(sequence, own)
    hidden = [column for column in columns if column not in (*variables, *_NO_VARIABLES)]
    return PagePlan(pairs, variables, frames, names, hidden), rows


def show_volume(row: Row, folder: Path, plan: PagePlan) -> Done:
    """Write the volume of one row for the page.

    An `ItemError` where there is none, or it cannot be read.
    """
    if row["path"] == MISSING:
        raise ItemError(
            f"no volume of {row['sequence']}", "add it, or leave the sequence out with `sequences`"
        )
    name, before = plan.names[_slot(row)], seen(Path(row["path"]))
    source = _origin(row)
    grey = grey_values(row["path"], row["side"], plan.frames[row["sequence"]])
    check = write_script(folder / "volumes" / f"{name}.js", name, grey)
    warnings = []
    try:
        check_side(read_geometry(row["path"]), row["side"])
    except ItemError as error:
        warnings.append(f"{error.reason}; look whether lateral and medial are where the page says")
    is_phantom = read_provenance(row["path"]).is_phantom
    before.require()
    volume = PageVolume(row, _file_of(name), check, source, is_phantom)
    return Done(volume.cells(), warnings=tuple(warnings))


def finish_page(
    folder: Path, plan: PagePlan, volumes: Sequence[PageVolume], text: PageText
) -> list[str]:
    """Write the page beside its volumes, and return the pairs that it shows.

    They are those of which no volume failed. The page names no knee, side, file or digest of a
    scan.
    """
    checks = {volume.slot: volume.check for volume in volumes}
    failed = {pair for pair, _, _ in plan.names.keys() - checks.keys()}
    complete = [pair for pair in plan.pairs if pair not in failed]
    if not complete:
        return []
    for volume in volumes:
        if volume.pair in failed:
            (folder / volume.file).unlink()
    for sequence in plan.frames:
        own = [volume for volume in volumes if volume.row["sequence"] == sequence]
        equalise(folder / v.file for v in own if v.pair not in failed)
    study: dict[str, Any] = {
        "title": text.title,
        "question": text.question,
        "answer": text.answer,
        "about": text.about,
        "draw": next(iter(plan.pairs.values()))["A"].get("draw", MISSING),
        "phantoms": any(volume.is_phantom for volume in volumes),
        "variables": [VARIABLE_NAMES.get(name, name) for name in plan.variables],
        "sequences": [_sequence(name, frame) for name, frame in plan.frames.items()],
        "pairs": [_pair(pair, plan, checks) for pair in complete],
    }
    # Answers name the study that they are to: by a digest of all that readers are shown, whoever
    # packed it.
    study["id"] = digest_json(study)[:16]
    study["made"] = f"oatools {__version__}"
    sources = {volume.slot: volume.source for volume in volumes}
    study["source"] = _source(plan, text, complete, sources)
    write_study(folder, study)
    for name in READING.assets:
        write_new(folder / name, asset(name))
    return complete


def asset(name: str, room: str = "oatools.reading") -> bytes:
    """Return a file that pages of a room have; scripts begin with what pages of scans share."""
    content = (files(room) / "assets" / name).read_bytes()
    if not name.endswith(".js"):
        return content
    return (files("oatools.reading") / "assets" / "images.js").read_bytes() + b"\n" + content


@dataclass(frozen=True)
class OldPage:
    """A page that is there already, as `find_page` found it.

    `is_same` tells whether it was made of the same pairs, volumes and words; `missing` says how
    many pairs it lacks then, and `damage` what has become of it since.
    """

    is_same: bool
    damage: str = ""
    missing: int = 0


def find_page(out_dir: Path, plan: PagePlan, rows: Sequence[Row], text: PageText) -> OldPage | None:
    """Compare the page in a folder with that which would be made; None where there is none."""
    if not is_page(out_dir):
        return None
    damage = damage_of(out_dir)
    other = OldPage(is_same=False, damage=damage)
    study = read_study(out_dir)
    shown = study.get("pairs")
    names = [pair.get("pair") for pair in shown if isinstance(pair, dict)] if shown else []
    complete = [pair for pair in plan.pairs if pair in names]
    sources = {}
    for row in rows:
        if row["pair"] in complete and row["path"] != MISSING:
            try:
                sources[_slot(row)] = _origin(row)
            except ItemError:
                return other
    slots = [slot for slot in plan.names if slot[0] in complete]
    if not all(slot in sources for slot in slots):
        return other
    if study.get("source") != _source(plan, text, complete, sources):
        return other
    return OldPage(True, damage, len(plan.pairs) - len(complete))


def kept_rows(plan: PagePlan, rows: Sequence[Row]) -> list[Row]:
    """Return the rows of a page that is there already, with the file of each volume."""
    return [{**row, "page": _file_of(plan.names[_slot(row)])} for row in rows]


def _origin(row: Row) -> str:
    """What identifies a row's volume: its digest, and the mark of a phantom."""
    sha256 = step("oa-pairs page", {}, row["path"]).input_sha256
    return f"{sha256} phantom" if read_provenance(row["path"]).is_phantom else sha256


def _source(
    plan: PagePlan, text: PageText, complete: Sequence[str], sources: Mapping[_Slot, str]
) -> str:
    """The digest of all that a page is made of, by which it is known again."""
    pairs = []
    for pair in complete:
        knees = plan.pairs[pair]
        shown = [[knees[place].get(name) for name in plan.variables] for place in PLACES]
        slots = [(pair, place, sequence) for place in PLACES for sequence in plan.frames]
        pairs.append([pair, shown, [[plan.names[slot], sources[slot]] for slot in slots]])
    frames = [_sequence(name, frame) for name, frame in plan.frames.items()]
    draw = next(iter(plan.pairs.values()))["A"].get("draw", MISSING)
    said = [text.title, text.question, text.answer, text.about]
    return digest_json([said, draw, list(plan.variables), frames, pairs])


def _file_of(name: str) -> str:
    return f"volumes/{name}.js"


def _slot(row: Row) -> _Slot:
    return row["pair"], row["place"], row["sequence"]


def _paths_of(pairs: Mapping[str, Knees], volumes: Iterable[Row]) -> dict[tuple[str, str], str]:
    """The file of each knee of the pairs and each sequence."""
    knees: set[str] = set()
    for pair in pairs.values():
        knees.update(row["knee"] for row in pair.values())
    paths: dict[tuple[str, str], str] = {}
    for row in volumes:
        note_forms(row, "the volumes")
        knee, sequence, path = normal_knee(row["knee"]), row["sequence"], row["path"]
        if knee in knees and paths.setdefault((knee, sequence), path) != path:
            raise UsageError(f"{knee} has two volumes of {sequence}", "keep one of them")
    return paths


def _require_same_correction(sequence: str, paths: Sequence[str]) -> None:
    """Refuse volumes that were corrected in different ways.

    Where the correction goes with the answer, it gives the answer away.
    """
    kinds: dict[str, str] = {}
    for path in paths:
        try:
            steps = read_provenance(path).steps
        except ItemError:
            continue  # it will fail under its own name when its turn comes
        corrections = [step.parameters for step in steps if step.tool == "oa-n4"]
        if Path(path).exists():
            kinds.setdefault(json.dumps(corrections, sort_keys=True), path)
    if len(kinds) > 1:
        one, other, *_ = kinds.values()
        raise UsageError(
            f"{sequence}: {one} and {other} did not go through the same oa-n4, which readers could "
            "see",
            "give volumes that were prepared alike",
        )


def _frame(sequence: str, paths: Sequence[str]) -> Frame:
    """The grid of all volumes of a sequence whose headers can be read."""
    known = []
    problem = ItemError("no knee has one")
    for path in paths:
        try:
            common_frame([path], sequence)
        except ItemError as error:
            if path != MISSING:
                problem = error
            continue  # it will fail under its own name when its turn comes
        known.append(path)
    if not known:
        reason = f"no volume of {sequence} can be read: {problem.reason}"
        raise UsageError(reason, problem.remedy)
    try:
        return common_frame(known, sequence)
    except ItemError as error:
        raise UsageError(f"{sequence}: {error.reason}", error.remedy) from None


def _sequence(name: str, frame: Frame) -> dict[str, Any]:
    """A sequence as the page's script takes it."""
    columns, rows, slices = frame.shape
    return {
        "name": name,
        "columns": columns,
        "rows": rows,
        "slices": slices,
        "pixel": frame.pixel,
        "ends": ENDS[frame.plane],
        "along": ALONG[frame.plane],
    }


def _pair(pair: str, plan: PagePlan, checks: Mapping[_Slot, str]) -> dict[str, Any]:
    """A pair as the page's script takes it: its files, and the values of its variables."""
    shown_files: dict[str, list[dict[str, str]]] = {}
    values: dict[str, list[str]] = {}
    for place in PLACES:
        slots = [(pair, place, sequence) for sequence in plan.frames]
        shown_files[place] = [{"file": plan.names[slot], "check": checks[slot]} for slot in slots]
        knee = plan.pairs[pair][place]
        values[place] = [value_name(knee, variable) for variable in plan.variables]
    return {"pair": pair, "files": shown_files, "values": values}


def value_name(row: Row, variable: str) -> str:
    """Return the value of a variable in a row as a reader sees it."""
    value = row.get(variable, MISSING)
    if variable in _DECIMALS:
        with contextlib.suppress(ValueError):  # no number: as the table has it
            return f"{float(value):.{_DECIMALS[variable]}f}"
    return _VALUE_NAMES.get(variable, {}).get(value, value)
