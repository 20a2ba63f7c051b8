"""A list of a given number of rows, whose objects are simulated: what the process that leads does before batches begin.

The list is a CSV of `s3://` URIs with two further columns. Reading it, asking for each object (which answers at once),
the tables, the collision check, the plan and the packing of every batch are the real thing. Prints one line of JSON.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from pathlib import Path

from benchmarks.scale import MAPPING, WANTED, md5_of, path_of
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.inventory import load_source, near_collisions, refuse_collisions
from imagehaul.ledger.packing import Packer
from imagehaul.ledger.plan import make_plan
from imagehaul.records import SourceFile
from imagehaul.sources import stored_objects
from imagehaul.sources.registry import describe_source, open_source, scan_source
from imagehaul.sources.scan_report import ScanReport
from imagehaul.sources.source import SourceTools
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store


def write_list(count: int, file: Path) -> None:
    with file.open("w") as lines:
        lines.write("uri,camera,seen\n")
        for number in range(count):
            lines.write(f"s3://partner/{path_of(number)},{number % 40},2026-11-{1 + number % 28:02d}\n")


def look(store: Store, bucket: str, key: str) -> SourceFile:
    return SourceFile("", 100_000 + len(key), md5_of(key))


def main(count: int, folder: Path) -> None:
    listed = folder / "list.csv"
    write_list(count, listed)
    stored_objects.look = look
    store = Store(url="http://127.0.0.1:9", credentials=AccessKey("key", "secret"))
    catalog, report = Catalog(folder), ScanReport()
    seconds: dict[str, float] = {}
    began = time.monotonic()

    def stage(name: str) -> None:
        nonlocal began
        seconds[name] = time.monotonic() - began
        began = time.monotonic()

    described = describe_source(str(listed))
    source = open_source(described, SourceTools(store, scratch=folder))
    load_source(catalog, scan_source(source, described, report), MAPPING)
    stage("list and look (answers at once)")
    refuse_collisions(catalog, MAPPING)
    near_collisions(catalog)
    stage("collision check")
    plan = make_plan(catalog, MAPPING, WANTED, 1000, 2)
    stage("plan")
    packer = Packer(catalog, plan.batches)
    largest = max(len(packer.pack(reference)) for reference in plan.batches)
    stage("packing")
    catalog.close()
    if (plan.planned, plan.new) != (count, count):
        raise SystemExit(f"The plan of {count} rows went wrong: {plan.found}.")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print(json.dumps({"rows": count, "seconds": seconds, "peak": peak, "largest job": largest}))


if __name__ == "__main__":
    main(int(sys.argv[1]), Path(sys.argv[2]))
