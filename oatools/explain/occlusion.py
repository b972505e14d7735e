"""The slow truth: what the log odds lose when a part of a slice is covered (Zeiler and Fergus, ECCV 2014)."""

import torch
from torch.nn import functional

from oatools.explain.knee import EndToEnd, KneeImages

#: Side of the square that covers, and its step, as shares of an image's side.
COVER, STEP = 1 / 7, 1 / 14


def occlusion_map(chain: EndToEnd, knee: KneeImages) -> tuple[torch.Tensor, float, torch.Tensor]:
    """A map (slices, size, size), the log odds and the attention (slices,), of the slices within the model's window.

    A square is covered by the slice as it looks out of focus; a pixel gets the mean loss over the
    squares upon it, and 0 where that is a gain. Only the covered slice goes through the backbone
    again.
    """
    features = chain.features(knee.pixels)
    size = knee.pixels.shape[-1]
    side, step = max(1, round(size * COVER)), max(1, round(size * STEP))
    corners = corner_places(size, side, step)
    blurred = out_of_focus(knee.pixels)
    with torch.no_grad():
        log_odds, attention = chain.log_odds(features[None], knee.extents)
        heat, covers = torch.zeros(len(features), size, size), torch.zeros(size, size)
        for row in corners:
            for column in corners:
                covers[row : row + side, column : column + side] += 1
        for number in knee.seen:
            places = [(row, column) for row in corners for column in corners]
            covered = knee.pixels[number].repeat(len(places), 1, 1, 1)
            for image, (row, column) in zip(covered, places, strict=True):
                there = (slice(None), slice(row, row + side), slice(column, column + side))
                image[there] = blurred[number][there]
            versions = features.repeat(len(places), 1, 1)
            versions[:, number] = chain.features(covered)
            lost = (log_odds - chain.log_odds(versions, knee.extents)[0]).cpu()
            for (row, column), value in zip(places, lost, strict=True):
                heat[number, row : row + side, column : column + side] += value
    return functional.relu(heat / covers), float(log_odds[0]), attention[0].cpu()


def corner_places(size: int, side: int, step: int) -> list[int]:
    """Where the squares begin along a side: every `step`, and at the end, so that no pixel is left out."""
    return [*range(0, size - side, step), size - side]


def out_of_focus(pixels: torch.Tensor) -> torch.Tensor:
    """Images blurred by a Gaussian of a tenth of their side, edges repeated: tone without any structure."""
    size = pixels.shape[-1]
    sd = size / 10
    reach = min(int(3 * sd), size - 1)
    kernel = torch.exp(-0.5 * (torch.arange(-reach, reach + 1) / sd) ** 2)
    kernel = kernel / kernel.sum()
    flat = pixels.flatten(0, 1)[:, None]
    for shape, pad in (
        ((1, 1, 1, -1), (reach, reach, 0, 0)),
        ((1, 1, -1, 1), (0, 0, reach, reach)),
    ):
        flat = functional.conv2d(functional.pad(flat, pad, mode="replicate"), kernel.view(shape))
    return flat[:, 0].unflatten(0, pixels.shape[:2])
