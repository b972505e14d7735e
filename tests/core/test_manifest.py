import io
import json
import subprocess
import sys

import pandas
import pytest

from oatools.core import forms, manifest
from oatools.core.errors import ItemError, UsageError


def table_of(tmp_path, text, name="a.tsv"):
    path = tmp_path / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return manifest.read_rows([str(path)])


@pytest.mark.parametrize(
    "first,separator",
    [
        ("knee,path\n", "commas"),
        ('"knee","visit","path"\n', "commas"),
        ("knee;subject;path\n", "semicolons"),
        ("ID,SIDE,FILE\n", "commas"),
    ],
)
def test_a_table_of_a_spreadsheet_is_refused_and_not_taken_for_paths(tmp_path, first, separator):
    said = f"its first line is separated by {separator}; save a table separated by tabs"
    with pytest.raises(UsageError, match=said):
        table_of(tmp_path, f"{first}a,b,nii/a.nii.gz\n")


def test_a_path_with_commas_is_a_path(tmp_path):
    (tmp_path / "knee,1").touch()
    names = [str(tmp_path / "knee,1"), "scans/left,right.nii.gz", "a,b.nii"]
    for first in names:
        (row,) = table_of(tmp_path, f"{first}\n").rows
        assert row["path"] == first


def test_identical_rows_are_one_row_and_that_is_said(tmp_path):
    header = "knee\tpath\n"
    (tmp_path / "b.tsv").write_text(f"{header}b\t2\nc\t3\n")
    (tmp_path / "a.tsv").write_text(f"{header}a\t1\nb\t2\n{header}a\t1\nb\t9\na\t1\n")
    paths = [str(tmp_path / name) for name in ("a.tsv", "b.tsv")]
    with forms.watched() as noted:
        rows = list(manifest.read_rows(paths).rows)
    assert [(row["knee"], row["path"]) for row in rows] == [
        *(("a", "1"), ("b", "2"), ("b", "9"), ("c", "3"))
    ]
    assert noted.said() == [
        f"{paths[0]}: 2 rows that came before counted once",
        f"{paths[1]}: 1 row that came before counted once",
    ]
    assert len(list(manifest.read_table(paths[0]).rows)) == 3
    assert len(list(manifest.read_rows(["x.nii", "y.nii", "x.nii"]).rows)) == 2


def write_sidecar(path, **fields):
    """Write a sidecar as oa-convert does, with one step of its own."""
    step = {"tool": "oa-convert", "version": "0.1.0", "parameters": {}}
    step["input"] = {"name": "series", "sha256": "0" * 64}
    path.write_text(json.dumps({**fields, "OatoolsSteps": [step]}))


def test_a_bare_path_has_the_identity_of_its_sidecar(tmp_path):
    stated = {"Knee": "anon-1ff3a95b", "Subject": "anon-1ff3a95b", "Side": "right"}
    write_sidecar(tmp_path / "anon-1ff3a95b_sag-dess.json", **stated, Sequence="sag-dess")
    row = manifest.row_from_path(str(tmp_path / "anon-1ff3a95b_sag-dess.nii.gz"))
    assert [row[c] for c in manifest.IDENTITY[:-1]] == [
        *("anon-1ff3a95b", "anon-1ff3a95b", "n/a", "right", "sag-dess")
    ]


def test_a_volume_that_was_renamed_keeps_its_name(tmp_path):
    write_sidecar(tmp_path / "mine.json", Knee="anon-1ff3a95b", Side="left", Sequence="cor-iw-tse")
    row = manifest.row_from_path(str(tmp_path / "mine.nii"))
    assert (row["knee"], row["sequence"], row["side"]) == ("mine", "n/a", "left")
    (tmp_path / "other.json").write_text('{"Knee": "John Doe", "Subject": "Doe", "Side": "left"}')
    row = manifest.row_from_path(str(tmp_path / "other.nii"))
    assert (row["knee"], row["subject"], row["side"]) == ("other", "n/a", "n/a")


def test_a_written_table_reads_back_the_same_through_pandas(tmp_path):
    rows = [
        {"knee": "1_00m_left", "note": "NA"},
        {"knee": "2_00m_left", "note": '"quoted" # , ;'},
        {"knee": "3", "note": ""},
    ]
    manifest.write_table(tmp_path / "t.tsv", ["knee", "note"], rows)
    read = pandas.read_csv(
        tmp_path / "t.tsv", sep="\t", quoting=3, keep_default_na=False, na_values=["n/a"]
    )
    assert read["note"].tolist()[:2] == ["NA", '"quoted" # , ;']
    assert pandas.isna(read["note"][2])


def test_a_line_equal_to_the_header_is_skipped(tmp_path):
    table = table_of(tmp_path, "knee\tpath\na\t1\nknee\tpath\nb\t2\n")
    assert [r["knee"] for r in table.rows] == ["a", "b"]


def test_a_row_of_the_wrong_length_is_named_by_its_line_and_the_others_go_on(tmp_path):
    bad, good = list(table_of(tmp_path, "knee\tpath\na\nb\t2\n").rows)
    assert (
        isinstance(bad, manifest.BadRow)
        and "line 2" in bad.name
        and "1 fields where the header has 2" in bad.error
    )
    assert good["knee"] == "b"


def test_another_header_in_the_middle_is_a_bad_row(tmp_path):
    (bad,) = list(table_of(tmp_path, "knee\tpath\nknee\tlabel\n").rows)
    assert "second header" in bad.error


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffknee\tpath\r\na\tx\r\n",
        "knee\tpath\na\tx",
        "knee\tpath\n\na\tx\n",
        "knee\tpath\n\t\na\tx\n\t\t\t\n",
    ],
)
def test_byte_order_marks_windows_line_ends_and_blank_lines_do_no_harm(tmp_path, text):
    table = table_of(tmp_path, text)
    assert table.columns == ["knee", "path"]
    assert list(table.rows) == [{"knee": "a", "path": "x"}]


def test_a_list_of_paths_gets_its_columns_from_the_names(tmp_path):
    table = table_of(tmp_path, "d/9000099_24m_right_cor-iw-tse.nii.gz\nd/scan.v2.nii\n", "list.txt")
    first, second = table.rows
    assert first == {
        "knee": "9000099_24m_right",
        "subject": "9000099",
        "visit": "24m",
        "side": "right",
        "sequence": "cor-iw-tse",
        "path": "d/9000099_24m_right_cor-iw-tse.nii.gz",
    }
    assert (second["knee"], second["subject"], second["path"]) == (
        "scan.v2",
        "n/a",
        "d/scan.v2.nii",
    )


def test_paths_separated_by_nul_may_hold_spaces_and_newlines(monkeypatch):
    fake = type(
        "Stdin", (), {"buffer": io.BytesIO(b"a b.nii\0c\nd.nii\0"), "fileno": lambda self: 9}
    )()
    monkeypatch.setattr("sys.stdin", fake)
    assert [r["path"] for r in manifest.read_rows([], null_separated=True).rows] == [
        "a b.nii",
        "c\nd.nii",
    ]


@pytest.mark.parametrize(
    "text, said",
    [
        ("", "is empty"),
        ("knee\tknee\n", "two columns 'knee'"),
        ("knee\t\tpath\n", "without a name"),
        ("knee\tpath\t\t\n", "without a name"),
        (b"\x7fELF\0\t", "binary data"),
        ("knee\tpath\n".encode("utf-16"), "UTF-16"),
    ],
)
def test_an_unusable_table_is_refused_with_the_reason(tmp_path, text, said):
    with pytest.raises(UsageError, match=said):
        table_of(tmp_path, text)


def test_a_missing_column_is_named_beside_those_present(tmp_path):
    with pytest.raises(UsageError, match="no column 'path'; columns present: knee, label"):
        table_of(tmp_path, "knee\tlabel\n").require("path")


def test_a_table_separated_by_anything_but_tabs_is_called_so(tmp_path):
    with pytest.raises(
        UsageError,
        match="its first line is separated by semicolons; save a table separated by tabs",
    ):
        table_of(tmp_path, "knee;label\nx;1\n").require("label")


def test_tables_with_other_columns_are_not_run_together(tmp_path):
    (tmp_path / "a.tsv").write_text("knee\tpath\n")
    (tmp_path / "b.tsv").write_text("knee\tlabel\n")
    with pytest.raises(UsageError, match="columns differ"):
        manifest.read_rows([str(tmp_path / "a.tsv"), str(tmp_path / "b.tsv")])


def test_a_strict_table_refuses_a_broken_line(tmp_path):
    (tmp_path / "a.tsv").write_text("knee\tlabel\nx\n")
    with pytest.raises(UsageError, match="line 2"):
        list(manifest.read_table(tmp_path / "a.tsv").rows)


@pytest.mark.parametrize("value", ["a\tb", "a\nb", "a\rb"])
def test_a_value_that_would_break_the_table_is_refused(value):
    with pytest.raises(ItemError, match="tab or line break"):
        manifest.format_row(["knee"], {"knee": value})


def test_an_empty_or_absent_cell_becomes_not_available():
    assert manifest.format_row(["a", "b"], {"a": ""}) == "n/a\tn/a\n"


@pytest.mark.parametrize("text", ["abc", "nan", "inf", "1,5"])
def test_a_cell_that_is_no_finite_number_is_refused(text):
    with pytest.raises(ItemError, match="no finite number"):
        manifest.number({"bmi": text}, "bmi")


def test_numbers_and_missing_ones():
    row = {"a": "-1.5e1", "b": "n/a"}
    assert [manifest.number(row, c) for c in "abc"] == [-15.0, None, None]


@pytest.mark.parametrize(
    "row", [{"knee": "../x", "sequence": "n/a"}, {"knee": "n/a"}, {"knee": ".hidden"}]
)
def test_a_knee_that_is_no_file_name_is_refused(row):
    with pytest.raises(ItemError, match="no usable file name"):
        manifest.file_stem(row)


def test_a_broken_line_says_what_to_do_about_it(tmp_path):
    (bad,) = list(table_of(tmp_path, "knee\tpath\na\n").rows)
    assert (bad.error, bad.remedy) == ("1 fields where the header has 2", "correct the line")
    with pytest.raises(
        UsageError, match="line 2: 1 fields where the header has 2; correct the line"
    ):
        list(manifest.read_table(tmp_path / "a.tsv").rows)


def test_a_table_that_is_read_to_its_end_leaves_no_file_open(tmp_path):
    (tmp_path / "a.tsv").write_text("knee\tpath\nk\tp\n")
    code = (
        "from oatools.core.manifest import read_rows, read_table\n"
        "assert len(list(read_table('a.tsv').rows)) == 1\n"
        "assert len(list(read_rows(['a.tsv', 'a.tsv']).rows)) == 1\n"
        "next(read_table('a.tsv').rows)  # and neither does one that is given up\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "always::ResourceWarning", "-c", code],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""


@pytest.mark.parametrize("ending", [".img", ".hdr", ".img.gz", ".nii.bz2", ".nii.gz", ".nii"])
def test_no_ending_of_a_volume_is_part_of_its_sequence(ending):
    row = manifest.row_from_path(f"in/site_7_00m_left_cor-iw-tse{ending}")
    assert (row["knee"], row["subject"], row["sequence"]) == (
        "site_7_00m_left",
        "site_7",
        "cor-iw-tse",
    )


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"knee\tpath\n" + b"a\t" * (1 << 23), "a line is longer than 16 MiB"),
        (bytes(1 << 24), "a line is longer than 16 MiB"),
        (b"knee\tpath\ra\tb\r", r"line break \(CR\) that no line feed follows"),
        (b"a\tb\ta\tc\tb\n", "two columns 'a'"),
    ],
    ids=["long line", "zeros", "old line ends", "two columns"],
)
def test_what_is_no_table_is_refused_before_it_fills_the_memory(tmp_path, content, said):
    with pytest.raises(UsageError, match=said):
        list(table_of(tmp_path, content).rows)


def test_a_header_of_a_hundred_thousand_columns_is_read_at_once(tmp_path):
    columns = "\t".join(map(str, range(100_000)))
    table = table_of(tmp_path, f"knee\t{columns}\n")
    assert len(table.columns) == 100_001


@pytest.mark.parametrize(
    ("line", "said"), [("b\t\0x", "holds a NUL"), ("b\tx\ry", "holds a line break within it")]
)
def test_a_line_that_no_text_has_is_a_failure_and_the_next_one_is_read(tmp_path, line, said):
    first, second, third = table_of(tmp_path, f"knee\tpath\na\tp\n{line}\nc\tp\n").rows
    assert (first["knee"], third["knee"]) == ("a", "c")
    assert second.name.endswith("a.tsv line 3") and said in second.error


def test_a_nul_in_a_list_of_paths_is_a_failure_of_that_line(tmp_path):
    first, second = table_of(tmp_path, "a.nii.gz\nb\0.nii.gz\n", "list.txt").rows
    assert first["path"] == "a.nii.gz"
    assert second.error == "no file has a NUL in its name"


@pytest.mark.parametrize("knee", ["a\tb", "a\nb", "a\rb"])
def test_a_name_that_no_table_can_hold_is_refused_before_the_work(knee):
    with pytest.raises(ItemError, match="no usable file name"):
        manifest.file_stem({"knee": knee})


def test_a_name_that_is_not_utf_8_names_a_file_and_goes_into_no_record():
    row = manifest.row_from_path("kn\udce9e.nii.gz")
    assert manifest.file_stem(row) == "kn\udce9e"
    with pytest.raises(ItemError, match="column 'knee' is not UTF-8"):
        manifest.stated_identity(row)


def test_names_that_nuls_end_are_read_piece_by_piece(monkeypatch):
    """More of them than are read at once, and the last without its NUL."""
    names = [f"{n:06d}-{'x' * 90}.nii.gz" for n in range(30_000)]
    content = "\0".join(names).encode()
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(content)))
    read = manifest.read_rows([], null_separated=True).rows
    assert [row["path"] for row in read] == names


def test_an_error_is_one_line_whatever_cells_it_quotes():
    error = ItemError("no column 'a\nb'", "it has c\r\nd")
    assert str(error) == "no column 'a b'; it has c d"
