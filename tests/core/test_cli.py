import click
import pytest
from click.testing import CliRunner

from oatools.core.cli import command, group, option_names, subcommand
from oatools.core.errors import ItemError, UsageError
from oatools.core.options import (
    Numbers,
    compress_option,
    force_option,
    inputs_argument,
    jobs_option,
    out_dir_option,
    run_options,
    seed_option,
)


@command("oa-test")
@inputs_argument()
@out_dir_option("the results")
@compress_option
@click.option("--mask/--no-mask", "use_mask", default=True)
@click.option("-x", "axis")
@click.option("--new", "--old", "renamed")
@click.option("--old-name", "out_dir", hidden=True)
@force_option
@seed_option
@run_options
def a_command(console, **_):
    """Test."""
    raise UsageError("it fails", "use `force`, `verbose`, or another `out_dir`")


def test_messages_name_each_parameter_by_its_option():
    assert option_names(a_command) == {
        "null_separated": "--null",
        "out_dir": "-o",
        "compression": "--compress",
        "use_mask": "--mask",
        "axis": "-x",
        "renamed": "--new",
        "force": "--force",
        "seed": "--seed",
        "jobs": "-j",
        "failed": "--failed",
        "fail_fast": "--fail-fast",
        "timeout": "--timeout",
        "no_header": "--no-header",
        "quiet": "--quiet",
        "verbose": "-v",
        "version": "--version",
    }


def run(command_, *words, capsys):
    with pytest.raises(SystemExit) as end:
        command_.main(list(words))
    return end.value.code, capsys.readouterr().err


def test_an_error_ends_with_its_status_and_one_line_that_names_options(capsys):
    status, said = run(a_command, "a.nii.gz", "-o", "out", capsys=capsys)
    assert status == 2
    assert said == "oa-test: it fails; use --force, -v, or another -o\n"


def test_a_subcommand_names_its_own_options(capsys):
    @group("oa-tests")
    def tests():
        """Test."""

    @subcommand("one")
    @click.option("--replace", "force", is_flag=True)
    def one(console, force):
        """Test one."""
        raise ItemError("it exists", "use `force`")

    tests.add_command(one)
    status, said = run(tests, "one", capsys=capsys)
    assert status == 1
    assert said == "oa-tests: it exists; use --replace\n"


def test_the_help_says_what_is_processed_at_a_time():
    @click.command()
    @jobs_option("models")
    def main(jobs):
        """Test."""

    assert "Number of models to process at a time" in CliRunner().invoke(main, ["--help"]).output


@pytest.mark.parametrize(
    "kind, text, expected",
    [
        (Numbers("numbers"), "5", (5,)),
        (Numbers("numbers"), "50,50,30", (50, 50, 30)),
        (Numbers("numbers"), " 8, 8,1", (8, 8, 1)),
        (Numbers("numbers", (3,)), "8,8,1", (8, 8, 1)),
        (Numbers("numbers", (3,), auto=True), "auto", None),
        (Numbers("numbers", (3,), auto=True), "1,2,3", (1, 2, 3)),
    ],
)
def test_whole_numbers_separated_by_commas_are_a_tuple(kind, text, expected):
    assert kind.convert(text, None, None) == expected


@pytest.mark.parametrize(
    "kind, text",
    [
        (Numbers("whole numbers"), ""),
        (Numbers("whole numbers"), "a"),
        (Numbers("whole numbers"), "1,"),
        (Numbers("whole numbers"), "1.5"),
        (Numbers("whole numbers"), "1;2"),
        (Numbers("whole numbers"), "0"),
        (Numbers("whole numbers"), "auto"),
        (Numbers("whole numbers", (3,)), "1,2"),
        (Numbers("whole numbers", (3,)), "1,2,3,4"),
        (Numbers("whole numbers", range(1, 3)), "1,2,3"),
        (Numbers("whole numbers", (3,), auto=True), "automatic"),
    ],
)
def test_other_lists_are_refused_and_quoted(kind, text):
    with pytest.raises(click.BadParameter, match="not a list of whole numbers") as refused:
        kind.convert(text, None, None)
    assert repr(text) in refused.value.message


def test_a_default_that_is_a_tuple_already_stays():
    @click.command()
    @click.option("--spans", type=Numbers("numbers", (2,)), default=(3, 4))
    @click.option("--levels", type=Numbers("numbers"))
    def main(spans, levels):
        """Test."""
        click.echo(f"{spans} {levels}")

    assert CliRunner().invoke(main, []).output == "(3, 4) None\n"
    assert CliRunner().invoke(main, ["--spans", "1,2", "--levels", "7"]).output == "(1, 2) (7,)\n"
