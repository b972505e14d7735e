import csv
import io
import json
import shutil
import subprocess
import sys
import tarfile
from dataclasses import replace
from pathlib import Path

import dcm2niix
import nibabel
import numpy as np
import pydicom
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.core.files import scratch_folder
from oatools.core.files import tree_digest as digest
from oatools.phantom import findings, most_images, rendering, series
from oatools.phantom.contrast import Tissue
from oatools.phantom.download import make_series, prepare, write_release
from oatools.phantom.people import PhantomSettings, make_patient
from oatools.phantom.series import SEQUENCES, grid, uid, write_series
from oatools.phantom.stamp import is_of_phantom

SMALL = PhantomSettings(patients=2, seed=5, matrix=48)
ARGUMENTS = ["--patients", "2", "--seed", "5", "--matrix", "48", "--sequence", "cor-iw-tse"]
ALL_SEQUENCES = SEQUENCES | most_images.SEQUENCES
CORONAL = replace(SMALL, sequences=("cor-iw-tse",))


def command(*arguments):
    code = "from oatools.commands.phantom import main; main()"
    return [sys.executable, "-c", code, *map(str, arguments)]


def run(*arguments):
    return subprocess.run(command(*arguments), capture_output=True, text=True)


def convert(folder, out):
    """The volumes that dcm2niix makes of a series."""
    out.mkdir()
    subprocess.run([dcm2niix.bin, "-z", "n", "-o", out, folder], check=True, capture_output=True)
    return [nibabel.load(path) for path in sorted(out.glob("*.nii"))]


def table(path, delimiter="\t"):
    with path.open(encoding="latin-1", newline="") as lines:
        return list(csv.DictReader(lines, delimiter=delimiter, quoting=csv.QUOTE_NONE))


def ascii_tables(folder, name):
    return table(next((folder / "tables").rglob(f"{name}.txt")), "|")


@pytest.mark.parametrize(
    "name,slices", [("cor-iw-tse", 35), ("sag-iw-tse", 37), ("sag-3d-dess", 160)]
)
def test_dcm2niix_makes_one_volume_of_each_series(release, tmp_path, name, slices):
    _, rows = release
    row = next(r for r in rows if r["sequence"] == name)
    (volume,) = convert(row["path"], tmp_path / "nii")
    protocol = SEQUENCES[name]
    # dcm2niix turns 3D acquisitions so that their axes follow the patient's
    order = [2, 0, 1] if protocol.volume else [0, 1, 2]
    shape = np.array([round(protocol.columns / 8), round(protocol.rows / 8), slices])
    spacing = np.array([protocol.spacing * 8, protocol.spacing * 8, protocol.thickness])
    np.testing.assert_array_equal(volume.shape, shape[order])
    np.testing.assert_allclose(volume.header.get_zooms(), spacing[order], rtol=1e-4)
    centre = volume.affine @ [*(np.array(volume.shape) - 1) / 2, 1]
    assert (-110 < centre[0] < -70) == (row["side"] == "left")


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize(
    "name,sign",
    [
        ("cor-iw-tse", -1),
        ("sag-iw-tse", 1),
        ("sag-3d-dess", 1),
        ("hr-cor-stir", 1),
        ("sag-pd-fat-sat", 1),
    ],
)
def test_the_converted_affine_leads_from_the_planted_lesion_to_voxels_with_its_contrast(
    tmp_path, name, sign, side
):
    knee = make_patient(SMALL, 0).knees[side == "right"]
    severe = replace(knee.anatomy, progression=0.9)
    protocol = ALL_SEQUENCES[name]
    shape, affine = grid(protocol, 48, side, knee.scan_centre, knee.scan_turn)
    where, values = findings.lesion(severe).centre, []
    for number, state in enumerate((severe, replace(severe, progression=0.0))):
        folder = tmp_path / str(number)
        folder.mkdir()
        pixels = (
            600 * rendering.render(state, shape, affine, protocol.contrast, bias=False)
        ).astype(np.uint16)
        identity = {
            "SeriesInstanceUID": uid(number),
            "StudyInstanceUID": uid("study"),
            "SeriesTime": "090000",
        }
        write_series(folder, protocol, pixels, affine, identity)
        (volume,) = convert(folder, tmp_path / f"nii{number}")
        i, j, k = np.rint(np.linalg.solve(volume.affine, [*where, 1])[:3]).astype(int)
        values.append(float(np.asarray(volume.dataobj)[i, j, k]))
    assert sign * (values[0] - values[1]) > 600 * 0.2


def test_the_truth_names_the_coronal_slices_that_the_lesion_changes(release):
    folder, _ = release
    for row in table(folder / "truth.tsv"):
        knee = next(
            k for p in (0, 1) for k in make_patient(SMALL, p).knees if k.name == row["knee"]
        )
        shape, affine = grid(
            SEQUENCES["cor-iw-tse"], 96, knee.side, knee.scan_centre, knee.scan_turn
        )
        lesions = rendering.tissue_map(knee.anatomy, shape, affine) == Tissue.LESION
        seen = np.flatnonzero(lesions.any(axis=(0, 1))) + 1
        assert int(row["lesion_first"]) <= seen.min() and seen.max() <= int(row["lesion_last"])
        assert seen.size >= int(row["lesion_last"]) - int(row["lesion_first"]) - 1
        assert int(row["effusion_first"]) < 18 <= int(row["effusion_last"])


def test_headers_are_as_the_study_writes_them_and_name_nobody(release):
    folder, rows = release
    uids = set()
    for row in rows:
        path = Path(row["path"])
        release_name, subject, _, barcode = path.parts[-4:]
        assert (release_name, subject) == ("0.E.1", row["subject"])
        names = sorted(p.name for p in path.iterdir())
        assert names == [f"{k:03d}" for k in range(1, SEQUENCES[row["sequence"]].slices + 1)]
        first = pydicom.dcmread(path / "001")
        side = row["side"].upper()
        assert first.SeriesDescription == f"{row['sequence'].upper().replace('-', '_')}_{side}"
        assert first.StudyDescription == f"OAI^MR^ENROLLMENT^{side}"
        assert (first.PatientID, first.AccessionNumber) == (subject, "0166" + barcode)
        assert str(first.PatientName) == "Synthetic^Phantom"
        assert first.file_meta.TransferSyntaxUID == pydicom.uid.ExplicitVRLittleEndian
        assert first.pixel_array.dtype == np.uint16 and first.pixel_array.shape == (
            first.Rows,
            first.Columns,
        )
        normal = np.cross(first.ImageOrientationPatient[:3], first.ImageOrientationPatient[3:])
        # coronal from front to back, sagittal towards the patient's right (LPS)
        assert normal[1] > 0.95 if row["sequence"] == "cor-iw-tse" else normal[0] < -0.95
        uids |= {first.SOPInstanceUID, first.SeriesInstanceUID}
        assert first.SOPInstanceUID.is_valid and first.SeriesInstanceUID.is_valid
    assert len(uids) == 2 * len(rows)
    listed = table(folder / "00m" / "contents.csv", ",")
    assert [str(folder / "00m" / r["Folder"]) for r in listed] == [r["path"] for r in rows]
    assert listed[0]["SeriesDescription"] == "COR_IW_TSE_LEFT"


def test_tables_read_by_the_csv_module_give_back_the_planted_outcomes(tmp_path):
    settings = PhantomSettings(patients=150, seed=2)
    prepare(tmp_path / "demo", settings)
    truth = {(r["subject"], r["side"]): r for r in table(tmp_path / "demo/truth.tsv")}
    widths = {}
    for visit in ("00", "01"):
        for r in ascii_tables(tmp_path / "demo", f"kxr_qjsw_duryea{visit}"):
            key = r["ID"], {"1: Right": "right", "2: Left": "left"}[r["SIDE"]], r["READPRJ"]
            if not r[f"V{visit}MCMJSW"].startswith("."):
                widths.setdefault(key, {})[visit] = float(r[f"V{visit}MCMJSW"])
    changes = {key: w["01"] - w["00"] for key, w in widths.items() if len(w) == 2}
    of_project = {p: {k[:2]: c for k, c in changes.items() if k[2] == p} for p in ("16", "20")}
    assert len(changes) == sum(map(len, of_project.values()))  # no project but these
    for knee, change in of_project["16"].items():
        assert (change <= -0.5) == (truth[knee]["jsn12"] == "1")
    assert 0.9 * 300 < len(of_project["16"]) < 300
    assert 5 < len(of_project["20"]) < 30
    scores = [
        (truth[r["ID"], side]["pain"], r[f"V00WOMKP{side[0].upper()}"])
        for r in ascii_tables(tmp_path / "demo", "AllClinical00")
        for side in ("left", "right")
    ]
    assert all(
        (float(score) >= 2) == (pain == "1") for pain, score in scores if score not in ("", "1")
    )


def test_body_measures_are_in_the_studys_units_and_sex_is_among_the_enrollees(release):
    folder, _ = release
    for clinical, person in zip(
        ascii_tables(folder, "AllClinical00"), ascii_tables(folder, "Enrollees"), strict=True
    ):
        assert clinical["ID"] == person["ID"]
        bmi = float(clinical["P01WEIGHT"]) / (float(clinical["P01HEIGHT"]) / 1000) ** 2
        assert float(clinical["P01BMI"]) == pytest.approx(bmi, abs=0.06)
        assert person["P02SEX"] in ("1: Male", "2: Female")
    raw = next((folder / "tables").rglob("Enrollees.txt")).read_bytes()
    assert raw.count(b"\r\n") == raw.count(b"\n") == 3


def test_the_command_writes_the_same_bytes_with_one_job_or_two_and_lists_the_series(tmp_path):
    one, two = (run(tmp_path / name, *ARGUMENTS, "-j", jobs) for name, jobs in (("a", 1), ("b", 2)))
    assert (one.returncode, two.returncode) == (0, 0), one.stderr + two.stderr
    write_release(tmp_path / "c", CORONAL)
    assert digest(tmp_path / "a") == digest(tmp_path / "b") == digest(tmp_path / "c")
    lines = one.stdout.splitlines()
    assert lines[0] == "knee\tsubject\tvisit\tside\tsequence\tpath"
    assert len(lines) == 5 and all(
        Path(line.split("\t")[-1], "035").is_file() for line in lines[1:]
    )
    assert "synthetic" in one.stderr and "0.95" in one.stderr and "4 done" in one.stderr


def test_the_archives_form_packs_the_same_slices_and_lists_them(tmp_path):
    plain = write_release(tmp_path / "plain", replace(CORONAL, patients=1))
    settings = replace(CORONAL, patients=1, form="nda")
    packed = write_release(tmp_path / "packed", settings)
    for before, row in zip(plain, packed, strict=True):
        folder, archive = Path(before["path"]), Path(row["path"])
        place = folder.relative_to(tmp_path / "plain")
        assert str(archive.relative_to(tmp_path / "packed")) == f"image03/{place}.tar.gz"
        with tarfile.open(archive) as tar:
            assert tar.getnames() == [f"./{path.name}" for path in sorted(folder.iterdir())]
            for path in folder.iterdir():
                assert tar.extractfile(f"./{path.name}").read() == path.read_bytes()
        assert all(path.name.endswith(".tar.gz") for path in archive.parent.iterdir())
    with (tmp_path / "packed/image03.txt").open(newline="") as lines:
        listed = list(csv.DictReader(lines, delimiter="\t"))[1:]
    for row, entry in zip(packed, listed, strict=True):
        assert entry["image_file"].startswith("s3://")
        place = Path(row["path"]).relative_to(tmp_path / "packed/image03")
        assert entry["image_file"].endswith(f"/{place}")
        assert entry["src_subject_id"] == row["subject"] and entry["visit"] == "V00"
        assert entry["image_description"] == f"COR_IW_TSE_{row['side'].upper()}"
    first = digest(packed[0]["path"])
    Path(packed[0]["path"]).unlink()
    assert make_series(settings, packed[0]) and digest(packed[0]["path"]) == first
    assert not make_series(settings, packed[0])


def test_tables_and_truth_can_be_written_alone_and_the_images_later(tmp_path):
    alone = run(tmp_path / "demo", *ARGUMENTS, "--no-images")
    assert alone.returncode == 0 and "0 done" in alone.stderr
    assert alone.stdout == "knee\tsubject\tvisit\tside\tsequence\tpath\n"
    assert not list((tmp_path / "demo").rglob("001"))
    assert "4 done" in run(tmp_path / "demo", *ARGUMENTS).stderr
    write_release(tmp_path / "whole", CORONAL)
    assert digest(tmp_path / "demo") == digest(tmp_path / "whole")


def test_the_command_writes_each_form_with_its_own_sequences(tmp_path):
    for form, sequences in (
        ("nda", {"cor-iw-tse", "sag-iw-tse", "sag-3d-dess"}),
        ("most", {"hr-cor-stir", "sag-pd-fat-sat"}),
    ):
        done = run(tmp_path / form, "--patients", "1", "--matrix", "32", "--form", form)
        rows = [line.split("\t") for line in done.stdout.splitlines()[1:]]
        assert done.returncode == 0 and {row[4] for row in rows} == sequences
        assert all(Path(row[5]).exists() for row in rows)
    wrong = run(tmp_path / "x", *ARGUMENTS, "--form", "most")
    assert wrong.returncode == 2 and "hr-cor-stir, sag-pd-fat-sat" in wrong.stderr


def test_another_seed_gives_another_cohort_and_a_larger_one_contains_the_smaller(tmp_path):
    rows = write_release(tmp_path / "a", replace(CORONAL, patients=1))
    (more,) = {
        tuple(
            Path(r["path"]).relative_to(tmp_path / "b")
            for r in prepare(tmp_path / "b", CORONAL)[:2]
        )
    }
    assert list(more) == [Path(r["path"]).relative_to(tmp_path / "a") for r in rows]
    make_series(CORONAL, rows[0] | {"path": str(tmp_path / "b" / more[0])})
    assert digest(tmp_path / "b" / more[0]) == digest(rows[0]["path"])
    other = prepare(tmp_path / "other", replace(CORONAL, seed=6))
    assert not {r["knee"] for r in other} & {r["knee"] for r in rows}


def test_a_second_run_completes_what_the_first_left_and_keeps_the_rest(tmp_path):
    rows = write_release(tmp_path / "demo", CORONAL)
    before, kept = digest(tmp_path / "demo"), Path(rows[1]["path"], "001").stat().st_mtime_ns
    lost = Path(rows[0]["path"])
    with scratch_folder(lost.parent) as half:  # as a killed process leaves it
        half = half.rename(half.with_name(f"{half.name[:-4]}left"))
    shutil.move(lost / "001", half / "007")
    shutil.rmtree(lost)
    again = run(tmp_path / "demo", *ARGUMENTS)
    assert "1 done, 3 kept, 0 failed" in again.stderr
    assert digest(tmp_path / "demo") == before
    assert Path(rows[1]["path"], "001").stat().st_mtime_ns == kept


def test_four_runs_at_once_write_the_series_of_one(tmp_path):
    write_release(tmp_path / "one", CORONAL)
    calls = [command(tmp_path / "four", *ARGUMENTS, "--quiet") for _ in range(4)]
    runs = [
        subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for call in calls
    ]
    assert [(r.communicate()[1], r.returncode) for r in runs] == [(b"", 0)] * 4
    assert digest(tmp_path / "four") == digest(tmp_path / "one")


def test_a_series_that_cannot_be_written_is_named_and_leaves_nothing(tmp_path, monkeypatch):
    rows = prepare(tmp_path, CORONAL)

    def fails(folder, *_):
        raise OSError(28, "No space left on device", str(folder / "001"))

    monkeypatch.setattr(series, "write_series", fails)
    with pytest.raises(OSError) as caught:
        make_series(CORONAL, rows[0])
    assert caught.value.filename == rows[0]["path"]
    assert not list(Path(rows[0]["path"]).parent.iterdir())


def test_a_folder_that_a_killed_run_left_before_it_was_signed_is_taken(tmp_path):
    (tmp_path / ".oatools-0badcafe-1122334455667788").write_text("{")
    assert len(prepare(tmp_path, CORONAL)) == 4


def test_a_series_that_another_run_finishes_first_stays(tmp_path, monkeypatch):
    rows = prepare(tmp_path / "demo", CORONAL)
    target = Path(rows[0]["path"])
    write = series.write_series

    def slowly(folder, *arguments):
        write(folder, *arguments)
        if not target.exists():
            shutil.copytree(folder, target)
            (target / "001").touch()

    monkeypatch.setattr(series, "write_series", slowly)
    assert not make_series(CORONAL, rows[0])
    assert len(list(target.iterdir())) == 35
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def flip(path, place):
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    "damage, named",
    [
        (lambda folder: (folder / "007").unlink(), "007 was"),
        (lambda folder: (folder / "008").write_bytes(b""), "008 was"),
        (lambda folder: flip(folder / "009", -1), "009 was"),  # in the last pixel
        (lambda folder: flip(folder / "035", 0), "035 was"),  # in what no reader looks at
        (lambda folder: flip(folder / "001", 400), "001 was"),
        (lambda folder: shutil.copy(folder / "004", folder / "003"), "003 was"),
        (
            lambda folder: [(folder / f"00{n}").write_text("an essay") for n in "4567"],
            "004 and 3 more was",
        ),
    ],
)
def test_slices_that_were_lost_or_damaged_are_made_again(tmp_path, damage, named):
    row = prepare(tmp_path / "demo", CORONAL)[0]
    folder, said = Path(row["path"]), []
    assert make_series(CORONAL, row) and not make_series(CORONAL, row, said.append)
    before, untouched = digest(folder), (folder / "020").stat()
    damage(folder)
    assert make_series(CORONAL, row, said.append)
    assert said == [f"warning: {folder}/{named} damaged since it was made; it is made again"]
    assert digest(folder) == before and not make_series(CORONAL, row)
    assert (folder / "020").stat() == untouched
    assert [path.name for path in folder.parent.iterdir()] == [folder.name]


def test_a_series_among_other_files_is_left_as_it_is(tmp_path):
    row = prepare(tmp_path / "demo", CORONAL)[0]
    make_series(CORONAL, row)
    Path(row["path"], "notes.txt").write_text("years of work")
    Path(row["path"], "007").unlink()
    with pytest.raises(ItemError, match="holds notes.txt, which is no slice of it; move it away"):
        make_series(CORONAL, row)
    assert not Path(row["path"], "007").exists()
    assert Path(row["path"], "notes.txt").read_text() == "years of work"


@pytest.mark.parametrize(
    "damage",
    [
        lambda archive: archive.write_bytes(b""),
        lambda archive: flip(archive, 30_000),
        lambda archive: flip(archive, -8),  # in the checksum of the whole
        lambda archive: archive.write_bytes(archive.read_bytes()[:-100]),
        lambda archive: archive.write_bytes(archive.read_bytes() + b"more"),
        lambda archive: repack(archive, keep=34),
        lambda archive: repack(archive, keep=35, name="./001"),
    ],
)
def test_an_archive_that_was_damaged_is_made_again(tmp_path, damage):
    settings = replace(CORONAL, patients=1, form="nda")
    row = prepare(tmp_path / "demo", settings)[0]
    archive, said = Path(row["path"]), []
    assert make_series(settings, row) and not make_series(settings, row, said.append)
    before = archive.read_bytes()
    damage(archive)
    assert make_series(settings, row, said.append)
    assert said == [f"warning: {archive} was damaged since it was made; it is made again"]
    assert archive.read_bytes() == before


def repack(archive, keep, name=None):
    """Pack the first files of an archive again, all under one name if that is given."""
    with tarfile.open(archive) as tar:
        files = [(member, tar.extractfile(member).read()) for member in tar][:keep]
    with tarfile.open(archive, "w:gz") as tar:
        for member, content in files:
            member.name = name or member.name
            tar.addfile(member, io.BytesIO(content))


def test_the_command_says_that_a_slice_is_made_again(tmp_path):
    arguments = [tmp_path / "demo", *ARGUMENTS, "--patients", "1"]
    rows = run(*arguments).stdout
    slice_path = Path(rows.splitlines()[1].split("\t")[-1], "012")
    before = slice_path.read_bytes()
    flip(slice_path, 1000)
    again = run(*arguments)
    assert again.returncode == 0 and again.stdout == rows and slice_path.read_bytes() == before
    assert f"{slice_path} was damaged since it was made; it is made again" in again.stderr
    assert "1 done, 1 kept, 0 failed" in again.stderr


def test_a_record_of_the_settings_that_was_damaged_is_written_again(tmp_path):
    prepare(tmp_path / "demo", CORONAL)
    stamp = tmp_path / "demo/phantom.json"
    before = stamp.read_text()
    stamp.write_text(before.replace('"synthetic": true', '"synthetik": true'))
    prepare(tmp_path / "demo", CORONAL)
    assert stamp.read_text() == before


def test_a_folder_made_with_other_settings_or_holding_anything_else_is_refused(tmp_path):
    prepare(tmp_path / "demo", CORONAL)
    before = digest(tmp_path / "demo")
    other = run(tmp_path / "demo", *ARGUMENTS, "--jsn-auc", "0.8")
    assert other.returncode == 2 and "jsn_auc 0.95" in other.stderr and other.stdout == ""
    assert digest(tmp_path / "demo") == before
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/thesis.txt").write_text("years of work")
    mine = run(tmp_path / "mine", *ARGUMENTS)
    assert (
        mine.returncode == 2
        and "holds no phantom" in mine.stderr
        and len(mine.stderr.splitlines()) == 1
    )
    assert [p.name for p in (tmp_path / "mine").iterdir()] == ["thesis.txt"]


@pytest.mark.parametrize("text", ["[]", "[" * 100_000 + "]" * 100_000, b"\xff"])
def test_a_stamp_that_is_none_is_refused_and_no_stamp_of_tables(tmp_path, text):
    folder = tmp_path / "demo"
    folder.mkdir()
    content = text if isinstance(text, bytes) else text.encode()
    (folder / "phantom.json").write_bytes(content)
    with pytest.raises(UsageError, match="cannot be read"):
        prepare(folder, CORONAL)
    assert not is_of_phantom(folder)
    assert (folder / "phantom.json").read_bytes() == content


@pytest.mark.parametrize(
    "wrong",
    [
        {"progressors": 0.0},
        {"jsn_auc": 1.0},
        {"pain_auc": 0.4},
        {"patients": 0},
        {"matrix": 8},
        {"sequences": ("ax-t1",)},
        {"form": "xlsx"},
    ],
)
def test_settings_out_of_range_are_usage_errors_and_write_nothing(tmp_path, wrong):
    with pytest.raises(UsageError):
        prepare(tmp_path / "demo", replace(CORONAL, **wrong))
    assert not (tmp_path / "demo").exists()


def test_the_settings_are_on_record_and_say_synthetic(release):
    folder, _ = release
    record = json.loads((folder / "phantom.json").read_text())
    assert record["synthetic"] is True
    assert record["settings"]["seed"] == 5 and record["settings"]["jsn_auc"] == 0.95
