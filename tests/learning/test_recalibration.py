"""oa-predict with a recalibration: other probabilities, the same predictions."""

import json

import pytest
from scipy.special import expit, logit

FAST = "--preset paper --epochs 2 --conv 4 --units 4 --hidden 4"
FILE = {
    "format": "oatools recalibration 1",
    "kind": "logistic",
    "intercept": -0.7,
    "slope": 1.8,
    "knees": 300,
    "patients": 150,
    "events": 60,
    "cautions": ["phantoms"],
}


@pytest.mark.parametrize("jobs", ["", "-j 2"])
def test_probabilities_are_recalibrated_and_predictions_stay(study, run, rows, tmp_path, jobs):
    study(knees=40)
    run(f"oa-train features.tsv --labels labels.tsv {FAST} -o m.safetensors")
    (tmp_path / "r.json").write_text(json.dumps(FILE))
    plain = rows(run(f"oa-predict m.safetensors features.tsv {jobs}").stdout)
    line = f"oa-predict m.safetensors features.tsv --recalibration r.json {jobs}"
    made = rows(run(line).stdout)
    assert len(made) == len(plain) == 40
    for one, other in zip(plain, made, strict=True):
        expected = expit(-0.7 + 1.8 * logit(float(one["probability"])))
        assert float(other["probability"]) == pytest.approx(expected, abs=2e-6)
        assert other["predicted"] == one["predicted"]
        assert "phantoms" in other["caution"]
