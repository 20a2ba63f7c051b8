"""A flow of your own that has imagehaul deliver a data set, and goes on with the index that was published.

    python examples/deliver_as_a_subflow.py /data/cameras cameras s3://bucket/prefix/ BLOCK

BLOCK is a saved block of the type "imagehaul object store" (docs/prefect.md). In Prefect's UI the delivery is a run of
its own below this one, with its stages and batches. Where it is no success the call raises `DeliveryError`, and nothing
goes on with an index that is not there.
"""

from __future__ import annotations

import sys

from prefect import flow, get_run_logger, task

from imagehaul.blocks import ObjectStore
from imagehaul.delivery.summary import Summary
from imagehaul.flows.deliver import deliver


@task
def count_labels(store: ObjectStore, index: str) -> dict[str, int]:
    """What stands for your own step: it reads the published `metadata.json`."""
    import json

    with store.to_store().filesystem().open(index) as file:
        items = json.load(file)["media_items"]
    counts: dict[str, int] = {}
    for item in items:
        for said in item["metadata_items"]:
            label = said["properties"].get("category_name")
            if label:
                counts[label] = counts.get(label, 0) + 1
    return counts


@flow
def deliver_and_count(source: str, dataset: str, remote_save: str, block: str) -> dict[str, int]:
    store = ObjectStore.load(block)
    summary: Summary = deliver(dataset, source, store, settings={"remote_save": remote_save})
    counts = count_labels(store, summary.exports["json"])
    get_run_logger().info("%s. Labels: %s", summary.headline, counts)
    return counts


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    print(deliver_and_count(*sys.argv[1:]))
