"""Heat maps by occlusion: what the log odds lose when a part of a slice is covered.

This is the slow, exact way (Zeiler and Fergus, ECCV 2014): no gradient stands in for the change.
"""

import itertools
from collections.abc import Iterator

import torch
from torch.nn import functional

from oatools.explain.knee import EndToEnd, KneeImages

#: The methods, by what is covered at a time: one slice, or all of a sequence.
SLICE, STACK = "occlusion", "occlusion-stack"
#: Side of the square that covers, and its step, as shares of an image's side.
COVER, STEP = 1 / 7, 1 / 14
_Square = tuple[slice, slice]
_IMAGES = 256  # with a square covered, held at a time


def occlusion_map(
    chain: EndToEnd, knee: KneeImages, through: bool = False
) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Return a map (slices, size, size), the log odds, and the attention (slices,).

    The map is that of the slices within the model's window, and 0 elsewhere. A square is covered by
    the slice as it looks out of focus; a pixel gets the mean loss over the squares upon it, and 0
    where that is a gain. Only covered slices go through the backbone again. With `through`, a
    square is covered in all slices of a sequence at once, which have one map in common: what is
    seen in many slices is not missed in one of them.
    """
    size = knee.pixels.shape[-1]
    side, step = max(1, round(size * COVER)), max(1, round(size * STEP))
    corners = corner_places(size, side, step)
    squares = []
    for row in corners:
        for column in corners:
            squares.append((slice(row, row + side), slice(column, column + side)))

    blurred = out_of_focus(knee.pixels)
    features = chain.features(knee.pixels)
    lost_sum, covers = torch.zeros(len(features), size, size), torch.zeros(size, size)
    for rows, columns in squares:
        covers[rows, columns] += 1
    with torch.no_grad():
        log_odds, attention = chain.log_odds(features[None], knee.extents)
        for together in _covered_together(knee, through):
            pixels, behind = knee.pixels[together], blurred[together]
            for some in _parts(squares, max(1, _IMAGES // len(together))):
                covered = pixels.repeat(len(some), 1, 1, 1, 1)
                for images, (rows, columns) in zip(covered, some, strict=True):
                    images[..., rows, columns] = behind[..., rows, columns]
                changed = chain.features(covered.flatten(0, 1))
                versions = features.repeat(len(some), 1, 1)
                versions[:, together] = changed.unflatten(0, (len(some), len(together)))
                without, _ = chain.log_odds(versions, knee.extents)
                lost = (log_odds - without).cpu()
                for (rows, columns), value in zip(some, lost, strict=True):
                    lost_sum[together, rows, columns] += value
    return functional.relu(lost_sum / covers), float(log_odds[0]), attention[0].cpu()


def _parts(squares: list[_Square], count: int) -> Iterator[list[_Square]]:
    for start in range(0, len(squares), count):
        yield squares[start : start + count]


def _covered_together(knee: KneeImages, through: bool) -> list[list[int]]:
    """Return the numbers of the slices that are covered at a time: one, or those of a sequence."""
    seen = knee.seen.tolist()
    if not through:
        return [[number] for number in seen]
    ends = list(itertools.accumulate(knee.extents))
    groups = []
    for start, end in zip([0, *ends], ends, strict=False):
        groups.append([number for number in seen if start <= number < end])
    return [group for group in groups if group]


def corner_places(size: int, side: int, step: int) -> list[int]:
    """Return where the squares begin along a side, so that no pixel is left out.

    That is every `step`, and at the end.
    """
    return [*range(0, size - side, step), size - side]


def out_of_focus(pixels: torch.Tensor) -> torch.Tensor:
    """Blur images by a Gaussian of a tenth of their side: what is left is tone without structure.

    Edges are repeated.
    """
    size = pixels.shape[-1]
    sd = size / 10
    reach = min(int(3 * sd), size - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    kernel = kernel / kernel.sum()
    flat = pixels.flatten(0, 1)[:, None]
    across = functional.pad(flat, (reach, reach, 0, 0), mode="replicate")
    flat = functional.conv2d(across, kernel.view(1, 1, 1, -1))
    down = functional.pad(flat, (0, 0, reach, reach), mode="replicate")
    flat = functional.conv2d(down, kernel.view(1, 1, -1, 1))
    return flat[:, 0].unflatten(0, pixels.shape[:2])
