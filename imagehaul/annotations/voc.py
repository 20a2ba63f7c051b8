"""Pascal VOC: an XML file for each image, with the corners of its boxes in pixels.

http://host.robots.ox.ac.uk/pascal/VOC/voc2012/devkit_doc.pdf. A box is read as x = xmin, width = xmax - xmin.
"""

from __future__ import annotations

import posixpath
from xml.etree.ElementTree import Element, ParseError

from imagehaul.annotations.boxes import NO_BOX, from_corners, pixels
from imagehaul.annotations.folder import LabelFile, content, image_of, label_files, split_folders
from imagehaul.annotations.format import AnnotationFormat, Items, Location
from imagehaul.errors import AnnotationError
from imagehaul.records import Annotation, AnnotationProblem, Box
from imagehaul.text import printable

_CORNERS = ("xmin", "ymin", "xmax", "ymax")


def read(location: Location) -> tuple[str, Items]:
    if location.path.is_dir():
        return "Pascal VOC", _read_folder(location)
    return "Pascal VOC", _read_file(LabelFile(location.path, location.path.name, location.shown), location)


def claims(entry: LabelFile) -> bool:
    return entry.suffix == ".xml"


def _read_folder(location: Location) -> Items:
    """One broken file among many is a problem that is named, and the others are read."""
    folders: set[str] = set()
    for entry in label_files(location.path, location.shown):
        if isinstance(entry, AnnotationProblem):
            yield entry
        elif entry.suffix == ".xml":
            try:
                yield from _read_file(entry, location)
                folders.add(posixpath.dirname(entry.path))
            except AnnotationError as error:
                yield AnnotationProblem("An XML file that is no Pascal VOC annotation: not read", str(error))
    yield from split_folders(folders, location.folder, "Annotations", "JPEGImages")


def _read_file(entry: LabelFile, location: Location) -> Items:
    """Raises AnnotationError where the file as a whole is no Pascal VOC annotation."""
    root = _root(entry)
    image = image_of(entry.stem, location.folder, location.root, "Annotations", "JPEGImages")
    named = posixpath.basename((root.findtext("filename") or "").strip().replace("\\", "/"))
    own = posixpath.basename(entry.stem)
    # Some write the name without a suffix, in which a dot may stand.
    if named and own not in (named, posixpath.splitext(named)[0]):
        reason = "A file whose <filename> is another picture's: its own name tells the picture"
        yield AnnotationProblem(reason, f"{entry.shown}: {named}", used=True)
    width, height = pixels(root.findtext("size/width")), pixels(root.findtext("size/height"))
    for number, thing in enumerate(root.iterfind("object"), 1):
        # <class> stands in files of some converters.
        label = (thing.findtext("name") or thing.findtext("class") or "").strip()
        bounds = thing.find("bndbox")
        corners = NO_BOX if bounds is None else from_corners(*(bounds.findtext(name) for name in _CORNERS))
        yield Annotation(
            reference=image.reference,
            match="stem",
            kind="box",
            text=label,
            origin=f"{entry.shown}: object {number}",
            places=image.places,
            apart=image.apart,
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
        raise AnnotationError(f"{entry.shown}: begins with <{printable(root.tag)}>, and Pascal VOC with <annotation>.")
    return root


FORMAT = AnnotationFormat(name="Pascal VOC", suffixes=(".xml",), read=read, claims=claims)
