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

PAGES = [f"oa-{name}.1" for name in build.COMMANDS] + ["oa-manifest.7"]


@pytest.fixture(scope="module")
def pages():
    return build.pages()


def test_there_is_a_page_for_every_installed_command():
    entries = (ROOT / "setup.cfg").read_text().split("console_scripts =")[1].split("[")[0]
    assert {line.split("=")[0].strip() for line in entries.strip().splitlines()} == {
        f"oa-{n}" for n in build.COMMANDS
    }
    assert sorted(p.name for p in (ROOT / "man").glob("oa-*.[17]")) == sorted(PAGES)


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
