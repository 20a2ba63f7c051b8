"""Archives in the chain: the same ledger as of the folder, and a rerun that sends one changed member alone."""

from __future__ import annotations

import itertools
import threading
from collections.abc import Sequence
from pathlib import Path

import pytest

from imagehaul.errors import SettingsError, SourceError
from imagehaul.sources.archive import ArchiveSource
from imagehaul.sources.source import Entry
from imagehaul.store.endpoint import Store
from tests.sources.test_archive import pack
from tests.support.delivering import Target, draw

BOXES = b"filename,col_x,row_y,width,height,label\na/1.jpg,10,20,30,40,thing\n"
CROPS = {"save_thumbnails_method": "both", "batch_size": 2}


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("pictures")
    pictures = {f"a/{number}.jpg": draw(folder / f"{number}.jpg", seed=number) for number in range(5)}
    return {**pictures, "object_annotations.csv": BOXES, "broken.jpg": b"no picture"}


def facts(target: Target) -> set[tuple[object, ...]]:
    """What the ledger says of each object, but for where it came from."""
    names = ("source_path", "kind", "key", "status", "code", "size", "sha256", "label", "box_x", "box_width")
    return {tuple(row.get(name) for name in names) for row in target.ledger()}


@pytest.mark.parametrize(("form", "workers"), [("zip", 1), ("tar", 1), ("tar.gz", 1), ("tar.gz", 2), ("tar.zst", 1)])
def test_an_archive_is_delivered_as_its_folder_is(
    tmp_path: Path, store: Store, bucket: str, files: dict[str, bytes], form: str, workers: int
) -> None:
    for name, content in files.items():
        (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "folder" / name).write_bytes(content)
    settings = {**CROPS, "workers": workers, "max_rejected": 0.5}
    plain = Target(store, bucket, dataset="plain")
    plain.deliver(tmp_path / "folder", settings=settings)
    archive = pack(tmp_path / f"set.{form}", files)
    packed = Target(store, bucket, dataset="packed")

    first = packed.deliver(archive, settings=settings)
    assert first.exit_status == 0, (first.refused, first.problems)
    assert (first.counts.planned, first.counts.delivered, first.counts.rejected) == (6, 5, 1)
    renamed = {tuple(str(field).replace("/plain/", "/packed/") for field in row) for row in facts(plain)}
    assert {tuple(map(str, row)) for row in facts(packed)} == renamed

    again = packed.deliver(archive, settings=settings)
    assert (again.counts.unchanged, again.counts.objects) == (5, 0)

    pack(archive, {**files, "a/3.jpg": draw(tmp_path / "new.jpg", seed=77)})
    changed = packed.deliver(archive, settings=settings)
    assert (changed.counts.delivered, changed.counts.unchanged, changed.counts.objects) == (1, 4, 2)


def test_members_of_one_name_are_rejected_and_told(tmp_path: Path, store: Store, bucket: str) -> None:
    import tarfile

    from tests.sources.test_archive import add

    with tarfile.open(tmp_path / "set.tar", "w") as tar:
        for seed, name in enumerate(("a.jpg", "b.jpg", "a.jpg")):
            add(tar, name, draw(tmp_path / "drawn.jpg", seed=seed))
    target = Target(store, bucket)
    summary = target.deliver(tmp_path / "set.tar", settings={"max_rejected": 0.5})
    assert (summary.counts.delivered, summary.counts.rejected) == (1, 1)
    assert [problem.code for problem in summary.problems] == ["DUPLICATE_NAME"]


def test_what_one_reader_lays_out_goes_to_no_other_machine(tmp_path: Path, store: Store, bucket: str) -> None:
    target = Target(store, bucket)
    pack(tmp_path / "set.tar.gz", {"a.jpg": b"x"})
    with pytest.raises(SettingsError, match="TASK_RUNNER=dask cannot go with an archive"):
        target.deliver(tmp_path / "set.tar.gz", settings={"task_runner": "dask"})


def test_an_archive_that_cannot_be_read_on_ends_the_run(
    tmp_path: Path, store: Store, bucket: str, files: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches behind that one wait for their turn, which never comes."""
    stage, staged = ArchiveSource.stage, itertools.count(1)

    def breaks_off(self: ArchiveSource, entries: Sequence[Entry]) -> list[Path]:
        if next(staged) == 2:
            raise SourceError("The archive cannot be read on.")
        return stage(self, entries)

    monkeypatch.setattr(ArchiveSource, "stage", breaks_off)
    outcome: list[BaseException] = []

    def deliver() -> None:
        try:
            Target(store, bucket).deliver(archive, settings={"batch_size": 1, "workers": 2})
        except BaseException as error:
            outcome.append(error)

    archive = pack(tmp_path / "set.tar.gz", files)
    run = threading.Thread(target=deliver, daemon=True)
    run.start()
    run.join(20)
    assert [str(error) for error in outcome] == ["The archive cannot be read on."]
