"""The parameters that several commands have."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

Dataset = Annotated[str, Parameter(help="Name of the data set, and of its folder under REMOTE_SAVE.")]
Config = Annotated[Path | None, Parameter(help="A file of settings, in place of .vl/config.json.")]
Block = Annotated[
    str, Parameter(help="Name of an object store block in Prefect. It alone then decides URL, keys and CA.")
]
Annotations = Annotated[
    list[str] | None,
    Parameter(help="A file, a folder or an s3:// URI; may be given several times. Not given: beside the images."),
]
SourceName = Annotated[
    str, Parameter(help="Which source of the data set it is. The others stay in the index as they are.")
]
Json = Annotated[bool, Parameter(help="The last line of standard output is one JSON object.", negative="")]
