"""Where each image of a series lies in space, by its header.

A file of one image and a frame of a multi-frame file are the same to everything that follows: a
`Frame`. World coordinates are DICOM's: LPS, in mm.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from pydicom.dataset import Dataset
from pydicom.filereader import read_partial

from oatools.core.errors import ItemError
from oatools.dicom.elements import open_plain
from oatools.dicom.headers import SILENCE, Header, is_of_the_disk, read_header, up_to

KEYWORDS = (
    "ImageType",
    "SOPClassUID",
    "SOPInstanceUID",
    "Modality",
    "Manufacturer",
    "EchoTime",
    "SliceThickness",
    "SpacingBetweenSlices",
    "SeriesInstanceUID",
    "SeriesNumber",
    "InstanceNumber",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "EchoNumbers",
    "ImagesInAcquisition",
    "NumberOfSeriesRelatedInstances",
    "PhotometricInterpretation",
    "NumberOfFrames",
    "Rows",
    "Columns",
    "PixelSpacing",
    "BitsAllocated",
    "BitsStored",
    "HighBit",
    "PixelRepresentation",
    "RescaleSlope",
    "RescaleIntercept",
    "NumberOfSlices",
)

#: The class of MR images of several frames, each of which is described in a sequence.
ENHANCED = "1.2.840.10008.5.1.4.1.1.4.1"

_LAST_OF_HEADER = 0x7FE00007  # pixels of any type begin with the next
_MOST_MM = 1e6  # from the centre of a scanner
_LEAST_MM = 1e-4  # the size of a pixel of a microscope
_DIGITS = 12  # of a whole number, at most (PS3.5, IS)

#: What a point or direction of DICOM is multiplied by to be one of NIfTI.
LPS_TO_RAS = np.array([-1.0, -1.0, 1.0])

Vector = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Image:
    """A file of a series: its name, its content (a path, or bytes from an archive), its header."""

    name: str
    content: Path | bytes
    header: Header


@dataclass(frozen=True)
class Frame:
    """One slice as a header describes it.

    `image` is its file and `index` its place in it, None where the file is a single image.
    `position` is the centre of its first voxel (LPS mm, shape (3,)), `axes` the directions along a
    row and along a column (shape (2, 3)), `spacing` the distances between rows and between columns
    (mm), `size` the numbers of rows and columns. Each is None where the header does not say.
    `stack`, `echo`, `time` and `side` tell frames at one place apart, as written; `number` is that
    of the image in its series, or of the frame in its stack. `thickness` and `apart` are what is
    stated of a slice and of the distance between two (mm, None where nothing is). A stored pixel is
    multiplied by `slope`, and `intercept` is added; None where nothing is stated, which means 1 and
    0, and NaN where what is stated is no number.
    """

    image: Image
    index: int | None
    position: Vector | None
    axes: Vector | None
    spacing: tuple[float, float] | None
    size: tuple[int, int] | None
    echo: str = ""
    stack: str = ""
    time: str = ""
    side: str = ""
    number: int | None = None
    thickness: float | None = None
    apart: float | None = None
    slope: float | None = None
    intercept: float | None = None

    @property
    def name(self) -> str:
        """The name that a message gives it."""
        return self.image.name if self.index is None else f"frame {self.index + 1}"

    @property
    def scale(self) -> tuple[float, float]:
        """The slope and the intercept of its pixels."""
        return (
            1.0 if self.slope is None else self.slope,
            0.0 if self.intercept is None else self.intercept,
        )

    @property
    def normal(self) -> Vector:
        """The direction across its plane; only where `axes` are known."""
        assert self.axes is not None
        return np.cross(self.axes[0], self.axes[1])

    @property
    def centre(self) -> Vector | None:
        """The middle of the image, LPS mm; None where the header does not say."""
        if self.position is None or self.axes is None or not self.spacing or not self.size:
            return None
        (between_rows, between_columns), (rows, columns) = self.spacing, self.size
        along_row = self.axes[0] * between_columns * (columns - 1) / 2
        along_column = self.axes[1] * between_rows * (rows - 1) / 2
        middle: Vector = self.position + along_row + along_column
        return middle

    @property
    def unknown(self) -> str:
        """What its header does not state of its place; empty if it states all."""
        if self.position is None:
            return "position (ImagePositionPatient)"
        if self.axes is None:
            return "orientation (ImageOrientationPatient)"
        if self.spacing is None:
            return "size of a pixel (PixelSpacing)"
        return "" if self.size else "size (Rows, Columns)"


def read_image(name: str, content: Path | bytes) -> Image | None:
    """Read a file's header; None if it is no DICOM image."""
    header = read_header(content, KEYWORDS)
    return None if header is None else Image(name, content, header)


def frames_of(images: Sequence[Image]) -> list[Frame]:
    """Return all frames of a series' files. Raises an `ItemError` for a file that has too few."""
    found: list[Frame] = []
    for image in images:
        is_enhanced = image.header.text("SOPClassUID") == ENHANCED
        if is_enhanced or frame_count(image) > 1:
            found += _of_multi_frame(image)
        else:
            found.append(_of_single(image))
    return found


def frame_count(image: Image) -> int:
    """Return the number of frames that a header states, 1 where it states none."""
    return _whole(image.header.text("NumberOfFrames")) or 1


def series_number(image: Image) -> str:
    """Return the number of an image's series as it is written; `?` where that is no number."""
    number = image.header.text("SeriesNumber")
    return number if _whole(number) is not None else "?"


def is_mosaic(image: Image) -> bool:
    """Tell whether an image is Siemens' mosaic, all slices of a volume side by side."""
    return "MOSAIC" in image.header.text("ImageType").upper()


def _of_single(image: Image) -> Frame:
    header = image.header
    return Frame(
        image=image,
        index=None,
        position=_vector(header.numbers("ImagePositionPatient")),
        axes=_axes(header.numbers("ImageOrientationPatient")),
        spacing=_spacing(header.numbers("PixelSpacing")),
        size=_size(header),
        echo=header.text("EchoNumbers"),
        number=_whole(header.text("InstanceNumber")),
        thickness=_length(header.number("SliceThickness")),
        apart=_length(header.number("SpacingBetweenSlices")),
        slope=_number(header.text("RescaleSlope")),
        intercept=_number(header.text("RescaleIntercept")),
    )


def _of_multi_frame(image: Image) -> list[Frame]:
    with SILENCE:
        dataset = read_dataset(image, pixels=False)
        try:
            shared = _item(dataset, "SharedFunctionalGroupsSequence")
            own = list(dataset.get("PerFrameFunctionalGroupsSequence") or ())
        except Exception:  # sequences are read when they are asked for
            raise ItemError(
                f"{image.name}: what its header says of its frames is damaged", "get it again"
            ) from None
        count = frame_count(image)
        if len(own) != count:
            described = len(own) or "none"
            raise ItemError(
                f"{image.name} has {count} frames, and its header says of {described} where it "
                "lies",
                "such a file cannot be placed in space",
            )
        size = _size(image.header)
        return [_frame(image, k, groups, shared, size) for k, groups in enumerate(own)]


def _frame(
    image: Image, index: int, own: Dataset, shared: Dataset, size: tuple[int, int] | None
) -> Frame:
    def stated(sequence: str, keyword: str) -> Any:
        for groups in (own, shared):
            try:
                value = _item(groups, sequence).get(keyword)
            except Exception:  # what damaged values raise is not a closed list
                raise ItemError(
                    f"{image.name}: {keyword} of frame {index + 1} is damaged", "get it again"
                ) from None
            if value is not None:
                return value
        return None

    def text(sequence: str, keyword: str) -> str:
        value = stated(sequence, keyword)
        return "" if value is None else str(value)

    def scale(keyword: str) -> float | None:
        own_scale = text("PixelValueTransformationSequence", keyword)
        return _number(own_scale or image.header.text(keyword))

    def length(keyword: str) -> float | None:
        return _length(_number(text("PixelMeasuresSequence", keyword)))

    return Frame(
        image=image,
        index=index,
        position=_vector(_floats(stated("PlanePositionSequence", "ImagePositionPatient"))),
        axes=_axes(_floats(stated("PlaneOrientationSequence", "ImageOrientationPatient"))),
        spacing=_spacing(_floats(stated("PixelMeasuresSequence", "PixelSpacing"))),
        size=size,
        echo=text("MREchoSequence", "EffectiveEchoTime"),
        stack=text("FrameContentSequence", "StackID"),
        time=text("FrameContentSequence", "TemporalPositionIndex"),
        side=text("FrameAnatomySequence", "FrameLaterality"),
        number=_whole(text("FrameContentSequence", "InStackPositionNumber")),
        thickness=length("SliceThickness"),
        apart=length("SpacingBetweenSlices"),
        slope=scale("RescaleSlope"),
        intercept=scale("RescaleIntercept"),
    )


def read_dataset(image: Image, pixels: bool) -> Dataset:
    """Read a whole header, with `pixels` the whole file. Raises an `ItemError` if it cannot be."""
    try:
        with open_plain(image.content) as stream:
            return read_partial(stream, up_to(None if pixels else _LAST_OF_HEADER), force=True)
    except Exception as error:  # what a parser can raise on arbitrary bytes is not a closed list
        if is_of_the_disk(error):
            raise
        said = " ".join(str(error).split())
        raise ItemError(
            f"the header of {image.name} cannot be read to its end ({said})", "get it again"
        ) from None


def pixel_bytes(image: Image) -> bytes | None:
    """Return an image's pixels as they are stored; None where there are none."""
    element = read_dataset(image, pixels=True).get_item("PixelData")
    return element.value if element is not None and isinstance(element.value, bytes) else None


def _item(groups: Dataset, sequence: str) -> Dataset:
    """Return the only item of a sequence; an empty one where there is none."""
    items = groups.get(sequence)
    return items[0] if items else Dataset()


def _whole(text: str) -> int | None:
    is_number = text.isdecimal() and len(text) <= _DIGITS
    return int(text) if is_number else None


def _number(text: str) -> float | None:
    """Return a number as it is written, None for an empty text, and NaN for any other."""
    try:
        return float(text) if text else None
    except ValueError:
        return float("nan")


def _length(stated: float | None) -> float | None:
    """Return a length that is one; anonymisers and some scanners write 0 where they know none."""
    return stated if stated is not None and _LEAST_MM < stated < 1e3 else None


def _floats(value: Any) -> list[float] | None:
    try:
        return None if value is None else [float(each) for each in value]
    except (TypeError, ValueError):
        return None


def _vector(numbers: list[float] | None) -> Vector | None:
    if numbers is None or len(numbers) != 3 or not all(abs(each) < _MOST_MM for each in numbers):
        return None
    return np.array(numbers)


def _axes(numbers: list[float] | None) -> Vector | None:
    """Return two directions; None if they are none (zeros, as some anonymisers write)."""
    if numbers is None or len(numbers) != 6 or not np.isfinite(numbers).all():
        return None
    axes = np.array(numbers).reshape(2, 3)
    lengths = np.linalg.norm(axes, axis=1)
    is_square = np.abs(lengths - 1).max() < 0.01 and abs(axes[0] @ axes[1]) < 0.01
    return axes if is_square else None


def _spacing(numbers: list[float] | None) -> tuple[float, float] | None:
    if numbers is None or len(numbers) != 2 or not all(_LEAST_MM < each < 1e3 for each in numbers):
        return None
    return numbers[0], numbers[1]


def _size(header: Header) -> tuple[int, int] | None:
    rows, columns = _whole(header.text("Rows")), _whole(header.text("Columns"))
    return (rows, columns) if rows and columns else None
