"""Several sequences of one knee, fused after their pooling."""

import csv
import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from click.testing import CliRunner

from oatools.commands import cv, predict, train
from oatools.core.manifest import BadRow
from oatools.features.featurefile import Features, write_features
from oatools.learning.batches import to_tensors
from oatools.learning.cohort import make_cohort
from oatools.learning.files import load_model
from oatools.learning.folds import inner_folds
from oatools.learning.leaks import label_leaks
from oatools.learning.model import FittedModel, Networks, build
from oatools.learning.model import predict as score
from oatools.learning.results import CrossValidation
from oatools.learning.rows import join_rows
from oatools.learning.scaling import fit_clinical
from oatools.learning.settings import Settings, preset
from oatools.report.pictures import attention_pictures

from .conftest import SPACE, fit_on, knee_name

SMALL = [
    "--conv",
    "8",
    "--units",
    "8",
    "--hidden",
    "8",
    "--epochs",
    "25",
    "--learning-rate",
    "0.005",
    "--seed",
    "1",
]
JOINED = ["-s", "cor-iw-tse", "-s", "sag-3d-dess"]


def two(knees=60, channels=12, seed=3, where=(0, 1)):
    """Knees of two sequences: coronal 5 slices or 6, sagittal 9 or 10; a signal in those of `where`."""
    random = np.random.default_rng(seed)
    label = (random.random(knees) < 0.4).astype(int)
    coronal = [random.normal(size=(5 + i % 2, channels)).astype(np.float32) for i in range(knees)]
    sagittal = [
        random.normal(2, 3, size=(9 + i % 2, channels)).astype(np.float32) for i in range(knees)
    ]
    for i, y in enumerate(label):
        coronal[i][2, :3] += 4 * y * (0 in where)
        sagittal[i][3:6, 3:6] += 12 * y * (1 in where)
    return label, coronal, sagittal


def joined_cohort(**options):
    label, coronal, sagittal = two(**options)
    names = [knee_name(i) for i in range(len(label))]
    pairs = list(zip(coronal, sagittal, strict=True))
    return make_cohort(
        names,
        [n.split("_")[0] for n in names],
        label,
        [np.concatenate(p) for p in pairs],
        space=SPACE,
        extents=[tuple(map(len, p)) for p in pairs],
        joined=("cor-iw-tse", "sag-3d-dess"),
    )


@pytest.mark.parametrize("pooling", ["gru", "gated", "max", "transformer"])
@pytest.mark.parametrize("instance", [(), (7,)])
def test_each_sequence_has_a_branch_of_its_own_whatever_lies_beside_it(pooling, instance):
    torch.manual_seed(0)
    settings = Settings(pooling=pooling, instance=instance, conv=5, units=8, hidden=6)
    module = Networks(3, 4, 1, settings, 2)
    module.branches[0].feature_mean.fill_(0.3)
    module.branches[1].feature_sd.fill_(2.0)
    lengths = [(3, 5), (4, 1), (1, 6)]
    knees = [torch.randn(sum(n), 4) for n in lengths]
    padded, mask = torch.full((3, 8, 4), 9.0), torch.zeros(3, 8, dtype=torch.uint8)
    for i, (a, b) in enumerate(lengths):
        padded[i, : a + b] = knees[i]
        mask[i, :a], mask[i, a : a + b] = 1, 2
    clinical = torch.randn(3, 1)
    logits, attention = module(padded, mask, clinical)
    for i, (a, b) in enumerate(lengths):
        vectors, weights = [], []
        for branch, raw in zip(module.branches, (knees[i][:a], knees[i][a:]), strict=True):
            values = ((raw - branch.feature_mean) / branch.feature_sd)[None]
            vector, own = branch(values, torch.ones(1, len(raw), dtype=torch.bool))
            vectors.append(vector)
            weights.append(own[:, 0])
        assert len(logits) == 3 and not torch.equal(logits[0], logits[1])
        for member in range(3):
            joined = torch.cat(
                [*(v[member, 0] for v in vectors), module.clinical_gain * clinical[i]]
            )
            hidden = torch.relu(module.hidden.weight[member] @ joined + module.hidden.bias[member])
            answer = module.output.weight[member] @ hidden + module.output.bias[member]
            torch.testing.assert_close(logits[member, i], answer)
            own = torch.cat([each[member] for each in weights])
            torch.testing.assert_close(attention[member, i, : a + b], own)
            assert not attention[member, i, a + b :].any()
            torch.testing.assert_close(own.sum(), torch.tensor(2.0))


def test_the_window_is_cut_around_the_middle_of_each_sequence():
    torch.manual_seed(0)
    settings = Settings(conv=5, units=8, slices=2)
    model = FittedModel(
        build(settings, 4, 0, 2).eval(), settings, fit_clinical(np.zeros((3, 0)), ()), 0.5
    )
    knee = np.random.default_rng(0).normal(size=(5 + 8, 4)).astype(np.float32)
    whole, (attention,) = score(model, [knee], extents=[(5, 8)])
    cut, _ = score(model, [knee[[1, 2, 8, 9]]], extents=[(2, 2)])
    assert whole == cut
    assert np.flatnonzero(attention).tolist() == [1, 2, 8, 9]


def test_a_cohort_knows_which_slices_are_of_which_sequence():
    data = joined_cohort()
    label, coronal, sagittal = two()
    i = data.knee.index(knee_name(7))
    np.testing.assert_array_equal(data.slices(i, 0), coronal[7])
    np.testing.assert_array_equal(data.slices(i, 1), sagittal[7])
    expected = np.concatenate([coronal[7].mean(axis=0), sagittal[7].mean(axis=0)])
    np.testing.assert_allclose(data.means()[i], expected, rtol=1e-6)
    some = data.take(np.array([i, 3]))
    np.testing.assert_array_equal(some.slices(0, 1), sagittal[7])
    tensors = to_tensors(
        data,
        np.array([i]),
        fit_clinical(np.zeros((1, 0)), ()),
        Networks(1, 12, 0, Settings(), 2),
        "float32",
        data.outcome(np.array([i])),
    )
    assert tensors.take(torch.tensor([0])).mask.tolist() == [
        [1] * len(coronal[7]) + [2] * len(sagittal[7])
    ]
    moved = replace(data, extents=data.extents + np.array([[1, -1]]))
    assert data.digest(np.arange(4)) != moved.digest(np.arange(4))


def test_a_channel_that_gives_the_label_away_is_found_in_the_second_sequence():
    data = joined_cohort()
    assert label_leaks(data) == []
    for i in range(len(data)):
        data.slices(i, 1)[:, 5] += 100.0 * data.label[i]
    assert [leak.name for leak in label_leaks(data)] == ["channel 5 of the features"]


def test_each_sequence_is_scaled_by_its_own_training_slices():
    data = joined_cohort()
    train_index = np.arange(40)
    model = fit_on(data, train_index, preset("paper", conv=4, units=4, hidden=4, epochs=1), 0)
    subjects = [data.subject[i] for i in train_index]
    inner = inner_folds(subjects, data.label[train_index], 0.2, 0) != 1
    for number, branch in enumerate(model.module.networks.branches):
        rows = np.concatenate([data.slices(i, number) for i in train_index[inner]])
        np.testing.assert_allclose(
            branch.feature_mean.numpy(), rows.mean(axis=0), rtol=1e-4, atol=1e-5
        )
        np.testing.assert_allclose(branch.feature_sd.numpy(), rows.std(axis=0), rtol=1e-4)


def test_the_report_shows_the_attention_of_each_sequence_by_itself():
    data = joined_cohort(knees=4)
    weights = []
    for a, b in data.extents:
        weights.append(np.concatenate([np.linspace(0.98, 1.02, a) / a, np.arange(b) / 100]))
    result = CrossValidation(data, np.array([1, 1, 2, 2]), {}, weights, [], 2, 0)
    pictures = attention_pictures(result)
    assert [p.name for p in pictures] == ["attention-cor-iw-tse", "attention-sag-3d-dess"]
    coronal, sagittal = (p.figure.axes[0].lines[0].get_ydata() for p in pictures)
    assert 0.98 / 6 <= min(coronal) <= max(coronal) <= 1.02 / 5
    assert (min(sagittal), max(sagittal)) == pytest.approx((0.0, 0.09), abs=0.01)
    assert (np.diff(sagittal) > 0).all()


@pytest.fixture
def call(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def run(command, *words, given=""):
        return CliRunner().invoke(command.main, [str(w) for w in words], input=given)

    return run


@pytest.fixture
def tables(tmp_path):
    """features.tsv with the rows of both sequences, coronal ones first, and labels.tsv."""

    def write(**options):
        label, *arrays = two(**options)
        lines, labels = ["knee\tsubject\tvisit\tside\tsequence\tpath"], ["knee\tsubject\tlabel"]
        for sequence, features in zip(("cor-iw-tse", "sag-3d-dess"), arrays, strict=True):
            for i, values in enumerate(features):
                path = f"{knee_name(i)}_{sequence}.h5"
                write_features(
                    tmp_path / path, Features(values, np.arange(len(values)) * 1.5, dict(SPACE))
                )
                identity = knee_name(i).replace("_", "\t")
                lines.append(f"{knee_name(i)}\t{identity}\t{sequence}\t{path}")
        labels += [
            f"{knee_name(i)}\t{knee_name(i).split('_')[0]}\t{y}" for i, y in enumerate(label)
        ]
        (tmp_path / "features.tsv").write_text("\n".join(lines) + "\n")
        (tmp_path / "labels.tsv").write_text("\n".join(labels) + "\n")

    return write


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text), delimiter="\t"))


def test_cv_joins_sequences_and_gains_what_only_the_second_one_shows(call, tables, tmp_path):
    tables(where=(1,))
    areas = {}
    for name, sequences in {"one": JOINED[:2], "both": JOINED}.items():
        done = call(
            cv,
            "features.tsv",
            "-l",
            "labels.tsv",
            *sequences,
            *SMALL,
            "-k",
            3,
            "--no-compare",
            "--repeats",
            1,
            "-o",
            name,
        )
        assert done.exit_code == 0, done.stderr
        assert len(rows_of(done.stdout)) == 60
        rows = rows_of((tmp_path / name / "metrics.tsv").read_text())
        areas[name] = next(
            float(r["value"]) for r in rows if (r["scope"], r["metric"]) == ("pooled", "roc_auc")
        )
    assert areas["one"] < 0.75 < 0.9 < areas["both"]
    # Linear parts alone may tell all apart; then there is no attention to show, and the report says so.
    is_shown = (tmp_path / "both" / "attention-sag-3d-dess.png").exists()
    is_without = "No model has networks" in (tmp_path / "both" / "report.html").read_text()
    assert is_shown != is_without
    report = (tmp_path / "both" / "report.html").read_text()
    assert "slices a knee, cor-iw-tse" in report
    assert "9 to 10" in report
    assert "--sequence cor-iw-tse --sequence sag-3d-dess" in report


def test_predict_joins_rows_in_any_order_and_fails_knees_that_lack_a_sequence(
    call, tables, tmp_path
):
    tables()
    done = call(train, "features.tsv", "-l", "labels.tsv", *JOINED, *SMALL, "-o", "m.safetensors")
    assert done.exit_code == 0, done.stderr
    model = load_model("m.safetensors")
    assert model.joined == ("cor-iw-tse", "sag-3d-dess")
    _, coronal, sagittal = two()
    pairs = list(zip(coronal, sagittal, strict=True))
    expected, _ = score(
        model, [np.concatenate(p) for p in pairs], None, [tuple(map(len, p)) for p in pairs]
    )

    header, *lines = (tmp_path / "features.tsv").read_text().splitlines()
    np.random.default_rng(0).shuffle(lines)
    gone = next(n for n in lines if "sag-3d-dess" in n)
    lines.remove(gone)
    lines.append(lines[0].replace("cor-iw-tse", "sag-iw-tse").replace("sag-3d-dess", "sag-iw-tse"))
    done = call(
        predict,
        "m.safetensors",
        "-",
        "--failed",
        "failed.tsv",
        given="\n".join([header, *lines]) + "\n",
    )
    assert done.exit_code == 1
    found = {r["knee"]: r for r in rows_of(done.stdout)}
    lacking = gone.split("\t")[0]
    assert found.keys() == {knee_name(i) for i in range(60)} - {lacking}
    for i, value in enumerate(expected):
        if knee_name(i) != lacking:
            assert found[knee_name(i)]["probability"] == f"{value:.9f}"
            assert found[knee_name(i)]["sequence"] == "cor-iw-tse+sag-3d-dess"
            assert found[knee_name(i)]["path"] == f"{knee_name(i)}_cor-iw-tse.h5"
    assert (
        f"{lacking} cor-iw-tse: no row of sequence sag-3d-dess; the model joins cor-iw-tse and sag-3d-dess"
        in done.stderr
    )
    (failed,) = rows_of((tmp_path / "failed.tsv").read_text())
    assert failed["knee"] == lacking


def test_rows_leave_as_soon_as_they_are_whole_and_a_second_one_is_named():
    def row(knee, sequence):
        return {"knee": knee, "sequence": sequence, "path": f"{knee}-{sequence}"}

    def rows():
        yield row("k1", "a")
        yield row("k2", "b")
        yield row("k1", "b")
        yield row("k1", "a")
        raise AssertionError("the first knee should have left before this row was asked for")

    joined = join_rows(rows(), ["a", "b"])
    first = next(joined)
    assert (first["path"], first["path:b"], first["sequence"]) == ("k1-a", "k1-b", "a+b")
    second = next(joined)
    assert isinstance(second, BadRow)
    assert second.name == "k1"


def test_rows_of_a_knee_are_joined_however_it_is_written():
    written = [("K1 ", "b"), ("k2", "a"), ("k1", "a"), ("K1", "a")]
    rows = [{"knee": k, "sequence": s, "path": f"{k}-{s}"} for k, s in written]
    joined, doubled, lacking = join_rows(rows, ("a", "b"))
    assert (joined["knee"], joined["path"], joined["path:b"]) == ("k1", "k1-a", "K1 -b")
    assert isinstance(doubled, BadRow) and "several rows of sequence a" in doubled.error
    assert (lacking["knee"], lacking["sequence"]) == ("k2", "a")


def test_knees_that_lack_a_sequence_are_counted_and_wrong_names_refused(call, tables, tmp_path):
    tables()
    lines = (tmp_path / "features.tsv").read_text().splitlines()
    (tmp_path / "features.tsv").write_text("\n".join(lines[:-3]) + "\n")
    common = ["features.tsv", "-l", "labels.tsv", *SMALL, "--epochs", 1, "-o", "m.safetensors"]
    done = call(train, *common, *JOINED)
    assert done.exit_code == 0
    assert "57 knees" in done.stderr
    assert "3 without features (of which 3 lack a sequence)" in done.stderr
    for sequences, word in (
        (["-s", "cor-iw-tse", "-s", "cor-iw-tse"], "named twice"),
        ([*JOINED, "-s", "sag-iw-tse"], "no knee has all of cor-iw-tse, sag-3d-dess, sag-iw-tse"),
        ([], "choose with --sequence"),
    ):
        done = call(train, *common, "--force", *sequences)
        assert done.exit_code == 2
        assert word in done.stderr
