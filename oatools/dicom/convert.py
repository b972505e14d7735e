"""One DICOM series to one NIfTI volume, by dcm2niix."""

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dcm2niix
import nibabel

from oatools.core.errors import ItemError
from oatools.dicom.files import contents
from oatools.dicom.geometry import assess
from oatools.dicom.headers import looks_like_dicom
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

_TIMEOUT_SECONDS = 900
_HEAD_BYTES = 132  # as much as `looks_like_dicom` asks for


class Conversion(NamedTuple):
    """A converted series.

    `volume` has an affine to RAS mm and the scanner's voxel type, `fields` are for its sidecar, and
    `warnings` are those of dcm2niix.
    """

    volume: Volume
    fields: dict[str, Any]
    warnings: list[str]


class Output(NamedTuple):
    """A volume that dcm2niix wrote, with the fields of its sidecar."""

    path: Path
    fields: dict[str, Any]


class Run(NamedTuple):
    """One run of dcm2niix: the volumes, the number of DICOM files it was given, its messages."""

    outputs: list[Output]
    files: int
    messages: list[str]


def convert(
    source: Path, echo: int | None = None, series: str | None = None, coverage: float = 0.0
) -> Conversion:
    """Convert one series (folder, archive or multi-frame file) to a volume.

    dcm2niix runs on it alone, into an empty folder of its own, and what comes out is counted:
    anything but one three-dimensional volume that holds every file of the series raises an
    `ItemError` with the reason. `echo` picks one of a multi-echo series, `series` one of several
    that share a folder (see `files.series_digest`). A volume that covers less than `coverage` mm
    across its slices raises an `ItemError`, too.
    """
    with converted(source, series) as run:
        output = _only_output(source, series, run, echo)
        _check_complete(output.path, run, echo)
        try:
            volume = load_volume(output.path)
        except ItemError as error:
            raise ItemError(error.reason, "the series is left out") from None
    _check_size(volume, coverage)
    kept = {name: output.fields[name] for name in KEPT_FIELDS if name in output.fields}
    warnings = [message for message in run.messages if "Warning" in message]
    return Conversion(volume, kept, warnings)


@contextlib.contextmanager
def converted(source: Path, series: str | None = None) -> Iterator[Run]:
    """Run dcm2niix on a series, and yield what it wrote before that is deleted again.

    Voxels are as dcm2niix gives them; a series over time is one file of four dimensions.
    """
    with tempfile.TemporaryDirectory(prefix="oa-convert.") as temporary:
        folder, out = Path(temporary, "in"), Path(temporary, "out")
        folder.mkdir()
        out.mkdir()
        names = _gather(source, series, folder)
        if not names:
            raise ItemError(
                "no file of it is DICOM", "give the folder or archive that holds the images"
            )
        messages = [_by_name(message, names) for message in _run(folder, out)]
        yield Run(_outputs(out), len(names), messages)


def _gather(source: Path, series: str | None, folder: Path) -> dict[str, str]:
    """Put the series' DICOM files alone into `folder`, under names of digits.

    dcm2niix cannot mistake these for an option or another format. Returns the files' own names by
    those that they have there.
    """
    names: dict[str, str] = {}
    for count, (name, content) in enumerate(contents(source, series)):
        target = folder / f"{count:06d}"
        if not looks_like_dicom(_head(content)):
            continue
        if isinstance(content, bytes):
            target.write_bytes(content)
        else:
            target.symlink_to(content.absolute())
        names[target.name] = name
    return names


def _head(content: Path | bytes) -> bytes:
    if isinstance(content, bytes):
        return content[:_HEAD_BYTES]
    with content.open("rb") as stream:
        return stream.read(_HEAD_BYTES)


def _by_name(message: str, names: dict[str, str]) -> str:
    """Return a message of dcm2niix with the files' own names."""
    return re.sub(r"/?(\d{6})\b", lambda match: names.get(match[1], match[0]), message)


def _run(folder: Path, out: Path) -> list[str]:
    """Run dcm2niix on a folder, and return its warnings and errors."""
    # -ba y: no names; -z n: uncompressed; -w 2: never overwrite; -x i: slices stay slices, also of
    # 3-D acquisitions.
    options = ["-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-x", "i", "-f", "out"]
    call = [dcm2niix.bin, *options, "-o", str(out), str(folder)]
    try:
        done = subprocess.run(
            call,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_TIMEOUT_SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise ItemError(
            f"dcm2niix did not finish within {_TIMEOUT_SECONDS} s", "look at the series by hand"
        ) from None
    messages = []
    for line in (done.stdout + done.stderr).split("\n"):
        message = line.strip().replace(str(folder), "").replace(str(out), "")
        if message.startswith(("Warning", "Error", "Unable", "No valid")):
            messages.append(message)
    return messages


def _outputs(out: Path) -> list[Output]:
    outputs = []
    for path in sorted(out.glob("*.nii")):
        sidecar = path.with_suffix(".json")
        fields = json.loads(sidecar.read_text(errors="replace")) if sidecar.exists() else {}
        outputs.append(Output(path, fields))
    return outputs


def _only_output(source: Path, series: str | None, run: Run, echo: int | None) -> Output:
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
        raise ItemError(f"no volume came out{of_echo}{said}", "the series is left out")
    # dcm2niix marks what it could not stack in the names of its files.
    if any("_Eq" in output.path.name for output in outputs):
        gap = _gap(source, series) or said
        raise ItemError(f"slices are missing or unevenly spaced{gap}", "get the whole series")
    if any("_Tilt" in output.path.name for output in outputs):
        raise ItemError(
            f"the gantry was tilted{said}", "such a scan cannot be shown on a regular grid"
        )
    echoes = sorted({_echo(output) for output in outputs})
    if len(echoes) > 1:
        listed = ", ".join(map(str, echoes))
        raise ItemError(f"{len(echoes)} echoes in one folder ({listed})", "choose one with `echo`")
    numbers = sorted({str(output.fields.get("SeriesNumber", "?")) for output in outputs})
    if len(numbers) > 1:
        listed = ", ".join(numbers)
        raise ItemError(
            f"{len(numbers)} series in one folder (numbers {listed})",
            "give each a folder of its own",
        )
    raise ItemError(
        f"{len(outputs)} volumes came out where one belongs{said}; the slices do not form one stack"
    )


def _echo(output: Output) -> int:
    echo: int = output.fields.get("EchoNumber", 1)
    return echo


def _said(messages: Sequence[str]) -> str:
    """Return what dcm2niix said, in brackets; empty if it said nothing."""
    return f" (dcm2niix: {'; '.join(messages)})" if messages else ""


def _gap(source: Path, series: str | None) -> str:
    """Return the place where the headers show a gap, in brackets; empty if they show none."""
    problem = assess(source, series).problem
    return f" ({problem})" if problem else ""


def _check_complete(path: Path, run: Run, echo: int | None) -> None:
    """Raise an `ItemError` unless a volume has three dimensions and as many slices as files.

    Fewer slices than one-slice files mean that some were dropped.
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
    is_slice_a_file = echo is None and run.files > 1 and len(shape) == 3
    if is_slice_a_file and shape[2] != run.files:
        raise ItemError(
            f"{run.files} DICOM files gave {shape[2]} slices{said}",
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
