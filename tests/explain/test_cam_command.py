"""oa-cam from scans as they come to maps that lie on them."""

import csv
import dataclasses
import io
import json
from pathlib import Path

import nibabel
import numpy as np
import pytest
import SimpleITK
from click.testing import CliRunner

from oatools.commands import cam, embed, n4, orient
from oatools.core.errors import ItemError
from oatools.core.provenance import Caution, Provenance
from oatools.explain.explanation import explain_volume
from oatools.explain.mean import onto
from oatools.features.backbone_record import Weights
from oatools.features.featurefile import feature_space, read_features
from oatools.imaging.volume import Volume, read_volume, write_volume
from oatools.learning.cohort import make_cohort
from oatools.learning.files import load_model, save_model
from oatools.learning.hazard import Hazards
from oatools.learning.settings import Settings
from oatools.learning.training import fit
from oatools.phantom import anatomy, rendering, series

SCANS = {
    "9000000_00m_left": (95.0, 2.0),
    "9000000_00m_right": (95.0, -3.0),
    "9000002_00m_right": (90.0, 5.0),
}


def call(command, *words, given=None):
    return CliRunner().invoke(command.main, [str(w) for w in words], input=given)


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Scans in scanner order, oriented, corrected and embedded; models of one and two sequences."""
    folder = tmp_path_factory.mktemp("cam")
    lines = ["knee\tsubject\tvisit\tside\tsequence\tpath\tlabel\tbmi"]
    for n, (knee, (x, turn)) in enumerate(SCANS.items()):
        side = knee.split("_")[2]
        made = anatomy.random_knee(np.random.default_rng(n), side)
        for sequence in ("cor-iw-tse", "sag-iw-tse"):
            shape, affine = series.grid(series.SEQUENCES[sequence], 48, side, (x, 0.0, 0.0), turn)
            path = folder / "scans" / f"{knee}_{sequence}.nii.gz"
            path.parent.mkdir(exist_ok=True)
            write_volume(path, Volume(rendering.render(made, shape, affine, "iw"), affine))
            identity = knee.replace("_", "\t")
            lines.append(f"{knee}\t{identity}\t{sequence}\t{path}\t{n % 2}\t{27 + n}")
    table = "\n".join(lines) + "\n"
    for command, out in ((orient, "oriented"), (n4, "n4")):
        done = call(command, "-o", folder / out, given=table)
        assert done.exit_code == 0, done.stderr
        table = done.stdout
    (folder / "n4.tsv").write_text(table)
    random = ["--backbone", "mobilenetv2_100", "--weights", "random", "--slices", "6"]
    done = call(embed, "-o", folder / "features", *random, given=table)
    assert done.exit_code == 0, done.stderr
    (folder / "features.tsv").write_text(done.stdout)
    rows = rows_of(done.stdout)
    save(folder / "one.safetensors", rows, ())
    save(folder / "two.safetensors", rows, ("cor-iw-tse", "sag-iw-tse"))
    return folder


def save(path, rows, joined, **parts):
    """A model trained on noise in the range of the features, with the record of the real ones.

    It is a network alone, unless other `parts` are given.
    """
    found = read_features(Path(rows[0]["path"]))
    random = np.random.default_rng(0)
    count, size = 40, 12 if joined else 6
    names = [f"{9100000 + i}_00m_left" for i in range(count)]
    label = np.arange(count) % 2
    features = [
        random.normal(found.features.mean(), found.features.std(), (size, 1280)).astype(np.float32)
        for _ in names
    ]
    for values, y in zip(features, label, strict=True):
        values[:, :40] += 2 * y * found.features.std()
    more = {"extents": [(6, 6)] * count, "joined": joined} if joined else {}
    data = make_cohort(
        names,
        [name.split("_")[0] for name in names],
        label,
        features,
        random.normal(28, 4, (count, 1)),
        ["bmi"],
        space=feature_space(found.provenance),
        steps=Provenance.from_fields(found.provenance).preparation(),
        weights=Weights.from_provenance(found.provenance),
        cautions=(Caution.RANDOM_WEIGHTS,),
        **more,
    )
    parts = parts or {"linear": (), "inner": "single"}
    settings = Settings(slices=4, conv=8, units=8, hidden=8, epochs=8, learning_rate=3e-3, **parts)
    model = fit(data, settings, 0)
    save_model(path, model, endpoint="jsn12", sequences=["cor-iw-tse"])


def coronal(folder):
    header, *lines = (folder / "n4.tsv").read_text().splitlines()
    return "\n".join([header, *(n for n in lines if "cor-iw-tse" in n)]) + "\n"


def explain(folder, out, *words, model="one", given=None):
    """Call oa-cam with the model `one` or `two`, by default on the coronal volumes."""
    given = coronal(folder) if given is None else given
    return call(cam, folder / f"{model}.safetensors", "-o", folder / out, *words, given=given)


def test_the_map_lies_on_the_scan_as_it_came_from_the_scanner_voxel_by_voxel(folder):
    """Right knees are mirrored on the way, and SimpleITK, which knows nothing of that, agrees."""
    given = coronal(folder)
    maps = {}
    for grid in ("scan", "input"):
        done = explain(folder, grid, "--grid", grid, "--class", "1", given=given)
        assert done.exit_code == 0, done.stderr
        maps[grid] = {r["knee"]: r["heat"] for r in rows_of(done.stdout)}
    for knee in SCANS:
        scan = SimpleITK.ReadImage(str(folder / "scans" / f"{knee}_cor-iw-tse.nii.gz"))
        on_scan, on_input = (SimpleITK.ReadImage(maps[grid][knee]) for grid in ("scan", "input"))
        assert on_scan.GetSize() == scan.GetSize()
        np.testing.assert_allclose(on_scan.GetOrigin(), scan.GetOrigin(), atol=1e-3)
        np.testing.assert_allclose(on_scan.GetDirection(), scan.GetDirection(), atol=1e-6)
        laid = SimpleITK.Resample(
            on_input, scan, SimpleITK.Transform(), SimpleITK.sitkNearestNeighbor
        )
        values = SimpleITK.GetArrayFromImage(on_scan)
        assert values.max() > 0
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(laid), values)
        if knee.endswith("right"):  # the voxels of the input are truly mirrored
            arrays = (np.asarray(nibabel.load(maps[g][knee]).dataobj) for g in ("scan", "input"))
            assert not np.array_equal(*arrays)


def test_equal_shares_of_a_model_of_linear_parts_are_not_shown_as_attention(folder):
    rows = rows_of((folder / "features.tsv").read_text())
    save(folder / "plain.safetensors", rows, (), network=False)
    assert not load_model(str(folder / "plain.safetensors")).has_attention
    assert load_model(str(folder / "one.safetensors")).has_attention
    done = explain(folder, "plain", model="plain")
    assert done.exit_code == 0, done.stderr
    row = rows_of(done.stdout)[0]
    said = json.loads(Path(row["heat"].replace(".nii.gz", ".json")).read_text())
    assert said["Attention"] == []
    assert any("takes all slices alike and has no attention" in note for note in said["Notes"])
    slices = rows_of(Path(row["heat"].replace(".nii.gz", ".tsv")).read_text())
    assert {each["attention"] for each in slices} == {"n/a"}


def test_every_output_tells_the_same_story(folder):
    out = folder / "story"
    done = explain(folder, "story", "--grid", "input")
    for row in rows_of(done.stdout):
        stem = f"{row['knee']}_cor-iw-tse"
        heat = np.asarray(nibabel.load(row["heat"]).dataobj)
        header = nibabel.load(row["heat"]).header
        assert header.get_intent() == ("estimate", (), "gradcam")
        assert header["cal_max"] == heat.max() and header["cal_min"] == pytest.approx(
            heat.max() / 10
        )
        assert row["volume"] == str(folder / "n4" / f"{stem}.nii.gz")
        slices = rows_of((out / f"{stem}.tsv").read_text())
        said = json.loads((out / f"{stem}.json").read_text())
        assert [int(r["slice"]) for r in slices] == list(range(1, heat.shape[2] + 1))
        np.testing.assert_allclose(
            [float(r["attention"]) for r in slices], said["Attention"], atol=1e-6
        )
        np.testing.assert_allclose(
            [float(r["heat_max"]) for r in slices], heat.max(axis=(0, 1)), rtol=1e-4
        )
        np.testing.assert_allclose(
            [float(r["heat_mean"]) for r in slices], heat.mean(axis=(0, 1)), rtol=1e-4
        )
        assert sum(said["Attention"]) == pytest.approx(1, abs=1e-4)
        assert int(row["hottest_slice"]) - 1 == heat.max(axis=(0, 1)).argmax()
        assert float(row["probability"]) == pytest.approx(said["Probability"], abs=1e-6)
        assert Path(row["path"]).read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
        assert any("bmi 2" in note for note in said["Notes"])
        assert f"model's threshold {said['Threshold']:.2f}" in said["Notes"][0]
        assert any("random weights" in note for note in said["Notes"])
    again = explain(folder, "story", "--grid", "input")
    assert again.stdout == done.stdout
    assert "3 kept" in again.stderr
    assert again.stderr.count("trained on features from random weights") == 1
    other = explain(folder, "story", "--method", "hirescam")
    assert other.exit_code == 1 and "with other settings" in other.stderr


def test_a_model_of_follow_up_tells_the_risk_within_the_time_that_is_asked_for(folder):
    """Hazards of a score of 0 are given by hand; the map is that of the same model of classes."""
    of_classes = load_model(folder / "one.safetensors")
    hazards = Hazards(np.array([12.0, 96.0]), np.array([0.01, 0.002]))
    model = dataclasses.replace(of_classes, hazards=hazards)
    save_model(folder / "timed.safetensors", model, endpoint="tkr-until96m")
    risks = {}
    for words, months, cumulative in (
        (("--at", "24m"), 24, 0.12 + 12 * 0.002),
        ((), 96, 0.12 + 84 * 0.002),
    ):
        out = f"timed-{months}"
        done = explain(folder, out, "--grid", "input", *words, model="timed")
        assert done.exit_code == 0, done.stderr
        for row in rows_of(done.stdout):
            said = json.loads((folder / out / f"{row['knee']}_cor-iw-tse.json").read_text())
            assert said["WithinMonths"] == months and "Threshold" not in said
            assert "log hazard" in said["Description"]
            told = said["Notes"][0]
            assert told.startswith("tkr-until96m: risk ") and f"within {months} months" in told
            # The score that this risk is that of.
            score = np.log(-np.log1p(-float(row["probability"])) / cumulative)
            risks.setdefault(row["knee"], []).append((score, row["heat"]))
    again = explain(folder, "timed-24", "--grid", "input", "--at", "24m", model="timed")
    assert "3 kept" in again.stderr
    other = explain(folder, "timed-24", "--grid", "input", "--at", "36m", model="timed")
    assert other.exit_code == 1 and "with other settings (at 24.0, not 36.0)" in other.stderr
    plain = explain(folder, "untimed", "--grid", "input")
    for row in rows_of(plain.stdout):
        (one, near), (two, far) = risks[row["knee"]]
        odds = np.log(float(row["probability"]) / (1 - float(row["probability"])))
        assert one == pytest.approx(two, abs=1e-3) and one == pytest.approx(odds, abs=1e-3)
        maps = [np.asarray(nibabel.load(path).dataobj) for path in (row["heat"], near, far)]
        np.testing.assert_array_equal(maps[0], maps[1])
        np.testing.assert_array_equal(maps[0], maps[2])
    for words, said in (
        (("--at", "120m"), "has learnt of 96 months, and not of 120; give --at earlier times"),
        (("--at", "12m,24m"), "names 2 times; one is asked for"),
    ):
        done = explain(folder, "no", *words, model="timed")
        assert done.exit_code == 2 and said in done.stderr
    done = explain(folder, "no", "--at", "12m")
    assert done.exit_code == 2 and "two classes apart, and no times" in done.stderr
    table = coronal(folder).replace("\tlabel\t", "\tevent\t")
    done = explain(folder, "timed-mean", "--mean", model="timed", given=table)
    assert (folder / "timed-mean/mean/cor-iw-tse_label-1.nii.gz").exists(), done.stderr


def test_a_missing_clinical_variable_is_imputed_and_the_picture_says_so(folder):
    (folder / "clinical.tsv").write_text("knee\tbmi\n9000000_00m_left\tn/a\n")
    done = explain(folder, "imputed", "--with-clinical", folder / "clinical.tsv")
    assert done.exit_code == 0
    for knee in SCANS:  # n/a, or not in the table at all
        said = json.loads((folder / "imputed" / f"{knee}_cor-iw-tse.json").read_text())
        assert any("bmi missing, imputed as" in note for note in said["Notes"])
    assert "'bmi' is missing in 3 rows: the model's median was put in" in done.stderr


def test_volumes_that_were_prepared_otherwise_are_refused_and_unknown_ones_named(folder):
    oriented = coronal(folder).replace("/n4/", "/oriented/")
    done = explain(folder, "other", given=oriented)
    assert done.exit_code == 1
    oriented_alone = "went through oa-orient --reference left, and the model's volumes through "
    assert f"{oriented_alone}oa-orient --reference left, oa-n4" in done.stderr
    bare = folder / "bare" / "9000000_00m_left_cor-iw-tse.nii.gz"
    bare.parent.mkdir()
    bare.write_bytes((folder / "n4" / bare.name).read_bytes())
    done = explain(folder, "other", bare, given="")
    assert done.exit_code == 0
    assert f"nothing is known of how {bare.name} was prepared" in done.stderr


def test_features_in_place_of_a_volume_are_named(folder):
    features = folder / "features" / "9000000_00m_left_cor-iw-tse.h5"
    done = explain(folder, "", features, given="")
    assert done.exit_code == 1
    assert "holds features; give the volume that they were made from" in done.stderr


def test_a_sequence_that_the_model_was_not_trained_on_is_refused_unless_it_is_insisted_on(folder):
    first, second, *rest = coronal(folder).splitlines(keepends=True)
    other = "".join([first, second, *(n.replace("cor-iw-tse\t", "hr-cor-stir\t") for n in rest)])
    done = explain(folder, "refused", given=other)
    assert done.exit_code == 1
    assert [row["knee"] for row in rows_of(done.stdout)] == ["9000000_00m_left"]
    assert (
        "oa-cam: 9000000_00m_right hr-cor-stir: sequence hr-cor-stir, and the model was trained on "
        "cor-iw-tse; give images of that, or insist with --any-sequence\n"
    ) in done.stderr
    assert not list((folder / "refused").glob("*stir*"))
    insisted = explain(folder, "refused", "--any-sequence", given=other)
    assert insisted.exit_code == 0 and "2 done, 1 kept" in insisted.stderr
    line = "oa-cam: 2 rows: sequence hr-cor-stir, and the model was trained on cor-iw-tse\n"
    assert insisted.stderr.count("was trained on cor") == insisted.stderr.count(line) == 1
    kept = explain(folder, "refused", "--any-sequence", given=other)
    assert "3 kept" in kept.stderr and kept.stderr.count(line) == 1
    # What was made when somebody insisted is no way round for others.
    again = explain(folder, "refused", given=other)
    assert again.exit_code == 1 and "1 kept, 2 failed" in again.stderr


@pytest.mark.parametrize(
    ("said", "status", "message"),
    [
        (
            {"Sequence": "sag-3d-dess"},
            1,
            "sequence sag-3d-dess, and the model was trained on cor-iw",
        ),
        ({"Sequence": "COR-IW-TSE"}, 0, ""),
        ({}, 0, "1 row: the sequence is not known, and was not compared with the model's"),
    ],
)
def test_a_bare_path_is_of_the_sequence_that_its_sidecar_names(folder, said, status, message):
    knee = folder / "n4" / "9000000_00m_left_cor-iw-tse"
    fields = json.loads(knee.with_suffix(".json").read_text())
    fields.pop("Sequence", None)
    bare = folder / f"scan{len(message)}"
    bare.with_suffix(".nii.gz").write_bytes(Path(f"{knee}.nii.gz").read_bytes())
    bare.with_suffix(".json").write_text(json.dumps(fields | said))
    done = explain(folder, bare.name, bare.with_suffix(".nii.gz"), given="")
    assert done.exit_code == status and message in done.stderr, done.stderr
    turned = fields["OatoolsSteps"][0]["parameters"]
    assert turned["plane"] == "coronal"
    turned["plane"] = "sagittal"
    bare.with_suffix(".json").write_text(json.dumps(fields))
    done = explain(folder, bare.name, bare.with_suffix(".nii.gz"), "--force", given="")
    assert done.exit_code == 1
    assert "plane sagittal, and the model was trained on cor-iw-tse" in done.stderr


def test_from_python_a_volume_of_another_sequence_is_refused_where_it_is_said(folder):
    model = load_model(folder / "one.safetensors")
    volume = read_volume(folder / "n4" / "9000000_00m_left_cor-iw-tse.nii.gz")
    with pytest.raises(ItemError, match="insist with any_sequence"):
        explain_volume(model, volume, sequence="sag-3d-dess")
    insisted = explain_volume(model, volume, sequence="sag-3d-dess", any_sequence=True)
    assert insisted.probability == explain_volume(model, volume, sequence="cor-iw-tse").probability


def test_a_picture_says_that_its_model_was_trained_on_another_sequence(folder):
    other = coronal(folder).replace("cor-iw-tse\t", "cor-t1\t")
    explain(folder, "unlike", "--any-sequence", given=other)
    said = json.loads((folder / "unlike" / "9000000_00m_left_cor-t1.json").read_text())
    assert "Sequence cor-t1, and the model was trained on cor-iw-tse." in said["Notes"]


def test_a_joined_model_explains_each_sequence_of_a_knee_in_the_light_of_the_other(folder):
    out = folder / "joined"
    both = (folder / "n4.tsv").read_text()
    done = explain(folder, "joined", "--grid", "input", model="two", given=both)
    assert done.exit_code == 0, done.stderr
    rows = rows_of(done.stdout)
    assert [r["knee"] for r in rows] == list(SCANS)
    for row in rows:
        assert row["sequence"] == "cor-iw-tse+sag-iw-tse"
        own = f"{row['knee']}_sag-iw-tse"
        assert Path(row["path:sag-iw-tse"]).name == f"{own}.png"
        assert Path(row["heat:sag-iw-tse"]).name == f"{own}.nii.gz"
        said = [
            json.loads((out / f"{row['knee']}_{s}.json").read_text())
            for s in ("cor-iw-tse", "sag-iw-tse")
        ]
        assert (
            said[0]["Probability"]
            == said[1]["Probability"]
            == pytest.approx(float(row["probability"]), abs=1e-6)
        )
        for sequence, each in zip(("cor-iw-tse", "sag-iw-tse"), said, strict=True):
            volume = nibabel.load(folder / "n4" / f"{row['knee']}_{sequence}.nii.gz")
            assert len(each["Attention"]) == volume.shape[2]
            assert sum(each["Attention"]) == pytest.approx(1, abs=1e-4)
            assert nibabel.load(out / f"{row['knee']}_{sequence}.nii.gz").shape == volume.shape
    again = explain(folder, "joined", "--grid", "input", model="two", given=both)
    assert again.stdout == done.stdout and "3 kept" in again.stderr
    lacking = explain(folder, "joined", model="two")
    assert lacking.exit_code == 1
    assert "no row of sequence sag-iw-tse" in lacking.stderr


def test_the_mean_is_that_of_the_maps_by_label_wherever_their_voxels_lie(folder):
    means = {}
    for grid in ("scan", "input"):
        out = folder / f"mean-{grid}"
        done = explain(folder, f"mean-{grid}", "--mean", "--grid", grid)
        assert done.exit_code == 0, done.stderr
        names = {
            p.name.split("_")[-1].removesuffix(".nii.gz") for p in (out / "mean").glob("*.nii.gz")
        }
        assert names == {"label-0", "label-1", "difference", "anatomy"}
        means[grid] = {
            n: np.asarray(nibabel.load(out / "mean" / f"cor-iw-tse_{n}.nii.gz").dataobj)
            for n in names
        }
    heat = [
        np.asarray(nibabel.load(folder / "mean-input" / f"{k}_cor-iw-tse.nii.gz").dataobj)
        for k in SCANS
    ]
    np.testing.assert_allclose(means["input"]["label-0"], (heat[0] + heat[2]) / 2, atol=1e-6)
    np.testing.assert_allclose(means["input"]["label-1"], heat[1], atol=1e-6)
    np.testing.assert_allclose(
        means["input"]["difference"], heat[1] - (heat[0] + heat[2]) / 2, atol=1e-6
    )
    for name, data in means["scan"].items():
        np.testing.assert_allclose(data, means["input"][name], atol=1e-6)
    assert (folder / "mean-scan" / "mean" / "cor-iw-tse.png").exists()


def test_a_grid_of_another_spacing_keeps_the_centre_and_the_millimetres():
    data = np.zeros((21, 21, 11))
    data[10, 10, 5], data[16, 10, 5] = 1, 2  # the centre, and 6 mm beside it
    placed = onto(data, np.array([1.0, 1, 3]), (15, 15, 5), np.array([2.0, 2, 3]))
    assert placed[7, 7, 2] == pytest.approx(1)
    assert placed[10, 7, 2] == pytest.approx(2)


def test_faithfulness_is_measured_where_it_is_asked_for(folder):
    given = "\n".join(coronal(folder).splitlines()[:2]) + "\n"
    done = explain(folder, "faith", "--faithfulness", given=given)
    assert done.exit_code == 0, done.stderr
    (row,) = rows_of(done.stdout)
    for name in ("deletion", "deletion_chance", "insertion", "insertion_chance"):
        assert 0 <= float(row[name]) <= 1
    assert -1 <= float(row["randomised"]) < 0.9
