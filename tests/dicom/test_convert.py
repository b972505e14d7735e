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
from oatools.dicom.convert import convert, converted
from oatools.dicom.find import find_series
from oatools.dicom.headers import looks_like_dicom
from oatools.dicom.series import Overrides
from oatools.oai import release as oai

FAILING = "dicom2nifti_testdata/tests/data/failing"
WORKING = "dicom2nifti_testdata/tests/data"


def first_series(release):
    return sorted(release.glob("00m/0.E.1/*/*/*"))[0]


def find(*places, wanted=(), **known):
    return list(find_series([str(p) for p in places], oai, Overrides(**known), wanted))


def test_series_of_a_release_are_found_with_knee_and_sequence(release):
    found = find(release)
    assert len(found) == 6 and not any(isinstance(r, BadRow) for r in found)
    contents = (release / "00m" / "contents.csv").read_text().split()[1:]
    listed = {line.split(",")[0] for line in contents if line.startswith("0.E.1")}
    assert {r["path"].split("00m/")[1] for r in found} == listed
    assert {r["visit"] for r in found} == {"00m"} and {r["side"] for r in found} == {
        "left",
        "right",
    }
    assert {r["sequence"] for r in found} == {"cor-iw-tse"}
    assert all(r["knee"] == f"{r['subject']}_00m_{r['side']}" and r["files"] == "35" for r in found)


def test_only_wanted_sequences_are_taken(release):
    assert find(release, wanted=("sag-3d-dess",)) == []


def test_a_conversion_has_the_geometry_that_the_headers_state(release):
    source = first_series(release)
    volume, fields, _ = convert(source)
    slices = sorted((pydicom.dcmread(p) for p in source.iterdir()), key=lambda d: d.InstanceNumber)
    pixels = {tuple(d.pixel_array.ravel()[:200:7]): d for d in slices}
    assert volume.data.shape == (64, 64, 35) and volume.data.dtype.kind in "iu"
    # A voxel's RAS place, by DICOM's own formula from one slice's headers, has that slice's value.
    for d in slices[3:30:9]:
        row_dir, col_dir = (
            np.array(d.ImageOrientationPatient[:3]),
            np.array(d.ImageOrientationPatient[3:]),
        )
        for r, c in ((20, 11), (40, 33)):
            lps = (
                np.array(d.ImagePositionPatient)
                + row_dir * c * d.PixelSpacing[1]
                + col_dir * r * d.PixelSpacing[0]
            )
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
    assert row["sequence"] == "cor-iw-tse"
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


@pytest.mark.parametrize(
    "place",
    [
        "generic/anatomical/001",
        "generic/compressed/001",
        "generic/compressed_rle/001",
        "generic/compressed_j2k/001",
        "generic/compressed_jpegls/001",
        "siemens_multiframe/anatomical/001",
        "philips_enhanced/anatomical/001",
        "hitachi/anatomical/001",
        "ge/anatomical/001",
    ],
)
def test_scanner_series_match_the_volumes_that_others_expect(unpacked, place):
    source = unpacked("dicom/dicom2nifti_testdata") / WORKING / place
    volume, _, _ = convert(source)
    truth = nibabel.load(source.parent / "001_ground_truth.nii.gz")
    ours = nibabel.as_closest_canonical(
        nibabel.Nifti1Image(volume.data.astype(np.float32), volume.affine)
    )
    theirs = nibabel.as_closest_canonical(truth)
    assert ours.shape == theirs.shape[:3]
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=2e-3)
    values, expected = ours.get_fdata(), theirs.get_fdata().reshape(ours.shape)
    if (
        "philips" in place
    ):  # dcm2niix gives the scanner's precise values, the others its displayed ones: a factor
        values = values * (expected.mean() / values.mean())
    np.testing.assert_allclose(values, expected, atol=1)


@pytest.mark.parametrize("archive, references", [("dcm_qa_nih", 8), ("dcm_qa_orientation", 21)])
def test_every_reference_volume_of_dcm2niix_is_met_in_shape_affine_and_voxels(
    unpacked, archive, references
):
    top = unpacked(f"dicom/{archive}") / archive
    expected = {path.name: nibabel.load(path) for path in (top / "Ref").glob("*.nii")}
    assert len(expected) == references
    met = set()
    for folder in sorted({path.parent for path in (top / "In").rglob("*") if path.is_file()}):
        if not any(
            looks_like_dicom(path.read_bytes()[:132]) for path in folder.iterdir() if path.is_file()
        ):
            continue
        with converted(folder) as (outputs, _, _):
            for path, fields in outputs:
                image = nibabel.load(path)
                met |= {
                    name
                    for name, reference in expected.items()
                    if name.endswith(f"_{fields['SeriesNumber']}.nii")
                    and reference.shape == image.shape
                    and np.allclose(reference.affine, image.affine, atol=1e-3)
                    and np.array_equal(
                        np.asanyarray(reference.dataobj), np.asanyarray(image.dataobj)
                    )
                }
    assert met == set(expected)


@pytest.mark.parametrize(
    "place, said",
    [
        ("gantrytilting/001", "tilted"),
        ("sliceincrement/001", "unevenly spaced"),
        ("sliceincrement/002", "unevenly spaced|tilted"),
        ("notavolume/001", "one and the same slice"),
        ("sliceorientation/001", "2 series in one folder"),
    ],
)
def test_series_that_are_no_volume_are_refused_with_the_reason(unpacked, place, said):
    with pytest.raises(ItemError, match=said):
        convert(unpacked("dicom/dicom2nifti_testdata") / FAILING / place)


def test_colours_are_refused_without_naming_a_temporary_file(unpacked):
    with pytest.raises(ItemError, match="^its voxels are of datatype 128 .colours"):
        convert(unpacked("dicom/dicom2nifti_testdata") / WORKING / "generic/rgb/001")


def test_one_slice_is_no_volume(unpacked):
    with pytest.raises(ItemError, match="only 1 slice"):
        convert(unpacked("dicom/dicom2nifti_testdata") / WORKING / "ge/anatomical/001_single_slice")


def test_mixed_echoes_are_refused_until_one_is_chosen(unpacked):
    source = unpacked("knee/knee02_right_GE_MESE") / "knee02_right_GE_MESE"
    with pytest.raises(ItemError, match="8 echoes in one folder.*choose one with echo") as error:
        convert(source)
    assert error.value.text({"echo": "--echo"}).endswith("; choose one with --echo")
    volume, fields, _ = convert(source, echo=3)
    assert volume.data.shape == (256, 256, 24) and fields["EchoNumber"] == 3


def test_a_series_over_time_is_refused_without_naming_a_temporary_file(unpacked):
    source = unpacked("dicom/dcm_qa_orientation") / "dcm_qa_orientation/In/Orientation/cor/corasc35"
    with pytest.raises(ItemError, match="^2 volumes of 35 slices in one series"):
        convert(source)
