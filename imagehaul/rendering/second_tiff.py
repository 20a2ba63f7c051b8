"""A second decoder for TIFF, where the extra `tiff` is installed: tifffile, with the codecs of imagecodecs.

They read what microscopes, satellites and scanners write and Pillow does not: floats of 16, 32 and 64 bits in colour,
more than four bands, the other byte order, LERC, WebP and JPEG 2000 inside. pyvips was tried too: it lacks 64 bits,
packed bits and LERC, and takes a picture that it cannot read for a black one unless it is told not to.
"""

from __future__ import annotations

from functools import cache
from io import BytesIO
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from PIL import Image, ImageFile

from imagehaul.rendering.ranges import black_and_white

if TYPE_CHECKING:
    import numpy

NAME = "TIFFFILE"
HINT = " The extra imagehaul[tiff] reads more of them."

_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB = 0, 1, 2
_SEPARATE_BANDS = 2
_SAMPLED, _ROWS = 256, 64
_GDAL_NODATA = 42113
_ORIENTATION = 274


@cache
def register() -> bool:
    """Makes the format known to Pillow. False where the package is not installed."""
    try:
        import imagecodecs
        import tifffile
    except ImportError:
        return False
    Image.register_open(NAME, SecondTiff, lambda head: head[:2] in (b"II", b"MM"))
    return bool(imagecodecs and tifffile)


class SecondTiff(ImageFile.ImageFile):
    """The first page, as L or RGB. Of other bands than red, green and blue the first is shown."""

    format = "TIFF"
    format_description = "TIFF by tifffile"

    def _open(self) -> None:
        import tifffile

        try:
            self._tiff = tifffile.TiffFile(cast("BinaryIO", self.fp))
            page = self._tiff.pages.first
        except Exception as error:
            raise SyntaxError(str(error)) from error
        if (
            page.photometric not in (_WHITE_IS_ZERO, _BLACK_IS_ZERO, _RGB)
            or page.dtype is None
            or page.dtype.kind == "c"
        ):
            raise SyntaxError(f"pixels of another kind: {page.photometric!r}")
        self._page = page
        self._size = page.imagewidth, page.imagelength
        self._mode = "RGB" if page.photometric == _RGB and page.samplesperpixel >= 3 else "L"
        profile = page.tags.get("InterColorProfile")
        if profile and page.dtype == "uint8":
            self.info["icc_profile"] = profile.value
        if orientation := page.tags.get(_ORIENTATION):
            exif = Image.Exif()
            exif[_ORIENTATION] = int(orientation.value)
            self.info["exif"] = exif.tobytes()

    @property
    def n_frames(self) -> int:
        return len(self._tiff.pages)

    def load(self) -> Any:
        if self._im is None:
            pixels = self._eight_bits(self._page.asarray(maxworkers=1))
            self.fp = BytesIO(pixels.tobytes())
            self.tile = [ImageFile._Tile("raw", (0, 0, *self.size), 0, self.mode)]
        return super().load()

    def _eight_bits(self, array: numpy.ndarray) -> numpy.ndarray:
        import numpy

        if self._page.samplesperpixel > 1 and self._page.planarconfig == _SEPARATE_BANDS:
            array = numpy.moveaxis(array, 0, -1)
        array = array.reshape(self.height, self.width, -1)[:, :, : len(self.mode)]
        levels = array if array.dtype == numpy.uint8 else self._spread(array)
        return 255 - levels if self._page.photometric == _WHITE_IS_ZERO else levels

    def _spread(self, array: numpy.ndarray) -> numpy.ndarray:
        """A few rows at a time: floats take eight times the memory of what they become."""
        import numpy

        rows, columns = (max(1, side // _SAMPLED) for side in (self.height, self.width))
        bits = self._page.bitspersample
        brightest = 2**bits - 1 if array.dtype.kind == "u" and bits <= 16 else None
        low, high = black_and_white(array[::rows, ::columns].ravel().tolist(), self._nodata(array), brightest)
        scale = 255 / (high - low) if high > low else 0.0
        levels = numpy.empty(array.shape, numpy.uint8)
        with numpy.errstate(all="ignore"):
            for top in range(0, self.height, _ROWS):
                numbers = (array[top : top + _ROWS].astype(numpy.float64) - low) * scale + 0.5
                levels[top : top + _ROWS] = numpy.nan_to_num(numbers, nan=0.0).clip(0, 255)
        return levels

    def _nodata(self, array: numpy.ndarray) -> float | None:
        """As a number of the picture's own kind: in 32 bits -3.4e38 is another than in 64."""
        tag = self._page.tags.get(_GDAL_NODATA)
        try:
            return float(array.dtype.type(float(str(tag.value).strip(" \0")))) if tag else None
        except (ValueError, OverflowError):
            return None
