"""A model knows of which sequence it is, and refuses others unless somebody insists."""

import json
from types import SimpleNamespace

import h5py
import pytest

from oatools.core.errors import ItemError, UsageError
from oatools.learning.files import read_record
from oatools.learning.load import load_cohort
from oatools.learning.rows import score_row
from oatools.learning.sequences import ImageKind, check_kind, image_kind, several

from ..conftest import rewrite_attributes

FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"
TRAIN = f"oa-train features.tsv --labels labels.tsv {FAST} -o m.safetensors"
REFUSED = "give images of that, or insist with --any-sequence"


@pytest.fixture
def features(study, tmp_path):
    """Write features of 40 knees; returns how to change the sequence of all rows after the first."""
    study(knees=40)
    path = tmp_path / "features.tsv"
    text = path.read_text()

    def change(to, after=1, name="other.tsv"):
        header, *lines = text.splitlines()
        lines[after:] = [n.replace("\tcor-iw-tse\t", f"\t{to}\t") for n in lines[after:]]
        (tmp_path / name).write_text("\n".join([header, *lines]) + "\n")

    return change


@pytest.mark.parametrize("sequence", ["hr-cor-stir", "sag-3d-dess"])
@pytest.mark.parametrize("jobs", ["", "-j 2"])
def test_rows_of_another_sequence_fail_one_by_one(features, run, rows, sequence, jobs):
    run(TRAIN)
    features(sequence, after=37)
    done = run(f"oa-predict m.safetensors other.tsv {jobs} --failed failed.tsv", status=1)
    assert len(rows(done.stdout)) == 37
    said = [line for line in done.stderr.splitlines() if "was trained on cor" in line]
    assert said == [
        f"oa-predict: 90000{n}_00m_{side} {sequence}: sequence {sequence}, and the model was trained "
        f"on cor-iw-tse; {REFUSED}"
        for n, side in ((18, "left"), (19, "right"), (19, "left"))
    ]


@pytest.mark.parametrize("jobs", ["", "-j 2"])
def test_who_insists_gets_them_scored_and_is_told_once_how_many(features, run, rows, jobs):
    run(TRAIN)
    plain = run("oa-predict m.safetensors features.tsv").stdout
    features("sag-3d-dess", after=37)
    done = run(f"oa-predict m.safetensors other.tsv --any-sequence {jobs}")
    assert done.stdout == (plain[: plain.index("9000018_00m_left")]) + plain[
        plain.index("9000018_00m_left") :
    ].replace("\tcor-iw-tse\t", "\tsag-3d-dess\t")
    assert done.stderr.count("was trained on cor") == 1
    assert (
        "oa-predict: 3 rows: sequence sag-3d-dess, and the model was trained on cor-iw-tse\n"
        in (done.stderr)
    )


def test_a_sequence_in_other_letters_is_the_same(features, run):
    run(TRAIN)
    features("COR-IW-TSE ")
    assert "rows: sequence" not in run("oa-predict m.safetensors other.tsv").stderr


@pytest.mark.parametrize(
    ("recorded", "status", "said"),
    [
        ({"sequence": "sag-3d-dess"}, 1, f"sequence sag-3d-dess, and the model was trained on cor-iw-tse; {REFUSED}"),
        ({"sequence": "cor-iw-tse"}, 0, ""),
        ({}, 0, "1 row: the sequence is not known, and was not compared with the model's"),
        ("sagittal", 1, f"plane sagittal, and the model was trained on cor-iw-tse; {REFUSED}"),
        ("coronal", 0, "1 row: the sequence is not known, and was not compared with the model's"),
    ],
)  # fmt: skip
def test_a_bare_path_is_of_the_kind_that_its_file_records(
    features, run, rows, tmp_path, recorded, status, said
):
    run(TRAIN)
    path = tmp_path / "scan17.h5"
    (tmp_path / "features/9000000_00m_left_cor-iw-tse.h5").rename(path)
    if isinstance(recorded, str):  # the plane that oa-orient found
        step = {"tool": "oa-orient", "parameters": {"reference": "left", "plane": recorded}}
        with h5py.File(path) as file:
            steps = json.loads(file.attrs["OatoolsSteps"])
        recorded = {"OatoolsSteps": json.dumps([step, *steps])}
    rewrite_attributes(path, **recorded)
    done = run("oa-predict m.safetensors scan17.h5", status)
    assert len(rows(done.stdout)) == 1 - status
    assert said in done.stderr and ("sequence" in done.stderr) == bool(said)
    insisted = run("oa-predict m.safetensors scan17.h5 --any-sequence")
    assert len(rows(insisted.stdout)) == 1


def test_a_model_of_no_known_sequence_says_so_once_and_scores_all(features, run, rows):
    features("n/a", after=0, name="features.tsv")
    done = run(TRAIN)
    assert "the sequence of 40 of 40 knees is not known: name it in the column" in done.stderr
    features("sag-3d-dess")
    done = run("oa-predict m.safetensors other.tsv")
    assert len(rows(done.stdout)) == 40
    assert (
        "oa-predict: 40 rows: the model does not say of which sequence it is, so that none was "
        "compared\n"
    ) in done.stderr


def test_a_model_records_the_sequence_of_the_files_where_the_table_has_none(
    features, run, tmp_path
):
    features("n/a", after=0, name="features.tsv")
    for path in (tmp_path / "features").iterdir():
        rewrite_attributes(path, sequence="sag-3d-dess")
    assert "is not known" not in run(TRAIN).stderr
    assert read_record(tmp_path / "m.safetensors")["sequences"] == ["sag-3d-dess"]
    features("cor-iw-tse")
    assert "40 failed" in run("oa-predict m.safetensors other.tsv", status=1).stderr


@pytest.mark.parametrize("command", [TRAIN, f"oa-cv features.tsv -l labels.tsv -o cv {FAST}"])
def test_knees_of_several_sequences_are_trained_on_together_only_if_somebody_insists(
    features, run, tmp_path, command
):
    features("sag-3d-dess", after=30, name="features.tsv")
    done = run(command, status=2)
    assert done.stderr.count("\n") == 1
    assert (
        "features.tsv: the knees are of several sequences (30 of cor-iw-tse, 10 of sag-3d-dess); "
        "choose with --sequence, or train on all with --any-sequence"
    ) in done.stderr
    assert not (tmp_path / "cv").exists() and not (tmp_path / "m.safetensors").exists()
    if command == TRAIN:
        done = run(f"{command} --any-sequence")
        assert (
            "warning: knees of several sequences are taken for one: 30 of cor-iw-tse, 10 of "
            "sag-3d-dess"
        ) in done.stderr
        assert "rows: sequence" not in run("oa-predict m.safetensors features.tsv").stderr
        assert "30 knees of" in run(f"{command} --force --sequence cor-iw-tse").stderr


def test_files_that_record_several_sequences_are_refused_too(features, run, tmp_path):
    features("n/a", after=0, name="features.tsv")
    for n, path in enumerate(sorted((tmp_path / "features").iterdir())):
        rewrite_attributes(path, sequence="sag-3d-dess" if n < 3 else "cor-iw-tse")
    done = run(TRAIN, status=2)
    assert "the feature files: the knees are of several sequences (37 of cor-iw-tse" in done.stderr


def test_from_python_the_same_is_refused(features, run, tmp_path):
    run(TRAIN)
    row = {"knee": "k", "sequence": "sag-3d-dess"}
    row["path"] = str(tmp_path / "features/9000000_00m_left_cor-iw-tse.h5")
    with pytest.raises(ItemError, match="trained on cor-iw-tse; .* insist with any_sequence"):
        score_row(row, "m.safetensors", None)
    done = score_row(row, "m.safetensors", None, any_sequence=True)
    assert done.remarks == ("sequence sag-3d-dess, and the model was trained on cor-iw-tse",)
    features("sag-3d-dess")
    with pytest.raises(UsageError, match="train on all with any_sequence"):
        load_cohort("other.tsv", "labels.tsv")
    assert len(load_cohort("other.tsv", "labels.tsv", any_sequence=True)) == 40


def model(*sequences, joined=()):
    return SimpleNamespace(record={"sequences": list(sequences)}, joined=joined)


@pytest.mark.parametrize(
    ("kind", "known", "passes"),
    [
        (ImageKind("cor-t1"), ["cor-iw-tse", "cor-t1"], True),
        (ImageKind("hr-cor-stir"), ["cor-iw-tse", "n/a"], False),
        (ImageKind(plane="axial"), ["cor-iw-tse", "sag-3d-dess"], False),
        (ImageKind(plane="sagittal"), ["cor-iw-tse", "sag-3d-dess"], True),
        (ImageKind(plane="axial"), ["cor-iw-tse", "localizer"], True),  # of which plane is that?
        (ImageKind(), ["cor-iw-tse"], True),
        (ImageKind("sag-3d-dess"), ["n/a"], True),
    ],
)
def test_a_kind_passes_that_the_model_was_trained_on_or_may_have_been(kind, known, passes):
    if passes:
        check_kind(kind, model(*known))
    else:
        with pytest.raises(ItemError):
            check_kind(kind, model(*known))
    assert check_kind(kind, model(*known, joined=("a", "b"))) == ()


def test_the_column_says_it_before_the_file_does():
    fields = {"Sequence": "sag-3d-dess"}
    assert image_kind({"sequence": "cor-t1"}, fields) == ImageKind("cor-t1", "coronal")
    assert image_kind({"sequence": "n/a"}, fields) == ImageKind("sag-3d-dess", "sagittal")
    assert image_kind({}, {"sequence": "ax-t2"}) == ImageKind("ax-t2", "axial")
    assert image_kind({}, {"Sequence": ["odd"]}) == ImageKind()


def test_unknown_sequences_are_no_mixture():
    assert several(["a", "n/a", "A "]) == "" == several([])
    assert several(["b", "a", "b", "n/a"]) == "1 of a, 2 of b"
