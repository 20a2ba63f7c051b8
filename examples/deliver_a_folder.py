"""Delivers a folder from Python, without Prefect, and goes on with the outcome.

    export REMOTE_SAVE=s3://bucket/prefix/ OBJECT_STORE_URL=http://minio:9000
    export AWS_ACCESS_KEY_ID=... AWS_SECRET_ACCESS_KEY=...
    python examples/deliver_a_folder.py ~/photos photos

Settings come from where the command takes them: `.vl/config.json` and the environment; `resolve_settings` takes options
besides. Batches are handed to processes of their own, so the call stands under `if __name__ == "__main__"`.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.chain import deliver
from imagehaul.delivery.summary import Summary
from imagehaul.progress import shown_on
from imagehaul.records import Request
from imagehaul.settings_loading import resolve_settings
from imagehaul.store.endpoint import store_from_environment


def deliver_folder(folder: str, dataset: str) -> Summary:
    """Raises `HaulError`, whose text says what to do, where the delivery cannot begin."""
    settings, _ = resolve_settings({"save_thumbnails_method": "both"}, None, os.environ, Path.cwd())
    store = store_from_environment(settings.object_store_url, os.environ, Path.cwd())
    with shown_on(sys.stderr) as progress:
        return deliver(Request(dataset, folder), settings, store, in_threads, progress)


if __name__ == "__main__":
    summary = deliver_folder(*sys.argv[1:3])
    print(summary.headline)
    for problem in summary.problems:
        print(f"{problem.status}: {problem.path}: {problem.code} {problem.message}")
    print(f"The index is at {summary.export}")
    sys.exit(summary.exit_status)
