"""The three sequences as the study acquires them: slice geometry, and DICOM files of a volume."""

from __future__ import annotations

import copy
import hashlib
import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import UID, ExplicitVRLittleEndian, MRImageStorage

from oatools.core.files import write_new
from oatools.core.provenance import PHANTOM_IMPLEMENTATION

Affine = NDArray[np.float64]
Point = tuple[float, float, float]

REFERENCE_MATRIX = 384
_UNIT = 600  # pixel value of signal 1
_HIGHEST = 4095  # of 12 bits
# What stands in the first 128 bytes of a file, which the standard leaves to whoever writes it.
_SEAL = "oatools phantom, SHA-256 of what follows: {}"
_SEAL_BYTES = 128
_META_BYTES = 512  # that follow, within which a file states its UID
_FLIP_XY = np.diag([-1.0, -1.0, 1.0, 1.0])  # between RAS and DICOM's LPS


@dataclass(frozen=True)
class Scanner:
    """What the headers say of the machine; field in T, frequency in MHz."""

    manufacturer: str = "SIEMENS"
    model: str = "Trio"
    field: str = "2.89362"
    frequency: str = "123.253"


@dataclass(frozen=True)
class PulseSequence:
    """One protocol: contrast, field of view, slices, and the acquisition values of its headers."""

    name: str  # as in tables and file names
    description: str  # SeriesDescription without the side
    contrast: str
    columns: int  # at the reference matrix of 384
    rows: int
    spacing: float  # in plane at the reference matrix, mm
    slices: int
    thickness: float  # mm, without gap
    noise: float  # deviation of the noise in each channel, as a fraction of the brightest fluid
    echo_time: float  # ms
    repetition_time: float  # ms
    flip_angle: int  # degrees
    volume: bool = False  # acquired in 3D
    coronal: bool = False  # sagittal otherwise
    inversion_time: float | None = None  # ms
    scanner: Scanner = Scanner()


_COR_IW_TSE = PulseSequence(
    name="cor-iw-tse",
    description="COR_IW_TSE",
    contrast="iw",
    columns=384,
    rows=384,
    spacing=140 / 384,
    slices=35,
    thickness=3.0,
    noise=0.025,
    echo_time=29,
    repetition_time=3700,
    flip_angle=180,
    coronal=True,
)
_SAG_IW_TSE = PulseSequence(
    name="sag-iw-tse",
    description="SAG_IW_TSE",
    contrast="iw-fs",
    columns=448,
    rows=444,
    spacing=160 / 448,
    slices=37,
    thickness=3.0,
    noise=0.025,
    echo_time=30,
    repetition_time=3200,
    flip_angle=180,
)
_SAG_3D_DESS = PulseSequence(
    name="sag-3d-dess",
    description="SAG_3D_DESS",
    contrast="dess-we",
    columns=384,
    rows=384,
    spacing=140 / 384,
    slices=160,
    thickness=0.7,
    noise=0.03,
    echo_time=4.7,
    repetition_time=16.3,
    flip_angle=25,
    volume=True,
)
SEQUENCES = {sequence.name: sequence for sequence in (_COR_IW_TSE, _SAG_IW_TSE, _SAG_3D_DESS)}


def grid(
    sequence: PulseSequence, matrix: int, side: str, centre: Point, turn: float
) -> tuple[tuple[int, int, int], Affine]:
    """The shape (columns, rows, slices) of a series, and its affine into patient RAS mm.

    `centre` (mm lateral to the midline, anterior, superior) is the middle of the volume; `turn`
    (degrees) turns the slices about the long axis, by mirrored angles on the two sides. Coronal
    slices run from anterior to posterior, sagittal ones towards the patient's right on both sides:
    medial to lateral in a right knee, the reverse in a left.
    """
    scale = REFERENCE_MATRIX / matrix
    shape = (round(sequence.columns / scale), round(sequence.rows / scale), sequence.slices)
    sign = 1.0 if side == "left" else -1.0
    sin, cos = np.sin(np.radians(turn)) * sign, np.cos(np.radians(turn))
    # Directions and positions in LPS, as DICOM states them.
    along_row = np.array([cos, -sin, 0.0] if sequence.coronal else [sin, cos, 0.0])
    along_column = np.array([0.0, 0.0, -1.0])
    directions = np.stack([along_row, along_column, np.cross(along_row, along_column)], axis=1)
    step = directions * (sequence.spacing * scale, sequence.spacing * scale, sequence.thickness)
    lateral, anterior, superior = centre
    middle = np.array([sign * lateral, -anterior, superior])
    affine = np.eye(4)
    affine[:3, :3] = step
    affine[:3, 3] = middle - step @ ((np.array(shape) - 1) / 2)
    return shape, _FLIP_XY @ affine


def uid(*parts: object) -> UID:
    """A UID that depends on nothing but `parts`: 2.25 followed by 128 bits of their SHA-256."""
    text = "/".join(str(part) for part in ("oatools phantom", *parts))
    digest = hashlib.sha256(text.encode()).digest()
    return UID(f"2.25.{int.from_bytes(digest[:16], 'big')}")


def digitise(
    image: NDArray[np.float32], noise: float, rng: np.random.Generator
) -> NDArray[np.uint16]:
    """Turn a noiseless magnitude image into pixel values of 12 bits.

    The noise is Rician: `noise` is its standard deviation in each of the two channels.
    """
    flat = image.T  # (k, j, i) is the order in memory
    out = np.empty(flat.shape, np.uint16)
    for k, plane in enumerate(flat):
        real, imaginary = rng.standard_normal((2, *plane.shape), dtype=np.float32)
        real *= np.float32(noise)
        real += plane
        imaginary *= np.float32(noise)
        np.hypot(real, imaginary, out=real)
        real *= np.float32(_UNIT)
        real += np.float32(0.5)
        out[k] = np.minimum(real, _HIGHEST, out=real)
    return out.T


def write_series(
    folder: Path,
    sequence: PulseSequence,
    pixels: NDArray[np.uint16],
    affine: Affine,
    identity: dict[str, str],
) -> None:
    """Write a volume (columns, rows, slices) as MR images 001, 002, … into an existing folder.

    `affine` takes indices to patient RAS mm. `identity` holds DICOM keywords and values of patient
    and study; it must hold `SeriesInstanceUID`, from which those of the images follow, and
    `SeriesTime`. Explicit VR little endian, uncompressed, one frame in each, which begins with a
    digest of the rest (see `is_whole`).
    """
    base = _header(sequence, identity)
    _describe_grid(base, pixels.shape, affine)
    for k in range(pixels.shape[2]):
        ds = copy.copy(base)
        x, y, z = affine[:3, 3] + k * affine[:3, 2]
        ds.SOPInstanceUID = _image_uid(identity, k)
        ds.InstanceNumber = k + 1
        ds.ImagePositionPatient = [_text(-x), _text(-y), _text(z)]
        ds.AcquisitionTime = _acquisition_time(sequence, identity["SeriesTime"], k)
        ds.SliceLocation = _text(k * sequence.thickness)
        ds.PixelData = np.ascontiguousarray(pixels[:, :, k].T).astype("<u2", copy=False).tobytes()
        ds.file_meta = _file_meta(ds.SOPInstanceUID)
        write_new(folder / _name(k), _encoded(ds))


def file_names(sequence: PulseSequence) -> list[str]:
    """The names of a series' files, one for each slice."""
    return [_name(k) for k in range(sequence.slices)]


def is_whole(content: bytes, name: str, identity: dict[str, str]) -> bool:
    """Tell whether a file of that name in a series, with such a header, is as it was written."""
    rest = content[_SEAL_BYTES:]
    is_of_this_place = _image_uid(identity, int(name) - 1).encode() in rest[:_META_BYTES]
    return is_of_this_place and content[:_SEAL_BYTES] == _seal(rest)


def _name(k: int) -> str:
    return f"{k + 1:03d}"


def _image_uid(identity: dict[str, str], k: int) -> UID:
    return uid(identity["SeriesInstanceUID"], k)


def _encoded(ds: Dataset) -> bytes:
    """Return the bytes of a DICOM file: pydicom writes to no disk, which may be full."""
    stream = io.BytesIO()
    ds.save_as(stream, enforce_file_format=True)
    rest = stream.getvalue()[_SEAL_BYTES:]
    return _seal(rest) + rest


def _seal(rest: bytes) -> bytes:
    digest = hashlib.sha256(rest).hexdigest()
    return _SEAL.format(digest).encode().ljust(_SEAL_BYTES, b"\0")


def _header(sequence: PulseSequence, identity: dict[str, str]) -> Dataset:
    """The values that all slices of a series share, whatever their grid."""
    ds = Dataset()
    for keyword, value in identity.items():
        setattr(ds, keyword, value)
    ds.SOPClassUID = MRImageStorage
    ds.Modality = "MR"
    ds.Manufacturer = sequence.scanner.manufacturer
    ds.ManufacturerModelName = sequence.scanner.model
    ds.ImageType = ["ORIGINAL", "PRIMARY", "M", "ND"]
    if sequence.volume:
        ds.ScanningSequence = "GR"
        ds.SequenceVariant = ["SK", "SS", "SP"]
        ds.ScanOptions = "WE"
        ds.MRAcquisitionType = "3D"
        ds.EchoTrainLength = 1
    else:
        ds.ScanningSequence = "SE" if sequence.inversion_time is None else ["SE", "IR"]
        ds.SequenceVariant = ["SK", "SP"]
        ds.ScanOptions = "FS" if sequence.contrast in ("iw-fs", "pd-fs") else ""
        ds.MRAcquisitionType = "2D"
        ds.EchoTrainLength = 7
    if sequence.inversion_time is not None:
        ds.InversionTime = sequence.inversion_time
    ds.MagneticFieldStrength = sequence.scanner.field
    ds.ImagedNucleus = "1H"
    ds.ImagingFrequency = sequence.scanner.frequency
    ds.RepetitionTime = sequence.repetition_time
    ds.EchoTime = sequence.echo_time
    ds.FlipAngle = sequence.flip_angle
    ds.NumberOfAverages = 1
    ds.SliceThickness = _text(sequence.thickness)
    ds.SpacingBetweenSlices = _text(sequence.thickness)
    ds.PatientPosition = "FFS"
    ds.PositionReferenceIndicator = ""
    ds.AcquisitionNumber = 1
    ds.SamplesPerPixel = 1
    ds.PhotometricInterpretation = "MONOCHROME2"
    ds.PixelRepresentation = 0
    ds.BitsAllocated, ds.BitsStored, ds.HighBit = 16, 12, 11
    ds.WindowCenter, ds.WindowWidth = "400", "800"
    return ds


def _describe_grid(ds: Dataset, shape: tuple[int, ...], affine: Affine) -> None:
    """Add the size of the images, their spacing and the directions of their rows and columns."""
    step = _FLIP_XY[:3, :3] @ affine[:3, :3]
    size = np.linalg.norm(step, axis=0)
    directions = (step / size)[:, :2].T.ravel()
    ds.Columns, ds.Rows = shape[:2]
    ds.PixelSpacing = [_text(size[1]), _text(size[0])]
    ds.ImageOrientationPatient = [_text(v) for v in directions]


def _file_meta(instance: UID) -> FileMetaDataset:
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = MRImageStorage
    meta.MediaStorageSOPInstanceUID = instance
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.ImplementationClassUID = uid("implementation")
    meta.ImplementationVersionName = PHANTOM_IMPLEMENTATION
    return meta


def _acquisition_time(sequence: PulseSequence, start: str, k: int) -> str:
    """The time at which slice `k` was excited first.

    In 2D every other slice comes first, then those between, within one repetition time.
    """
    if sequence.volume:
        rank = 0
    elif k % 2 == 0:
        rank = k // 2
    else:
        rank = (sequence.slices + k) // 2
    seconds = rank * sequence.repetition_time / 1000 / sequence.slices
    return f"{start[:4]}{seconds:09.6f}"


def _text(value: float) -> str:
    """A decimal string, which holds 16 characters at most."""
    return f"{value:.10f}".rstrip("0").rstrip(".")
