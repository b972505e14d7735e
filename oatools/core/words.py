"""Words of messages and pictures."""


def counted(number: int, noun: str) -> str:
    """Return a number and what it counts: `1 pair`, `2 pairs`."""
    return f"1 {noun}" if number == 1 else f"{number} {noun}s"
