"""What earlier runs pointed readers at, as their reports in the store say."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING, Any

from imagehaul.errors import SettingsError, StoreError
from imagehaul.layout import RUN_NAME, Layout
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.runs import Current, read_current, sources_of
from imagehaul.store.errors import is_missing
from imagehaul.store.listing import list_objects

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client


_NAMED = 5
"""How many runs a message names."""
_SOURCE_STORE = (
    "source_store",
    "source_object_store_url",
    "source_aws_profile",
    "source_aws_region",
    "source_ca_bundle",
)


def current_publication(client: S3Client, layout: Layout) -> Current:
    """Raises StoreError where nothing was published yet, or what is there is not ours."""
    current = read_current(client, layout)
    if current is None:
        raise StoreError(
            f"The data set {layout.dataset!r} was never published: {layout.uri(layout.current)} is not there.\n"
            "Correct the data set's name or REMOTE_SAVE, or deliver it first."
        )
    return current


def current_gallery(client: S3Client, layout: Layout) -> str:
    """URI of the page of the run that readers use. Raises StoreError as above, SettingsError where there is none."""
    exports = current_publication(client, layout).exports
    if "gallery" not in exports:
        raise SettingsError(
            f"The current run of {layout.dataset} has no gallery.\n"
            "Deliver it again with EXPORTS=gallery: no image is sent for that."
        )
    return exports["gallery"]


def need_source(layout: Layout, name: str, current: Current) -> None:
    """Raises `SettingsError` where the data set has no source of that name."""
    if name not in current.sources:
        there = ", ".join(sorted(current.sources))
        raise SettingsError(f"The data set {layout.dataset!r} has no source {name!r}. It has {there}.")


def publication(client: S3Client, layout: Layout, run: str, current: Current) -> Current:
    """What readers used after that run: where it changed nothing, what an earlier one had published.

    Raises SettingsError where there is no such run, or it was not published; StoreError for a report that is not ours.
    """
    if run == current.run:
        return current
    report = _report(client, layout, run) if RUN_NAME.fullmatch(run) else None
    if report is None:
        raise SettingsError(
            f"The data set {layout.dataset!r} has no run {run!r}. {_those_there(client, layout)} `imagehaul prune` "
            "removes old ones."
        )
    if report["refused"] or not report["current_run"]:
        raise SettingsError(f"Run {run} was not published. {report['refused']}".strip())
    if not report["published"] and report["current_run"] != run:
        return publication(client, layout, report["current_run"], current)
    return _published(report)


def previous_publication(client: S3Client, layout: Layout, current: Current) -> Current:
    """What readers used before: the run that the current one replaced, which may have been restored, or else the newest
    other one. Raises SettingsError where there is none."""
    for run in _run_names(client, layout):
        report = _report(client, layout, run)
        if run == current.run and report:
            report = _report(client, layout, str(report.get("replaced") or run))
        if report and report["published"] and report["run"] != current.run:
            return _published(report)
    raise SettingsError(
        f"Run {current.run} is the only publication of {layout.dataset!r} that is left, so that there is none to "
        "compare it with."
    )


def settings_of(client: S3Client, layout: Layout, run: str) -> dict[str, Any]:
    """The settings that a run was made with, by name, as its report has them; {} where the report is gone."""
    report = _report(client, layout, run)
    return dict(report.get("settings") or {}) if report else {}


def source_store_of(client: S3Client, layout: Layout, run: str) -> dict[str, Any]:
    """How a run reached the store of its source, as fields of `SourceOptions`; {} where its report is gone."""
    report = _report(client, layout, run)
    if report is None:
        return {}
    said = {**(report.get("settings") or {}), **(report.get("request") or {})}
    return {name: str(said.get(name) or "") for name in _SOURCE_STORE}


def _run_names(client: S3Client, layout: Layout) -> list[str]:
    """Those whose report is there, the newest first. SeaweedFS lists the folders of removed runs for a while."""
    keys = (item.key for item in list_objects(client, layout.bucket, layout.runs))
    runs = ((key, key.removeprefix(layout.runs).partition("/")[0]) for key in keys)
    return sorted((run for key, run in runs if RUN_NAME.fullmatch(run) and key == layout.report(run)), reverse=True)


def _those_there(client: S3Client, layout: Layout) -> str:
    names = _run_names(client, layout)
    older = f" and {len(names) - _NAMED:,} older ones" if len(names) > _NAMED else ""
    return f"It has {', '.join(names[:_NAMED])}{older}." if names else "It has none."


def _report(client: S3Client, layout: Layout, run: str) -> dict[str, Any] | None:
    """None where there is none."""
    import orjson

    try:
        body = client.get_object(Bucket=layout.bucket, Key=layout.report(run))["Body"].read()
    except client.exceptions.ClientError as error:
        if is_missing(error):
            return None
        raise
    try:
        said: dict[str, Any] = orjson.loads(body)
        texts = [said[name] for name in ("run", "ledger", "export", "refused", "current_run")]
        texts += said.get("exports", {}).values()
        if not all(isinstance(text, str) for text in texts) or not isinstance(said["published"], bool):
            raise TypeError
        sources_of({"run": "", "counts": {}, "fingerprint": "", "time": "", **said.get("publication", {})})
    except (orjson.JSONDecodeError, KeyError, TypeError, ValueError, AttributeError) as error:
        raise StoreError(
            f"{layout.uri(layout.report(run))} is not a report that imagehaul wrote.\n"
            "Name another run, or remove that object."
        ) from error
    return said


def _published(report: dict[str, Any]) -> Current:
    # Before 0.2 a report named the folder of its two exports alone, and no fingerprint: the next delivery publishes.
    always = {kind: f"{report['export']}metadata.{kind}" for kind in ("json", "parquet")}
    counts = {field.name: int(report.get(field.name, 0)) for field in fields(Counts)}
    said = {"run": report["run"], "counts": counts, "fingerprint": report.get("fingerprint", ""), "time": ""}
    return Current(
        run=report["run"],
        ledger=report["ledger"],
        exports=dict(report.get("exports") or always),
        fingerprint=str(report.get("fingerprint", "")),
        counts=counts,
        sources=sources_of({**said, **report.get("publication", {})}),
        made_with=str(report.get("publication", {}).get("made_with", "")),
    )
