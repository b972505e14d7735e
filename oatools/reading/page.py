"""The reading page: a folder that shows pairs of knees in any browser, from disk, and knows nothing of the answers."""

import json
import shutil
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path

import oatools
from oatools.core.errors import ItemError, UsageError
from oatools.core.files import digest_json
from oatools.core.manifest import IDENTITY, MISSING, Row
from oatools.core.provenance import read_provenance
from oatools.core.runner import Done
from oatools.imaging.orient import check_side
from oatools.imaging.volume import read_geometry
from oatools.reading import draw as drawn
from oatools.reading.draw import PLACES, tells
from oatools.reading.images import Frame, common_frame, equalise, grey_values, write_script

#: The columns of a table of pairs that are no clinical variables.
_NO_VARIABLES = (*IDENTITY, "pair", "place", "draw")
_NAMES = {
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
_YES_NO = {"injury": {"0": "no", "1": "yes"}, "surgery": {"0": "no", "1": "yes"}}
_ENDS = {
    "coronal": ("lateral", "medial"),
    "axial": ("lateral", "medial"),
    "sagittal": ("posterior", "anterior"),
}
_FIRST_LAST = {
    "coronal": ("posterior", "anterior"),
    "axial": ("inferior", "superior"),
    "sagittal": ("lateral", "medial"),
}
_ASSETS = ("index.html", "reader.css", "reader.js")


@dataclass(frozen=True)
class Wording:
    """What the page says: its title, the question, and what follows "A" and "B" on the buttons."""

    title: str
    question: str
    answer: str


@dataclass(frozen=True)
class Plan:
    """What a page will show: pair -> place -> row, the variables, the sequences with their grids.

    `names` has the file of each pair, place and sequence: numbers alone, whatever the table calls
    them. `hidden` are the table's other columns.
    """

    pairs: Mapping[str, Mapping[str, Row]]
    variables: Sequence[str]
    frames: Mapping[str, Frame]
    names: Mapping[tuple[str, str, str], str]
    hidden: Sequence[str] = ()


def read_pairs(columns: Sequence[str], rows: Iterable[Row]) -> dict[str, dict[str, Row]]:
    """Pair -> place (A, B) -> row, in the table's order.

    Raises a `UsageError` for a column that tells the answer, for a pair that has not one knee A and
    another knee B, of two patients, and for a knee of no known side.
    """
    for column in columns:
        if tells(column):
            raise UsageError(
                f"the pairs have a column '{column}', which may tell readers the answer; leave it out"
            )
    pairs = drawn.read_pairs(rows)
    for pair, knees in pairs.items():
        for row in knees.values():
            if row["side"] not in ("left", "right"):
                raise UsageError(
                    f"{row['knee']}: side '{row['side']}' is neither left nor right; correct the pairs"
                )
        one, other = (knees[place].get("subject", MISSING) for place in PLACES)
        if one == other != MISSING:
            raise UsageError(f"pair {pair} has two knees of patient {one}; correct the pairs")
    return pairs


def plan(
    columns: Sequence[str],
    pairs: Mapping[str, Mapping[str, Row]],
    volumes: Iterable[Row],
    wanted: Sequence[str] = (),
    variables: Sequence[str] = (),
) -> tuple[Plan, list[Row]]:
    """What the page will show, and a row for each volume of it: pair by pair, A before B, by sequence.

    `columns` are those of the pairs' table; of them `variables` are shown, or those clinical
    variables that oa-label writes, but for scores of pain. `volumes` are rows with knee, sequence
    and path; `wanted` are the sequences to show, in that order, or none for all that occur, sorted.
    A knee without a volume of one of them gets a row whose path is `n/a`. Raises a `UsageError`
    where a knee has two volumes of a sequence, a sequence is in none of the volumes, or some of its
    volumes went through oa-n4 and others not, or otherwise: that would show. An `ItemError` for a
    header that cannot be read is left to the volume's own turn.
    """
    knees = {row["knee"] for pair in pairs.values() for row in pair.values()}
    paths: dict[tuple[str, str], str] = {}
    for row in volumes:
        if row["knee"] not in knees:
            continue
        if paths.setdefault((row["knee"], row["sequence"]), row["path"]) != row["path"]:
            raise UsageError(
                f"{row['knee']} has two volumes of {row['sequence']}; keep one of them"
            )
    found = sorted({sequence for _, sequence in paths})
    if not found:
        raise UsageError("no knee of the pairs is in the volumes; check their column 'knee'")
    if absent := [sequence for sequence in wanted if sequence not in found]:
        raise UsageError(f"no volume of sequence '{absent[0]}'; there are {', '.join(found)}")
    sequences = list(dict.fromkeys(wanted or found))
    rows = [
        {**row, "sequence": sequence, "path": paths.get((row["knee"], sequence), MISSING)}
        for pair in pairs.values()
        for place in PLACES
        for row in [pair[place]]
        for sequence in sequences
    ]
    frames = {}
    for name in sequences:
        own = [row["path"] for row in rows if row["sequence"] == name]
        _require_alike(name, own)
        frames[name] = _frame(name, own)
    for column in variables:
        if column not in columns or column in _NO_VARIABLES or variables.count(column) > 1:
            raise UsageError(
                f"--show {column}: it is no clinical variable of the pairs, or is asked for twice; their "
                f"columns: {', '.join(columns)}"
            )
    # The endpoint is not known here: what makes the label of pain is shown only if that is asked
    # for.
    shown = list(
        variables
        or [column for column in columns if column in _NAMES and column not in drawn.OF_PAIN]
    )
    width = max(3, len(str(len(pairs))))
    names = {
        (pair, place, sequence): f"{n:0{width}d}-{place}-{k}"
        for n, pair in enumerate(pairs, start=1)
        for place in PLACES
        for k, sequence in enumerate(sequences, start=1)
    }
    hidden = [column for column in columns if column not in (*shown, *_NO_VARIABLES)]
    return Plan(pairs, shown, frames, names, hidden), rows


def show_volume(row: Row, folder: Path, plan: Plan) -> Done:
    """Write the volume of one row for the page; an `ItemError` where there is none, or it cannot be read."""
    if row["path"] == MISSING:
        raise ItemError(
            f"no volume of {row['sequence']}; add it, or leave the sequence out with --sequence"
        )
    name = plan.names[row["pair"], row["place"], row["sequence"]]
    grey = grey_values(row["path"], row["side"], plan.frames[row["sequence"]])
    check = write_script(folder / "volumes" / f"{name}.js", name, grey)
    warnings = []
    try:
        check_side(read_geometry(row["path"]), row["side"])
    except ItemError as error:
        warnings.append(
            f"{str(error).partition(';')[0]}; look whether lateral and medial are where the page says"
        )
    phantom = "1" if read_provenance(row["path"]).is_phantom else "0"
    return Done(
        {"page": f"volumes/{name}.js", "check": check, "phantom": phantom}, warnings=tuple(warnings)
    )


def finish(folder: Path, plan: Plan, done: Sequence[Row], wording: Wording) -> list[str]:
    """Write the page beside its volumes and return the pairs that it shows: those of which no volume failed.

    `done` are the rows whose volumes were written, with what `show_volume` said. The page names no
    knee, side, file or digest of a scan.
    """
    checks = {(row["pair"], row["place"], row["sequence"]): row["check"] for row in done}
    failed = {pair for pair, *rest in plan.names.keys() - checks.keys()}
    complete = [pair for pair in plan.pairs if pair not in failed]
    if not complete:
        return []
    for key in checks:
        if key[0] in failed:
            (folder / "volumes" / f"{plan.names[key]}.js").unlink()
    for sequence in plan.frames:
        equalise(
            [
                folder / "volumes" / f"{plan.names[pair, place, sequence]}.js"
                for pair in complete
                for place in PLACES
            ]
        )
    study = {
        "title": wording.title,
        "question": wording.question,
        "answer": wording.answer,
        "draw": next(iter(plan.pairs.values()))["A"].get("draw", MISSING),
        "phantoms": any(row["phantom"] == "1" for row in done),
        "variables": [_NAMES.get(name, name) for name in plan.variables],
        "sequences": [_sequence(name, frame) for name, frame in plan.frames.items()],
        "pairs": [_pair(pair, plan, checks) for pair in complete],
    }
    # What tells one study's answers from another's: a digest of all that readers are shown, whoever
    # packed it.
    study["id"] = digest_json(study)[:16]
    study["made"] = f"oatools {oatools.__version__}"
    # ASCII, so that no encoding can go wrong, and no markup even if somebody pastes it into a page.
    text = json.dumps(study, ensure_ascii=True, indent=1).replace("<", "\\u003c")
    (folder / "study.js").write_text(f"reading.study({text});\n", encoding="ascii")
    assets = files("oatools.reading") / "assets"
    for name in _ASSETS:
        (folder / name).write_bytes((assets / name).read_bytes())
    return complete


def require_free(out_dir: Path, force: bool) -> None:
    """A `UsageError` where a page cannot go: a folder that holds something else, or a page unless `force`."""
    if not out_dir.exists() or (out_dir.is_dir() and not any(out_dir.iterdir())):
        return
    if not (out_dir / "study.js").is_file():
        raise UsageError(
            f"{out_dir} exists and is no reading page, and is not replaced; choose another -o"
        )
    if not force:
        raise UsageError(f"{out_dir} exists; use --force to replace it, or another -o")


@contextmanager
def new_folder(out_dir: Path, force: bool) -> Iterator[Path]:
    """A folder beside `out_dir` that takes its place when the block ends, if it holds a page by then, and goes if not.

    An older page there is replaced with `force`; a `UsageError` where another run has put one there
    meanwhile.
    """
    out_dir = out_dir.resolve()  # what a link leads to is replaced, and not the link
    out_dir.parent.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=f".{out_dir.name}.", dir=out_dir.parent))
    try:
        folder.chmod(0o755)
        (folder / "volumes").mkdir()
        yield folder
        if (folder / "index.html").exists():
            require_free(out_dir, force)
            if out_dir.exists():
                shutil.rmtree(out_dir)
            folder.replace(out_dir)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _require_alike(sequence: str, paths: Sequence[str]) -> None:
    """Refuse volumes that were corrected in different ways: where that goes with the answer, it gives it away."""
    kinds: dict[str, str] = {}
    for path in paths:
        try:
            steps = read_provenance(path).steps
        except ItemError:
            continue  # it will fail under its own name when its turn comes
        corrected = [step.parameters for step in steps if step.tool == "oa-n4"]
        if Path(path).exists():
            kinds.setdefault(json.dumps(corrected, sort_keys=True), path)
    if len(kinds) > 1:
        one, other = list(kinds.values())[:2]
        raise UsageError(
            f"{sequence}: {one} and {other} did not go through the same oa-n4, which readers could see; "
            "give volumes that were prepared alike"
        )


def _frame(sequence: str, paths: Sequence[str]) -> Frame:
    known = []
    reason = "no knee has one"
    for path in paths:
        try:
            common_frame([path], sequence)
        except ItemError as error:
            if path != MISSING:
                reason = str(error)
            continue  # it will fail under its own name when its turn comes
        known.append(path)
    if not known:
        raise UsageError(f"no volume of {sequence} can be read: {reason}")
    try:
        return common_frame(known, sequence)
    except ItemError as error:
        raise UsageError(f"{sequence}: {error}") from None


def _sequence(name: str, frame: Frame) -> dict[str, object]:
    columns, rows, slices = frame.shape
    return {
        "name": name,
        "columns": columns,
        "rows": rows,
        "slices": slices,
        "pixel": frame.pixel,
        "ends": _ENDS[frame.plane],
        "along": _FIRST_LAST[frame.plane],
    }


def _pair(pair: str, plan: Plan, checks: Mapping[tuple[str, str, str], str]) -> dict[str, object]:
    knees = plan.pairs[pair]
    return {
        "pair": pair,
        "files": {
            place: [
                {"file": plan.names[pair, place, sequence], "check": checks[pair, place, sequence]}
                for sequence in plan.frames
            ]
            for place in PLACES
        },
        "values": {
            place: [_shown(knees[place], name) for name in plan.variables] for place in PLACES
        },
    }


def _shown(row: Row, variable: str) -> str:
    value = row.get(variable, MISSING)
    return _YES_NO.get(variable, {}).get(value, value)
