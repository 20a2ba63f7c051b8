"""`make up`: the embedded store, a Prefect server, a worker and the deployments, until Ctrl-C.

All that they keep lies in one folder; the next start goes on from there.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import ExitStack
from pathlib import Path
from types import FrameType

from imagehaul.errors import HaulError
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.gallery import sample_gallery
from imagehaul.local.local_prefect import listening, port_of, prefect_environment, prefect_server, prefect_worker

BUCKET = "images"
BLOCK = "embedded"
POOL = "imagehaul"
SERVER_PORT = 4200
STORE_PORT = 8333


def main(folder: Path, deployments: Path) -> int:
    """Runs all until SIGINT or SIGTERM. `deployments`: a `prefect.yaml`. Raises `HaulError` where a part fails."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    folder = folder.absolute()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as parts:
        try:
            store = parts.enter_context(EmbeddedStore(folder / "store", preferred_port=STORE_PORT))
            store.make_bucket(BUCKET)
            if not (folder / "sample").is_dir():
                from imagehaul.local.sample import write_sample

                write_sample(folder / "sample")
            listener = listening(SERVER_PORT)
            port = port_of(listener)
            environment = prefect_environment(folder, port)
            server = parts.enter_context(prefect_server(folder, listener, environment))
            # Before Prefect is imported in this process.
            os.environ.update(environment)
            _prepare(store, deployments)
            worker = parts.enter_context(prefect_worker(folder, POOL, environment))
            _say_where(folder, port, store, parts.enter_context(sample_gallery(store.store())))
            while True:
                server.check()
                worker.check()
                if not store.pid:
                    raise HaulError(f"The embedded store has ended by itself. Its log: {store.log}")
                time.sleep(0.5)
        except (KeyboardInterrupt, Exception) as error:
            if not is_interrupt(error):
                raise
            for number in (signal.SIGINT, signal.SIGTERM):
                signal.signal(number, signal.SIG_IGN)
            _say("\nStopping: runs end first, then the worker, the server and the store.")
    _say("Stopped. All is kept for the next start.")
    return 0


def _prepare(store: EmbeddedStore, deployments: Path) -> None:
    """The store's block, and the deployments whose blocks are there."""
    from imagehaul.blocks import ObjectStore, ObjectStoreCredentials
    from imagehaul.flows.automations import install
    from imagehaul.flows.deploy import Deployer
    from imagehaul.flows.orphaned import mark_orphaned

    keys = ObjectStoreCredentials(access_key=store.access_key, secret_key=store.secret_key)
    keys.save(f"{BLOCK}-keys", overwrite=True)
    ObjectStore(object_store_url=store.url, credentials=keys).save(BLOCK, overwrite=True)
    for name in mark_orphaned("The worker was stopped while it ran."):
        _say(f"found unfinished, and marked as crashed: {name}")
    install(deployments.with_name("automations.yaml"))
    for deployed in Deployer(deployments, None, os.environ).deploy():
        if not deployed.obstacle:
            _say(f"deployed: {deployed.name}")
        elif deployed.name.endswith(f"/{BLOCK}"):
            raise HaulError(f"{deployed.name} could not be deployed: {deployed.obstacle}")


def _say_where(folder: Path, port: int, store: EmbeddedStore, gallery: str) -> None:
    _say(
        f"""
The Prefect UI    http://127.0.0.1:{port}
The gallery       {gallery} once the sample is delivered
The object store  {store.url}, its keys in {store.folder / "keys.json"}
Data and logs     {folder}

Deliver the sample data set: Deployments, {BLOCK} of the flow deliver, Run, Custom run. The form is filled in: Submit.
Stop all with Ctrl-C."""
    )


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def is_interrupt(error: BaseException | None) -> bool:
    """Where the signal comes while Pydantic serializes, it makes another error of it, whose cause is the interrupt."""
    while error and not isinstance(error, KeyboardInterrupt):
        error = error.__cause__
    return error is not None


def _interrupt(_signal: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


if __name__ == "__main__":
    try:
        sys.exit(main(Path(sys.argv[1]), Path("prefect.yaml").absolute()))
    except HaulError as error:
        sys.exit(f"imagehaul: {error}")
