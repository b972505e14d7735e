"""Predictions for patients whom a model was trained on say so, wherever they go."""

FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"
SAID = "the model was trained on knees of these patients, and knew how they fared"


def rows_of(tmp_path, kept):
    """The labels of some patients alone."""
    header, *lines = (tmp_path / "labels.tsv").read_text().splitlines()
    lines = [line for line in lines if kept(int(line.split("\t")[1]))]
    (tmp_path / "half.tsv").write_text("\n".join([header, *lines]) + "\n")


def test_knees_of_training_patients_are_marked_and_no_others(study, run, rows, tmp_path):
    study(knees=40)
    rows_of(tmp_path, lambda patient: patient % 2 == 0)
    # The other knee of a patient who was trained on is no new one.
    header, *lines = (tmp_path / "half.tsv").read_text().splitlines()
    one = [line for line in lines if not line.startswith("9000002_00m_right")]
    assert len(one) == len(lines) - 1
    (tmp_path / "half.tsv").write_text("\n".join([header, *one]) + "\n")
    run(f"oa-train features.tsv --labels half.tsv {FAST} -o m.safetensors")
    done = run("oa-predict m.safetensors features.tsv")
    marked = {row["knee"] for row in rows(done.stdout) if "training knees" in row["caution"]}
    expected = {row["knee"] for row in rows(done.stdout) if int(row["knee"].split("_")[0]) % 2 == 0}
    assert marked == expected and "9000002_00m_right" in marked
    assert f"20 rows: {SAID}" in done.stderr


def test_a_model_of_a_fold_has_not_seen_its_test_knees(study, run, rows, tmp_path):
    study(knees=40)
    done = run(f"oa-cv features.tsv --labels labels.tsv {FAST} -k 2 --repeats 1 -o cv")
    tested = {row["knee"] for row in rows(done.stdout) if row["fold"] == "1"}
    found = rows(run("oa-predict cv/fold-1.safetensors features.tsv").stdout)
    unmarked = {row["knee"] for row in found if "training knees" not in row["caution"]}
    assert unmarked == tested
