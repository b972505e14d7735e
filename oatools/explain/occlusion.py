"""Heat maps by occlusion: what the log odds lose when a part of a slice is covered.

This is the slow, exact way (Zeiler and Fergus, ECCV 2014): no gradient stands in for the change.
"""

import torch
from torch.nn import functional

from oatools.explain.knee import EndToEnd, KneeImages

#: Side of the square that covers, and its step, as shares of an image's side.
COVER, STEP = 1 / 7, 1 / 14


def occlusion_map(chain: EndToEnd, knee: KneeImages) -> tuple[torch.Tensor, float, torch.Tensor]:
    """Return a map (slices, size, size), the log odds, and the attention (slices,).

    The map is that of the slices within the model's window, and 0 elsewhere. A square is covered by
    the slice as it looks out of focus; a pixel gets the mean loss over the squares upon it, and 0
    where that is a gain. Only the covered slice goes through the backbone again.
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
        for number in knee.seen:
            covered = knee.pixels[number].repeat(len(squares), 1, 1, 1)
            for image, (rows, columns) in zip(covered, squares, strict=True):
                image[:, rows, columns] = blurred[number][:, rows, columns]
            versions = features.repeat(len(squares), 1, 1)
            versions[:, number] = chain.features(covered)
            without, _ = chain.log_odds(versions, knee.extents)
            lost = (log_odds - without).cpu()
            for (rows, columns), value in zip(squares, lost, strict=True):
                lost_sum[number, rows, columns] += value
    return functional.relu(lost_sum / covers), float(log_odds[0]), attention[0].cpu()


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
