"""What a user would write: a pool of threads, Pillow for the thumbnail, `upload_file` for both. The peer of goal 4."""

from __future__ import annotations

import sys
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from pathlib import Path

import boto3
from botocore.config import Config
from PIL import Image

THREADS = 8
SIZE, QUALITY = 256, 85


def main(folder: Path, bucket: str, prefix: str, endpoint: str) -> None:
    client = boto3.client("s3", endpoint_url=endpoint, config=Config(max_pool_connections=4 * THREADS))

    def deliver(file: Path) -> None:
        name = file.relative_to(folder).as_posix()
        with Image.open(file) as picture:
            scale = SIZE / max(picture.size)
            size = (round(picture.width * scale), round(picture.height * scale))
            small = picture.resize(size, Image.Resampling.LANCZOS)
        thumbnail = BytesIO()
        small.save(thumbnail, "JPEG", quality=QUALITY)
        thumbnail.seek(0)
        client.upload_fileobj(thumbnail, bucket, f"{prefix}/thumbnails/{name}.jpg")
        client.upload_file(str(file), bucket, f"{prefix}/images/{name}")

    with ThreadPoolExecutor(THREADS) as threads:
        list(threads.map(deliver, sorted(folder.rglob("*.jpg"))))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
