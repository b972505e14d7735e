"""What a model was trained on, and whether an image is of that kind: its sequence and its plane."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from oatools.core.errors import ItemError
from oatools.core.manifest import MISSING, Row
from oatools.core.provenance import Provenance
from oatools.imaging.orient import PLANES
from oatools.learning.model import FittedModel

#: What is said once of all rows whose sequence is nowhere recorded.
UNKNOWN = "the sequence is not known, and was not compared with the model's"
#: What is said once of all rows where the model does not say what it was trained on.
UNKNOWN_TO_MODEL = "the model does not say of which sequence it is, so that none was compared"


@dataclass(frozen=True)
class ImageKind:
    """The sequence of an image, such as `cor-iw-tse`, and its plane; `n/a` where not known."""

    sequence: str = MISSING
    plane: str = MISSING


def image_kind(row: Row, fields: Mapping[str, Any]) -> ImageKind:
    """Return the kind of a row's image: from its column, or else from what its file records.

    `fields` are those of a volume's sidecar or the attributes of a feature file. Without a
    sequence, the plane is the one that oa-orient found.
    """
    sequence = row_sequence(row, fields)
    plane = plane_in(sequence)
    turned = Provenance.from_fields(fields).latest("oa-orient")
    if sequence == MISSING and turned is not None:
        plane = str(turned.parameters.get("plane") or MISSING)
    return ImageKind(sequence, plane)


def row_sequence(row: Row, fields: Mapping[str, Any]) -> str:
    """Return the sequence of a row, or else the one that its file records; `n/a` without both."""
    sequence = row.get("sequence", MISSING)
    if sequence == MISSING:
        recorded = fields.get("sequence") or fields.get("Sequence")
        sequence = recorded if isinstance(recorded, str) else MISSING
    return sequence


def plane_in(sequence: str) -> str:
    """Return the plane that a sequence's name begins with; `n/a` where it names none."""
    return PLANES.get(_bare(sequence).split("-")[0], MISSING)


def check_kind(kind: ImageKind, model: FittedModel, any_sequence: bool = False) -> tuple[str, ...]:
    """Refuse an image of another sequence or plane than those that the model was trained on.

    Raises an `ItemError`, or with `any_sequence` returns that reason, which is to be said once of
    all such images; so is that a sequence is not known, here or to the model. A model that joins
    sequences chooses its own, and is asked nothing.
    """
    if model.joined:
        return ()
    known = [name for name in model.record.get("sequences") or [] if _bare(name) != MISSING]
    if not known:
        return (UNKNOWN_TO_MODEL,)
    if kind.sequence != MISSING:
        if _bare(kind.sequence) in map(_bare, known):
            return ()
        reason = f"sequence {kind.sequence}, and the model was trained on {', '.join(known)}"
        return _refused(reason, any_sequence)
    planes = {plane_in(name) for name in known}
    if MISSING in (kind.plane, *planes) or kind.plane in planes:
        return (UNKNOWN,)
    reason = f"plane {kind.plane}, and the model was trained on {', '.join(known)}"
    return _refused(reason, any_sequence)


def count_sequences(sequences: Iterable[str]) -> dict[str, int]:
    """Return how many there are of each sequence, in the order of their names."""
    counts: dict[str, int] = {}
    for sequence in sequences:
        counts[sequence] = counts.get(sequence, 0) + 1
    return dict(sorted(counts.items()))


def several(sequences: Sequence[str]) -> str:
    """Return how many knees are of which sequence where these differ, else an empty text.

    Those whose sequence is not known are passed over.
    """
    counts = count_sequences(each for each in sequences if each != MISSING)
    if len({_bare(name) for name in counts}) < 2:
        return ""
    return ", ".join(f"{count} of {name}" for name, count in counts.items())


def _bare(name: str) -> str:
    return name.strip().casefold()


def _refused(reason: str, any_sequence: bool) -> tuple[str, ...]:
    if any_sequence:
        return (reason,)
    raise ItemError(reason, "give images of that, or insist with `any_sequence`")
