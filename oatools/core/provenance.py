"""How an artefact was made, and whether work already done may be kept.

Every artefact records the steps that led to it, oldest first: in JSON,
`{"tool", "version", "parameters", "input": {"name", "sha256"}}`. Names are bare file names, so
that a record says nothing of the machine and the same work gives the same bytes anywhere.
"""

import enum
import json
import os
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from oatools.core.bids import is_bids_name
from oatools.core.errors import ItemError, OatoolsError
from oatools.core.files import Snapshot, digest, digest_json, record_digest, tree_digest
from oatools.core.ownsteps import SHA256, STRANGER, own_step
from oatools.core.paths import require_file
from oatools.core.records import as_read
from oatools.core.replacing import Replace
from oatools.core.scanfields import SCAN_FIELDS, is_scan_field
from oatools.core.sequences import is_sequence_name
from oatools.version import __version__

#: The field of a sidecar, and the attribute of a feature file, that holds the steps.
STEPS = "OatoolsSteps"
#: The field of a sidecar with size and digest of its volume, by which later damage is noticed.
OUTPUT = "OatoolsOutput"
#: The field of such a sidecar with the digest of its other fields.
SEAL = "OatoolsSidecar"
#: The field of a sidecar, and the attribute of a feature file, that marks a synthetic knee.
PHANTOM_FIELD, PHANTOM_ATTRIBUTE = "Phantom", "phantom"
#: The field of a heat map's sidecar with the cells of its row.
CELLS = "Cells"
#: The DICOM ImplementationVersionName with which `oa-phantom` signs the headers of its series.
PHANTOM_IMPLEMENTATION = "OATOOLS_PHANTOM"

# The files of a NIfTI pair, header and voxels.
_OTHER_HALF = {".img": ".hdr", ".hdr": ".img"}
# The endings of files that are made with a volume.
_BESIDE = (".tsv", ".png")
# Settings that are files, recorded by digest, and what they are called in messages.
_FILES = {"model": "model", "mask": "mask", "with": "volume of the knee's other sequences"}
_STEP_KEYS = ("tool", "version", "parameters", "input")

# Cells of the table that oa-convert records, which pass where our own steps stand beside them.
_IDENTITY = {
    "Knee": re.compile(r"[^\s^,;]{1,100}"),
    "Subject": re.compile(r"[^\s^,;]{1,64}"),
    "Visit": re.compile(r"\d{1,4}m"),
    "Side": re.compile(r"left|right"),
    "Sequence": re.compile(r"[0-9A-Za-z._+-]{1,64}"),
}
_MOST_BYTES = 1 << 24  # of a sidecar; ours have some thousand
_MARK = re.compile(rb'"Phantom"\s*:\s*true')


class Caution(enum.Enum):
    """A reason why numbers say nothing about patients, or less than they seem to.

    The value is how tables, records and messages name it.
    """

    RANDOM_WEIGHTS = "random weights"
    PHANTOMS = "phantoms"
    LEAKY_SPLIT = "leaky split"
    UNKNOWN_MAKING = "features whose making is not recorded"
    TRAINING_KNEES = "training knees"


#: What to do about an output that the same command made otherwise.
OUTDATED_REMEDY = "use `update`, `force` or another `out_dir`"
#: The column in which tables that are made from images carry the cautions about their numbers.
CAUTION_COLUMN = "caution"


def caution_cell(cautions: Iterable[Caution]) -> str:
    """Return the cell of `CAUTION_COLUMN`: `phantoms, random weights`, or n/a without any."""
    return ", ".join(sorted(caution.value for caution in cautions)) or "n/a"


def cautions_in(cell: str) -> set[Caution]:
    """Return the cautions that a cell of `CAUTION_COLUMN` names; other words are passed over."""
    words = {word.strip() for word in cell.split(",")}
    return {caution for caution in Caution if caution.value in words}


@dataclass(frozen=True)
class Step:
    """One tool's work on one input.

    `parameters` are plain JSON values. `results` is what the work found out: it is recorded, and
    not compared when a later run asks whether the work is done.
    """

    tool: str
    parameters: dict[str, Any]
    input_name: str
    input_sha256: str
    version: str = __version__
    results: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the step in the form in which it is recorded."""
        source = {"name": self.input_name, "sha256": self.input_sha256}
        return {
            "tool": self.tool,
            "version": self.version,
            "parameters": self.parameters,
            "input": source,
            **self.results,
        }

    @classmethod
    def from_json(cls, recorded: Any) -> "Step | None":
        """Read a step that `to_json` gave; None for anything that does not name its tool."""
        if not isinstance(recorded, dict) or not isinstance(recorded.get("tool"), str):
            return None
        parameters, source = recorded.get("parameters"), recorded.get("input")
        source = source if isinstance(source, dict) else {}
        return cls(
            tool=recorded["tool"],
            parameters=parameters if isinstance(parameters, dict) else {},
            input_name=str(source.get("name", "")),
            input_sha256=str(source.get("sha256", "")),
            version=str(recorded.get("version", "")),
            results={key: value for key, value in recorded.items() if key not in _STEP_KEYS},
        )

    def difference_from(self, recorded: "Step") -> str:
        """Return how a recorded step differs from this one, as "was made ...", or an empty text.

        The version is not compared: an upgrade does not throw work away.
        """
        if recorded.tool != self.tool:
            return "was made by another tool"
        if recorded.input_sha256 != self.input_sha256:
            return "was made from another input"
        if recorded.parameters != self.parameters:
            different = differences(recorded.parameters, self.parameters)
            return f"was made with other settings ({different})"
        return ""


@dataclass(frozen=True)
class RecordedOrientation:
    """The record of what oa-orient did to a volume.

    `reference` is `left` where the record does not say, and `axes` and `flips` are None (see
    `imaging.orient`).
    """

    reference: str
    axes: tuple[int, ...] | None = None
    flips: tuple[bool, ...] | None = None


@dataclass(frozen=True)
class Provenance:
    """The record of an artefact's making: its steps, and whether it is synthetic."""

    steps: tuple[Step, ...] = ()
    is_phantom: bool = False
    is_recorded: bool = False  # False where nothing is known, which is not the same as no steps

    @classmethod
    def from_fields(cls, fields: Mapping[str, Any]) -> "Provenance":
        """Read the fields of a volume's sidecar, or the attributes of a feature file."""
        recorded = fields.get(STEPS)
        listed = recorded if isinstance(recorded, list) else []
        steps = [step for step in map(Step.from_json, listed) if step is not None]
        is_phantom = bool(fields.get(PHANTOM_FIELD) or fields.get(PHANTOM_ATTRIBUTE))
        return cls(tuple(steps), is_phantom, STEPS in fields)

    @property
    def last(self) -> Step | None:
        """The step that made the artefact itself, if it is recorded."""
        return self.steps[-1] if self.steps else None

    def latest(self, tool: str) -> Step | None:
        """The last step of a tool; None if the artefact did not go through it."""
        return next((step for step in reversed(self.steps) if step.tool == tool), None)

    def orientation(self) -> RecordedOrientation | None:
        """The last work of oa-orient; None if the volume did not go through it."""
        step = self.latest("oa-orient")
        if step is None:
            return None
        axes, flips = step.parameters.get("axes"), step.parameters.get("flips")
        return RecordedOrientation(
            reference=_reference(step),
            axes=tuple(axes) if isinstance(axes, list) else None,
            flips=tuple(flips) if isinstance(flips, list) else None,
        )

    def bias_correction(self) -> Step | None:
        """The last step of oa-n4; None if the volume did not go through it."""
        return self.latest("oa-n4")

    def preparation(self) -> tuple[str, ...]:
        """The steps that change the picture, as texts that can be compared.

        They are `oa-orient --reference left` and `oa-n4`, in the order in which they happened.
        """
        found = []
        for step in self.steps:
            if step.tool == "oa-orient":
                found.append(f"oa-orient --reference {_reference(step)}")
            elif step.tool == "oa-n4":
                found.append("oa-n4")
        return tuple(found)


def _reference(step: Step) -> str:
    """Return the side onto which oa-orient brought a knee, `left` where its step does not say."""
    return "right" if step.parameters.get("reference") == "right" else "left"


def step(
    tool: str, parameters: dict[str, Any], source: str | Path, name: str | None = None
) -> Step:
    """Make the record of one tool's work on one input file, which must exist.

    The input is recorded as `name`, by default the file's own, with U+FFFD for what is not UTF-8 in
    it. With a `name`, it may be a folder, too. Raises an `ItemError` for anything else, unread.
    """
    source = Path(source)
    try:
        sha256 = _input_digest(source) if name is None else tree_digest(source)
    except FileNotFoundError:
        raise ItemError(
            f"{source}: no such file", "check the column 'path' and the current directory"
        ) from None
    except OSError as error:
        raise ItemError(f"{source}: {error.strerror}") from None
    plain = as_read(parameters)  # so that they equal what a later run reads from a file
    own_name = os.fsencode(source.name).decode("utf-8", "replace")
    return Step(tool, plain, own_name if name is None else name, sha256)


def _input_digest(source: Path) -> str:
    """The digest of an input; of a volume in two files that of both, whichever is named."""
    other = _other_half(source)
    return digest(source) if other is None else digest_json(sorted([digest(source), digest(other)]))


def _other_half(source: Path) -> Path | None:
    """The second file of a volume in two, None for any other."""
    name = source.name.removesuffix(".gz")
    for suffix, other in _OTHER_HALF.items():
        stem = name.removesuffix(suffix)
        halves = [source.with_name(f"{stem}{other}{packed}") for packed in ("", ".gz")]
        present = [half for half in halves if half.is_file()]
        if stem != name and present:
            return present[0]
    return None


def seen(volume: Path) -> Snapshot:
    """Return what a volume and its sidecar are like before they are read, see `Snapshot`.

    Raises an `ItemError` for what is not a file: what is below a folder is not looked at.
    """
    require_file(volume, "a volume")
    other = _other_half(volume)
    return Snapshot.of(volume, sidecar(volume), *([] if other is None else [other]))


def may_keep(
    target: Path,
    why_not: Callable[[], str],
    force: bool = False,
    error: type[OatoolsError] = ItemError,
    remedy: str = "use `force` or another `out_dir`",
) -> bool:
    """Return True if `target` is there already and may be kept.

    `why_not` is asked only where the target exists and `force` is False; it returns an empty text
    if the target is what would be made now. Otherwise the text completes "TARGET ...", and is
    raised as an `error` with the `remedy`.
    """
    if force or not target.exists():
        return False
    reason = why_not()
    if reason:
        raise error(f"{target} {reason}", remedy)
    return True


def step_is_done(
    target: Path,
    wanted: Step,
    recorded: Callable[[], Step | None],
    replacing: Replace = Replace.NOTHING,
) -> bool:
    """Return True if `target` is the result of the step `wanted`, False if it is to be made.

    Raises an `ItemError` for what is there otherwise, unless it may be replaced.

    `recorded` reads the step that made the target, None if that is not known.
    """
    if replacing is Replace.ANYTHING or not target.exists():
        return False
    made = recorded()
    if made is None:
        reason = "exists and does not say how it was made"
        raise ItemError(f"{target} {reason}", "use `force` or another `out_dir`")
    difference = wanted.difference_from(made)
    if not difference:
        return True
    if made.tool != wanted.tool:
        raise ItemError(f"{target} {difference}", "use `force` or another `out_dir`")
    if replacing is not Replace.OUTDATED:
        raise ItemError(f"{target} {difference}", OUTDATED_REMEDY)
    return False


def is_of_another(target: Path, wanted: Step, recorded: Step, stated: Mapping[str, Any]) -> bool:
    """Tell whether what is at `target` was made of another knee or sequence, and put there since.

    `stated` is what its record says of itself (`knee`, `sequence`, ...), where it can be relied on.
    Without that, the name of the recorded input decides, where outputs have the names of inputs.
    """
    if recorded.tool != wanted.tool or recorded.input_sha256 == wanted.input_sha256:
        return False
    stem = _stem(target.name)
    knee, sequence = stated.get("knee"), stated.get("sequence")
    if isinstance(knee, str):
        return stem not in (knee, f"{knee}_{sequence}") and not is_bids_name(stem, stated)
    return _stem(wanted.input_name) == stem != _stem(recorded.input_name)


def sidecar(volume: str | Path) -> Path:
    """Return the path of the JSON file beside a NIfTI volume: `a.nii.gz` has `a.json`."""
    volume = Path(volume)
    return volume.with_name(f"{_stem(volume.name)}.json")


def _stem(name: str) -> str:
    """The name of a volume, or of a feature file, without its extension."""
    if name.endswith(".h5"):
        return name.removesuffix(".h5")
    name = name.removesuffix(".gz")
    for suffix in (".nii", *_OTHER_HALF):
        name = name.removesuffix(suffix)
    return name


class Sidecar(NamedTuple):
    """The fields of a volume's sidecar that may be passed on, and what is odd about it.

    `doubt` is a text for the user, empty where the sidecar was read, or there is none.
    """

    fields: dict[str, Any]
    doubt: str = ""

    @property
    def warnings(self) -> tuple[str, ...]:
        """The doubt as warnings of a row."""
        return (f"warning: {self.doubt}",) if self.doubt else ()


def load_sidecar(volume: str | Path) -> Sidecar:
    """Read what may be passed on of a volume's sidecar, whoever wrote it; see `passed_on`.

    No sidecar stops its volume: of one that cannot be read nothing is known, which `doubt` says,
    but for the mark of a phantom, which is looked for in its bytes.
    """
    raw = _raw_sidecar(volume)
    fields = passed_on(raw.fields, _stem(Path(volume).name))
    if raw.doubt and _MARK.search(raw.content):
        fields[PHANTOM_FIELD] = True
    return Sidecar(fields, raw.doubt)


def read_sidecar(volume: str | Path) -> dict[str, Any]:
    """Return the fields of `load_sidecar`; empty where there is no sidecar."""
    return load_sidecar(volume).fields


def sealed_fields(volume: str | Path) -> dict[str, Any]:
    """Return all fields of a volume's sidecar that carries our own digest of itself.

    Empty for any other, also for one that was changed since it was made.
    """
    fields = _raw_sidecar(volume).fields
    seal = fields.get(SEAL)
    return fields if seal and seal == _seal(fields) else {}


def recorded_cells(volume: str | Path) -> dict[str, str]:
    """Return the cells that a finished volume's sidecar keeps for the table.

    Raises an `ItemError` if it keeps none.
    """
    cells = _raw_sidecar(volume).fields.get(CELLS)
    if not isinstance(cells, dict):
        raise ItemError(f"{sidecar(volume)} does not say what was found", "use `force`")
    return cells


def passed_on(fields: Mapping[str, Any], stem: str = "") -> dict[str, Any]:
    """Return the fields of a sidecar that may go into another: nothing that could name a person.

    They are the settings of the scan (`core.scanfields`), the mark of a phantom, the steps of these
    commands in their own form (`core.ownsteps`), and what oa-convert says of the knee where such
    steps stand beside it. Of a step of another program only its place is kept. `stem` is the name
    of the volume without its extension: a sidecar that does not carry our own digest of itself may
    say of the knee, and of an input, only what the volume is called anyway.
    """
    seal = fields.get(SEAL)
    is_sealed = bool(seal) and seal == _seal(fields)

    def may_be_named(name: str) -> bool:
        named = _stem(name)
        return is_sealed or name == "series" or stem == named or stem.startswith(f"{named}_")

    listed = fields.get(STEPS)
    steps = [own_step(each, may_be_named) for each in listed] if isinstance(listed, list) else []
    is_ours = any(step is not STRANGER for step in steps)
    kept: dict[str, Any] = {}
    for name, value in fields.items():
        if name == STEPS and isinstance(listed, list):
            kept[name] = [dict(step) for step in steps]
        elif name == PHANTOM_FIELD:
            if value:
                kept[name] = True
        elif name in _IDENTITY:
            if _is_identity(name, value, is_ours, None if is_sealed else stem):
                kept[name] = value
        elif is_scan_field(name, value):
            kept[name] = value
    return kept


def _is_identity(name: str, value: Any, is_ours: bool, stem: str | None) -> bool:
    """Tell whether a field of the knee may pass: a known sequence, or as oa-convert writes it.

    With a `stem`, it must also be a part of that, from one end of it on.
    """
    if name == "Sequence" and is_sequence_name(value):
        return True
    if not is_ours or not isinstance(value, str) or not _IDENTITY[name].fullmatch(value):
        return False
    if stem is None or name in ("Visit", "Side"):
        return True
    if name == "Sequence":
        return stem.endswith(f"_{value}")
    return stem == value or stem.startswith(f"{value}_")


class _RawSidecar(NamedTuple):
    """A sidecar as it stands: its fields, what is odd about it, and its bytes.

    `is_ruin` is True for one that was read, and holds no JSON object.
    """

    fields: dict[str, Any]
    doubt: str = ""
    content: bytes = b""
    is_ruin: bool = False


def _raw_sidecar(volume: str | Path) -> _RawSidecar:
    """Read a sidecar.

    Other programs write Latin-1, UTF-16, and control characters in texts. What counts is plain
    ASCII in any of these.
    """
    path = sidecar(volume)
    if path.exists() and not path.is_file():  # a pipe would be waited for
        return _RawSidecar({}, f"{path} was not read: it is no file")
    try:
        with path.open("rb") as stream:
            content = stream.read(_MOST_BYTES + 1)
    except FileNotFoundError:
        return _RawSidecar({})
    except OSError as error:
        return _RawSidecar({}, f"{path} was not read: {error.strerror}")
    if len(content) > _MOST_BYTES:
        return _RawSidecar({}, f"{path} was not read: it is larger than 16 MiB", content)
    try:
        try:
            text = content.decode(json.detect_encoding(content))
        except UnicodeDecodeError:
            text = content.decode("latin-1")
        fields = json.loads(text, strict=False)
    except (ValueError, RecursionError) as error:
        said = "it is nested too deep" if isinstance(error, RecursionError) else str(error)
        doubt = f"{path} was not read: it is not clean JSON ({said})"
        return _RawSidecar({}, doubt, content, is_ruin=True)
    if not isinstance(fields, dict):
        return _RawSidecar({}, f"{path} was not read: it is no JSON object", content, is_ruin=True)
    return _RawSidecar(fields, "", content)


def output_record(volume: Path) -> dict[str, Any]:
    """Return what a sidecar records of its volume, which may still have a temporary name."""
    return {"bytes": volume.stat().st_size, "sha256": digest(volume)}


class Damage(NamedTuple):
    """A file that is not what it was when it was made, and what has become of it."""

    path: Path
    what: str


def find_damage(volume: Path) -> Damage | None:
    """Find what has become of a volume since it was made, of its sidecar, or of a file beside it.

    None where all are whole, and where the sidecar does not record what they were.
    """
    fields = _raw_sidecar(volume).fields
    record = fields.get(OUTPUT)
    if not isinstance(record, dict) or not volume.exists():
        return None
    seal = fields.get(SEAL)
    if seal is not None and seal != _seal(fields):
        return Damage(sidecar(volume), "was changed since it was made")
    # The size first: that of a file cut short costs nothing to see.
    if record.get("bytes") != volume.stat().st_size or record.get("sha256") != digest(volume):
        return Damage(volume, "was damaged or exchanged since it was made")
    beside = record.get("beside")
    for suffix, sha256 in (beside if isinstance(beside, dict) else {}).items():
        other = sidecar(volume).with_suffix(suffix) if suffix in _BESIDE else None
        if other is not None and (not other.is_file() or digest(other) != sha256):
            return Damage(other, "was damaged or removed since it was made")
    return None


def damage_of(volume: Path) -> str:
    """Say what `find_damage` finds; empty where that is nothing."""
    found = find_damage(volume)
    return f"{found.path} {found.what}" if found else ""


def lost_sidecar(volume: Path) -> str:
    """Say that a volume's sidecar is gone, or that it holds no JSON; empty for any other."""
    path = sidecar(volume)
    if not os.path.lexists(path):
        return f"{path}, which says how {volume.name} was made, is gone"
    return f"{path} was damaged since it was made" if _raw_sidecar(volume).is_ruin else ""


def is_recorded(volume: Path) -> bool:
    """Tell whether a volume's sidecar records size and digest of it, and its own digest."""
    fields = _raw_sidecar(volume).fields
    return isinstance(fields.get(OUTPUT), dict) and SEAL in fields


def _seal(fields: Mapping[str, Any]) -> str:
    """The digest of a sidecar's fields, but for the digest itself; empty for none of ours."""
    try:
        return record_digest(fields, SEAL)
    except RecursionError:
        return ""


def sidecar_text(fields: Mapping[str, Any]) -> str:
    """Return the text of a sidecar with these fields.

    A setting of the scan whose value is none is left out: names are typed into such fields, too.
    """
    kept = {
        name: value
        for name, value in fields.items()
        if name not in SCAN_FIELDS or is_scan_field(name, value)
    }
    if OUTPUT in kept:
        kept[SEAL] = _seal(as_read(kept))  # so that it is known again
    return json.dumps(kept, indent=2, ensure_ascii=False) + "\n"


def read_provenance(volume: str | Path) -> Provenance:
    """Read the sidecar's record of how a volume was made."""
    return Provenance.from_fields(read_sidecar(volume))


def with_step(fields: dict[str, Any], added: Step) -> dict[str, Any]:
    """Return the fields of an input's sidecar with one more step, for the output's sidecar."""
    before = fields.get(STEPS)
    earlier = before if isinstance(before, list) else []
    return {**fields, STEPS: [*earlier, added.to_json()]}


def differences(recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return the first three settings that differ, for a message: `shrink 4, not 2`."""
    names = dict.fromkeys([*wanted, *recorded])
    different = [name for name in names if recorded.get(name) != wanted.get(name)]
    return ", ".join(_difference(name, recorded, wanted) for name in different[:3])


def _difference(name: str, recorded: Mapping[str, Any], wanted: Mapping[str, Any]) -> str:
    """Return how one setting differs; a file is known by its digest, which tells people nothing."""
    old, new = recorded.get(name), wanted.get(name)
    if name in _FILES and any(map(_holds_digest, (old, new))):
        return f"another {_FILES[name]}"
    return f"{name} {old}, not {new}"


def _holds_digest(value: Any) -> bool:
    values = value if isinstance(value, list) else [value]
    return any(isinstance(each, str) and SHA256.fullmatch(each) for each in values)
