"""From images by reference to image embeddings, with each picture preprocessed and encoded once.

A `Tower` gives tower features; the adapter is applied afterwards, with gradients, because it is usually trained. Which
tower a stage uses is decided once, when the stage is built.
"""

from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Protocol, final, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from vergence.model.policy import Policy, pixel_tiles
from vergence.seeds import seed_of
from vergence.types import ImageRef


@runtime_checkable
class Tower(Protocol):
    """Tower features of pictures."""

    def features(self, images: Sequence[ImageRef]) -> Float[Tensor, "K S D"]:
        """All tiles of all pictures, in order."""
        ...


def encode_tiles(policy: Policy, pixels: Float[Tensor, "K C H W"]) -> Float[Tensor, "K S D"]:
    """One pass of the policy's tower over preprocessed tiles."""
    with policy.precision():
        return policy.family.tower(policy.model, pixels.to(policy.device))


@final
class CachedTower:
    """A frozen tower: every picture is decoded, preprocessed and encoded once, then kept up to a limit of bytes."""

    def __init__(self, policy: Policy, *, capacity_bytes: int = 1 << 30) -> None:
        self._policy = policy
        self._capacity = capacity_bytes
        self._kept: OrderedDict[str, Tensor] = OrderedDict()
        self._bytes = 0

    def features(self, images: Sequence[ImageRef]) -> Float[Tensor, "K S D"]:
        """From the cache where possible; the rest in one forward pass."""
        missing = {image.sha256: image for image in images if image.sha256 not in self._kept}
        computed = self._compute(list(missing.values())) if missing else {}
        parts = []
        for image in images:
            if image.sha256 in computed:
                parts.append(computed[image.sha256])
            else:
                self._kept.move_to_end(image.sha256)
                parts.append(self._kept[image.sha256])
        for key, value in computed.items():
            self._keep(key, value)
        return torch.cat(parts)

    @torch.no_grad()
    def _compute(self, images: Sequence[ImageRef]) -> dict[str, Tensor]:
        pixels, counts = pixel_tiles(self._policy, images)
        encoded = encode_tiles(self._policy, pixels)
        return {image.sha256: part for image, part in zip(images, encoded.split(counts), strict=True)}

    def _keep(self, key: str, value: Tensor) -> None:
        self._kept[key] = value
        self._bytes += value.numel() * value.element_size()
        while self._bytes > self._capacity and len(self._kept) > 1:
            _, dropped = self._kept.popitem(last=False)
            self._bytes -= dropped.numel() * dropped.element_size()


@final
class LiveTower:
    """A tower in training: encoded anew at every pass, with gradients where they are enabled."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy

    def features(self, images: Sequence[ImageRef]) -> Float[Tensor, "K S D"]:
        """One forward pass over the pictures, each once."""
        unique = list({image.sha256: image for image in images}.values())
        pixels, counts = pixel_tiles(self._policy, unique)
        encoded = encode_tiles(self._policy, pixels).split(counts)
        place = {image.sha256: part for image, part in zip(unique, encoded, strict=True)}
        return torch.cat([place[image.sha256] for image in images])


PixelView = Callable[[Tensor, ImageRef], Tensor]
"""(pixel tiles of one picture [k, 3, H, W], the picture) -> pixel tiles of the same shape."""


@final
class AblatedTower:
    """A tower that sees something else in place of the picture: what the hallucination monitors look through."""

    def __init__(self, policy: Policy, view: PixelView) -> None:
        self._policy = policy
        self._view = view

    @torch.no_grad()
    def features(self, images: Sequence[ImageRef]) -> Float[Tensor, "K S D"]:
        """Features of the altered pictures; nothing is cached."""
        pixels, counts = pixel_tiles(self._policy, images)
        altered = [self._view(tiles, image) for tiles, image in zip(pixels.split(counts), images, strict=True)]
        return encode_tiles(self._policy, torch.cat(altered))


def grey_view(pixels: Tensor, image: ImageRef) -> Tensor:
    """A uniform picture of the same size: the middle of this picture's own range."""
    return torch.full_like(pixels, float((pixels.max() + pixels.min()) / 2))


def masked_view(patch: int, share: float, seed: int) -> PixelView:
    """Black out a random `share` of the patches (PAPO's mask). The same patches for the same picture and seed.

    "Black" is the smallest value that occurs in the picture, so that the mask stays inside its distribution.
    """

    def view(pixels: Tensor, image: ImageRef) -> Tensor:
        rng = torch.Generator().manual_seed(seed_of(seed, image.sha256))
        rows, columns = -(-pixels.shape[-2] // patch), -(-pixels.shape[-1] // patch)
        hidden = torch.rand(pixels.shape[0], 1, rows, columns, generator=rng) < share
        hidden = hidden.repeat_interleave(patch, -2).repeat_interleave(patch, -1)
        hidden = hidden[..., : pixels.shape[-2], : pixels.shape[-1]]
        return torch.where(hidden, pixels.min(), pixels)

    return view
