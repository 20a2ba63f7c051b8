"""Where settings come from, and what the user reads where one of them is bad."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import ValidationError

from imagehaul.errors import SettingsError
from imagehaul.settings import Settings
from imagehaul.settings_loading import resolve_settings

TARGET = {"remote_save": "s3://mybucket/sets/"}


def settings(**values: object) -> Settings:
    """As the Prefect form would fill the model."""
    return Settings.model_validate(TARGET | values)


def resolved(tmp_path: Path, file: object = None, **options: object) -> Settings:
    if file is not None:
        (tmp_path / "config.json").write_text(json.dumps(file))
    return resolve_settings(TARGET | options, None, {}, tmp_path)[0]


def refusal(tmp_path: Path, **options: object) -> str:
    with pytest.raises(SettingsError) as caught:
        resolve_settings(TARGET | options, None, {}, tmp_path)
    return str(caught.value)


class TestSources:
    def test_each_is_stronger_than_the_one_before_it(self, tmp_path: Path) -> None:
        def size(options: dict[str, object], environ: dict[str, str]) -> int:
            return resolve_settings(TARGET | options, None, environ, tmp_path)[0].thumbnail_size

        assert size({}, {}) == 256
        (tmp_path / "config.json").write_text('{"THUMBNAIL_SIZE": 100}')
        assert size({}, {}) == 100
        (tmp_path / ".vl").mkdir()
        (tmp_path / ".vl/config.json").write_text('{"THUMBNAIL_SIZE": 200}')
        assert size({}, {}) == 200
        assert size({}, {"THUMBNAIL_SIZE": "300"}) == 300
        assert size({"thumbnail_size": 400}, {"THUMBNAIL_SIZE": "300"}) == 400

    def test_a_file_that_is_asked_for_takes_the_place_of_the_one_that_lies_there(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"THUMBNAIL_SIZE": 100, "WORKERS": 7}')
        (tmp_path / "other.json").write_text('{"THUMBNAIL_SIZE": 200}')
        found, _ = resolve_settings(TARGET, tmp_path / "other.json", {}, tmp_path)
        assert (found.thumbnail_size, found.workers) == (200, 0)

    def test_upper_and_lower_case_keys_both_work_in_the_file(self, tmp_path: Path) -> None:
        found = resolved(tmp_path, {"THUMBNAIL_SIZE": 100, "workers": 7})
        assert (found.thumbnail_size, found.workers) == (100, 7)

    def test_the_sample_of_the_flags_documentation_is_read_as_it_stands(self, tmp_path: Path) -> None:
        sample = {
            "SERVE_ORIGINAL_IMAGE": True,
            "CDN_FULLPATH": "/image",
            "SAVE_THUMBNAILS_METHOD": "crops",
            "PREPROCESS_IMAGE_TRANSFER": "keep_original_filename",
            "PREPROCESS_NORMALIZE_OUTPUT": False,
            "REMOTE_SAVE": "s3://visual-layer/tmp/remove-me-test-folder",
            "SOURCE_USE_FULLPATH": True,
            "USE_S5CMD_WHEN_AVAILABLE": True,
            "SKIP_IMAGE_THUMBNAIL_GENERATION": True,
            "EXPORT_ENTITIES_RESULT_BUCKET": "mybucket",
            "OBJECT_STORE_URL": "http://minio:9000",
        }
        (tmp_path / "config.json").write_text(json.dumps(sample))
        found, warnings = resolve_settings({}, None, {}, tmp_path)
        assert found.remote_save == "s3://visual-layer/tmp/remove-me-test-folder/"
        assert found.model_dump(include={name.lower() for name in sample} - {"remote_save"}) == {
            name.lower(): value for name, value in sample.items() if name != "REMOTE_SAVE"
        }
        assert warnings == []

    def test_values_may_be_text(self, tmp_path: Path) -> None:
        found = resolved(
            tmp_path,
            {"FOLLOW_LINKS": "true", "WORKERS": " 3 ", "MAX_REJECTED": "2.5 %", "PICTURE_SECONDS": "1.5"},
        )
        assert (found.follow_links, found.workers) == (True, 3)
        assert (found.max_rejected, found.picture_seconds) == (0.025, 1.5)

    @pytest.mark.parametrize(
        ("written", "globs"),
        [
            (["a", "b,c"], ("a", "b,c")),
            ("*.jpg, b/", ("*.jpg", "b/")),
            ('["a", "b,c"]', ("a", "b,c")),
            ("[ab]*.jpg", ("[ab]*.jpg",)),
            ("[1]", ("[1]",)),
            ("", ()),
            ([""], ()),
        ],
    )
    def test_a_list_is_a_json_list_or_parted_by_commas(
        self, tmp_path: Path, written: object, globs: tuple[str, ...]
    ) -> None:
        assert resolved(tmp_path, {"INCLUDE": written}).include == globs

    @pytest.mark.parametrize(
        ("name", "written", "kept"),
        [
            ("suffixes", ["foo,bar", "none"], ("foo", "bar", "none")),
            ("suffixes", "foo, bar", ("foo", "bar")),
            ("exports", ["gallery,coco", "csv"], ("coco", "csv", "gallery")),
        ],
    )
    def test_words_are_parted_in_a_list_too(
        self, tmp_path: Path, name: str, written: object, kept: tuple[str, ...]
    ) -> None:
        assert getattr(resolved(tmp_path, {name: written}), name) == kept

    def test_a_glob_with_a_comma_in_a_list_is_one_and_said(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{"EXCLUDE": ["a.png,b.png", "c.png"], "INCLUDE": ["x,y"]}')
        found, warnings = resolve_settings(TARGET, None, {"INCLUDE": "*.png,*.jpg"}, tmp_path)
        assert (found.exclude, found.include) == (("a.png,b.png", "c.png"), ("*.png", "*.jpg"))
        assert warnings == [
            f'EXCLUDE (in {file}) holds "a.png,b.png", which is one glob with a comma in it. '
            "Where several are meant, make each an item of its own."
        ]

    def test_an_empty_variable_is_not_given(self, tmp_path: Path) -> None:
        environ = {"THUMBNAIL_SIZE": "", "REMOTE_SAVE": " "}
        assert resolve_settings(TARGET, None, environ, tmp_path)[0].thumbnail_size == 256

    def test_null_in_the_file_is_not_given(self, tmp_path: Path) -> None:
        assert resolved(tmp_path, {"EXPORT_ENTITIES_RESULT_BUCKET": None}).export_entities_result_bucket == ""

    def test_an_empty_option_takes_back_what_the_file_says(self, tmp_path: Path) -> None:
        assert resolved(tmp_path, {"OBJECT_STORE_URL": "http://minio:9000"}, object_store_url="").object_store_url == ""

    def test_unknown_keys_are_named_and_a_misspelt_flag_is_recognised(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{"LOG_LEVEL": 10, "SERVE_ORIGINAL_VIDEO": false, "THUMBNAL_SIZE": 3, "Workers": 2}')
        found, warnings = resolve_settings(TARGET, None, {}, tmp_path)
        assert found == settings()
        assert warnings == [
            f'{file}: "THUMBNAL_SIZE" is no setting and was ignored. Did you mean THUMBNAIL_SIZE?',
            f'{file}: "Workers" is no setting and was ignored. Did you mean WORKERS?',
            f'{file}: not imagehaul\'s, ignored: "LOG_LEVEL", "SERVE_ORIGINAL_VIDEO".',
        ]

    def test_the_file_may_begin_with_a_byte_order_mark(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_text('{"WORKERS": 2}', encoding="utf-8-sig")
        assert resolved(tmp_path).workers == 2


class TestBadFiles:
    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ('{"WORKERS": 1,\n "SSE": }', "is not valid JSON: Expecting value, line 2, column 9."),
            ("{“WORKERS”: 1}", 'line 1, column 2. Use straight quotes, "like these".'),
            ("", "is not valid JSON: Expecting value, line 1, column 1."),
            ("[1, 2]", "must hold one JSON object"),
            ('"WORKERS"', "must hold one JSON object"),
            ('{"WORKERS": 1, "workers": 2}', "gives WORKERS twice, 1 and 2: keep one."),
            ('{"WORKERS": 1, "WORKERS": 2}', "gives WORKERS twice"),
            ('{"a": ' + "[" * 100_000, "is not valid JSON that can be read"),
            ('{"WORKERS": ' + "1" * 5000 + "}", "is not valid JSON that can be read"),
        ],
    )
    def test_the_message_says_what_is_wrong_and_where(self, tmp_path: Path, text: str, words: str) -> None:
        file = tmp_path / "config.json"
        file.write_text(text)
        with pytest.raises(SettingsError) as caught:
            resolve_settings(TARGET, None, {}, tmp_path)
        assert str(caught.value).startswith(str(file))
        assert words in str(caught.value)

    def test_the_same_value_twice_is_no_contradiction(self, tmp_path: Path) -> None:
        assert resolved(tmp_path, {"WORKERS": 2, "workers": 2}).workers == 2

    def test_a_file_that_is_not_utf8_is_named(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").write_bytes(b'{"SSE": "\xff"}')
        with pytest.raises(SettingsError, match=r"config\.json is not UTF-8 \(byte 10\)\. Save it as UTF-8\."):
            resolve_settings(TARGET, None, {}, tmp_path)

    def test_a_file_that_was_asked_for_and_is_missing_is_an_error(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"missing\.json cannot be read: No such file"):
            resolve_settings(TARGET, tmp_path / "missing.json", {}, tmp_path)

    def test_an_option_that_names_no_file_is_said(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError, match=r"^--config names no file\. Name one, or leave the option out\.$"):
            resolve_settings(TARGET, Path(), {}, tmp_path)

    def test_a_link_that_leads_nowhere_was_meant_to_be_read(self, tmp_path: Path) -> None:
        (tmp_path / "config.json").symlink_to("missing.json")
        with pytest.raises(SettingsError, match=r"config\.json cannot be read: No such file"):
            resolve_settings(TARGET, None, {}, tmp_path)

    def test_a_file_that_may_not_be_read_is_an_error_and_not_passed_over(self, tmp_path: Path) -> None:
        folder = tmp_path / ".vl"
        folder.mkdir()
        (folder / "config.json").write_text("{}")
        folder.chmod(0)
        # Root may read all, so the work is done as somebody else; fchdir, since that one may not walk here.
        program = (
            "import os, pathlib, sys; from imagehaul.settings_loading import resolve_settings\n"
            "os.fchdir(os.open(sys.argv[1], os.O_RDONLY))\n"
            "if os.geteuid() == 0: os.setuid(65534)\n"
            "try: resolve_settings({}, None, {}, pathlib.Path())\n"
            "except Exception as error: print(error)"
        )
        try:
            done = subprocess.run([sys.executable, "-c", program, str(tmp_path)], capture_output=True, check=True)
        finally:
            folder.chmod(0o700)
        assert done.stdout.decode().strip() == "The settings in .vl/config.json cannot be read: Permission denied."


class TestBadValues:
    @pytest.mark.parametrize(
        ("name", "value", "words"),
        [
            ("remote_save", "mybucket/sets", "(option --remote-save): write s3://mybucket/sets/."),
            ("remote_save", "s3:/mybucket/sets", ": write s3://mybucket/sets/."),
            ("export_entities_result_bucket", "S3://mybucket/", ": write mybucket."),
            ("remote_save", "/data/sets", "is a folder of this machine: write s3://bucket/prefix/."),
            ("remote_save", "", "is required: write s3://bucket/prefix/."),
            ("remote_save", "http://minio:9000/mybucket/x", "write s3://mybucket/x/, and the server in"),
            ("remote_save", "s3://", "names no bucket: write s3://bucket/prefix/."),
            ("remote_save", "gs://mybucket/x", "names no bucket"),
            ("remote_save", "s3://arn:aws:s3:eu-west-1:123456789012:accesspoint/a/x/", "or the access point's alias"),
            ("export_entities_result_bucket", "arn:aws:s3:::mybucket", "or the access point's alias"),
            ("remote_save", "s3://mybucket/a//b", "has an empty part"),
            ("remote_save", "s3://mybucket/../b", "'.' or '..' in its prefix"),
            ("remote_save", "s3://mybucket/a\x00b", "has a control character"),
            ("remote_save", "s3://mybucket/\udcff", "not Unicode"),
            ("cdn_fullpath", "image", "begin it with one '/', or with http:// or https://."),
            ("cdn_fullpath", "", "begin it with one '/'"),
            ("cdn_fullpath", "//cdn.example.com", "begin it with one '/'"),
            ("cdn_fullpath", "ftp://cdn", "begin it with one '/'"),
            ("cdn_fullpath", "/image?v=1", "what follows '?' or '#' would stand in the middle of each URL"),
            ("cdn_fullpath", "https://cdn/#top", "what follows '?' or '#'"),
            ("cdn_fullpath", "/my images", "percent-encode it"),
            ("cdn_fullpath", "https://", "names no host"),
            ("export_entities_result_bucket", "s3://mybucket/", "takes the bucket's bare name: write mybucket."),
            ("export_entities_result_bucket", "mybucket/exports", "takes the bucket's bare name: write mybucket."),
            ("export_entities_result_bucket", "my bucket", "is no bucket's name"),
            ("object_store_url", "minio:9000", "write http://minio:9000 or https://minio:9000."),
            ("object_store_url", "s3://mybucket", "takes an endpoint such as http://minio:9000"),
            ("object_store_url", "http://minio:9000/mybucket", "bucket and prefix go into REMOTE_SAVE or SOURCE."),
            ("object_store_url", "http://minio:nine", "is no URL: check host and port."),
            ("object_store_url", "http://", "names no host"),
            ("source_root", "https://host/a?sig=x", "leave out what follows '?' or '#'."),
            ("save_thumbnails_method", "crop", "takes image or crops or both."),
            ("preprocess_image_transfer", "keep", "takes keep_original_filename or media_id."),
            ("use_s5cmd_when_available", "maybe", "takes true or false."),
            ("thumbnail_size", "huge", "takes a whole number from 16 to 4096."),
            ("thumbnail_size", 5000, "takes a whole number from 16 to 4096."),
            ("thumbnail_size", True, "THUMBNAIL_SIZE=true (option --thumbnail-size): takes a whole number"),
            ("thumbnail_quality", 101, "from 1 to 100."),
            ("thumbnail_format", "png", "takes jpeg or webp."),
            ("crop_margin", -1, "from 0 to 10000."),
            ("batch_size", 1001, "from 1 to 1000."),
            ("pixel_limit", 0, "takes a whole number from 1 on."),
            ("max_rejected", 10, "takes a number from 0 to 1, or a share such as 10%."),
            ("max_rejected", True, "takes a number from 0 to 1"),
            ("max_vanished", "101%", "takes a number from 0 to 1"),
            ("max_vanished", "nan", "takes a number from 0 to 1"),
            ("picture_seconds", "inf", "takes a number from 1 to 86400."),
            ("include", [1], "takes a list of globs."),
            ("exclude", 5, "takes a list of globs."),
            ("exports", ["\ud800"], "names no export: \\ud800."),
            ("cache_control", 3600, "CACHE_CONTROL=3600 (option --cache-control): takes text."),
            ("cache_control", "a\nX-Other: b", "has a control character"),
            ("cache_control", "für immer", "a header holds ASCII characters only."),
            ("storage_class", "STANDARD IA", "is no storage class"),
            ("storage_class", "GLACIER", "GLACIER_IR can be read at once."),
            ("sse", "kms", "takes AES256 or aws:kms."),
            ("proof", "size", "takes auto or read_back."),
            ("box_space", "raw", "takes upright or stored."),
        ],
    )  # fmt: skip
    def test_flag_value_origin_and_mend_in_one_line(self, tmp_path: Path, name: str, value: object, words: str) -> None:
        message = refusal(tmp_path, **{name: value})
        assert words in message
        assert message.startswith(f"{name.upper()}=")
        assert f"(option --{name.replace('_', '-')})" in message
        assert len(message.splitlines()) == 1
        message.encode()

    def test_the_message_names_the_source_that_gave_the_value(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{"WORKERS": "many"}')
        environ = {"BATCH_SIZE": "x"}
        with pytest.raises(SettingsError) as caught:
            resolve_settings(TARGET | {"proof": "none"}, None, environ, tmp_path)
        assert sorted(str(caught.value).splitlines()) == [
            'BATCH_SIZE="x" (from the environment): takes a whole number from 1 to 1000.',
            'PROOF="none" (option --proof): takes auto or read_back.',
            f'WORKERS="many" (in {file}): takes a whole number from 0 to 1024.',
        ]

    @pytest.mark.parametrize("name", ["exports", "include", "exclude", "suffixes", "sse", "workers", "follow_links"])
    @pytest.mark.parametrize("value", [[["coco"]], {"a": {"b": 1}}, {}, [{"coco": 1}], [None]], ids=repr)
    def test_a_nested_value_in_the_file_is_of_a_wrong_type(self, tmp_path: Path, name: str, value: object) -> None:
        file = tmp_path / "config.json"
        with pytest.raises(SettingsError) as caught:
            resolved(tmp_path, {name: value})
        assert str(caught.value).startswith(f"{name.upper()}={json.dumps(value)} (in {file}): takes ")

    def test_a_bad_value_that_a_stronger_source_replaces_does_no_harm(self, tmp_path: Path) -> None:
        assert resolved(tmp_path, {"WORKERS": "many"}, workers=2).workers == 2

    def test_a_missing_target_is_said_with_the_ways_to_give_it(self, tmp_path: Path) -> None:
        with pytest.raises(SettingsError) as caught:
            resolve_settings({}, None, {}, tmp_path)
        assert str(caught.value) == (
            "REMOTE_SAVE is required: set it in .vl/config.json, in the environment, or with --remote-save."
        )

    @pytest.mark.parametrize("name", ["object_store_url", "cdn_fullpath", "source_root"])
    @pytest.mark.parametrize("userinfo", ["joe:s3cr3t@", "joe:s3/cr3t@", "joe:s3#cr3t@", "s3cr3t:@"])
    def test_a_password_in_a_url_is_refused_and_not_shown(self, tmp_path: Path, name: str, userinfo: str) -> None:
        message = refusal(tmp_path, **{name: f"http://{userinfo}minio:9000"})
        assert "s3" not in message
        assert "cr3t" not in message
        with pytest.raises(ValidationError) as caught:
            settings(**{name: f"http://{userinfo}minio:9000"})
        assert "cr3t" not in str(caught.value)

    def test_a_password_in_a_url_without_scheme_is_not_shown(self, tmp_path: Path) -> None:
        assert "cr3t" not in refusal(tmp_path, object_store_url="joe:s3cr3t@minio:9000")


class TestContradictions:
    @pytest.mark.parametrize(
        ("values", "words"),
        [
            (
                {"serve_original_image": True, "preprocess_image_transfer": "media_id"},
                "SERVE_ORIGINAL_IMAGE=true cannot go with PREPROCESS_IMAGE_TRANSFER=media_id: "
                "set it to keep_original_filename.",
            ),
            (
                {"serve_original_image": True, "preprocess_normalize_output": True},
                "SERVE_ORIGINAL_IMAGE=true cannot go with PREPROCESS_NORMALIZE_OUTPUT=true, "
                "which stores no originals: set one of the two to false.",
            ),
            (
                {"deliver_undecodable": True, "preprocess_normalize_output": True},
                "DELIVER_UNDECODABLE=true cannot go with PREPROCESS_NORMALIZE_OUTPUT=true, "
                "which stores only what it decoded: set one of the two to false.",
            ),
            (
                {"sse_kms_key_id": "abc", "sse": "AES256"},
                "SSE_KMS_KEY_ID=abc needs SSE=aws:kms, and it is 'AES256': set it.",
            ),
        ],
    )
    def test_flags_that_contradict_are_refused_with_the_mend(
        self, tmp_path: Path, values: dict[str, object], words: str
    ) -> None:
        assert refusal(tmp_path, **values).startswith(words)

    def test_each_of_several_has_its_line_with_the_sources_of_its_flags(self, tmp_path: Path) -> None:
        file = tmp_path / "config.json"
        file.write_text('{"SERVE_ORIGINAL_IMAGE": true}')
        environ = {"PREPROCESS_NORMALIZE_OUTPUT": "true"}
        with pytest.raises(SettingsError) as caught:
            resolve_settings(TARGET | {"sse_kms_key_id": "abc"}, None, environ, tmp_path)
        first, second = str(caught.value).splitlines()
        assert first.endswith(f"(SERVE_ORIGINAL_IMAGE in {file}; PREPROCESS_NORMALIZE_OUTPUT from the environment)")
        assert second.endswith("(SSE_KMS_KEY_ID option --sse-kms-key-id)")

    @pytest.mark.parametrize(
        "values",
        [
            {"serve_original_image": True},
            {"skip_image_thumbnail_generation": True, "save_thumbnails_method": "image"},
            {"skip_image_thumbnail_generation": True, "save_thumbnails_method": "both"},
            {"preprocess_image_transfer": "media_id", "preprocess_normalize_output": True},
            {"sse": "aws:kms", "sse_kms_key_id": "abc"},
        ],
    )
    def test_what_only_looks_odd_is_legal(self, values: dict[str, object]) -> None:
        settings(**values)
