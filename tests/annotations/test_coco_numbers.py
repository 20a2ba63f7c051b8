"""COCO: whole numbers of any size are JSON, such as hashes of 64 bits that serve as ids."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest

from imagehaul.annotations.json_events import CountedFile
from imagehaul.annotations.reading import Reading
from imagehaul.errors import AnnotationError
from imagehaul.records import Box
from tests.support.annotating import read_annotations

CATEGORIES = {"categories": [{"id": 1, "name": "cat"}]}


def read(tmp_path: Path, content: str) -> Reading:
    (tmp_path / "annotations.json").write_text(content)
    return read_annotations(tmp_path / "annotations.json", tmp_path, folder="", shown="annotations.json")


@pytest.mark.parametrize("identity", [2**63 - 1, 2**63, 14695981039346656037, -(2**63) - 1, 10**400])
def test_ids_are_whole_numbers_of_any_size(tmp_path: Path, identity: int) -> None:
    images = [{"id": identity, "file_name": "a.jpg"}, {"id": identity + 1, "file_name": "b.jpg"}]
    said = [{"id": number, "image_id": identity + number, "category_id": 1} for number in (0, 1)]
    assert [
        item.reference for item in read(tmp_path, json.dumps({**CATEGORIES, "images": images, "annotations": said}))
    ] == ["a.jpg", "b.jpg"]


@pytest.mark.parametrize("large", ["18446744073709551615", "1e400", "1" * 5_000, "1e999999999999999999999"])
def test_a_large_number_far_into_a_file_gives_nothing_twice(tmp_path: Path, large: str) -> None:
    """The file is read again where it is met: what was given by then is not given again, problems neither."""
    boxes = [Box(number, 0.1, 3, 4, "cat") for number in range(9_000)]
    said: list[dict[str, Any]] = [{"image_id": 1, "category_id": 1.0, "bbox": [box.x, 0.1, 3, 4]} for box in boxes]
    said.insert(10, {"id": 10_001, "image_id": 1, "keypoints": [1, 2]})
    said += [{"id": 10_002, "image_id": 2, "category_id": 1, "hash": "LARGE", "bbox": ["LARGE", 2, 3, 4]}]
    images = [{"id": 1, "file_name": "a.jpg"}, {"id": 2, "file_name": "b.jpg"}]
    images += [{"id": 3, "file_name": "c.jpg", "width": "LARGE", "height": 1e300}, {"file_name": "nameless"}]
    content = json.dumps({"annotations": said, "images": images, **CATEGORIES})
    reading = read(tmp_path, content.replace('"LARGE"', large))
    *found, last = [item.box for item in reading]
    assert found == boxes
    assert last is not None
    assert last.x > 1e18
    assert {reason: problem.count for reason, problem in reading.problems.items()} == {
        "Keypoints without a box: left out": 1,
        "One of the images without an id: left out": 1,
    }


def test_what_is_wrong_behind_a_large_number_is_told_with_its_own_place(tmp_path: Path) -> None:
    with pytest.raises(AnnotationError, match=r"annotations.json, line 3 .*not valid JSON"):
        list(read(tmp_path, '{"images": [{"id": 18446744073709551615}],\n"annotations": [],\n"info": tru}'))


@pytest.mark.parametrize("size", [1, 2, 3, 7, 16, 1_000])
def test_large_numbers_are_text_wherever_a_block_ends_and_texts_stay_as_they_are(size: int) -> None:
    small = [5, 0.25, -1e-300, 'x12345678901234567890,"', "\\", True, None, [{"1" * 20: 1}]]
    content = json.dumps([*small, 2**63, -(2**64), 1e300])
    counted = CountedFile(io.BytesIO(content.encode()), large_as_text=True)
    read = b"".join(iter(lambda: counted.read(size), b""))
    assert json.loads(read) == [*small, str(2**63), str(-(2**64)), "1e+300"]
    assert counted.position == len(content)
