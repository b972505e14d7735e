"""Markers in every text of a header, of files' names and of strangers' sidecars: none in any byte that comes out.

`python tests/test_privacy.py FOLDER [SERIES]` plants them in more series, runs the same commands as processes on
them in FOLDER, and prints what was planted and found.
"""

import base64
import binascii
import contextlib
import gzip
import importlib
import io
import json
import re
import sys
import warnings
import zipfile
import zlib
from datetime import date, timedelta
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pytest
from click.testing import CliRunner
from pydicom.datadict import DicomDictionary
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import ExplicitVRLittleEndian, MRImageStorage

# What an image is read by: without these, or with other values, there is no volume to look at.
NEEDED = {
    *("SpecificCharacterSet", "SOPClassUID", "Modality", "ImageType", "PatientPosition"),
    *("MRAcquisitionType", "PhotometricInterpretation", "InPlanePhaseEncodingDirection"),
    *("TransferSyntaxUID", "MediaStorageSOPClassUID", "FrameLaterality", "Laterality"),
    *("ImageLaterality", "PixelPresentation", "RescaleType", "LossyImageCompression"),
    *("PresentationLUTShape", "BurnedInAnnotation", "TimezoneOffsetFromUTC"),
}
# Sequences that say what the frames of an image are, and of which file a file is a part.
STRUCTURAL = re.compile(
    r"FunctionalGroups|Frame|Dimension|Directory|Icon|PixelMeasures|PlanePosition|Overlay|LUT|"
    r"RealWorld|PixelValue|Waveform|Content|Segment|Referenced"
)
LONGEST = {"AE": 16, "CS": 16, "SH": 16}
# Scripts that a name may be written in.
SCRIPTS = ["Жуковцев", "山田祐一郎", "Παπαδάκης", "홍길순이", "עמיחי"]


def texts():
    """The tags of DICOM's dictionary whose values hold text, dates or identifiers."""
    for tag, (vr, *_, keyword) in sorted(DicomDictionary.items()):
        kinds = set(vr.split(" or "))
        group = tag >> 16
        is_text = kinds & {
            *("AE", "CS", "DA", "DT", "LO", "LT", "PN", "SH", "ST", "TM", "UC", "UI", "UR", "UT")
        }
        if is_text and keyword and keyword not in NEEDED and group > 2:
            yield tag, sorted(is_text)[0], keyword


class Planted:
    """Markers, by the bytes that they are found by, with the place of each."""

    def __init__(self):
        self.places = {}
        self.count = 0

    def note(self, found_by, place):
        self.places[found_by.lower()] = place
        return found_by

    def word(self, place):
        """A word that nothing but this place holds: no hexadecimal number, and no word of the field."""
        self.count += 1
        return self.note(f"ZQ{self.count:05d}K", place)

    def date(self, place):
        self.count += 1
        day = date(1701, 1, 1) + timedelta(days=self.count)
        self.note(day.isoformat(), place)
        return self.note(day.strftime("%Y%m%d"), place)

    def identifier(self, place):
        self.count += 1
        return f"1.2.826.{self.note(f'99{self.count:05d}9917', place)}.3"

    def of(self, vr, place):
        if vr in ("DA", "DT"):
            return self.date(place)
        if vr == "TM":
            return f"2359{self.count % 60:02d}." + self.note(
                f"{(self.count + 4) * 7919 % 10**6:06d}", place
            )
        if vr == "UI":
            return self.identifier(place)
        return self.word(place)


def plant(dataset, planted, scanner_too):
    """Put a marker into every text of a header, also into private elements and into sequences."""
    for tag, vr, keyword in texts():
        if vr == "TM":
            continue  # six digits are found by chance in numbers
        is_scanner = keyword in ("Manufacturer", "ScanningSequence", "SequenceVariant")
        if is_scanner and not scanner_too:
            continue
        dataset.add_new(tag, vr, planted.of(vr, keyword))
    dataset.PatientID = f"H{planted.word('PatientID')}"
    for tag, (vr, *_, keyword) in sorted(DicomDictionary.items()):
        if vr == "SQ" and keyword and not STRUCTURAL.search(keyword) and tag >> 16 > 2:
            inner = Dataset()
            inner.PatientName = planted.word(f"{keyword} > PatientName")
            inner.CodeMeaning = planted.word(f"{keyword} > CodeMeaning")
            dataset.add_new(tag, "SQ", [inner])
    for group in (0x0009, 0x0019, 0x0029, 0x0051, 0x7001):
        block = dataset.private_block(group, planted.word("creator"), create=True)
        block.add_new(1, "LO", planted.word("private text"))
        block.add_new(2, "UN", planted.word("private bytes").encode())
        nested = Dataset()
        nested.PatientID = planted.word("private sequence")
        block.add_new(3, "SQ", [nested])


def described(planted, words):
    """A description as people type it: words of the field, and a person in all spellings beside them."""
    typed = [planted.word(f"SeriesDescription: {how}") for how in ("apart", "joined", "initials")]
    scripts = [planted.note(name, f"SeriesDescription: {name}") for name in SCRIPTS]
    number = planted.note("7204119358", "SeriesDescription: accession number")
    return f"{words}_{typed[0]} COR{typed[1]} {' '.join(scripts)} {number} J.{typed[2]}. LEFT"


def write_series(folder, planted, scanner_too=False, words="COR_PD", broken=False):
    """Write a small coronal series of a left knee whose headers are full of markers.

    A `broken` one lacks a slice and changes its echo; it lies under names that may be shown.
    """
    header = Dataset()
    header.SpecificCharacterSet = "ISO_IR 192"
    plant(header, planted, scanner_too)
    header.SpecificCharacterSet = "ISO_IR 192"
    header.SeriesDescription = header.ProtocolName = described(planted, words)
    header.ManufacturerModelName = (
        f"Skyra {planted.word('ManufacturerModelName beside a real one')}"
    )
    header.ScanOptions = ["FS", planted.word("ScanOptions beside a real one")]
    if not scanner_too:
        header.Manufacturer, header.ScanningSequence, header.SequenceVariant = "SIEMENS", "SE", "SK"
    header.SOPClassUID, header.Modality = MRImageStorage, "MR"
    header.ImageType, header.PatientPosition = ["ORIGINAL", "PRIMARY", "M"], "FFS"
    header.MRAcquisitionType, header.PhotometricInterpretation = "2D", "MONOCHROME2"
    header.SamplesPerPixel, header.PixelRepresentation = 1, 0
    header.BitsAllocated, header.BitsStored, header.HighBit = 16, 12, 11
    header.Rows, header.Columns, header.PixelSpacing = 32, 40, [2.5, 2.5]
    header.SliceThickness = header.SpacingBetweenSlices = 12
    header.ImageOrientationPatient = [1, 0, 0, 0, 0, -1]
    header.EchoTime, header.RepetitionTime, header.FlipAngle, header.SeriesNumber = 29, 3700, 180, 3
    series = planted.identifier("SeriesInstanceUID")
    folder.mkdir(parents=True)
    rng = np.random.default_rng(planted.count)
    for k in range(6):
        if k == 1:  # they are the same in all files, and take long to write
            for element in [each for each in header if each.VR == "SQ"]:
                del header[element.tag]
        if broken and k == 3:
            header.EchoTime, header.SeriesNumber = 58, 4
            continue
        header.SeriesInstanceUID, header.SOPInstanceUID = series, f"{series}.{k + 1}"
        header.InstanceNumber = k + 1
        header.ImagePositionPatient = [40, -30 + 12 * k, 40]
        pixels = knee(rng)
        header.PixelData = pixels.tobytes()
        header["PixelData"].VR = "OW"
        meta = FileMetaDataset()
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (
            MRImageStorage,
            header.SOPInstanceUID,
        )
        meta.ImplementationVersionName = planted.word("ImplementationVersionName")
        meta.SourceApplicationEntityTitle = planted.word("SourceApplicationEntityTitle")
        meta.PrivateInformationCreatorUID = planted.identifier("PrivateInformationCreatorUID")
        meta.PrivateInformation = planted.word("PrivateInformation").encode() + b"\0"
        header.file_meta = meta
        header.preamble = (planted.word("preamble").encode() * 19)[:128].ljust(128, b"\0")
        name = f"{k:03d}" if broken else f"{planted.word('name of a file')}_{k:03d}.dcm"
        header.save_as(folder / name, enforce_file_format=True)


def knee(rng):
    """A slice with a bright block in noise, which a correction of the field can work on."""
    pixels = rng.integers(20, 80, (32, 40)).astype(np.uint16)
    pixels[6:26, 8:32] += 400
    pixels[12:20, 14:26] += 300
    return pixels


def words_of(text):
    return text.split()


# Names of fields in sidecars of dcm2niix, heudiconv, dcmstack and BIDS, and our own.
FIELDS = words_of(
    "Modality MagneticFieldStrength ImagingFrequency Manufacturer ManufacturersModelName PatientPosition "
    "MRAcquisitionType ScanningSequence SequenceVariant ScanOptions SliceThickness SpacingBetweenSlices EchoNumber "
    "EchoTime RepetitionTime InversionTime FlipAngle PixelBandwidth EchoTrainLength PercentPhaseFOV "
    "AcquisitionMatrixPE ReconMatrixPE InPlanePhaseEncodingDirectionDICOM ConversionSoftware ConversionSoftwareVersion "
    "PatientName PatientID PatientBirthDate PatientSex PatientWeight InstitutionName InstitutionAddress "
    "InstitutionalDepartmentName StationName DeviceSerialNumber SeriesInstanceUID StudyInstanceUID StudyID "
    "AccessionNumber ReferringPhysicianName SoftwareVersions StudyDescription SeriesDescription ProtocolName "
    "SequenceName PulseSequenceDetails ImageComments ConversionComments AcquisitionTime AcquisitionDateTime BodyPart "
    "BodyPartExamined ReceiveCoilName CoilString ImageType RawImage TaskName ProcedureStepDescription Notes Cells "
    "Description Attention Probability Knee Subject Visit Side Sequence OatoolsOutput OatoolsSidecar Phantomized"
)
PARAMETERS = words_of(
    "echo series coverage reference side plane axes flips input_affine engine start mask floor shrink iterations "
    "convergence spans fwhm noise bins dtype model method class montage grid faithfulness with clinical backbone "
    "weights seed slices window triplet augment precision operator"
)


FORMS = {
    "text": lambda marker: marker,
    "listed": lambda marker: [marker, {"PN": marker}],
    "beside": lambda marker: f"Skyra FS {marker}",
}


def stranger(planted, form):
    """A sidecar as a stranger may leave it, with a marker in each field, typed as `form` makes it."""
    fields = {name: form(planted.word(f"sidecar {name}")) for name in FIELDS}
    fields[planted.word("name of a field")] = planted.word("sidecar, odd field")
    steps = []
    prepared = () if form is FORMS["text"] else ("oa-orient", "oa-n4")
    for tool in ("oa-convert", *prepared, "oa-embed", "oa-cam", planted.word("tool")):
        parameters = {name: form(planted.word(f"{tool} {name}")) for name in PARAMETERS}
        parameters[planted.word("name of a parameter")] = 1
        parameters.pop("reference")  # which decides whether a knee is mirrored
        steps.append(
            {
                "tool": tool,
                "version": planted.word(f"{tool} version"),
                "parameters": parameters,
                "input": {"name": planted.word("input"), "sha256": planted.word("input digest")},
                "floor": form(planted.word("floor")),
                "levels": [{planted.word("level"): 1}],
                planted.word("name of a result"): 1,
            }
        )
    fields["OatoolsSteps"] = [*steps, planted.word("step"), [planted.word("step")]]
    fields["global"] = {"const": {"PatientName": planted.word("dcmstack")}}
    return fields


def write_stranger(folder, name, planted, form):
    """Write a volume of a left knee with a stranger's sidecar, and markers in its own header."""
    affine = np.array([[2.5, 0, 0, -140.0], [0, 0, 12.0, -30.0], [0, 2.5, 0, -40.0], [0, 0, 0, 1]])
    rng = np.random.default_rng(planted.count)
    data = np.stack([knee(rng).T for _ in range(6)], axis=2).astype(np.int16)
    image = nibabel.Nifti1Image(data, affine)
    comment = planted.word("NIfTI extension").encode()
    image.header.extensions.append(nibabel.nifti1.Nifti1Extension("comment", comment))
    for field in ("descrip", "aux_file", "db_name", "intent_name"):
        image.header[field] = planted.word(f"NIfTI {field}").encode()
    folder.mkdir(exist_ok=True)
    image.to_filename(folder / f"{name}.nii.gz")
    sidecar = json.dumps(stranger(planted, form), ensure_ascii=False)
    (folder / f"{name}.json").write_text(sidecar, encoding="utf-8")


_BASE64 = re.compile(rb"[A-Za-z0-9+/]{40,}={0,2}")
_PNG = b"\x89PNG\r\n\x1a\n"


def unfolded(content, depth=0):
    """Yield bytes, and what is packed in them: gzip, zip, deflate, texts of PNG, base64."""
    yield content
    if depth > 3:
        return
    inside = []
    if content[:2] == b"\x1f\x8b":
        inside.append(gzip.decompress(content))
    if content[:2] == b"PK":
        with zipfile.ZipFile(io.BytesIO(content)) as packed:
            inside += [packed.read(name) for name in packed.namelist()]
    if content[:8] == _PNG:
        inside += png_texts(content)
    for found in _BASE64.finditer(content):
        try:
            plain = base64.b64decode(found[0] + b"=" * (-len(found[0]) % 4))
        except binascii.Error:
            continue
        inside.append(plain)
        for bits in (15, -15):
            try:
                inside.append(zlib.decompress(plain, bits))
            except zlib.error:
                continue
    for each in inside:
        yield from unfolded(each, depth + 1)


def png_texts(content):
    """The texts of a PNG, also compressed ones."""
    at = 8
    while at + 8 <= len(content):
        length, kind = int.from_bytes(content[at : at + 4]), content[at + 4 : at + 8]
        if kind in (b"tEXt", b"zTXt", b"iTXt", b"eXIf"):
            chunk = content[at + 8 : at + 8 + length]
            yield chunk
            for start in (m.end() for m in re.finditer(b"\0", chunk)):
                try:
                    yield zlib.decompress(chunk[start + (kind == b"zTXt") :])
                except zlib.error:
                    continue
        at += 12 + length


def found_in(content, planted):
    """The places whose markers are in some bytes, in any case and in the escapes of JSON and HTML."""
    found = set()
    for part in unfolded(content):
        low = part.lower()
        words = set(re.findall(rb"zq\d{5}k|1[78]\d\d-\d\d-\d\d|1[78]\d{6}|99\d{9}|7204119358", low))
        for word in words:
            place = planted.places.get(word.decode())
            if place is not None:
                found.add(f"{place} ({word.decode()})")
        for name in SCRIPTS:
            forms = (name.encode(), json.dumps(name)[1:-1].encode(), name.encode("utf-16-le"))
            if any(form.lower() in low for form in (*forms, name.lower().encode())):
                found.add(name)
    return found


def leaks(folder, said, planted):
    """Where each marker is that came out: in a file below a folder, in the name of one, or in what was said."""
    found = {}
    for path in sorted(folder.rglob("*")):
        content = path.name.encode("utf-8", "surrogateescape")
        if path.is_file():
            content += b"\n" + path.read_bytes()
            inside = found_in(path.read_bytes(), planted)
        else:
            inside = set()
        for place in inside | found_in(path.name.encode(), planted):
            found.setdefault(place, set()).add(str(path.relative_to(folder)))
    for name, text in said.items():
        for place in found_in(text.encode("utf-8", "surrogateescape"), planted):
            found.setdefault(place, set()).add(name)
    return found


def call(command, *words, given=None):
    """Run a command in this process; return its table, and all that it said on either stream."""
    module = importlib.import_module(f"oatools.commands.{command}")
    done = CliRunner().invoke(module.main, [str(word) for word in words], input=given)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.stdout, f"{done.stdout}\n{done.stderr}"


def rows_of(text):
    header, *lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def table_of(rows):
    columns = list(rows[0])
    lines = ["\t".join(row.get(column, "n/a") for column in columns) for row in rows]
    return "\n".join(["\t".join(columns), *lines]) + "\n"


def save_model(path, feature_file, sequence):
    """A model of noise in the range of some features, with the record of the real ones."""
    from oatools.core.provenance import Provenance
    from oatools.features.backbone_record import Weights
    from oatools.features.featurefile import feature_space, read_features
    from oatools.learning.cohort import make_cohort
    from oatools.learning.files import save_model
    from oatools.learning.settings import Settings
    from oatools.learning.training import fit

    found = read_features(feature_file)
    rng = np.random.default_rng(0)
    names, label = [f"{9100000 + i}_00m_left" for i in range(24)], np.arange(24) % 2
    size = found.features.shape
    features = [rng.normal(y, 1, size).astype(np.float32) for y in label]
    data = make_cohort(
        names,
        [name.split("_")[0] for name in names],
        label,
        features,
        rng.normal(28, 4, (24, 1)),
        ["bmi"],
        space=feature_space(found.provenance),
        steps=Provenance.from_fields(found.provenance).preparation(),
        weights=Weights.from_provenance(found.provenance),
        cautions=(),
    )
    settings = Settings(slices=4, conv=4, units=4, hidden=4, epochs=2, learning_rate=3e-3)
    save_model(path, fit(data, settings, 0), endpoint="jsn12", sequences=[sequence])


#: Identifiers that are the user's own to give, and the output that holds them.
ALLOWED = {
    # The table that is listed must say where each series lies: paths are the user's own.
    ("list", "path"),
}


def run_all(folder, planted, series=1):
    """Plant markers below `folder`, run the commands on them there, and return what each said."""
    said = {}
    for count in range(series):
        study = folder / "in" / planted.word("name of a study's folder")
        words = "COR_PD" if count % 2 == 0 else "COR_T2_FS"
        place = study / planted.word("name of a series' folder")
        write_series(place, planted, scanner_too=count % 2 == 1, words=words)
    write_series(folder / "broken" / "series", planted, broken=True)
    for number, (name, form) in enumerate(FORMS.items()):
        write_stranger(folder / "foreign", f"p{number}{name}_00m_left_cor-pd", planted, form)
    options = ["--visit", "00m", "--coverage", "0", "-v"]
    listed, _ = call("convert", "--list", "in", *options)
    columns = [column for column in rows_of(listed)[0] if ("list", column) not in ALLOWED]
    said["oa-convert --list"] = "\n".join(
        "\t".join(row[column] for column in columns) for row in rows_of(listed)
    )
    table, said["oa-convert"] = call(
        "convert", "in", "broken", *options, "-o", "out/nii", "--failed", "out/failed.tsv"
    )
    scans = rows_of(table)
    for path in sorted((folder / "foreign").glob("*.nii.gz")):
        stem = path.name.removesuffix(".nii.gz")
        subject, visit, side, sequence = stem.split("_")
        own = {
            "knee": f"{subject}_{visit}_{side}",
            "subject": subject,
            "visit": visit,
            "side": side,
        }
        scans.append(
            {
                **dict.fromkeys(scans[0], "n/a"),
                **own,
                "sequence": sequence,
                "path": f"foreign/{path.name}",
            }
        )
    table = table_of([{**row, "bmi": "27"} for row in scans])
    table, said["oa-orient"] = call(
        "orient", "-v", "-o", "out/oriented", "--side-check", "trust", given=table
    )
    table, said["oa-n4"] = call(
        "n4", "-v", "-o", "out/n4", "--iterations", "2", "--field", "out/field", given=table
    )
    corrected = rows_of(table)
    random = ["--backbone", "mobilenetv2_100", "--weights", "random", "--slices", "4"]
    features, said["oa-embed"] = call("embed", "-v", "-o", "out/features", *random, given=table)
    embedded = rows_of(features)
    save_model(folder / "out/model.safetensors", Path(embedded[0]["path"]), "cor-pd")
    model = (folder / "out/model.safetensors", "-v", "--any-sequence")
    # The scan, and the volume whose sidecar does not claim that it was prepared already.
    both = table_of([corrected[0], corrected[-len(FORMS)]])
    maps, said["oa-cam"] = call("cam", *model, "-o", "out/cam", given=both)
    _, said["oa-view"] = call("view", "-v", "-o", "out/view", given=maps)
    _, said["oa-view, one file"] = call("view", "-v", "-o", "out/looks/all.html", given=table)
    _, said["oa-predict"] = call("predict", *model, given=features)
    pairs = [dict(row, pair="001", place="AB"[n]) for n, row in enumerate(corrected[-2:])]
    (folder / "pairs.tsv").write_text(table_of(pairs))
    (folder / "volumes.tsv").write_text(table_of(corrected[-2:]))
    _, said["oa-pairs page"] = call("pairs", "page", "pairs.tsv", "volumes.tsv", "-o", "out/page")
    volumes = [f"foreign/{path.name}" for path in sorted((folder / "foreign").glob("*.nii.gz"))]
    ours = ["out/model.safetensors", "out/view", "out/page", embedded[0]["path"]]
    _, said["oa-info"] = call("info", "-v", *volumes, corrected[0]["path"], *ours)
    _, said["oa-check"] = call("check", "-v", "foreign", "out/n4", "out/features", *ours)
    _, said["oa-doctor"] = call("doctor", "-v", "-o", "out/n4", "--report")
    return said


def write_features(folder, planted, count=24):
    """Feature files as a stranger may leave them, and tables of how their knees fared.

    Everything but what makes the features what they are, and the knee, is a marker.
    """
    folder.mkdir()
    rng = np.random.default_rng(0)
    rows, labels = [], []
    for i in range(count):
        subject, label = f"{9100000 + i}", i % 2
        own = {"knee": f"{subject}_00m_left", "subject": subject}
        path = folder / f"{own['knee']}_cor-pd.h5"
        with h5py.File(path, "w") as file:
            file["features"] = rng.normal(label, 1, (6, 20)).astype(np.float32)
            file["position"] = np.arange(6) * 3.0
            for name in ("PatientName", "Institution", "source", "version", "engine", "knee"):
                file.attrs[name] = planted.word(f"attribute {name}")
            file.attrs[planted.word("name of an attribute")] = planted.word("odd attribute")
            file.attrs["backbone"], file.attrs["preprocessing"] = "resnet50", '{"size": 224}'
            listed = stranger(planted, FORMS["text"])["OatoolsSteps"]
            steps = [
                each for each in listed if isinstance(each, dict) and each["tool"] != "oa-embed"
            ]
            file.attrs["OatoolsSteps"] = json.dumps(steps)
        place = {"visit": "00m", "side": "left", "sequence": "cor-pd"}
        rows.append({**own, **place, "path": str(path.relative_to(folder.parent))})
        note = planted.word("column that nobody asked for")
        labels.append({**own, "bmi": f"{20 + i}", "notes": note, "endpoint": "jsn12"})
    (folder.parent / "features.tsv").write_text(table_of(rows))
    fared = [dict(row, label=str(i % 2)) for i, row in enumerate(labels)]
    (folder.parent / "labels.tsv").write_text(table_of(fared))
    followed = [dict(row, time=f"{12 + i}", event=str(i % 2)) for i, row in enumerate(labels)]
    (folder.parent / "followed.tsv").write_text(table_of(followed))


def learn(folder, planted):
    """Plant markers in strangers' feature files and tables, learn from them, and return what was said."""
    write_features(folder / "in", planted)
    small = "--clinical bmi --slices 3 --units 4 --hidden 4 --epochs 2 --allow-label-leakage -v"
    said = {}
    _, said["oa-info"] = call("info", "-v", *sorted(str(path) for path in Path("in").iterdir()))
    _, said["oa-check"] = call("check", "-v", "in")
    for labels in ("labels", "followed"):
        given = ["features.tsv", "--labels", f"{labels}.tsv", *small.split()]
        model, runs = f"out/{labels}.safetensors", f"out/cv-{labels}"
        _, said[f"oa-train, {labels}"] = call("train", *given, "-o", model)
        table, said[f"oa-predict, {labels}"] = call(
            "predict", model, "features.tsv", "--with-clinical", f"{labels}.tsv", "-v"
        )
        Path(f"{labels}-predicted.tsv").write_text(table)
        folds = ["-k", "2", "--repeats", "1", "--no-compare", "-o", runs]
        _, said[f"oa-cv, {labels}"] = call("cv", *given, *folds)
        _, said[f"oa-info, {labels}"] = call("info", "-v", model, runs)
    scored = ["out/cv-labels/predictions.tsv", "--labels", "labels.tsv", "--bootstrap", "100", "-v"]
    _, said["oa-validate"] = call(
        *("validate", *scored, "--by", "bmi=25", "--recalibrate", "large"),
        *("--recalibration", "out/r.json", "--paragraph", "out/v.txt", "--figure", "out/v.svg"),
    )
    _, said["oa-enrich"] = call(
        *("enrich", *scored, "--against", "bmi=25:", "--decision", "out/d.tsv"),
        *("--paragraph", "out/e.txt", "--figure", "out/e.svg"),
    )
    return said


@pytest.fixture(scope="module")
def outcome(tmp_path_factory):
    """What was planted, what came out in files, and what was said."""
    folder, planted = tmp_path_factory.mktemp("markers"), Planted()
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # pydicom's, of values that no scanner writes
        said = run_all(folder, planted, series=2)
    return planted, folder / "out", said


def test_no_marker_comes_out(outcome):
    planted, out, said = outcome
    assert len(planted.places) > 1500
    assert leaks(out, said, planted) == {}


def test_all_commands_had_something_to_give_away(outcome):
    _, out, said = outcome
    made = {path.parent.name: path for path in out.rglob("*") if path.is_file()}
    assert {"nii", "oriented", "n4", "field", "features", "cam", "page", "volumes"} <= set(made)
    assert {"view", "looks"} <= set(made)
    assert len(list((out / "nii").glob("*.nii.gz"))) == 2
    assert len(list((out / "n4").glob("*.nii.gz"))) == 2 + len(FORMS)
    assert len(list((out / "features").glob("*.h5"))) == 2 + len(FORMS)
    assert len(list((out / "cam").glob("*.png"))) == 2
    assert "2 done, 0 kept, 1 failed" in said["oa-convert"]
    assert "2 series in one folder" in (out / "failed.tsv").read_text()
    for name, text in said.items():
        if not name.startswith(("oa-convert", "oa-doctor")):
            assert ", 0 failed" in text or ", 0 bad" in text, text


def test_no_marker_of_strangers_features_and_tables_comes_out(tmp_path):
    planted = Planted()
    with contextlib.chdir(tmp_path):
        said = learn(tmp_path, planted)
    assert len(planted.places) > 1000
    for name in ("labels", "followed"):
        assert (tmp_path / f"out/{name}.safetensors").exists()
        assert (tmp_path / f"out/cv-{name}/report.html").exists()
        assert ", 0 failed" in said[f"oa-predict, {name}"]
    assert {"r.json", "v.txt", "v.svg", "d.tsv", "e.txt", "e.svg"} <= {
        path.name for path in (tmp_path / "out").iterdir()
    }
    assert "24 done" in said["oa-info"] and "backbone" in said["oa-info"]
    assert leaks(tmp_path / "out", said, planted) == {}


def test_what_is_hidden_in_files_is_found():
    """The search itself: a marker in each of the forms that outputs have."""
    planted = Planted()
    marker = planted.word("here")
    picture = b"\x89PNG\r\n\x1a\n" + chunk(b"zTXt", b"Comment\0\0" + zlib.compress(marker.encode()))
    stream = zlib.compressobj(wbits=-15)
    noise = np.random.default_rng(0).bytes(60)
    deflated = stream.compress(marker.lower().encode() + noise) + stream.flush()
    for content in (
        marker.lower().encode(),
        gzip.compress(b"x" + marker.encode()),
        picture,
        b'src="data:image/png;base64,' + base64.b64encode(picture) + b'"',
        b'volume("' + base64.b64encode(deflated) + b'")',
    ):
        assert found_in(content, planted) == {f"here ({marker.lower()})"}, content
    planted.note(SCRIPTS[0], SCRIPTS[0])
    assert found_in(json.dumps({"a": SCRIPTS[0]}).encode(), planted) == {SCRIPTS[0]}


def chunk(kind, content):
    return len(content).to_bytes(4) + kind + content + zlib.crc32(kind + content).to_bytes(4)


def main(folder, series="8"):
    """The long form: more series, with makers and terms of the scanner typed over, too."""
    folder, planted = Path(folder).resolve(), Planted()
    folder.mkdir(parents=True)
    with contextlib.chdir(folder), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        said = run_all(folder, planted, int(series))
    found = leaks(folder / "out", said, planted)
    for place, where in sorted(found.items()):
        print(place, *sorted(where), sep="\t")
    print(f"{len(planted.places)} identifiers planted, {len(found)} found")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
