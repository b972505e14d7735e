import io
import json
import tarfile
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest

from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow
from oatools.imaging.convert import convert
from oatools.imaging.series import Known, describe, find_series, slug

FAILING = "dicom2nifti_testdata/tests/data/failing"
WORKING = "dicom2nifti_testdata/tests/data"


def first_series(release):
    return sorted(release.glob("00m/0.E.1/*/*/*"))[0]


def find(*places, wanted=(), **known):
    return list(find_series([str(p) for p in places], Known(**known), wanted))


def test_series_of_a_release_are_found_with_knee_and_sequence(release):
    found = find(release)
    assert len(found) == 6 and not any(isinstance(r, BadRow) for r in found)
    contents = (release / "00m" / "contents.csv").read_text().split()[1:]
    listed = {line.split(",")[0] for line in contents if line.startswith("0.E.1")}
    assert {r["path"].split("00m/")[1] for r in found} == listed
    assert {r["visit"] for r in found} == {"00m"} and {r["side"] for r in found} == {"left", "right"}
    assert {r["sequence"] for r in found} == {"cor-iw-tse"}
    assert all(r["knee"] == f"{r['subject']}_00m_{r['side']}" and r["files"] == "35" for r in found)


def test_only_wanted_sequences_are_taken(release):
    assert find(release, wanted=("sag-3d-dess",)) == []


def test_a_folder_without_dicom_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (bad,) = find(tmp_path)
    assert bad.name == str(tmp_path) and "no DICOM series found" in bad.error
    (missing,) = find(tmp_path / "absent")
    assert "no such file" in missing.error


def test_of_repeats_the_complete_one_is_taken_and_the_other_named(release, tmp_path):
    import shutil

    study = first_series(release).parent
    shutil.copytree(study, tmp_path / "study")
    one = sorted((tmp_path / "study").iterdir())[0]
    shutil.copytree(one, tmp_path / "study" / "99999999")
    (tmp_path / "study" / "99999999" / "035").unlink()
    found = find(tmp_path)
    (repeat,) = [r for r in found if isinstance(r, BadRow)]
    assert repeat.left_out and repeat.name.endswith("99999999") and "which has 35 files" in repeat.error


def header(**fields):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = pydicom.uid.MRImageStorage, "1.2.3", "MR"
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize("folder, fields, expected", [
    ("results/0.C.2/9111111/20050131/10000001", {"SeriesDescription": "COR_IW_TSE_LEFT "}, ("9111111_00m_left", "cor-iw-tse")),
    ("48m/48m/6.E.1/9111111/20080131/10000001", {"SeriesDescription": "Sag_IW_TSE_RIGHT"}, ("9111111_48m_right", "sag-iw-tse")),
    ("results%2F1.E.1%2F9111111/x", {"SeriesDescription": "SAG_3D_DESS_LEFT"}, ("anon-", "sag-3d-dess")),
    ("x", {"PatientID": "9222222", "StudyDescription": "OAI^MR^24 MONTH^LEFT", "SeriesDescription": "COR_IW_TSE_LEFT"},
     ("9222222_24m_left", "cor-iw-tse")),
    ("x", {"PatientID": "MRN 1234", "Laterality": "R", "SeriesDescription": "PD fat sat"}, ("anon-", "pd-fat-sat")),
    ("x", {"PatientID": "MRN 1234", "ImageLaterality": "L"}, ("anon-", "n/a")),
])  # fmt: skip
def test_who_when_which_side_and_which_sequence(tmp_path, folder, fields, expected):
    place = tmp_path / folder
    place.mkdir(parents=True)
    header(**fields).save_as(place / "001", enforce_file_format=True)
    row = describe(place, Known())
    assert row["knee"].startswith(expected[0]) and row["sequence"] == expected[1]
    assert "1234" not in str({k: v for k, v in row.items() if k != "path"})


def test_what_the_user_says_goes_before_the_header(tmp_path):
    header(PatientID="9222222", SeriesDescription="COR_IW_TSE_LEFT").save_as(tmp_path / "001", enforce_file_format=True)
    row = describe(tmp_path, Known("p17", "12m", "right", "sag-3d-dess"))
    assert (row["knee"], row["sequence"]) == ("p17_12m_right", "sag-3d-dess")
    header(PatientID="MRN 1234").save_as(tmp_path / "001", enforce_file_format=True)
    assert describe(tmp_path, Known(keep_ids=True))["subject"] == "mrn-1234"


def test_an_x_ray_is_no_volume(tmp_path):
    header(Modality="DX").save_as(tmp_path / "001", enforce_file_format=True)
    assert describe(tmp_path, Known()) is None


def test_slugs():
    assert slug("  T1 (VIBE) 3D / äx ") == "t1-vibe-3d-x"


def test_a_conversion_has_the_geometry_that_the_headers_state(release):
    source = first_series(release)
    volume, fields, _ = convert(source)
    slices = sorted((pydicom.dcmread(p) for p in source.iterdir()), key=lambda d: d.InstanceNumber)
    pixels = {tuple(d.pixel_array.ravel()[:200:7]): d for d in slices}
    assert volume.data.shape == (64, 64, 35) and volume.data.dtype.kind in "iu"
    # A voxel's RAS place, by DICOM's own formula from one slice's headers, has that slice's value.
    for d in slices[3:30:9]:
        row_dir, col_dir = np.array(d.ImageOrientationPatient[:3]), np.array(d.ImageOrientationPatient[3:])
        for r, c in ((20, 11), (40, 33)):
            lps = np.array(d.ImagePositionPatient) + row_dir * c * d.PixelSpacing[1] + col_dir * r * d.PixelSpacing[0]
            index = np.linalg.inv(volume.affine) @ [-lps[0], -lps[1], lps[2], 1]
            np.testing.assert_allclose(index, index.round(), atol=1e-2)
            assert volume.data[tuple(index[:3].round().astype(int))] == d.pixel_array[r, c]
    assert len(pixels) == 35 and fields["RepetitionTime"] > 0


def test_a_damaged_slice_or_a_foreign_series_is_a_failure_with_a_reason(release, tmp_path):
    import shutil

    source = first_series(release)
    cut = shutil.copytree(source, tmp_path / "cut")
    content = (cut / "010").read_bytes()
    (cut / "010").write_bytes(content[: len(content) // 2])
    with pytest.raises(ItemError, match="no volume came out .*not large enough.*: 010"):
        convert(cut)
    gap = shutil.copytree(source, tmp_path / "gap")
    (gap / "010").unlink()
    with pytest.raises(ItemError, match="missing or unevenly spaced"):
        convert(gap)
    other = sorted(release.glob("00m/0.E.1/*/*/*"))[-1]
    mixed = shutil.copytree(source, tmp_path / "mixed")
    for path in other.iterdir():
        shutil.copy(path, mixed / f"1{path.name}")
    with pytest.raises(ItemError, match="volumes came out|series in one folder|stack"):
        convert(mixed)


def test_nothing_of_a_person_reaches_the_sidecar(release):
    text = json.dumps(convert(first_series(release))[1]).lower()
    for secret in (
        "synthetic^phantom",
        "synthetic phantom",
        "institution",
        "birth",
        "accession",
        "0166",
        "2005",
        "2004",
    ):
        assert secret not in text


@pytest.mark.parametrize("kind", ["tar.gz", "zip"])
def test_an_archive_gives_the_same_volume_as_its_folder(release, tmp_path, kind):
    source = first_series(release)
    archive = tmp_path / f"10000000.{kind}"
    if kind == "zip":
        with zipfile.ZipFile(archive, "w") as opened:
            for path in sorted(source.iterdir()):
                opened.write(path, f"./{path.name}")
    else:
        with tarfile.open(archive, "w:gz") as opened:
            for path in sorted(source.iterdir()):
                opened.add(path, f"./{path.name}")
    (row,) = find(archive)
    assert row["files"] == "35" and row["sequence"] == "cor-iw-tse"
    ours, plain = convert(archive)[0], convert(source)[0]
    assert np.array_equal(ours.data, plain.data) and np.array_equal(ours.affine, plain.affine)


def test_an_archive_is_not_trusted_with_a_path(release, tmp_path):
    archive = tmp_path / "in" / "evil.tar"
    archive.parent.mkdir()
    with tarfile.open(archive, "w") as opened:
        for name, content in (("../escaped", b"x"), (str(tmp_path / "absolute"), b"x")):
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            opened.addfile(entry, io.BytesIO(content))
        link = tarfile.TarInfo("link")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        opened.addfile(link)
        for path in sorted(first_series(release).iterdir()):
            opened.add(path, path.name)
    assert convert(archive)[0].data.shape == (64, 64, 35)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["in"]


def test_a_broken_archive_is_a_failure(tmp_path):
    (tmp_path / "a.tar.gz").write_bytes(b"\x1f\x8b not an archive")
    (bad,) = find(tmp_path / "a.tar.gz")
    assert "cannot be read" in bad.error


@pytest.mark.parametrize("place", ["generic/anatomical/001", "generic/compressed/001", "generic/compressed_rle/001",
                                   "generic/compressed_j2k/001", "generic/compressed_jpegls/001", "siemens_multiframe/anatomical/001",
                                   "philips_enhanced/anatomical/001", "hitachi/anatomical/001", "ge/anatomical/001"])  # fmt: skip
def test_scanner_series_match_the_volumes_that_others_expect(unpacked, place):
    source = unpacked("dicom/dicom2nifti_testdata") / WORKING / place
    volume, _, _ = convert(source)
    truth = nibabel.load(source.parent / "001_ground_truth.nii.gz")
    ours = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.data.astype(np.float32), volume.affine))
    theirs = nibabel.as_closest_canonical(truth)
    assert ours.shape == theirs.shape[:3]
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=2e-3)
    values, expected = ours.get_fdata(), theirs.get_fdata().reshape(ours.shape)
    if "philips" in place:  # dcm2niix gives the scanner's precise values, the others its displayed ones: a factor
        values = values * (expected.mean() / values.mean())
    np.testing.assert_allclose(values, expected, atol=1)


@pytest.mark.parametrize("place, said", [
    ("gantrytilting/001", "tilted"), ("sliceincrement/001", "unevenly spaced"), ("sliceincrement/002", "unevenly spaced|tilted"),
    ("notavolume/001", "one and the same slice"), ("sliceorientation/001", "2 series in one folder"),
])  # fmt: skip
def test_series_that_are_no_volume_are_refused_with_the_reason(unpacked, place, said):
    with pytest.raises(ItemError, match=said):
        convert(unpacked("dicom/dicom2nifti_testdata") / FAILING / place)


def test_one_slice_is_no_volume(unpacked):
    with pytest.raises(ItemError, match="only 1 slice"):
        convert(unpacked("dicom/dicom2nifti_testdata") / WORKING / "ge/anatomical/001_single_slice")


def test_mixed_echoes_are_refused_until_one_is_chosen(unpacked):
    source = unpacked("knee/knee02_right_GE_MESE") / "knee02_right_GE_MESE"
    with pytest.raises(ItemError, match="8 echoes in one folder.*--echo"):
        convert(source)
    volume, fields, _ = convert(source, echo=3)
    assert volume.data.shape == (256, 256, 24) and fields["EchoNumber"] == 3


def test_a_series_over_time_is_refused_without_naming_a_temporary_file(unpacked):
    source = unpacked("dicom/dcm_qa_orientation") / "dcm_qa_orientation/In/Orientation/cor/corasc35"
    with pytest.raises(ItemError, match="^2 volumes of 35 slices in one series"):
        convert(source)
