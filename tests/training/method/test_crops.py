import math

import numpy as np
import pytest
import torch
from torch import Tensor
from torchvision.transforms.v2 import functional as tv

from deo.training.method.crops import (
    Boxes,
    Crops,
    _resize_together,
    random_boxes,
    resize_crops,
)

ASPECT = (3 / 4, 4 / 3)


def loop_box(
    draws: list[float],
    height: int,
    width: int,
    area: tuple[float, float],
    aspect: tuple[float, float],
) -> tuple[int, int, int, int]:
    """torchvision's RandomResizedCrop.make_params, its random numbers given."""
    low, high = math.log(aspect[0]), math.log(aspect[1])
    for attempt in range(10):
        target = height * width * (area[0] + (area[1] - area[0]) * draws[attempt])
        ratio = math.exp(low + (high - low) * draws[10 + attempt])
        w, h = round(math.sqrt(target * ratio)), round(math.sqrt(target / ratio))
        if 0 < w <= width and 0 < h <= height:
            return int(draws[20] * (height - h + 1)), int(draws[21] * (width - w + 1)), h, w
    if width / height < aspect[0]:
        w, h = width, round(width / aspect[0])
    elif width / height > aspect[1]:
        h, w = height, round(height * aspect[1])
    else:
        w, h = width, height
    return (height - h) // 2, (width - w) // 2, h, w


@pytest.mark.parametrize(
    ("height", "width", "area"),
    [(96, 96, (0.4, 1.0)), (224, 224, (0.05, 0.4)), (61, 87, (0.9, 1.0)), (200, 12, (0.9, 1.0)),
     (12, 200, (0.9, 1.0)), (64, 64, (1.0, 1.0))],
)  # fmt: skip
def test_random_boxes__equal_the_loop(height: int, width: int, area: tuple[float, float]) -> None:
    draws = np.random.default_rng(0).random((300, 22))
    boxes = random_boxes(draws, height=height, width=width, area=area, aspect=ASPECT)
    loop = [loop_box(row.tolist(), height, width, area, ASPECT) for row in draws]
    assert np.stack(boxes, axis=1).tolist() == [list(box) for box in loop]
    assert (boxes.top >= 0).all()
    assert (boxes.top + boxes.height <= height).all()
    assert (boxes.left >= 0).all()
    assert (boxes.left + boxes.width <= width).all()


def some_crops(images: Tensor, count: int, seed: int = 0) -> Crops:
    rng = np.random.default_rng(seed)
    size = images.shape[-2:]
    boxes = random_boxes(
        rng.random((count, 22)), height=size[0], width=size[1], area=(0.02, 1.0), aspect=ASPECT
    )
    bands = images.shape[1]
    return Crops(
        source=np.arange(count) % len(images),
        boxes=boxes,
        flip_rows=rng.random(count) < 0.5,
        flip_columns=rng.random(count) < 0.5,
        scale=torch.ones(count, bands),
        shift=torch.zeros(count, bands),
    )


def by_torchvision(images: Tensor, crops: Crops, size: int) -> Tensor:
    results = []
    for n, box in enumerate(zip(*crops.boxes, strict=True)):
        view = tv.resized_crop(
            images[crops.source[n]],
            *(int(edge) for edge in box),
            size=[size, size],
            interpolation=tv.InterpolationMode.BICUBIC,
            antialias=True,
        )
        view = tv.horizontal_flip(view) if crops.flip_columns[n] else view
        results.append(tv.vertical_flip(view) if crops.flip_rows[n] else view)
    return torch.stack(results)


@pytest.mark.parametrize("together", [False, True])
@pytest.mark.parametrize(
    ("shape", "size"), [((10, 96, 96), 64), ((3, 50, 71), 33), ((1, 64, 64), 7)]
)
def test_resize_crops__equal_torchvision(
    shape: tuple[int, int, int], size: int, together: bool
) -> None:
    images = torch.rand(4, *shape, generator=torch.Generator().manual_seed(0))
    crops = some_crops(images, 20)
    out = torch.empty(20, shape[0], size, size)
    (_resize_together if together else resize_crops)(images, crops, np.arange(20), out)
    torch.testing.assert_close(out, by_torchvision(images, crops, size), atol=1e-5, rtol=0)


@pytest.mark.parametrize("together", [False, True])
def test_resize_crops__affine_map_commutes(together: bool) -> None:
    images = torch.rand(2, 4, 40, 40, generator=torch.Generator().manual_seed(0))
    crops = some_crops(images, 5)
    scale, shift = torch.rand(2, 5, 4)
    mapped = crops._replace(scale=scale, shift=shift)
    out = torch.empty(5, 4, 16, 16)
    (_resize_together if together else resize_crops)(images, mapped, np.arange(5), out)
    expected = by_torchvision(images, crops, 16) * scale[..., None, None] + shift[..., None, None]
    torch.testing.assert_close(out, expected, atol=1e-5, rtol=0)


def test_boxes__part_keeps_fields_together() -> None:
    images = torch.zeros(3, 2, 30, 30)
    crops = some_crops(images, 6)
    part = crops.part(np.arange(2, 5))
    assert isinstance(part.boxes, Boxes)
    assert part.boxes.left.tolist() == crops.boxes.left[2:5].tolist()
    assert part.source.tolist() == [2, 0, 1]
    assert len(part.scale) == len(part.flip_rows) == 3
