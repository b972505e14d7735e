import dataclasses
import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest
from safetensors import safe_open
from safetensors.numpy import save_file
from sklearn.metrics import roc_auc_score

from oatools.commands import cv, predict, train
from oatools.features.featurefile import Features, write_features

from .conftest import MADE

FAST = ["--preset", "paper", "--epochs", "2", "--conv", "8", "--units", "8", "--hidden", "8"]
SPACE = {
    "backbone": "resnet18",
    "weights": "random, seed 0",
    "weights_sha256": "0" * 64,
    "preprocessing": {"size": 224},
}


@pytest.fixture
def call(tmp_path, monkeypatch, capsys):
    """Run a command in the test's folder; returns exit status, standard output and the lines of standard error."""
    monkeypatch.chdir(tmp_path)

    def run(command, *words):
        with pytest.raises(SystemExit) as end:
            command.main.main([str(w) for w in words])
        text = capsys.readouterr()
        assert "Traceback" not in text.err
        return end.value.code, text.out, text.err.splitlines()

    return run


def cross_validate(call, *more, out="cv"):
    return call(
        cv,
        "features.tsv",
        "--labels",
        "labels.tsv",
        "--folds",
        2,
        "--slices",
        8,
        "-o",
        out,
        *FAST,
        *more,
    )


def test_cv_prints_every_knee_once_and_writes_its_folder(call, study, tmp_path, rows):
    knees = study(knees=40)
    status, out, said = cross_validate(call, "--clinical", "bmi,sex", "--repeats", 1)
    assert status == 0 and len(said) < 17
    assert [row["knee"] for row in rows(out)] == list(knees)  # in the order of the features table
    assert out == (tmp_path / "cv/predictions.tsv").read_text()
    assert list(rows(out)[0]) == [
        "knee",
        "subject",
        "visit",
        "side",
        "label",
        "probability",
        "fold",
        "predicted",
        "threshold",
        "caution",
    ]
    assert {row["caution"] for row in rows(out)} == {"random weights"}
    metrics = rows((tmp_path / "cv/metrics.tsv").read_text())
    assert {row["caution"] for row in metrics} == {"random weights"}
    folds = {row["knee"]: row["fold"] for row in rows((tmp_path / "cv/folds.tsv").read_text())}
    assert all(folds[row["knee"]] == row["fold"] for row in rows(out))
    assert any("patients also in other folds: 0" in line for line in said)
    names = {p.name for p in (tmp_path / "cv").iterdir()}
    figures = {
        f"{n}.{s}"
        for n in ("flow", "comparison", "roc", "pr", "confusion", "calibration", "attention")
        for s in ("png", "svg")
    }
    assert {p.name for p in (tmp_path / "cv/images").iterdir()} == {
        "fold-1.safetensors",
        "fold-2.safetensors",
    }
    assert names == figures | {
        "checksums.sha256",
        "images",
        "model-card.md",
        "folds.tsv",
        "metrics.tsv",
        "predictions.tsv",
        "predictions-images.tsv",
        "predictions-images-linear.tsv",
        "predictions-clinical-logistic.tsv",
        "predictions-clinical-boosting.tsv",
        "report.html",
        "fold-1.safetensors",
        "fold-2.safetensors",
    }


def test_cv_metrics_are_tidy_and_hold_the_clinical_baseline_of_the_same_folds(
    call, study, tmp_path, rows
):
    study(knees=40)
    cross_validate(call, "--clinical", "bmi", "--repeats", 1)
    table = rows((tmp_path / "cv/metrics.tsv").read_text())
    models = [
        "images+clinical",
        "images",
        "images linear",
        "clinical logistic",
        "clinical boosting",
    ]
    assert list(dict.fromkeys(row["model"] for row in table)) == models + [
        f"{models[0]} - {m}" for m in models[1:]
    ]
    assert {row["scope"] for row in table} == {
        "fold-1",
        "fold-2",
        "mean",
        "sd",
        "pooled",
        "difference",
    }
    cell = {(r["model"], r["scope"], r["metric"]): r for r in table}
    values = [float(cell["images+clinical", f"fold-{n}", "roc_auc"]["value"]) for n in (1, 2)]
    assert float(cell["images+clinical", "mean", "roc_auc"]["value"]) == pytest.approx(
        np.mean(values), abs=1e-6
    )
    assert float(cell["images+clinical", "sd", "roc_auc"]["value"]) == pytest.approx(
        np.std(values, ddof=1), abs=1e-6
    )
    counted = sum(
        int(cell["clinical logistic", "pooled", m]["value"]) for m in ("tn", "fp", "fn", "tp")
    )
    assert counted == 40
    intervals = {key for key, row in cell.items() if row["ci_low"] != "n/a"}
    # So few knees make boosting say the same of all: 0.5, without an interval.
    assert cell[models[-1], "mean", "roc_auc"]["value"] == "0.500000"
    assert intervals == {(m, "mean", "roc_auc") for m in models[:-1]} | {
        (f"{models[0]} - {m}", "difference", "roc_auc") for m in models[1:]
    }
    for key in intervals:
        low, value, high = (float(cell[key][name]) for name in ("ci_low", "value", "ci_high"))
        assert low < value < high
    apart = float(cell["images+clinical", "mean", "roc_auc"]["value"]) - float(
        cell["images", "mean", "roc_auc"]["value"]
    )
    assert float(
        cell["images+clinical - images", "difference", "roc_auc"]["value"]
    ) == pytest.approx(apart, abs=2e-6)


def test_cv_run_again_keeps_its_models_and_gives_the_same_bytes(call, study, tmp_path):
    study(knees=40)
    _, first, _ = cross_validate(call, "--repeats", 1)
    before = {p.name: p.read_bytes() for p in (tmp_path / "cv").iterdir()}
    status, again, said = cross_validate(call, "--repeats", 1)
    assert status == 0 and again == first and "2 kept" in said[-1]
    assert before == {p.name: p.read_bytes() for p in (tmp_path / "cv").iterdir()}
    _, elsewhere, _ = cross_validate(
        call, "--repeats", 1, "--folds-file", "cv/folds.tsv", out="other"
    )[0:3]
    status, _, said = cross_validate(call, "--seed", 1, "--repeats", 1)
    assert status == 2 and "other folds" in said[-1]
    status, _, said = cross_validate(call, "--seed", 1, "--repeats", 1, "--force")
    assert status == 0


def test_the_order_of_rows_changes_no_fold_and_no_model(call, study, tmp_path, rows):
    study(knees=40)
    _, first, _ = cross_validate(call, "--repeats", 1)
    lines = (tmp_path / "features.tsv").read_text().splitlines()
    shuffled = [lines[0], *np.random.default_rng(0).permutation(lines[1:])]
    (tmp_path / "features.tsv").write_text("\n".join(shuffled) + "\n")
    labels = (tmp_path / "labels.tsv").read_text().splitlines()
    (tmp_path / "labels.tsv").write_text("\n".join([labels[0], *reversed(labels[1:])]) + "\n")
    _, second, _ = cross_validate(call, "--repeats", 1, out="shuffled")
    assert [row["knee"] for row in rows(second)] == [line.split("\t")[0] for line in shuffled[1:]]
    assert sorted(first.splitlines()) == sorted(second.splitlines())
    for name in ("fold-1.safetensors", "fold-2.safetensors", "folds.tsv", "metrics.tsv"):
        assert (tmp_path / "cv" / name).read_bytes() == (tmp_path / "shuffled" / name).read_bytes()


def test_cv_takes_folds_from_a_table_and_refuses_one_that_splits_a_patient(call, study, tmp_path):
    knees = list(study(knees=40))
    lines = [f"{k}\t{1 + (i // 2) % 2}" for i, k in enumerate(knees)]
    (tmp_path / "folds.tsv").write_text("knee\tfold\n" + "\n".join(lines) + "\n")
    words = [
        "features.tsv",
        "--labels",
        "labels.tsv",
        "--folds-file",
        "folds.tsv",
        "--repeats",
        1,
        *FAST,
    ]
    status, out, _ = call(cv, *words, "-o", "good")
    assert status == 0 and out.splitlines()[1].split("\t")[6] == "1"
    lines = [f"{k}\t{1 + i % 2}" for i, k in enumerate(knees)]
    (tmp_path / "folds.tsv").write_text("knee\tfold\n" + "\n".join(lines) + "\n")
    status, out, said = call(cv, *words, "-o", "bad")
    assert (status, out) == (2, "") and "patient 9000000 is in folds" in said[-1]
    assert not (tmp_path / "bad").exists()
    status, _, said = call(cv, *words, "--leaky", "-o", "leaky")
    assert status == 0 and any("for comparison only" in line for line in said)
    assert "LEAKY SPLIT" in (tmp_path / "leaky/report.html").read_text()


def test_knees_left_out_are_counted_by_reason(call, study, tmp_path):
    study(knees=42)
    labels = (tmp_path / "labels.tsv").read_text().splitlines()
    labels[1] = labels[1].replace("\t0\t", "\tn/a\t").replace("\t1\t", "\tn/a\t")
    (tmp_path / "labels.tsv").write_text(
        "\n".join([*labels, "9999999_00m_left\t9999999\t1\tn/a\tmale"]) + "\n"
    )
    status, _, said = call(train, "features.tsv", "-l", "labels.tsv", "-o", "m.safetensors", *FAST)
    assert status == 0
    assert "41 knees of 21 patients used" in said[0]
    assert "1 without label, 1 without features, 0 with unusable features" in said[0]


def test_a_broken_feature_file_leaves_its_knee_out_and_sets_exit_status_1(
    call, study, tmp_path, rows
):
    knees = list(study(knees=40))
    (tmp_path / f"features/{knees[3]}_cor-iw-tse.h5").write_bytes(b"not hdf5")
    words = [
        "features.tsv",
        "-l",
        "labels.tsv",
        "-o",
        "m.safetensors",
        "--failed",
        "failed.tsv",
        *FAST,
    ]
    status, out, said = call(train, *words)
    assert status == 1 and rows(out)[0]["knees"] == "39"
    assert sum(knees[3] in line for line in said) == 1
    failed = rows((tmp_path / "failed.tsv").read_text())
    assert [row["knee"] for row in failed] == [knees[3]] and "readable" in failed[0]["error"]
    status, out, _ = call(train, *words, "--fail-fast", "--force")
    assert (status, out) == (1, "")


def test_train_keeps_a_model_of_the_same_inputs_and_refuses_to_replace_another(
    call, study, tmp_path
):
    study(knees=40)
    words = ["features.tsv", "-l", "labels.tsv", "-c", "bmi", "-o", "m.safetensors", *FAST]
    status, first, _ = call(train, *words)
    assert status == 0
    before = (tmp_path / "m.safetensors").read_bytes()
    status, again, said = call(train, *words)
    assert (status, again) == (0, first) and "kept" in said[-1]
    status, out, said = call(train, *words, "--seed", 1)
    assert (status, out) == (2, "") and "--force" in said[-1]
    assert (tmp_path / "m.safetensors").read_bytes() == before
    status, _, _ = call(train, *words, "--seed", 1, "--force")
    assert status == 0 and (tmp_path / "m.safetensors").read_bytes() != before


@pytest.fixture
def trained(call, study):
    knees = study(knees=40)
    call(
        train,
        "features.tsv",
        "-l",
        "labels.tsv",
        "-c",
        "bmi,sex",
        "--slices",
        8,
        "-o",
        "m.safetensors",
        *FAST,
    )
    return knees


def test_predict_adds_columns_and_gives_each_knee_the_same_in_any_order(
    call, trained, tmp_path, rows
):
    words = ["m.safetensors", "--with-clinical", "labels.tsv"]
    status, out, said = call(predict, *words, "features.tsv")
    assert status == 0 and "40 done" in said[-1]
    assert list(rows(out)[0]) == [
        "knee",
        "subject",
        "visit",
        "side",
        "sequence",
        "path",
        "probability",
        "predicted",
        "caution",
    ]
    assert {r["caution"] for r in rows(out)} == {"random weights, training knees"}
    assert all((float(r["probability"]) > 0) and r["predicted"] in "01" for r in rows(out))
    header, *lines = (tmp_path / "features.tsv").read_text().splitlines()
    (tmp_path / "reversed.tsv").write_text("\n".join([header, *lines[::-1]]) + "\n")
    _, backwards, _ = call(predict, *words, "reversed.tsv")
    assert backwards.splitlines()[:0:-1] == out.splitlines()[1:]


def test_the_page_on_models_names_all_that_is_in_one(trained, tmp_path):
    page = (Path(__file__).parents[2] / "man/src/oa-model.md").read_text()
    with safe_open(tmp_path / "m.safetensors", "numpy") as file:
        record = json.loads(file.metadata()["oatools"])
        tensors = set(file.keys())
    assert {"format", "threshold"} < set(record) <= set(re.findall(r"`(\w+)`", page))
    assert "`format`: {}.".format(record["format"]) in page
    assert {"weights", "intercept"} <= tensors


def test_a_bare_feature_file_has_the_knee_that_it_records(call, trained, tmp_path, rows):
    """A hospital's knee, whose name has no visit and side, is found in the clinical table."""
    said = {"knee": "anon-12ab", "subject": "anon-12ab", "side": "left", "sequence": "cor-iw-tse"}
    numbers = np.random.default_rng(0).normal(size=(8, 32))
    for name in ("anon-12ab_cor-iw-tse", "mine"):
        file = Features(numbers, np.arange(8) * 3.0, {**MADE, **said})
        write_features(tmp_path / f"{name}.h5", file)
    (tmp_path / "table.tsv").write_text("knee\tbmi\tsex\nanon-12ab\t41\tmale\nmine\t20\tmale\n")
    files = ("anon-12ab_cor-iw-tse.h5", "mine.h5")
    status, out, _ = call(predict, "m.safetensors", "--with-clinical", "table.tsv", *files)
    first, second = rows(out)
    assert status == 0 and {name: first[name] for name in said} == said
    assert {name: second[name] for name in said} == {**said, "knee": "mine", "sequence": "n/a"}
    assert first["probability"] != second["probability"]  # each has its own BMI


def test_a_model_that_was_replaced_under_its_name_is_read_anew(call, trained, tmp_path):
    words = ["features.tsv", "-l", "labels.tsv", "-c", "bmi,sex", "--slices", 8, *FAST, "--seed", 5]
    assert call(train, *words, "-o", "other.safetensors")[0] == 0
    _, other, _ = call(predict, "other.safetensors", "features.tsv")
    _, first, _ = call(predict, "m.safetensors", "features.tsv")
    assert first != other
    (tmp_path / "other.safetensors").replace(tmp_path / "m.safetensors")
    assert call(predict, "m.safetensors", "features.tsv")[1] == other


def test_predict_takes_clinical_columns_of_the_rows_and_counts_missing_ones(
    call, trained, tmp_path, rows
):
    clinical = {
        line.split("\t")[0]: line.split("\t")[3:]
        for line in (tmp_path / "labels.tsv").read_text().splitlines()
    }
    lines = [
        f"{line}\t" + "\t".join(clinical[line.split("\t")[0]])
        for line in (tmp_path / "features.tsv").read_text().splitlines()
    ]
    (tmp_path / "joined.tsv").write_text("\n".join(lines) + "\n")
    _, apart, _ = call(predict, "m.safetensors", "features.tsv", "--with-clinical", "labels.tsv")
    _, joined, _ = call(predict, "m.safetensors", "joined.tsv")
    assert [r["probability"] for r in rows(apart)] == [r["probability"] for r in rows(joined)]
    lines[1] = "\t".join([*lines[1].split("\t")[:-2], "n/a", lines[1].split("\t")[-1]])
    (tmp_path / "joined.tsv").write_text("\n".join(lines) + "\n")
    status, _, said = call(predict, "m.safetensors", "joined.tsv")
    assert status == 0 and any("'bmi' is missing in 1 rows" in line for line in said)


def test_a_variable_beyond_all_training_knees_is_taken_for_their_end_and_said(
    call, study, tmp_path, rows
):
    study(knees=60, clinical=4.0)
    words = ["features.tsv", "--labels", "labels.tsv", "--clinical", "bmi", "--no-network"]
    assert call(train, *words, "--linear", "mean", "-o", "m.safetensors")[0] == 0
    header, *lines = (tmp_path / "labels.tsv").read_text().splitlines()
    place = header.split("\t").index("bmi")
    highest = max(float(line.split("\t")[place]) for line in lines)
    found = []
    for bmi in (highest, highest + 250):
        cells = lines[0].split("\t")
        cells[place] = str(bmi)
        (tmp_path / "given.tsv").write_text(
            "\n".join([header, "\t".join(cells), *lines[1:]]) + "\n"
        )
        _, out, said = call(
            predict, "m.safetensors", "features.tsv", "--with-clinical", "given.tsv"
        )
        found.append(next(r["probability"] for r in rows(out) if r["knee"] == cells[0]))
        told = [line for line in said if "beyond that of all training knees" in line]
        assert told == (
            []
            if bmi == highest
            else [
                "oa-predict: 1 row: 'bmi' is beyond that of all training knees: their end is taken"
            ]
        )
    assert found[0] == found[1]


def test_predict_works_on_a_plain_path_and_says_that_clinical_variables_are_imputed(
    call, trained, tmp_path, rows
):
    path = f"features/{next(iter(trained))}_cor-iw-tse.h5"
    status, out, said = call(predict, "m.safetensors", path)
    assert status == 0 and rows(out)[0]["knee"] == next(iter(trained))
    assert any("no column 'bmi', 'sex'" in line for line in said)


def test_predict_refuses_features_of_another_space_one_by_one(call, trained, tmp_path, rows):
    from oatools.features.featurefile import Features, write_features

    odd = next(iter(trained))
    write_features(
        tmp_path / f"features/{odd}_cor-iw-tse.h5",
        Features(np.ones((9, 32), np.float32), np.arange(9.0), SPACE),
    )
    status, out, said = call(
        predict, "m.safetensors", "features.tsv", "--with-clinical", "labels.tsv"
    )
    assert status == 1 and len(rows(out)) == 39
    assert any(odd in line and "backbone resnet18, not efficientnet_b0" in line for line in said)


def test_predict_refuses_a_model_that_is_not_ours(call, trained, tmp_path):
    save_file({"w": np.zeros(3)}, tmp_path / "foreign.safetensors")
    (tmp_path / "pickle.pt").write_bytes(b"\x80\x04.")
    for name in ("foreign.safetensors", "pickle.pt", "absent"):
        status, out, said = call(predict, name, "features.tsv")
        assert (status, out, len(said)) == (2, "", 1) and name in said[0]


def one_class(folder: Path):
    lines = (folder / "labels.tsv").read_text().splitlines()
    cells = [line.split("\t") for line in lines[1:]]
    (folder / "labels.tsv").write_text(
        "\n".join([lines[0], *("\t".join([*c[:2], "0", *c[3:]]) for c in cells)]) + "\n"
    )


def no_overlap(folder: Path):
    (folder / "labels.tsv").write_text("knee\tsubject\tlabel\nother_00m_left\tother\t1\n")


def two_sequences(folder: Path):
    text = (folder / "features.tsv").read_text()
    more = "".join(line + "\n" for line in text.splitlines()[1:]).replace(
        "\tcor-iw-tse\t", "\tsag-iw-tse\t"
    )
    (folder / "features.tsv").write_text(text + more)


def mixed_spaces(folder: Path):
    from oatools.features.featurefile import Features, write_features

    path = sorted((folder / "features").iterdir())[-1]
    write_features(path, Features(np.ones((9, 32), np.float32), np.arange(9.0), SPACE))


def odd_label(folder: Path):
    text = (folder / "labels.tsv").read_text().splitlines()
    text[1] = "\t".join([*text[1].split("\t")[:2], "yes", *text[1].split("\t")[3:]])
    (folder / "labels.tsv").write_text("\n".join(text) + "\n")


def twice(folder: Path):
    text = (folder / "labels.tsv").read_text()
    first = text.splitlines()[1].split("\t")
    (folder / "labels.tsv").write_text(text + "\t".join([*first[:3], "99", *first[4:]]) + "\n")


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (one_class, ["label 0", "both are needed"]),
        (no_overlap, ["9000000_00m_right", "other_00m_left"]),
        (two_sequences, ["9000000_00m_right", "cor-iw-tse, sag-iw-tse", "--sequence"]),
        (mixed_spaces, ["features/", "backbone resnet18, not efficientnet_b0"]),
        (odd_label, ["9000000_00m_right", "'yes'"]),
        (twice, ["9000000_00m_right", "twice"]),
    ],
)
def test_tables_that_cannot_be_used_are_refused_in_one_line(call, study, tmp_path, spoil, words):
    study(knees=20)
    spoil(tmp_path)
    status, out, said = call(cv, "features.tsv", "-l", "labels.tsv", "-o", "cv", *FAST)
    assert (status, out, len(said)) == (2, "", 1)
    assert all(word in said[0] for word in words), said
    assert not (tmp_path / "cv").exists()


@pytest.mark.parametrize(
    ("more", "word"),
    [
        (["--folds", 15], "15 folds need 15 patients"),
        (["--clinical", "height"], "no column 'height'"),
        (["--clinical", "label"], "the label is made from it"),
        (["--kernel", 2], "odd"),
        (["--sequence", "sag-3d-dess"], "there are cor-iw-tse"),
        (["--folds", 3, "--folds-file", "f.tsv"], "exclude each other"),
    ],
)
def test_options_that_cannot_be_used_are_refused(call, study, tmp_path, more, word):
    study(knees=24)
    status, out, said = call(cv, "features.tsv", "-l", "labels.tsv", "-o", "cv", *FAST, *more)
    assert (status, out) == (2, "") and word in said[-1], said


@pytest.mark.parametrize("named", ["pain", "both"])
def test_labels_that_name_their_endpoint_bar_the_variables_they_are_made_from(
    call, study, tmp_path, named
):
    study(knees=24)
    header, *lines = (tmp_path / "labels.tsv").read_text().splitlines()
    ends = ["pain" if named == "pain" or i % 2 else "jsn12" for i in range(len(lines))]
    text = "\n".join(
        [
            f"{header}\twomac_pain\tendpoint",
            *(f"{line}\t3\t{e}" for line, e in zip(lines, ends, strict=True)),
        ]
    )
    (tmp_path / "labels.tsv").write_text(text + "\n")
    status, _, said = call(
        cv, "features.tsv", "-l", "labels.tsv", "-o", "cv", "-c", "womac_pain", *FAST
    )
    expected = (
        "the label is made from it"
        if named == "pain"
        else "labels of several endpoints (jsn12, pain)"
    )
    assert status == 2 and expected in said[-1], said


@pytest.mark.parametrize(
    ("planted", "named"),
    [({"clinical": 1000.0}, "'bmi'"), ({"strength": 1000.0}, "channel 0 of the features")],
)
def test_what_gives_the_label_away_is_refused_unless_it_is_allowed(
    call, study, tmp_path, planted, named
):
    study(knees=60, **planted)
    words = [train, "features.tsv", "-l", "labels.tsv", "-c", "bmi", "-o", "m.safetensors", *FAST]
    status, out, said = call(*words)
    assert (status, out) == (2, "") and f"{named} alone tells the two classes apart" in said[-1]
    assert "go on with --allow-label-leakage" in said[-1]
    for option in ("--allow-label-leakage", "--allow-telltale"):  # the second is its former name
        status, _, said = call(*words, option, "--force")
        assert status == 0 and any(f"warning: {named} alone" in line for line in said)
        renamed = "oa-train: warning: --allow-telltale is now called --allow-label-leakage"
        assert said.count(renamed) == (option == "--allow-telltale")


def add_site(tmp_path):
    """A column site in the labels: E for every fourth patient, A for the others."""
    lines = (tmp_path / "labels.tsv").read_text().splitlines()
    body = [f"{line}\t{'E' if int(line.split(chr(9))[1]) % 4 == 0 else 'A'}" for line in lines[1:]]
    (tmp_path / "labels.tsv").write_text("\n".join([lines[0] + "\tsite", *body]) + "\n")


def test_cv_holds_out_a_site(call, study, tmp_path, rows):
    study(knees=80)
    add_site(tmp_path)
    words = [cv, "features.tsv", "-l", "labels.tsv", "--repeats", 1, *FAST]
    status, out, said = call(*words, "--hold-out", "site=E", "-o", "cv")
    assert status == 0 and any(line.startswith("oa-cv: trained on only: 60 knees") for line in said)
    assert {int(row["subject"]) % 4 for row in rows(out)} == {0} and len(rows(out)) == 20
    page = (tmp_path / "cv/report.html").read_text()
    assert "20 knees held out, 60 trained on" in page and "--hold-out site=E" in page
    for more, word in (
        (["--hold-out", "site=E", "-k", 3], "exclude each other"),
        (["--hold-out", "site=E", "--repeats", 2], "leaves nothing for --repeats"),
        (["--hold-out", "centre=E"], "no column 'centre'"),
        (["--hold-out", "site=X"], "no knees have site 'X'; there are A, E"),
        (["--hold-out", "site"], "is not COLUMN=VALUE"),
        (["--stratify", "centre"], "no column 'centre'"),
    ):
        status, out, said = call(*words, *more, "-o", "bad")
        assert (status, out) == (2, "") and word in said[-1], more


def test_cv_repeats_with_other_folds_and_leaves_the_first_as_it_was(call, study, tmp_path, rows):
    study(knees=60)
    add_site(tmp_path)
    _, first, _ = cross_validate(call, "--repeats", 1, "--stratify", "site")
    status, out, said = cross_validate(call, "--stratify", "site", "--repeats", 3, out="three")
    assert status == 0 and out == first
    table = rows((tmp_path / "three/metrics.tsv").read_text())
    value = {
        row["scope"]: float(row["value"])
        for row in table
        if row["metric"] == "roc_auc" and row["model"] == "images" and row["value"] != "n/a"
    }
    repeats = [value[f"repeat-{n}"] for n in (1, 2, 3)]
    folds = [value["fold-1"], value["fold-2"]]
    assert repeats[0] == pytest.approx(np.mean(folds), abs=1e-6) and len(set(repeats)) == 3
    assert value["mean"] == pytest.approx(np.mean(repeats), abs=1e-6)
    assert value["repeats sd"] == pytest.approx(np.std(repeats, ddof=1), abs=1e-6)
    assert (tmp_path / "three/repeat-2/folds.tsv").read_text() != (
        tmp_path / "three/folds.tsv"
    ).read_text()
    assert any(f"images: ROC AUC {value['mean']:.3f} [" in line for line in said)
    assert any("(mean of 2 folds, 3 times)" in line for line in said)
    assert not any("±" in line for line in said)
    # The baseline is repeated too, in the same folds.
    for number in (1, 2, 3):
        folder = tmp_path / "three" / ("" if number == 1 else f"repeat-{number}")
        own, other = (
            rows((folder / name).read_text())
            for name in ("predictions.tsv", "predictions-images-linear.tsv")
        )
        fold_of = {row["knee"]: row["fold"] for row in other}
        assert {row["knee"]: row["fold"] for row in own} == fold_of
        areas = [
            roc_auc_score(
                [int(row["label"]) for row in own if row["fold"] == k],
                [float(row["probability"]) for row in own if row["fold"] == k],
            )
            for k in ("1", "2")
        ]
        assert value[f"repeat-{number}"] == pytest.approx(np.mean(areas), abs=1e-6)


def test_cv_permutes_labels_and_draws_the_null(call, study, tmp_path, rows):
    study(knees=60)
    status, _, said = cross_validate(call, "--repeats", 1, "--permute-labels", 3)
    assert status == 0 and any("with permuted labels, p " in line for line in said)
    null = [float(row["roc_auc"]) for row in rows((tmp_path / "cv/null.tsv").read_text())]
    table = rows((tmp_path / "cv/metrics.tsv").read_text())
    said = {row["metric"]: row for row in table if row["scope"] == "permuted labels"}
    assert float(said["roc_auc"]["value"]) == pytest.approx(np.mean(null), abs=1e-6)
    observed = next(
        float(r["value"]) for r in table if (r["scope"], r["metric"]) == ("mean", "roc_auc")
    )
    assert float(said["p"]["value"]) == pytest.approx(
        (1 + sum(v >= observed for v in null)) / 4, abs=1e-6
    )


def test_settings_are_tuned_and_the_report_s_command_says_so(call, study, tmp_path):
    study(knees=40)
    status, _, _ = cross_validate(
        call, "--repeats", 1, "--tune", "dropout=0.1,0.3", "--tune", "pooling=gru,mean"
    )
    assert status == 0
    page = (tmp_path / "cv/report.html").read_text()
    assert "--tune dropout=0.1,0.3 --tune pooling=gru,mean" in page
    assert (
        "chosen among 4 by the loss on 20% of the training patients"
        in (tmp_path / "cv/model-card.md").read_text()
    )
    for wrong, word in (
        ("slices=1,2", "with one of pooling"),
        ("dropout=x", "'x'"),
        ("pooling=sum", "'sum'"),
    ):
        status, _, said = cross_validate(call, "--tune", wrong, out="bad")
        assert status == 2 and word in said[-1]


def test_the_model_card_answers_tripod_and_starts_with_the_cautions(call, study, tmp_path):
    study(knees=40)
    cross_validate(call, "--repeats", 1, "--clinical", "bmi")
    card = (tmp_path / "cv/model-card.md").read_text()
    assert (
        card.index("RANDOM WEIGHTS")
        < card.index("## Performance")
        < card.index("images+clinical: ROC AUC")
    )
    assert "| 10 sample size | 40 knees of 20 patients" in card and "left to the author" in card
    assert "2 folds of patients, stratified by label; no patient on both sides, verified" in card


def test_train_goes_on_where_it_was_interrupted_and_says_that_it_could(call, study, tmp_path):
    study(knees=40)
    words = [train, "features.tsv", "-l", "labels.tsv", *FAST]
    call(*words, "-o", "whole.safetensors")
    (tmp_path / "m.safetensors.resume").write_bytes(b"left by another training")
    status, _, said = call(*words, "-o", "m.safetensors")
    assert status == 0 and any("--resume goes on from it" in line for line in said)
    assert (tmp_path / "whole.safetensors").read_bytes() == (
        tmp_path / "m.safetensors"
    ).read_bytes()
    assert not (tmp_path / "m.safetensors.resume").exists()


def test_outputs_name_no_folder_of_the_machine(call, study, tmp_path):
    study(knees=40)
    words = [
        tmp_path / "features.tsv",
        "--labels",
        tmp_path / "labels.tsv",
        "-k",
        2,
        "--repeats",
        1,
        *FAST,
    ]
    assert call(cv, *words, "-o", tmp_path / "cv")[0] == 0
    for path in (tmp_path / "cv").iterdir():
        assert str(tmp_path).encode() not in path.read_bytes(), path


def test_the_command_line_of_the_report_gives_the_same_predictions(call, study, tmp_path):
    study(knees=40)
    _, first, _ = cross_validate(call, "--repeats", 1, "--seed", 3, "--unbalanced", "-j", 1)
    page = (tmp_path / "cv/report.html").read_text()
    line = page.split("<pre>")[1].split("</pre>")[0]
    assert (
        line.startswith("oa-cv features.tsv ") and "--jobs" not in line and "--unbalanced" in line
    )
    words = [w if w != "cv" else "again" for w in line.split()[1:]]
    assert call(cv, *words)[1] == first


@pytest.mark.parametrize(
    "options", [["--allow-telltale"], ["--allow-telltale", "--allow-label-leakage"]]
)
def test_the_command_line_of_the_report_names_an_option_by_its_new_name(
    call, study, tmp_path, options
):
    study(knees=40)
    cross_validate(call, "--repeats", 1, *options)
    page = (tmp_path / "cv/report.html").read_text()
    words = page.split("<pre>")[1].split("</pre>")[0].split()
    assert words.count("--allow-label-leakage") == 1 and "--allow-telltale" not in words


def test_help_and_usage_errors_import_no_numpy(shell):
    heavy = "{'numpy', 'torch', 'sklearn', 'matplotlib', 'h5py'}"
    for command, word in (("cv", "--help"), ("train", "--nonsense"), ("predict", "--help")):
        code = f"""import sys
from oatools.commands.{command} import main
try:
    main.main(["{word}"])
except SystemExit:
    print(sorted({heavy} & set(sys.modules)))"""
        assert shell(f"python -c {shlex.quote(code)}").stdout.splitlines()[-1] == "[]"


def test_training_on_augmented_copies_needs_files_that_hold_them(call, study, tmp_path):
    from oatools.features.featurefile import read_features, write_features

    study(knees=40)
    paths = sorted((tmp_path / "features").glob("*.h5"))
    for path in paths[1:]:
        found = read_features(path)
        write_features(
            path, dataclasses.replace(found, augmented=np.stack([found.features + 1] * 2))
        )
    options = ["features.tsv", "--labels", "labels.tsv", "--slices", 8, *FAST]
    status, _, said = call(train, *options, "--augmented", "-o", "m.safetensors")
    assert (
        status == 1
        and f"{paths[0].name}: holds no augmented copies; embed it with oa-embed --augment"
        in said[0]
    )
    status, _, _ = call(train, *options, "-o", "plain.safetensors")
    assert status == 0
    assert (tmp_path / "m.safetensors").read_bytes() != (
        tmp_path / "plain.safetensors"
    ).read_bytes()
    found = read_features(paths[0])
    write_features(paths[0], dataclasses.replace(found, augmented=found.features[None]))
    status, _, said = call(train, *options, "--augmented", "-o", "n.safetensors")
    assert status == 2 and "hold different numbers of augmented copies" in said[-1]


def test_tables_are_loaded_from_python_as_the_commands_load_them(study, tmp_path, monkeypatch):
    from oatools.core.errors import ItemError, UsageError
    from oatools.core.provenance import Caution
    from oatools.learning.load import load_cohort

    monkeypatch.chdir(tmp_path)
    knees = study(knees=60, clinical=1000.0)
    with pytest.raises(UsageError, match="'bmi' alone .*; leave it out, or go on with allow_label"):
        load_cohort("features.tsv", "labels.tsv", clinical="bmi,sex")
    with pytest.raises(UsageError, match="the label is made from it"):
        load_cohort("features.tsv", "labels.tsv", clinical=["label"])
    cohort = load_cohort(
        Path("features.tsv"), "labels.tsv", ["bmi", "sex"], slices=8, allow_label_leakage=True
    )
    assert cohort.knee == tuple(sorted(knees)) and cohort.clinical_names == ("bmi", "sex")
    assert set(cohort.length) == {8} and cohort.cautions == (Caution.RANDOM_WEIGHTS,)
    assert (cohort.weights.source, cohort.weights.seed) == ("random", 0)
    name = cohort.knee[3]
    first = (len(knees[name]) - 8) // 2
    np.testing.assert_array_equal(cohort.slices(3), knees[name][first : first + 8])
    (tmp_path / f"features/{name}_cor-iw-tse.h5").write_bytes(b"not hdf5")
    with pytest.raises(ItemError, match=f"{name} cor-iw-tse: .* not a readable feature file"):
        load_cohort("features.tsv", "labels.tsv")


def test_a_table_given_from_python_may_have_any_extension(study, tmp_path, monkeypatch):
    from oatools.core.errors import UsageError
    from oatools.learning.load import load_cohort

    monkeypatch.chdir(tmp_path)
    knees = study(knees=20)
    table = (tmp_path / "features.tsv").read_text()
    (tmp_path / "features.csv").write_text(table)
    assert load_cohort("features.csv", "labels.tsv").knee == tuple(sorted(knees))
    (tmp_path / "features.csv").write_text(table.replace("\t", ","))
    with pytest.raises(
        UsageError, match="features.csv: its first line is separated by commas; save"
    ):
        load_cohort("features.csv", "labels.tsv")
    (tmp_path / "features.csv").write_text(table + "9999999_00m_left\n")
    with pytest.raises(UsageError, match="features.csv line 22: 1 fields .*; correct the line"):
        load_cohort("features.csv", "labels.tsv")


def test_a_model_records_the_weights_behind_its_features(call, trained):
    from oatools.learning.files import load_model

    record = load_model("m.safetensors").record
    weights = {key: record["weights"][key] for key in ("source", "seed", "sha256")}
    assert weights == {"source": "random", "seed": 0, "sha256": "0" * 64}
    _, _, said = call(predict, "m.safetensors", "features.tsv", "--with-clinical", "labels.tsv")
    assert any("features from random weights: it says nothing about patients" in s for s in said)
