import collections
import json
import shutil
import tarfile
import urllib.parse
import zipfile

import nibabel
import numpy as np
import pydicom
import pytest

from oatools.core.errors import ItemError
from oatools.core.manifest import BadRow
from oatools.dicom import survey as survey_module
from oatools.dicom.convert import convert
from oatools.dicom.find import find_series
from oatools.dicom.geometry import assess
from oatools.dicom.series import Overrides, describe, slug
from oatools.oai import release as oai

CLASSIC = "0.E.1/9111111/20050131"
# series folder -> side, sequence: what one participant's visit holds, in every form of download
SERIES = {
    "10000001": ("right", "COR_IW_TSE"),
    "10000002": ("left", "COR_IW_TSE"),
    "10000003": ("left", "SAG_IW_TSE"),
}


def find(*places, wanted=(), left_out=None, **known):
    return list(find_series([str(p) for p in places], oai, Overrides(**known), wanted, left_out))


def tree(scan, root):
    for folder, (side, sequence) in SERIES.items():
        scan(root / CLASSIC / folder, side=side, sequence=sequence)
    (root / CLASSIC / "00000007").mkdir()
    x_ray = pydicom.Dataset()
    x_ray.Modality, x_ray.SOPClassUID, x_ray.SOPInstanceUID = (
        "DX",
        "1.2.840.10008.5.1.4.1.1.1.1",
        "2.25.1",
    )
    x_ray.PatientID, x_ray.SeriesDescription = "9111111", "Bilateral PA Fixed Flexion Knee"
    x_ray.save_as(root / CLASSIC / "00000007" / "001", implicit_vr=False, little_endian=True)
    return root


def classic(scan, root):
    return [tree(scan, root / "OAIBaselineImages" / "results" / "00m").parents[1]]


def doubled_visit(scan, root):
    return [tree(scan, root / "Package_2" / "00m" / "00m").parent]


def url_quoted(scan, root):
    tree(scan, root / "plain" / "00m")
    for path in sorted((root / "plain" / "00m").glob("0.E.1/*/*/*")):
        quoted = urllib.parse.quote(
            f"results/00m/{path.relative_to(root / 'plain' / '00m')}", safe=""
        )
        shutil.move(path, root / "quoted" / quoted)
    return [root / "quoted"]


def with_contents(scan, root):
    tree(scan, root / "00m")
    lines = ["Folder,ParticipantID,StudyDate,Barcode,StudyDescription,SeriesDescription"]
    lines += [
        f"{CLASSIC}/{f},9111111,20050131,166{f},OAI^MR^ENROLLMENT^{s.upper()} ,{q}_{s.upper()}"
        for f, (s, q) in SERIES.items()
    ]
    (root / "00m" / "contents.csv").write_bytes("\r\n".join(lines).encode() + b"\r\n")
    return [root / "00m" / "contents.csv"]


def contents_above_the_visit(scan, root):
    (inventory,) = with_contents(scan, root)
    inventory.rename(root / "contents.0E1.csv")
    return [root / "contents.0E1.csv"]


def nda_archives(scan, root):
    tree(scan, root / "plain")
    for path in sorted((root / "plain").glob("0.E.1/*/*/*")):
        archive = root / "image03" / "00m" / CLASSIC / f"{path.name}.tar.gz"
        archive.parent.mkdir(parents=True, exist_ok=True)
        with tarfile.open(archive, "w:gz") as opened:
            opened.add(path, ".")
    shutil.rmtree(root / "plain")
    return [root / "image03"]


def nda_inventory(scan, root):
    nda_archives(scan, root)
    quoted = [
        [
            "subjectkey",
            "src_subject_id",
            "interview_date",
            "image_file",
            "image_description",
            "comments_misc",
        ],
        ["The key", "The id", "Date", "Image file", "What is in it", "Other"],
    ]
    for folder, (side, sequence) in SERIES.items():
        url = f"s3://bucket/submission_17/00m/{CLASSIC}/{folder}.tar.gz"
        quoted.append(
            ["NDAR_INV0", "9111111", "01/31/2005", url, f"{sequence}_{side.upper()}", "OAI MR"]
        )
    quoted.append(
        [
            "NDAR_INV1",
            "9222222",
            "01/31/2005",
            "s3://bucket/submission_17/00m/0.E.1/9222222/20050131/10000009.tar.gz",
            "COR_IW_TSE_LEFT",
            "not downloaded",
        ]
    )
    text = "".join("\t".join(f'"{cell}"' for cell in row) + "\r\n" for row in quoted)
    (root / "image03.txt").write_text(text)
    return [root / "image03.txt"]


def one_folder_from_a_hospital(scan, root):
    for folder, (side, sequence) in SERIES.items():
        scan(root / "export", side=side, sequence=sequence, name=f"IM{folder[-2:]}{{:04d}}")
    (root / "export" / "DICOMDIR").write_bytes(b"no image")
    (root / "export" / "README").write_text("exported")
    return [root / "export"]


def one_zip_from_a_hospital(scan, root):
    one_folder_from_a_hospital(scan, root)
    with zipfile.ZipFile(root / "study.zip", "w") as opened:
        for path in sorted((root / "export").iterdir()):
            opened.write(path, f"DICOM/ST0/{path.name}")
    shutil.rmtree(root / "export")
    return [root / "study.zip"]


FORMS = [
    classic,
    doubled_visit,
    url_quoted,
    with_contents,
    contents_above_the_visit,
    nda_archives,
    nda_inventory,
    one_folder_from_a_hospital,
    one_zip_from_a_hospital,
]
EXPECTED = [
    ("9111111_00m_left", "9111111", "00m", "left", "cor-iw-tse"),
    ("9111111_00m_left", "9111111", "00m", "left", "sag-iw-tse"),
    ("9111111_00m_right", "9111111", "00m", "right", "cor-iw-tse"),
]


def identities(rows):
    return sorted((r["knee"], r["subject"], r["visit"], r["side"], r["sequence"]) for r in rows)


@pytest.mark.parametrize("form", FORMS, ids=lambda form: form.__name__)
def test_every_form_of_a_download_gives_the_same_rows_and_the_same_volumes(scan, tmp_path, form):
    found = find(*form(scan, tmp_path))
    assert not [row for row in found if isinstance(row, BadRow)]
    assert identities(found) == EXPECTED
    for row in found:
        one_of_many = None if row["series"] == "n/a" else row["series"]
        volume, _, _ = convert(row_path(row), series=one_of_many, coverage=60)
        truth = scan(
            tmp_path / "again",
            side=row["side"],
            sequence=row["description"].rsplit("-", 1)[0].upper().replace("-", "_"),
        )
        # Columns run to the patient's left, rows to the feet, slices backwards.
        image = nibabel.as_closest_canonical(nibabel.Nifti1Image(volume.data, volume.affine))
        assert np.array_equal(np.asarray(image.dataobj), truth.transpose(1, 2, 0)[::-1, ::-1, ::-1])


def row_path(row):
    from pathlib import Path

    return Path(row["path"])


def test_a_multi_frame_file_gives_the_volume_of_its_series(scan, enhanced, tmp_path):
    image = enhanced(tmp_path / "multi.dcm")
    scan(tmp_path / "files")
    (one,) = find(tmp_path / "multi.dcm")
    (many,) = find(tmp_path / "files")
    assert identities([one]) == identities([many])
    ours, theirs = convert(tmp_path / "multi.dcm")[0], convert(tmp_path / "files")[0]
    assert np.array_equal(ours.data, theirs.data) and ours.data.size == image.size
    np.testing.assert_allclose(ours.affine, theirs.affine, atol=1e-4)


def test_several_multi_frame_files_in_a_folder_are_several_series(enhanced, tmp_path):
    for side in ("left", "right"):
        enhanced(tmp_path / f"{side}.dcm", side=side)
    found = find(tmp_path)
    assert [row["side"] for row in found] == ["left", "right"] and len(
        {row["series"] for row in found}
    ) == 2
    assert {convert(tmp_path, series=row["series"])[0].shape for row in found} == {(16, 20, 24)}


def test_what_is_not_taken_is_counted_by_reason(scan, tmp_path):
    left_out = collections.Counter()
    found = find(*classic(scan, tmp_path), wanted=("cor-iw-tse",), left_out=left_out)
    assert [row["side"] for row in found] == ["right", "left"]
    assert left_out == {
        "series of other sequences": 1,
        "X-rays": 1,
    }


def test_series_that_are_listed_but_not_there_are_counted_and_not_opened(scan, tmp_path):
    left_out = collections.Counter()
    (inventory,) = nda_inventory(scan, tmp_path)
    (tmp_path / "image03/00m" / CLASSIC / "10000003.tar.gz").write_bytes(
        b"an unwanted series that cannot be read"
    )
    found = find(inventory, wanted=("cor-iw-tse",), left_out=left_out)
    assert identities(found) == [EXPECTED[0], EXPECTED[2]]
    assert sorted(left_out.values()) == [1, 1] and any(
        "lists but that are not below" in reason for reason in left_out
    )


def test_an_inventory_speaks_where_the_header_is_silent(scan, tmp_path):
    (inventory,) = with_contents(scan, tmp_path)
    for path in (tmp_path / "00m" / CLASSIC / "10000001").iterdir():
        ds = pydicom.dcmread(path)
        del ds.SeriesDescription
        ds.save_as(path)
    for place in (inventory, tmp_path / "00m"):
        assert identities(find(place)) == EXPECTED
    inventory.unlink()
    assert "9111111_00m" in {row["knee"] for row in find(tmp_path / "00m")}


def test_the_sequence_is_matched_whole_and_in_any_case(scan, tmp_path):
    for folder, sequence in (
        ("1", "Cor_Iw_Tse"),
        ("2", "COR_IW_TSE_MPR"),
        ("3", "COR_T1_3D_FLASH"),
    ):
        scan(tmp_path / folder, sequence=sequence, slices=2)
    assert [row["path"][-1] for row in find(tmp_path, wanted=("cor-iw-tse",))] == ["1"]


def test_a_stray_folder_inside_a_series_is_no_part_of_it(scan, tmp_path):
    folder = tmp_path / "00m" / CLASSIC / "10000001"
    scan(folder)
    scan(folder / "efs", sequence="SAG_IW_TSE")
    (row,) = find(tmp_path)
    assert row["sequence"] == "cor-iw-tse" and convert(folder)[0].shape == (16, 20, 24)
    assert [row["path"] for row in find(folder)] == [str(folder)]


@pytest.mark.parametrize(
    "make, said",
    [
        (
            lambda scan, root: scan(root / "12m/0.E.1/9111111/20050131/10000001"),
            "lies in 12m, but its release is that of 00m",
        ),
        (
            lambda scan, root: scan(root / "0.E.1/9222222/20050131/10000001"),
            "folder of 9222222, but its header says 9111111",
        ),
    ],
)
def test_a_path_and_a_header_that_contradict_each_other_fail_with_both_facts(
    scan, tmp_path, make, said
):
    make(scan, tmp_path)
    (bad,) = find(tmp_path)
    assert said in bad.error
    assert find(tmp_path, subject="9111111", visit="00m")[0]["knee"] == "9111111_00m_right"


def test_a_series_of_damaged_files_is_a_failure_and_the_next_one_is_found(scan, tmp_path):
    scan(tmp_path / CLASSIC / "10000002")
    (tmp_path / CLASSIC / "10000001").mkdir()
    for k in range(5):
        (tmp_path / CLASSIC / "10000001" / f"00{k}").write_bytes(b"\0" * 4000)
    bad, good = find(tmp_path)
    assert (
        "none of its first files (000, 001, …) has a DICOM header" in bad.error
        and good["files"] == "24"
    )


def test_a_link_that_leads_back_is_followed_once(scan, tmp_path):
    scan(tmp_path / "a" / "b")
    (tmp_path / "a" / "loop").symlink_to(tmp_path / "a")
    assert [row["path"] for row in find(tmp_path / "a")] == [str(tmp_path / "a" / "b")]
    elsewhere = tmp_path / "links"
    elsewhere.mkdir()
    (elsewhere / "series").symlink_to(tmp_path / "a" / "b")
    assert [row["files"] for row in find(elsewhere)] == ["24"]


def test_the_first_rows_leave_before_the_rest_of_the_tree_is_read(scan, tmp_path):
    for participant in ("9000001", "9000002"):
        scan(tmp_path / f"0.E.1/{participant}/20050131/10000001", participant=participant, slices=2)
    rows = find_series([str(tmp_path)], oai)
    first = next(rows)
    shutil.rmtree(tmp_path / "0.E.1/9000002/20050131")
    (tmp_path / "0.E.1/9000002/20050131").mkdir()
    assert first["subject"] == "9000001" and not [
        row for row in rows if not isinstance(row, BadRow)
    ]


def test_one_header_a_series_is_read_in_a_release_and_all_in_any_other_folder(
    scan, tmp_path, monkeypatch
):
    read = []
    real = survey_module.read_header
    monkeypatch.setattr(
        survey_module,
        "read_header",
        lambda source, keywords: read.append(source) or real(source, keywords),
    )
    find(*classic(scan, tmp_path / "a"))
    assert len(read) == 4
    read.clear()
    scan(tmp_path / "b")
    find(tmp_path / "b")
    assert len(read) == 24
    read.clear()
    (tmp_path / "a/OAIBaselineImages/results/00m" / CLASSIC / "10000002/007").unlink()
    find(tmp_path / "a")
    assert len(read) == 3 + 23  # of the series whose names have a gap, all


REPEATS = [  # slices missing from three repeats; the one to take
    ([(), (), ()], 2),
    ([(), (), (9,)], 1),
    ([(), (9,), (23,)], 0),
    ([(4,), (9,), (7,)], 2),
    ([(23,), (22, 23), (4,)], 0),
]


@pytest.mark.parametrize("missing, taken", REPEATS)
def test_of_repeats_the_complete_one_is_taken_else_the_last(scan, tmp_path, missing, taken):
    for n, skip in enumerate(missing):
        scan(
            tmp_path / CLASSIC / f"1000000{n}",
            skip=skip,
            seed=str(n),
            SeriesInstanceUID=f"2.25.{n + 5}",
        )
    found = find(tmp_path)
    (row,) = [r for r in found if not isinstance(r, BadRow)]
    others = [r for r in found if isinstance(r, BadRow)]
    assert row["path"].endswith(f"1000000{taken}")
    assert len(others) == 2 and all(
        r.left_out and f"a repeat of {row['path']}" in r.error for r in others
    )


@pytest.mark.parametrize(
    "change, said",
    [
        ({"skip": (9, 10)}, "2 slices missing between 009 and 012"),
        ({"skip": (3,)}, "1 slice missing between 003 and 005"),
        ({}, ""),
    ],
)
def test_a_gap_is_named_by_the_files_around_it(scan, tmp_path, change, said):
    scan(tmp_path / "s", **change)
    assert assess(tmp_path / "s").problem == said
    if said:
        with pytest.raises(ItemError, match=f"missing or unevenly spaced .{said}"):
            convert(tmp_path / "s")


def test_echoes_at_one_place_and_slices_across_each_other_are_told(scan, tmp_path):
    scan(tmp_path / "echoes", name="a{:03d}", EchoNumbers=1)
    scan(tmp_path / "echoes", name="b{:03d}", EchoNumbers=2)
    assert assess(tmp_path / "echoes").problem == "2 echoes at one place"
    scan(tmp_path / "mixed", slices=2)
    scan(tmp_path / "mixed", name="b{:03d}", ImageOrientationPatient=[0, 1, 0, 0, 0, -1])
    assert assess(tmp_path / "mixed").problem == "its slices are not parallel"
    (tmp_path / "mixed" / "zzz").write_bytes(b"no image")
    assert "1 of 27 files cannot be read" in assess(tmp_path / "mixed").problem


def test_a_series_that_covers_too_little_was_cut_short(scan, tmp_path):
    scan(tmp_path / "s", slices=12)
    with pytest.raises(
        ItemError, match="its 12 slices cover 36 mm, a knee needs 60: the series was cut short"
    ):
        convert(tmp_path / "s", coverage=60)
    assert convert(tmp_path / "s", coverage=36)[0].shape[2] == 12


def test_a_folder_without_dicom_is_named(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing")
    (bad,) = find(tmp_path)
    assert bad.name == str(tmp_path) and "no DICOM series found" in bad.error
    (missing,) = find(tmp_path / "absent")
    assert "no such file" in missing.error


def described(place, **known):
    (series,) = describe(place, oai, Overrides(**known)).series
    return series.row()


def header(**fields):
    dataset = pydicom.Dataset()
    dataset.file_meta = pydicom.dataset.FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = pydicom.uid.MRImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = "1.2.3"
    dataset.SOPClassUID, dataset.SOPInstanceUID, dataset.Modality = (
        pydicom.uid.MRImageStorage,
        "1.2.3",
        "MR",
    )
    for name, value in fields.items():
        setattr(dataset, name, value)
    return dataset


@pytest.mark.parametrize(
    "folder, fields, expected",
    [
        (
            "results/0.C.2/9111111/20050131/10000001",
            {"SeriesDescription": "COR_IW_TSE_LEFT "},
            ("9111111_00m_left", "cor-iw-tse"),
        ),
        (
            "48m/48m/6.E.1/9111111/20080131/10000001",
            {"SeriesDescription": "Sag_IW_TSE_RIGHT"},
            ("9111111_48m_right", "sag-iw-tse"),
        ),
        (
            "96m/10.C.1/9111111/20130131/10000001",
            {"SeriesDescription": "SAG_3D_DESS_RIGHT"},
            ("9111111_96m_right", "sag-3d-dess"),
        ),
        (
            "results%2F1.E.1%2F9111111/x",
            {"SeriesDescription": "SAG_3D_DESS_LEFT"},
            ("9111111_12m_left", "sag-3d-dess"),
        ),
        (
            "x",
            {
                "PatientID": "9222222",
                "StudyDescription": "OAI^MR^24 MONTH^LEFT",
                "SeriesDescription": "COR_IW_TSE_LEFT",
            },
            ("9222222_24m_left", "cor-iw-tse"),
        ),
        (
            "x",
            {"PatientID": "MRN 1234", "Laterality": "R", "SeriesDescription": "PD fat sat"},
            ("anon-", "pd-fat-sat"),
        ),
        ("x", {"PatientID": "MRN 1234", "ImageLaterality": "L"}, ("anon-", "n/a")),
        (
            "x",
            {
                "PatientID": "MRN 1234",
                "PatientName": "Doe^Jane",
                "SeriesDescription": "PD Doe, jane knee",
            },
            ("anon-", "pd-knee"),
        ),
    ],
)
def test_who_when_which_side_and_which_sequence(tmp_path, folder, fields, expected):
    place = tmp_path / folder
    place.mkdir(parents=True)
    header(**fields).save_as(place / "001", enforce_file_format=True)
    row = described(place)
    assert row["knee"].startswith(expected[0]) and row["sequence"] == expected[1]
    assert "1234" not in str({k: v for k, v in row.items() if k != "path"})


def test_what_the_user_says_goes_before_the_header(tmp_path):
    header(PatientID="9222222", SeriesDescription="COR_IW_TSE_LEFT").save_as(
        tmp_path / "001", enforce_file_format=True
    )
    row = described(tmp_path, subject="p17", visit="12m", side="right", sequence="sag-3d-dess")
    assert (row["knee"], row["sequence"]) == ("p17_12m_right", "sag-3d-dess")
    header(PatientID="MRN-1234 ").save_as(tmp_path / "001", enforce_file_format=True)
    assert described(tmp_path, keep_ids=True)["subject"] == "mrn-1234"


@pytest.mark.parametrize("modality", ["CR", "DX", "RG"])
def test_an_x_ray_is_no_volume(tmp_path, modality):
    header(Modality=modality, Laterality="R").save_as(tmp_path / "001", enforce_file_format=True)
    found = describe(tmp_path, oai, Overrides())
    assert (found.series, found.x_rays, found.others) == ([], 1, 0)


def test_a_file_from_before_the_preamble_is_read(scan, tmp_path):
    scan(tmp_path / "s", slices=3)
    for path in (tmp_path / "s").iterdir():
        ds = pydicom.dcmread(path)
        del ds.preamble
        ds.file_meta = pydicom.dataset.FileMetaDataset()
        ds.save_as(path, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert path.read_bytes()[:2] == b"\x08\x00"
    assert [row["knee"] for row in find(tmp_path)] == ["9111111_00m_right"]


def test_slugs():
    assert slug("  T1 (VIBE) 3D / äx ") == "t1-vibe-3d-x"


@pytest.mark.parametrize("options", ["", "--keep-ids"])
@pytest.mark.parametrize("subject", ["9111111", "MRN-55-1234"])
def test_no_name_date_place_or_number_of_a_header_reaches_an_output(
    scan, secrets, shell, tmp_path, options, subject
):
    scan(tmp_path / "in", participant=subject, sequence="COR Zebedee TSE")
    done = shell(f"oa-convert in -o nii -v --visit 00m {options} --failed failed.tsv")
    (volume,) = (tmp_path / "nii").glob("*.nii.gz")
    (sidecar,) = (tmp_path / "nii").glob("*.json")
    import gzip

    written = (
        gzip.decompress(volume.read_bytes())
        + sidecar.read_bytes()
        + done.stdout.encode()
        + volume.name.encode()
    )
    for word in [*secrets, "20050131", "2005-01-31"]:
        assert word.encode() not in written.lower(), word
    assert ("1234" in done.stdout) == bool(options and subject != "9111111")
    assert json.loads(sidecar.read_text())["RepetitionTime"] == 3.7
