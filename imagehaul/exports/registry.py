"""All exports by name. One file and one line here add a format, and its name in `records.ExportName`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from imagehaul.entity import Images
from imagehaul.exports import webdataset
from imagehaul.exports.card import Card
from imagehaul.exports.coco import Coco
from imagehaul.exports.croissant import Croissant
from imagehaul.exports.csv_tables import Csv
from imagehaul.exports.export import About, ColumnOpener, Exported, ExportFiles, Opener
from imagehaul.exports.gallery import Gallery
from imagehaul.exports.huggingface import HuggingFace
from imagehaul.exports.label_studio import LabelStudio
from imagehaul.exports.metadata_json import MetadataJson
from imagehaul.exports.metadata_parquet import MetadataParquet
from imagehaul.exports.voc import Voc
from imagehaul.exports.yolo import Yolo
from imagehaul.records import ExportName

ALWAYS: dict[str, ColumnOpener] = {
    "json": MetadataJson,
    "parquet": MetadataParquet,
}
"""Written with every publication, whatever is asked for, and closed first: by column, since each image pays."""
EXPORTS: dict[ExportName, Opener] = {
    "coco": Coco,
    "yolo": Yolo,
    "voc": Voc,
    "csv": Csv,
    "huggingface": HuggingFace,
    "label-studio": LabelStudio,
    "croissant": Croissant,
    "webdataset": webdataset.WebDataset,
    "webdataset-thumbnails": webdataset.of_thumbnails,
    "gallery": Gallery,
    "card": Card,
}


def write_exports(
    names: Sequence[ExportName], images: Iterable[Images], about: About, files: ExportFiles
) -> dict[str, Exported]:
    """Writes all of them in one pass over the images, and says what each came to."""
    always = {name: opener(about, files) for name, opener in ALWAYS.items()}
    asked = {name: EXPORTS[name](about, files) for name in names}
    for some in images:
        for export in always.values():
            export.write_images(some)
        for entity in some.entities() if asked else ():
            for single in asked.values():
                single.write(entity)
    return {name: export.close() for name, export in always.items()} | {
        name: single.close() for name, single in asked.items()
    }
