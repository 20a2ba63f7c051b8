"""What XML can hold of the texts of others, such as labels."""

from __future__ import annotations

import re

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""https://www.w3.org/TR/xml/#charsets"""


def fits_in_xml(text: str) -> bool:
    """Whether any XML file can: most control characters have no place in one, escaped or not."""
    return not _NOT_XML.search(text)
