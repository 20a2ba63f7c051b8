"""The command line as a user meets it: exit status, the JSON line, and words in place of tracebacks."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path
from unittest.mock import patch

import pytest

from imagehaul.cli.app import app
from imagehaul.cli.command import _join_switches, main
from imagehaul.errors import SettingsError
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from tests.support.commanding import COMMAND, imagehaul, in_a_process, last_json, refused
from tests.support.delivering import Target


def test_deliver_prints_one_json_object_as_its_last_line(source: Path, environment: dict[str, str]) -> None:
    done = in_a_process("deliver", source, "--dataset", "cli", "--json", environment=environment)
    assert done.returncode == 0, done.stderr
    said = last_json(done)
    expected = {
        "dataset": "cli",
        "planned": 3,
        "delivered": 3,
        "unchanged": 0,
        "rejected": 0,
        "failed": 0,
        "objects": 6,
    }
    assert said | expected == said
    assert said["engine"] == "s5cmd"
    assert said["ledger"].endswith(f"/runs/{said['run']}/ledger/")
    assert said["export"].endswith(f"/exports/{said['run']}/")
    assert 0 < said["seconds"] < 60


def test_deliver_shows_a_table_and_where_to_look(source: Path, environment: dict[str, str]) -> None:
    done = imagehaul("deliver", source, "--dataset", "cli", environment=environment)
    assert "delivered" in done.stdout
    assert "metadata.json" in done.stdout
    assert "Delivering 3 images" in done.stderr


def test_a_rejected_share_above_the_limit_is_exit_1(source: Path, environment: dict[str, str]) -> None:
    (source / "bad.jpg").write_text("no picture")
    done = imagehaul("deliver", source, "--dataset", "cli", "--json", environment=environment)
    assert done.returncode == 1
    assert "MAX_REJECTED" in last_json(done)["refused"]
    done = imagehaul("deliver", source, "--dataset", "cli", "--allow-loss", environment=environment)
    assert done.returncode == 0


def test_every_setting_is_an_option(source: Path, environment: dict[str, str], store: Store, bucket: str) -> None:
    done = imagehaul(
        "deliver", source, "--dataset", "cli", "--thumbnail-size", 64, "--use-s5cmd-when-available", "false",
        "--exclude", "2.jpg", "--json", environment=environment,
    )  # fmt: skip
    assert last_json(done)["engine"] == "boto3"
    target = Target(store, bucket, dataset="cli")
    assert target.open("thumbnails/0.jpg.jpg").size == (64, 48)
    assert "images/2.jpg" not in target.listed()


def test_a_list_given_as_an_option_is_parted_by_commas_as_in_the_environment(
    environment: dict[str, str], tmp_path: Path
) -> None:
    given = ["--exports", "gallery,coco", "--suffixes", "foo,bar", "--include", "a/*, b/*"]
    given += ["--exclude", "a.png,b.png", "--exclude", "[1]", "--exclude", '["c, d.png"]']
    with patch("imagehaul.cli.delivering.open_store", side_effect=SettingsError) as opened:
        imagehaul("deliver", tmp_path, "--dataset", "cli", *given, environment=environment, folder=tmp_path)
    settings = opened.call_args.args[0]
    assert settings.exports == ("coco", "gallery")
    assert settings.suffixes == ("foo", "bar")
    assert settings.include == ("a/*", "b/*")
    assert settings.exclude == ("a.png", "b.png", "[1]", "c, d.png")


def test_the_documented_config_file_does_what_its_flags_say(
    source: Path, environment: dict[str, str], store: Store, bucket: str, tmp_path: Path
) -> None:
    """The sample of the flags' documentation, as it stands but for bucket and endpoint."""
    (source / "object_annotations.csv").write_text("filename,col_x,row_y,width,height,label\n0.jpg,10,20,40,40,box\n")
    (tmp_path / ".vl").mkdir()
    sample = {
        "SERVE_ORIGINAL_IMAGE": True,
        "CDN_FULLPATH": "/image",
        "SAVE_THUMBNAILS_METHOD": "crops",
        "PREPROCESS_IMAGE_TRANSFER": "keep_original_filename",
        "PREPROCESS_NORMALIZE_OUTPUT": False,
        "REMOTE_SAVE": f"s3://{bucket}/tmp/remove-me-test-folder",
        "SOURCE_USE_FULLPATH": True,
        "USE_S5CMD_WHEN_AVAILABLE": True,
        "SKIP_IMAGE_THUMBNAIL_GENERATION": True,
        "EXPORT_ENTITIES_RESULT_BUCKET": bucket,
        "OBJECT_STORE_URL": store.url,
    }
    (tmp_path / ".vl" / "config.json").write_text(json.dumps(sample))
    for name in ("OBJECT_STORE_URL", "REMOTE_SAVE"):
        environment.pop(name)
    done = imagehaul("deliver", source, "--dataset", "doc", "--json", environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr
    target = Target(store, bucket, prefix="tmp/remove-me-test-folder/", dataset="doc")
    assert target.listed("images/") == ["images/0.jpg", "images/1.jpg", "images/2.jpg"]
    assert target.listed("thumbnails/") == []
    assert len(target.listed("crops/")) == 1
    assert last_json(done)["export"].startswith(f"s3://{bucket}/doc/")
    assert target.media_item("0.jpg")["url"] == "/image/doc/images/0.jpg"


def test_keys_of_the_vl_folder_are_used(
    source: Path, environment: dict[str, str], store: Store, tmp_path: Path
) -> None:
    (tmp_path / ".vl").mkdir()
    keys = store.keys()
    (tmp_path / ".vl" / "aws_credentials").write_text(
        f"[default]\naws_access_key_id={keys.access_key}\naws_secret_access_key={keys.secret_key}\nregion=us-east-1\n"
    )
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        environment.pop(name)
    done = imagehaul("deliver", source, "--dataset", "cli", environment=environment, folder=tmp_path)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status", "words"),
    [
        (["deliver", "/nowhere/at/all", "--dataset", "cli"], 1, "/nowhere/at/all"),
        (["deliver", "http://example.com/", "--dataset", "cli"], 1, "address on the web"),
        (["deliver", ".", "--dataset", "a/b"], 2, "letters, digits"),
        (["deliver", "."], 2, "--dataset"),
        (["deliver", ".", "--dataset", "cli", "--unknown-flag", "1"], 2, "--unknown-flag"),
        (["deliver", ".", "--dataset", "cli", "--thumbnail-size", "huge"], 2, "THUMBNAIL_SIZE"),
        (["deliver", ".", "--dataset", "cli", "--export-entities-result-bucket", "s3://mybucket/"], 2, "mybucket"),
        (["deliver", ".", "--dataset", "cli", "--remote-save", "bucket/prefix"], 2, "s3://"),
        (["deliver", ".", "--dataset", "cli", "--store", "minio"], 2, "PREFECT_API_URL"),
        (["deliver", ".", "--dataset", "cli", "--config", "/no/config.json"], 2, "/no/config.json"),
        (
            ["deliver", ".", "--dataset", "cli", "--serve-original-image", "--preprocess-image-transfer", "media_id"],
            2,
            "keep_original_filename",
        ),
        (["frobnicate"], 2, "frobnicate"),
    ],
)
def test_bad_usage_ends_in_a_sentence(
    arguments: list[str], status: int, words: str, environment: dict[str, str], tmp_path: Path
) -> None:
    assert words in refused(imagehaul(*arguments, environment=environment, folder=tmp_path), status)


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"OBJECT_STORE_URL": "http://127.0.0.1:9"}, "127.0.0.1:9"),
        ({"OBJECT_STORE_URL": "http://no-such-host.invalid:9000"}, "no-such-host.invalid"),
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "secret key"),
        ({"REMOTE_SAVE": "s3://not-there-at-all/"}, "not-there-at-all"),
        ({"AWS_CA_BUNDLE": "/no/such/ca.pem"}, "/no/such/ca.pem"),
    ],
)
def test_a_store_that_is_not_right_ends_in_a_sentence(
    change: dict[str, str], words: str, source: Path, environment: dict[str, str]
) -> None:
    done = imagehaul("deliver", source, "--dataset", "cli", environment={**environment, **change})
    assert done.returncode in (1, 2)
    message = refused(done, done.returncode)
    assert words in message
    assert environment["AWS_SECRET_ACCESS_KEY"] not in done.stderr + done.stdout


def test_a_file_as_source_names_its_folder(source: Path, environment: dict[str, str]) -> None:
    done = imagehaul("deliver", source / "0.jpg", "--dataset", "cli", environment=environment)
    assert str(source) in refused(done, 1)


def test_a_folder_without_images_is_refused(tmp_path: Path, environment: dict[str, str]) -> None:
    (tmp_path / "empty").mkdir()
    done = imagehaul("deliver", tmp_path / "empty", "--dataset", "cli", environment=environment)
    assert "no images" in refused(done, 1)


def test_malformed_json_is_named_with_line_and_column(
    source: Path, environment: dict[str, str], tmp_path: Path
) -> None:
    (tmp_path / "config.json").write_text('{\n  "THUMBNAIL_SIZE": 64,\n  oops\n}')
    done = in_a_process("deliver", source, "--dataset", "cli", environment=environment, folder=tmp_path)
    message = refused(done, 2)
    assert "line 3" in message
    assert "column" in message


def test_misspelt_annotation_columns_are_named(source: Path, environment: dict[str, str]) -> None:
    (source / "object_annotations.csv").write_text("filename,colx,row_y,width,height,label\n0.jpg,1,2,3,4,x\n")
    done = imagehaul("deliver", source, "--dataset", "cli", environment=environment)
    assert "col_x" in refused(done, 1)


def test_no_room_for_scratch_is_told(source: Path, environment: dict[str, str]) -> None:
    done = imagehaul("deliver", source, "--dataset", "cli", "--scratch", "/proc", environment=environment)
    assert "SCRATCH" in refused(done, 2)


def test_an_error_with_json_is_a_json_line_too(environment: dict[str, str], tmp_path: Path) -> None:
    done = imagehaul("deliver", tmp_path / "no", "--dataset", "cli", "--json", environment=environment)
    assert "cannot be read" in last_json(done)["error"]


def test_the_module_is_the_command_too() -> None:
    module = [sys.executable, "-m", "imagehaul", "no-such-command"]
    done = subprocess.run(module, cwd=Path(__file__).parents[2], capture_output=True, text=True)
    assert "no-such-command" in refused(done, 2)


def test_help_is_quick_and_imports_nothing_heavy() -> None:
    script = (
        "import sys, time; began = time.monotonic(); from imagehaul.cli.command import main; main(['--help']);"
        "heavy = {'boto3', 'pyarrow', 'PIL', 'prefect', 'pydantic', 'duckdb', 's3fs'} & set(sys.modules);"
        "print('HEAVY', sorted(heavy))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("HEAVY []")


def test_a_delivery_imports_no_numpy(source: Path, environment: dict[str, str]) -> None:
    script = (
        "import sys; from imagehaul.cli.command import main; from imagehaul.cli.surroundings import settle; settle();"
        "status = main(sys.argv[1:]); print('NUMPY', status, {'pyarrow.compute', 'numpy'} & set(sys.modules))"
    )
    program = [sys.executable, "-c", script, "deliver", str(source), "--dataset", "cli"]
    done = subprocess.run(program, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.strip().endswith("NUMPY 0 {'pyarrow.compute'}")


def test_help_shows_defaults_where_there_are_any_and_no_option_that_nobody_needs() -> None:
    shown = subprocess.run([COMMAND, "deliver", "--help"], capture_output=True, text=True, check=True)
    text = " ".join(shown.stdout.replace("│", " ").split())
    for words in ("[default: /image]", "[default: true]", "webdataset-thumbnails, gallery, card; or all."):
        assert words in text
    for words in ("--empty-", '[default: ""]', "[default: ()]", "[default: None]", "Undefined"):
        assert words not in text


def test_each_command_that_help_lists_is_there() -> None:
    commands = [name for name in app if not name.startswith("-")]
    assert len(commands) == 12
    for name in commands:
        assert app[name].default_command, name


def test_what_is_to_be_put_away_at_the_end_of_the_process_is() -> None:
    """The command ends without the interpreter's tidying up, and not without that of its parts."""
    code = (
        "import atexit, sys, threading, time\n"
        "from imagehaul.cli.command import main\n"
        "threading.Thread(target=lambda: (time.sleep(0.2), print('waited for'))).start()\n"
        "sys.argv = ['imagehaul', 'no-such-command']\n"
        "status = main()\n"
        "atexit.register(print, 'put away')\n"
        "sys.exit(status)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stdout.splitlines() == ["waited for", "put away"]


@pytest.mark.parametrize(
    ("arguments", "help_of"),
    [(["no-such"], "imagehaul"), (["diff", "--no-such"], "imagehaul diff"), (["sources", "--x"], "imagehaul sources")],
)
def test_a_wrong_argument_is_answered_with_the_help_of_its_command(
    arguments: list[str], help_of: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert capsys.readouterr().err.endswith(f"See `{help_of} --help`.\n")


def test_a_switch_may_have_its_value_behind_a_space() -> None:
    assert _join_switches(["--dry-run", "--full-check", "true", "true"]) == ["--dry-run", "--full-check=true", "true"]


def test_a_secret_in_the_environment_reaches_no_repr() -> None:
    assert "hush" not in repr(AccessKey("access", "hush"))


def test_nginx_prints_a_configuration(environment: dict[str, str]) -> None:
    done = imagehaul("nginx", "--listen", "8080", environment=environment)
    assert done.returncode == 0, done.stderr
    assert "listen 8080" in done.stdout


def test_sample_writes_pictures_and_refuses_a_folder_that_is_not_empty(
    environment: dict[str, str], tmp_path: Path
) -> None:
    assert imagehaul("sample", tmp_path / "sample", environment=environment).returncode == 0
    assert (tmp_path / "sample" / "object_annotations.csv").exists()
    message = refused(imagehaul("sample", tmp_path / "sample", environment=environment), 2)
    assert str(tmp_path / "sample") in message


def test_store_runs_until_it_is_stopped(environment: dict[str, str], tmp_path: Path) -> None:
    process = subprocess.Popen(
        [COMMAND, "store", tmp_path / "store"], env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout
    assert "The object store answers at http://127.0.0.1:" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(timeout=30) == 0
