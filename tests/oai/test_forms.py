"""The same tables in every form that the study and other studies have give the same labels, byte for byte."""

import math
import os
import struct
import subprocess
import sys

import pytest

from oatools.core.errors import UsageError
from oatools.oai.forms import read_ascii, read_sas

#: Tables as rows of cells, worked by hand; `None` is a cell that a form writes in its own way of
#: missing.
ENROLLEES = [
    ["ID", "P02SEX", "P02RACE", "V00SITE", "V00COHORT"],
    ["9000001", "2", "1", "C", "1"],
    ["9000002", "1", None, "A", "2"],
    ["9000003", "1", "2", "B", "2"],
]
CLINICAL = [
    [
        "ID",
        "V00AGE",
        "P01BMI",
        "P01HEIGHT",
        "P01WEIGHT",
        "V00WOMKPR",
        "V00WOMKPL",
        "P01INJR",
        "P01INJL",
    ],
    ["9000001", "61", "27.5", "1654", "75.2", "2", "0", "1", "0"],
    ["9000002", "55", None, "1780", "90", None, "1.5", "0", None],
    ["9000003", "49", "22.1", "1801", "71.7", "0", "7", "0", "0"],
]
JSW = {
    "00": [
        ["ID", "SIDE", "READPRJ", "V00MCMJSW", "V00JSW225"],
        ["9000001", "1", "16", "4.1", "6.3"],
        ["9000001", "2", "16", "5", "6"],
        ["9000002", "2", "16", "4.025", "5.5"],
        ["9000003", "1", "16", "3.3", "4"],
        ["9000003", "1", "18", "3.9", "4"],
        ["9000003", "2", "16", "0.6", "2"],
    ],
    "01": [
        ["ID", "SIDE", "READPRJ", "V01MCMJSW", "V01JSW225"],
        ["9000001", "1", "16", "3.6", "6.3"],
        ["9000001", "2", "16", "5", "5.4"],
        ["9000002", "2", "16", "3.52", "5"],
        ["9000003", "1", "16", None, "4"],
        ["9000003", "1", "18", "3.35", "4"],
        ["9000003", "2", "16", "0.7", "2"],
    ],
}
KL = [
    ["ID", "SIDE", "READPRJ", "V00XRKL"],
    ["9000001", "1", "15", "2"],
    ["9000001", "2", "15", "0"],
    ["9000003", "1", "37", "3"],
    ["9000003", "1", "15", None],
]
OUTCOMES = [["ID", "V99ERKDAYS", "V99ELKDAYS"], ["9000001", None, None], ["9000003", None, "301"]]
NAMES = {
    "Enrollees": ENROLLEES,
    "AllClinical00": CLINICAL,
    "kxr_qjsw_duryea00": JSW["00"],
    "kxr_qjsw_duryea01": JSW["01"],
    "kxr_sq_bu00": KL,
    "Outcomes99": OUTCOMES,
}
TEXT = {"READPRJ", "ID", "V00SITE"}  # in the SAS tables; all else is a number
LABELS = {
    "SIDE": {"1": "1: Right", "2": "2: Left"},
    "P02SEX": {"1": "1: Male", "2": "2: Female"},
    "V00XRKL": {"2": "2:02", "3": "3: 3"},
}


def put(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.encode("latin-1"))


def ascii_tables(root, separator="|", end="\r\n", upper=str, suffix=".txt", nested=True):
    for name, (header, *lines) in NAMES.items():
        rows = [[upper(column) for column in header]]
        for n, line in enumerate(lines):
            missing = (".A: Not Expected", ".", "", ".M: Missing")[n % 4]
            rows.append(
                [
                    missing if c is None else LABELS.get(k, {}).get(c, c)
                    for k, c in zip(header, line, strict=True)
                ]
            )
        folder = root / f"{name.rstrip('0123456789')}_ASCII" / "x" if nested else root
        put(folder / f"{upper(name)}{suffix}", end.join(separator.join(row) for row in rows) + end)


def lower_case(root):
    ascii_tables(root, upper=str.lower, nested=False)


def unix_lines(root):
    ascii_tables(root, end="\n", upper=str.upper)


def comma_separated(root):
    ascii_tables(root, separator=",", suffix=".csv")


def quoted(path, text):
    """A structure as NDA writes it: cells behind `|` in `text`, quoted, tabs, CRLF."""
    lines = [line.strip().split("|") for line in text.strip().splitlines()]
    body = "".join("\t".join(f'"{cell.strip()}"' for cell in line) + "\r\n" for line in lines)
    put(path, body)


def structures(root):
    """NDA's package of the same people: names and codes as NDA has them, written out by hand."""
    package = root / "Package_1"
    put(package / "package_info.txt", "Package name: none\n")
    put(package / "md5_values.txt", "00000000000000000000000000000000 oai_enrollee01.txt\n")
    quoted(
        package / "oai_enrollee01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|race|ethnicity|site|e_cohort
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Race of study subject|Ethnicity of participant|Site|Cohort
        NDAR_INV0|9000001|01/31/2005|740|F|V00|White|Not Hispanic or Latino|C|1
        NDAR_INV1|9000002|01/31/2005|661|M|V00|||A|2
        NDAR_INV2|9000003|01/31/2005|590|M|V00|Black or African American||B|2
        """,
    )
    quoted(
        package / "oai_koos_womac01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|ageyears|womac_pain_right|womac_pain_left
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Age in years|Right knee pain|Left knee pain
        NDAR_INV0|9000001|01/31/2005|740|F|V00|61|2|0
        NDAR_INV1|9000002|01/31/2005|661|M|V00|55||1.5
        NDAR_INV2|9000003|01/31/2005|590|M|V00|49|0|7
        NDAR_INV0|9000001|01/31/2006|752|F|V01|62|5|5
        """,
    )
    quoted(
        package / "oai_oarisk01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|ageyears|height_av|weight_met|bmi|injr|injl
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Age in years|Height (mm)|Weight (kg)|BMI|Injury right|Injury left
        NDAR_INV0|9000001|01/31/2005|740|F|V00|61|1654|75.2|27.5|1|0
        NDAR_INV1|9000002|01/31/2005|661|M|V00|55|1780|90||0|
        NDAR_INV2|9000003|01/31/2005|590|M|V00|49|1801|71.7|22.1|0|0
        """,
    )
    quoted(
        package / "oai_kxrquantjsw01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|readprj|side|mcmjsw|jsw225|barcode
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Reading project|Side|Minimum medial width|Width at 0.225|Barcode
        NDAR_INV0|9000001|01/31/2005|740|F|V00|16|1|4.1|6.3|16600000001
        NDAR_INV0|9000001|01/31/2005|740|F|V00|16|2|5|6|16600000001
        NDAR_INV1|9000002|01/31/2005|661|M|V00|16|2|4.025|5.5|16600000002
        NDAR_INV2|9000003|01/31/2005|590|M|V00|16|1|3.3|4|16600000003
        NDAR_INV2|9000003|01/31/2005|590|M|V00|18|1|3.9|4|16600000003
        NDAR_INV2|9000003|01/31/2005|590|M|V00|16|2|0.6|2|16600000003
        NDAR_INV0|9000001|01/31/2006|752|F|V01|16|1|3.6|6.3|16600000011
        NDAR_INV0|9000001|01/31/2006|752|F|V01|16|2|5|5.4|16600000011
        NDAR_INV1|9000002|01/31/2006|673|M|V01|16|2|3.52|5|16600000012
        NDAR_INV2|9000003|01/31/2006|602|M|V01|16|1||4|16600000013
        NDAR_INV2|9000003|01/31/2006|602|M|V01|18|1|3.35|4|16600000013
        NDAR_INV2|9000003|01/31/2006|602|M|V01|16|2|0.7|2|16600000013
        """,
    )
    quoted(
        package / "oai_kxrsemiquant01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|readprj|side|xrkl
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Reading project|Side|KL grade
        NDAR_INV0|9000001|01/31/2005|740|F|V00|15|1|2
        NDAR_INV0|9000001|01/31/2005|740|F|V00|15|2|0
        NDAR_INV2|9000003|01/31/2005|590|M|V00|37|1|3
        NDAR_INV2|9000003|01/31/2005|590|M|V00|15|1|
        """,
    )
    quoted(
        package / "oai_outcome01.txt",
        """
        subjectkey|src_subject_id|interview_date|interview_age|sex|visit|rkdays|lkdays
        The NDAR Global Unique Identifier (GUID)|Subject ID how it's defined in lab|Date|Age in months|Sex of subject|Visit name|Days to right|Days to left
        NDAR_INV0|9000001|01/31/2005|740|F|V99||
        NDAR_INV2|9000003|01/31/2005|590|M|V99||301
        """,
    )


def sas_file(header, rows):
    """An uncompressed 32-bit little-endian SAS7BDAT file, by the layout that Shotwell (2012) worked out.

    One page of metadata (row size, column count, text, names, attributes, a format a column) and
    one of rows.
    """
    page = 65536
    lengths = [12 if name in TEXT else 8 for name in header]
    offsets = [sum(sorted_before) for sorted_before in (lengths[:n] for n in range(len(lengths)))]
    width, text, places = sum(lengths), bytearray(28), []
    for name in header:
        places.append((len(text), len(name)))
        text += name.encode().ljust(-(-len(name) // 4) * 4, b" ")
    size = bytearray(480)
    size[:4] = b"\xf7" * 4
    for at, value in ((20, width), (24, len(rows)), (36, len(header)), (40, 0), (60, len(rows))):
        size[at : at + 4] = struct.pack("<I", value)
    count = b"\xf6" * 4 + struct.pack("<I", len(header)) + bytes(4)
    texts = b"\xfd\xff\xff\xff" + struct.pack("<H", len(text)) + bytes(text)[2:] + bytes(8)
    pointers = b"".join(struct.pack("<HHHH", 0, *place, 0) for place in places)
    names = b"\xff\xff\xff\xff" + struct.pack("<HHI", len(pointers) + 8, 0, 0) + pointers + bytes(8)
    kinds = b"".join(
        struct.pack("<IIHBB", o, n, 0, 2 if name in TEXT else 1, 0)
        for o, n, name in zip(offsets, lengths, header, strict=True)
    )
    attributes = b"\xfc\xff\xff\xff" + struct.pack("<HHI", len(kinds) + 8, 0, 0) + kinds + bytes(8)
    formats = [b"\xfe\xfb\xff\xff" + bytes(48) for _ in header]
    blocks = [bytes(size), count, texts, names, attributes, *formats]
    meta, end = bytearray(page), page
    meta[16:24] = struct.pack("<HHHH", 0, len(blocks), len(blocks), 0)
    for n, block in enumerate(blocks):
        end -= -(-len(block) // 4) * 4
        meta[end : end + len(block)] = block
        meta[24 + 12 * n : 36 + 12 * n] = struct.pack("<IIBBH", end, len(block), 0, 0, 0)
    data = bytearray(page)
    data[16:24] = struct.pack("<HHHH", 256, len(rows), 0, 0)
    for n, row in enumerate(rows):
        cells = [
            (c or "").encode("cp1252").ljust(12)
            if name in TEXT
            else struct.pack("<d", math.nan if c is None else float(c))
            for name, c in zip(header, row, strict=True)
        ]
        data[24 + n * width : 24 + (n + 1) * width] = b"".join(cells)
    head = bytearray(1024)
    head[:32] = bytes.fromhex("000000000000000000000000c2ea8160b31411cfbd92080009c7318c181f1011")
    head[32], head[35], head[37], head[39], head[70] = 0x22, 0x22, 1, ord("2"), 62
    head[84:92], head[92:156], head[156:164] = b"SAS FILE", b"T".ljust(64), b"DATA    "
    for at, value in ((196, 1024), (200, page), (204, 2)):
        head[at : at + 4] = struct.pack("<I", value)
    head[216:224] = b"9.0401M2"
    return bytes(head) + bytes(meta) + bytes(data)


def sas_tables(root):
    """SAS: plain numbers for codes, NaN for what is missing, text for ids and projects, lower-case file names."""
    for name, (header, *rows) in NAMES.items():
        path = root / f"{name.rstrip('0123456789')}_SAS" / f"{name.lower()}.sas7bdat"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(sas_file(header, rows))


def test_the_sas_files_made_here_are_read_by_another_reader(tmp_path):
    pyreadstat = pytest.importorskip("pyreadstat")
    sas_tables(tmp_path)
    frame, meta = pyreadstat.read_sas7bdat(
        str(tmp_path / "kxr_qjsw_duryea_SAS" / "kxr_qjsw_duryea01.sas7bdat")
    )
    assert meta.column_names == JSW["01"][0] and frame["V01MCMJSW"].tolist()[:2] == [3.6, 5.0]
    assert (
        frame["READPRJ"].tolist()[-3:] == ["16", "18", "16"]
        and frame["V01MCMJSW"].isna().tolist().count(True) == 1
    )


def oa_label(*arguments):
    command = [
        sys.executable,
        "-c",
        "from oatools.commands.label import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True)


@pytest.fixture
def expected(tmp_path):
    ascii_tables(tmp_path / "reference")
    return lambda *options: oa_label(tmp_path / "reference", *options).stdout


@pytest.mark.parametrize(
    "form",
    [lower_case, unix_lines, comma_separated, structures, sas_tables],
    ids=lambda form: form.__name__,
)
@pytest.mark.parametrize(
    "options",
    [
        ("--endpoint", "jsn12"),
        ("--endpoint", "jsn12-relative", "--width", "jsw225"),
        ("--endpoint", "pain"),
    ],
)
def test_every_form_of_the_tables_gives_the_same_labels(tmp_path, expected, form, options):
    (tmp_path / "form").mkdir()
    form(tmp_path / "form")
    done = oa_label(tmp_path / "form", *options)
    assert done.returncode == 0, done.stderr
    assert done.stdout == expected(*options)


def test_the_reference_is_what_the_tables_say_by_hand(expected):
    header, *lines = [line.split("\t") for line in expected("--endpoint", "jsn12").splitlines()]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert [
        (r["knee"], r["label"], r["jsw"], r["jsn"], r["readprj"], r["kl"], r["sex"], r["height"])
        for r in rows
    ] == [
        ("9000001_00m_left", "0", "5", "0", "16", "0", "female", "1.654"),
        ("9000001_00m_right", "1", "4.1", "-0.5", "16", "2", "female", "1.654"),
        ("9000002_00m_left", "1", "4.025", "-0.505", "16", "n/a", "male", "1.78"),
        ("9000003_00m_right", "1", "3.9", "-0.55", "18", "3", "male", "1.801"),
    ]
    header, *lines = [
        line.split("\t")
        for line in expected("--endpoint", "jsn12-relative", "--width", "jsw225").splitlines()
    ]
    rows = [dict(zip(header, line, strict=True)) for line in lines]
    assert {(r["knee"], r["jsw"], r["jsn"], r["endpoint"]) for r in rows} >= {
        ("9000001_00m_left", "6", "-0.6", "jsn12-relative-jsw225"),
        ("9000002_00m_left", "5.5", "-0.5", "jsn12-relative-jsw225"),
    }


def test_text_goes_before_sas_and_the_other_is_named(tmp_path, expected):
    ascii_tables(tmp_path / "both")
    (tmp_path / "both" / "enrollees.sas7bdat").write_bytes(b"never opened")
    done = oa_label(tmp_path / "both", "--endpoint", "jsn12")
    assert done.stdout == expected("--endpoint", "jsn12")
    assert "enrollees.sas7bdat is not read: the table is there as text, too" in done.stderr


def test_a_broken_sas_table_is_one_line(tmp_path):
    ascii_tables(tmp_path / "t")
    next((tmp_path / "t").rglob("Enrollees.txt")).unlink()
    (tmp_path / "t" / "enrollees.sas7bdat").write_bytes(b"not a SAS file" * 400)
    done = oa_label(tmp_path / "t", "--endpoint", "jsn12")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert "enrollees.sas7bdat: not a readable SAS table" in done.stderr


def test_a_broken_table_that_is_not_needed_does_not_matter(tmp_path, expected):
    ascii_tables(tmp_path / "t")
    put(tmp_path / "t" / "AllClinical06.txt", "ID|X\n1|2|3\n")
    put(tmp_path / "t" / "other.txt", "\0\0\0")
    put(tmp_path / "t" / "empty.txt", "")
    assert oa_label(tmp_path / "t", "--endpoint", "jsn12").stdout == expected("--endpoint", "jsn12")


PLAIN = (
    "subject\tside\tvisit\tjsw\tsex\theight\twomac_pain\treplaced\tcentre\n"
    "p1\tright\t00m\t4.1\tF\t1.7\t0.5\t0\tx\np1\tright\t12m\t3.6\tF\t1.7\t3\t0\tx\n"
    "p1\tL\t00m\t4.0\tF\t\t2\t0\tx\np1\tL\t12m\tn/a\tF\t1.7\t0\t0\tx\n"
    "p2\tright\t00m\t3.0\tmale\t1.8\t1\t0\tx\np2\tright\t12m\t2.9\tmale\t1.8\t1\t1\tx\n"
    "p3\tleft\t00m\t5\tmale\t1.8\tn/a\t0\tx\np3\tleft\t12m\t4.6\tmale\t1.8\t.\t0\tx\n"
)


@pytest.mark.parametrize("separator", ["\t", ","])
def test_a_study_of_ones_own_is_labelled_from_one_table(tmp_path, separator, rows):
    put(tmp_path / "study.txt", PLAIN.replace("\t", separator))
    done = oa_label(tmp_path / "study.txt", "--endpoint", "jsn12")
    found = [
        (r["knee"], r["label"], r["jsw"], r["jsn"], r["sex"], r["height"], r["readprj"])
        for r in rows(done.stdout)
    ]
    assert found == [
        ("p1_00m_right", "1", "4.1", "-0.5", "female", "1.7", "n/a"),
        ("p3_00m_left", "0", "5", "-0.4", "male", "1.8", "n/a"),
    ]
    assert (
        "1 knee left out: knee replaced by 12m" in done.stderr
        and "1 knee left out: no JSW at 12m" in done.stderr
    )
    assert "columns not used: centre" in done.stderr
    pain = oa_label(tmp_path / "study.txt", "--endpoint", "pain")
    assert [(r["knee"], r["label"]) for r in rows(pain.stdout)] == [
        ("p1_00m_left", "1"),
        ("p1_00m_right", "0"),
    ]


def test_a_study_has_visits_of_its_own(tmp_path, rows):
    put(tmp_path / "s.tsv", PLAIN.replace("12m", "09m"))
    done = oa_label(tmp_path / "s.tsv", "--endpoint", "jsn12", "--horizon", "09m")
    assert {r["endpoint"] for r in rows(done.stdout)} == {"jsn9"}
    refused = oa_label(tmp_path / "s.tsv", "--endpoint", "jsn12")
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "needs X-rays at 00m and 12m; there are X-rays at 00m, 09m" in refused.stderr


@pytest.mark.parametrize(
    "old,new,said",
    [
        ("side\tvisit", "flank\tvisit", "no column 'side'"),
        ("p1\tL\t00m", "p1\tmiddle\t00m", "line 4: subject 'p1', side 'middle'"),
        ("p1\tL\t12m", "p1\tL\t00m", "line 5: a second line of p1 left at 00m"),
        ("p1\tL\t12m", "p1\tL\tlater", "no visit 'later'"),
        ("p1\tL\t12m\tn/a", "p1\tL\t12m", "line 5: 8 cells where the header has 9"),
        ("p1\tright\t00m", "\tright\t00m", "subject 'n/a'"),
    ],
)
def test_a_plain_table_that_cannot_be_read_is_told_by_line(tmp_path, old, new, said):
    assert old in PLAIN
    put(tmp_path / "s.tsv", PLAIN.replace(old, new, 1))
    done = oa_label(tmp_path / "s.tsv", "--endpoint", "jsn12")
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_reliable_change_says_how_it_came_about_and_is_the_cut(tmp_path, rows):
    lines = ["subject\tside\tvisit\tjsw"]
    for n, (before, after) in enumerate([(3, 2), (4, 2.247), (5, 3.248), (4, 4)]):
        lines += [f"p{n}\tleft\t00m\t{before}", f"p{n}\tleft\t12m\t{after}"]
    put(tmp_path / "s.tsv", "\n".join(lines) + "\n")
    done = oa_label(
        tmp_path / "s.tsv", "--endpoint", "jsn12", "--reliable-change", "--sem", "0.6325"
    )
    assert "threshold -1.96 S_diff = -1.753 mm" in done.stderr  # 1.96 sqrt(2) 0.6325 = 1.7532
    assert "over 4 knees of 4 patients" in done.stderr and "SD 0.816 mm at 00m" in done.stderr
    assert [r["label"] for r in rows(done.stdout)] == ["0", "1", "0", "0"]


@pytest.mark.parametrize(
    "options,said",
    [
        (
            ["jsn12", "--reliable-change", "--sem", "0.4", "--reliability", "0.9"],
            "one of them only",
        ),
        (["pain", "--reliable-change", "--sem", "0.4"], "not for pain"),
        (["jsn12-relative", "--reliable-change", "--sem", "0.4"], "grades or a relative endpoint"),
        (["jsn12", "--reliable-change", "--sem", "0.4", "--threshold", "-1"], "--threshold"),
        (["jsn12", "--sem", "0.4"], "give that, too"),
        (["jsn12", "--width", "jsw225"], "has one column of widths"),
    ],
)
def test_options_that_contradict_each_other_are_refused(tmp_path, options, said):
    put(tmp_path / "s.tsv", PLAIN)
    done = oa_label(tmp_path / "s.tsv", "--endpoint", *options)
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert said in done.stderr


def test_what_a_sas_table_states_is_held_against_its_size(tmp_path):
    content = bytearray(sas_file(["ID", "V00JSW"], [["9000099", 4.1]]))
    sizes = content.index(b"\xf7\xf7\xf7\xf7")
    content[sizes + 24 : sizes + 28] = struct.pack("<I", 1 << 30)  # the number of its lines
    (tmp_path / "a.sas7bdat").write_bytes(content)
    with pytest.raises(UsageError, match="states 1073741824 lines of 2 cells, which takes 200 GiB"):
        read_sas(tmp_path / "a.sas7bdat")


@pytest.mark.parametrize("error", [AttributeError("no x"), RecursionError(), AssertionError("y")])
def test_whatever_a_library_raises_on_a_sas_table_is_one_line(tmp_path, monkeypatch, error):
    """An error of pandas that is none of the usual ones, on one of 120 damaged files."""
    (tmp_path / "a.sas7bdat").write_bytes(sas_file(["ID", "V00JSW"], [["9000099", 4.1]]))
    import pandas

    def broken(*_arguments, **_named):
        raise error

    monkeypatch.setattr(pandas, "read_sas", broken)
    with pytest.raises(UsageError, match="a.sas7bdat: not a readable SAS table"):
        read_sas(tmp_path / "a.sas7bdat")


def test_more_lines_than_there_is_memory_for_are_refused(tmp_path, monkeypatch):
    path = tmp_path / "a.txt"
    path.write_text("ID|SIDE\n" + "1|2\n" * 4000)
    assert len(read_ascii(path)) == 4000
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "1M")
    with pytest.raises(UsageError, match=r"more than 2048 lines; .* set OATOOLS_MEMORY_LIMIT"):
        read_ascii(path)


def test_no_more_is_taken_from_a_pipe_than_there_is_memory_for(monkeypatch):
    monkeypatch.setenv("OATOOLS_MEMORY_LIMIT", "12K")
    for content, fits in (("ID|SIDE\n1|2\n", True), ("ID|SIDE\n" + "1|2\n" * 300, False)):
        read, write = os.pipe()
        os.write(write, content.encode())
        os.close(write)
        if fits:
            assert read_ascii(f"/dev/fd/{read}") == [{"ID": "1", "SIDE": "2"}]
        else:
            with pytest.raises(UsageError, match="longer than 1 KiB"):
                read_ascii(f"/dev/fd/{read}")
        os.close(read)


def test_a_header_of_megabytes_is_no_header(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"ID" + b"|a" * 600_000)
    with pytest.raises(UsageError, match="first line is longer than 1 MiB"):
        read_ascii(tmp_path / "a.txt")


def test_a_byte_that_is_no_utf_8_takes_no_column_with_it(tmp_path):
    """Behind the mark of UTF-8 the rest is read as latin-1, and the mark is none of its letters."""
    (tmp_path / "a.txt").write_bytes(b"\xef\xbb\xbfID|NAME\n9000001|M\xfcller\n")
    assert read_ascii(tmp_path / "a.txt") == [{"ID": "9000001", "NAME": "M\u00fcller"}]
