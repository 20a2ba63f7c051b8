"""Pascal VOC: an XML file for each image, with the corners of its boxes in pixels.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf. A box is read as x = xmin, width = xmax - xmin.
"""

from __future__ import annotations

from collections.abc import Iterator
from xml.etree.ElementTree import Element, ParseError

from imagehaul.annotations.boxes import NO_BOX, from_corners, pixels
from imagehaul.annotations.folder import LabelFile, content, image_of
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.text import legible

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read_voc(
    files: Iterator[LabelFile | AnnotationProblem], folder: str | None
) -> Iterator[Annotation | AnnotationProblem]:
    """One broken file among many is a problem that is named, and the others are read."""
    for entry in files:
        if isinstance(entry, AnnotationProblem):
            yield entry
        elif entry.suffix == ".xml":
            try:
                yield from read_voc_file(entry, folder)
            except AnnotationError as error:
                yield AnnotationProblem("An XML file that is no Pascal VOC annotation: not read", str(error))


def read_voc_file(entry: LabelFile, folder: str | None) -> Iterator[Annotation]:
    """Raises AnnotationError where the file as a whole is no Pascal VOC annotation."""
    root = _root(entry)
    reference, seen_from = image_of(entry.stem, folder, "Annotations", "JPEGImages")
    width, height = pixels(root.findtext("size/width")), pixels(root.findtext("size/height"))
    for number, thing in enumerate(root.iterfind("object"), 1):
        # <class> stands in files of some converters.
        label = (thing.findtext("name") or thing.findtext("class") or "").strip()
        bounds = thing.find("bndbox")
        corners = NO_BOX if bounds is None else from_corners(*(bounds.findtext(name) for name in _CORNERS))
        yield Annotation(
            reference=reference,
            match="stem",
            kind="box",
            text=label,
            origin=f"{entry.shown}: object {number}",
            folder=seen_from,
            box=Box(*corners, label=label),
            image_width=width,
            image_height=height,
        )


def _root(entry: LabelFile) -> Element:
    from defusedxml import DefusedXmlException
    from defusedxml.ElementTree import fromstring

    data = content(entry)
    try:
        root: Element = fromstring(data)
    except DefusedXmlException as error:
        raise AnnotationError(f"{entry.shown}: declares entities, which no annotation needs.") from error
    except (ParseError, ValueError, LookupError) as error:
        raise AnnotationError(f"{entry.shown}: not valid XML: {error}.") from error
    if root.tag != "annotation":
        raise AnnotationError(f"{entry.shown}: begins with <{legible(root.tag)}>, and Pascal VOC with <annotation>.")
    return root
