"""`make gallery`: the embedded store that `make run` filled, and the sample's gallery on it, until Ctrl-C."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from imagehaul.errors import HaulError
from imagehaul.layout import Layout
from imagehaul.ledger.publications import current_gallery
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.local_prefect import free_port
from imagehaul.local.quickstart import DATASET, REMOTE_SAVE
from imagehaul.serving.gallery import GalleryServer
from imagehaul.store.endpoint import Store

GALLERY_PORT = 8340


@contextmanager
def sample_gallery(store: Store) -> Iterator[str]:
    """Serves the sample's gallery, as soon as there is one, and gives its address."""
    layout = Layout.of(REMOTE_SAVE, DATASET)
    with GalleryServer(store, layout, current_gallery, free_port(GALLERY_PORT)) as server:
        threading.Thread(target=server.serve_forever, name="gallery", daemon=True).start()
        yield server.url
        server.shutdown()


def main(folder: Path) -> int:
    with EmbeddedStore(folder.absolute() / "store") as embedded:
        store = embedded.store()
        current_gallery(store.client(), Layout.of(REMOTE_SAVE, DATASET))
        with sample_gallery(store) as address:
            sys.stdout.write(f"The gallery of the sample: {address}\nStop it with Ctrl-C.\n")
            sys.stdout.flush()
            signal.sigwait({signal.SIGINT, signal.SIGTERM})
    return 0


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT, signal.SIGTERM})
    try:
        sys.exit(main(Path(sys.argv[1])))
    except HaulError as error:
        sys.exit(f"imagehaul: {error}")
