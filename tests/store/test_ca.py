from __future__ import annotations

import os
import ssl
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import trustme

from imagehaul.errors import SettingsError
from imagehaul.records import ObjectOptions
from imagehaul.store.ca import authority_file, checked_pem
from imagehaul.store.credentials import AccessKey
from imagehaul.store.endpoint import Store
from imagehaul.store.retry import StallMonitor
from imagehaul.transfer.boto3_engine import Boto3Sender
from tests.support.answering import Answer, Answering
from tests.support.sending import outcomes, uploads_of


@pytest.fixture(scope="module")
def pem() -> str:
    return trustme.CA().cert_pem.bytes().decode()


def certificates_in(file: str) -> int:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(file)
    return len(context.get_ca_certs())


def test_pem_text_becomes_one_file_that_only_we_can_read(pem: str) -> None:
    file = authority_file(pem)
    assert Path(file).stat().st_mode & 0o777 == 0o600
    assert certificates_in(file) == 1
    assert authority_file(pem) == file


def test_the_file_is_written_again_where_it_was_cleaned_away(pem: str) -> None:
    Path(authority_file(pem)).unlink()
    assert certificates_in(authority_file(pem)) == 1


def test_blanks_around_a_path_are_not_of_it(pem: str) -> None:
    file = authority_file(pem)
    assert authority_file(f" {file}\r\n") == file


def test_the_file_goes_with_the_process(pem: str) -> None:
    program = "import sys; from imagehaul.store.ca import authority_file; print(authority_file(sys.argv[1]))"
    file = subprocess.run([sys.executable, "-c", program, pem], capture_output=True, text=True, check=True).stdout
    assert file.strip().endswith(".pem")
    assert not Path(file.strip()).exists()


@pytest.mark.parametrize(
    "change",
    [
        lambda pem: "Comment in Größe\n\n" + pem + "\nthe end",
        lambda pem: pem.replace("\n", "\r\n"),
        lambda pem: pem.strip().replace("\n", "\\n"),
        lambda pem: "\n".join(f"    {line}  " for line in pem.splitlines()),
    ],
    ids=["comments", "CRLF", "out of JSON", "indented"],
)
def test_pem_text_as_people_paste_it_is_understood(pem: str, change: object) -> None:
    assert certificates_in(authority_file(change(pem))) == 1  # type: ignore[operator]


def test_a_bundle_of_several_is_taken_whole(pem: str) -> None:
    assert certificates_in(authority_file(pem + trustme.CA().cert_pem.bytes().decode())) == 2


def test_a_path_is_used_as_it_is(pem: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "ca.pem").write_text(pem)
    assert authority_file(str(tmp_path / "ca.pem")) == str(tmp_path / "ca.pem")
    monkeypatch.chdir(tmp_path)
    assert authority_file("ca.pem") == str(tmp_path / "ca.pem")


def test_without_a_ca_the_systems_file_serves_all() -> None:
    assert certificates_in(authority_file("")) > 10
    assert authority_file("  ") == authority_file("")


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (None, r"The CA file .*ca\.pem cannot be read: No such file or directory\."),
        (b"", r"The CA file .*ca\.pem is empty\."),
        (b"\x30\x82\x01\x00", "holds no certificate in PEM form"),
        (b"<html>a login page</html>", "holds no certificate in PEM form"),
    ],
)
def test_a_ca_file_that_cannot_serve_is_named(tmp_path: Path, content: bytes | None, complaint: str) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(SettingsError, match=complaint):
        authority_file(str(file))


def test_a_folder_as_ca_is_named(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match=f"The CA file {tmp_path} is a folder"):
        authority_file(str(tmp_path))


@pytest.mark.parametrize("length", [100, 300])
def test_a_damaged_certificate_is_counted(pem: str, length: int) -> None:
    damaged = pem + pem[:length] + pem[length + 4 :]
    with pytest.raises(SettingsError, match="The CA cannot be used: certificate 2 of 2 in it is damaged"):
        authority_file(damaged)


def test_a_private_key_is_refused_and_not_repeated(pem: str) -> None:
    key = trustme.CA().private_key_pem.bytes().decode()
    with pytest.raises(SettingsError, match="holds a private key") as refused:
        checked_pem(pem + key, "The CA")
    assert key.splitlines()[1] not in str(refused.value)


def test_a_forked_child_leaves_the_file_to_its_parent(pem: str) -> None:
    file = authority_file(pem)
    child = os.fork()
    if not child:
        try:
            own = authority_file(pem)
            right = own != file and certificates_in(own) == 1
            Path(own).unlink()  # os._exit calls no atexit.
            os._exit(0 if right else 1)
        finally:
            os._exit(2)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert Path(file).exists()


def test_clients_that_are_kept_are_made_anew_where_their_file_was_cleaned_away(tmp_path: Path) -> None:
    """As by systemd-tmpfiles, under a worker that lives for weeks."""
    authority, context = trustme.CA(), ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("localhost").configure_cert(context)
    pem = authority.cert_pem.bytes().decode()
    [upload] = uploads_of(tmp_path, ["a.jpg"])
    with Answering(Answer(200, b"", {"ETag": '"0"', "Connection": "close"}), context) as server:
        store = Store(url=server.url, credentials=AccessKey("AKEXAMPLE", "a-secret-key"), ca=pem)
        sender = Boto3Sender(store, "bucket", ObjectOptions(), 1)
        kept = store.client(), store.patient_client(), store.filesystem()
        assert (store.client(), store.patient_client(), store.filesystem()) == kept
        for _ in range(2):
            sent = sender.send([upload], StallMonitor(threading.Event(), 10.0, refusals=8))
            assert outcomes(sent) == [("sent", "")]
            store.patient_client().head_object(Bucket="bucket", Key="a.jpg")
            Path(authority_file(pem)).unlink()
        assert not {*map(id, kept)} & {id(store.client()), id(store.patient_client()), id(store.filesystem())}
