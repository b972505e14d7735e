"""NDA's package, with its names written out as the real one has them, beside the same people as ASCII and SAS."""

import csv
import importlib.util
import shutil
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from oatools.core.errors import UsageError
from oatools.oai.endpoints import endpoint_of
from oatools.oai.expectations import expectations
from oatools.oai.labels import label_tables, open_tables
from oatools.oai.tables import find_tables

# --- the same eight people in three forms, each written by hand -----------------------------------

ASCII = {
    "Enrollees": """
ID|P02SEX|P02RACE|V00SITE|V00COHORT
9000001|2: Female|1: White or Caucasian|C|1: Progression
9000002|1: Male|.M: Missing|A|2: Incidence
9000003|1: Male|2: Black or African American|B|2: Incidence
9000004|2: Female|3: Asian|D|1: Progression
9000005|1: Male|0: Other Non-white|E|3: Non-exposed control group
9000006|2: Female|1: White or Caucasian|C|1: Progression
9000007|1: Male|1: White or Caucasian|A|2: Incidence
9000008|2: Female|1: White or Caucasian|B|2: Incidence
""",
    "AllClinical00": """
ID|V00AGE|P01BMI|P01HEIGHT|P01WEIGHT|V00WOMKPR|V00WOMKPL|V00WOMSTFR|V00WOMSTFL|V00WOMADLR|V00WOMADLL|V00WOMTSR|V00WOMTSL|V00KOOSKPR|V00KOOSKPL|P01KSURGR|P01KSURGL|P01INJR|P01INJL
9000001|61|27.5|1654|75.2|2|0|3|0|10.5|0|15.5|0|88.9|100|1: Yes|0: No|.A: Not Expected|.A: Not Expected
9000002|55|.M: Missing|1780|90||1.5|1|2|3|4||7.5|75|69.4|0: No|0: No|.|.
9000003|49|22.1|1801|71.7|0|7|0|2|0|20|0|29|100|50|0: No|1: Yes|.|.
9000004|70|31|.S: Unreleased low value|80.5|5|0.5|4|1|17|2|26|3.5|61.1|97.2|0: No|.D: Don't Know|.|.
9000005|79|24.9|1720|73.6|1|0.9|0|0|1|1|2|1.9|91.7|94.4|0: No|0: No|.|.
9000006|45|36.2|1600|92.7|20|21|8|8|68|68|96|96|0|2.8|1: Yes|1: Yes|.|.
9000007|66|29.3|1755|90.2|3|4|2|2|9|11|14|17|80.6|77.8|0: No|0: No|.|.
9000008|58|25.4|1688|72.4|0|2.5|0|1|0|6|0|9.5|100|86.1|0: No|0: No|.|.
""",
    "kxr_qjsw_duryea00": """
ID|SIDE|READPRJ|V00MCMJSW|V00JSW225|V00NOMMJSW|V00NOMJSWX|V00MJSWBB
9000001|1: Right|16|4.1|6.3|0: No|0: No|0: No
9000001|2: Left|16|5|6|0: No|0: No|0: No
9000002|2: Left|16|4.025|5.5|0: No|0: No|0: No
9000002|1: Right|20|3|4.5|0: No|0: No|0: No
9000003|1: Right|16|3.3|4|0: No|0: No|0: No
9000003|1: Right|18|3.9|4|0: No|0: No|0: No
9000003|2: Left|16|0.6|2|0: No|0: No|0: No
9000004|1: Right|16|2|3|0: No|0: No|0: No
9000004|2: Left|16|4|5|0: No|0: No|0: No
9000005|1: Right|16|3.2|4.4|0: No|0: No|0: No
9000005|2: Left|16|2.8|5.1|0: No|1: Yes|0: No
9000006|1: Right|16|0|1.2|1: Yes|0: No|1: Yes
9000006|2: Left|16|1|2.2|0: No|0: No|0: No
9000008|1: Right|16|2.4|4|0: No|0: No|0: No
9000008|2: Left|16|.T: Technical problems|.T: Technical problems|0: No|0: No|0: No
""",
    "kxr_qjsw_duryea01": """
ID|SIDE|READPRJ|V01MCMJSW|V01JSW225|V01NOMMJSW|V01NOMJSWX|V01MJSWBB
9000001|1: Right|16|3.6|6.3|0: No|0: No|0: No
9000001|2: Left|16|5|5.4|0: No|0: No|0: No
9000002|2: Left|16|3.52|5|0: No|0: No|0: No
9000002|1: Right|20|2|3.5|0: No|0: No|0: No
9000003|1: Right|16|.|4|0: No|0: No|0: No
9000003|1: Right|18|3.35|4|0: No|0: No|0: No
9000003|2: Left|16|0.7|2|0: No|0: No|0: No
9000004|1: Right|16|2.1|3.1|0: No|0: No|0: No
9000004|2: Left|16|3|4.4|1: Yes|0: No|0: No
9000005|1: Right|16|2.6|4.4|0: No|0: No|0: No
9000005|2: Left|16|2.1|5|0: No|0: No|0: No
9000006|1: Right|16|0|1.1|1: Yes|0: No|1: Yes
9000006|2: Left|16|0|1.5|0: No|0: No|1: Yes
9000008|1: Right|16|2.5|4.05|0: No|0: No|0: No
9000008|2: Left|16|4|4|0: No|0: No|0: No
""",
    "kxr_qjsw_duryea03": """
ID|SIDE|READPRJ|V03MCMJSW|V03JSW225|V03NOMMJSW|V03NOMJSWX|V03MJSWBB
9000001|1: Right|16|3.7|6|0: No|0: No|0: No
9000001|2: Left|16|4.5|5.3|0: No|0: No|0: No
9000002|2: Left|16|3.526|5|0: No|0: No|0: No
9000004|1: Right|16|1|2|0: No|0: No|0: No
9000005|1: Right|16|3|4|0: No|0: No|0: No
9000005|2: Left|16|2.1|5|0: No|0: No|0: No
9000006|2: Left|16|0|1|0: No|0: No|1: Yes
9000008|1: Right|16|1.9|3.9|0: No|0: No|0: No
""",
    "kxr_sq_bu00": """
ID|SIDE|READPRJ|V00XRKL|V00XRJSM
9000001|1: Right|15|2: 2|1
9000001|2: Left|15|0: 0|0
9000003|1: Right|37|3: 3|2
9000003|1: Right|15|.|.
9000003|2: Left|15|4: 4|3
9000004|1: Right|15|2|1
9000004|2: Left|15|2|1.2
9000005|1: Right|15|2|1
9000005|2: Left|42|1|0
9000006|1: Right|15|4|3
9000006|2: Left|15|3|2
9000007|1: Right|15|1|0
9000007|2: Left|15|3|1
9000008|1: Right|15|2|2
""",
    "kxr_sq_bu01": """
ID|SIDE|READPRJ|V01XRKL|V01XRJSM
9000001|1: Right|15|2|1.4
9000001|2: Left|15|1|0
9000003|1: Right|37|3|2
9000003|2: Left|15|4|3
9000004|1: Right|15|3|2
9000004|2: Left|15|2|1.2
9000005|1: Right|15|3|2
9000005|2: Left|37|1|0.6
9000006|1: Right|15|4|3
9000006|2: Left|15|4|2
9000007|1: Right|15|1.8|0
9000007|2: Left|15|.|.
9000008|1: Right|15|2|3
""",
    "Outcomes99": """
id|V99ERKDAYS|V99ELKDAYS|V99ERKVSRP|V99ELKVSRP|V99ERKBLRP|V99ELKBLRP|V99ERKRPCF|V99ELKRPCF
9000001|.|.|.|.|.|.|.|.
9000003|.|301|.|1: 12-month|.|.|.|3: Replacement adjudicated, confirmed
9000004|.|.|.|.|1: Yes|.|.|.
9000005|200|.|1: 12-month|.|.|.|0: Replacement adjudcated,failed to confirm|.
9000007|.|.|.|1: 12-month|.|.|.|3: Replacement adjudicated, confirmed
9000008|700|.|3: 24-month|.|.|.|3: Replacement adjudicated, confirmed|.
""",
}

# SAS: numbers for codes; `-` for what is missing. ID, READPRJ and V00SITE are text.
SAS = {
    "enrollees": """
ID P02SEX P02RACE V00SITE V00COHORT
9000001 2 1 C 1
9000002 1 - A 2
9000003 1 2 B 2
9000004 2 3 D 1
9000005 1 0 E 3
9000006 2 1 C 1
9000007 1 1 A 2
9000008 2 1 B 2
""",
    "allclinical00": """
ID V00AGE P01BMI P01HEIGHT P01WEIGHT V00WOMKPR V00WOMKPL V00WOMSTFR V00WOMSTFL V00WOMADLR V00WOMADLL V00WOMTSR V00WOMTSL V00KOOSKPR V00KOOSKPL P01KSURGR P01KSURGL
9000001 61 27.5 1654 75.2 2 0 3 0 10.5 0 15.5 0 88.9 100 1 0
9000002 55 - 1780 90 - 1.5 1 2 3 4 - 7.5 75 69.4 0 0
9000003 49 22.1 1801 71.7 0 7 0 2 0 20 0 29 100 50 0 1
9000004 70 31 - 80.5 5 0.5 4 1 17 2 26 3.5 61.1 97.2 0 -
9000005 79 24.9 1720 73.6 1 0.9 0 0 1 1 2 1.9 91.7 94.4 0 0
9000006 45 36.2 1600 92.7 20 21 8 8 68 68 96 96 0 2.8 1 1
9000007 66 29.3 1755 90.2 3 4 2 2 9 11 14 17 80.6 77.8 0 0
9000008 58 25.4 1688 72.4 0 2.5 0 1 0 6 0 9.5 100 86.1 0 0
""",
    "kxr_qjsw_duryea00": """
ID SIDE READPRJ V00MCMJSW V00JSW225 V00NOMMJSW V00NOMJSWX V00MJSWBB
9000001 1 16 4.1 6.3 0 0 0
9000001 2 16 5 6 0 0 0
9000002 2 16 4.025 5.5 0 0 0
9000002 1 20 3 4.5 0 0 0
9000003 1 16 3.3 4 0 0 0
9000003 1 18 3.9 4 0 0 0
9000003 2 16 0.6 2 0 0 0
9000004 1 16 2 3 0 0 0
9000004 2 16 4 5 0 0 0
9000005 1 16 3.2 4.4 0 0 0
9000005 2 16 2.8 5.1 0 1 0
9000006 1 16 0 1.2 1 0 1
9000006 2 16 1 2.2 0 0 0
9000008 1 16 2.4 4 0 0 0
9000008 2 16 - - 0 0 0
""",
    "kxr_qjsw_duryea01": """
ID SIDE READPRJ V01MCMJSW V01JSW225 V01NOMMJSW V01NOMJSWX V01MJSWBB
9000001 1 16 3.6 6.3 0 0 0
9000001 2 16 5 5.4 0 0 0
9000002 2 16 3.52 5 0 0 0
9000002 1 20 2 3.5 0 0 0
9000003 1 16 - 4 0 0 0
9000003 1 18 3.35 4 0 0 0
9000003 2 16 0.7 2 0 0 0
9000004 1 16 2.1 3.1 0 0 0
9000004 2 16 3 4.4 1 0 0
9000005 1 16 2.6 4.4 0 0 0
9000005 2 16 2.1 5 0 0 0
9000006 1 16 0 1.1 1 0 1
9000006 2 16 0 1.5 0 0 1
9000008 1 16 2.5 4.05 0 0 0
9000008 2 16 4 4 0 0 0
""",
    "kxr_qjsw_duryea03": """
ID SIDE READPRJ V03MCMJSW V03JSW225 V03NOMMJSW V03NOMJSWX V03MJSWBB
9000001 1 16 3.7 6 0 0 0
9000001 2 16 4.5 5.3 0 0 0
9000002 2 16 3.526 5 0 0 0
9000004 1 16 1 2 0 0 0
9000005 1 16 3 4 0 0 0
9000005 2 16 2.1 5 0 0 0
9000006 2 16 0 1 0 0 1
9000008 1 16 1.9 3.9 0 0 0
""",
    "kxr_sq_bu00": """
ID SIDE READPRJ V00XRKL V00XRJSM
9000001 1 15 2 1
9000001 2 15 0 0
9000003 1 37 3 2
9000003 1 15 - -
9000003 2 15 4 3
9000004 1 15 2 1
9000004 2 15 2 1.2
9000005 1 15 2 1
9000005 2 42 1 0
9000006 1 15 4 3
9000006 2 15 3 2
9000007 1 15 1 0
9000007 2 15 3 1
9000008 1 15 2 2
""",
    "kxr_sq_bu01": """
ID SIDE READPRJ V01XRKL V01XRJSM
9000001 1 15 2 1.4
9000001 2 15 1 0
9000003 1 37 3 2
9000003 2 15 4 3
9000004 1 15 3 2
9000004 2 15 2 1.2
9000005 1 15 3 2
9000005 2 37 1 0.6
9000006 1 15 4 3
9000006 2 15 4 2
9000007 1 15 1.8 0
9000007 2 15 - -
9000008 1 15 2 3
""",
    "outcomes99": """
ID V99ERKDAYS V99ELKDAYS V99ERKVSRP V99ELKVSRP V99ERKBLRP V99ELKBLRP V99ERKRPCF V99ELKRPCF
9000001 - - - - - - - -
9000003 - 301 - 1 - - - 3
9000004 - - - - 1 - - -
9000005 200 - 1 - - - 0 -
9000007 - - - 1 - - - 3
9000008 700 - 3 - - - 3 -
""",
}

# NDA: the header as the structure has it, its description row, then named cells; all others blank.
NDA = {
    "oai_enrollee01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears race ethnicity site e_cohort version",
        """
src_subject_id=9000001 interview_age=740 sex=F visit=V00 ageyears=61 race=White ethnicity=No site=C e_cohort=1
src_subject_id=9000002 interview_age=661 sex=M visit=V00 ageyears=55 site=A e_cohort=2
src_subject_id=9000003 interview_age=590 sex=M visit=V00 ageyears=49 race=Black~or~African~American site=B e_cohort=2
src_subject_id=9000004 interview_age=845 sex=F visit=V00 ageyears=70 race=Asian site=D e_cohort=1
src_subject_id=9000005 interview_age=950 sex=M visit=V00 ageyears=79 race=Other~Non-White site=E e_cohort=3
src_subject_id=9000006 interview_age=540 sex=F visit=V00 ageyears=45 race=White site=C e_cohort=1
src_subject_id=9000007 interview_age=800 sex=M visit=V00 ageyears=66 race=White site=A e_cohort=2
src_subject_id=9000008 interview_age=707 sex=F visit=V00 ageyears=58 race=White site=B e_cohort=2
""",
    ),
    "oai_koos_womac01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears womac_pain_right womac_pain_left womac_stiffness_right womac_stiffness_left womac_disability_right womac_disability_left womac_total_right womac_total_left koos_rkpain koos_lkpain koos_rksymptoms koos_lksymptoms version",
        """
src_subject_id=9000001 interview_age=740 sex=F visit=V00 ageyears=61 womac_pain_right=2 womac_pain_left=0 womac_stiffness_right=3 womac_stiffness_left=0 womac_disability_right=10.5 womac_disability_left=0 womac_total_right=15.5 womac_total_left=0 koos_rkpain=88.9 koos_lkpain=100
src_subject_id=9000001 interview_age=752 sex=F visit=V01 ageyears=62 womac_pain_right=9 womac_pain_left=9 womac_stiffness_right=8 koos_rkpain=1
src_subject_id=9000002 interview_age=661 sex=M visit=V00 ageyears=55 womac_pain_left=1.5 womac_stiffness_right=1 womac_stiffness_left=2 womac_disability_right=3 womac_disability_left=4 womac_total_left=7.5 koos_rkpain=75 koos_lkpain=69.4
src_subject_id=9000003 interview_age=590 sex=M visit=V00 ageyears=49 womac_pain_right=0 womac_pain_left=7 womac_stiffness_right=0 womac_stiffness_left=2 womac_disability_right=0 womac_disability_left=20 womac_total_right=0 womac_total_left=29 koos_rkpain=100 koos_lkpain=50
src_subject_id=9000004 interview_age=845 sex=F visit=V00 ageyears=70 womac_pain_right=5 womac_pain_left=0.5 womac_stiffness_right=4 womac_stiffness_left=1 womac_disability_right=17 womac_disability_left=2 womac_total_right=26 womac_total_left=3.5 koos_rkpain=61.1 koos_lkpain=97.2
src_subject_id=9000005 interview_age=950 sex=M visit=V00 ageyears=79 womac_pain_right=1 womac_pain_left=0.9 womac_stiffness_right=0 womac_stiffness_left=0 womac_disability_right=1 womac_disability_left=1 womac_total_right=2 womac_total_left=1.9 koos_rkpain=91.7 koos_lkpain=94.4
src_subject_id=9000006 interview_age=540 sex=F visit=V00 ageyears=45 womac_pain_right=20 womac_pain_left=21 womac_stiffness_right=8 womac_stiffness_left=8 womac_disability_right=68 womac_disability_left=68 womac_total_right=96 womac_total_left=96 koos_rkpain=0 koos_lkpain=2.8
src_subject_id=9000007 interview_age=800 sex=M visit=V00 ageyears=66 womac_pain_right=3 womac_pain_left=4 womac_stiffness_right=2 womac_stiffness_left=2 womac_disability_right=9 womac_disability_left=11 womac_total_right=14 womac_total_left=17 koos_rkpain=80.6 koos_lkpain=77.8
src_subject_id=9000008 interview_age=707 sex=F visit=V00 ageyears=58 womac_pain_right=0 womac_pain_left=2.5 womac_stiffness_right=0 womac_stiffness_left=1 womac_disability_right=0 womac_disability_left=6 womac_total_right=0 womac_total_left=9.5 koos_rkpain=100 koos_lkpain=86.1
""",
    ),
    "oai_oarisk01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears height_av weight_met bmi ksurgr ksurgl injr injl injr1 injl1 version",
        """
src_subject_id=9000001 interview_age=740 sex=F visit=V00 ageyears=61 height_av=1654 weight_met=75.2 bmi=27.5 ksurgr=1 ksurgl=0 injr1=30
src_subject_id=9000002 interview_age=661 sex=M visit=V00 ageyears=55 height_av=1780 weight_met=90 ksurgr=0 ksurgl=0
src_subject_id=9000003 interview_age=590 sex=M visit=V00 ageyears=49 height_av=1801 weight_met=71.7 bmi=22.1 ksurgr=0 ksurgl=1
src_subject_id=9000004 interview_age=845 sex=F visit=V00 ageyears=70 weight_met=80.5 bmi=31 ksurgr=0
src_subject_id=9000005 interview_age=950 sex=M visit=V00 ageyears=79 height_av=1720 weight_met=73.6 bmi=24.9 ksurgr=0 ksurgl=0
src_subject_id=9000006 interview_age=540 sex=F visit=V00 ageyears=45 height_av=1600 weight_met=92.7 bmi=36.2 ksurgr=1 ksurgl=1
src_subject_id=9000007 interview_age=800 sex=M visit=V00 ageyears=66 height_av=1755 weight_met=90.2 bmi=29.3 ksurgr=0 ksurgl=0
src_subject_id=9000008 interview_age=707 sex=F visit=V00 ageyears=58 height_av=1688 weight_met=72.4 bmi=25.4 ksurgr=0 ksurgl=0 injl1=18
""",
    ),
    "oai_kxrquantjsw01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears readprj side version incplm incpll incstps ltpmebe nomjswx nommjsw nolmin mjswbb mcmjsw xmjsw jsw150 jsw175 jsw200 jsw225 jsw250 jsw275 jsw300 noljswx ljsw700 ljsw725 ljsw750 ljsw775 ljsw800 ljsw825 ljsw850 ljsw875 ljsw900 tpcfds bmang cfwdth impixsz barcode xrdate filename comments_misc folder",
        """
src_subject_id=9000001 visit=V00 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=4.1 xmjsw=0.21 jsw150=7 jsw225=6.3 ljsw700=5 barcode=16600000001
src_subject_id=9000001 visit=V00 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=5 xmjsw=0.23 jsw225=6 barcode=16600000001
src_subject_id=9000002 visit=V00 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=4.025 jsw225=5.5
src_subject_id=9000002 visit=V00 sex=M readprj=20 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3 jsw225=4.5
src_subject_id=9000003 visit=V00 sex=M readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.3 jsw225=4
src_subject_id=9000003 visit=V00 sex=M readprj=18 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.9 jsw225=4
src_subject_id=9000003 visit=V00 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=0.6 jsw225=2
src_subject_id=9000004 visit=V00 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2 jsw225=3
src_subject_id=9000004 visit=V00 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=4 jsw225=5
src_subject_id=9000005 visit=V00 sex=M readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.2 jsw225=4.4 nolmin=1
src_subject_id=9000005 visit=V00 sex=M readprj=16 side=2 nommjsw=0 nomjswx=1 mjswbb=0 mcmjsw=2.8 jsw225=5.1 incplm=1
src_subject_id=9000006 visit=V00 sex=F readprj=16 side=1 nommjsw=1 nomjswx=0 mjswbb=1 mcmjsw=0 jsw225=1.2
src_subject_id=9000006 visit=V00 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=1 jsw225=2.2
src_subject_id=9000008 visit=V00 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.4 jsw225=4
src_subject_id=9000008 visit=V00 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0
src_subject_id=9000001 visit=V01 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.6 jsw225=6.3
src_subject_id=9000001 visit=V01 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=5 jsw225=5.4
src_subject_id=9000002 visit=V01 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.52 jsw225=5
src_subject_id=9000002 visit=V01 sex=M readprj=20 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2 jsw225=3.5
src_subject_id=9000003 visit=V01 sex=M readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 jsw225=4
src_subject_id=9000003 visit=V01 sex=M readprj=18 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.35 jsw225=4
src_subject_id=9000003 visit=V01 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=0.7 jsw225=2
src_subject_id=9000004 visit=V01 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.1 jsw225=3.1
src_subject_id=9000004 visit=V01 sex=F readprj=16 side=2 nommjsw=1 nomjswx=0 mjswbb=0 mcmjsw=3 jsw225=4.4
src_subject_id=9000005 visit=V01 sex=M readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.6 jsw225=4.4
src_subject_id=9000005 visit=V01 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.1 jsw225=5
src_subject_id=9000006 visit=V01 sex=F readprj=16 side=1 nommjsw=1 nomjswx=0 mjswbb=1 mcmjsw=0 jsw225=1.1
src_subject_id=9000006 visit=V01 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=1 mcmjsw=0 jsw225=1.5
src_subject_id=9000008 visit=V01 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.5 jsw225=4.05
src_subject_id=9000008 visit=V01 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=4 jsw225=4
src_subject_id=9000001 visit=V03 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.7 jsw225=6
src_subject_id=9000001 visit=V03 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=4.5 jsw225=5.3
src_subject_id=9000002 visit=V03 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3.526 jsw225=5
src_subject_id=9000004 visit=V03 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=1 jsw225=2
src_subject_id=9000005 visit=V03 sex=M readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=3 jsw225=4
src_subject_id=9000005 visit=V03 sex=M readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=2.1 jsw225=5
src_subject_id=9000006 visit=V03 sex=F readprj=16 side=2 nommjsw=0 nomjswx=0 mjswbb=1 mcmjsw=0 jsw225=1
src_subject_id=9000008 visit=V03 sex=F readprj=16 side=1 nommjsw=0 nomjswx=0 mjswbb=0 mcmjsw=1.9 jsw225=3.9
""",
    ),
    "oai_kxrsemiquant01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears readprj side version xrkl xrjsm xrjsl xrosfm xrostm barcode",
        """
src_subject_id=9000001 visit=V00 sex=F readprj=15 side=1 xrkl=2 xrjsm=1 xrjsl=0
src_subject_id=9000001 visit=V00 sex=F readprj=15 side=2 xrkl=0 xrjsm=0 xrjsl=0
src_subject_id=9000003 visit=V00 sex=M readprj=37 side=1 xrkl=3 xrjsm=2
src_subject_id=9000003 visit=V00 sex=M readprj=15 side=1
src_subject_id=9000003 visit=V00 sex=M readprj=15 side=2 xrkl=4 xrjsm=3
src_subject_id=9000004 visit=V00 sex=F readprj=15 side=1 xrkl=2 xrjsm=1
src_subject_id=9000004 visit=V00 sex=F readprj=15 side=2 xrkl=2 xrjsm=1.2
src_subject_id=9000005 visit=V00 sex=M readprj=15 side=1 xrkl=2 xrjsm=1
src_subject_id=9000005 visit=V00 sex=M readprj=42 side=2 xrkl=1 xrjsm=0
src_subject_id=9000006 visit=V00 sex=F readprj=15 side=1 xrkl=4 xrjsm=3
src_subject_id=9000006 visit=V00 sex=F readprj=15 side=2 xrkl=3 xrjsm=2
src_subject_id=9000007 visit=V00 sex=M readprj=15 side=1 xrkl=1 xrjsm=0
src_subject_id=9000007 visit=V00 sex=M readprj=15 side=2 xrkl=3 xrjsm=1
src_subject_id=9000008 visit=V00 sex=F readprj=15 side=1 xrkl=2 xrjsm=2
src_subject_id=9000001 visit=V01 sex=F readprj=15 side=1 xrkl=2 xrjsm=1.4
src_subject_id=9000001 visit=V01 sex=F readprj=15 side=2 xrkl=1 xrjsm=0
src_subject_id=9000003 visit=V01 sex=M readprj=37 side=1 xrkl=3 xrjsm=2
src_subject_id=9000003 visit=V01 sex=M readprj=15 side=2 xrkl=4 xrjsm=3
src_subject_id=9000004 visit=V01 sex=F readprj=15 side=1 xrkl=3 xrjsm=2
src_subject_id=9000004 visit=V01 sex=F readprj=15 side=2 xrkl=2 xrjsm=1.2
src_subject_id=9000005 visit=V01 sex=M readprj=15 side=1 xrkl=3 xrjsm=2
src_subject_id=9000005 visit=V01 sex=M readprj=37 side=2 xrkl=1 xrjsm=0.6
src_subject_id=9000006 visit=V01 sex=F readprj=15 side=1 xrkl=4 xrjsm=3
src_subject_id=9000006 visit=V01 sex=F readprj=15 side=2 xrkl=4 xrjsm=2
src_subject_id=9000007 visit=V01 sex=M readprj=15 side=1 xrkl=1.8 xrjsm=0
src_subject_id=9000007 visit=V01 sex=M readprj=15 side=2
src_subject_id=9000008 visit=V01 sex=F readprj=15 side=1 xrkl=2 xrjsm=3
""",
    ),
    "oai_outcome01": (
        "subjectkey src_subject_id interview_date interview_age sex visit ageyears rkdate lkdate rkdays lkdays rkvsrp lkvsrp rkblrp lkblrp rkrpcf lkrpcf rktlpr lktlpr version",
        """
src_subject_id=9000001 sex=F visit=V99
src_subject_id=9000003 sex=M visit=V99 lkdate=11/28/2005 lkdays=301 lkvsrp=1 lkrpcf=3 lktlpr=1
src_subject_id=9000004 sex=F visit=V99 rkblrp=1
src_subject_id=9000005 sex=M visit=V99 rkdate=08/19/2005 rkdays=200 rkvsrp=1 rkrpcf=0
src_subject_id=9000007 sex=M visit=V99 lkvsrp=1 lkrpcf=3
src_subject_id=9000008 sex=F visit=V99 rkdate=01/01/2007 rkdays=700 rkvsrp=3 rkrpcf=3 rktlpr=1
""",
    ),
}

DESCRIPTIONS = {
    "subjectkey": "The NDAR Global Unique Identifier (GUID) for research subject",
    "src_subject_id": "Subject ID how it's defined in lab/project",
    "interview_date": "Date on which the interview was completed. MM/DD/YYYY",
    "interview_age": "Age in months at the time of the interview",
    "sex": "Sex of subject at birth",
    "visit": "Visit name",
}


def put(path, text, encoding="latin-1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode(encoding))
    return path


def write_ascii(root):
    for name, text in ASCII.items():
        put(root / "x_ASCII" / f"{name}.txt", text.strip().replace("\n", "\r\n") + "\r\n")
    return root


def write_sas(root):
    there = Path(__file__).with_name("test_forms.py")
    spec = importlib.util.spec_from_file_location("forms_of_the_study", there)
    forms = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(forms)
    root.mkdir(parents=True)
    for name, text in SAS.items():
        header, *lines = [line.split() for line in text.strip().splitlines()]
        cells = [[None if cell == "-" else cell for cell in line] for line in lines]
        (root / f"{name}.sas7bdat").write_bytes(forms.sas_file(header, cells))
    return root


def nda_lines(name, tables=NDA):
    """The header of a structure and its rows, each cell in the column that it names."""
    names, text = tables[name]
    header = names.split()
    rows = []
    for number, line in enumerate(text.strip().splitlines()):
        named = dict(cell.split("=", 1) for cell in line.split())
        named.setdefault("subjectkey", f"NDAR_INV{number:08d}")
        named.setdefault("interview_date", "01/31/2005")
        assert set(named) <= set(header), set(named) - set(header)
        rows.append([named.get(column, "").replace("~", " ") for column in header])
    return header, rows


def write_structure(path, header, rows, separator="\t", quote='"', is_described=True, end="\r\n"):
    described = [DESCRIPTIONS.get(column, f"What {column} means") for column in header]
    lines = [header, *([described] if is_described else []), *rows]
    text = "".join(separator.join(f"{quote}{c}{quote}" for c in line) + end for line in lines)
    return put(path, text)


def write_nda(root, leave_out=(), suffix=".txt", **form):
    put(root / "package_info.txt", "Package ID: 0\n")
    put(root / "md5_values.txt", "0" * 32 + "  oai_enrollee01.txt\n")
    put(root / "dataset_collection.txt", '"collection_id"\t"title"\r\n"0"\t"none"\r\n')
    put(root / "README.pdf", "%PDF-1.4\n")
    for name in NDA:
        if name not in leave_out:
            write_structure(root / f"{name}{suffix}", *nda_lines(name), **form)
    return root


def labels_of(source, endpoint="jsn12", horizon=None, visit="00m", width="mcmjsw"):
    chosen = endpoint_of(endpoint, horizon, visit, width)
    return label_tables(open_tables(source, chosen, visit))


def found(labels):
    """Knee -> label, short: `1R` is the right knee of 9000001."""
    return {f"{k.subject[-1]}{k.side[0].upper()}": k.label for k in labels.knees}


def table(labels):
    return [labels.columns(), *labels.rows()]


def values(labels, name):
    return {row["knee"]: row[name] for row in labels.rows()}


# --- the labels that the tables above give, worked by hand ----------------------------------------


def knees(text):
    """`1R=1 1L=0` as a dictionary; `-` is no label."""
    pairs = (cell.split("=") for cell in text.split())
    return {knee: None if label == "-" else int(label) for knee, label in pairs}


BY_HAND = {
    # 2R read in the test-retest project only, 3L replaced on day 301, 4R at baseline, 4L not
    # measurable, 7 never read, 8L not read at baseline; 5R's replacement was not confirmed.
    ("jsn12",): knees("1R=1 1L=0 2L=1 3R=1 5R=1 5L=1 6R=0 6L=1 8R=0"),
    # 8R replaced on day 700, of 730.
    ("jsn24",): knees("1R=0 1L=1 2L=0 5R=0 5L=1 6L=1"),
    # 6R has no relative change from 0; 5L lost exactly a quarter.
    ("jsn12-relative",): knees("1R=0 1L=0 2L=0 3R=0 5R=0 5L=1 6L=1 8R=0"),
    # Project 16 has both of 3R here. 4L's NOMMJSW and 6R's are of the minimum, 5L's NOMJSWX is not.
    ("jsn12", "--width", "jsw225"): knees("1R=0 1L=1 2L=1 3R=0 4L=1 5R=0 6R=0 6L=1 8R=0"),
    # 3L is replaced later than the visit; 5R's 1 and 2L's 1.5 are in between, 6L's 21 is no score.
    ("pain",): knees("1R=1 1L=0 3R=0 3L=1 4L=0 5L=0 6R=1 7R=1 7L=1 8R=0 8L=1"),
    # 3L and 7L are replaced; 7R's 1.8 is a 1; 42 is 37.
    ("kl",): knees("1R=0 1L=1 3R=0 3L=1 4L=0 5R=1 5L=0 6R=0 6L=1 7R=0 7L=1 8R=0"),
    ("jsn-grade",): knees("1R=1 1L=0 3R=0 4L=0 5R=1 5L=1 6R=0 6L=0 7R=0 8R=1"),
    ("none",): knees("1R=- 1L=- 2R=- 2L=- 3R=- 3L=- 4L=- 5R=- 5L=- 6R=- 6L=- 7R=- 7L=- 8R=- 8L=-"),
}


@pytest.fixture(scope="module")
def forms(tmp_path_factory):
    root = tmp_path_factory.mktemp("forms")
    return {
        "ascii": write_ascii(root / "ascii"),
        "sas": write_sas(root / "sas"),
        "nda": write_nda(root / "nda"),
    }


@pytest.mark.parametrize("form", ["ascii", "sas", "nda"])
@pytest.mark.parametrize("options", BY_HAND, ids=" ".join)
def test_the_labels_are_those_worked_by_hand(forms, form, options):
    endpoint, *width = options
    labels = labels_of(forms[form], endpoint, width=width[-1] if width else "mcmjsw")
    assert found(labels) == BY_HAND[options]


def oa_label(*arguments):
    code = "from oatools.commands.label import main; main()"
    command = [sys.executable, "-c", code, *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.mark.parametrize("options", BY_HAND, ids=" ".join)
def test_all_forms_print_the_same_bytes(forms, options):
    printed = {}
    for form, folder in forms.items():
        done = oa_label(folder, "--endpoint", *options)
        assert done.returncode == 0, done.stderr
        printed[form] = done.stdout
    assert printed["nda"] == printed["ascii"] == printed["sas"]


@pytest.mark.parametrize(
    "column,expected",
    [
        ("sex", ["female", "male", "male", "female"]),
        ("age", ["61", "55", "49", "70"]),
        ("race", ["white", "n/a", "black", "asian"]),
        ("site", ["C", "A", "B", "D"]),
        ("cohort", ["progression", "incidence", "incidence", "progression"]),
        ("height", ["1.654", "1.78", "1.801", "n/a"]),
        ("weight", ["75.2", "90", "71.7", "80.5"]),
        ("bmi", ["27.5", "n/a", "22.1", "31"]),
        ("womac_pain", ["0", "1.5", "7", "0.5"]),
        ("womac_stiffness", ["0", "2", "2", "1"]),
        ("womac_function", ["0", "4", "20", "2"]),
        ("womac_total", ["0", "7.5", "29", "3.5"]),
        ("koos_pain", ["100", "69.4", "50", "97.2"]),
        ("surgery", ["0", "0", "1", "n/a"]),
        ("injury", ["n/a", "n/a", "n/a", "n/a"]),
        ("kl", ["0", "n/a", "4", "2"]),
        ("jsm", ["0", "n/a", "3", "1"]),
        ("jsw", ["5", "4.025", "0.6", "4"]),
    ],
)
def test_a_variable_of_left_knees_comes_from_its_column_in_nda(forms, column, expected):
    read = values(labels_of(forms["nda"], "none"), column)
    assert [read[f"900000{n}_00m_left"] for n in (1, 2, 3, 4)] == expected


@pytest.mark.parametrize(
    "column,expected",
    [
        ("womac_pain", ["2", "n/a", "0", "1"]),
        ("womac_stiffness", ["3", "1", "0", "0"]),
        ("womac_function", ["10.5", "3", "0", "1"]),
        ("womac_total", ["15.5", "n/a", "0", "2"]),
        ("koos_pain", ["88.9", "75", "100", "91.7"]),
        ("surgery", ["1", "0", "0", "0"]),
        ("kl", ["2", "n/a", "3", "2"]),
        ("jsm", ["1", "n/a", "2", "1"]),
        ("jsw", ["4.1", "n/a", "3.3", "3.2"]),  # 2R in the test-retest project alone
    ],
)
def test_a_variable_of_right_knees_comes_from_its_column_in_nda(forms, column, expected):
    read = values(labels_of(forms["nda"], "none"), column)
    assert [read[f"900000{n}_00m_right"] for n in (1, 2, 3, 5)] == expected


def test_what_a_full_download_must_give_is_counted_alike_in_all_forms(forms):
    counted = {}
    for form, folder in forms.items():
        counted[form] = [item.row() for item in expectations(find_tables(folder))]
    assert counted["nda"] == counted["ascii"] == counted["sas"]
    read = {(row["quantity"], row["visit"]): row["found"] for row in counted["nda"]}
    assert read["knees with both widths", "12m"] == "10"  # all of the table but 2R, 3R, 4L and 8L
    assert read["right knees replaced at baseline", "00m"] == "1"
    assert read["right knees replaced later", "96m"] == "2"
    assert read["without height", "00m"] == "12.50"  # 1 of 8


def test_the_longitudinal_project_goes_before_others_that_have_both_visits(tmp_path):
    write_nda(tmp_path)
    header, rows = nda_lines("oai_kxrquantjsw01")
    for visit, width in (("V00", "4"), ("V01", "4")):
        for project in ("15", "18"):
            cells = {"src_subject_id": "9000001", "visit": visit, "side": "1", "readprj": project}
            cells["mcmjsw"] = width
            rows.insert(0, [cells.get(column, "") for column in header])
    write_structure(tmp_path / "oai_kxrquantjsw01.txt", header, rows)
    assert found(labels_of(tmp_path)) == BY_HAND[("jsn12",)]


def test_project_15_goes_before_37_at_the_early_visits(tmp_path):
    write_nda(tmp_path)
    header, rows = nda_lines("oai_kxrsemiquant01")
    for visit, grade in (("V00", "0"), ("V01", "3")):
        cells = {"src_subject_id": "9000001", "visit": visit, "side": "1", "readprj": "37"}
        cells |= {"xrkl": grade, "xrjsm": grade}
        rows.insert(0, [cells.get(column, "") for column in header])
    write_structure(tmp_path / "oai_kxrsemiquant01.txt", header, rows)
    for endpoint in ("kl", "jsn-grade"):
        labels = labels_of(tmp_path, endpoint)
        assert found(labels) == BY_HAND[(endpoint,)]
        assert values(labels, "kl")["9000001_00m_right"] == "2"
        assert values(labels, "readprj")["9000001_00m_right"] == "15"


def test_what_was_left_out_is_said_by_its_reason(forms):
    assert labels_of(forms["nda"]).left_out == {
        "knee replaced by 12m": 3,  # 3L, 4R, 7L
        "no JSW at 00m": 3,  # 2R, 7R, 8L
        "JSW not measurable at 12m": 1,  # 4L
    }


def test_the_number_of_labels_of_each_project_and_the_retest_rows_are_said(forms):
    notes = " | ".join(labels_of(forms["nda"]).notes)
    assert "8 of project 16, 1 of project 18" in notes
    assert notes.count("1 records of project 20 (test-retest), not used") == 2


# --- the ways in which people keep a package ------------------------------------------------------


@pytest.mark.parametrize(
    "form",
    [
        {"is_described": False},
        {"suffix": ".csv", "separator": ","},
        {"suffix": ".csv", "separator": ",", "is_described": False, "end": "\n"},
        {"suffix": ".tsv", "is_described": False, "end": "\n"},
        {"suffix": ".TXT"},
        {"quote": ""},
        {"suffix": ".csv", "separator": ";", "is_described": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("endpoint", ["jsn12", "pain", "kl"])
def test_a_package_that_was_saved_again_gives_the_same(tmp_path, forms, form, endpoint):
    again = write_nda(tmp_path / "again", **form)
    assert table(labels_of(again, endpoint)) == table(labels_of(forms["nda"], endpoint))


@pytest.mark.parametrize("index", [False, True])
@pytest.mark.parametrize("as_float", [False, True])
def test_a_package_saved_again_by_pandas_gives_the_same(tmp_path, forms, index, as_float):
    pandas = pytest.importorskip("pandas")
    for path in sorted(forms["nda"].glob("oai_*.txt")):
        frame = pandas.read_csv(path, sep="\t", skiprows=[1])
        if as_float:
            numbers = frame.select_dtypes("number").columns
            frame[numbers] = frame[numbers].astype(float)
        frame.to_csv(tmp_path / f"{path.stem}.csv", index=index)
    if as_float:
        saved = (tmp_path / "oai_kxrquantjsw01.csv").read_text()
        assert "9000001.0" in saved and "16.0" in saved
    for endpoint in ("jsn12", "pain", "kl", "none"):
        assert table(labels_of(tmp_path, endpoint)) == table(labels_of(forms["nda"], endpoint))


def test_names_of_structures_may_lack_the_prefix_and_be_in_capitals(tmp_path, forms):
    write_nda(tmp_path)
    (tmp_path / "oai_enrollee01.txt").rename(tmp_path / "ENROLLEE01.TXT")
    (tmp_path / "oai_outcome01.txt").rename(tmp_path / "outcome01.tsv")
    assert table(labels_of(tmp_path)) == table(labels_of(forms["nda"]))


def test_an_unfinished_copy_is_not_read(tmp_path, forms):
    write_nda(tmp_path)
    put(tmp_path / "oai_outcome01.txt.partial", '"src_subject_id"\t"rkdays"\r\n"9000001"\t"1')
    assert table(labels_of(tmp_path)) == table(labels_of(forms["nda"]))


@pytest.mark.parametrize("endpoint", ["jsn12", "pain", "kl", "none"])
def test_the_same_package_twice_is_one(tmp_path, forms, endpoint):
    write_nda(tmp_path / "Package_1")
    write_nda(tmp_path / "Package_2", is_described=False, suffix=".csv", separator=",")
    twice, once = labels_of(tmp_path, endpoint), labels_of(forms["nda"], endpoint)
    assert table(twice) == table(once)
    # no record counts as repeated
    assert twice.notes == once.notes and twice.left_out == once.left_out


@pytest.mark.parametrize("endpoint", ["jsn12", "pain", "kl"])
def test_a_package_beside_its_copy_of_floats_is_one(tmp_path, forms, endpoint):
    pandas = pytest.importorskip("pandas")
    for path in sorted(write_nda(tmp_path).glob("oai_*.txt")):
        frame = pandas.read_csv(path, sep="\t", skiprows=[1])
        numbers = frame.select_dtypes("number").columns
        frame[numbers] = frame[numbers].astype(float)
        frame.to_csv(tmp_path / f"{path.stem}.csv", index=False)
    twice, once = labels_of(tmp_path, endpoint), labels_of(forms["nda"], endpoint)
    assert table(twice) == table(once) and twice.notes == once.notes


@pytest.mark.parametrize("endpoint", ["jsn12", "pain", "kl"])
def test_two_packages_of_different_people_are_joined(tmp_path, forms, endpoint):
    for name in NDA:
        header, rows = nda_lines(name)
        place = header.index("src_subject_id")
        for package, people in (("Package_1", "1357"), ("Package_2", "24687")):
            chosen = [row for row in rows if row[place][-1] in people]
            write_structure(tmp_path / package / f"{name}.txt", header, chosen)
    assert table(labels_of(tmp_path, endpoint)) == table(labels_of(forms["nda"], endpoint))


@pytest.mark.parametrize(
    "name,old,new,endpoint",
    [
        ("oai_kxrquantjsw01", '"3.6"', '"3.7"', "jsn12"),
        ("oai_kxrsemiquant01", '"1.4"', '"1.6"', "jsn-grade"),
        ("oai_koos_womac01", '"2.5"', '"3.5"', "pain"),
        ("oai_oarisk01", '"75.2"', '"76.2"', "jsn12"),
        ("oai_outcome01", '"301"', '"801"', "jsn12"),
        ("oai_enrollee01", '"White"', '"Asian"', "jsn12"),
    ],
)
def test_two_packages_that_contradict_each_other_are_refused(tmp_path, name, old, new, endpoint):
    write_nda(tmp_path / "Package_1")
    write_nda(tmp_path / "Package_2")
    other = tmp_path / "Package_2" / f"{name}.txt"
    text = other.read_text()
    assert old in text
    other.write_text(text.replace(old, new, 1))
    with pytest.raises(UsageError) as refused:
        labels_of(tmp_path, endpoint)
    said = str(refused.value.reason)
    assert f"Package_1/{name}.txt" in said and f"Package_2/{name}.txt" in said


def test_two_packages_that_repeat_a_reading_alike_are_no_contradiction(tmp_path):
    """A knee read twice in a project stands twice in either package; the measured one counts."""
    header, rows = nda_lines("oai_kxrquantjsw01")
    again = list(rows[0])
    again[header.index("mcmjsw")] = ""
    for package in ("Package_1", "Package_2"):
        write_nda(tmp_path / package)
        there = tmp_path / package / "oai_kxrquantjsw01.txt"
        write_structure(there, header, [again, *rows])
    assert found(labels_of(tmp_path)) == BY_HAND[("jsn12",)]


def test_two_packages_that_contradict_each_other_are_refused_with_a_column_more(tmp_path):
    write_nda(tmp_path)
    header, rows = nda_lines("oai_kxrquantjsw01")
    numbered = [[str(n), *row] for n, row in enumerate(rows)]
    numbered[15][1 + header.index("mcmjsw")] = "3.7"  # of 3.6
    write_structure(
        tmp_path / "again.csv", ["", *header], numbered, separator=",", is_described=False
    )
    with pytest.raises(UsageError):
        labels_of(tmp_path)


def test_a_copy_with_one_column_more_is_a_copy(tmp_path, forms):
    """pandas writes its index as a column without a name."""
    write_nda(tmp_path)
    header, rows = nda_lines("oai_koos_womac01")
    numbered = [[str(n), *row] for n, row in enumerate(rows)]
    write_structure(
        tmp_path / "again.csv", ["", *header], numbered, separator=",", is_described=False
    )
    assert table(labels_of(tmp_path, "pain")) == table(labels_of(forms["nda"], "pain"))


# --- what lies beside ------------------------------------------------------------------------------

IMAGE03 = (
    "subjectkey src_subject_id interview_date interview_age sex image_file image_description scan_type image_modality comments_misc accession_number visit ageyears",
    """
src_subject_id=9000001 interview_age=999 sex=M image_file=s3://x/submission_1/00m/0.E.1/9000001/20050131/10000001.tar.gz image_description=COR_IW_TSE_RIGHT image_modality=MRI visit=V00 ageyears=99
src_subject_id=9000099 interview_age=999 sex=M image_file=s3://x/submission_1/00m/0.E.1/9000099/20050131/10000002.tar.gz image_description=COR_IW_TSE_LEFT image_modality=MRI visit=V00 ageyears=99
""",
)
MRIMETA = (
    "subjectkey src_subject_id interview_date interview_age sex visit mexamtp mrbarcd mrside mrdate mrcomp qcreslt scnupgr version",
    """
src_subject_id=9000001 interview_age=999 sex=M visit=V00 mexamtp=COR~IW~TSE mrbarcd=16610000001 mrside=1 mrcomp=1
src_subject_id=9000099 interview_age=999 sex=M visit=V00 mexamtp=COR~IW~TSE mrbarcd=16610000002 mrside=2 mrcomp=1
""",
)


# With columns that tables of people have, too.
XRMETA = (
    "subjectkey src_subject_id interview_date interview_age sex visit ageyears site bmi examtp xrbarcd side xrdate",
    """
src_subject_id=9000001 interview_age=999 sex=M visit=V00 ageyears=99 site=E bmi=99 examtp=PA~Fixed~Flexion xrbarcd=16600000001 side=3
src_subject_id=9000002 interview_age=999 sex=M visit=V00 ageyears=99 site=E bmi=99 examtp=PA~Fixed~Flexion xrbarcd=16600000002 side=3
src_subject_id=9000099 interview_age=999 sex=M visit=V00 ageyears=99 site=E bmi=99 examtp=PA~Fixed~Flexion xrbarcd=16600000003 side=3
""",
)


@pytest.mark.parametrize(
    "name,lines",
    [
        ("image03", IMAGE03),
        ("oai_mrimeta01", MRIMETA),
        ("a_copy", IMAGE03),
        ("oai_xrmeta01", XRMETA),
    ],
)
@pytest.mark.parametrize("leave_out", [(), ("oai_enrollee01",)])
def test_structures_of_images_are_not_read_as_people(tmp_path, name, lines, leave_out):
    write_nda(tmp_path / "with", leave_out)
    write_nda(tmp_path / "without", leave_out)
    write_structure(tmp_path / "with" / f"{name}.txt", *nda_lines("x", {"x": lines}))
    for endpoint in ("none", "jsn12"):
        beside = labels_of(tmp_path / "with", endpoint)
        assert table(beside) == table(labels_of(tmp_path / "without", endpoint))
        assert "9000099" not in str(table(beside))


@pytest.mark.parametrize("name", ["oai_hxrsemiquant01", "oai_hip_xr01", "HXRsemiquant01"])
def test_grades_of_hips_are_not_those_of_knees(tmp_path, forms, name):
    hip = (
        "subjectkey src_subject_id interview_date interview_age sex visit readprj side xrkl hxrjsn"
    )
    row = "src_subject_id={} sex=F visit=V00 readprj=15 side=1 xrkl=4"
    lines = "\n".join(row.format(subject) for subject in ("9000001", "9000002"))
    write_nda(tmp_path)
    write_structure(tmp_path / f"{name}.txt", *nda_lines("x", {"x": (hip, lines)}))
    assert table(labels_of(tmp_path, "kl")) == table(labels_of(forms["nda"], "kl"))


def test_rows_of_other_studies_are_counted_and_not_used(tmp_path, forms):
    write_nda(tmp_path)
    header, rows = nda_lines("oai_koos_womac01")
    for subject in ("MOST00123", "1234567", "90000012", "8000001"):
        other = list(rows[0])
        other[header.index("src_subject_id")] = subject
        rows.append(other)
    write_structure(tmp_path / "oai_koos_womac01.txt", header, rows)
    labels = labels_of(tmp_path, "pain")
    assert table(labels) == table(labels_of(forms["nda"], "pain"))
    assert "4 rows of other studies" in " ".join(labels.notes)
    assert not any("rows of other studies" in n for n in labels_of(forms["nda"], "pain").notes)


def test_an_outcomes_structure_without_a_line_is_said(tmp_path):
    write_nda(tmp_path)
    write_structure(tmp_path / "oai_outcome01.txt", nda_lines("oai_outcome01")[0], [])
    assert "oai_outcome01" in " ".join(labels_of(tmp_path).notes)


def test_the_age_in_months_serves_where_years_are_blank(tmp_path):
    write_nda(tmp_path)
    for name in NDA:
        header, rows = nda_lines(name)
        for row in rows:
            row[header.index("ageyears")] = ""
        write_structure(tmp_path / f"{name}.txt", header, rows)
    assert values(labels_of(tmp_path, "none"), "age")["9000001_00m_right"] == "61"


def test_a_missing_outcomes_structure_is_said_and_the_knees_stay(tmp_path):
    labels = labels_of(write_nda(tmp_path, leave_out=["oai_outcome01"]))
    assert {"3L", "4R"} <= set(found(labels))
    assert "oai_outcome01" in " ".join(labels.notes)


@pytest.mark.parametrize("endpoint", ["jsn12", "jsn12-relative", "pain", "none"])
def test_labels_come_without_the_structure_of_grades(tmp_path, endpoint):
    labels = labels_of(write_nda(tmp_path, leave_out=["oai_kxrsemiquant01"]), endpoint)
    assert found(labels) == BY_HAND[(endpoint,)]
    assert {row["kl"] for row in labels.rows()} == {"n/a"}
    assert "kxr_sq_bu00" in " ".join(labels.notes)


def test_widths_alone_give_labels(tmp_path):
    only = set(NDA) - {"oai_kxrquantjsw01", "oai_outcome01"}
    assert found(labels_of(write_nda(tmp_path, leave_out=only))) == BY_HAND[("jsn12",)]


@pytest.mark.parametrize(
    "name,endpoint",
    [("oai_kxrquantjsw01", "jsn12"), ("oai_kxrsemiquant01", "kl"), ("oai_koos_womac01", "pain")],
)
def test_a_package_without_what_the_endpoint_needs_is_refused(tmp_path, name, endpoint):
    write_nda(tmp_path, leave_out=[name])
    with pytest.raises(UsageError):
        labels_of(tmp_path, endpoint)


# --- single cells ----------------------------------------------------------------------------------


def changed(root, name, number, **cells):
    """The package with some cells changed in one row of a structure."""
    write_nda(root)
    header, rows = nda_lines(name)
    for column, cell in cells.items():
        rows[number][header.index(column)] = cell
    write_structure(root / f"{name}.txt", header, rows)
    return root


@pytest.mark.parametrize(
    "text,expected",
    [
        ("White", "white"),
        ("WHITE OR CAUCASIAN", "white"),
        ("Black or African American", "black"),
        ("African American", "black"),
        ("Asian", "asian"),
        ("Other Non-White", "other"),
        ("More than one race", "other"),
        ("American Indian/Alaska Native", "other"),
        ("Hawaiian or Pacific Islander", "other"),
        ("Unknown or not reported", "n/a"),
        ("", "n/a"),
        ("1", "white"),
    ],
)
def test_a_race_in_words_is_the_studys_category(tmp_path, text, expected):
    labels = labels_of(changed(tmp_path, "oai_enrollee01", 0, race=text), "none")
    assert values(labels, "race")["9000001_00m_left"] == expected


@pytest.mark.parametrize(
    "text,expected", [("M", "male"), ("F", "female"), ("m", "male"), ("Female", "female")]
)
def test_sex_is_a_letter_or_a_word(tmp_path, text, expected):
    labels = labels_of(changed(tmp_path, "oai_enrollee01", 0, sex=text), "none")
    assert values(labels, "sex")["9000001_00m_left"] == expected


def without_ageyears(root):
    write_nda(root)
    for name in NDA:
        header, rows = nda_lines(name)
        place = header.index("ageyears")
        bare = [[*row[:place], *row[place + 1 :]] for row in rows]
        write_structure(root / f"{name}.txt", [c for c in header if c != "ageyears"], bare)
    return root


def test_the_age_in_months_serves_where_years_are_not_there(tmp_path):
    ages = values(labels_of(without_ageyears(tmp_path), "none"), "age")
    # 740, 661, 590, 845 and 707 months in whole years.
    expected = {"1": "61", "2": "55", "3": "49", "4": "70", "8": "58"}
    assert {n: ages[f"900000{n}_00m_left"] for n in expected} == expected


@pytest.mark.parametrize(
    "cells,expected",
    [
        # replaced on day 200: never a progressor
        ({"rkdays": "200"}, None),
        ({"rkdays": "200.0"}, None),
        ({"rkdays": "365"}, None),
        # the first X-ray is later than this: by the day alone 12 months are over
        ({"rkdays": "366"}, 1),
        ({"rkdays": "366", "rkvsrp": "1"}, None),
        ({"rkdays": "200", "rkrpcf": "3"}, None),
        ({"rkdays": "200", "rkrpcf": "0"}, 1),
        ({"rkdays": "200", "rkrpcf": "0.0"}, 1),
        ({"rkvsrp": "1", "rkrpcf": "0"}, 1),
        ({"rkblrp": "1"}, None),
        ({"rkblrp": "1.0"}, None),
        ({"rkblrp": "0"}, 1),
        ({"lkdays": "200", "lkblrp": "1"}, 1),
        ({"rkvsrp": "2"}, 1),
        ({}, 1),
    ],
    ids=str,
)
def test_a_replacement_of_a_knee_that_lost_half_a_millimetre(tmp_path, cells, expected):
    labels = labels_of(changed(tmp_path, "oai_outcome01", 0, **cells))
    assert found(labels).get("1R") == expected


@pytest.mark.parametrize("endpoint", ["jsn12", "jsn24", "jsn12-relative", "pain", "kl", "none"])
def test_a_knee_replaced_at_baseline_is_in_no_endpoint(tmp_path, endpoint):
    labels = labels_of(changed(tmp_path, "oai_outcome01", 0, rkblrp="1"), endpoint)
    assert "1R" not in found(labels)
    assert "1L" in found(labels)


@pytest.mark.parametrize(
    "cells,expected",
    [
        ({"nommjsw": "1"}, None),
        ({"nommjsw": "1", "mjswbb": "1"}, None),  # bone on bone is a width of 0
        ({"nomjswx": "1"}, Decimal("4.1")),
        ({"nolmin": "1"}, Decimal("4.1")),
        ({"incplm": "1", "incpll": "1"}, Decimal("4.1")),
        ({"noljswx": "1"}, Decimal("4.1")),
        ({"readprj": "20"}, None),
        ({"mcmjsw": ""}, None),
        ({"mcmjsw": "0", "mjswbb": "1"}, Decimal(0)),
        ({"mcmjsw": "0", "mjswbb": "1", "nommjsw": "1"}, Decimal(0)),
        ({"mcmjsw": "0", "nommjsw": "1"}, None),
        ({"mcmjsw": "4.099999904632568"}, Decimal("4.1")),  # single precision
    ],
    ids=str,
)
def test_a_flag_of_the_first_width(tmp_path, cells, expected):
    labels = labels_of(changed(tmp_path, "oai_kxrquantjsw01", 0, **cells))
    read = {knee.name: knee.jsw for knee in labels.knees}
    assert read.get("9000001_00m_right") == expected


def test_a_structure_is_read_by_a_csv_reader_too(forms):
    """The quoting of the tests is that of NDA: other programs read it as it is meant."""
    with (forms["nda"] / "oai_outcome01.txt").open(newline="") as stream:
        header, described, *lines = csv.reader(stream, delimiter="\t")
    assert header[:2] == ["subjectkey", "src_subject_id"] and " " in described[0]
    assert [line[1] for line in lines] == [f"900000{n}" for n in (1, 3, 4, 5, 7, 8)]


def test_ascii_and_nda_side_by_side_are_read_once(tmp_path, forms):
    shutil.copytree(forms["ascii"], tmp_path / "ascii")
    shutil.copytree(forms["nda"], tmp_path / "nda")
    assert table(labels_of(tmp_path)) == table(labels_of(forms["ascii"]))


# What R's write.csv makes of a missing value, in the study's own tables and in NDA's.
R_ASCII = {
    "kxr_qjsw_duryea00.csv": """
"ID","SIDE","READPRJ","V00MCMJSW","V00NOMMJSW"
9000001,1,16,4,NA
9000001,2,16,4,NA
9000002,1,16,4,NA
9000003,1,16,4,NA
""",
    "kxr_qjsw_duryea01.csv": """
"ID","SIDE","READPRJ","V01MCMJSW","V01NOMMJSW"
9000001,1,16,3.5,NA
9000001,2,16,NA,NA
9000002,1,16,NA,NA
9000003,1,16,4.2,NA
""",
    "Outcomes99.csv": """
"ID","V99ERKDAYS","V99ERKBLRP","V99ERKRPCF"
9000001,NA,NA,NA
9000002,NA,NA,NA
9000003,NA,NA,NA
""",
    "AllClinical00.csv": """
"ID","P02SEX","V00AGE","P01KRSR"
9000001,NA,61,0
9000002,1,NA,1
9000003,1,50,0
""",
    "Enrollees.csv": """
"ID","P02SEX"
9000001,2
9000002,1
9000003,1
""",
}
R_NDA = {
    "widths.csv": """
"src_subject_id","interview_age","sex","visit","readprj","side","nommjsw","mcmjsw"
9000001,733,"F","V00",16,1,NA,4
9000001,745,"F","V01",16,1,NA,3.5
9000001,733,"F","V00",16,2,NA,4
9000001,745,"F","V01",16,2,NA,NA
9000002,600,"M","V00",16,1,NA,4
9000002,612,"M","V01",16,1,NA,NA
9000003,600,"M","V00",16,1,NA,4
9000003,612,"M","V01",16,1,NA,4.2
""",
    "outcomes.csv": """
"src_subject_id","visit","rkdays","rkblrp","rkrpcf"
9000001,"V99",NA,NA,NA
9000002,"V99",NA,NA,NA
9000003,"V99",NA,NA,NA
""",
    "clinical.csv": """
"src_subject_id","interview_age","sex","visit","ageyears","krsr"
9000001,733,"F","V00",NA,0
9000002,600,"M","V00",NA,1
9000003,600,"M","V00",50,0
""",
}


@pytest.mark.parametrize("tables", [R_ASCII, R_NDA], ids=["ascii", "nda"])
@pytest.mark.parametrize("word", ["NA", "NaN", "n/a", "NULL"])
def test_the_word_of_another_program_for_a_missing_cell_is_missing(tmp_path, tables, word):
    for name, text in tables.items():
        put(tmp_path / name, text.strip().replace("NA", word) + "\n")
    labels = labels_of(tmp_path)
    # The report that 9000002's right knee was replaced before entry is refuted by nothing.
    assert found(labels) == {"1R": 1, "3R": 0}
    assert labels.left_out["knee replaced by 12m, as reported"] == 1
    assert labels.left_out["no JSW at 12m"] == 1
    assert values(labels, "sex")["9000001_00m_right"] == "female"
    assert values(labels, "age")["9000001_00m_right"] == "61"


def test_readings_that_state_no_visit_are_counted_and_not_used(tmp_path):
    put(
        tmp_path / "widths.txt",
        "src_subject_id\tvisit\treadprj\tside\tmcmjsw\n"
        "9000001\tV00\t16\t1\t4\n9000001\tV01\t16\t1\t3\n"
        "9000002\t12-month\t16\t1\t3\n9000002\t\t16\t1\t4\n",
    )
    labels = labels_of(tmp_path)
    assert found(labels) == {"1R": 1}
    assert any("2 rows without a visit" in note for note in labels.notes)


def test_readings_without_a_column_of_visits_are_refused(tmp_path):
    put(
        tmp_path / "widths.csv",
        "src_subject_id,readprj,side,mcmjsw\n9000001,16,1,4\n9000001,16,1,3\n",
    )
    with pytest.raises(UsageError) as caught:
        labels_of(tmp_path)
    assert "no column visit" in caught.value.reason


def test_a_table_of_people_without_visits_tells_of_the_entry_alone(tmp_path):
    put(
        tmp_path / "scores.csv",
        "src_subject_id,womac_pain_right,womac_pain_left\n9000001,5,0\n",
    )
    assert found(labels_of(tmp_path, "pain")) == {"1R": 1, "1L": 0}
    assert found(labels_of(tmp_path, "pain", visit="12m")) == {}


def test_copies_that_contradict_are_refused_though_each_has_a_column_of_its_own(tmp_path):
    header = "src_subject_id,visit,readprj,side,mcmjsw"
    put(tmp_path / "a.csv", f"{header},row\n9000001,V00,16,1,4,1\n9000001,V01,16,1,4,2\n")
    put(tmp_path / "b.csv", f"{header},version\n9000001,V00,16,1,4,2\n9000001,V01,16,1,3,2\n")
    with pytest.raises(UsageError) as caught:
        labels_of(tmp_path)
    assert "differ on 9000001" in caught.value.reason


def test_readings_that_were_split_by_visit_and_by_project_are_joined(tmp_path):
    header = "src_subject_id,visit,readprj,side,mcmjsw"
    put(tmp_path / "v00.csv", f"{header}\n9000001,V00,16,1,4\n9000001,V00,20,1,9\n")
    put(tmp_path / "v01.csv", f"{header},row\n9000001,V01,16,1,3,1\n")
    put(tmp_path / "v01-retest.csv", f"{header},line\n9000001,V01,20,1,9,1\n")
    assert found(labels_of(tmp_path)) == {"1R": 1}


@pytest.mark.parametrize("right,left", [("Right", "Left"), ("R", "l"), ("1: Right", "2.0")])
def test_a_side_of_the_studys_own_tables_is_a_code_or_a_word(tmp_path, right, left):
    for visit, widths in (("00", (4, 4)), ("01", (3, 5))):
        put(
            tmp_path / f"kxr_qjsw_duryea{visit}.csv",
            f"ID,SIDE,READPRJ,V{visit}MCMJSW\n"
            f"9000001,{right},16,{widths[0]}\n9000001,{left},16,{widths[1]}\n",
        )
    assert found(labels_of(tmp_path)) == {"1R": 1, "1L": 0}


def test_a_line_of_a_visit_in_unknown_words_is_of_no_visit(tmp_path):
    put(
        tmp_path / "scores.csv",
        "src_subject_id,visit,womac_pain_right,womac_pain_left\n"
        "9000001,Month 12,9,9\n9000001,V00,0,5\n",
    )
    labels = labels_of(tmp_path, "pain")
    assert found(labels) == {"1R": 0, "1L": 1}
    assert any("1 rows without a visit" in note for note in labels.notes)


@pytest.mark.parametrize(
    "visit", ["V00", "P01", "P02", "00m", "Baseline", "Enrollment visit", "Screening Visit", ""]
)
def test_a_line_of_the_entry(tmp_path, visit):
    put(
        tmp_path / "risk.csv",
        "src_subject_id,visit,height_av,womac_pain_right,womac_pain_left\n"
        f"9000001,{visit},1700,2,0\n9000001,V01,1690,0,2\n",
    )
    labels = labels_of(tmp_path, "pain")
    assert found(labels) == {"1R": 1, "1L": 0}
    assert values(labels, "height")["9000001_00m_right"] == "1.7"
    assert not any("without a visit" in note for note in labels.notes)


def test_bars_with_quotes_as_r_writes_them(tmp_path):
    for visit, width in (("00", 4), ("01", 3)):
        put(
            tmp_path / f"kxr_qjsw_duryea{visit}.txt",
            f'"ID"|"SIDE"|"READPRJ"|"V{visit}MCMJSW"|"V{visit}TEXT"\n'
            f'9000001|"1: Right"|"16"|{width}|"a|b"\n',
        )
    assert found(labels_of(tmp_path)) == {"1R": 1}


def test_a_quotation_mark_in_the_studys_own_text_is_text(tmp_path):
    for visit, width in (("00", 4), ("01", 3)):
        put(
            tmp_path / f"kxr_qjsw_duryea{visit}.txt",
            f"ID|V{visit}TEXT|SIDE|READPRJ|V{visit}MCMJSW\n"
            f'9000001|"tilted|1: Right|16|{width}\n9000002|5" film|1: Right|16|4\n',
        )
    assert found(labels_of(tmp_path)) == {"1R": 1, "2R": 0}


def test_tables_in_which_no_line_names_a_knee_are_told_so(tmp_path):
    for visit in ("00", "01"):
        put(
            tmp_path / f"kxr_qjsw_duryea{visit}.csv",
            f"ID,SIDE,READPRJ,V{visit}MCMJSW\n9000001,b'1: Right',b'16',4\n",
        )
    with pytest.raises(UsageError) as caught:
        labels_of(tmp_path)
    assert "names a knee" in caught.value.reason


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-be"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
@pytest.mark.parametrize("stated", ["", "sep=;", '"sep=;"'])
def test_a_structure_is_known_in_every_encoding_and_below_a_stated_separator(
    tmp_path, encoding, end, stated
):
    lines = (
        *((stated,) if stated else ()),
        "src_subject_id;visit;readprj;mcmjsw;side",
        "9000001;V00;16;4;1",
        "9000001;V01;16;3,5;1",
    )
    mark = "\ufeff" if encoding == "utf-16-be" else ""
    text = mark + "".join(line + end for line in lines)
    (tmp_path / "widths.csv").write_bytes(text.encode(encoding))
    assert found(labels_of(tmp_path)) == {"1R": 1}


WIDTHS_OF_TWO = """
src_subject_id,visit,readprj,side,mcmjsw
9000001,V00,16,1,4
9000001,V01,16,1,3
9000002,V00,16,1,4
9000002,V01,16,1,3.9
"""


@pytest.mark.parametrize(
    "cells,count", [("V01,,3", 1), (",soon,", 1), (",,3", 1), (",,", 0), (",,0", 0), ("1,,3", 0)]
)
def test_a_replacement_without_a_day_and_visit_is_said(tmp_path, cells, count):
    put(tmp_path / "widths.csv", WIDTHS_OF_TWO.strip() + "\n")
    put(
        tmp_path / "outcomes.csv",
        f"src_subject_id,visit,rkvsrp,rkdays,rkrpcf\n9000001,V99,{cells}\n9000002,V99,,,\n",
    )
    labels = labels_of(tmp_path)
    told = [note for note in labels.notes if "without a day and visit" in note]
    assert len(told) == count and all(note.endswith(": 1") for note in told)
    # Replaced by the first visit where it is known, else labelled by the width.
    assert found(labels) == ({"2R": 0} if cells == "1,,3" else {"1R": 1, "2R": 0})


def test_a_structure_of_people_that_holds_nothing_wanted_is_passed_over(tmp_path):
    put(tmp_path / "widths.csv", WIDTHS_OF_TWO.strip() + "\n")
    put(tmp_path / "oai_rxmed01.csv", "src_subject_id,visit,ageyears,rxname\n9000001,V00,61,X\n")
    assert found(labels_of(tmp_path)) == {"1R": 1, "2R": 0}
