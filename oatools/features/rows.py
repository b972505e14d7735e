"""One row of a table through oa-embed: a volume is embedded, or a feature file is checked."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from oatools.core import provenance
from oatools.core.errors import ItemError
from oatools.core.files import write_bytes
from oatools.core.manifest import Row, file_stem, stated_identity
from oatools.core.outfolder import FEATURES, names_file
from oatools.core.replacing import Replace
from oatools.core.runner import Done
from oatools.features.embed import Embedder, EmbedSettings, Origin, embed_with
from oatools.features.engine import EngineSettings
from oatools.features.engines import shared_batcher
from oatools.features.featurefile import (
    Recorded,
    check_features,
    read_features,
    read_recorded,
    space_difference,
    write_features,
)
from oatools.features.framing import NOTCH, shows_notch, stated_side
from oatools.features.otherlayouts import CLAM, TENSOR
from oatools.imaging.volume import Volume, read_volume

#: The folder, below that of the feature files, with the tensors that CLAM reads.
CLAM_FOLDER = "pt_files"

#: Returns the engine for settings, and what is to be said of it.
Opening = Callable[[EngineSettings], tuple[Embedder, tuple[str, ...]]]


def features_path(row: Row, out: Path) -> Path:
    """Return where the features of a row go: to the file `out`, or into that folder by its name."""
    return out if names_file(out, FEATURES) else out / f"{file_stem(row)}.h5"


def embed_row(
    row: Row,
    out: Path,
    settings: EmbedSettings,
    replacing: Replace,
    read: Callable[[Path], Volume] = read_volume,
    opened: Opening = shared_batcher,
) -> Done:
    """Embed a row's volume into its `features_path`; the settings must be resolved.

    The volume is `read` where it is not done already, and the engine `opened`.
    """
    source, target = Path(row["path"]), features_path(row, out)
    seen = provenance.seen(source)
    identity = stated_identity(row)
    if settings.compartment is not None:
        side = stated_side(row, provenance.read_sidecar(source))
        identity |= {} if side is None else {"side": side}
    wanted = provenance.step("oa-embed", settings.parameters(identity.get("side")), source)
    cells = {"path": str(target)}
    all_anew = replacing is Replace.ANYTHING
    recorded = Recorded() if all_anew else read_recorded(target)
    damage = _damage(target, wanted, recorded)
    if not damage and provenance.step_is_done(target, wanted, lambda: recorded.step, replacing):
        damage = _changed(target)
        if not damage:
            _write_tensor(target, settings.also_as, replacing)
            return Done(cells, kept=True)
    volume = read(source)
    embedder, notes = opened(settings.engine)
    described = provenance.load_sidecar(source)
    fields = described.fields
    if "sequence" not in identity and isinstance(fields.get("Sequence"), str):
        # By it models know images that they were not trained on, whatever the file is called.
        identity["sequence"] = fields["Sequence"]
    origin = Origin(wanted, fields, identity)
    features = embed_with(embedder, volume, settings, origin)
    seen.require()

    def require_same() -> None:
        # Another run may have put a file there meanwhile.
        recorded = read_recorded(target)
        allowed = Replace.ANYTHING if damage else replacing
        provenance.step_is_done(target, wanted, lambda: recorded.step, allowed)

    write_features(target, features, None if all_anew else require_same, settings.also_as)
    _write_tensor(target, settings.also_as, replacing)
    again = (f"warning: {damage}; it is made again",) if damage else ()
    remarks = (NOTCH,) if shows_notch(volume, settings.slices, settings.compartment) else ()
    return Done(cells, warnings=(*notes, *described.warnings, *again), remarks=remarks)


def _damage(target: Path, wanted: provenance.Step, recorded: Recorded) -> str:
    """Say that nothing can be read of a feature file, or that it is of another knee than its name.

    Empty for one that is not there, is whole, or may be of somebody else.
    """
    if recorded.is_ruin or recorded.is_changed:
        return f"{target} was damaged since it was made"
    made = recorded.step
    if made is None or not wanted.difference_from(made):
        return ""
    if provenance.is_of_another(target, wanted, made, recorded.identity):
        return f"{target} was exchanged for that of another knee since it was made"
    return ""


def _write_tensor(target: Path, also_as: tuple[str, ...], replacing: Replace) -> None:
    """Write the numbers of a feature file as a tensor below its folder, where CLAM looks for them.

    A tensor has no room for a record of its making: what is there is compared byte by byte. Raises
    an `ItemError` for another one, which may be somebody's own, unless it may be replaced.
    """
    if CLAM not in also_as:
        return
    from oatools.features.tensorfile import tensor_bytes

    path = target.parent / CLAM_FOLDER / f"{target.stem}{TENSOR}"
    content = tensor_bytes(read_features(target).features)
    if path.is_file() and path.read_bytes() == content:
        return
    is_empty = path.is_file() and not path.stat().st_size
    if os.path.lexists(path) and not is_empty and replacing is Replace.NOTHING:
        raise ItemError(
            f"{path} is there, and holds other features", "move it away, or use `update` or `force`"
        )
    write_bytes(path, content)


def _changed(target: Path) -> str:
    """Say what is wrong with a feature file that can be opened: its numbers, or its attributes."""
    try:
        read_features(target, augmented=True)
    except ItemError as error:
        return f"{error.reason}, so it was damaged since it was made"
    return ""


class Checker:
    """The check of feature files one after the other, as `samtools quickcheck` does for alignments.

    Each must also belong together with the first good one, so rows must come in order.
    """

    def __init__(self) -> None:
        self._first: tuple[str, dict[str, Any]] | None = None

    def __call__(self, row: Row) -> Done:
        """Pass a row whose file is good; raise an `ItemError` for others, as `check_features`."""
        space = check_features(row["path"])
        if self._first is None:
            self._first = row["path"], space
            return Done({})
        first_path, first_space = self._first
        difference = space_difference(space, first_space)
        if difference:
            raise ItemError(
                f"{row['path']}: does not belong together with {first_path}: {difference}"
            )
        return Done({})
