"""The dictionary of data, oa-tables(5), beside the headers that the commands really write."""

import re
from pathlib import Path

import pytest

from oatools.explain.faithfulness import COLUMNS as FAITHFULNESS
from oatools.explain.rows import SLICE_COLUMNS
from oatools.oai.clinical import CLINICAL_COLUMNS
from oatools.reading.pairs import KEY_COLUMNS

PAGE = (Path(__file__).resolve().parents[2] / "man/src/oa-tables.md").read_text(encoding="utf-8")
ANSWERS = "reader\tpair\tchoice\nX\t001\tA\nX\t002\tB\nY\t001\tB\nY\t002\tB\n"
# Features of every labelled knee, in the form of one file that oa-embed has made.
FEATURES = """
import sys
from pathlib import Path

import numpy as np

from oatools.core.manifest import read_table
from oatools.features.featurefile import Features, read_features, write_features

made = read_features(next(Path(sys.argv[2]).glob("*.h5")))
own = ("knee", "subject", "side", "visit", "source_sha256", "features_sha256", "OatoolsSteps")
said = {key: value for key, value in made.provenance.items() if key not in own}
random = np.random.default_rng(0)
print("knee\\tpath")
for row in read_table(sys.argv[1]).rows:
    path = f"many/{row['knee']}.h5"
    values = random.normal(size=made.features.shape).astype(np.float32)
    write_features(path, Features(values, made.position, dict(said)))
    print(row["knee"], path, sep="\\t")
"""
KNEE = ["knee", "subject", "visit", "side"]


def listed(before):
    """The columns of the list that follows these words of the page, in order."""
    assert PAGE.count(before) == 1, before
    rest = PAGE.split(before)[1]
    return re.findall(r"^- `(\w+)`: ", re.split(r"\n\n(?!- )", rest.split("\n\n", 1)[1])[0], re.M)


def test_every_column_of_the_page_has_a_meaning():
    items = re.findall(r"^- (.*)$", PAGE, re.M)
    assert len(items) > 150
    assert [item for item in items if not re.fullmatch(r"`\w+`: \S.+[.]", item)] == []


@pytest.fixture(scope="module")
def headers(tmp_path_factory):
    """The headers of the tables that a small study leaves behind, by file."""
    import os
    import subprocess
    import sys

    folder = tmp_path_factory.mktemp("tables")
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    quick = "--preset paper --epochs 1 --conv 4 --units 4 --hidden 4"
    embed = "--weights random --backbone mobilenetv2_100 --size 64 --slices 2"
    script = f"""
        set -e -o pipefail
        oa-phantom one --patients 1 --sequence cor-iw-tse --matrix 32 > phantom.tsv
        oa-convert --list one/00m > list.tsv
        oa-convert one/00m -o nii --id-table ids.tsv > convert.tsv
        oa-orient -o o < convert.tsv | oa-n4 -o n4 --report n4report.tsv > n4table.tsv
        oa-embed {embed} -o f < n4table.tsv > features.tsv
        oa-phantom oai --patients 60 --no-images > none.tsv
        oa-label oai/tables --endpoint jsn12 --flow flow.tsv > labels.tsv
        oa-label oai/tables --endpoint kl > labels-kl.tsv
        oa-label oai/tables --endpoint none > labels-none.tsv
        oa-label oai/tables --endpoint tkr --until 96m > times.tsv
        oa-label oai/tables --expect oai > expected.tsv
        oa-label --list-variables > variables.tsv
        oa-embed --list-backbones > backbones.tsv
        {sys.executable} features.py labels.tsv f > many.tsv
        oa-cv many.tsv --labels labels.tsv {quick} -k 2 --repeats 1 --permute-labels 1 -o cv > cvtable.tsv
        oa-cv many.tsv --labels labels.tsv {quick} --leave-out sex -o cv-sex > cvsex.tsv
        oa-train many.tsv --labels labels.tsv {quick} -o m.safetensors > train.tsv
        oa-predict m.safetensors features.tsv > predict.tsv
        oa-check cv/metrics.tsv > check.tsv
        oa-pairs draw labels.tsv --pairs 2 --key key.tsv > pairs.tsv
        oa-pairs score answers.tsv --pairs pairs.tsv --key key.tsv --compare compare.tsv > score.tsv
        oa-pairs power --pairs 40 > power.tsv
        oa-validate cv/predictions.tsv --labels labels.tsv --by sex --bootstrap 100 \\
            --against cv/predictions-images-linear.tsv --compare validate-compare.tsv > validate.tsv
        oa-enrich cv/predictions.tsv --labels labels.tsv --against kl=2: --bootstrap 100 \
            --compare enrich-compare.tsv --decision decision.tsv > enrich.tsv
        oa-info n4table.tsv cv > info.tsv
        oa-doctor > doctor.tsv || true
        head -n 2 n4table.tsv | oa-view -o view > view.tsv
        echo nothing.h5 | oa-predict m.safetensors --failed failed.tsv || true
    """
    (folder / "answers.tsv").write_text(ANSWERS)
    (folder / "features.py").write_text(FEATURES)
    done = subprocess.run(
        ["bash", "-c", script],
        cwd=folder,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    assert done.returncode == 0, done.stderr[-2000:]
    files = list(folder.glob("*.tsv"))
    files += [folder / "cv" / name for name in ("metrics.tsv", "folds.tsv", "null.tsv")]
    files += (folder / "cv").glob("predictions*.tsv")
    files += [folder / "oai" / "truth.tsv", folder / "cv-sex" / "left-out.tsv"]
    return {each.stem: each.read_text().split("\n")[0].split("\t") for each in files}


def test_the_columns_are_those_of_real_tables(headers):
    identity = [*KNEE, "sequence", "path"]
    assert listed("# THE KNEE") == [*identity, "caution"]
    series = listed("(path is then that of the series)")
    assert headers["phantom"] == identity
    for name in ("list", "convert", "n4table", "features"):
        assert headers[name] == [*identity, *series]
    report = listed("The report of `oa-n4 --report`")
    assert headers["n4report"] == ["knee", "sequence", *report, "path"]
    assert set(headers["ids"]) == {"subject", "sequence", "description", *listed("--id-table` has")}
    assert headers["backbones"] == listed("--list-backbones` has")


def test_the_columns_are_those_of_real_labels(headers):
    own, clinical = listed("`oa-label(1)` prints"), listed("Between these and readprj")
    assert clinical == CLINICAL_COLUMNS
    ends = {"readprj", "endpoint"}
    assert set(own) - ends == {"label", "jsw", "jsn", "kl_change", "jsm_change"}
    changes = {"labels": ["label", "jsw", "jsn"], "labels-kl": ["label", "jsw", "kl_change"]}
    for name, first in changes.items():
        assert headers[name] == [*KNEE, *first, *clinical, "readprj", "endpoint", "caution"]
    assert headers["labels-none"] == [*KNEE, "jsw", *clinical, "readprj", "caution"]
    times = listed("With `oa-label --until`")
    assert headers["times"] == [*KNEE, *times, "jsw", *clinical, "readprj", "endpoint", "caution"]
    assert headers["variables"] == listed("`oa-label --list-variables` prints")
    assert headers["flow"] == listed("The table of `oa-label --flow`")
    assert headers["expected"] == listed("The table of `oa-label --expect`")


def test_the_columns_are_those_of_a_real_cross_validation(headers):
    predictions = [*KNEE, "label", *listed("`predictions.tsv` of"), "caution"]
    found = [name for name in headers if name.startswith("predictions")]
    assert len(found) == 2
    for name in (*found, "cvtable"):
        assert headers[name] == predictions
    assert headers["metrics"] == [*listed("`metrics.tsv` has"), "caution"]
    assert headers["folds"] == ["knee", "subject", "fold"]
    assert headers["left-out"] == listed("`left-out.tsv` of `--leave-out`")
    assert headers["null"] == listed("of `--permute-labels` has")
    assert headers["predict"] == [
        *(*headers["features"], *listed("`oa-predict(1)` adds"), "caution")
    ]
    trained = ["path", "endpoint", "knees", "threshold", "caution", *listed("`oa-train(1)` prints")]
    assert sorted(headers["train"]) == sorted(trained)
    assert listed("and with `--faithfulness`") == list(FAITHFULNESS)
    assert listed("The table beside each heat map") == SLICE_COLUMNS


def test_the_columns_are_those_of_a_real_validation_and_a_trial(headers):
    assert headers["validate"] == listed("`oa-validate(1)` prints")
    assert headers["validate-compare"] == listed("The table of `oa-validate --compare`")
    assert headers["enrich"] == listed("`oa-enrich(1)` prints")
    assert headers["enrich-compare"] == listed("The table of `oa-enrich --compare`")
    assert headers["decision"] == listed("The table of `oa-enrich --decision`")


def test_the_columns_are_those_of_a_real_reading_study(headers):
    pairs = listed("`oa-pairs draw` prints")
    assert headers["key"] == KEY_COLUMNS == [*KNEE, *pairs, "jsn", "caution"]
    shown = headers["pairs"][len(KNEE) + 3 :]
    assert headers["pairs"][: len(KNEE) + 3] == [*KNEE, *pairs[:3]]
    assert shown and set(shown) <= {*CLINICAL_COLUMNS, "jsw"}
    assert headers["score"] == [*listed("`oa-pairs score` prints"), "caution"]
    compared = ["ci_low", "ci_high", "caution", *listed("The table of `oa-pairs score --compare`")]
    assert sorted(headers["compare"]) == sorted(compared)
    assert headers["power"] == listed("`oa-pairs power` prints")
    assert headers["check"] == ["path", *listed("`oa-check(1)` prints")]
    assert headers["info"] == listed("`oa-info(1)` prints")
    assert headers["doctor"] == listed("`oa-doctor(1)` prints")
    assert headers["view"] == [*headers["n4table"], "page"]
    assert headers["failed"][-1] == "error"
    assert headers["truth"] == [*KNEE, *listed("`truth.tsv` of")]
