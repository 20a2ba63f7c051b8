"""Delivers the sample data set with all exports into an embedded store, and runs the readers' tests on what lies there.

`python -m tests.readers.prepare PYTHON FOLDER`: PYTHON is the interpreter of the environment that has the readers,
and not imagehaul: what other tools need must be in the exports themselves.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
from pathlib import Path

from imagehaul.delivery.batch_threads import in_threads
from imagehaul.delivery.chain import deliver
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.sample import write_sample
from imagehaul.progress import shown_on
from imagehaul.records import Request
from imagehaul.settings import Settings
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store

HERE = Path(__file__).parent


def main(python: Path, folder: Path) -> int:
    write_sample(folder / "source")
    with EmbeddedStore(folder / "store") as server, shown_on(sys.stderr) as progress:
        store = Store(url=server.url, credentials=AccessKey(server.access_key, server.secret_key))
        store.client().create_bucket(Bucket="readers")
        settings = Settings(remote_save="s3://readers/data/", exports="all", save_thumbnails_method="both")
        summary = deliver(Request("sample", str(folder / "source")), settings, store, in_threads, progress)
        if not summary.published:
            raise SystemExit(summary.headline)
        _copy_of(store, "data/sample/images/", folder / "images")
        _copy_of(store, f"data/sample/exports/{summary.run}/", folder / "exports")
        for name in ("yolo", "voc"):
            with tarfile.open(folder / "exports" / f"{name}.tar.gz") as archive:
                archive.extractall(folder / name, filter="data")
        environment = {
            **os.environ,
            "READERS_FOLDER": str(folder),
            "AWS_ACCESS_KEY_ID": server.access_key,
            "AWS_SECRET_ACCESS_KEY": server.secret_key,
            "AWS_ENDPOINT_URL": server.url,
            "AWS_DEFAULT_REGION": "us-east-1",
            "HF_HOME": str(folder / "huggingface"),
            "HF_HUB_OFFLINE": "1",
        }
        command = [python, "-m", "pytest", "-q", "-ra", HERE, "--confcutdir", HERE, "--rootdir", HERE]
        command += ["-o", "python_files=read_*.py", "-o", "addopts=", "-p", "no:cacheprovider", "-c", os.devnull]
        return subprocess.run(list(map(str, command)), cwd=folder, env=environment, check=False).returncode


def _copy_of(store: Store, prefix: str, folder: Path) -> None:
    client = store.client()
    for page in client.get_paginator("list_objects_v2").paginate(Bucket="readers", Prefix=prefix):
        for item in page.get("Contents", ()):
            file = folder / item["Key"].removeprefix(prefix)
            file.parent.mkdir(parents=True, exist_ok=True)
            client.download_file("readers", item["Key"], str(file))


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]).absolute(), Path(sys.argv[2]).absolute()))
