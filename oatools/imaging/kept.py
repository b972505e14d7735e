"""Whether a volume that is there may be kept, or is to be made again.

What a command made and somebody damaged since is made again, with a word. A file that nothing shows
to be the command's own is for its owner to decide on, and never replaced unasked.
"""

from pathlib import Path

from oatools.core import provenance
from oatools.core.manifest import IDENTITY
from oatools.core.provenance import Step
from oatools.core.replacing import Replace
from oatools.imaging.volume import maker_of


def is_done(target: Path, wanted: Step, replacing: Replace = Replace.NOTHING) -> bool:
    """Return True if a volume is the whole result of the step `wanted`.

    One that was damaged since it was made is not done, see `damage`. Raises an `ItemError` for one
    that was made otherwise, or nobody knows how (see `provenance.may_keep`).
    """
    if replacing is not Replace.ANYTHING and damage(target, wanted):
        return False
    return provenance.step_is_done(
        target, wanted, lambda: provenance.read_provenance(target).last, replacing
    )


def repairs(target: Path, wanted: Step, replacing: Replace = Replace.NOTHING) -> tuple[str, ...]:
    """Return a warning that a volume is made again as it was damaged; none for any other."""
    found = "" if replacing is Replace.ANYTHING else damage(target, wanted)
    return (f"warning: {found}; it is made again",) if found else ()


def damage(target: Path, wanted: Step) -> str:
    """Say what has become of a volume that the tool of the step `wanted` made, or of its sidecar.

    Empty for one that is whole, was made otherwise, or is not known to be of that tool: by its
    sidecar, or, where that is lost or of another volume, by its own header.
    """
    if not target.is_file():
        return ""
    lost = provenance.lost_sidecar(target)
    if lost:
        return lost if _is_ours(target, wanted) else ""
    made = provenance.read_provenance(target).last
    found = provenance.damage_of(target)
    if found:
        is_the_step = made is not None and not wanted.difference_from(made)
        return found if is_the_step or _is_ours(target, wanted) else ""
    if not provenance.is_recorded(target):
        # Those of earlier versions are not recorded, and their headers tell no maker either.
        beside = provenance.sidecar(target)
        is_marked = maker_of(target) == wanted.tool
        return f"{beside} was changed since it was made" if is_marked else ""
    if made is not None and provenance.is_of_another(target, wanted, made, _stated(target, made)):
        return f"{target} was exchanged for that of another knee since it was made"
    return ""


def _is_ours(target: Path, wanted: Step) -> bool:
    """Tell whether a volume is of the tool of a step by its header, or has nothing to lose."""
    return target.stat().st_size == 0 or maker_of(target) == wanted.tool


def _stated(target: Path, made: Step) -> dict[str, str]:
    """What a sidecar says of its own knee.

    Only oa-convert names it by the row; what comes after passes on what the input's sidecar says.
    """
    if made.tool != "oa-convert":
        return {}
    fields = provenance.read_sidecar(target)
    names = [column for column in IDENTITY if column.capitalize() in fields]
    return {name: fields[name.capitalize()] for name in names}
