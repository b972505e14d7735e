"""Training and predicting with feature files of other programs, whose making nobody recorded."""

import h5py
import pytest
import torch

from oatools.core.errors import UsageError
from oatools.explain.knee import backbone_of
from oatools.features.featurefile import read_features
from oatools.learning.files import load_model

from .conftest import CV, TRAIN, rewrite

CAUTION = "features whose making is not recorded"


def in_clams_layout(path, features):
    """mahmoodlab/CLAM, utils/file_utils.py (save_hdf5)."""
    with h5py.File(path, "w") as file:
        file.create_dataset("features", data=features, chunks=(32, 32), maxshape=(None, 32))
        file.create_dataset("coords", data=[[0, i] for i in range(len(features))], dtype="i4")


@pytest.fixture
def others(study, tmp_path):
    """The knees of `study`, with their features in CLAM's files (`h5`) or as tensors (`pt`)."""

    def write(extension, **options):
        features = study(**options)

        def change(row):
            path = tmp_path / row["path"]
            path.unlink()
            row["path"] = row["path"].replace(".h5", f".{extension}")
            if extension == "pt":
                torch.save(torch.from_numpy(features[row["knee"]]), tmp_path / row["path"])
            else:
                in_clams_layout(tmp_path / row["path"], features[row["knee"]])

        rewrite(tmp_path / "features.tsv", change)
        return features

    return write


def test_a_model_of_others_features_says_so_and_predicts(run, others, tmp_path):
    others("pt", knees=40)
    said = run(TRAIN).stderr
    assert said.count(CAUTION) == 1 and "digest" not in said
    predicted = run("oa-predict m.safetensors features.tsv")
    assert predicted.stderr.count(CAUTION) == 1 and "digest" not in predicted.stderr
    assert len(predicted.stdout.splitlines()) == 41
    model = load_model(tmp_path / "m.safetensors")
    assert [caution.value for caution in model.cautions] == [CAUTION]
    with pytest.raises(UsageError, match="making is not recorded, so none can be made of a volume"):
        backbone_of(model)
    # The path alone names the knee.
    name = next(iter((tmp_path / "features").iterdir())).name
    alone = run(f"oa-predict m.safetensors features/{name} --any-sequence").stdout.splitlines()
    assert alone[1].split("\t")[0] == name.rsplit("_", 1)[0]


def test_the_numbers_are_those_of_the_same_features_in_our_files(run, others, study, tmp_path):
    study(knees=40)
    ours = run(f"{CV} -o a").stdout
    others("h5", knees=40)
    theirs = run(f"{CV} -o b").stdout

    def probabilities(table):
        header, *lines = table.splitlines()
        place = header.split("\t").index("probability")
        return [line.split("\t")[place] for line in lines]

    assert probabilities(ours) == probabilities(theirs) and len(probabilities(ours)) == 40
    report = (tmp_path / "b" / "report.html").read_text()
    assert (
        CAUTION.upper() in report
        and CAUTION.upper() not in (tmp_path / "a/report.html").read_text()
    )
    assert CAUTION.upper() in (tmp_path / "b" / "model-card.md").read_text()


def test_they_are_not_mixed_with_ours_nor_with_another_width(run, others, study, tmp_path):
    others("h5", knees=40)
    theirs = tmp_path / "features" / "9000000_00m_right_cor-iw-tse.h5"
    kept = theirs.read_bytes()
    study(knees=40)
    theirs.write_bytes(kept)
    said = run(TRAIN, status=2).stderr
    assert "of one it is recorded how they were made, of the other not" in said
    others("h5", knees=40)
    in_clams_layout(theirs, torch.ones(4, 32).numpy()[:, :16].repeat(1, 0) * [[1], [2], [3], [4]])
    assert "32 a slice, not 16" in run(TRAIN, status=2).stderr


def test_a_model_of_ours_refuses_theirs(run, others, study, tmp_path):
    study(knees=40)
    run(TRAIN)
    others("pt", knees=40)
    said = run("oa-predict m.safetensors features.tsv", status=1).stderr
    assert "does not hold the features that the model was trained on: of one it is recorded" in said
    assert read_features(next((tmp_path / "features").glob("*.pt"))).features.shape[1] == 32
