"""Build the man pages: names, synopses and options from the commands, everything else from man/src.

    python man/build.py [FOLDER]

A source is `man/src/NAME.md` with sections (`# DESCRIPTION`, `# EXAMPLES`, …) of paragraphs, lists
of `-` and blocks indented by four spaces, which are shown as they stand; `code` becomes bold.
"""

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import click

from oatools.version import __version__

HERE = Path(__file__).resolve().parent
COMMANDS = (
    "cam",
    "check",
    "convert",
    "cv",
    "embed",
    "label",
    "n4",
    "orient",
    "pairs",
    "phantom",
    "predict",
    "train",
)

EXIT_STATUS = """
- `0`: all items are done, or were done before.
- `1`: some items failed, each with a line on standard error; the rest are done.
- `2`: the call or its table is unusable, and nothing was done.
- `129`, `130`, `141`, `143`: hung up, interrupted, standard output closed, terminated; what was
finished is kept.
"""


def main() -> None:
    """Write every page into the folder given, by default that of this file."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    for name, text in pages().items():
        (folder / name).write_text(text, encoding="utf-8")


def pages() -> dict[str, str]:
    """File name and text of every page."""
    built = {f"oa-{name}.1": command_page(f"oa-{name}") for name in COMMANDS}
    manual = read_source("oa-manifest")
    lead, summary = manual.pop("NAME").strip().split(": ", 1)
    built["oa-manifest.7"] = assemble(lead, "7", {"NAME": f"{lead}: {summary}", **manual})
    return built


def load(name: str) -> click.Command:
    """The click command of that name."""
    return importlib.import_module(f"oatools.commands.{name.removeprefix('oa-')}").main


def command_page(name: str) -> str:
    """The page of one command."""
    command, manual = load(name), read_source(name)
    help_text = (command.help or "").split("\f")[0].replace("\b\n", "")
    summary = help_text.strip().split("\n\n")[0].replace("\n", " ").strip().rstrip(".")
    sections = {
        "NAME": f"{name}: {summary[0].lower()}{summary[1:]}",
        "SYNOPSIS": "\n".join(synopses(name, command)),
    }
    sections["DESCRIPTION"] = manual.pop("DESCRIPTION")
    sections["OPTIONS"] = "".join(options(name, command))
    others = " ".join(f"`oa-{c}(1)`," for c in COMMANDS if f"oa-{c}" != name) + " `oa-manifest(7)`"
    status = manual.pop("EXIT STATUS", EXIT_STATUS)
    return assemble(name, "1", {**sections, **manual, "EXIT STATUS": status, "SEE ALSO": others})


def synopses(name: str, command: click.Command) -> Iterator[str]:
    """The usage lines: one, or one a subcommand."""
    for prefix, part in parts(name, command):
        context = click.Context(part, info_name=prefix)
        yield f"\n    {prefix} {' '.join(part.collect_usage_pieces(context))}\n"


def parts(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """The command itself, or its subcommands with their full names."""
    if isinstance(command, click.Group):
        return [(f"{name} {sub}", child) for sub, child in command.commands.items()]
    return [(name, command)]


def options(name: str, command: click.Command) -> Iterator[str]:
    """A list item an option, as click knows it."""
    for prefix, part in parts(name, command):
        if prefix != name:
            yield f"\n`{prefix}`: {(part.help or '').strip().split(chr(10) + chr(10))[0]}\n\n"
        context = click.Context(part, info_name=prefix)
        for parameter in part.params:
            record = parameter.get_help_record(context)
            if record and isinstance(parameter, click.Option):
                yield f"- `{record[0]}`: {' '.join(record[1].split())}\n"
        yield "- `-h, --help`: Show the options and exit.\n"


def read_source(name: str) -> dict[str, str]:
    """The hand-written sections of a page."""
    text = (HERE / "src" / f"{name}.md").read_text(encoding="utf-8")
    found = re.split(r"^# (.+)$", text, flags=re.MULTILINE)[1:]
    return dict(zip(found[::2], found[1::2], strict=True))


def assemble(name: str, section: str, sections: dict[str, str]) -> str:
    """A page in man(7) macros."""
    lines = [f'.TH "{name.upper()}" "{section}" "" "oatools {__version__}" "oatools"']
    for title, text in sections.items():
        lines.append(f".SH {title}")
        if title == "NAME":
            word, summary = text.strip().split(": ", 1)
            lines.append(f"{roff(word)} \\- {roff(summary)}")
        else:
            lines.extend(body(text))
    return "\n".join(lines) + "\n"


def body(text: str) -> Iterator[str]:
    """Paragraphs, lists and blocks as macros."""
    for count, block in enumerate(re.split(r"\n\s*\n", text.strip("\n"))):
        if not block.lstrip().startswith("- ") and count > 0:
            yield ".PP"
        if block.startswith("    "):
            yield from (
                ".RS 4",
                ".nf",
                *(roff(line[4:], plain=True) for line in block.split("\n")),
                ".fi",
                ".RE",
            )
        elif block.lstrip().startswith("- "):
            for item in re.split(r"\n?^- ", block.strip(), flags=re.MULTILINE)[1:]:
                term, _, rest = item.partition(": ")
                yield from (".TP", roff(" ".join(term.split())), roff(" ".join(rest.split())))
        elif block.strip():
            yield roff(" ".join(block.split()))


def roff(text: str, plain: bool = False) -> str:
    """Text with roff's own characters escaped, and `code` in bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    if not plain:
        text = re.sub(r"`([^`]*)`", r"\\fB\1\\fR", text)
    text = text.replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


if __name__ == "__main__":
    main()
