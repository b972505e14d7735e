"""Every file of a series' folder is accounted for: read, or named with the reason."""

import os
import shutil
import tarfile

import nibabel
import numpy as np
import pydicom
import pytest
from pydicom.uid import generate_uid

from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow
from oatools.dicom.convert import convert
from oatools.dicom.find import find_series
from oatools.oai import release as oai

CLASSIC = "0.E.1/9111111/20050131"


def find(*places, left_out=None):
    return list(find_series([str(p) for p in places], oai, left_out=left_out))


def emptied(path):
    path.write_bytes(b"")


def unlinked(path):
    path.unlink()
    path.symlink_to("../.git/annex/objects/x9/25/nothing")


def a_web_page(path):
    path.write_bytes(b"<html>403 Forbidden</html>" * 40)


def cut_in_the_header(path):
    path.write_bytes(path.read_bytes()[:420])


FAULTS = [
    (emptied, "3 of 24 files are empty"),
    (unlinked, "3 of 24 files are links that lead nowhere"),
    (a_web_page, "3 of 24 files are not DICOM"),
    (cut_in_the_header, "3 of 24 files are cut within their header"),
]


@pytest.mark.parametrize("name", ["{:03d}", "IM_{:04d}", "MR.1.2.840.{:d}.dcm"])
@pytest.mark.parametrize("fault, said", FAULTS)
def test_a_file_with_the_name_of_a_slice_and_no_image_fails_the_series(
    scan, tmp_path, fault, said, name
):
    scan(tmp_path / "s", name=name)
    for k in (22, 23, 24):  # at the end, where no gap shows it
        fault(tmp_path / "s" / name.format(k))
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s")
    assert said in error.value.reason and name.format(22) in error.value.reason


def test_files_with_random_names_are_told_from_notes_by_their_ending(scan, tmp_path):
    scan(tmp_path / "s", name="x{:03d}")
    names = [f"{k * 7919 % 65536:04x}{'abcdef'[k % 6]}{k}" for k in range(24)]
    for k, path in enumerate(sorted((tmp_path / "s").iterdir())):
        path.rename(tmp_path / "s" / names[k])
    (tmp_path / "s" / "README").write_text("exported")
    (tmp_path / "s" / "2preview.bmp").write_bytes(b"BM" * 99)
    (tmp_path / "s" / ".DS_Store").write_bytes(b"finder")
    volume, _, said = convert(tmp_path / "s")
    assert volume.shape[2] == 24
    assert "passed over: 1 files by their names (.DS_Store)" in said
    assert "passed over: 2 files: not DICOM (2preview.bmp, README)" in said
    emptied(tmp_path / "s" / names[3])
    with pytest.raises(ItemError, match=f"1 of 26 files are empty .{names[3]}."):
        convert(tmp_path / "s")


def test_a_folder_of_links_that_lead_nowhere_fails_when_it_is_listed(scan, tmp_path):
    scan(tmp_path / "clone" / "s", name="MR{:06d}")
    for path in (tmp_path / "clone" / "s").iterdir():
        unlinked(path)
    (bad,) = find(tmp_path / "clone")
    assert "all of its 24 files (MR000001, MR000002, MR000003, …) are links" in bad.error
    for path in (tmp_path / "clone" / "s").iterdir():
        path.unlink()
        emptied(path)
    (bad,) = find(tmp_path / "clone")
    assert "all of its 24 files (MR000001, MR000002, MR000003, …) are empty" in bad.error


def test_an_archive_that_is_a_link_to_nowhere_fails_in_a_tree_and_by_an_inventory(tmp_path):
    folder = tmp_path / "00m" / CLASSIC
    folder.mkdir(parents=True)
    (folder / "10000001.tar.gz").symlink_to("../annex/nothing")
    (tmp_path / "00m" / "contents.csv").write_text(
        f"Folder,SeriesDescription\n{CLASSIC}/10000001,COR_IW_TSE_LEFT\n"
    )
    for place in (tmp_path / "00m", tmp_path / "00m" / "contents.csv"):
        (bad,) = find(place)
        assert "it is a link that leads nowhere" in bad.error


def test_links_within_an_archive_are_no_slices(scan, tmp_path):
    scan(tmp_path / "s")
    (tmp_path / "s" / "024").unlink()
    os.link(tmp_path / "s" / "023", tmp_path / "s" / "024")
    with tarfile.open(tmp_path / "s.tar", "w") as opened:
        opened.add(tmp_path / "s", "s")
    with pytest.raises(ItemError, match="1 of 24 files are empty, or links within .* .024."):
        convert(tmp_path / "s.tar")


def test_two_series_in_a_folder_are_two_rows_however_their_files_are_named(scan, tmp_path):
    for number, sequence in enumerate(("COR_IW_TSE", "SAG_IW_TSE")):
        scan(tmp_path / f"{number}", sequence=sequence, slices=24, name="{:03d}")
    (tmp_path / "both").mkdir()
    # One series hides between the first, the middle and the last file of the other.
    for k in range(24):
        (tmp_path / "0" / f"{k + 1:03d}").rename(tmp_path / "both" / f"a{2 * k:03d}.dcm")
        if k < 20:
            (tmp_path / "1" / f"{k + 1:03d}").rename(tmp_path / "both" / f"a{2 * k + 1:03d}.dcm")
    rows = find(tmp_path / "both")
    assert sorted(row["sequence"] for row in rows) == ["cor-iw-tse", "sag-iw-tse"]
    by_name = {row["sequence"]: row for row in rows}
    volume, _, said = convert(tmp_path / "both", series=by_name["cor-iw-tse"]["series"])
    assert volume.shape[2] == 24 and any("20 images of other series" in line for line in said)


def test_a_series_that_hides_in_a_folder_of_the_release_is_found(scan, tmp_path):
    scan(tmp_path / CLASSIC / "10000001")
    scan(tmp_path / "x", sequence="SAG_IW_TSE", slices=2)
    (tmp_path / "x" / "002").rename(tmp_path / CLASSIC / "10000001" / "IM012")
    rows = find(tmp_path / "0.E.1")
    assert sorted(row["sequence"] for row in rows) == ["cor-iw-tse", "sag-iw-tse"]
    # Names that are beyond doubt are looked into when the series is converted.
    (tmp_path / CLASSIC / "10000001" / "IM012").rename(tmp_path / CLASSIC / "10000001" / "025")
    assert len(find(tmp_path / "0.E.1")) == 1
    with pytest.raises(ItemError, match="2 series in one folder .* of the smallest are 025"):
        convert(tmp_path / CLASSIC / "10000001")


@pytest.mark.parametrize("count", [2, 3])
def test_a_series_that_is_spread_over_folders_fails_in_each(scan, tmp_path, count):
    scan(tmp_path / "all", name="{:03d}")
    for k, path in enumerate(sorted((tmp_path / "all").iterdir())):
        part = tmp_path / "disc" / f"part{k * count // 24}"
        part.mkdir(parents=True, exist_ok=True)
        path.rename(part / f"{k * count % 24 // count + 1:03d}")  # the same names in each
    (tmp_path / "all").rmdir()
    found = find(tmp_path / "disc")
    assert len(found) == count and all(isinstance(row, BadRow) for row in found)
    assert not any(row.left_out for row in found)
    assert all("images of the same series lie in" in row.error for row in found)


def test_a_part_that_lies_deeper_fails_too(scan, tmp_path):
    scan(tmp_path / "s", name="{:03d}")
    (tmp_path / "s" / "more").mkdir()
    for k in range(13, 25):
        (tmp_path / "s" / f"{k:03d}").rename(tmp_path / "s" / "more" / f"{k:03d}")
    (bad,) = [row for row in find(tmp_path / "s") if isinstance(row, BadRow)]
    assert f"{tmp_path / 's'} is taken" in bad.error and "images of the same series" in bad.error


def test_a_copy_elsewhere_is_called_a_copy(scan, tmp_path):
    scan(tmp_path / "in" / "a")
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "deep" / "b" / "c")
    bad = [row for row in find(tmp_path / "in") if isinstance(row, BadRow)]
    assert [row.left_out for row in bad] == [True] and "a copy of" in bad[0].error


ENDS = [
    ({0, 1, 2}, {}, "first image is number 4: those before it are missing"),
    ({21, 22, 23}, {"ImagesInAcquisition": "24"}, "the acquisition has 24 images, and 21"),
    ({23}, {"NumberOfSeriesRelatedInstances": "24"}, "the series has 24 files, and 23"),
    ({22, 23}, {"NumberOfSlices": 24}, "there are 24 slices, and 22 are there"),
    (set(range(1, 24, 2)), {"SpacingBetweenSlices": "3"}, "but every 2. number of its images"),
]


@pytest.mark.parametrize("skip, fields, said", ENDS)
def test_slices_that_are_missing_without_a_gap_fail_the_series(scan, tmp_path, skip, fields, said):
    scan(tmp_path / "s", skip=skip, **fields)
    with pytest.raises(ItemError) as error:
        convert(tmp_path / "s", coverage=20)
    assert said in error.value.reason
    _, _, warnings = convert(tmp_path / "s")  # as the remedy says: a coverage of 0
    assert any(line.startswith("warning: ") and said in line for line in warnings)


def test_interleaved_numbers_show_slices_that_are_missing_at_the_end(scan, tmp_path):
    scan(tmp_path / "s")
    for k, path in enumerate(sorted((tmp_path / "s").iterdir())):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber = k // 2 + 1 if k % 2 == 0 else 12 + k // 2 + 1
        ds.save_as(path)
    assert convert(tmp_path / "s", coverage=20).volume.shape[2] == 24
    for name in ("023", "024"):
        (tmp_path / "s" / name).unlink()
    with pytest.raises(ItemError, match="number 12 of its images is missing"):
        convert(tmp_path / "s", coverage=20)


@pytest.mark.parametrize("private", ["GE", "Philips"])
def test_the_number_of_slices_in_a_private_element_is_heeded(scan, tmp_path, private):
    scan(tmp_path / "s", skip={22, 23})
    for path in (tmp_path / "s").iterdir():
        ds = pydicom.dcmread(path)
        if private == "GE":
            ds.private_block(0x0021, "GEMS_RELA_01", create=True).add_new(0x4F, "SS", 24)
        else:
            ds.private_block(0x2001, "Philips Imaging DD 001", create=True).add_new(0x18, "SL", 24)
        ds.save_as(path)
    with pytest.raises(ItemError, match="there are 24 slices, and 22 are there"):
        convert(tmp_path / "s", coverage=20)


def test_every_second_number_is_no_loss_where_slices_are_as_far_apart_as_stated(scan, tmp_path):
    scan(tmp_path / "s", SpacingBetweenSlices="3", ImagesInAcquisition="48")
    for k, path in enumerate(sorted((tmp_path / "s").iterdir())):
        ds = pydicom.dcmread(path)
        ds.InstanceNumber = 2 * k + 1  # the first of two echoes, as GE numbers them
        ds.save_as(path)
    assert convert(tmp_path / "s", coverage=60).volume.shape[2] == 24


def test_copies_are_passed_over_by_name_and_change_no_voxel(scan, tmp_path):
    scan(tmp_path / "s", name="im{:03d}.dcm")
    expected = convert(tmp_path / "s").volume
    for k in (3, 24):
        shutil.copy(tmp_path / "s" / f"im{k:03d}.dcm", tmp_path / "s" / f"im{k:03d}(1).dcm")
    ds = pydicom.dcmread(tmp_path / "s" / "im009.dcm")
    ds.InstitutionName = "Sent again"
    ds.save_as(tmp_path / "s" / "000.dcm")  # the same image under another header
    volume, _, said = convert(tmp_path / "s")
    assert np.array_equal(volume.data, expected.data)
    assert np.array_equal(volume.affine, expected.affine)
    assert any("3 copies of other files" in line and "im003(1).dcm" in line for line in said)


def test_one_image_twice_with_different_pixels_is_no_copy(scan, tmp_path):
    scan(tmp_path / "s")
    ds = pydicom.dcmread(tmp_path / "s" / "009")
    ds.PixelData = bytes(len(ds.PixelData))
    ds.save_as(tmp_path / "s" / "025")
    with pytest.raises(ItemError, match="up to 2 images at one place .009, 025."):
        convert(tmp_path / "s")


def test_files_without_an_image_beside_the_images_fail_nothing(scan, tmp_path, shell):
    scan(tmp_path / "in" / "s", name="IM_{:04d}")
    for name, kind, modality, shares in (
        ("PS_0025", "1.2.840.10008.5.1.4.1.1.11.1", "PR", False),
        ("XX_0026", "1.2.840.10008.5.1.4.1.1.66", "MR", True),
        ("XX_0027", "1.3.46.670589.11.0.0.12.2", "MR", False),  # Philips' own
        ("A_REPORT", "1.2.840.10008.5.1.4.1.1.104.1", "DOC", False),
    ):
        ds = pydicom.dcmread(tmp_path / "in" / "s" / "IM_0001")
        for gone in ("PixelData", "Rows", "Columns", "ImagePositionPatient", "PixelSpacing"):
            delattr(ds, gone)
        ds.SOPClassUID = ds.file_meta.MediaStorageSOPClassUID = kind
        ds.SOPInstanceUID = generate_uid()
        ds.SeriesInstanceUID = ds.SeriesInstanceUID if shares else generate_uid()
        ds.Modality = modality
        ds.save_as(tmp_path / "in" / "s" / name)
    (tmp_path / "in" / "s" / "DICOMDIR").write_bytes(b"index")
    done = shell("oa-convert in -v -o out")
    assert "1 done, 0 kept, 0 failed" in done.stderr
    assert "4 DICOM files without an image (A_REPORT, PS_0025, XX_0026, …)" in done.stderr
    assert "reports and other files without an MR image" in done.stderr
    (made,) = (tmp_path / "out").glob("*.nii.gz")
    assert nibabel.load(made).shape[2] == 24
