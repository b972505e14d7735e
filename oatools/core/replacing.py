"""What a run may put something else in the place of."""

import enum


class Replace(enum.Enum):
    """What a run may replace of the outputs that are there already.

    With NOTHING, what was made otherwise stays, and its row fails. With OUTDATED, what the same
    command made of another input or with other settings is made again, as make would; a file that
    is not known to be its own still stays. With ANYTHING, all is made again.
    """

    NOTHING = "nothing"
    OUTDATED = "outdated"
    ANYTHING = "anything"
