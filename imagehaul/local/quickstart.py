"""`make run`: the sample data set, delivered into the embedded store as a Prefect flow run. Then where to look."""

from __future__ import annotations

import json
import sys
from pathlib import Path

from imagehaul.errors import HaulError
from imagehaul.layout import Layout
from imagehaul.local.embedded_store import EmbeddedStore
from imagehaul.local.foreground import end_as_by_ctrl_c, run_to_end
from imagehaul.local.local_prefect import own_environment
from imagehaul.rendering.contact_sheet import delivered_sheet

BUCKET = "images"
DATASET = "sample"
REMOTE_SAVE = f"s3://{BUCKET}/data-sets/"


def main(folder: Path) -> int:
    folder = folder.resolve()
    sample = folder / "sample"
    imagehaul = Path(sys.executable).with_name("imagehaul")
    if not sample.is_dir() and (status := run_to_end([str(imagehaul), "sample", str(sample)])):
        return status
    with EmbeddedStore(folder / "store") as server:
        server.make_bucket(BUCKET)
        command = [str(imagehaul), "deliver", str(sample), "--dataset", DATASET, "--prefect"]
        print(f"$ imagehaul deliver {sample} --dataset {DATASET} --prefect", flush=True)
        # In the folder, where no file of somebody else's project tells Prefect of another server.
        if status := run_to_end(command, cwd=folder, env=_environment(folder, server)):
            return status
        _bring_home(server, folder / "result")
    _say_where(folder)
    return 0


def _environment(folder: Path, server: EmbeddedStore) -> dict[str, str]:
    """This run keeps to a Prefect and a store of its own, whatever the machine is configured for."""
    kept = own_environment(folder)
    kept.pop("AWS_CA_BUNDLE", None)
    return {
        **kept,
        "PREFECT_SERVER_EPHEMERAL_ENABLED": "true",  # The server that is there for this run alone.
        "OBJECT_STORE_URL": server.url,
        "AWS_ACCESS_KEY_ID": server.access_key,
        "AWS_SECRET_ACCESS_KEY": server.secret_key,
        "REMOTE_SAVE": REMOTE_SAVE,
        "SAVE_THUMBNAILS_METHOD": "both",
        "EXPORTS": "gallery",
    }


def _bring_home(server: EmbeddedStore, result: Path) -> None:
    """What one would look at first, out of the store and into a folder."""
    client, layout = server.store().client(), Layout.of(REMOTE_SAVE, DATASET)
    result.mkdir(exist_ok=True)
    current = json.loads(client.get_object(Bucket=BUCKET, Key=layout.current)["Body"].read())
    (result / "current.json").write_text(json.dumps(current, indent=2))
    for uri in (current["exports"][name] for name in ("json", "parquet")):
        key = uri.removeprefix(f"s3://{BUCKET}/")
        client.download_file(BUCKET, key, str(result / key.rsplit("/", 1)[1]))
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=layout.root)
    keys = [item["Key"] for page in pages for item in page.get("Contents", ())]
    (result / "objects.txt").write_text("".join(f"s3://{BUCKET}/{key}\n" for key in keys))
    renditions = [key for key in keys if key.startswith((layout.thumbnails, layout.crops))]
    sheet = delivered_sheet(client, BUCKET, sorted(renditions, reverse=True)[:40])
    if sheet:
        (result / "contact-sheet.jpg").write_bytes(sheet)


def _say_where(folder: Path) -> None:
    print(
        f"""
Where to look:
  {folder / "sample"}                      the source: pictures, boxes, and a few deliberate faults (README.txt)
  {folder / "result" / "contact-sheet.jpg"}    the thumbnails and crops that were delivered
  {folder / "result" / "metadata.json"}        the index that a UX opens
  {folder / "result" / "objects.txt"}          all that lies in the store now

To look at the pictures in a browser: make gallery
Run `make run` again: nothing is sent twice. To open the store itself:
  .venv/bin/imagehaul store {folder / "store"}"""
    )


if __name__ == "__main__":
    end_as_by_ctrl_c()
    try:
        sys.exit(main(Path(sys.argv[1])))
    except KeyboardInterrupt:
        sys.exit("Interrupted: the store and all that was started have ended. Run it again to go on.")
    except HaulError as error:
        sys.exit(f"imagehaul: {error}")
