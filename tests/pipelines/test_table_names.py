"""Whatever is wrong with what a table holds, the line that says so names the table."""

from importlib import import_module

import pytest

LABELS = """knee\tsubject\tvisit\tside\tlabel
9000001_00m_left\t9000001\t00m\tleft\t1
9000002_00m_left\t9000002\t00m\tleft\t0
"""
PAIRS = """knee\tsubject\tside\tpair\tplace
9000001_00m_left\t9000001\tleft\t001\tA
9000002_00m_left\t9000002\tleft\t001\tB
"""
KEY = """knee\tpair\tplace
9000001_00m_left\t001\tA
"""
ANSWERS = "pair\tchoice\n001\tA\n"
PREDICTED = "knee\tprobability\n9000001_00m_left\t0.7\n9000002_00m_left\t0.2\n"
PLAIN = """subject,visit,side,jsw,outcome
P1,0,left,4.1,1
P2,0,right,4.0,0
"""
DRAW = "oa-pairs draw labels.tsv --no-strata --pairs 1 --key new.tsv"
PAGE = "oa-pairs page pairs.tsv volumes.tsv -o page"
SCORE = "oa-pairs score answers.tsv --pairs pairs.tsv --key key.tsv --model predicted.tsv"
LABEL = "oa-label plain.csv --endpoint given"
FILES = {
    "labels.tsv": LABELS,
    "pairs.tsv": PAIRS,
    "key.tsv": KEY,
    "answers.tsv": ANSWERS,
    "predicted.tsv": PREDICTED,
    "plain.csv": PLAIN,
    "volumes.tsv": "knee\tsequence\tpath\n9000001_00m_left\tcor-iw-tse\ta.nii\n",
}


@pytest.mark.parametrize(
    "line, table, old, new",
    [
        (DRAW, "labels.tsv", "left\t1", "left\t7"),
        (DRAW, "labels.tsv", "left\t1", "left\t0"),
        (DRAW, "labels.tsv", "\t9000002\t", "\t9000003\t"),
        (
            DRAW,
            "labels.tsv",
            "9000002_00m_left\t9000002\t00m\tleft",
            "9000001_00m_left\t9000001\t00m\tleft",
        ),
        (PAGE, "pairs.tsv", "\tB", "\tA"),
        (PAGE, "pairs.tsv", "left\t001\tA", "middle\t001\tA"),
        (PAGE, "pairs.tsv", PAIRS[PAIRS.index("\n") + 1 :], ""),
        (SCORE, "pairs.tsv", "\tB", "\tC"),
        (SCORE, "pairs.tsv", "\t001\t", "\t002\t"),
        (SCORE, "key.tsv", "\tA", "\tC"),
        (SCORE, "key.tsv", KEY[KEY.index("\n") + 1 :], ""),
        (SCORE, "answers.tsv", ANSWERS, "pair\tchoice\treader\n001\tA\tall readers\n"),
        (SCORE, "predicted.tsv", "0.7", "seven"),
        (LABEL, "plain.csv", "P1,0", "P1,12"),
        (LABEL, "plain.csv", "P1", "P/1"),
        (LABEL, "plain.csv", "4.1,1", "4.1,maybe"),
    ],
)
def test_the_table_is_named(tmp_path, monkeypatch, capfd, line, table, old, new):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        assert name != table or old in text
        (tmp_path / name).write_text(text.replace(old, new) if name == table else text)
    command, *arguments = line.split()
    with pytest.raises(SystemExit) as ended:
        import_module(f"oatools.commands.{command.removeprefix('oa-')}").main.main(arguments)
    said = capfd.readouterr().err.splitlines()
    assert ended.value.code == 2
    assert said[-1].startswith(f"{command}") and table in said[-1]


def test_the_table_of_an_answer_that_cannot_be_used_is_named(tmp_path, monkeypatch, capfd):
    monkeypatch.chdir(tmp_path)
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    (tmp_path / "answers.tsv").write_text("reader\tpair\tchoice\nDoe\t001\tX\n")
    with pytest.raises(SystemExit) as ended:
        import_module("oatools.commands.pairs").main.main(SCORE.split()[1:])
    assert ended.value.code == 1
    assert "oa-pairs: answers.tsv: Doe, pair 001: " in capfd.readouterr().err


@pytest.mark.parametrize(
    "name, header",
    [("AllClinical00", "ID|P01BMI"), ("kxr_qjsw_duryea00", "ID|SIDE|READPRJ|V00MCMJSW")],
)
def test_the_studys_table_is_named(tmp_path, monkeypatch, capfd, name, header):
    from oatools.oai.tables import find_tables, read_table

    path = tmp_path / "any" / f"{name}.txt"
    path.parent.mkdir()
    cells = ["9000099", "1", "15", "4.1"][: header.count("|") + 1]
    path.write_text(f"{header}\n{'|'.join(cells)}\n{'|'.join(['90/99', *cells[1:]])}\n")
    from oatools.core.errors import UsageError

    with pytest.raises(UsageError, match=f"{name}.txt: the id '90/99' cannot be part of a name"):
        read_table(find_tables(tmp_path), name, header.split("|"))
