"""One run of dcm2niix on one series, in an empty folder of its own.

It is native code that reads foreign bytes: it may hang, crash, or take more memory and disk than
there are. So its time, its memory and what it writes are limited, and it ends with this process.
"""

import contextlib
import functools
import json
import re
import resource
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import dcm2niix

from oatools.core.errors import ItemError
from oatools.core.files import working_folder
from oatools.core.limits import VARIABLE, allowance_of, in_units
from oatools.dicom.frames import Image, read_dataset
from oatools.dicom.headers import SILENCE, read_header
from oatools.dicom.names import KEYWORDS, PersonalWords, personal_words

_TEXT_BYTES = 1 << 20  # of its messages; a damaged header can make it say the same for hours
_LINE, _MESSAGES = 400, 100  # characters of a message, and messages
_NOT_STARTED = (126, 127)  # exit codes of what starts another program
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
# About its own options, which nobody here can give it.
_ADVICE = re.compile(r" \(use '-m o' to turn off merging\)$")
# A quote that is not of a file (by its number), a transfer syntax, or dcm2niix's own advice.
_QUOTED_VALUE = re.compile(
    r"'(?!/?\d{6}'|1\.2\.840\.10008\.[\d.]+'|dcmconv \+te |gdcmconv |HFS')"
    r"(?=.*')"
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
def run_on(
    images: Sequence[Image], merged: bool = False, seconds: float | None = None
) -> Iterator[Run]:
    """Run dcm2niix on the files of a series, and yield what it wrote before that is deleted again.

    Voxels are as dcm2niix gives them; a series over time is one file of four dimensions. With
    `merged` it is given copies whose headers agree in all that does not place a slice, and told to
    make one volume of them. Raises an `ItemError` if it takes more than so many `seconds`, more
    memory than `core.limits` allows for files of that size, or crashes.
    """
    with working_folder() as temporary:
        folder, out = temporary / "in", temporary / "out"
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
        allowed = allowance_of(sum(target.stat().st_size for target in folder.iterdir()))
        said = [
            personal.removed_from(message)[:_LINE]
            for message in _run(folder, out, merged, seconds, allowed)
        ]
        messages = [_by_name(message, names) for message in said]
        yield Run(_outputs(out), len(names), messages)


def personal_words_of(images: Sequence[Image]) -> PersonalWords:
    """Return the words that must not come out of the first image's header."""
    header = read_header(images[0].content, KEYWORDS) if images else None
    return personal_words({} if header is None else header.elements)


def _write_alike(image: Image, first: Image, target: Path) -> None:
    """Write a copy of an image with what does not place it taken from the series' first image."""
    with SILENCE:
        dataset = read_dataset(image, pixels=True)
        model = read_dataset(first, pixels=False)
        try:
            for keyword in _MADE_ALIKE:
                if keyword in model:
                    dataset[keyword] = model[keyword]
                elif keyword in dataset:
                    del dataset[keyword]
            dataset.save_as(target)
        except Exception as error:  # headers that can be read and not be written are of many kinds
            said = " ".join(str(error).split())
            raise ItemError(f"{image.name}: its header is damaged ({said})") from None


def _by_name(message: str, names: dict[str, str]) -> str:
    """Return a message of dcm2niix with the files' own names."""
    return re.sub(r"/?(\d{6})\b", lambda match: names.get(match[1], match[0]), message)


def _run(folder: Path, out: Path, merged: bool, seconds: float | None, allowed: int) -> list[str]:
    """Run dcm2niix on a folder, and return what it says of trouble."""
    # -ba y: no names; -z n: uncompressed; -w 2: never overwrite; -x i: slices stay slices, also of
    # 3-D acquisitions.
    options = ["-b", "y", "-ba", "y", "-z", "n", "-w", "2", "-x", "i", "-f", "out"]
    options += ["-m", "y"] if merged else []
    call = [*_ending_with_parent(), dcm2niix.bin, *options, "-o", str(out), str(folder)]
    texts = out.with_name("said"), out.with_name("said-of-errors")
    try:
        code = _called(call, texts, seconds, allowed)
    except subprocess.TimeoutExpired:
        raise ItemError(
            f"dcm2niix took more than {seconds:g} s and was stopped",
            "a file of the series may be damaged: try it alone, or give it more time (`timeout`)",
        ) from None
    except OSError as error:
        raise ItemError(
            f"dcm2niix cannot be started ({error.strerror})",
            "see whether memory or processes are short, and whether it runs by itself",
        ) from None
    if code < 0:
        raise ItemError(
            f"dcm2niix crashed over it ({signal.Signals(-code).name})",
            f"a file of the series is damaged, or takes more than {in_units(allowed)} of memory "
            f"(set {VARIABLE} for more)",
        )
    said = "\n".join(_beginning(text) for text in texts)
    if code in _NOT_STARTED:
        raise ItemError(f"dcm2niix cannot be started ({said.strip()})", "see whether it is there")
    messages = []
    for line in said.split("\n"):
        message = line.strip().replace(str(folder), "").replace(str(out), "")
        message = _without_quotes(message.split("::")[0].strip())
        if not _CHATTER.match(message):
            messages.append(message)
    return sorted(dict.fromkeys(messages), key=_is_doubt)[:_MESSAGES]


def _without_quotes(message: str) -> str:
    """Return a message without what it quotes from headers, such as a protocol's or a coil's name.

    What is quoted may hold quotes itself, so that all is taken out up to the last of them.
    """
    message = _ADVICE.sub("", message)
    start = _QUOTED_VALUE.search(message)
    if start is None:
        return message
    return f"{message[: start.start()]}'...'{message[message.rindex(chr(39)) + 1 :]}"


def _beginning(text: Path) -> str:
    with text.open("rb") as stream:
        said = stream.read(_TEXT_BYTES)
    # A line that was cut could hold half a name, which nothing would know for one.
    whole = said if len(said) < _TEXT_BYTES else said.rpartition(b"\n")[0]
    return whole.decode(errors="replace")


def _called(
    call: Sequence[str], texts: tuple[Path, Path], seconds: float | None, allowed: int
) -> int:
    """Call a program within limits, its output and errors into two files; return its exit code.

    That is negative for the signal of which it died. Raises a `subprocess.TimeoutExpired` when it
    has been killed for its time.
    """
    with (
        texts[0].open("wb") as output,
        texts[1].open("wb") as errors,
        # Where it would leave a core, with the pixels of a patient, is the temporary folder.
        subprocess.Popen(
            call, stdin=subprocess.DEVNULL, stdout=output, stderr=errors, cwd=texts[0].parent
        ) as started,
    ):
        try:
            _limit(started.pid, allowed)
            return started.wait(seconds)
        except BaseException:
            started.kill()
            raise


def _limit(pid: int, allowed: int) -> None:
    """Limit the memory of a process, and the size of a file it writes, where the system can."""
    if sys.platform != "linux":
        return
    with contextlib.suppress(OSError):  # it has ended by now
        for what, most in (
            (resource.RLIMIT_AS, allowed),
            (resource.RLIMIT_FSIZE, allowed),
            (resource.RLIMIT_CORE, 0),
        ):
            soft, hard = resource.prlimit(pid, what)
            least = min(limit for limit in (most, soft, hard) if limit != resource.RLIM_INFINITY)
            resource.prlimit(pid, what, (least, hard))


@functools.cache
def _ending_with_parent() -> tuple[str, ...]:
    """Return the call by which another one has its process killed when this process is.

    Empty where the system's own program for that (of util-linux) is missing. What could be done
    between fork and exec by Python is not safe in a process of several threads.
    """
    program = shutil.which("setpriv")
    if program is None or sys.platform != "linux":
        return ()
    call = (program, "--pdeathsig", "KILL")
    try:
        works = subprocess.run([*call, "true"], capture_output=True, check=False).returncode == 0
    except OSError:
        works = False
    return call if works else ()


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
