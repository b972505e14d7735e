"""oa-pairs: reading studies of pairs of knees, from the draw to the comparison of readers."""

from oatools.commands.pairs.draw import draw_command
from oatools.commands.pairs.page import page_command
from oatools.commands.pairs.power import power_command
from oatools.commands.pairs.score import score_command
from oatools.core.cli import group
from oatools.core.helptext import Example


@group(
    "oa-pairs",
    examples=(
        Example(
            "A study like the paper's",
            "oa-pairs draw labels.tsv --seed 0 --key key.tsv > pairs.tsv",
        ),
        Example(
            "From the draw to the page that readers see, in one pipe",
            "oa-pairs draw labels.tsv --key key.tsv | oa-pairs page - n4.tsv -o reading > "
            "shown.tsv",
        ),
    ),
)
def main() -> None:
    """Reading studies: pairs of a knee that progresses and one that does not."""


main.add_command(draw_command)
main.add_command(page_command)
main.add_command(score_command)
main.add_command(power_command)
