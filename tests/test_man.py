"""The man pages say what the commands do."""

import importlib.util
import re
import shutil
import subprocess
from pathlib import Path

import click
import pytest

ROOT = Path(__file__).resolve().parent.parent
spec = importlib.util.spec_from_file_location("build", ROOT / "man" / "build.py")
build = importlib.util.module_from_spec(spec)
spec.loader.exec_module(build)

PAGES = [f"oa-{name}.1" for name in build.COMMANDS]
PAGES += [f"{name}.{section}" for name, section in build.OTHERS.items()]


@pytest.fixture(scope="module")
def pages():
    return build.pages()


def test_there_is_a_page_for_every_installed_command():
    entries = (ROOT / "setup.cfg").read_text().split("console_scripts =")[1].split("[")[0]
    assert {line.split("=")[0].strip() for line in entries.strip().splitlines()} == {
        f"oa-{n}" for n in build.COMMANDS
    }
    assert sorted(p.name for p in (ROOT / "man").glob("oa*.[157]")) == sorted(PAGES)


@pytest.mark.parametrize("page", PAGES)
def test_the_page_on_disk_is_the_one_that_the_command_gives(pages, page):
    assert (ROOT / "man" / page).read_text() == pages[page], "run `make man`"


@pytest.mark.parametrize("name", build.COMMANDS)
def test_every_option_and_a_pipe_example_are_in_the_page(pages, name):
    text = pages[f"oa-{name}.1"].replace("\\-", "-")
    options = text.split(".SH OPTIONS")[1].split(".SH")[0]
    command = build.load(f"oa-{name}")
    subcommands = command.commands.values() if isinstance(command, click.Group) else [command]
    for part in subcommands:
        for parameter in part.params:
            flags = [option for option in parameter.opts if option.startswith("-")]
            if getattr(parameter, "hidden", False):  # an old name, kept for one release
                for flag in flags:
                    assert not re.search(rf"{flag}(?![\w-])", options)
            else:
                assert all(flag in text for flag in flags)
    assert ".SH EXAMPLES" in text and ".SH DESCRIPTION" in text and ".SH EXIT STATUS" in text
    assert f"oa-{name} " in text.split(".SH EXAMPLES")[1]


@pytest.mark.parametrize(
    "item, term, text",
    [
        ("`-o, --out DIR`: Folder: for all.", "`-o, --out DIR`", "Folder: for all."),
        ("codes such as `1: Male`, `a: b`: taken", "codes such as `1: Male`, `a: b`", "taken"),
        ("text alone, with `1: Male` in it", "text alone, with `1: Male` in it", ""),
        ("**Weights.** One thing: another", "**Weights.**", "One thing: another"),
    ],
)
def test_a_list_item_ends_its_term_outside_of_code(item, term, text):
    assert build.split_item(item) == (term, text)


def test_a_list_with_an_item_without_a_term_is_one_of_texts():
    lines = list(build.list_items("- tables: codes `1: Male` go\n- SAS tables"))
    assert lines == [".IP \\(bu 2", "tables: codes \\fB1: Male\\fR go", ".IP \\(bu 2", "SAS tables"]


def test_no_page_has_a_term_that_is_cut_within_code(pages):
    for name, text in pages.items():
        terms = re.findall(r"^\.TP\n(.*)\n", text, flags=re.MULTILINE)
        assert [term for term in terms if "`" in term or len(term) > 250] == [], name


def test_a_page_has_the_groups_and_examples_of_the_help(pages):
    text = pages["oa-n4.1"].replace("\\-", "-").replace("\\(aq", "'")
    for group in ("Field and mask", "Histogram", "Output", "Running"):
        assert f".SS {group}\n" in text
    for example in build.load("oa-n4").manual.examples:
        assert f"{example.what}:\n" in text and f"{example.line}\n" in text


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.skipif(shutil.which("mandoc") is None, reason="mandoc is not installed")
def test_the_page_is_valid_roff(page):
    done = subprocess.run(
        ["mandoc", "-T", "lint", "-W", "warning", ROOT / "man" / page],
        capture_output=True,
        text=True,
        check=False,
    )
    complaints = [line for line in done.stdout.splitlines() if "missing date" not in line]
    assert complaints == []
