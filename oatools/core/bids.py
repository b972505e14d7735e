"""Names of the Brain Imaging Data Structure (BIDS 1.10) for scans of knees.

BIDS knows no knees: a body part is stated in the sidecar, and a side in no entity that `anat` may
have (`hemi` is of derivatives alone). So the label of `acq`, which is free, holds sequence and
side. Labels are of letters and digits alone.
"""

import re
from collections.abc import Mapping
from typing import Any

from oatools.core.errors import ItemError

VERSION = "1.10.0"

_NO_LABEL = re.compile(r"[\W_]+")
_T1, _T2, _T2STAR, _PD = "T1w", "T2w", "T2starw", "PDw"
# The suffix by words of a sequence's name, of which the first that is known decides. BIDS has none
# for intermediate weighting, and none for DESS, whose contrast is that of T2.
_SUFFIXES = {
    **dict.fromkeys(("pd", "pdw", "dp", "iw", "intermediate", "proton"), _PD),
    **dict.fromkeys(("t1", "t1w", "t1fs", "flash", "spgr", "fspgr", "vibe", "mprage", "lava"), _T1),
    **dict.fromkeys(("t2star", "t2s", "medic", "merge", "mffe"), _T2STAR),
    **dict.fromkeys(("t2", "t2w", "t2fs", "stir", "tirm", "dess", "qdess", "mdess", "haste"), _T2),
    "flair": "FLAIR",
}
# Words that are run together: corpdfs, 3dt1.
_GLUED = re.compile(r"(?:knee)?(?:[23]d)?(?:cor|sag|ax|tra)?(pd|iw|dp|t1|t2|stir|dess)(?!rho|map)")
_MAP = re.compile(r"t2-?map|mese")


def bids_path(identity: Mapping[str, str], echo: int | None = None) -> str:
    """Return the path of a scan in a data set, without extension.

    `identity` holds what is known of `knee`, `subject`, `visit`, `side` and `sequence`; `echo` is
    that of a multi-echo series which was taken. Of knee 9000099_00m_right and cor-iw-tse:
    `sub-9000099/ses-00m/anat/sub-9000099_ses-00m_acq-coriwtseright_PDw`. Raises an `ItemError`
    where the sequence names no weighting, as BIDS names every file by one.
    """
    parts = _parts(identity)
    sequence = identity.get("sequence", "")
    folders = [part for part in parts if part.startswith(("sub-", "ses-"))]
    if echo is not None and _MAP.search(sequence):
        name = [*parts, f"echo-{echo}", "MESE"]
    else:
        name = [*parts, _suffix(sequence)]
    return "/".join([*folders, "anat", "_".join(name)])


def is_bids_name(stem: str, identity: Mapping[str, Any]) -> bool:
    """Tell whether a file's name without extension is that of such a scan, whatever its suffix."""
    known = {key: value for key, value in identity.items() if isinstance(value, str)}
    try:
        return stem.startswith("_".join(_parts(known)) + "_")
    except ItemError:
        return False


def label(text: str) -> str:
    """Return letters and digits of a text, which is what a label may hold."""
    return _NO_LABEL.sub("", text)


def _parts(identity: Mapping[str, str]) -> list[str]:
    """Return the entities that say whose scan it is, and which."""
    subject = label(identity.get("subject") or identity.get("knee") or "")
    if not subject:
        raise ItemError("BIDS names files by the subject, and none is known", "give `subject`")
    visit = label(identity.get("visit", ""))
    scan = label(identity.get("sequence", "") + identity.get("side", ""))
    named = (("sub", subject), ("ses", visit), ("acq", scan))
    return [f"{entity}-{value}" for entity, value in named if value]


def _suffix(sequence: str) -> str:
    for word in re.split(r"[\W_]+", sequence.casefold()):
        glued = _GLUED.match(word)
        found = _SUFFIXES.get(word) or (_SUFFIXES[glued[1]] if glued else None)
        if found:
            return found
    raise ItemError(
        f"BIDS names files by their weighting, and the sequence '{sequence}' names none",
        "say it with `name`, as in sag-pd-fs",
    )
