import hashlib
import json
import subprocess
import sys

import pytest

LABELS = "knee\tsubject\tvisit\tside\tlabel\tjsw\tjsn\tage\treadprj\n" + "".join(
    f"{9000000 + n}_00m_left\t{9000000 + n}\t00m\tleft\t{int(n < 30)}\t4\t{jsn}\t60\t16\n"
    for n in range(80)
    for jsn in [["-1.3", "-0.8", "-0.5"][n % 3] if n < 30 else "0.1"]
)


def oa_pairs(*arguments, cwd, stdin=None):
    command = [
        sys.executable,
        "-c",
        "from oatools.commands.pairs import main; main()",
        *map(str, arguments),
    ]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, input=stdin)


def table(text):
    header, *rows = [line.split("\t") for line in text.splitlines()]
    return [dict(zip(header, row, strict=True)) for row in rows]


@pytest.fixture
def study(tmp_path):
    (tmp_path / "labels.tsv").write_text(LABELS)
    drawn = oa_pairs("draw", "labels.tsv", "--pairs", 11, "--key", "key.tsv", cwd=tmp_path)
    assert drawn.returncode == 0, drawn.stderr
    (tmp_path / "pairs.tsv").write_text(drawn.stdout)
    return tmp_path


def test_pairs_are_printed_without_the_answers(study):
    rows = table((study / "pairs.tsv").read_text())
    assert list(rows[0]) == [
        "knee",
        "subject",
        "visit",
        "side",
        "pair",
        "place",
        "draw",
        "age",
        "jsw",
    ]
    assert len(rows) == 22
    key = table((study / "key.tsv").read_text())
    assert list(key[0]) == [
        "knee",
        "subject",
        "visit",
        "side",
        "pair",
        "place",
        "draw",
        "stratum",
        "jsn",
        "caution",
    ]
    assert [row["pair"] for row in key] == [f"{n:03d}" for n in range(1, 12)]
    assert all(int(row["subject"]) < 9000030 for row in key)
    assert sorted({row["stratum"] for row in key}) == ["-0.6:-0.5", "-1.1:-0.6", ":-1.1"]


def test_the_same_seed_gives_the_same_bytes_from_standard_input_too(study):
    again = oa_pairs("draw", "-", "--pairs", 11, "--key", "key2.tsv", cwd=study, stdin=LABELS)
    assert again.stdout == (study / "pairs.tsv").read_text()
    assert (study / "key2.tsv").read_bytes() == (study / "key.tsv").read_bytes()
    other = oa_pairs(
        "draw", "labels.tsv", "--pairs", 11, "--key", "key3.tsv", "--seed", 1, cwd=study
    )
    assert other.stdout != again.stdout


def test_a_key_is_never_overwritten_unasked_nor_shown(study):
    before = (study / "key.tsv").read_bytes()
    refused = oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", "key.tsv", cwd=study)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "key.tsv exists, with the answers to another draw; use --force" in refused.stderr
    assert (study / "key.tsv").read_bytes() == before
    forced = oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", "key.tsv", "--force", cwd=study)
    assert forced.returncode == 0
    assert len(table((study / "key.tsv").read_text())) == 5
    before = (study / "key.tsv").read_bytes()
    again = oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", "key.tsv", cwd=study)
    assert (again.returncode, again.stdout) == (
        0,
        forced.stdout,
    )  # the same draw: work done is kept
    assert "the answers were kept in key.tsv" in again.stderr
    assert (study / "key.tsv").read_bytes() == before
    other = oa_pairs(
        "draw", "labels.tsv", "--pairs", 5, "--key", "labels.tsv", "--force", cwd=study
    )
    assert (other.returncode, other.stdout) == (2, "")
    assert "labels.tsv is also read" in other.stderr
    assert (study / "labels.tsv").read_text() == LABELS
    (study / "precious.json").write_text("{}")
    assert (
        "precious.json exists"
        in oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", "precious.tsv", cwd=study).stderr
    )
    for place in ("-", "/dev/stdout"):
        shown = oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", place, "--force", cwd=study)
        assert (shown.returncode, shown.stdout) == (2, "")


def test_a_draw_that_ended_before_its_key_was_there_is_done_again(study):
    record, key = (study / "key.json").read_bytes(), (study / "key.tsv").read_bytes()
    (study / "key.tsv").unlink()
    other = oa_pairs("draw", "labels.tsv", "--pairs", 5, "--key", "key.tsv", cwd=study)
    assert (other.returncode, other.stdout) == (2, "")
    assert other.stderr.startswith("oa-pairs: key.json exists; use --force")
    assert (study / "key.json").read_bytes() == record
    again = oa_pairs("draw", "labels.tsv", "--pairs", 11, "--key", "key.tsv", cwd=study)
    assert (again.returncode, again.stdout) == (0, (study / "pairs.tsv").read_text())
    assert (study / "key.tsv").read_bytes() == key


def test_a_key_says_beside_it_how_it_was_made(study):
    made = json.loads((study / "key.json").read_text())["OatoolsSteps"]
    digest = hashlib.sha256(LABELS.encode()).hexdigest()
    assert made[0]["input"] == {"name": "labels.tsv", "sha256": digest}
    assert made[0]["parameters"] == {
        "strata": [":-1.1:1", "-1.1:-0.6:9", "-0.6:-0.5:1"],
        "pairs": 11,
        "seed": 0,
        "match": [],
        "one_knee": False,
        "show": ["age", "jsw"],
        "endpoint": ["n/a"],
    }
    oa_pairs("draw", "-", "--pairs", 11, "--key", "key2.tsv", cwd=study, stdin=LABELS)
    assert (
        json.loads((study / "key2.json").read_text())["OatoolsSteps"][0]["input"]["sha256"]
        == digest
    )


def test_strata_of_ones_own(study):
    done = oa_pairs(
        "draw",
        "labels.tsv",
        "--stratum",
        ":-1.1:2",
        "--stratum",
        "-1:-0.5:9",
        "--key",
        "k.tsv",
        cwd=study,
    )
    assert done.returncode == 0, done.stderr
    strata = [row["stratum"] for row in table((study / "k.tsv").read_text())]
    assert (strata.count(":-1.1"), strata.count("-1:-0.5")) == (2, 9)


def test_labels_without_narrowing_are_drawn_without_strata(study):
    text = "".join("\t".join(line.split("\t")[:5]) + "\n" for line in LABELS.splitlines())
    done = oa_pairs("draw", "-", "--pairs", 20, "--key", "k.tsv", cwd=study, stdin=text)
    assert "drawn without strata" in done.stderr
    assert {row["stratum"] for row in table((study / "k.tsv").read_text())} == {"n/a"}


@pytest.mark.parametrize(
    "arguments,message",
    [
        (
            [],
            "stratum :-1.1 has 10 progressors, and 10 were asked for|stratum -1.1:-0.6 has 10 progressors, and 130",
        ),
        (["--stratum", ":-1.1:2", "--pairs", "3"], "leave out --pairs"),
        (["--stratum", "2"], "LOW:HIGH:N"),
        (["--stratum", ":-0.5:0"], "the strata ask for no pair"),
        (["--pairs", "31", "--no-strata"], "31 progressors were asked for, and there are 30"),
    ],
)
def test_a_draw_that_is_not_possible_leaves_no_key(study, arguments, message):
    done = oa_pairs("draw", "labels.tsv", "--key", "k.tsv", *arguments, cwd=study)
    assert (done.returncode, done.stdout) == (2, "")
    assert any(part in done.stderr for part in message.split("|")), done.stderr
    assert not (study / "k.tsv").exists()


def test_a_missing_column_is_named(study):
    done = oa_pairs(
        "draw", "-", "--key", "k.tsv", cwd=study, stdin="knee\tsubject\tvisit\tside\nk\ts\tv\tr\n"
    )
    assert done.returncode == 2
    assert "no column 'label'" in done.stderr


def test_readers_and_a_model_are_scored_together(study):
    key = table((study / "key.tsv").read_text())
    (study / "junior.tsv").write_text(
        "knee\tpair\tchoice\n"
        + "".join(f"n/a\t{row['pair']}\t{row['place']}\n" for row in key[:10])
    )
    (study / "both.tsv").write_text(
        "knee\tpair\tchoice\treader\n"
        + "".join(f"n/a\t{r['pair']}\tA\t{name}\n" for name in "xy" for r in key)
    )
    right = {row["knee"] for row in key}
    (study / "model.tsv").write_text(
        "knee\tprobability\n"
        + "".join(
            f"{row['knee']}\t{0.1 if row['knee'] in right else 0.8}\n"
            for row in table((study / "pairs.tsv").read_text())
        )
    )
    tables = ("junior.tsv", "both.tsv", "--pairs", "pairs.tsv", "--model", "model.tsv")
    done = oa_pairs("score", *tables, "--key", "key.tsv", cwd=study)
    assert done.returncode == 0, done.stderr
    rows = {(row["reader"], row["stratum"]): row for row in table(done.stdout)}
    assert {reader for reader, _ in rows} == {"junior", "x", "y", "model", "mean of readers"}
    assert (rows["junior", "all"]["rank_auc"], rows["junior", "all"]["n_unanswered"]) == (
        "1.000000",
        "1",
    )
    assert rows["model", "all"]["rank_auc"] == "0.000000"
    assert rows["x", "all"]["right"] == str(sum(row["place"] == "A" for row in key))
    assert (
        sum(
            int(row["pairs"])
            for (reader, stratum), row in rows.items()
            if reader == "x" and stratum != "all"
        )
        == 11
    )
    assert "junior: 1 of 11 pairs without an answer" in done.stderr


def test_answers_are_taken_as_spreadsheets_save_them(study):
    key = table((study / "key.tsv").read_text())
    lines = [
        "\ufeffreader\tpair\tchoice\tconfidence\tseconds",
        *(f"jd \t{int(row['pair'])}\t{row['place'].lower()} \t3\t30" for row in key),
        "\t\t\t\t",
    ]
    (study / "excel.tsv").write_text("\r\n".join(lines) + "\r\n", encoding="utf-8")
    done = oa_pairs("score", "excel.tsv", "--key", "key.tsv", cwd=study)
    assert done.returncode == 0, done.stderr
    row, *_ = table(done.stdout)
    assert (row["reader"], row["right"], row["n_unanswered"], row["seconds"]) == (
        "jd",
        "11",
        "0",
        "30.0",
    )
    scored, few = done.stderr.splitlines()
    assert scored == "oa-pairs: 1 reader scored on 11 pairs"
    # Clopper and Pearson: 0.1675 below for 5 in 11, 0.8325 above for 6 (and 5.5 lies between).
    assert few.startswith(
        "oa-pairs: 11 pairs tell little: a share of one half has an interval from 0.17 to 0.83;"
    )


def test_ties_of_a_model_are_said_to_be_no_judgement(study):
    key = table((study / "key.tsv").read_text())
    pairs = table((study / "pairs.tsv").read_text())
    flat = "".join(f"{row['knee']}\t0.3\n" for row in pairs)
    (study / "flat.tsv").write_text(f"knee\tprobability\n{flat}")
    done = oa_pairs(
        "score", "--pairs", "pairs.tsv", "--key", "key.tsv", "--model", "flat.tsv", cwd=study
    )
    said = "flat does not tell the knees of 11 of 11 pairs apart: such ties count one half"
    assert len(key) == 11 and said in done.stderr


def test_answers_to_another_draw_are_refused(study):
    other = oa_pairs(
        "draw", "labels.tsv", "--pairs", 11, "--seed", 1, "--key", "key1.tsv", cwd=study
    )
    (study / "pairs1.tsv").write_text(other.stdout)
    name = table(other.stdout)[0]["draw"]
    (study / "jd.tsv").write_text(f"pair\tchoice\tdraw\n001\tA\t{name}\n")
    assert oa_pairs("score", "jd.tsv", "--key", "key1.tsv", cwd=study).returncode == 0
    refused = oa_pairs("score", "jd.tsv", "--key", "key.tsv", cwd=study)
    assert (refused.returncode, refused.stdout) == (2, "")
    assert f"jd answered another draw ({name})" in refused.stderr
    refused = oa_pairs("score", "jd.tsv", "--key", "key.tsv", "--pairs", "pairs1.tsv", cwd=study)
    assert "the pairs do not fit the key" in refused.stderr


def test_pairs_that_were_not_shown_are_not_scored(study):
    head, *lines = (study / "pairs.tsv").read_text().splitlines()
    shown = [
        f"{line}\t{sequence}"
        for line in lines
        if "\t004\t" not in line
        for sequence in ("cor", "sag")
    ]
    (study / "shown.tsv").write_text("\n".join([f"{head}\tsequence", *shown]) + "\n")
    key = table((study / "key.tsv").read_text())
    (study / "jd.tsv").write_text(
        "pair\tchoice\n"
        + "".join(f"{r['pair']}\t{r['place']}\n" for r in key if r["pair"] != "004")
    )
    done = oa_pairs("score", "jd.tsv", "--key", "key.tsv", "--pairs", "shown.tsv", cwd=study)
    assert "1 of 11 pairs of the key are not in shown.tsv, and not scored" in done.stderr
    row, *_ = table(done.stdout)
    assert (row["pairs"], row["right"], row["n_unanswered"]) == ("10", "10", "0")
    (study / "jd.tsv").write_text("pair\tchoice\n004\tA\n")
    done = oa_pairs("score", "jd.tsv", "--key", "key.tsv", "--pairs", "shown.tsv", cwd=study)
    assert done.returncode == 1
    assert "jd, pair 004: " in done.stderr


def test_what_is_scored_never_overwrites_what_is_read(study):
    for name in ("jd", "mk"):
        (study / f"{name}.tsv").write_text("pair\tchoice\n001\tA\n")
    kept = {path: path.read_bytes() for path in study.iterdir() if path.is_file()}
    for options, said in (
        (("--compare", "jd.tsv", "mk.tsv"), "--compare jd.tsv exists; use --force"),
        (("--compare", "mk.tsv", "mk.tsv"), "mk.tsv is also read"),
        (("--force", "--paragraph", "key.tsv", "mk.tsv"), "key.tsv is also read"),
        (
            ("--force", "--compare", "x.png", "--figure", "x.png", "mk.tsv"),
            "--compare writes x.png, too",
        ),
        (("--paragraph", "-", "mk.tsv"), "a plain file is needed"),
        (("--force", "--paragraph", "/dev/null", "mk.tsv"), "a plain file is needed"),
    ):
        refused = oa_pairs("score", "--key", "key.tsv", *options, cwd=study)
        assert (refused.returncode, refused.stdout) == (2, "")
        assert said in refused.stderr
    assert {path: path.read_bytes() for path in study.iterdir() if path.is_file()} == kept
    (study / "c.tsv").write_text("old\n")
    assert (
        oa_pairs(
            "score",
            "mk.tsv",
            "jd.tsv",
            "--key",
            "key.tsv",
            "--compare",
            "c.tsv",
            "--force",
            cwd=study,
        ).returncode
        == 0
    )
    assert len(table((study / "c.tsv").read_text())) == 1


def test_answers_that_cannot_be_graded_fail_alone(study):
    answers = "knee\tpair\tchoice\nn/a\t001\tA\nn/a\t777\tA\nn/a\t002\tboth\n"
    (study / "r.tsv").write_text(answers)
    done = oa_pairs("score", "r.tsv", "--key", "key.tsv", cwd=study)
    assert done.returncode == 1
    assert "r, pair 777: no such pair" in done.stderr
    assert "r, pair 002: choice 'both' is not A, B or n/a" in done.stderr
    assert table(done.stdout)[0]["n_unanswered"] == "10"


@pytest.mark.parametrize(
    "arguments,message",
    [
        (["--key", "key.tsv"], "nothing to score"),
        (["--key", "key.tsv", "--model", "labels.tsv"], "--model needs --pairs"),
        (["labels.tsv", "--key", "key.tsv"], "no column 'pair'"),
        (["r.tsv", "d/r.tsv", "--key", "key.tsv"], "would both be reader 'r'"),
        (["r.tsv", "--key", "labels.tsv"], "no column 'pair'"),
        (["r.tsv", "--key", "nowhere.tsv"], "nowhere.tsv"),
    ],
)
def test_a_call_that_cannot_be_scored_is_refused(study, arguments, message):
    (study / "d").mkdir()
    for name in ("r.tsv", "d/r.tsv"):
        (study / name).write_text("pair\tchoice\n001\tA\n")
    done = oa_pairs("score", *arguments, cwd=study)
    assert (done.returncode, done.stdout) == (2, "")
    assert message in done.stderr
    assert done.stderr.count("\n") == 1


def test_matching_says_how_far_the_pairs_differ(study):
    done = oa_pairs(
        "draw",
        "labels.tsv",
        "--pairs",
        11,
        "--match",
        "age:5",
        "--match",
        "treadprj",
        "--key",
        "m.tsv",
        cwd=study,
    )
    assert done.returncode == 2
    assert "no column 'treadprj'" in done.stderr
    calipers = ("--match", "age:5", "--match", "readprj", "--one-knee", "--show", "age")
    done = oa_pairs("draw", "labels.tsv", "--pairs", 11, *calipers, "--key", "m.tsv", cwd=study)
    assert done.returncode == 0, done.stderr
    assert "age within 5: progressors less partners +0 on average, at most 0 apart" in done.stderr
    assert list(table(done.stdout)[0])[6:] == ["draw", "age"]
    refused = oa_pairs(
        "draw", "labels.tsv", "--pairs", 11, "--show", "jsn", "--key", "n.tsv", cwd=study
    )
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "'jsn' may tell readers the answer" in refused.stderr
    assert not (study / "n.tsv").exists()


def test_scores_of_phantoms_say_so_wherever_they_are_written(study):
    key = table((study / "key.tsv").read_text())
    assert {row["caution"] for row in key} == {"n/a"}
    knees = {row["knee"] for row in table((study / "pairs.tsv").read_text())}
    right = {row["knee"] for row in key}
    header = "knee\tprobability\tcaution\n"
    cells = [f"{knee}\t{float(knee in right)}\tphantoms, random weights\n" for knee in knees]
    (study / "model.tsv").write_text(header + "".join(cells))
    written = ("--compare", "c.tsv", "--paragraph", "p.txt", "--figure", "f.svg")
    read = ("--key", "key.tsv", "--pairs", "pairs.tsv", "--model", "model.tsv")
    done = oa_pairs("score", *read, *written, cwd=study)
    assert done.returncode == 0, done.stderr
    assert {row["caution"] for row in table(done.stdout)} == {"phantoms, random weights"}
    text = (study / "p.txt").read_text()
    assert text.endswith(
        "These numbers were made with phantoms and random weights, and say nothing about patients.\n"
    )
    assert (study / "c.tsv").read_text().splitlines()[0].endswith("\tcaution")
    assert "<!-- Phantoms, Random weights -->" in (study / "f.svg").read_text()
    # The same again keeps what is there; an interrupted run left one of the three.
    (study / "p.txt").unlink()
    at = (study / "f.svg").stat()
    assert oa_pairs("score", *read, *written, cwd=study).stdout == done.stdout
    assert (study / "p.txt").read_text() == text and (study / "f.svg").stat() == at
    # Of people, nothing of it.
    (study / "model.tsv").write_text(
        "knee\tprobability\n" + "".join(f"{knee}\t0.5\n" for knee in knees)
    )
    done = oa_pairs("score", *read, *written, "--force", cwd=study)
    assert {row["caution"] for row in table(done.stdout)} == {"n/a"}
    assert "patients" not in (study / "p.txt").read_text().rsplit(".", 2)[1]
    assert "Phantoms" not in (study / "f.svg").read_text()
    # The labels alone may say it, of readers without a model.
    labels = (study / "labels.tsv").read_text().splitlines()
    marked = [labels[0] + "\tcaution", *(f"{line}\tphantoms" for line in labels[1:])]
    (study / "labels.tsv").write_text("\n".join(marked) + "\n")
    oa_pairs("draw", "labels.tsv", "--pairs", 11, "--key", "key2.tsv", cwd=study)
    (study / "jd.tsv").write_text("pair\tchoice\n001\tA\n")
    done = oa_pairs("score", "jd.tsv", "--key", "key2.tsv", cwd=study)
    assert {row["caution"] for row in table(done.stdout)} == {"phantoms"}


def test_pairs_are_drawn_by_what_had_happened_within_a_time(tmp_path):
    """Knees 0 to 9 have it by 12 months, 10 to 19 by 36, 20 to 29 are lost at 12, the others stay."""
    lines = ["knee\tsubject\tvisit\tside\ttime\tevent\tfrom\tto\tended\tage\tendpoint"]
    for n in range(60):
        follow = "48\t0\t48\tn/a\tend"
        if n < 20:
            follow = ("12\t1\t0\t12" if n < 10 else "36\t1\t24\t36") + "\tevent"
        elif n < 30:
            follow = "12\t0\t12\tn/a\tlost"
        subject = str(9000000 + n)
        lines.append(f"{subject}_00m_left\t{subject}\t00m\tleft\t{follow}\t60\ttkr-until48m")
    (tmp_path / "labels.tsv").write_text("\n".join(lines) + "\n")
    for months, progress, others in ((24, range(10), [*range(10, 20), *range(30, 60)]),):
        done = oa_pairs(
            *("draw", "labels.tsv", "--at", f"{months}m", "--pairs", 10, "--key", "key.tsv"),
            cwd=tmp_path,
        )
        assert done.returncode == 0, done.stderr
        rows = table(done.stdout)
        assert not {"time", "event", "from", "to", "ended", "label"} & set(rows[0])
        key = {row["knee"] for row in table((tmp_path / "key.tsv").read_text())}
        assert {int(knee[:7]) - 9000000 for knee in key} == set(progress)
        partners = {int(row["knee"][:7]) - 9000000 for row in rows} - set(progress)
        assert partners <= set(others)
    done = oa_pairs("draw", "labels.tsv", "--pairs", 3, "--key", "k.tsv", cwd=tmp_path)
    assert done.returncode == 2 and "say by when, with --at 24m" in done.stderr
    done = oa_pairs(
        *("draw", "labels.tsv", "--at", "24m", "--show", "time", "--key", "k.tsv"), cwd=tmp_path
    )
    assert done.returncode == 2 and "time" in done.stderr
