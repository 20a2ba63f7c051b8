"""`make up-dask`: the embedded store, a Dask scheduler and two workers in folders of their own, for the sample.

Nothing of the leader's environment reaches the workers: their keys are their own.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from imagehaul.errors import HaulError
from imagehaul.local.dask_cluster import dask_cluster
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.foreground import end_as_by_ctrl_c, run_to_end

BUCKET = "images"
WORKERS = 2


def main(folder: Path) -> int:
    """The exit status of the delivery. Raises `HaulError` where the store or the cluster does not start."""
    folder = folder.resolve()
    imagehaul = Path(sys.executable).with_name("imagehaul")
    sample = folder / "sample"
    if not sample.is_dir() and (status := run_to_end([str(imagehaul), "sample", str(sample)])):
        return status
    with EmbeddedStore(folder / "store") as server:
        server.make_bucket(BUCKET)
        keys = {"AWS_ACCESS_KEY_ID": server.access_key, "AWS_SECRET_ACCESS_KEY": server.secret_key}
        with dask_cluster(folder / "dask", WORKERS, keys) as address:
            command = [
                str(imagehaul),
                *("deliver", str(sample), "--dataset", "sample-by-dask"),
                *("--remote-save", f"s3://{BUCKET}/data-sets/", "--object-store-url", server.url),
                *("--save-thumbnails-method", "both", "--batch-size", "10"),
                *("--task-runner", "dask", "--task-runner-address", address, "--no-prefect"),
            ]
            print(f"$ imagehaul {' '.join(command[1:])}", flush=True)
            status = run_to_end(command, env={**os.environ, **keys})
    print(f"\nThe workers' folders and logs: {folder / 'dask'}. For a cluster of your own: docs/scale.md")
    return status


if __name__ == "__main__":
    end_as_by_ctrl_c()
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit("Interrupted: the store and all that was started have ended. Run it again to go on.")
    except HaulError as error:
        sys.exit(f"imagehaul: {error}")
