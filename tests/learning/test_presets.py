import pytest

from oatools.core.errors import UsageError
from oatools.learning.presets import clinical_set, reveals_outcome


@pytest.mark.parametrize(
    "text,names",
    [
        ("bmi", ["bmi"]),
        ("none", []),
        ("", []),
        ("age, sex,age", ["age", "sex"]),
        ("bmi,my_marker", ["bmi", "my_marker"]),
        (
            "bmi,paper10",
            [
                "bmi",
                "age",
                "sex",
                "height",
                "weight",
                "jsw",
                "kl",
                "injury",
                "surgery",
                "womac_stiffness",
            ],
        ),
    ],
)
def test_a_clinical_set_is_a_preset_or_a_list(text, names):
    assert clinical_set(text, "jsn12") == names


@pytest.mark.parametrize(
    "endpoint",
    ["jsn12", "jsn24", "jsn12-relative", "pain", "kl12", "kl48", "jsn-grade12", "given"],
)
def test_the_preset_of_ten_holds_ten_and_fits_every_endpoint(endpoint):
    assert len(clinical_set("paper10", endpoint)) == 10


@pytest.mark.parametrize(
    "text,endpoint",
    [
        ("womac_pain", "pain"),
        ("womac_pain", "pain@5"),
        ("age,womac_total", "pain"),
        ("koos_pain", "pain"),
        ("jsn", "jsn12"),
        ("bmi,jsn", "jsn24"),
        ("jsn", "jsn12-relative"),
        ("jsn", "pain"),
        ("label", "jsn12"),
        ("kl_change", "kl12"),
        ("kl_change", "jsn12"),
        ("age,jsm_change", "jsn-grade12"),
        ("jsm_change", "given"),
        ("KL_Change", "kl48"),
        ("Jsn", ""),
        ("WOMAC-Pain", "pain"),
        ("koos_pain_00m", "pain"),
    ],
)
def test_what_the_label_is_made_from_is_no_predictor(text, endpoint):
    with pytest.raises(UsageError, match="the label is made from it"):
        clinical_set(text, endpoint)


@pytest.mark.parametrize("name", ["knee", "subject", "fold", "probability"])
def test_a_name_or_a_result_is_no_predictor(name):
    with pytest.raises(UsageError, match="says nothing about the knee"):
        clinical_set(name, "jsn12")


@pytest.mark.parametrize("endpoint", ["kl12", "kl48", "jsn-grade12", "jsn12", "given", "pain"])
def test_a_grade_at_the_visit_may_predict(endpoint):
    assert clinical_set("kl,jsm,jsw", endpoint) == ["kl", "jsm", "jsw"]


def test_pain_may_predict_narrowing():
    assert clinical_set("womac_pain", "jsn12") == ["womac_pain"]


LATER = (
    "jsw_12m kl24 label_24m jsn24 kl_12m jsm24 KL-24M jsw_108m kl_v03 V03XRKL V01WOMKPR kl_6m 12m_kl "
    "kl_24mo kl_2y kl_month24 womac_pain_24m womac_pain24 jsw_followup delta_jsw Progressor_bin "
    "outcome truth stratum"
)
AT_THE_VISIT = "kl kl_00m jsw00m V00XRKL kl_v00 jsw_0m jsm v12 fu12 bmi30 age2 crp_hs site_101 bmi"


@pytest.mark.parametrize("name", LATER.split())
def test_what_was_found_after_the_visit_is_no_predictor_and_not_for_readers(name):
    assert reveals_outcome(name)
    with pytest.raises(UsageError, match="found after the visit|is made from it") as refused:
        clinical_set(f"bmi,{name}", "jsn12")
    assert f"'{name}' cannot be a clinical variable" in str(refused.value)


@pytest.mark.parametrize("name", AT_THE_VISIT.split())
def test_what_was_known_at_the_visit_may_predict(name):
    assert not reveals_outcome(name)
    assert clinical_set(name, "jsn12") == [name]
