"""Making pictures small with the filter LANCZOS, by whichever library is there.

`cykooz_resizer` (the library fast_image_resize) works on many numbers at once, and takes a third of Pillow's time. Its
own way into Pillow's pictures reads a private structure, whose layout it guesses from Pillow's version: a new Pillow
would be a crash. So the pixels go through `bytes`, which still leaves more than half of the gain.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from PIL import Image
from PIL.Image import Resampling

if TYPE_CHECKING:
    import cykooz_resizer

Part = tuple[float, float, float, float]

_GAP = 2
"""The plain mean of whole pixels is taken first, down to this many times the wanted size: what is lost is not seen."""

_BANDS = {"L": 1, "RGB": 3, "YCbCr": 3}
"""The modes that go through `cykooz_resizer`. Pillow makes the others small, as alpha and CMYK want care."""


def fitted(size: tuple[int, int], longest: int) -> tuple[int, int]:
    """Width and height with the longer side at most `longest`; never enlarged, never less than a pixel."""
    width, height = size
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def shrunk(image: Image.Image, size: tuple[int, int], part: Part | None = None) -> Image.Image:
    """`part`: what of the image is the picture, as left, top, right, bottom from its upper left corner on."""
    if image.size == size:
        return image
    resizer = _resizer() if image.mode in _BANDS else None
    if resizer is None:
        return image.resize(size, Resampling.LANCZOS, part, reducing_gap=_GAP)
    _, _, width, height = part or (0.0, 0.0, *image.size)
    by = max(1, int(width / size[0] / _GAP)), max(1, int(height / size[1] / _GAP))
    if by != (1, 1):
        image = image.reduce(by)
        width, height = width / by[0], height / by[1]
    return resizer(image, size, (width, height))


@cache
def _resizer() -> _Lanczos | None:
    try:
        return _Lanczos()
    except ImportError:  # it has no wheel for some systems
        return None


class _Lanczos:
    def __init__(self) -> None:
        import cykooz_resizer

        self._library = cykooz_resizer
        self._resizer = cykooz_resizer.Resizer()
        self._filter = cykooz_resizer.ResizeAlg.convolution(cykooz_resizer.FilterType.lanczos3)
        pixel = cykooz_resizer.PixelType
        self._pixel: dict[int, cykooz_resizer.PixelType] = {1: pixel.U8, 3: pixel.U8x3}

    def __call__(self, image: Image.Image, size: tuple[int, int], extent: tuple[float, float]) -> Image.Image:
        """`extent`: width and height, in pixels and parts of one, that the picture has from the upper left corner."""
        library, pixel = self._library, self._pixel[_BANDS[image.mode]]
        source = library.ImageData(*image.size, pixel, image.tobytes())
        target = library.ImageData(*size, pixel)
        crop = library.CropBox(0.0, 0.0, *extent)
        self._resizer.resize(source, target, library.ResizeOptions(self._filter, use_alpha=False, crop_box=crop))
        return Image.frombytes(image.mode, size, target.get_buffer())
