"""The work pool of the deployments, and the queue whose limit says how many deliveries run at a time."""

from __future__ import annotations

from typing import Any

from prefect.client.orchestration import SyncPrefectClient
from prefect.client.schemas.actions import WorkPoolCreate, WorkPoolUpdate
from prefect.exceptions import ObjectAlreadyExists, ObjectNotFound
from prefect.workers.process import ProcessWorker


def make_room(client: SyncPrefectClient, wanted: dict[str, Any]) -> None:
    """Makes the pool, of processes, and the queue, where they are not there.

    `wanted`: `name`; `work_queue_name`; `concurrency_limit`, of the queue where one is named, else of the pool. A limit
    that somebody has set already stays: it belongs to the machine, not to the file. What another deploy makes at this
    very moment is there, too.
    """
    pool, queue, limit = wanted["name"], wanted.get("work_queue_name", ""), wanted.get("concurrency_limit")
    try:
        found = client.read_work_pool(pool)
    except ObjectNotFound:
        template = ProcessWorker.get_default_base_job_template()
        made = WorkPoolCreate(
            name=pool, type="process", base_job_template=template, description="Deliveries by imagehaul."
        )
        try:
            found = client.create_work_pool(made)
        except ObjectAlreadyExists:
            found = client.read_work_pool(pool)
    if limit and not queue and found.concurrency_limit is None:
        client.update_work_pool(pool, WorkPoolUpdate(concurrency_limit=limit))
    if queue:
        _make_queue(client, pool, queue, limit)


def _make_queue(client: SyncPrefectClient, pool: str, name: str, limit: int | None) -> None:
    try:
        queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    except ObjectNotFound:
        try:
            queue = client.create_work_queue(name, concurrency_limit=limit, work_pool_name=pool)
        except ObjectAlreadyExists:
            queue = client.read_work_queue_by_name(name, work_pool_name=pool)
    if limit and queue.concurrency_limit is None:
        client.update_work_queue(queue.id, concurrency_limit=limit)
