import subprocess
import sys

import pytest

TABLES = {
    "General_ASCII/enrollees.txt": "ID|P02SEX|P02RACE|V00SITE|V00COHORT\n"
    "9000001|2: Female|1: White or Caucasian|C|1: Progression\n"
    "9000002|1: Male|.M: Missing|A|2: Incidence\n",
    "AllClinical_ASCII/ALLCLINICAL00.txt": "ID|V00AGE|P01BMI|P01HEIGHT|P01WEIGHT|V00WOMKPR|V00WOMKPL\n"
    "9000001|61|27.5|1654|75.2|2|0\n"
    "9000002|55|.|1780|90| |1.5\n",
    "Quant JSW_ASCII/kXR_QJSW_Duryea00.txt": "id|side|readprj|V00MCMJSW\n9000001|1: Right|16|4.1\n9000001|2: Left|16|5\n9000002|2: Left|16|4.0\n"
    "9000002|2: Left|16|4.0\n",
    "Quant JSW_ASCII/kXR_QJSW_Duryea01.txt": "id|side|readprj|V01MCMJSW\n9000001|1: Right|16|3.6\n9000001|2: Left|16|5\n9000002|2: Left|16|.P: Prosthetic\n",
    "Quant JSW_ASCII/kxr_qjsw_rel_duryea00.txt": "id|side|readprj|V00MCMJSW\n9000002|1: Right|20|4.1\n",
    "Outcomes_ASCII/Outcomes99.txt": "id|V99ERKDAYS|V99ELKDAYS|V99ERKVSRP|V99ELKVSRP\n"
    "9000001|.|800|.|3: 24-month\n9000002|.|.|.|.\n",
    "Semi-Quant/kxr_sq_bu00.txt": "ID|SIDE|READPRJ|V00XRKL\n9000001|1: Right|15|2: 2\n",
}


@pytest.fixture
def release(tmp_path):
    for name, text in TABLES.items():
        path = tmp_path / "tables" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.replace("\n", "\r\n").encode("latin-1"))
    return tmp_path / "tables"


def oa_label(*arguments):
    command = [
        sys.executable,
        "-c",
        "from oatools.commands.label import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True)


def test_labels_of_narrowing_are_printed_with_the_flow(release, tmp_path):
    done = oa_label(release, "--endpoint", "jsn12", "--flow", tmp_path / "flow.tsv")
    assert done.returncode == 0, done.stderr
    assert done.stdout == (
        "knee\tsubject\tvisit\tside\tlabel\tjsw\tjsn\tage\tsex\tbmi\theight\tweight\tkl\tjsm\twomac_pain\twomac_stiffness"
        "\twomac_function\twomac_total\tkoos_pain\tinjury\tsurgery\trace\tsite\tcohort\treadprj\tendpoint\tcaution\n"
        "9000001_00m_left\t9000001\t00m\tleft\t0\t5\t0\t61\tfemale\t27.5\t1.654\t75.2\tn/a\tn/a\t0"
        + 6
        * "\tn/a"
        + "\twhite\tC\tprogression\t16\tjsn12\tn/a\n"
        "9000001_00m_right\t9000001\t00m\tright\t1\t4.1\t-0.5\t61\tfemale\t27.5\t1.654\t75.2\t2\tn/a\t2"
        + 6 * "\tn/a"
        + "\twhite\tC\tprogression\t16\tjsn12\tn/a\n"
    )
    assert "oa-label: 1 knee left out: knee replaced by 12m\n" in done.stderr
    assert "oa-label: 1 knee left out: no JSW at 00m\n" in done.stderr
    assert "kxr_qjsw_duryea00: 1 records repeated within a reading project" in done.stderr
    assert done.stderr.endswith("oa-label: 2 knees of 1 patients labelled, 1 positive (50.0 %)\n")
    flow = dict(line.split("\t") for line in (tmp_path / "flow.tsv").read_text().splitlines())
    assert flow == {
        "reason": "knees",
        "assessed": "4",
        "knee replaced by 12m": "1",
        "no JSW at 00m": "1",
        "labelled": "2",
        "positive": "1",
    }


def test_all_knees_of_the_visit_are_listed_with_the_labels_that_there_are(release):
    """Knees whose outcome is not known are to be predicted, with their clinical variables."""
    labelled = oa_label(release, "--endpoint", "jsn12")
    done = oa_label(release, "--endpoint", "jsn12", "--all")
    lines = done.stdout.splitlines()
    assert lines[:3] == labelled.stdout.splitlines()
    columns = lines[0].split("\t")
    rows = [dict(zip(columns, line.split("\t"), strict=True)) for line in lines[3:]]
    shown = ("knee", "label", "jsw", "jsn", "age", "sex", "womac_pain", "endpoint")
    assert [[row[name] for name in shown] for row in rows] == [
        ["9000002_00m_left", "n/a", "4", "n/a", "55", "male", "1.5", "jsn12"],
        ["9000002_00m_right", "n/a", "n/a", "n/a", "55", "male", "n/a", "jsn12"],
    ]
    assert done.stderr.endswith(
        "oa-label: 2 knees of 1 patients labelled, 1 positive (50.0 %)\n"
        "oa-label: 2 more knees listed, with label n/a\n"
    )
    flow = [line for line in done.stderr.splitlines() if "left out" in line]
    assert flow == [line for line in labelled.stderr.splitlines() if "left out" in line]


def test_another_width_is_not_mixed_with_the_minimum(release):
    widths = release / "Quant JSW_ASCII"
    (widths / "kXR_QJSW_Duryea00.txt").write_text(
        "id|side|readprj|V00MCMJSW|V00JSW225\n9000001|1: Right|16|4.1|5.5\n"
        "9000001|2: Left|16|5|6.1\n9000002|2: Left|16|4.0|4.9\n"
    )
    (widths / "kXR_QJSW_Duryea01.txt").write_text(
        "id|side|readprj|V01MCMJSW|V01JSW225\n9000001|1: Right|16|3.6|4.5\n"
        "9000001|2: Left|16|5|6.0\n9000002|2: Left|16|.P: Prosthetic|.P: Prosthetic\n"
    )
    done = oa_label(release, "--endpoint", "jsn12", "--width", "jsw225", "--all")
    assert [line.split("\t")[4:6] for line in done.stdout.splitlines()] == [
        *(["label", "jsw"], ["0", "6.1"], ["1", "5.5"], ["n/a", "n/a"], ["n/a", "n/a"])
    ]


def test_tables_of_phantoms_are_called_so(tmp_path):
    """Their folder is signed; the tables themselves have the form of the study's."""
    from oatools.phantom.download import prepare
    from oatools.phantom.people import PhantomSettings

    prepare(tmp_path / "oai", PhantomSettings(patients=12, seed=0))
    done = oa_label(tmp_path / "oai" / "tables", "--endpoint", "none")
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert header[-1] == "caution" and {row[-1] for row in rows} == {"phantoms"}
    assert "oa-label: the tables are of phantoms: they say nothing about patients" in done.stderr
    (tmp_path / "oai" / "phantom.json").write_text("[]")
    done = oa_label(tmp_path / "oai" / "tables", "--endpoint", "none")
    assert {line.split("\t")[-1] for line in done.stdout.splitlines()[1:]} == {"n/a"}
    assert "phantoms" not in done.stderr


def test_the_old_name_of_the_width_is_as_good(release):
    for number in ("00", "01"):
        path = next(p for p in release.rglob(f"*Duryea{number}.txt") if "_rel_" not in p.name)
        path.write_text(path.read_text().replace("MCMJSW", "JSW225"))
    done = [
        oa_label(release, "--endpoint", "jsn12", name, "jsw225") for name in ("--width", "--jsw")
    ]
    assert done[0].returncode == 0, done[0].stderr
    warning = "oa-label: warning: --jsw is now called --width\n"
    assert (done[0].stdout, warning + done[0].stderr) == (done[1].stdout, done[1].stderr)
    assert done[0].stdout.splitlines()[1].endswith("jsn12-jsw225\tn/a")
    assert "--jsw" not in oa_label("--help").stdout
    # The second is the default, which is no less given for that.
    for width in ("jsw225", "mcmjsw"):
        both = oa_label(release, "--endpoint", "jsn12", "--jsw", "jsw225", "--width", width)
        assert (both.returncode, both.stdout) == (2, "")
        assert both.stderr == (
            "oa-label: --jsw is now called --width, and both are given; give --width alone\n"
        )


def test_the_remedy_names_the_options_of_the_command(release):
    done = oa_label(release, "--endpoint", "pain", "--width", "jsw225")
    assert done.returncode == 2
    assert done.stderr.endswith("joint space width; leave out --horizon and --width\n")


def test_labels_of_pain_have_no_narrowing(release):
    done = oa_label(release, "--endpoint", "pain", "-q")
    header, *rows = [line.split("\t") for line in done.stdout.splitlines()]
    assert done.stderr == ""
    assert "jsn" not in header
    cells = [dict(zip(header, row, strict=True)) for row in rows]
    assert [(c["knee"], c["label"], c["jsw"]) for c in cells] == [
        ("9000001_00m_left", "0", "5"),
        ("9000001_00m_right", "1", "4.1"),
    ]


def test_pain_without_any_x_ray_table_has_no_joint_space(release):
    for path in release.rglob("kXR*.txt"):
        path.unlink()
    done = oa_label(release, "--endpoint", "pain")
    assert done.returncode == 0
    assert all(line.split("\t")[5] == "n/a" for line in done.stdout.splitlines()[1:])


@pytest.mark.parametrize(
    "pattern,name",
    [
        ("*Duryea00.txt", "kxr_qjsw_duryea00.txt"),
        ("*Duryea01.txt", "kxr_qjsw_duryea01.txt"),
    ],
)
def test_a_missing_table_of_widths_is_a_usage_error(release, pattern, name):
    next(p for p in release.rglob(pattern) if "_rel_" not in p.name).unlink()
    done = oa_label(release, "--endpoint", "jsn12", "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no table {name} anywhere below {release}" in done.stderr
    assert done.stderr.count("\n") == 1


@pytest.mark.parametrize("options", [(), ("--partial",)])
def test_labels_need_only_their_own_tables_and_it_is_said_what_is_missing(release, options):
    for pattern in ("*bu00.txt", "enrollees.txt", "ALLCLINICAL00.txt", "Outcomes99.txt"):
        next(release.rglob(pattern)).unlink()
    done = oa_label(release, "--endpoint", "jsn12", *options)
    assert done.returncode == 0, done.stderr
    assert "no table Enrollees: sex, race, site and cohort n/a" in done.stderr
    assert "no table kxr_sq_bu00: kl and jsm n/a" in done.stderr
    assert "no table Outcomes99 (in NDA: oai_outcome01): which knees were replaced" in done.stderr
    assert "no knee has a value of age, sex, bmi" in done.stderr
    assert ("--partial is not needed" in done.stderr) == bool(options)
    assert len(done.stdout.splitlines()) == 3


def test_pain_needs_its_own_table(release):
    next(release.rglob("ALLCLINICAL00.txt")).unlink()
    done = oa_label(release, "--endpoint", "pain", "-q")
    assert (done.returncode, done.stdout) == (2, "")
    assert f"no table AllClinical00.txt anywhere below {release}" in done.stderr


def test_one_class_only_is_said(release):
    done = oa_label(release, "--endpoint", "jsn12", "--threshold", "-3")
    assert done.returncode == 0
    assert "all labels are the same" in done.stderr


def test_a_table_in_which_nothing_can_be_labelled_is_an_error(release):
    next(release.rglob("*Duryea01.txt")).write_bytes(b"ID|SIDE|READPRJ|V01MCMJSW\r\n")
    done = oa_label(release, "--endpoint", "jsn12")
    assert (done.returncode, done.stdout) == (2, "")
    assert "no knee of" in done.stderr


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--endpoint", "jsn12", "--threshold", "much"], "no number"),
        (["--endpoint", "jsn12", "--threshold", "0.5"], "negative change"),
        (["--endpoint", "jsn12", "--visit", "48m"], "needs X-rays"),
        ([], "--endpoint"),
    ],
)
def test_an_unusable_call_is_refused_on_one_line(release, arguments, message):
    done = oa_label(release, *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_the_variables_are_listed_without_tables():
    done = oa_label("--list-variables")
    assert done.returncode == 0
    assert done.stdout.startswith("variable\tunit\tdescription\tsource\nage\tyears\t")


def test_help_needs_none_of_the_heavy_libraries():
    code = (
        "import sys, oatools.commands.label, oatools.commands.pairs\n"
        "print(sorted({'numpy', 'scipy', 'pandas', 'torch', 'sklearn'} & set(sys.modules)))"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout
        == "[]\n"
    )
