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

from oatools.core.helptext import Example, first_sentence, option_groups
from oatools.version import __version__

HERE = Path(__file__).resolve().parent
COMMANDS = (
    "cam",
    "check",
    "convert",
    "cv",
    "doctor",
    "embed",
    "enrich",
    "info",
    "label",
    "n4",
    "orient",
    "pairs",
    "phantom",
    "predict",
    "train",
    "validate",
    "view",
)
#: The pages that are not of one command, with their sections.
OTHERS = {"oatools": "7", "oa-manifest": "7", "oa-tables": "5", "oa-features": "5", "oa-model": "5"}

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
    for name, section in OTHERS.items():
        manual = read_source(name)
        lead, summary = manual.pop("NAME").strip().split(": ", 1)
        manual["DESCRIPTION"] = manual["DESCRIPTION"].replace("\nCOMMANDS\n", command_list())
        sections = {"NAME": f"{lead}: {summary}", **manual}
        built[f"{name}.{section}"] = assemble(lead, section, sections)
    return built


def command_list() -> str:
    """A list item a command: what it does, in a sentence."""
    items = []
    for name in COMMANDS:
        items.append(f"- `oa-{name}(1)`: {first_sentence(load(f'oa-{name}'))}\n")
    return "\n" + "".join(items)


def load(name: str) -> click.Command:
    """The click command of that name."""
    return importlib.import_module(f"oatools.commands.{name.removeprefix('oa-')}").main


def command_page(name: str) -> str:
    """The page of one command."""
    command, manual = load(name), read_source(name)
    summary = first_sentence(command).rstrip(".")
    sections = {
        "NAME": f"{name}: {summary[0].lower()}{summary[1:]}",
        "SYNOPSIS": "\n".join(synopses(name, command)),
    }
    sections["DESCRIPTION"] = manual.pop("DESCRIPTION")
    sections["OPTIONS"] = "".join(options(name, command))
    manual["EXAMPLES"] = f"{examples(name, command)}\n{manual.get('EXAMPLES', '')}"
    others = [f"`oa-{each}(1)`" for each in COMMANDS if f"oa-{each}" != name]
    others += ["`oa-manifest(7)`", "`oatools(7)`"]
    status = manual.pop("EXIT STATUS", EXIT_STATUS)
    return assemble(
        name, "1", {**sections, **manual, "EXIT STATUS": status, "SEE ALSO": ", ".join(others)}
    )


def synopses(name: str, command: click.Command) -> Iterator[str]:
    """The usage lines: one, or one a subcommand."""
    for prefix, part in parts(name, command):
        context = context_of(prefix, part)
        yield f"\n    {prefix} {' '.join(part.collect_usage_pieces(context))}\n"


def context_of(prefix: str, part: click.Command) -> click.Context:
    """The context in which a command is called, whose names of help click keeps with it."""
    return click.Context(part, info_name=prefix, help_option_names=["-h", "--help"])


def parts(name: str, command: click.Command) -> list[tuple[str, click.Command]]:
    """The command itself, or its subcommands with their full names."""
    if isinstance(command, click.Group):
        return [(f"{name} {sub}", child) for sub, child in command.commands.items()]
    return [(name, command)]


def options(name: str, command: click.Command) -> Iterator[str]:
    """The options in the groups in which the help has them; those of subcommands one by one."""
    for prefix, part in parts(name, command):
        if prefix != name:
            yield f"\n## {prefix}\n\n{first_sentence(part)}\n"
        context = context_of(prefix, part)
        for group in option_groups(part, context):
            yield f"\n**{group.title}**\n\n" if prefix != name else f"\n## {group.title}\n\n"
            for written, text in group.options:
                yield f"- `{written}`: {' '.join(text.split())}\n"


def examples(name: str, command: click.Command) -> str:
    """The examples of the help, as a section has them; each once."""
    found: dict[Example, None] = {}
    for part in [command, *(child for prefix, child in parts(name, command) if prefix != name)]:
        found.update(dict.fromkeys(part.manual.examples))  # type: ignore[attr-defined]
    return "".join(f"\n{each.what}:\n\n    {each.line}\n" for each in found)


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
    """Headings, paragraphs, lists and blocks as macros."""
    is_first = True
    for block in re.split(r"\n\s*\n", text.strip("\n")):
        is_list, is_heading = block.lstrip().startswith("- "), block.startswith("## ")
        if not (is_list or is_heading or is_first):
            yield ".PP"
        is_first = is_heading
        if is_heading:
            yield f".SS {roff(block.removeprefix('## '))}"
        elif block.startswith("    "):
            yield from (
                ".RS 4",
                ".nf",
                *(roff(line[4:], plain=True) for line in block.split("\n")),
                ".fi",
                ".RE",
            )
        elif is_list:
            yield from list_items(block)
        elif block.strip():
            yield roff(" ".join(block.split()))


def list_items(block: str) -> Iterator[str]:
    """The items of a list: terms with their texts, or texts alone where one of them has no term."""
    parted = []
    for item in re.split(r"\n?^- ", block.strip(), flags=re.MULTILINE)[1:]:
        parted.append(split_item(" ".join(item.split())))
    has_terms = all(rest for _, rest in parted)
    for term, rest in parted:
        if has_terms:
            yield from (".TP", roff(term), roff(rest))
        else:
            yield from (".IP \\(bu 2", roff(f"{term}: {rest}" if rest else term))


def split_item(item: str) -> tuple[str, str]:
    """Part an item into its term and the text behind it.

    The term is what stands in `**` at its start, or ends at the first `: ` that is not code; an
    item without either is text alone.
    """
    found = re.match(r"(\*\*[^*]+\*\*) (.*)", item) or re.match(r"((?:`[^`]*`|[^`])*?): (.*)", item)
    return (found[1], found[2]) if found else (item, "")


def roff(text: str, plain: bool = False) -> str:
    """Text with roff's own characters escaped, and `code` in bold."""
    text = text.replace("\\", "\\e").replace("-", "\\-")
    if not plain:
        text = re.sub(r"`([^`]*)`|\*\*([^*]+)\*\*", r"\\fB\1\2\\fR", text)
    text = text.replace("'", "\\(aq").replace("^", "\\(ha").replace("~", "\\(ti")
    return f"\\&{text}" if text.startswith((".", "\\(aq")) else text


if __name__ == "__main__":
    main()
