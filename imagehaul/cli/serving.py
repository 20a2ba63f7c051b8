"""The commands that show what was delivered."""

from __future__ import annotations

from typing import Annotated

from cyclopts import Parameter

from imagehaul.cli.options import open_store, resolve
from imagehaul.cli.parameters import Block, Config, Dataset
from imagehaul.cli.settings_options import Every


def nginx(
    *,
    config: Config = None,
    store: Block = "",
    listen: Annotated[str, Parameter(help="Port, or address and port, that nginx listens at.")] = "80",
    source: Annotated[
        str, Parameter(help="With ORIGINALS=in_place: s3://bucket/prefix, whose originals are served as well.")
    ] = "",
    address: Annotated[str, Parameter(help="This host's address as the store sees it. Not given: found out.")] = "",
    settings: Every = None,
) -> int:
    from imagehaul.serving.nginx import serving

    resolved, _ = resolve(config, settings)
    print(serving(resolved, open_store(resolved, store), listen, address, source), end="")
    return 0


def gallery(
    *,
    dataset: Dataset,
    port: Annotated[int, Parameter(help="Port on this machine. 0: a free one.")] = 0,
    config: Config = None,
    store: Block = "",
    settings: Every = None,
) -> int:
    from imagehaul.layout import Layout
    from imagehaul.ledger.publications import current_gallery
    from imagehaul.serving.gallery import GalleryServer

    resolved, _ = resolve(config, settings)
    layout, target = Layout.of(resolved.remote_save, dataset), open_store(resolved, store)
    with GalleryServer(target, layout, current_gallery, port) as server:
        with target.explaining("read", layout.uri(layout.current)):
            server.index()
        print(f"The gallery of {dataset}: {server.url}\nStop it with Ctrl-C.", flush=True)
        try:
            server.serve_forever()
        except KeyboardInterrupt:
            return 0
    return 0
