"""Help in one form for all commands, and what a mistyped name meant."""

import importlib
import re
from pathlib import Path

import click
import pytest

from oatools.core.cli import command
from oatools.core.helptext import OTHERS, argument, grouped, heading, option_groups
from oatools.core.suggestions import did_you_mean

FOLDER = Path(importlib.import_module("oatools.commands").__file__).parent
# What the commands are made of, beside one file or folder a command.
_HELPERS = ("_", "start", "train", "label_flow", "missing")
NAMES = sorted(
    path.stem
    for path in FOLDER.iterdir()
    if (path.suffix == ".py" or path.is_dir()) and not path.name.startswith(_HELPERS)
) + ["train"]


def commands():
    """Every command and subcommand, by what a user types."""
    for name in NAMES:
        main = importlib.import_module(f"oatools.commands.{name}").main
        yield f"oa-{name}", main
        if isinstance(main, click.Group):
            for part in main.commands.values():
                yield f"oa-{name} {part.name}", part


COMMANDS = dict(commands())


def help_of(typed):
    part = COMMANDS[typed]
    # The settings of the command itself: click keeps the first help option that it makes of it.
    context = click.Context(part, info_name=typed, terminal_width=80, **part.context_settings)
    return part.get_help(context)


def test_all_commands_are_here():
    assert {"oa-n4", "oa-train", "oa-cv", "oa-check", "oa-pairs", "oa-pairs draw"} <= set(COMMANDS)


@pytest.mark.parametrize("typed", COMMANDS)
def test_help_has_all_of_its_parts(typed):
    part, text = COMMANDS[typed], help_of(typed)
    lines = text.splitlines()
    assert lines[0].startswith(f"Usage: {typed} ")
    assert re.match(r"  [A-Z].*", lines[2])
    titles = re.findall(r"^(\S.*):$", text, flags=re.MULTILINE)
    assert titles.count("Examples") == 1 and titles[-1] == "Examples"
    assert OTHERS not in titles, "an option is in no group"
    assert len(titles) == len(set(titles))
    has_arguments = any(isinstance(each, click.Argument) for each in part.params)
    assert ("Arguments" in titles) == has_arguments
    examples = text.split("\nExamples:\n")[1].split("\nExit status: ")[0]
    assert len(re.findall(r"^  # ", examples, flags=re.MULTILINE)) == 2
    assert typed in examples
    assert re.fullmatch(r"0: .*; 1: .*; 2: .*\.", lines[-2].removeprefix("Exit status: "))
    assert lines[-1] == f"Manual: man {typed.split()[0]}"


@pytest.mark.parametrize("typed", COMMANDS)
def test_no_name_of_a_type_stands_for_a_value(typed):
    text = help_of(typed)
    for name in ("RANGE", "INTEGER", "FLOAT", "BOOLEAN", "DIRECTORY", "|NONE"):
        assert name not in text


@pytest.mark.parametrize("typed", COMMANDS)
def test_examples_use_options_that_there_are(typed):
    """The lines of an example that call one of the commands are taken by its parser."""
    for example in COMMANDS[typed].manual.examples:
        for call in re.split(r"\s(?:\||\|\||&&)\s", example.line):
            words = re.sub(r"[<>]\s*\S+", "", call).split()
            if not words[0].startswith("oa-"):
                continue
            name = " ".join(words[:2]) if " ".join(words[:2]) in COMMANDS else words[0]
            part = COMMANDS[name]
            flags = {flag for each in part.params for flag in (*each.opts, *each.secondary_opts)}
            used = {word for word in words if re.match(r"--?[a-z0]", word)}
            assert used <= flags, call


def test_the_list_of_subcommands_is_not_cut():
    text = help_of("oa-pairs")
    assert "..." not in text.split("Commands:")[1].split("Messages and help:")[0]
    assert "from its readers, by simulation." in " ".join(text.split())


def test_options_are_in_the_group_of_the_heading_above_them():
    shared = grouped("Shared", click.option("--shared"))

    @command("oa-x")
    @argument("place", "Where it is.")
    @heading("First")
    @click.option("--one")
    @shared
    @click.option("--two")
    @heading("Second")
    @click.option("--three")
    @click.option("--four", hidden=True)
    def main(console, **options):
        """Do it."""

    groups = option_groups(main, click.Context(main, help_option_names=["-h", "--help"]))
    assert [(each.title, [name.split()[0] for name, _ in each.options]) for each in groups] == [
        ("First", ["--one", "--two"]),
        ("Shared", ["--shared"]),
        ("Second", ["--three"]),
        ("Messages and help", ["--version", "-q,", "-v,", "-h,"]),
    ]
    assert re.search(r"PLACE +Where it is\.", main.get_help(click.Context(main, info_name="oa-x")))


@pytest.mark.parametrize(
    "word, known, meant",
    [
        ("pth", ["knee", "path"], "did you mean 'path'?"),
        ("Path", ["knee", "path"], "did you mean 'path'?"),
        ("bmi", ["BMI", "age"], "did you mean 'BMI'?"),
        ("learning_rate", ["learning-rate"], "did you mean 'learning-rate'?"),
        ("path", ["label", "age"], ""),
        ("path", ["path"], ""),
        ("", ["a"], ""),
        ("x", [], ""),
    ],
)
def test_only_a_close_name_is_suggested(word, known, meant):
    assert did_you_mean(word, known) == meant


def write(folder):
    (folder / "labels.tsv").write_text(
        "knee\tsubject\tvisit\tside\tlabel\tage\tBMI\n"
        "k1\tp1\t00m\tleft\t1\t50\t20\nk2\tp2\t00m\tleft\t0\t60\t30\n"
    )
    (folder / "bad.tsv").write_text("knee\tPath\nk1\ta.nii.gz\n")
    (folder / "features.tsv").write_text("knee\tpath\tsequence\nk1\ta.h5\tcor-iw-tse\n")


TRAIN = "train features.tsv -l labels.tsv -o m.safetensors"


@pytest.mark.parametrize(
    "line, said",
    [
        ("n4 --enigne itk", "there is no option --enigne; did you mean '--engine'?"),
        ("pairs draw --kye k", "there is no option --kye; did you mean '--key'?"),
        ("pairs drwa", "there is no subcommand 'drwa'; did you mean 'draw'?"),
        ("n4 --engine fats bad.tsv -o n4", "'fast', 'itk'; did you mean 'fast'?"),
        ("label --endpoint jsn21 .", "did you mean 'jsn24'?"),
        ("n4 bad.tsv -o n4", "no column 'path'; columns present: knee, Path; did you mean 'Path'?"),
        (f"{TRAIN} -c bmi", "no column 'bmi'; columns present:"),
        (f"{TRAIN} -c bmi", "; did you mean 'BMI'?"),
        (f"{TRAIN} -s cor-iw-tes", "; did you mean 'cor-iw-tse'?"),
        (f"{TRAIN} --tune dropuot=0.1", "; did you mean 'dropout'?"),
        (f"{TRAIN} --linear maen", "; did you mean 'mean'?"),
        ("pairs draw labels.tsv --show agee --key k.tsv --no-strata", "did you mean 'age'?"),
    ],
)
def test_a_mistyped_name_is_answered_with_the_right_one(line, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write(tmp_path)
    name, *words = line.split()
    with pytest.raises(SystemExit) as end:
        COMMANDS[f"oa-{name}"].main(words)
    error = capsys.readouterr().err
    assert end.value.code == 2
    assert said in error and error.count("\n") == 1


@pytest.mark.parametrize("line", ["n4 --zzz", "pairs zzz", "n4 --engine zzz bad.tsv -o n4"])
def test_what_is_like_nothing_gets_no_suggestion(line, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    name, *words = line.split()
    with pytest.raises(SystemExit):
        COMMANDS[f"oa-{name}"].main(words)
    assert "did you mean" not in capsys.readouterr().err


def test_names_in_python_are_suggested_too():
    from oatools.core.errors import UsageError
    from oatools.features.architectures import check_name
    from oatools.learning.settings import preset
    from oatools.oai.endpoints import endpoint_of

    with pytest.raises(UsageError, match="did you mean 'tf_efficientnet_lite0'"):
        check_name("tf_efficientnet_lite_0")
    with pytest.raises(UsageError, match="did you mean 'paper'"):
        preset("papper")
    with pytest.raises(UsageError, match="did you mean 'jsn12'"):
        endpoint_of("jns12")
