"""One run of dcm2niix on one series, in an empty folder of its own."""

import contextlib
import json
import re
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dcm2niix

from oatools.core.errors import ItemError
from oatools.dicom.frames import Image, read_dataset
from oatools.dicom.headers import SILENCE, read_header
from oatools.dicom.names import KEYWORDS, PersonalWords, personal_words

_TIMEOUT_SECONDS = 900
# Lines of dcm2niix that tell of no trouble.
_CHATTER = re.compile(
    r"Chris Rorden|Found \d+ DICOM|Convert(ed)? \d+ DICOM|Conversion required|Compress|::|"
    r"Advanced feature|Set output|Warning: Siemens MoCo\? Bogus slice timing|$"
)
# What gives the reason where nothing, or too much, comes out.
_REASON = re.compile(
    r"Error|Unable|not stacked|No valid|not large enough|FileSize|Unsupported|incompatible|"
    r"compress|corrupt",
    re.IGNORECASE,
)
# What may differ between the slices of one series, and makes dcm2niix tear it apart.
_MADE_ALIKE = (
    "StudyDate",
    "StudyTime",
    "SeriesDate",
    "AcquisitionDate",
    "AcquisitionTime",
    "SeriesNumber",
    "AcquisitionNumber",
    "EchoTime",
    "EchoNumbers",
    "ReceiveCoilName",
    "ProtocolName",
    "SeriesDescription",
    "PatientName",
    "PatientID",
    "StudyInstanceUID",
    "ImageType",
)


class Output(NamedTuple):
    """A volume that dcm2niix wrote, with the fields of its sidecar."""

    path: Path
    fields: dict[str, Any]


class Run(NamedTuple):
    """One run of dcm2niix: the volumes, the number of DICOM files it was given, its messages."""

    outputs: list[Output]
    files: int
    messages: list[str]


@contextlib.contextmanager
def run_on(images: Sequence[Image], merged: bool = False) -> Iterator[Run]:
    """Run dcm2niix on the files of a series, and yield what it wrote before that is deleted again.

    Voxels are as dcm2niix gives them; a series over time is one file of four dimensions. With
    `merged` it is given copies whose headers agree in all that does not place a slice, and told to
    make one volume of them.
    """
    with tempfile.TemporaryDirectory(prefix="oa-convert.") as temporary:
        folder, out = Path(temporary, "in"), Path(temporary, "out")
        folder.mkdir()
        out.mkdir()
        names: dict[str, str] = {}
        for count, image in enumerate(images):
            # It cannot mistake digits for an option or another format.
            target = folder / f"{count:06d}"
            names[target.name] = image.name
            if merged:
                _write_alike(image, images[0], target)
            elif isinstance(image.content, bytes):
                target.write_bytes(image.content)
            else:
                target.symlink_to(image.content.absolute())
        personal = personal_words_of(images)
        said = [personal.removed_from(message) for message in _run(folder, out, merged)]
        messages = [_by_name(message, names) for message in said]
        yield Run(_outputs(out), len(names), messages)


def personal_words_of(images: Sequence[Image]) -> PersonalWords:
    """Return the words that must not come out of the first image's header."""
    header = read_header(images[0].content, KEYWORDS) if images else None
    return personal_words({} if header is None else header.elements)


def _write_alike(image: Image, first: Image, target: Path) -> None:
    """Write a copy of an image with what does not place it taken from the series' first image."""
    with SILENCE:
        dataset = read_dataset(image.content, pixels=True)
        model = read_dataset(first.content, pixels=False)
        for keyword in _MADE_ALIKE:
            if keyword in model:
                dataset[keyword] = model[keyword]
            elif keyword in dataset:
                del dataset[keyword]
        try:
            dataset.save_as(target)
        except Exception as error:  # headers that can be read and not be written are of many kinds
            said = " ".join(str(error).split())
            raise ItemError(f"{image.name}: its header is damaged ({said})") from None


def _by_name(message: str, names: dict[str, str]) -> str:
    """Return a message of dcm2niix with the files' own names."""
    return re.sub(r"/?(\d{6})\b", lambda match: names.get(match[1], match[0]), message)


def _run(folder: Path, out: Path, merged: bool) -> list[str]:
    """Run dcm2niix on a folder, and return what it says of trouble."""
    # -ba y: no names; -z n: uncompressed; -w 2: never overwrite; -x i: slices stay slices, also of
    # 3-D acquisitions.
    options = ["-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-x", "i", "-f", "out"]
    options += ["-m", "y"] if merged else []
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
        message = message.split("::")[0].strip()
        if not _CHATTER.match(message):
            messages.append(message)
    return sorted(dict.fromkeys(messages), key=_is_doubt)


def _is_doubt(message: str) -> bool:
    """Tell whether a message is no reason for a failure, but a doubt beside it."""
    return _REASON.search(message) is None


def _outputs(out: Path) -> list[Output]:
    outputs = []
    for path in sorted(out.glob("*.nii")):
        sidecar = path.with_suffix(".json")
        fields = {}
        if sidecar.exists():
            with contextlib.suppress(ValueError):  # a volume without its settings is still one
                fields = json.loads(sidecar.read_text(errors="replace"))
        outputs.append(Output(path, fields))
    return outputs
