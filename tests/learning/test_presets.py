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
    [
        *("jsn12", "jsn24", "jsn12-relative", "pain", "kl12", "kl48", "jsn-grade12", "given"),
        *("tkr-until96m", "jsn-until96m@-0.7", "kl-until96m", "jsn-grade-until96m"),
    ],
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
        ("time", "tkr-until96m"),
        ("bmi,event", "tkr-until96m"),
        ("from", "jsn-until96m@-0.7"),
        ("to", "kl-until96m"),
        ("ended", "jsn-grade-until96m"),
        ("Time", "jsn12"),
        ("Event", "given"),
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


@pytest.mark.parametrize("name", ["time", "event", "from", "to", "ended", "EVENT"])
def test_a_time_to_an_event_predicts_nothing_though_insisted_upon(name):
    assert reveals_outcome(name)
    with pytest.raises(UsageError, match="the label is made from it"):
        clinical_set(name, "tkr-until96m", allow_label_leakage=True)


def test_pain_may_predict_narrowing():
    assert clinical_set("womac_pain", "jsn12") == ["womac_pain"]


#: As the Initiative, MOST and people who publish on them call what was found later.
LATER = """
jsw_12m kl24 label_24m jsn24 kl_12m jsm24 KL-24M jsw_108m kl_v03 V03XRKL V01WOMKPR kl_6m
12m_kl kl_24mo kl_2y kl_month24 womac_pain_24m womac_pain24 jsw_followup delta_jsw
Progressor_bin outcome truth stratum followup_kl month12_kl bmi_v3 jsw1 jsw2 jsw_1 jsw_loss
tkr time_to_tkr event timeToTKR time2event_tkr tte days_to_event V99ERKDATE V99ELKRPCF
v99erkdays V06MCMJSW V10XRJSM V01BMI v1xrkl V2XRKL v3womac pain_fu kl_fu12 fu_kl fu12_kl
kl_fup KL_follow_up followUpKL kl_visit2 visit3_kl visit_2_pain kl_wave4 kl_tp2 jsw_change
KL_delta kl_diff jsw_difference mjsw_decrease cartilage_loss cartilage_thickness_change
progression Prog Prog_increase nonprogressor is_progressor rapid_progression incident_oa
incident_koa Incidence tka TKR_5y tkr_status tkr_event knee_replacement arthroplasty
survival_time surv_time censored censoring death mortality vital_status_death status y class
target GROUPTYPE groundtruth gt label kl_m12 m24_kl kl_mo24 12mo_kl jsw24m kl_1y kl_year2
year4_kl KL_36months womac_48m kl_12 jsw_24 pain_36 koos_12m kl_v1 jsw_v06 V05JSW175 kl_final
final_kl last_visit_kl kl_last post_kl jsw_post worsening kl_worsened oa_worsening responder
improvement pain_improvement pain_trajectory kl_slope jsw_rate jsn_rate converted converter
conversion kl_24_months months_to_tkr years_to_tkr change_in_jsw delta_kl_24 pain_chg
womac_chg mcmjsw_chg jsw_narrowing kl_increase kl_increase_24 V04BMI tkr_24m prediction
prob_oa predicted_prob followup next_kl kl_later followup_time FollowUpDays bmi_12m age_24m
walk_20m_v03 V03_20mpace walk_speed_24mo bmi_followup
"""
#: And what was known at the visit, from the same codebooks, questionnaires and papers.
AT_THE_VISIT = """
kl kl_00m jsw00m V00XRKL kl_v00 jsw_0m jsm v12 fu12 bmi30 age2 crp_hs site_101 bmi age
womac_pain jsw jsw_medial_baseline v00xrkl pain_left sex height weight injury surgery
womac_stiffness womac_total womac_function koos_pain koos_symptoms koos_qol koos_adl V00AGE
P01BMI P02SEX P02RACE P02HISP V00COHORT P01FAMKR V00PASE V00WORK7 V00MCMJSW V00JSW150
V00JSW175 V00JSW300 V00LJSW850 V00CFWDTH V00TPCFDS V00BMANG V00XMJSW V00MJSWBB V00XRJSM
V00XRJSL P01KPMEDCV V00WOMKPR V00WOMKPL V00WOMSTFR V00WOMADLL V00WOMTSL V00KOOSKPR V00KQOL2
P01INJR V00P7RKRCV V00P7RKFR V00WSRKN3 P01OAGRDR P01SVRKOST V00ABCIRC V00CESD V00HSPSS
V00HSMSS V00COMORB V00CHRNFR V00DIABF P01HRX V0XRKL v00_age baseline_kl kl_baseline jsw_bl
bl_jsw bmi_baseline pain_baseline baseline_womac_pain m0_kl kl_m0 visit0_kl kl_visit0
kl_visit1 visit1 kl_0m month0_pain year0_bmi kl_00 womac_00 race ethnicity smoking_status
marital_status employment_status insurance_status menopausal_status education income
depression cesd cesd_20 phq9 phq_9 eq5d eq5d5l sf12 sf_12 sf12_pcs sf12_mcs sf36_pf sf_36
koos12 age_50 bmi_30 bmi_25 obese diabetes hypertension charlson comorbidity crp il6 il_6 tnf
hba1c vitamin_d vit_b12 b12 calcium uric_acid heart_rate blood_pressure sbp dbp pulse_rate
walk_20m walk_400m 20m_walk 20m_walk_speed gait_speed_20m gait_speed 400m_walk_time 6mwt
chair_stand_time chair_stands grip_strength pase_score steps_per_day t2_cartilage
t2_relaxation t1rho t1_volume t2_med_femur cartilage_volume cartilage_thickness
bone_marrow_lesion bml_size effusion_synovitis meniscal_tear osteophytes alignment hka
hka_angle fta varus valgus family_history_tkr fam_tkr parent_tkr famkr mother_knee_replacement
contralateral_tkr prior_tkr prior_surgery knee_surgery past_injury history_of_arthroplasty
hip_replacement hormone_replacement leg_length_difference leg_length_diff weight_loss
hearing_loss heart_failure renal_failure post_menopausal postmenopausal post_traumatic_oa kl2
kl3 kl4 kl_2 kl_3 kl_4 oarsi_jsm oarsi_jsl womac1 pain1 q12 pain_vas pain_nrs analgesics nsaid
opioid injection steroid_use glucosamine physical_activity activity_level kneeling_time
sitting_time reader site scanner manufacturer field_strength medial_jsw lateral_jsw min_jsw
mjsw mcmjsw jsw150 jsw_x225 jsw_fixed tibial_angle fractal_dimension knee_height max_weight
weight_age25 bmi_at_20 social_class drug_class time_since_injury pain_duration
symptom_duration years_since_diagnosis duration_months
"""


def test_what_was_found_after_the_visit_is_no_predictor_and_not_for_readers():
    assert [name for name in LATER.split() if not reveals_outcome(name)] == []
    for name in LATER.split():
        with pytest.raises(UsageError, match="found after the visit|is made from it") as refused:
            clinical_set(f"bmi,{name}", "jsn12")
        assert f"'{name}' cannot be a clinical variable" in str(refused.value)


def test_what_was_known_at_the_visit_may_predict():
    assert [name for name in AT_THE_VISIT.split() if reveals_outcome(name)] == []
    names = list(dict.fromkeys(AT_THE_VISIT.split()))
    assert clinical_set(",".join(names), "jsn12") == names


def test_whoever_insists_gets_a_variable_that_by_its_name_was_found_later():
    assert clinical_set("bmi,kl_12m", "jsn12", allow_label_leakage=True) == ["bmi", "kl_12m"]
    for name in ("jsn", "label", "kl_change", "fold"):
        with pytest.raises(UsageError):
            clinical_set(name, "jsn12", allow_label_leakage=True)
