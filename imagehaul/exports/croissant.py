"""Croissant: `croissant.json`, a description of `metadata.parquet` for machines. https://docs.mlcommons.org/croissant/

It lies beside the table that it describes, and names it relatively. The licence is the user's to name: there is none in
it, and a reader may warn of that.
"""

from __future__ import annotations

from typing import Any

import orjson

from imagehaul.entity import Entity
from imagehaul.exports import metadata_parquet
from imagehaul.exports.export import About, Exported, ExportFiles

NAME = "croissant.json"
_TYPES = {"string": "sc:Text", "int64": "sc:Integer", "double": "sc:Float", "list<string>": "sc:Text"}
_CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "citeAs": "cr:citeAs",
    "column": "cr:column",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "equivalentProperty": "cr:equivalentProperty",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "extract": "cr:extract",
    "field": "cr:field",
    "fileProperty": "cr:fileProperty",
    "fileObject": "cr:fileObject",
    "fileSet": "cr:fileSet",
    "format": "cr:format",
    "includes": "cr:includes",
    "isLiveDataset": "cr:isLiveDataset",
    "jsonPath": "cr:jsonPath",
    "key": "cr:key",
    "md5": "cr:md5",
    "parentField": "cr:parentField",
    "path": "cr:path",
    "recordSet": "cr:recordSet",
    "references": "cr:references",
    "regex": "cr:regex",
    "repeated": "cr:repeated",
    "replace": "cr:replace",
    "samplingRate": "cr:samplingRate",
    "sc": "https://schema.org/",
    "separator": "cr:separator",
    "source": "cr:source",
    "subField": "cr:subField",
    "transform": "cr:transform",
}
"""https://docs.mlcommons.org/croissant/docs/croissant-spec.html#appendix-1-json-ld-context"""


class Croissant:
    def __init__(self, about: About, files: ExportFiles) -> None:
        self._about, self._files = about, files

    def write(self, entity: Entity) -> None:
        """Nothing: the table holds the entities."""

    def close(self) -> Exported:
        with self._files.create() as file:
            file.write(orjson.dumps(self._description(), option=orjson.OPT_INDENT_2))
            self._files.send(file, NAME)
        return Exported(NAME)

    def _description(self) -> dict[str, Any]:
        about, layout = self._about, self._about.addresses.layout
        return {
            "@context": _CONTEXT,
            "@type": "sc:Dataset",
            "name": about.dataset,
            "description": f"{about.images:,} images of the data set {about.dataset}, and the objects in them.",
            "conformsTo": "http://mlcommons.org/croissant/1.0",
            "url": layout.uri(layout.root),
            "dateCreated": about.created,
            "datePublished": about.time,
            "version": "1.0.0",
            "distribution": [
                {
                    "@type": "cr:FileObject",
                    "@id": metadata_parquet.NAME,
                    "name": metadata_parquet.NAME,
                    "contentUrl": metadata_parquet.NAME,
                    "encodingFormat": "application/x-parquet",
                    "sha256": self._files.sha256[metadata_parquet.NAME],
                }
            ],
            "recordSet": [
                {
                    "@type": "cr:RecordSet",
                    "@id": "entities",
                    "name": "entities",
                    "description": "A record for each image (entity_type image) and each object in one (object).",
                    "field": [self._field(name, kind) for name, kind in metadata_parquet.PARQUET_COLUMNS.items()],
                }
            ],
        }

    def _field(self, name: str, kind: str) -> dict[str, Any]:
        field: dict[str, Any] = {
            "@type": "cr:Field",
            "@id": f"entities/{name}",
            "name": name,
            "dataType": _TYPES[kind],
            "source": {"fileObject": {"@id": metadata_parquet.NAME}, "extract": {"column": name}},
        }
        if kind.startswith("list"):
            field["repeated"] = True
        return field
