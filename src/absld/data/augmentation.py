"""What each training image meets anew in every epoch, as tensor code on the device the images live on.

An image is padded, a random crop of the old size is taken, and it is mirrored with probability 1/2: at a
padding of 4 that makes 9·9·2 = 162 variants of it. All draws of an epoch are made at once, so nothing waits in between.
"""

from collections.abc import Iterator
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from absld import distributed
from absld.params.train import Augmentation
from absld.shapes import Flags, Images, Labels, Offsets, PlanarPixels


class Variants(NamedTuple):
    """Which variant of each image is taken."""

    top: Offsets
    """First row of the crop, in the padded image: 0 to 2·padding."""
    left: Offsets
    """First column of the crop."""
    mirrored: Flags


def offsets(augmentation: Augmentation) -> int:
    """Places that a crop may start at, in each direction."""
    return 2 * augmentation.crop_padding + 1


def draw(count: int, augmentation: Augmentation, generator: torch.Generator) -> Variants:
    """Draw a variant for each of `count` images, all equally likely, on the generator's device."""
    device = generator.device
    top, left = torch.randint(offsets(augmentation), (2, count), generator=generator, device=device)
    heads = torch.randint(2, (count,), generator=generator, device=device).bool()
    return Variants(top, left, heads & augmentation.horizontal_flip)


def vary(x: PlanarPixels, variants: Variants, augmentation: Augmentation) -> PlanarPixels:
    """Take the given variant of each image: one gather for the whole batch."""
    padding = augmentation.crop_padding
    height, width = x.shape[2:]
    wide = width + 2 * padding
    rows = variants.top[:, None] + torch.arange(height, device=x.device)
    across = torch.arange(width, device=x.device)
    columns = variants.left[:, None] + torch.where(variants.mirrored[:, None], width - 1 - across, across)
    places = (rows[:, :, None] * wide + columns[:, None, :]).flatten(1)
    padded = (_mirrored(x, padding) if augmentation.padding == "reflect" else F.pad(x, (padding,) * 4)).flatten(2)
    return padded.gather(2, places[:, None, :].expand(-1, x.shape[1], -1)).view_as(x)


class Plan(NamedTuple):
    """Which images come, in which order and in which variant."""

    rows: Offsets
    """Numbers of the images."""
    variants: Variants

    def split(self, size: int) -> Iterator["Plan"]:
        """The same in batches; the last one may be smaller."""
        for start in range(0, len(self.rows), size):
            yield self.take(slice(start, start + size))

    def batches(self, size: int) -> Iterator["Plan"]:
        """The same, of each batch the rows of this process (absld.distributed)."""
        for batch in self.split(size):
            yield batch.take(distributed.rows(len(batch.rows)))

    def take(self, which: slice | Tensor) -> "Plan":
        """Some of it."""
        return Plan(self.rows[which], Variants(*(drawn[which] for drawn in self.variants)))

    def images(self, x: PlanarPixels, augmentation: Augmentation) -> Images:
        """The images themselves, in [0, 1], on the device of `x`."""
        return _floats(vary(x[self.rows], self.variants, augmentation))


def plan(count: int, augmentation: Augmentation, generator: torch.Generator, device: torch.device) -> Plan:
    """An epoch: each of `count` images once, in random order and in a random variant.

    All is drawn from `generator`, on its device, and brought to `device`.
    """
    order = torch.randperm(count, generator=generator, device=generator.device)
    variants = draw(count, augmentation, generator)
    return Plan(order.to(device), Variants(*(drawn.to(device) for drawn in variants)))


def batches(
    x: PlanarPixels, y: Labels, batch_size: int, augmentation: Augmentation, generator: torch.Generator
) -> Iterator[tuple[Images, Labels]]:
    """One epoch: every image once, in random order and in a random variant; the last batch may be smaller.

    Of each batch come the rows of this process.

    Args:
        x: the training images, uint8, channels first, on the device that they are trained on.
        y: their labels, on the same device.
        batch_size: images in a batch.
        augmentation: what is done to them.
        generator: where all draws come from; best on the images' device, but any will do.

    """
    for batch in plan(len(x), augmentation, generator, x.device).batches(batch_size):
        yield batch.images(x, augmentation), y[batch.rows]


def _mirrored(x: PlanarPixels, padding: int) -> PlanarPixels:
    """`x` with its own pixels around it, mirrored at the outermost ones, which are not repeated."""
    rows, columns = (_bounced(length, padding, x.device) for length in x.shape[2:])
    return x[:, :, rows[:, None], columns]


def _bounced(length: int, padding: int, device: torch.device) -> Tensor:
    """The places −padding, ..., length + padding − 1, walked back and forth inside 0, ..., length − 1."""
    period = 2 * (length - 1)
    places = torch.arange(-padding, length + padding, device=device) % period
    return torch.minimum(places, period - places)


def _floats(x: Tensor) -> Images:
    return x.to(torch.float32).div(255)
