"""What is said of few pairs, as they are drawn and as they are scored."""

from oatools.core.console import Console

# With fewer pairs the 95 % interval of a share reaches further than 0.2 to either side.
_FEW_PAIRS = 25


def say_few(console: Console, pairs: int) -> None:
    """Say how little so few pairs tell, by the interval that half of them would have."""
    if pairs >= _FEW_PAIRS:
        return
    from oatools.reading.score import exact_interval

    low, high = exact_interval(pairs / 2, pairs)
    noun, verb = ("pair", "tells") if pairs == 1 else ("pairs", "tell")
    console.note(
        f"{pairs} {noun} {verb} little: a share of one half has an interval from {low:.2f} to "
        f"{high:.2f}; oa-pairs power works out how many it takes"
    )
