"""One DICOM series to one NIfTI volume, by dcm2niix, checked against the headers.

Every file is accounted for before (`stock`), slices must state their place (`frames`) and form one
stack (`geometry`) from which nothing is missing (`complete`), and a few of the voxels that come out
are compared with what pydicom reads (`compare`).
"""

import contextlib
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import nibabel

from oatools.core.errors import ItemError
from oatools.core.files import working_folder
from oatools.core.limits import allowance_of, require_memory
from oatools.dicom.compare import Undecoded, compare
from oatools.dicom.complete import doubtful, missing
from oatools.dicom.dcm2niix import Output, Run, personal_words_of, run_on
from oatools.dicom.files import contents
from oatools.dicom.frames import Frame, Image, frames_of, is_mosaic, read_image, series_number
from oatools.dicom.geometry import Stack, depths_of, stack_of
from oatools.dicom.names import PersonalWords
from oatools.dicom.photometry import upright
from oatools.dicom.placing import settled
from oatools.dicom.scales import differing, read_anew, refuse_scales
from oatools.dicom.stock import take_stock
from oatools.dicom.survey import some
from oatools.imaging.volume import Volume, load_volume

# The fields of the scanner's header that a sidecar may hold: settings of the scan. Whatever could
# name a person, a place, a device's owner or a date stays behind.
KEPT_FIELDS = (
    "Modality",
    "MagneticFieldStrength",
    "ImagingFrequency",
    "Manufacturer",
    "ManufacturersModelName",
    "PatientPosition",
    "MRAcquisitionType",
    "ScanningSequence",
    "SequenceVariant",
    "ScanOptions",
    "SliceThickness",
    "SpacingBetweenSlices",
    "EchoNumber",
    "EchoTime",
    "RepetitionTime",
    "InversionTime",
    "FlipAngle",
    "PixelBandwidth",
    "EchoTrainLength",
    "PercentPhaseFOV",
    "AcquisitionMatrixPE",
    "ReconMatrixPE",
    "InPlanePhaseEncodingDirectionDICOM",
    "ConversionSoftware",
    "ConversionSoftwareVersion",
)

#: How messages begin that are shown for each series, and those that are counted at the end.
WARNING = "warning: "
REMARK = "remark: "
# What dcm2niix says where it guesses how a damaged header goes on.
_DAMAGED = re.compile(r"Assuming|Illegal|corrupt", re.IGNORECASE)
# The voxels of a series are held as they are stored, and rescaled.
_BYTES_OF_VOXEL = 8
# Echo times that differ by less are written with other digits.
_SAME_ECHO_TIME = 0.01


class Conversion(NamedTuple):
    """A converted series.

    `volume` has an affine to RAS mm and the scanner's voxel type, and `fields` are for its sidecar.
    `warnings` are those of dcm2niix and what was passed over or done; those that begin with
    `WARNING` or `REMARK` everybody should see.
    """

    volume: Volume
    fields: dict[str, Any]
    warnings: list[str]


class _Series(NamedTuple):
    """The images of a series, where their slices lie, and whether these form a volume."""

    images: list[Image]
    frames: list[Frame]
    stack: Stack


def convert(
    source: Path,
    echo: int | None = None,
    series: str | None = None,
    coverage: float = 0.0,
    seconds: float | None = None,
) -> Conversion:
    """Convert one series (folder, archive or multi-frame file) to a volume.

    dcm2niix runs on it alone, into an empty folder of its own, and what comes out is counted and
    compared: anything but one three-dimensional volume that holds every slice of the series, at its
    place, raises an `ItemError` with the reason. `echo` picks one of a multi-echo series, `series`
    one of several that share a folder (see `files.series_digest`). A volume that covers less than
    `coverage` mm across its slices raises an `ItemError`, too, and so does a series from which its
    headers say that images are missing at an end; with a `coverage` of 0 that is a warning. A run
    of dcm2niix may take so many `seconds`, and the series as much memory as `core.limits` allows.
    """
    with working_folder() as spool:
        stock = take_stock(source, series, spool)
        known = _placed(stock.images, echo)
        _refuse_large(known)
        refuse_scales(known.frames)
        notes = stock.notes()
        with run_on(stock.images, seconds=seconds) as run:
            if _is_torn(run, known, echo):
                with run_on(stock.images, merged=True, seconds=seconds) as again:
                    notes += again.messages
                    volume, fields = _read(again, known, echo)
            else:
                volume, fields = _read(run, known, echo)
            notes = list(dict.fromkeys(notes + run.messages))
        if known.stack.problem and not _is_folded(known):
            raise ItemError(known.stack.problem, "the slices do not form one stack")
        volume, moved = settled(volume, known.frames)
        notes += _checked(volume, known, coverage)
        volume, valued = _valued(volume, known)
        notes += [done for done in (moved, valued) if done]
        notes += _compared(volume, known, any(map(_DAMAGED.search, run.messages)))
        personal = personal_words_of(stock.images)
    kept = {name: _public(fields[name], personal) for name in KEPT_FIELDS if name in fields}
    return Conversion(volume, kept, notes)


def _public(value: Any, personal: PersonalWords) -> Any:
    return personal.removed_from(value) if isinstance(value, str) else value


@contextlib.contextmanager
def converted(source: Path, series: str | None = None) -> Iterator[Run]:
    """Run dcm2niix on whatever images a source holds, and yield what it wrote, unchecked."""
    read = (read_image(name, content) for name, content in contents(source, series))
    with run_on([image for image in read if image is not None]) as run:
        yield run


def _placed(images: Sequence[Image], echo: int | None) -> _Series:
    """Return where the slices of a series lie; an `ItemError` if a header does not say."""
    frames = frames_of(images)
    unknown = [frame for frame in frames if frame.unknown]
    if unknown:
        names = some(frame.name for frame in unknown)
        raise ItemError(
            f"{len(unknown)} of {len(frames)} images state no {unknown[0].unknown}: {names}",
            "without it a volume would be made up; get the series from the scanner's own archive",
        )
    if echo is not None and all(frame.index is None for frame in frames):
        frames = [frame for frame in frames if frame.echo == str(echo)]
    return _Series(list(images), frames, stack_of(frames) if frames else Stack(0))


def _refuse_large(known: _Series) -> None:
    """Raise an `ItemError` for more voxels than files of that size may state."""
    voxels = sum(rows * columns for rows, columns in (f.size or (0, 0) for f in known.frames))
    sizes = (
        len(each.content) if isinstance(each.content, bytes) else each.content.stat().st_size
        for each in known.images
    )
    what = f"its {len(known.frames)} images state {voxels} voxels"
    require_memory(_BYTES_OF_VOXEL * voxels, allowance_of(sum(sizes)), what)


def _is_torn(run: Run, known: _Series, echo: int | None) -> bool:
    """Tell whether dcm2niix made several volumes of what is one by identifier and geometry."""
    if len(run.outputs) < 2 or known.stack.problem or echo is not None:
        return False
    times = [image.header.number("EchoTime") for image in known.images]
    stated = [time for time in times if time]
    is_one_echo = not stated or max(stated) - min(stated) <= _SAME_ECHO_TIME * max(stated)
    is_tilted = any("_Tilt" in path.name for path, _ in run.outputs)
    return is_one_echo and not is_tilted and len(known.frames) == len(known.images)


def _read(run: Run, known: _Series, echo: int | None) -> tuple[Volume, dict[str, Any]]:
    """Return the one volume that came out, with the fields of its sidecar."""
    output = _only_output(known, run, echo)
    _check_complete(output.path, run, known, echo)
    try:
        return load_volume(output.path), output.fields
    except ItemError as error:
        raise ItemError(error.reason, "the series is left out") from None


def _checked(volume: Volume, known: _Series, coverage: float) -> list[str]:
    """Check a volume by the headers; return warnings, raise an `ItemError` for no volume."""
    _check_size(volume, coverage)
    depths = depths_of(known.frames)
    absent = missing(known.images, known.frames, depths)
    if absent and coverage > 0:
        raise ItemError(absent, "get the whole series, or allow it as it is with a `coverage` of 0")
    said = absent or doubtful(known.frames, depths)
    return [f"{WARNING}{said}"] if said else []


def _valued(volume: Volume, known: _Series) -> tuple[Volume, str]:
    """Return a volume with the values that the headers mean, and what was done to it."""
    turned, done = upright(volume, known.frames)
    different = differing(known.frames)
    if not different or done or _is_folded(known):
        return turned, done
    anew = read_anew(volume, known.frames)
    return anew, f"slices were read one by one, as they differ in {different}"


def _compared(volume: Volume, known: _Series, all_slices: bool) -> list[str]:
    """Compare a volume with the headers' own pixels; return why that was not done."""
    if _is_folded(known):
        return [f"{REMARK}not compared with the headers, which say little of mosaics"]
    try:
        compare(volume, known.frames, all_slices)
    except Undecoded as error:
        return [
            f"{REMARK}pixels not compared with pydicom's reading, as no decoder of {error} is "
            "installed"
        ]
    return []


def _is_folded(known: _Series) -> bool:
    return all(is_mosaic(image) for image in known.images)


def _only_output(known: _Series, run: Run, echo: int | None) -> Output:
    """Return the one volume that came out, or raise an `ItemError` that says why it is not one."""
    outputs = run.outputs
    if echo is not None:
        outputs = [output for output in outputs if _echo(output) == echo]
    if len(outputs) == 1:
        return outputs[0]
    without_prefix = [message.removeprefix("Warning: ") for message in run.messages[:3]]
    said = _said(without_prefix)
    if not outputs:
        of_echo = "" if echo is None else f" for echo {echo}"
        problem = f": {known.stack.problem}" if known.stack.problem else ""
        raise ItemError(f"no volume came out{of_echo}{problem}{said}", "the series is left out")
    # dcm2niix marks what it could not stack in the names of its files.
    if any("_Eq" in output.path.name for output in outputs):
        if known.stack.problem and not known.stack.is_gap:
            raise ItemError(f"{known.stack.problem}{said}", "the slices do not form one stack")
        gap = f" ({known.stack.problem})" if known.stack.problem else said
        raise ItemError(f"slices are missing or unevenly spaced{gap}", "get the whole series")
    if any("_Tilt" in output.path.name for output in outputs):
        raise ItemError(
            f"the gantry was tilted{said}", "such a scan cannot be shown on a regular grid"
        )
    echoes = sorted({_echo(output) for output in outputs})
    if len(echoes) > 1:
        listed = ", ".join(map(str, echoes))
        raise ItemError(f"{len(echoes)} echoes in one folder ({listed})", "choose one with `echo`")
    numbers = sorted({series_number(image) for image in known.images})
    if len(numbers) > 1:
        listed = ", ".join(numbers)
        raise ItemError(
            f"{len(numbers)} series in one folder (numbers {listed})",
            "give each a folder of its own",
        )
    problem = known.stack.problem or "the slices do not form one stack"
    raise ItemError(f"{len(outputs)} volumes came out where one belongs{said}; {problem}")


def _echo(output: Output) -> int:
    echo: int = output.fields.get("EchoNumber", 1)
    return echo


def _said(messages: Sequence[str]) -> str:
    """Return what dcm2niix said, in brackets; empty if it said nothing."""
    return f" (dcm2niix: {'; '.join(messages)})" if messages else ""


def _check_complete(path: Path, run: Run, known: _Series, echo: int | None) -> None:
    """Raise an `ItemError` unless a volume has three dimensions and as many slices as headers say.

    Fewer mean that some were dropped.
    """
    shape = nibabel.Nifti1Image.from_filename(path).shape
    said = _said(run.messages[:2])
    is_over_time = len(shape) > 3 and shape[3] > 1
    if is_over_time and shape[2] == 1:
        raise ItemError(
            f"{shape[3]} images of one and the same slice are no volume{said}; left out"
        )
    if is_over_time:
        raise ItemError(
            f"{shape[3]} volumes of {shape[2]} slices in one series (repeats or times); left out"
        )
    slices, wanted = shape[2] if len(shape) > 2 else 1, len(known.frames)
    if slices != wanted and not _is_folded(known):
        problem = f"; {known.stack.problem}" if known.stack.problem else ""
        what = "DICOM files" if wanted == run.files else "slices"
        raise ItemError(
            f"{wanted} {what} gave {slices} slices{problem}{said}",
            "some are damaged or belong elsewhere",
        )


def _check_size(volume: Volume, coverage: float) -> None:
    """Raise an `ItemError` for a single slice, and for fewer than cover so many mm."""
    thinnest = min(volume.shape)
    if thinnest < 2:
        raise ItemError(f"only {thinnest} slice; a volume needs two or more, left out")
    slices = volume.shape[2]
    covered = float(slices * volume.spacing[2])
    if covered < coverage:
        raise ItemError(
            f"its {slices} slices cover {covered:.0f} mm, a knee needs {coverage:g}: the series "
            "was cut short",
            "get the whole one, or allow it with `coverage`",
        )
