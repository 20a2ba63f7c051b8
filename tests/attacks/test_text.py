"""Text that bites: names and labels of others are shown harmlessly wherever somebody looks, and exported unchanged."""

from __future__ import annotations

import csv
import io
import os
import pty
import re
import subprocess
import time
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from markdown_it import MarkdownIt
from rich.console import Console

from imagehaul.cli.terminal import print_summary
from imagehaul.flows.artifacts import summary_markdown
from imagehaul.markdown import cell
from imagehaul.settings import Settings
from imagehaul.store.endpoint import Store
from tests.support.commanding import COMMAND
from tests.support.delivering import Target, draw

BITING = (
    "<img src=x onerror=alert(1)>", "<script>alert(1)<", "<!-- -->", "&lt;b&gt;", "\" onmouseover=\"alert(1)",
    "=cmd|' C calc'!A0", "=1+1", "+1+1", "-1+1", "@SUM(1)", "\t=1+1",
    "\x1b[31mred\x1b[0m", "\x1b]0;title\x07", "\x1b]8;;http:evil\x1b\\link", "\x9b31m", "back\x08\x08space", "bell\x07",
    "line\nimagehaul: all is well", "return\rimagehaul: all is well", "line\u2028separator",
    "[link](javascript:alert(1))", "![picture](http:evil)", "| a | cell |", "# heading", "`code`", "*bold*", "~~gone~~",
    "http:evil", "www.evil.example", "[red]not red[", "[bold", "[link=http:evil]", ":bomb:", "[[x]]", "$x^2$",
    "{{7*7}}", "{% x %}", "${jndi:ldap:x}", "%s%n%x", "{0}", "\u202egpj.exe", "\u2066hidden\u2069", "a\ufeffb",
    "\U000e0041tag",
    "[/bold]", "[/]", "</td></tr></table>",
)  # fmt: skip
SHOWN = {"h1", "h2", "p", "table", "thead", "tbody", "tr", "th", "td", "ul", "li"}


def broken(folder: Path) -> list[str]:
    """A file that is no picture under each name; a `/` in one makes a folder."""
    names = [f"{text}.jpg" for text in BITING]
    for name in names:
        file = folder / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("no picture")
    return names


def label_all(folder: Path, name: str) -> None:
    with (folder / "object_annotations.csv").open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["filename", "col_x", "row_y", "width", "height", "label"])
        for number, text in enumerate(BITING):
            rows.writerow([name, 10 + number, 20, 40, 40, text])
            rows.writerow([f"{text} is not here.jpg", 1, 1, 5, 5, text])


class Tags(HTMLParser):
    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        self.text += data


def rendered(markdown: str) -> Tags:
    """As a careless UI would show it, with HTML switched on."""
    return Tags(MarkdownIt("commonmark", {"html": True}).enable(["table", "strikethrough"]).render(markdown))


def harmless(shown: str) -> bool:
    """No escape but those that set a colour of our own, no other control character, nothing that turns the writing."""
    plain = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
    return not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\u202a-\u202e\u2028\u2066-\u2069\ufeff\U000e0041]", plain)


def test_names_are_shown_harmlessly_by_terminal_and_artifacts(target: Target, tmp_path: Path) -> None:
    source = tmp_path / "[/bold] \x1b]0;title\x07 <b>"
    names = broken(source)
    draw(source / "good.jpg")
    label_all(source, "good.jpg")
    asked = {"save_thumbnails_method": "both", "exports": ("card",)}
    summary = target.deliver(source, settings=asked, allow_loss=True)
    card = rendered(target.read(f"exports/{summary.run}/card.md").decode())
    assert set(card.tags) <= SHOWN
    assert harmless(card.text)
    assert all(text in card.text for text in BITING if text.isprintable()), "The labels, as they are."
    assert {problem.path for problem in summary.problems if problem.kind == "image"} == set(names)
    [reason] = [reason for reason in summary.reasons if reason.code == "UNDECODABLE"]
    settings = Settings(remote_save="s3://bucket/", exclude=("<b>|x", "[/]"))
    for problem in summary.problems:
        one = replace(summary, reasons=(replace(reason, example=problem.path, message=problem.path),))
        out = io.StringIO()
        print_summary(one, Console(file=out, force_terminal=True, width=2000, color_system="truecolor"))
        assert harmless(out.getvalue()), problem.path
        assert "imagehaul: all is well" not in [line.strip() for line in out.getvalue().splitlines()]
        assert "\x1b]" not in out.getvalue()
        assert "\x1b[31mred" not in out.getvalue()
        if problem.path.isprintable():
            assert problem.path in re.sub(r"\x1b\[[0-9;]*m", "", out.getvalue()), "As it is, and not interpreted."
        seen = rendered(summary_markdown(one, settings))
        assert set(seen.tags) <= SHOWN, problem.path
        alone = rendered(cell(problem.path))
        assert set(alone.tags) <= {"p"}, problem.path
        assert harmless(alone.text)
    for line in (*target.lines.said, *target.lines.warned):
        # What these show is what a log shows: see the terminal below.
        assert "Traceback" not in line


def test_labels_and_names_are_exported_as_they_are(target: Target, tmp_path: Path) -> None:
    texts = [text for text in BITING if "\\" not in text]  # which this store would rewrite
    for number, text in enumerate(texts):
        draw(tmp_path / "source" / f"{text}.jpg", seed=number)
    label_all(tmp_path / "source", f"{BITING[0]}.jpg")
    target.deliver(tmp_path / "source", settings={"save_thumbnails_method": "both"})
    names = {f"{text}.jpg" for text in texts}
    document = target.metadata()
    assert {item["file_path"] for item in document["media_items"]} == names
    uri = target.current()["exports"]["parquet"]
    rows = pq.read_table(io.BytesIO(target.read(uri.partition(target.root)[2]))).to_pylist()
    labels = {value for row in rows for key, value in row.items() if key == "label" and value}
    assert {text.strip() for text in labels} == {text.strip() for text in BITING}
    for row in rows:
        for column, value in row.items():
            if column.endswith("url") and value:
                assert re.fullmatch(r"[/A-Za-z0-9._~%-]+", value), value
    for row in target.ledger():
        assert row["status"] == "delivered"


@pytest.mark.parametrize(
    ("terminal", "json"),
    [
        (True, False),
        (False, True),
        pytest.param(True, True, marks=pytest.mark.attack),
        pytest.param(False, False, marks=pytest.mark.attack),
    ],
)
def test_the_command_says_it_harmlessly(terminal: bool, json: bool, store: Store, bucket: str, tmp_path: Path) -> None:
    source = tmp_path / "[/bold] \x1b]0;title\x07 <b>"
    broken(source)
    draw(source / "good.jpg")
    draw(source / "GOOD\x1b[31m.jpg")
    draw(source / "good\x1b[31m.jpg")
    label_all(source, "good.jpg")
    keys = store.keys()
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [COMMAND, "deliver", source, "--dataset", "text", *(["--json"] if json else [])],
        env={
            "PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm-256color", "COLUMNS": "400",
            "OBJECT_STORE_URL": store.url, "REMOTE_SAVE": f"s3://{bucket}/pre/",
            "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
        },
        stdout=theirs if terminal else subprocess.PIPE, stderr=theirs if terminal else subprocess.STDOUT,
    )  # fmt: skip
    os.close(theirs)
    said = b""
    deadline = time.monotonic() + 100
    while time.monotonic() < deadline:
        try:
            data = os.read(ours, 65536) if terminal else process.communicate(timeout=100)[0]
        except OSError:
            break  # Linux says EIO where the other end is closed
        said += data
        if not (data and terminal):
            break
    os.close(ours)
    shown = said.decode()
    assert process.wait(30) == 1, shown
    assert "Traceback" not in shown
    assert "MAX_REJECTED" in shown
    for bite in ("\x1b]0;title", "\x1b]8;;", "\x1b[31mred", "\x1b[31m.jpg", "\x9b31m"):
        assert bite not in shown
    assert harmless(shown.replace("\x1b[?25l", "").replace("\x1b[?25h", ""))
    lines = [line.strip() for line in re.split("[\r\n]", shown)]
    assert "imagehaul: all is well" not in "\n".join(line[:25] for line in lines)


@pytest.mark.parametrize(
    "json", [False, pytest.param(True, marks=pytest.mark.attack)], ids=["for people", "for programs"]
)
def test_verify_diff_restore_and_prune_say_it_harmlessly(json: bool, target: Target, tmp_path: Path) -> None:
    """Every name that bites is missing, and another one of the kind is extra."""
    texts = [text for text in BITING if "\\" not in text]  # which this store would rewrite
    for number, text in enumerate(texts):
        draw(tmp_path / "source" / f"{text}.jpg", size=(32, 24), seed=number)
    plain = {"skip_image_thumbnail_generation": True}
    first = target.deliver(tmp_path / "source", settings=plain)
    draw(tmp_path / "source" / "one more.jpg")
    target.deliver(tmp_path / "source", settings=plain)
    client = target.store.client()
    for text in texts:
        client.delete_object(Bucket=target.bucket, Key=f"{target.root}images/{text}.jpg")
        client.put_object(Bucket=target.bucket, Key=f"{target.root}images/extra {text}.jpg", Body=b"?")
    keys = target.store.keys()
    shown = ""
    for command in ("verify", "diff", f"restore {first.run}", "prune --keep 1"):
        name, *options = command.split()
        done = subprocess.run(
            [COMMAND, name, "--dataset", "set", *options, *(["--json"] if json else [])],
            env={
                "PATH": os.environ["PATH"], "HOME": str(tmp_path), "COLUMNS": "400",
                "OBJECT_STORE_URL": target.store.url, "REMOTE_SAVE": f"s3://{target.bucket}/pre/",
                "AWS_ACCESS_KEY_ID": keys.access_key, "AWS_SECRET_ACCESS_KEY": keys.secret_key,
            },
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert done.returncode == (1 if name in ("verify", "restore") else 0), done.stderr
        shown += done.stdout + done.stderr
    assert re.search(rf'missing"?:? +{len(texts)}\b', shown)
    assert "=1+1" in shown, "Names are shown."
    assert "Traceback" not in shown
    assert "\x1b" not in shown
    assert harmless(shown)
    assert not [line for line in re.split("[\r\n]", shown) if line.strip().startswith("imagehaul: all is well")]


def test_an_error_says_it_harmlessly(tmp_path: Path) -> None:
    folder = tmp_path / "\x1b]0;title\x07"
    folder.mkdir()
    done = subprocess.run(
        [COMMAND, "deliver", tmp_path, "--dataset", "text", "--config", folder / "no.json"],
        env={"PATH": os.environ["PATH"], "HOME": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert "title" in done.stderr
    assert harmless(done.stderr)
    assert "\x1b" not in done.stderr
