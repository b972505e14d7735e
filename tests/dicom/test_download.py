"""Downloads as they lie on people's disks, through the command line: what came out, what did not, and why."""

import shutil
import tarfile

import pydicom
import pytest

from oatools.core.manifest import BadRow
from oatools.dicom.find import find_series
from oatools.oai import release as oai


def x_ray(folder, modality, participant="9000001", laterality="L"):
    """A radiograph of the release: one file, 001, whose laterality means nothing."""
    ds = pydicom.Dataset()
    ds.SOPClassUID, ds.SOPInstanceUID = "1.2.840.10008.5.1.4.1.1.1", "2.25.7"
    ds.Modality, ds.PatientID, ds.Laterality = modality, participant, laterality
    ds.SeriesDescription = "PA Fixed Flexion Left Knee"
    folder.mkdir(parents=True)
    ds.save_as(folder / "001", implicit_vr=False, little_endian=True)


def at_other_side(scan, folder, said, slices=24, **fields):
    """A scan whose description says one side, and which lies on the other."""
    other = {"left": "right", "right": "left"}[said]
    scan(
        folder, side=other, slices=slices, SeriesDescription=f"COR_IW_TSE_{said.upper()}", **fields
    )


def archived(folder, name):
    """The series as NDA packs it, and no longer as a folder."""
    archive = folder.with_name(name)
    with tarfile.open(archive, "w:gz") as opened:
        opened.add(folder, ".")
    shutil.rmtree(folder)
    return archive


def download(scan, root):
    """A tree with two dates, two releases, swapped sides, unfinished archives, MPR and X-rays."""
    a, c, e = (root / "00m" / release for release in ("0.A.1", "0.C.2", "0.E.1"))
    # One knee in two releases that overlap: in 0.C.2 a slice is missing.
    scan(a / "9000001/20040105/10000001", "9000001", seed="a", SeriesInstanceUID="2.25.11")
    scan(
        c / "9000001/20040105/10000011", "9000001", seed="b", SeriesInstanceUID="2.25.12", skip=(9,)
    )
    # One knee on two dates: both are complete.
    scan(c / "9000002/20040301/10000021", "9000002", "left", seed="a", SeriesInstanceUID="2.25.21")
    scan(c / "9000002/20040315/10000022", "9000002", "left", seed="b", SeriesInstanceUID="2.25.22")
    # A scan of the left knee under the name of the right one, with more slices than the right one's.
    at_other_side(scan, e / "9000003/20050131/10000031", "right", 30, PatientID="9000003")
    scan(e / "9000003/20050131/10000032", "9000003", "right", seed="b", SeriesInstanceUID="2.25.32")
    # The only scan of that name lies on the other side.
    at_other_side(scan, e / "9000004/20050131/10000041", "right", PatientID="9000004")
    # Reformats, locators and maps, the echoes of a map, thighs.
    for number, name in enumerate(
        (
            "COR_MPR_RIGHT",
            "AX_MPR_RIGHT",
            "MP_LOCATOR_RIGHT",
            "MP_LOCATOR_THIGH",
            "SAG_T2_CALC_RIGHT",
            "PRESCRIPTION_THIGH",
            "SAG_T2_MAP_RIGHT",
            "AX_T1_THIGH",
        )
    ):
        uid = f"2.25.9{number}"
        folder = a / f"9000001/20040105/1000009{number}"
        scan(folder, "9000001", SeriesDescription=name, SeriesInstanceUID=uid, seed=name)
    x_ray(root / "00m/0.C.1/9000001/20040105/00000007", "CR")
    x_ray(root / "00m/0.E.2/9000003/20050131/00000008", "RG", "9000003")
    x_ray(root / "00m/0.E.2/9000003/20050131/00000009", "DX", "9000003")


def spoil(scan, root):
    """What must fail in that tree: an unfinished archive, unfinished folders, and two contradictory sides."""
    e = root / "00m" / "0.E.1"
    scan(e / "9000006/20050131/10000061", "9000006", sequence="SAG_IW_TSE")
    archived(e / "9000006/20050131/10000061", "10000061.tar.gz.partial")
    scan(e / "9000006/20050131/10000062.partial", "9000006", sequence="SAG_3D_DESS")
    scan(e / "9000006/20060131.partial/10000064", "9000006", "left")
    scan(e / "9000006/20050131/10000063", "9000006")
    scan(e / "9000005/20050131/10000051", "9000005", "left", Laterality="R")


TAKEN = {  # knee, sequence -> series
    ("9000001_00m_right", "cor-iw-tse"): "10000001",
    ("9000002_00m_left", "cor-iw-tse"): "10000022",
    ("9000003_00m_right", "cor-iw-tse"): "10000032",
    ("9000004_00m_right", "cor-iw-tse"): "10000041",
}


def test_a_whole_tree_comes_out_with_status_0_and_says_what_it_left_out(
    scan, shell, rows, tmp_path
):
    download(scan, tmp_path / "OAI")
    listed = shell("oa-convert --list OAI")
    assert {(r["knee"], r["sequence"]): r["path"][-8:] for r in rows(listed.stdout)} == TAKEN
    done = shell("oa-convert OAI -o nii")
    found = rows(done.stdout)
    assert {(r["knee"], r["sequence"]) for r in found} == set(TAKEN) and len(found) == 4
    said = done.stderr.replace("OAI/00m/", "")
    for line in (
        "oa-convert: 0.C.2/9000001/20040105/10000011: a repeat of 0.A.1/9000001/20040105/10000001, "
        "which has 24 slices without a gap; left out",
        "oa-convert: 0.C.2/9000002/20040301/10000021: a repeat of 0.C.2/9000002/20040315/10000022, "
        "which has 24 slices without a gap; left out",
        "oa-convert: 0.E.1/9000003/20050131/10000031: a repeat of 0.E.1/9000003/20050131/10000032, "
        "which has 24 slices without a gap; its centre lies 96 mm to the left of the midline, "
        "left out",
        "oa-convert: 9000004_00m_right cor-iw-tse: warning: it counts as a right knee: description "
        "says right, tag says nothing, its centre lies 96 mm to the left of the midline; check "
        "which it is, and say so with --side",
        "oa-convert: not taken: 6 reformats, locators and maps",
        "oa-convert: not taken: 1 multi-echo series for T2 maps",
        "oa-convert: not taken: 1 scans of thighs",
        "oa-convert: not taken: 3 X-rays",
        "oa-convert: 4 done, 0 kept, 0 failed, 3 left out",
    ):
        assert line in said.splitlines()
    assert len(said.splitlines()) == 9
    again = shell("oa-convert OAI -o nii -j 2")
    assert again.stdout == done.stdout and "4 kept, 0 failed, 3 left out" in again.stderr


def test_what_fails_in_a_tree_is_named_and_the_others_go_on(scan, shell, rows, tmp_path):
    download(scan, tmp_path / "OAI")
    spoil(scan, tmp_path / "OAI")
    done = shell("oa-convert OAI -o nii -j 2", status=1)
    assert {(r["knee"], r["sequence"]) for r in rows(done.stdout)} == {
        *TAKEN,
        ("9000006_00m_right", "cor-iw-tse"),
    }
    said = done.stderr.replace("OAI/00m/0.E.1/", "")
    for line in (
        "oa-convert: 9000006/20050131/10000061.tar.gz.partial: not finished; download it again",
        "oa-convert: 9000006/20050131/10000062.partial: not finished; download it again",
        "oa-convert: 9000006/20060131.partial: not finished; download it again",
        "oa-convert: 9000005/20050131/10000051: description says left, tag says R, its centre lies "
        "96 mm to the left of the midline; say which with --side, or take the description's with "
        "--side-check trust",
        "oa-convert: 5 done, 0 kept, 4 failed, 3 left out",
    ):
        assert line in said.splitlines()


def test_a_reformat_is_taken_where_it_is_asked_for(scan, shell, rows, tmp_path):
    download(scan, tmp_path / "OAI")
    done = shell("oa-convert OAI -o nii --sequence cor-mpr --sequence sag-t2-map")
    assert [(r["knee"], r["sequence"]) for r in rows(done.stdout)] == [
        ("9000001_00m_right", "cor-mpr"),
        ("9000001_00m_right", "sag-t2-map"),
    ]
    assert "reformats" not in done.stderr


def test_a_strangers_reformat_is_what_its_owner_wants(scan, shell, rows, tmp_path):
    scan(tmp_path / "knee", "MRN7", SeriesDescription="COR MPR RIGHT")
    done = shell("oa-convert knee -o nii --visit 00m")
    assert [r["sequence"] for r in rows(done.stdout)] == ["cor-mpr"]


def test_two_packages_and_two_places_in_one_call_give_each_knee_once(scan, shell, rows, tmp_path):
    one, two = tmp_path / "Package_1", tmp_path / "Package_2"
    scan(one / "00m/0.E.1/9000001/20050131/10000001", "9000001")
    scan(one / "00m/0.E.1/9000002/20050131/10000002", "9000002")
    shutil.copytree(one / "00m/0.E.1/9000001", two / "00m/0.E.1/9000001")
    (one / "00m/0.E.1/9000001/20050131/10000001/003").unlink()  # the copy in Package_2 is whole
    done = shell("oa-convert --list Package_1 Package_2")
    assert [r["path"].split("/")[0] for r in rows(done.stdout)] == ["Package_1", "Package_2"]
    assert [r["subject"] for r in rows(done.stdout)] == ["9000002", "9000001"]
    assert "Package_1/00m/0.E.1/9000001/20050131/10000001: a repeat of Package_2/" in done.stderr
    # A copy to the byte is called a copy, and its headers need not be read.
    shutil.copy(
        two / "00m/0.E.1/9000001/20050131/10000001/003", one / "00m/0.E.1/9000001/20050131/10000001"
    )
    done = shell("oa-convert --list Package_1 Package_2")
    assert [r["path"].split("/")[0] for r in rows(done.stdout)] == ["Package_1", "Package_1"]
    assert "Package_2/00m/0.E.1/9000001/20050131/10000001: a copy of Package_1/" in done.stderr
    # By another name it is the same.
    (tmp_path / "alias").symlink_to(one)
    done = shell("oa-convert --list Package_1 alias")
    assert [r["path"].split("/")[0] for r in rows(done.stdout)] == ["Package_1", "Package_1"]
    assert done.stderr.count("named twice, and read once") == 2
    (tmp_path / "alias").unlink()
    # The same again, as paths of series on standard input, and with folders named twice.
    done = shell("find Package_? -name '1000*' | oa-convert --list Package_1/00m - Package_2/")
    assert sorted(r["subject"] for r in rows(done.stdout)) == ["9000001", "9000002"]
    assert done.stderr.count("named twice, and read once") == 3


def test_only_people_who_lie_in_two_places_wait_for_each_other(scan, tmp_path):
    for release, participant, uid in (
        ("0.A.1", "9000001", "2.25.1"),
        ("0.A.1", "9000002", "2.25.2"),
        ("0.C.2", "9000001", "2.25.3"),
    ):
        folder = tmp_path / release / participant / "20040105" / "10000001"
        scan(folder, participant, slices=2, seed=uid, SeriesInstanceUID=uid)
    scan(tmp_path / "1.C.2/9000001/20050105/10000001", "9000001", slices=2)  # another visit
    found = find_series([str(tmp_path)], oai)
    assert next(found)["knee"] == "9000002_00m_right"
    rest = list(found)
    assert [row["knee"] for row in rest if not isinstance(row, BadRow)] == [
        "9000001_00m_right",
        "9000001_12m_right",
    ]
    assert [row.name[-32:] for row in rest if isinstance(row, BadRow)] == [
        "/0.A.1/9000001/20040105/10000001"
    ]


def test_what_waits_for_a_place_that_is_gone_leaves_at_the_end(scan, tmp_path):
    for release in ("0.A.1", "0.C.2"):
        scan(tmp_path / release / "9000001/20040105/10000001", "9000001", slices=2)
    scan(tmp_path / "0.B.1/9000002/20040105/10000001", "9000002", slices=2)
    found = find_series([str(tmp_path)], oai)
    assert next(found)["subject"] == "9000002"
    shutil.rmtree(tmp_path / "0.C.2")
    (tmp_path / "0.C.2").mkdir()
    assert [row["subject"] for row in found] == ["9000001"]


def test_a_second_scan_of_a_strangers_knee_fails_by_name_unless_it_is_a_copy(
    scan, shell, rows, tmp_path
):
    scan(tmp_path / "in/monday", "MRN7", seed="a", SeriesInstanceUID="2.25.71")
    scan(tmp_path / "in/tuesday/pacs", "MRN7", seed="b", SeriesInstanceUID="2.25.72")
    done = shell("oa-convert --list in --visit 00m", status=1)
    assert len(rows(done.stdout)) == 1
    assert "in/tuesday/pacs is taken for the same knee, visit and sequence" in done.stderr
    shutil.rmtree(tmp_path / "in/tuesday")
    shutil.copytree(tmp_path / "in/monday", tmp_path / "in/backup/pacs")
    done = shell("oa-convert --list in --visit 00m")
    assert len(rows(done.stdout)) == 1 and "a copy of in/backup/pacs; left out" in done.stderr
    # Half of a series is no copy of the other half.
    for path in sorted((tmp_path / "in/backup/pacs").iterdir())[:12]:
        path.unlink()
    done = shell("oa-convert --list in --visit 00m", status=1)
    assert "is taken for the same knee, visit and sequence" in done.stderr


SWAPPED = [  # the repeats: slices, missing ones, side on which it lies; the one to take
    ([(24, (), "left"), (24, (), "right")], 1),
    ([(24, (), "right"), (24, (), "left")], 0),
    ([(40, (), "left"), (24, (9,), "right")], 1),  # incomplete, but of the knee that is named
    ([(30, (), "right"), (24, (), "right"), (36, (), "left")], 0),
    ([(24, (3,), "left"), (24, (4,), "left"), (24, (), "left")], 2),
]


@pytest.mark.parametrize("repeats, taken", SWAPPED)
def test_of_repeats_that_lie_on_the_named_side_the_complete_one_is_taken(
    scan, tmp_path, repeats, taken
):
    for n, (slices, skip, lies) in enumerate(repeats):
        folder = tmp_path / "0.E.1/9111111/20050131" / f"1000000{n}"
        uid = f"2.25.{n + 5}"
        name = "COR_IW_TSE_RIGHT"
        scan(
            folder,
            side=lies,
            slices=slices,
            skip=skip,
            seed=str(n),
            SeriesInstanceUID=uid,
            SeriesDescription=name,
        )
    found = list(find_series([str(tmp_path)], oai))
    (row,) = [each for each in found if not isinstance(each, BadRow)]
    assert row["path"].endswith(f"1000000{taken}") and row["side"] == "right"


CHECKS = [  # options of oa-convert for a scan that says right and lies left; status; said
    ("", 0, "warning: it counts as a right knee: description says right, tag says nothing, its"),
    ("--side-check warn", 0, "centre lies 96 mm to the left of the midline; check which it is"),
    ("--side-check trust", 0, None),
    (
        "--side-check fail",
        1,
        "it counts as a right knee: description says right, tag says nothing, its centre lies 96 mm "
        "to the left of the midline; say which with --side, or let --side-check be warn or trust",
    ),
    ("--side left --side-check fail", 0, None),
    ("--side right", 0, "warning: it counts as a right knee"),
]


@pytest.mark.parametrize("options, status, said", CHECKS)
def test_what_a_scan_on_the_other_side_does_is_the_users_choice(
    scan, shell, rows, tmp_path, options, status, said
):
    at_other_side(scan, tmp_path / "s", "right")
    for _ in ("made", "kept"):
        done = shell(f"oa-convert s --visit 00m -o nii {options}", status=status)
        lines = done.stderr.splitlines()
        assert len(lines) == (1 if said is None else 2) and (said is None or said in lines[0])
        assert len(rows(done.stdout)) == (0 if status else 1)
    assert (tmp_path / "nii").exists() == (not status)


def test_a_volume_that_was_converted_with_a_warning_fails_later_where_that_is_asked(
    scan, shell, tmp_path
):
    at_other_side(scan, tmp_path / "s", "right")
    shell("oa-convert s --visit 00m -o nii")
    assert (
        "96 mm to the left" in shell("oa-convert s -o nii --visit 00m --side-check fail", 1).stderr
    )


@pytest.mark.parametrize(
    "fields, options, status, side, said",
    [
        (
            {"SeriesDescription": "PD LEFT", "Laterality": "R"},
            "",
            1,
            None,
            "tag says R, its centre",
        ),
        (
            {"SeriesDescription": "PD LEFT", "Laterality": "R"},
            "--side-check warn",
            1,
            None,
            "--side",
        ),
        (
            {"SeriesDescription": "PD LEFT", "Laterality": "R"},
            "--side-check trust",
            0,
            "left",
            None,
        ),
        ({"SeriesDescription": "PD LEFT", "Laterality": "R"}, "--side left", 0, "left", None),
        ({"SeriesDescription": "PD LEFT", "Laterality": "L"}, "", 0, "left", None),
        ({"SeriesDescription": "PD", "ImageLaterality": "L"}, "", 0, "left", None),
        (
            {"SeriesDescription": "PD"},
            "",
            0,
            "n/a",
            "no side is stated; its centre lies 96 mm to the left of the midline, which suggests the "
            "left knee: say so with --side",
        ),
        (
            {"SeriesDescription": "PD both knees"},
            "",
            0,
            "n/a",
            "its description names both sides; its centre lies 96 mm to the left of the midline",
        ),
        ({"SeriesDescription": "PD"}, "--side-check trust", 0, "n/a", None),
    ],
)
def test_description_tag_and_place_are_compared(
    scan, shell, rows, tmp_path, fields, options, status, side, said
):
    scan(tmp_path / "s", "MRN7", "left", **fields)
    done = shell(f"oa-convert s --visit 00m -o nii {options}", status=status)
    assert [r["side"] for r in rows(done.stdout)] == ([] if side is None else [side])
    notes = [line for line in done.stderr.splitlines() if "made the key of ids" not in line]
    assert (said in done.stderr) if said else len(notes) == 1


def test_one_of_several_series_in_a_folder_fails_alone(scan, shell, rows, tmp_path):
    scan(tmp_path / "s", "MRN7", "left", name="a{:03d}", Laterality="R", slices=3)
    scan(tmp_path / "s", "MRN7", "right", name="b{:03d}", Laterality="R", slices=3)
    done = shell("oa-convert s --visit 00m --list", status=1)
    assert [r["side"] for r in rows(done.stdout)] == ["right"]
    assert "s (series " in done.stderr and "description says left, tag says R" in done.stderr


HEADER = "Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription\n"


def inventory(path, *lines):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(HEADER + "".join(f"{line}\n" for line in lines))


def test_an_inventory_beside_a_header_that_says_another_side_is_a_contradiction(
    scan, shell, rows, tmp_path
):
    scan(tmp_path / "0.E.1/9000001/20050131/10000001", "9000001", "left")
    inventory(
        tmp_path / "contents.csv",
        "0.E.1/9000001/20050131/10000001,9000001,20050131,1,OAI^MR,COR_IW_TSE_RIGHT",
    )
    done = shell("oa-convert contents.csv -o nii", status=1)
    assert (
        "description says left, inventory says right, tag says nothing, its centre lies 96 mm to "
        "the left of the midline" in done.stderr
    )


@pytest.mark.parametrize(
    "place",
    ["00m/0.E.1/contents.csv", "00m/contents.csv", "contents.csv", "00m/0.E.1/contents.0E1.csv"],
)
def test_an_inventory_in_a_release_finds_its_images_and_counts_what_it_sets_aside(
    scan, shell, rows, tmp_path, place
):
    series = "0.E.1/9000001/20050131/1000000"
    scan(tmp_path / "oai/00m" / f"{series}1", "9000001")
    scan(tmp_path / "oai/00m" / f"{series}2", "9000001", sequence="COR_MPR")
    x_ray(tmp_path / "oai/00m/0.E.1/9000001/20050131/00000003", "CR")
    (tmp_path / "oai/00m" / f"{series}4.tar.gz.partial").write_bytes(b"a part")
    lines = [
        f"{series}1,9000001,20050131,1,OAI^MR,COR_IW_TSE_RIGHT",
        f"{series}2,9000001,20050131,1,OAI^MR,COR_MPR_RIGHT",
        "0.E.1/9000001/20050131/00000003,9000001,20050131,1,OAI^XRAY,PA Fixed Flexion Left Knee",
        f"{series}5,9000001,20050131,1,OAI^MR,SAG_3D_DESS_RIGHT",
    ]
    inventory(tmp_path / "oai" / place, *lines)
    done = shell(f"oa-convert oai/{place} -o nii")
    assert [r["knee"] for r in rows(done.stdout)] == ["9000001_00m_right"]
    for said in ("1 reformats, locators and maps", "1 X-rays", "1 series that contents"):
        assert f"not taken: {said}" in done.stderr
    inventory(
        tmp_path / "oai" / place, *lines, f"{series}4,9000001,20050131,1,OAI,SAG_IW_TSE_RIGHT"
    )
    assert (
        "10000004.tar.gz.partial: not finished" in shell(f"oa-convert oai/{place} -o nii", 1).stderr
    )


def test_the_images_of_an_inventory_are_looked_for_below_every_root(scan, shell, rows, tmp_path):
    for number, package in ((1, "Package_1/image03"), (2, "elsewhere"), (3, "tables")):
        scan(tmp_path / package / f"00m/0.E.1/900000{number}/20050131/10000001", f"900000{number}")
    inventory(
        tmp_path / "tables/contents.csv",
        *(
            f"0.E.1/900000{n}/20050131/10000001,900000{n},20050131,1,OAI^MR,COR_IW_TSE_RIGHT"
            for n in range(1, 5)
        ),
    )
    done = shell("oa-convert tables/contents.csv --list")
    assert [r["subject"] for r in rows(done.stdout)] == ["9000003"]
    done = shell("oa-convert tables/contents.csv --root Package_1 --root elsewhere/00m --list")
    assert [r["subject"] for r in rows(done.stdout)] == ["9000001", "9000002", "9000003"]
    said = "not below tables or Package_1 or elsewhere/00m"
    done = shell("oa-convert tables/contents.csv --root Package_1 --root elsewhere/00m -o nii")
    assert f"not taken: 1 series that contents.csv lists but that are {said}" in done.stderr
    assert "--root" in shell("oa-convert tables/contents.csv --root nowhere -o nii", 2).stderr
    shutil.rmtree(tmp_path / "tables/00m")
    done = shell("oa-convert tables/contents.csv -o nii", 1)
    assert "is below tables; say where the images are with --root" in done.stderr
    done = shell("oa-convert Package_1 --root elsewhere -o nii", 2)
    assert "--root" in done.stderr and "no inventory" in done.stderr


PARTS = [  # what lies beside a good series; what is said
    ("10000009.tar.gz.partial", "10000009.tar.gz.partial: not finished"),
    ("10000009.zip.crdownload", "10000009.zip.crdownload: not finished"),
    ("10000009.part", "10000009.part in it is not finished"),
    ("10000009.tar.gz.aria2", "10000009.tar.gz.aria2: not finished"),
    ("10000001/025.partial", "025.partial in it is not finished"),
]


@pytest.mark.parametrize("name, said", PARTS)
def test_an_unfinished_download_fails_and_is_not_read(scan, shell, tmp_path, name, said):
    study = tmp_path / "0.E.1/9000001/20050131"
    scan(study / "10000001", "9000001")
    scan(study / "10000002", "9000001", sequence="SAG_IW_TSE")
    shutil.copy(study / "10000002/001", study / name)
    done = shell("oa-convert --list .", status=1)
    assert said in done.stderr and "download it again" in done.stderr
    assert done.stderr.count("not finished") == 1
    assert len(done.stdout.splitlines()) == (2 if "/" in name else 3)
    assert "not finished" in shell(f"oa-convert --list 0.E.1/9000001/20050131/{name}", 1).stderr


def test_a_file_that_aria2_is_still_at_fails_though_it_has_its_size(scan, shell, rows, tmp_path):
    study = tmp_path / "0.E.1/9000001/20050131"
    scan(study / "10000001", "9000001")
    archived(study / "10000001", "10000001.tar.gz")
    (study / "10000001.tar.gz.aria2").write_bytes(b"control")
    done = shell("oa-convert --list .", status=1)
    assert done.stdout.count("\n") == 1 and "10000001.tar.gz: not finished" in done.stderr
    (study / "10000001.tar.gz.aria2").unlink()
    assert len(rows(shell("oa-convert --list .").stdout)) == 1


def test_a_release_of_x_rays_is_no_failure(shell, tmp_path):
    x_ray(tmp_path / "0.C.1/9000001/20040105/00000007", "CR")
    done = shell("oa-convert 0.C.1 -o nii")
    assert "not taken: 1 X-rays" in done.stderr and "no DICOM series" not in done.stderr


def test_a_row_that_fails_does_not_block_the_next_of_its_name(scan, shell, rows, tmp_path):
    scan(tmp_path / "broken", skip=(9,))
    scan(tmp_path / "good")
    line = "k\tk\t00m\tright\tcor-iw-tse\t{}\n".format
    (tmp_path / "t.tsv").write_text(
        "knee\tsubject\tvisit\tside\tsequence\tpath\n" + line("broken") + line("good")
    )
    for options in ("", "-j 2 -f"):
        done = shell(f"oa-convert t.tsv -o nii {options}", status=1)
        assert [r["knee"] for r in rows(done.stdout)] == ["k"] and "1 done" in done.stderr
        assert "slices are missing" in done.stderr


IDS = [  # --subject; the subject that comes out, None where it is refused
    ("P17", "p17"),
    ("' 9000099 '", "9000099"),
    ("9000099.0", "9000099"),
    ("site1_007", "site1_007"),
    ("Müller-3", "müller-3"),
    ("'MRN 1234'", None),
    ("a/b", None),
    ("../x", None),
    ("''", None),
    ("'p 1'", None),
    ("x_00m_left", None),
]


@pytest.mark.parametrize("given, subject", IDS)
def test_an_id_is_written_as_in_all_tables_or_refused(scan, shell, rows, tmp_path, given, subject):
    scan(tmp_path / "s", slices=2)
    done = shell(f"oa-convert s --list --visit 00m --subject {given}", 0 if subject else 2)
    if subject:
        assert [r["subject"] for r in rows(done.stdout)] == [subject]
    else:
        assert done.stderr.count("\n") == 1 and given.strip("'") in done.stderr


@pytest.mark.parametrize(
    "patient, subject",
    [("MRN-7 ", "mrn-7"), ("A_1", "a_1"), ("MRN 1234", None), ("a/b", None)],
)
def test_a_headers_id_is_kept_as_it_is_or_fails(scan, shell, rows, tmp_path, patient, subject):
    scan(tmp_path / "s/a", patient, slices=2)
    scan(tmp_path / "s/b", "9000099 ", slices=2)
    done = shell("oa-convert s --list --visit 00m --keep-ids", 0 if subject else 1)
    kept = [r["knee"] for r in rows(done.stdout)]
    assert kept == [f"{each}_00m_right" for each in (subject, "9000099") if each]
    if subject is None:
        assert f"s/a: the id '{patient}' cannot be part of a name" in done.stderr
        assert "--subject" in done.stderr and "--keep-ids" in done.stderr


def test_one_patient_has_one_digest_however_the_id_is_written(scan, shell, rows, tmp_path):
    scan(tmp_path / "s/a", "MRN-7", slices=2)
    scan(tmp_path / "s/b", "mrn-7 ", "left", slices=2)
    found = rows(shell("oa-convert s --list --visit 00m").stdout)
    assert len({r["subject"] for r in found}) == 1 and found[0]["subject"].startswith("anon-")


@pytest.mark.parametrize(
    "visit, status",
    [
        ("00m", 0),
        ("06m", 0),
        ("120m", 0),
        ("0m", 2),
        ("12", 2),
        ("012m", 2),
        ("12M", 2),
        ("V01", 2),
        ("''", 2),
    ],
)
def test_a_visit_is_a_number_of_months(scan, shell, tmp_path, visit, status):
    scan(tmp_path / "s", slices=2)
    done = shell(f"oa-convert s --list --visit {visit}", status)
    assert f"_{visit}_right" in done.stdout if not status else "write it as in 00m" in done.stderr


def test_a_volume_that_was_cut_since_is_converted_again_and_it_is_said(scan, shell, tmp_path):
    scan(tmp_path / "00m/0.E.1/9000001/20050131/10000001", "9000001")
    shell("oa-convert 00m -o nii")
    (made,) = (tmp_path / "nii").glob("*.nii.gz")
    whole = made.read_bytes()
    made.write_bytes(whole[:-100])
    again = shell("oa-convert 00m -o nii")
    assert made.read_bytes() == whole
    assert "was damaged or exchanged since it was made; it is made again" in again.stderr


def test_places_where_no_series_is_read_are_rows_of_the_table_of_failures(shell, rows, tmp_path):
    for name in ("bad1", "bad2"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "001").write_text("x")
    shell("ls -d bad? | xargs -n 1 -P 2 oa-convert -q -o nii --failed failed.tsv > /dev/null", 123)
    failed = rows((tmp_path / "failed.tsv").read_text())
    assert sorted(row["path"] for row in failed) == ["bad1", "bad2"]
    assert all("DICOM" in row["error"] for row in failed)


def test_series_of_an_inventory_are_found_in_packages_side_by_side(scan, shell, rows, tmp_path):
    for package, participant in (("Package_1", "9000001"), ("Package_2", "9000002")):
        place = f"pk/{package}/image03/00m/0.C.2/{participant}/20050131/10000001"
        scan(tmp_path / place, participant, SeriesInstanceUID=f"2.25.{participant}")
    lines = ["image_file\timage_description"]
    for participant in ("9000001", "9000002"):
        listed = f"s3://b/submission_1/00m/0.C.2/{participant}/20050131/10000001.tar.gz"
        lines.append(f"{listed}\tCOR_IW_TSE_RIGHT")
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta" / "image03.txt").write_text("\n".join(lines) + "\n")
    found = rows(shell("oa-convert meta/image03.txt -l --root pk").stdout)
    assert [row["subject"] for row in found] == ["9000001", "9000002"]


def cut_archive(archive):
    """An archive whose download ended too soon, under its final name."""
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])


@pytest.mark.parametrize("dates", [("20040105", "20040106"), ("20040106", "20040105")])
@pytest.mark.parametrize("by_path", [False, True], ids=["tree", "paths"])
def test_an_archive_that_was_cut_off_costs_neither_its_whole_copy_nor_others(
    scan, shell, rows, tmp_path, dates, by_path
):
    whole, cut = (tmp_path / "OAI/00m/0.A.1/9000001" / date / "10000001" for date in dates)
    scan(whole, "9000001")
    scan(cut, "9000001")
    scan(tmp_path / "OAI/00m/0.A.1/9000002/20040105/10000002", "9000002", "left")
    archived(whole, "10000001.tar.gz")
    cut_archive(archived(cut, "10000001.tar.gz"))
    archived(tmp_path / "OAI/00m/0.A.1/9000002/20040105/10000002", "10000002.tar.gz")
    given = "find OAI -name '*.gz' | sort | oa-convert" if by_path else "oa-convert OAI"
    done = shell(f"{given} -o nii")
    assert [row["knee"] for row in rows(done.stdout)] == ["9000001_00m_right", "9000002_00m_left"]
    assert f"{dates[1]}/10000001.tar.gz: a repeat of OAI" in done.stderr


def test_copies_that_were_all_cut_off_fail_by_name_and_the_others_go_on(
    scan, shell, rows, tmp_path
):
    release = tmp_path / "OAI/00m/0.A.1"
    for date in ("20040105", "20040106"):
        scan(release / "9000001" / date / "10000001", "9000001")
        archive = archived(release / "9000001" / date / "10000001", "10000001.tar.gz")
        cut_archive(archive)
        archive.write_bytes(archive.read_bytes()[: -int(date[-1])])  # of different lengths
    scan(release / "9000002/20040105/10000002", "9000002", "left")
    done = shell("oa-convert OAI -o nii", status=1)
    assert [row["knee"] for row in rows(done.stdout)] == ["9000002_00m_left"]
    assert "9000001_00m_right cor-iw-tse: the archive cannot be read" in done.stderr
