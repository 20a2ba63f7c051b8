"""What the settings ask of every image, and the recipe of each kind of object."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

from imagehaul.ledger.plan import Wanted
from imagehaul.records import Request
from imagehaul.settings import Settings

RENDER_VERSION = 1
"""Raised when what was made of the same picture so far is wrong, so that reruns make all renditions anew.

Other bytes for the same look are no reason, as another codec or resizer gives them: that would send the renditions of
every data set again.
"""

JUDGEMENT_VERSION = 2
"""Raised when decoders read more, or judge otherwise: reruns then look once more at the images that were rejected."""


def wanted_of(request: Request, settings: Settings) -> Wanted:
    """The recipes name all that an object's bytes and headers depend on, besides the source and its box."""

    headers = asdict(settings.object_options())
    keeps = headers.pop("keep_source_metadata")

    def recipe(*parts: object) -> str:
        return hashlib.sha256(json.dumps([*parts, headers]).encode()).hexdigest()[:16]

    original = settings.original_recipe if keeps else "original without its source's metadata"

    return Wanted(
        rerun=request.rerun,
        thumbnails=settings.makes_thumbnails,
        crops=settings.makes_crops,
        image_recipe=recipe("image", RENDER_VERSION if settings.preprocess_normalize_output else original),
        thumbnail_recipe=recipe(
            "thumbnail",
            RENDER_VERSION,
            settings.thumbnail_size,
            settings.thumbnail_format,
            settings.thumbnail_quality,
        ),
        crop_recipe=recipe(
            "crop", RENDER_VERSION, settings.crop_margin, settings.thumbnail_quality, settings.box_space
        ),
        pixel_limit=settings.pixel_limit,
        full_check=settings.full_check,
        deliver_undecodable=settings.deliver_undecodable,
        box_space=settings.box_space,
        compare_content=settings.compare == "content",
        judgement=recipe("judgement", JUDGEMENT_VERSION),
    )
