from decimal import Decimal

import pytest

from oatools.core.errors import UsageError
from oatools.oai import codes, tables


def put(path, text, encoding="latin-1"):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(text.replace("\n", "\r\n").encode(encoding))
    return path


def test_a_table_reads_as_codes_under_upper_case_names(tmp_path):
    lines = [
        "id|Side| v06xrkl |NOTE",
        "9000001|1: Right| 2:02 |  caf\u00e9 ",
        "9000002|2: Left|3|",
        "",
        "",
    ]
    path = put(tmp_path / "t.txt", "\n".join(lines))
    assert tables.read_ascii(path) == [
        {"ID": "9000001", "SIDE": "1", "V06XRKL": "2", "NOTE": "caf\u00e9"},
        {"ID": "9000002", "SIDE": "2", "V06XRKL": "3", "NOTE": "."},
    ]


def test_a_latin_1_next_line_character_does_not_end_a_line(tmp_path):
    path = put(tmp_path / "t.txt", "ID|NOTE|X\n1|a\u0085b|7\n")
    assert tables.read_ascii(path)[0]["X"] == "7"


def test_a_byte_order_mark_is_no_part_of_the_first_name(tmp_path):
    assert tables.read_ascii(put(tmp_path / "t.txt", "\ufeffID|X\n1|2\n", "utf-8")) == [
        {"ID": "1", "X": "2"}
    ]


def test_tabs_separate_cells_where_the_header_has_no_bar(tmp_path):
    assert tables.read_ascii(put(tmp_path / "t.txt", "id\tx\n1\t2\n")) == [{"ID": "1", "X": "2"}]


@pytest.mark.parametrize(
    "cell", ["", " ", ".", ".M", ".A: Not Expected", ".p: Prosthetic", ".T: Technical", ".D"]
)
def test_dot_codes_and_blanks_are_missing(tmp_path, cell):
    (record,) = tables.read_ascii(put(tmp_path / "t.txt", f"ID|X\n1|{cell}\n"))
    assert codes.is_missing(record["X"])
    assert codes.decimal(record["X"]) is None


@pytest.mark.parametrize(
    "cell,value",
    [
        (".5", "0.5"),
        ("4.100", "4.1"),
        ("0", "0"),
        ("-0.0", "0"),
        ("1E1", "10"),
        ("120", "120"),
    ],
)
def test_a_number_keeps_its_value_in_plain_digits(cell, value):
    assert not codes.is_missing(cell)
    assert codes.plain(codes.decimal(cell)) == value


@pytest.mark.parametrize("cell", ["abc", "nan", "inf", "1,5", ".AB"])
def test_other_text_is_no_number(cell):
    with pytest.raises(ValueError, match="no (finite )?number"):
        codes.decimal(cell)


@pytest.mark.parametrize(
    "cell,code", [("1", "1"), ("1.0", "1"), ("01", "1"), ("2.4", "2.4"), ("C", "C"), (".P", ".P")]
)
def test_a_code_is_the_same_however_it_was_written(cell, code):
    assert codes.code(cell) == code


def test_the_number_is_exact():
    assert codes.decimal("3.6") - codes.decimal("4.1") == Decimal("-0.5")


def test_tables_are_found_at_any_depth_and_in_any_case(tmp_path):
    put(tmp_path / "a b/Quant JSW_ASCII/kXR_QJSW_Duryea00.TXT", "ID|X\n1|2\n")
    found = tables.find_tables(tmp_path)
    assert found.has("kxr_qjsw_duryea00")
    assert tables.read_table(found, "KXR_QJSW_DURYEA00", ["id"], ["x", "y"]) == [
        {"ID": "1", "X": "2"}
    ]


def test_retests_formats_and_other_files_are_no_tables(tmp_path):
    for name in (
        "kxr_qjsw_rel_duryea00.txt",
        "KXR_QJSW_REL_DURYEA00.txt",
        "Enrollees_Formats.txt",
        "Enrollees.pdf",
    ):
        put(tmp_path / name, "ID\n1\n")
    assert tables.find_tables(tmp_path).paths == {}


def test_a_missing_table_is_named_with_the_folder_searched(tmp_path):
    with pytest.raises(
        UsageError, match=r"no table kxr_sq_bu00\.txt anywhere below .*" + tmp_path.name
    ):
        tables.read_table(tables.find_tables(tmp_path), "kxr_sq_bu00", ["ID"])


def test_a_missing_folder_is_named(tmp_path):
    with pytest.raises(UsageError, match="nowhere is no folder"):
        tables.find_tables(tmp_path / "nowhere")


def test_a_missing_column_is_named_with_those_present(tmp_path):
    put(tmp_path / "Enrollees.txt", "ID|P02SEX\n1|2\n")
    with pytest.raises(UsageError, match="no column V00SITE; it has ID, P02SEX"):
        tables.read_table(tables.find_tables(tmp_path), "Enrollees", ["ID", "v00site"])


def test_a_line_of_another_length_is_named(tmp_path):
    with pytest.raises(UsageError, match="line 3: 1 cells where the header has 2"):
        tables.read_ascii(put(tmp_path / "t.txt", "ID|X\n1|2\n3\n"))


def test_two_copies_of_a_table_are_one_and_two_versions_are_refused(tmp_path):
    put(tmp_path / "a/Enrollees.txt", "ID\n1\n")
    put(tmp_path / "b/enrollees.txt", "ID\n1\n")
    assert tables.read_table(tables.find_tables(tmp_path), "Enrollees", ["ID"]) == [{"ID": "1"}]
    put(tmp_path / "b/enrollees.txt", "ID\n2\n")
    with pytest.raises(UsageError, match="differ"):
        tables.read_table(tables.find_tables(tmp_path), "Enrollees", ["ID"])


@pytest.mark.parametrize(
    "subject,side,knee",
    [
        ("9000001", "1", ("9000001", "right")),
        ("9000001", "2.0", ("9000001", "left")),
        ("9000001.0", "2", ("9000001", "left")),
        ("0123456", "1", ("0123456", "right")),
        ("9000001", "3", None),
        ("9000001", ".", None),
        (".", "1", None),
    ],
)
def test_a_knee_is_a_subject_and_a_side(subject, side, knee):
    assert codes.knee_of({"ID": subject, "SIDE": side}) == knee
