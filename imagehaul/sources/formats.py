"""A picture's suffix by its first bytes, for what has no suffix of its own."""

from __future__ import annotations

SNIFFED = 64
"""Bytes that say which format it is."""

_BEGINNINGS = (
    (b"\xff\xd8\xff", ".jpg"),
    (b"\x89PNG\r\n\x1a\n", ".png"),
    (b"GIF87a", ".gif"),
    (b"GIF89a", ".gif"),
    (b"II*\x00", ".tif"),
    (b"MM\x00*", ".tif"),
    (b"II+\x00", ".tif"),
    (b"MM\x00+", ".tif"),
    (b"BM", ".bmp"),
    (b"\x00\x00\x00\x0cjP  \r\n\x87\n", ".jp2"),
)
_BRANDS = ((b"avif", ".avif"), (b"avis", ".avif"), (b"heic", ".heic"), (b"heix", ".heic"), (b"mif1", ".heif"))


def suffix_of(beginning: bytes) -> str:
    """Such as `.jpg`; "" where it is no format of a picture that is known here."""
    if beginning[:4] == b"RIFF" and beginning[8:12] == b"WEBP":
        return ".webp"
    if beginning[4:8] == b"ftyp":
        brands = beginning[8:12] + beginning[16:48]
        return next((suffix for brand, suffix in _BRANDS if brand in brands), "")
    return next((suffix for magic, suffix in _BEGINNINGS if beginning.startswith(magic)), "")


def is_page(beginning: bytes) -> bool:
    """Whether it is HTML: an error page or a login in place of a picture."""
    start = beginning.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    return start.startswith((b"<!doctype", b"<html", b"<head", b"<body"))


def is_apple_double(beginning: bytes) -> bool:
    """Whether it is a `._name` file, in which macOS keeps what other file systems cannot.
    https://www.rfc-editor.org/rfc/rfc1740 (appendix B)"""
    return beginning.startswith(b"\x00\x05\x16\x07")
