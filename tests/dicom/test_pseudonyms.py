"""Names for what must not come out: by a key, the same in every run, and in a table for the user alone."""

import hashlib
import hmac
import os
import stat
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import pytest

from oatools.commands.convert import main
from oatools.core.errors import UsageError
from oatools.dicom.idtable import IdTable
from oatools.dicom.pseudonyms import Pseudonyms, folder_key, read_key

Ended = namedtuple("Ended", "status out err")
KEY = "6f1d8c34a0b25e977c40d1e2f38a965b"


@pytest.fixture
def convert(tmp_path, monkeypatch, capfd):
    """Run oa-convert in this process, in the test's own folder."""
    monkeypatch.chdir(tmp_path)

    def run(line, status=0):
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            main.main(line.split(), "oa-convert")
        out, err = capfd.readouterr()
        assert ended.value.code == status, err
        assert "Traceback" not in err
        return Ended(ended.value.code, out, err)

    return run


@pytest.fixture
def key(tmp_path):
    (tmp_path / "my.key").write_text(f"{KEY}\n")
    (tmp_path / "my.key").chmod(0o600)
    return tmp_path / "my.key"


def table(text):
    header, *lines = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, line, strict=True)) for line in lines]


def test_an_id_is_a_keyed_digest_of_64_bits(scan, convert, key, tmp_path):
    scan(tmp_path / "s", " MRN-7 ", slices=1)
    expected = hmac.digest(KEY.encode(), b"person\0mrn-7", hashlib.sha256).hex()[:16]
    (row,) = table(convert("-l s --visit 00m --id-key my.key").out)
    assert row["subject"] == f"anon-{expected}" and row["knee"].startswith(row["subject"])


def test_two_keys_give_two_names_and_one_gives_the_same(scan, tmp_path):
    one, same, other = (Pseudonyms(lambda k=k: k) for k in (b"a" * 32, b"a" * 32, b"b" * 32))
    assert one.person("MRN-7") == same.person("mrn-7 ") != other.person("MRN-7")
    assert one.words(["doe"]) == same.words(["doe"]) != other.words(["doe"])
    assert Pseudonyms().person("MRN-7") != Pseudonyms().person("MRN-7")
    # A person and a series of one text are not one.
    assert one.person("1.2.3") != one.nobody("1.2.3")


@pytest.mark.parametrize(
    "content, said",
    [
        (None, "is missing"),
        (b"", "holds 0 bytes"),
        (b"  short-key-15ch \n", "holds 14 bytes"),
        (b"x" * 70_000, "holds more than 64 KiB"),
    ],
)
def test_a_key_that_is_none_is_refused(convert, tmp_path, content, said):
    (tmp_path / "s").mkdir()
    if content is not None:
        (tmp_path / "k").write_bytes(content)
    done = convert("-l s --id-key k", 2)
    assert done.err.count("\n") == 1 and said in done.err and not done.out


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_a_folder_is_no_key_and_no_table(convert, key, tmp_path, make):
    (tmp_path / "s").mkdir()
    make(tmp_path / "odd")
    refused = convert("-l s --id-key odd", 2).err
    assert "is no plain file" in refused or "Is a directory" in refused
    assert convert("-l s --id-key my.key --id-table odd", 2).err.count("\n") == 1


def test_a_key_that_everybody_can_read_is_said(scan, convert, key, tmp_path):
    scan(tmp_path / "s", "MRN7", slices=1)
    assert "chmod" not in convert("-l s --id-key my.key").err
    key.chmod(0o644)
    assert "everybody can read my.key" in convert("-l s --id-key my.key").err


def test_a_folder_of_outputs_gets_a_key_that_later_runs_use(scan, convert, tmp_path):
    scan(tmp_path / "a", "MRN7", "left")
    scan(tmp_path / "b", "mrn7", "right")
    first = convert("a -o nii --visit 00m")
    made = tmp_path / "nii/id.key"
    assert stat.S_IMODE(made.stat().st_mode) == 0o600 and len(made.read_bytes().strip()) == 64
    assert "made the key of ids nii/id.key" in first.err
    content = made.read_bytes()
    again = convert("b -o nii --visit 00m")
    assert "id.key" not in again.err and made.read_bytes() == content
    subjects = {row["subject"] for row in table(first.out) + table(again.out)}
    assert len(subjects) == 1
    # A listing for that folder has its names, too.
    assert {row["subject"] for row in table(convert("-l a -o nii").out)} == subjects
    assert sorted(path.name for path in (tmp_path / "nii").iterdir() if path.suffix == ".key") == [
        "id.key"
    ]


def test_no_key_is_made_for_what_needs_none(scan, convert, tmp_path):
    scan(tmp_path / "00m/0.E.1/9000001/20050131/10000001", "9000001")
    scan(tmp_path / "s", "MRN7", "left")
    convert("00m -o oai")
    convert("s -o known --visit 00m --subject p17")
    convert("s -o kept --visit 00m --keep-ids")
    assert not list(tmp_path.rglob("*.key"))


def test_a_listing_makes_no_key_and_says_that_its_names_pass(scan, convert, tmp_path):
    scan(tmp_path / "s", "MRN7", slices=1)
    one, other = convert("-l s -o nii"), convert("-l s")
    assert not (tmp_path / "nii").exists()
    assert table(one.out)[0]["subject"] != table(other.out)[0]["subject"]
    assert "of this listing alone" in one.err and "--id-key" in other.err
    assert "of which a table is of no use" in convert("-l s --id-table who.tsv", 2).err
    assert not (tmp_path / "who.tsv").exists()


def test_one_folder_has_the_ids_of_one_key(scan, convert, key, tmp_path):
    scan(tmp_path / "a", "MRN7", "left")
    scan(tmp_path / "b", "MRN7", "right")
    scan(tmp_path / "00m/0.E.1/9000001/20050131/10000001", "9000001")
    convert("a -o nii --visit 00m --id-key my.key")
    # Forgotten: the fresh key would give the patient another id.
    refused = convert("b -o nii --visit 00m", 2)
    assert "holds ids of another key (anon-" in refused.err and "--id-key" in refused.err
    convert("00m -o nii")
    assert not (tmp_path / "nii/id.key").exists()
    convert("a -o other --visit 00m")
    assert "other/id.key is another key" in convert("b -o other --visit 00m --id-key my.key").err


def test_a_folder_that_cannot_have_a_key_says_so(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="cannot be made: Not a directory|File exists"):
        folder_key(tmp_path / "file/nii", print)


_MAKER = """
import sys
from pathlib import Path
from oatools.dicom.pseudonyms import folder_key
made = []
key = folder_key(Path(sys.argv[1]), made.append)
print(len(made), key.decode())
"""


def test_processes_at_once_have_one_key(tmp_path):
    call = [sys.executable, "-c", _MAKER, str(tmp_path / "out")]
    started = [subprocess.Popen(call, stdout=subprocess.PIPE, text=True) for _ in range(6)]
    said = [process.communicate()[0].split() for process in started]
    assert sum(int(made) for made, _ in said) == 1
    assert {key for _, key in said} == {read_key(tmp_path / "out/id.key").decode()}
    assert os.listdir(tmp_path / "out") == ["id.key"]


def test_the_table_says_who_is_who_and_nothing_else_does(scan, convert, key, tmp_path):
    fields = {"SeriesDescription": "COR PD Quantico LEFT", "Laterality": "L"}
    scan(tmp_path / "s/a", "MRN-7", slices=24, **fields)
    scan(tmp_path / "s/b", "MRN-8", slices=24, **fields)
    line = "s -v -o nii --visit 00m --id-key my.key --id-table ids/who.tsv"
    done = convert(line)
    who = tmp_path / "ids/who.tsv"
    assert stat.S_IMODE(who.stat().st_mode) == 0o600
    rows = table(who.read_text())
    assert [row["patient_id"] for row in rows] == ["MRN-7", "MRN-8"]
    assert {row["description"] for row in rows} == {"COR PD Quantico LEFT"}
    written = table(done.out)
    assert [(row["subject"], row["sequence"]) for row in rows] == [
        (row["subject"], row["sequence"]) for row in written
    ]
    sequence = written[0]["sequence"]
    assert sequence == written[1]["sequence"] and sequence.startswith("cor-pd-x")
    assert written[0]["description"] == f"{sequence.rpartition('-')[0]}-left-{sequence[7:]}"
    outputs = done.out + done.err + "".join(map(str, (tmp_path / "nii").iterdir()))
    outputs += "".join(path.read_text() for path in (tmp_path / "nii").glob("*.json"))
    assert "quantico" not in outputs.lower() and "mrn" not in outputs.lower()
    # Once is enough.
    convert(line)
    assert table(who.read_text()) == rows
    # The name that a run gave is the name that can be asked for.
    assert len(table(convert(f"-l s --id-key my.key -s {sequence}").out)) == 2


def test_processes_share_the_table(tmp_path):
    one, other = IdTable(tmp_path / "who.tsv"), IdTable(tmp_path / "who.tsv")
    one.add("anon-1", "MRN\t7", "cor-pd", "")
    other.add("anon-2", "MRN8", "cor-pd", "COR\nPD")
    other.add("anon-1", "MRN 7", "cor-pd", "")
    one.add("anon-2", "MRN8", "cor-pd", "COR PD")
    assert (tmp_path / "who.tsv").read_text() == (
        "subject\tpatient_id\tsequence\tdescription\n"
        "anon-1\tMRN 7\tcor-pd\tn/a\n"
        "anon-2\tMRN8\tcor-pd\tCOR PD\n"
    )


def test_a_table_that_was_made_empty_is_for_its_owner_too(tmp_path):
    (tmp_path / "who.tsv").touch(0o644)
    IdTable(tmp_path / "who.tsv")
    assert stat.S_IMODE((tmp_path / "who.tsv").stat().st_mode) == 0o600


def test_a_line_that_was_cut_spoils_no_other(tmp_path):
    IdTable(tmp_path / "who.tsv").add("anon-1", "MRN7", "cor-pd", "COR PD")
    with (tmp_path / "who.tsv").open("a") as stream:
        stream.write("anon-2\tMR")
    IdTable(tmp_path / "who.tsv").add("anon-3", "MRN9", "cor-pd", "COR PD")
    lines = (tmp_path / "who.tsv").read_text().splitlines()
    assert lines[1:] == [
        "anon-1\tMRN7\tcor-pd\tCOR PD",
        "anon-2\tMR",
        "anon-3\tMRN9\tcor-pd\tCOR PD",
    ]


def test_no_other_file_is_taken_for_the_table(convert, key, tmp_path):
    (tmp_path / "s").mkdir()
    (tmp_path / "thesis.txt").write_text("my only copy\n")
    done = convert("-l s --id-key my.key --id-table thesis.txt", 2)
    assert "would be lost" in done.err and "--id-table" in done.err
    assert Path(tmp_path / "thesis.txt").read_text() == "my only copy\n"


def test_a_hospitals_number_that_looks_like_a_participants_is_hidden(scan, convert, key, tmp_path):
    scan(tmp_path / "a", "9123456", StudyDescription="KNEE", AccessionNumber="A1", slices=1)
    scan(tmp_path / "b", "9123456", StudyDescription="OAI^MR^12 MONTH^LEFT", slices=1)
    hidden, shown = table(convert("-l a b --id-key my.key").out)
    assert hidden["subject"].startswith("anon-") and shown["subject"] == "9123456"
