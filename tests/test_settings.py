"""Settings: every flag, every source in its order, and every refusal with its mend."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import get_args

import pytest
from pydantic import ValidationError

from imagehaul.layout import Layout
from imagehaul.records import ExportName, ObjectOptions, RenderOptions
from imagehaul.settings import Settings, accepted

TARGET = {"remote_save": "s3://mybucket/sets/"}

DOCUMENTED = {
    "CDN_FULLPATH": "/image",
    "SERVE_ORIGINAL_IMAGE": False,
    "PREPROCESS_IMAGE_TRANSFER": "keep_original_filename",
    "SOURCE_USE_FULLPATH": True,
    "PREPROCESS_NORMALIZE_OUTPUT": False,
    "SKIP_IMAGE_THUMBNAIL_GENERATION": False,
    "SAVE_THUMBNAILS_METHOD": "image",
    "USE_S5CMD_WHEN_AVAILABLE": True,
    "EXPORT_ENTITIES_RESULT_BUCKET": "",
    "OBJECT_STORE_URL": "",
}
OURS = {
    "EXPORTS": (),
    "QUALITY": "on",
    "NEAR_DUPLICATE_BITS": 10,
    "DARK_BELOW": 0.08,
    "BRIGHT_ABOVE": 0.92,
    "BLUR_BELOW": 0.15,
    "INCLUDE": (),
    "EXCLUDE": (),
    "FOLLOW_LINKS": False,
    "COMPARE": "metadata",
    "IGNORE_CASE": False,
    "KEEP_SOURCE_METADATA": True,
    "TASK_RUNNER": "processes",
    "TASK_RUNNER_ADDRESS": "",
    "SUFFIXES": (),
    "SOURCE_ROOT": "",
    "ORIGINALS": "copy",
    "SOURCE_CDN_FULLPATH": "/source",
    "ALLOW_PRIVATE_ADDRESSES": False,
    "SOURCE_OBJECT_STORE_URL": "",
    "SOURCE_AWS_PROFILE": "",
    "SOURCE_AWS_REGION": "",
    "SOURCE_CA_BUNDLE": "",
    "THUMBNAIL_SIZE": 256,
    "THUMBNAIL_FORMAT": "jpeg",
    "THUMBNAIL_QUALITY": 85,
    "CROP_MARGIN": 0,
    "BOX_SPACE": "upright",
    "PIXEL_LIMIT": 150_000_000,
    "FULL_CHECK": False,
    "DELIVER_UNDECODABLE": False,
    "MAX_REJECTED": 0.1,
    "MAX_VANISHED": 0.1,
    "PUBLISH_PARTIAL": False,
    "PROOF": "auto",
    "CACHE_CONTROL": "",
    "STORAGE_CLASS": "",
    "SSE": "",
    "SSE_KMS_KEY_ID": "",
    "KEY_PREFIX": "",
    "ARCHIVES": "leave",
    "REQUEST_PAYER": "",
    "EXPECTED_BUCKET_OWNER": "",
    "BATCH_SIZE": 1000,
    "WORKERS": 0,
    "TRANSFER_ENGINE": "auto",
    "TRANSFER_WORKERS": 32,
    "PICTURE_SECONDS": 60,
    "PICTURE_MEMORY": 3072,
    "SCRATCH": "",
}


def settings(**values: object) -> Settings:
    """As the Prefect form would fill the model."""
    return Settings.model_validate(TARGET | values)


class TestTheModel:
    def test_has_every_flag_with_its_default(self) -> None:
        defaults = settings().model_dump()
        assert defaults.pop("remote_save") == TARGET["remote_save"]
        assert {name.upper(): value for name, value in defaults.items()} == DOCUMENTED | OURS

    def test_needs_a_target_and_nothing_else(self) -> None:
        assert [name for name, field in Settings.model_fields.items() if field.is_required()] == ["remote_save"]

    def test_draws_a_form_whose_fields_are_the_flags_in_the_order_of_the_file(self) -> None:
        fields = Settings.model_json_schema()["properties"]
        assert [field["title"] for field in fields.values()] == [name.upper() for name in fields]
        assert [field["position"] for field in fields.values()] == list(range(len(fields)))

    @pytest.mark.parametrize(
        ("given", "kept"),
        [
            ("csv, coco,csv", ("coco", "csv")),
            (["yolo"], ("yolo",)),
            ("", ()),
            ('["voc"]', ("voc",)),
            ("all", get_args(ExportName)),
        ],
    )
    def test_takes_exports_as_a_list_in_one_order(self, given: object, kept: tuple[str, ...]) -> None:
        assert settings(exports=given).exports == kept

    def test_lets_a_form_say_all_exports(self) -> None:
        items = Settings.model_json_schema()["properties"]["exports"]["items"]
        assert items["enum"] == [*get_args(ExportName), "all"]
        assert settings(exports=["all"]).exports == get_args(ExportName)

    def test_refuses_an_export_that_there_is_not_and_names_those_that_there_are(self) -> None:
        with pytest.raises(ValidationError, match="names no export: kokos"):
            settings(exports="coco,kokos")

    def test_draws_no_switch_between_types_which_the_form_cannot_do_well(self) -> None:
        assert all(
            "anyOf" not in field and "type" in field for field in Settings.model_json_schema()["properties"].values()
        )

    def test_explains_every_field_in_one_or_two_short_sentences(self) -> None:
        for name, field in Settings.model_fields.items():
            assert field.description, name
            assert 20 <= len(field.description) <= 160, name
            assert field.description.endswith("."), name

    def test_passes_through_json_unchanged_as_a_flow_parameter_does(self) -> None:
        before = settings(include=["a/*.jpg"], max_rejected="5%", workers="3")
        assert Settings.model_validate_json(before.model_dump_json()) == before

    def test_cannot_be_changed(self) -> None:
        with pytest.raises(ValidationError):
            settings().workers = 3  # type: ignore[misc]

    @pytest.mark.parametrize(
        ("skip", "method", "thumbnails", "crops"),
        [
            (False, "image", True, False),
            (False, "crops", False, True),
            (False, "both", True, True),
            (True, "image", False, False),
            (True, "crops", False, True),
            (True, "both", False, True),
        ],
    )
    def test_what_is_rendered(self, skip: bool, method: str, thumbnails: bool, crops: bool) -> None:
        chosen = settings(skip_image_thumbnail_generation=skip, save_thumbnails_method=method)
        assert (chosen.makes_thumbnails, chosen.makes_crops) == (thumbnails, crops)

    def test_hands_on_what_rendering_needs(self) -> None:
        values = {
            "thumbnail_size": 320,
            "thumbnail_format": "webp",
            "thumbnail_quality": 70,
            "crop_margin": 4,
            "box_space": "stored",
            "pixel_limit": 1000,
            "full_check": True,
            "quality": "off",
            "picture_seconds": 5.5,
            "picture_memory": 512,
        }
        assert dataclasses.asdict(settings(**values).render_options()) == values

    def test_defaults_are_the_records_own(self) -> None:
        assert settings().render_options() == RenderOptions()
        assert settings().object_options() == ObjectOptions()

    def test_hands_on_what_every_object_gets(self) -> None:
        values = {
            "cache_control": "max-age=60",
            "storage_class": "STANDARD_IA",
            "sse": "aws:kms",
            "sse_kms_key_id": "arn:aws:kms:eu-west-1:1:key/2",
        }
        assert dataclasses.asdict(settings(**values).object_options()) == {**values, "keep_source_metadata": True}

    def test_hands_on_what_names_are_made_of(self) -> None:
        layout = Layout("mybucket", "sets/", "birds")
        mapping = settings(
            preprocess_image_transfer="media_id",
            source_use_fullpath=False,
            preprocess_normalize_output=True,
            thumbnail_format="webp",
        ).mapping(layout)
        assert mapping.layout is layout
        assert (mapping.transfer, mapping.full_path, mapping.normalize) == ("media_id", False, True)
        assert mapping.thumbnail_suffix == ".webp"
        assert settings().mapping(layout).thumbnail_suffix == ".jpg"


@pytest.mark.parametrize(
    ("transfer_engine", "where_s5cmd_is_wanted", "where_not"),
    [
        ("auto", "s5cmd", "boto3"),
        ("s5cmd", "s5cmd", "s5cmd"),
        ("boto3", "boto3", "boto3"),
        ("obstore", "obstore", "obstore"),
    ],
)
def test_transfer_engine_overrides_use_s5cmd_when_available_where_it_names_an_engine(
    transfer_engine: str, where_s5cmd_is_wanted: str, where_not: str
) -> None:
    for wanted, engine in ((True, where_s5cmd_is_wanted), (False, where_not)):
        assert settings(transfer_engine=transfer_engine, use_s5cmd_when_available=wanted).engine == engine


@pytest.mark.parametrize(
    ("name", "written", "kept"),
    [
        ("remote_save", "s3://mybucket", "s3://mybucket/"),
        ("remote_save", "S3://mybucket/sets", "s3://mybucket/sets/"),
        ("remote_save", " s3://mybucket/a b/ü ", "s3://mybucket/a b/ü/"),
        ("cdn_fullpath", "/", "/"),
        ("cdn_fullpath", "https://cdn.example.com/a%20b/", "https://cdn.example.com/a%20b/"),
        ("object_store_url", "http://minio:9000/", "http://minio:9000"),
        ("object_store_url", "https://[::1]:9000", "https://[::1]:9000"),
        ("scratch", "~/tmp", f"{Path.home()}/tmp"),
        ("scratch", "~nobody-of-that-name/tmp", "~nobody-of-that-name/tmp"),
        ("source_ca_bundle", "~/cas [new].pem", f"{Path.home()}/cas [new].pem"),
        ("max_rejected", "0%", 0.0),
    ],
)
def test_how_values_are_kept(name: str, written: str, kept: object) -> None:
    assert getattr(settings(**{name: written}), name) == kept


def test_every_setting_can_say_what_it_takes() -> None:
    assert {accepted(name) for name in Settings.model_fields} >= {"true or false", "text", "a list of globs"}
    assert not [name for name in Settings.model_fields if re.search(r"[<{]|None", accepted(name))]
