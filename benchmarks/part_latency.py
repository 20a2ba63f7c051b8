"""How many objects should be on their way at a time: the same files through a path with a delay in it."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

from benchmarks.bench import Bench
from benchmarks.pictures import small_files

DELAYS = (0.001, 0.05)
"""Seconds, for the way there and for the way back: a store in the next room, and one on another continent's edge."""
WORKERS = (8, 32, 128)
COUNT = 1000


def latency(bench: Bench) -> None:
    source = bench.work / "few"
    small_files(source, COUNT)
    bench.say(f"\n### TRANSFER_WORKERS and delay: {COUNT:,} files of 20-120 kB, nothing rendered; wall s\n")
    bench.say("| | " + " | ".join(f"{workers} workers" for workers in WORKERS) + " |")
    bench.say("|---|" + "---|" * len(WORKERS))
    for delay in DELAYS:
        for lane in ("s5cmd", "boto3"):
            walls = []
            with delayed(bench.server.url, delay) as url:
                for workers in WORKERS:
                    name = f"late-{lane}-{workers}-{round(delay * 1000)}"
                    done = bench.imagehaul(
                        source, name, "--skip-image-thumbnail-generation", "--transfer-workers", str(workers),
                        "--object-store-url", url, "--use-s5cmd-when-available", str(lane == "s5cmd").lower(),
                    )  # fmt: skip
                    walls.append(f"{done.wall:.1f}")
            bench.say(f"| {delay * 1000:g} ms each way, {lane} | " + " | ".join(walls) + " |")


@contextmanager
def delayed(url: str, delay: float) -> Iterator[str]:
    """An address at which the server answers `delay` seconds later, each way; its bandwidth is not limited."""
    loop = asyncio.new_event_loop()
    there = urlsplit(url)

    async def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """In order, each piece so much later as it came."""
        pieces: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue()

        async def deliver() -> None:
            with contextlib.suppress(OSError):
                while True:
                    due, data = await pieces.get()
                    await asyncio.sleep(due - loop.time())
                    if not data:
                        break
                    writer.write(data)
                    await writer.drain()
            writer.close()

        late = loop.create_task(deliver())
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                pieces.put_nowait((loop.time() + delay, data))
        pieces.put_nowait((loop.time() + delay, b""))
        await late

    async def connect(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        from_store, to_store = await asyncio.open_connection(there.hostname, there.port)
        await asyncio.gather(carry(reader, to_store), carry(from_store, writer))

    server = loop.run_until_complete(asyncio.start_server(connect, "127.0.0.1", 0))
    thread = threading.Thread(target=loop.run_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join()
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.wait(left))
        loop.close()
