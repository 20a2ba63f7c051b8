"""Whether a run may become the current one, and whether it has anything new to say."""

from __future__ import annotations

import hashlib
import json

from imagehaul.layout import MAIN_SOURCE
from imagehaul.ledger.catalog import Catalog
from imagehaul.ledger.counts import Counts
from imagehaul.ledger.inventory import OK
from imagehaul.ledger.plan import LOCAL_VERSION, Plan
from imagehaul.ledger.runs import Current
from imagehaul.settings import Settings


def refusal(
    catalog: Catalog,
    plan: Plan,
    counts: Counts,
    settings: Settings,
    allow_loss: bool,
    current: Current | None,
    source: str = MAIN_SOURCE,
) -> str:
    """Why this run must not be published, "" where it may: a failed image, or a loss that looks like an accident."""
    reasons = []
    if counts.failed and not settings.publish_partial:
        reasons.append(f"{counts.failed:,} of {counts.planned:,} images are not proven")
    if not allow_loss:
        if counts.rejected > settings.max_rejected * counts.planned:
            reasons.append(
                f"{counts.rejected:,} of {counts.planned:,} images are rejected, more than "
                f"MAX_REJECTED={settings.max_rejected:g} allows (--allow-loss accepts it)"
            )
        rejected_now, *_ = catalog.one(
            "SELECT count(*) FROM published p JOIN proven o USING (source_path) "
            "WHERE o.kind = 'image' AND o.status = 'rejected'"
        )
        shown = current.sources[source].images if current and source in current.sources else 0
        lost, published = plan.vanished + rejected_now, max(plan.published, shown)
        if plan.published < shown:
            lost += max(0, shown - plan.published - _not_in_ledger(catalog))
        if lost > settings.max_vanished * published:
            reasons.append(
                f"{lost:,} of the {published:,} published images have gone or are rejected now, more than "
                f"MAX_VANISHED={settings.max_vanished:g} allows. Is the source whole? (--allow-loss accepts it)"
            )
    if not reasons:
        return ""
    return f"{'; '.join(reasons)}. {which_is_current(current)}"


def which_is_current(current: Current | None) -> str:
    """What readers use on, where a run is not published."""
    return f"Run {current.run} is still current." if current else "No run is current yet."


def _not_in_ledger(catalog: Catalog) -> int:
    """Images of this run that the published ledger does not know: where rows of it are gone, each may be of these."""
    count, *_ = catalog.one(
        f"SELECT count(*) FROM proven WHERE kind = 'image' AND status IN {OK} "
        "AND NOT EXISTS (SELECT 1 FROM published p WHERE p.source_path = proven.source_path)"
    )
    return int(count)


_OF_QUALITY = ("quality", "near_duplicate_bits", "dark_below", "bright_above", "blur_below")


def fingerprint(catalog: Catalog, settings: Settings) -> str:
    """What an export is made from besides the rows of the ledger: the annotations, and what URLs depend on."""
    said = catalog.one(
        "SELECT count(*), coalesce(sum(hash(path, kind, text, x, y, width, height, fraction)::HUGEINT), 0) "
        "FROM annotation"
    )
    more = catalog.one(
        """
        SELECT (SELECT coalesce(sum(hash(path, metadata)::HUGEINT), 0) FROM annotation WHERE metadata <> ''),
               (SELECT coalesce(sum(hash(path, metadata)::HUGEINT), 0) FROM source WHERE metadata <> ''),
               (SELECT coalesce(sum(hash(path, split)::HUGEINT), 0) FROM image_split),
               (SELECT coalesce(sum(hash(place, name, type, exported)::HUGEINT), 0) FROM metadata_column)
        """
    )
    made_of = [
        *map(str, said),
        # Where there is nothing of the kind, the fingerprint is what it was before there could be.
        *([str(part) for part in more] if any(more) else []),
        settings.cdn_fullpath,
        *([settings.source_cdn_fullpath] if settings.originals == "in_place" else []),
        settings.serve_original_image,
        settings.box_space,
        settings.export_entities_result_bucket,
        settings.makes_thumbnails,
        settings.makes_crops,
        *settings.exports,
        *_quality_of(settings),
    ]
    return _digest(made_of)


def made_with(settings: Settings) -> str:
    """What the exports of all sources depend on, whichever of them a run delivers."""
    return _digest(
        [
            settings.cdn_fullpath,
            settings.serve_original_image,
            settings.export_entities_result_bucket,
            *settings.exports,
            *_quality_of(settings),
        ]
    )


def _quality_of(settings: Settings) -> list[str]:
    """Defaults are not named: what an older version published, which knew no measures, is still the same."""
    return [
        f"{name}={value}"
        for name in _OF_QUALITY
        if (value := getattr(settings, name)) != Settings.model_fields[name].default
    ]


def _digest(made_of: list[object]) -> str:
    return hashlib.sha256(json.dumps(made_of).encode()).hexdigest()[:32]


def says_something_new(
    catalog: Catalog, settings: Settings, made_of: str, current: Current | None, source: str
) -> bool:
    """Whether this run's rows of `source`, or the exports, would differ from what is published."""
    published = current.sources.get(source) if current else None
    if current is None or published is None or published.fingerprint != made_of:
        return True
    # Another source's run may have been the last to write the exports.
    if current.made_with not in ("", made_with(settings)):
        return True
    known, *_ = catalog.one("SELECT count(*) FROM prior WHERE regexp_matches(source_version, ?)", [LOCAL_VERSION])
    # A ledger that knows neither ctime nor inode is not written anew for them alone.
    version = "source_version" if known else r"regexp_replace(source_version, '^(\d+) \d+ \d+$', '\1')"
    compared = f"source_path, kind, key, code, etag, {version}, status = 'rejected'"
    differing, *_ = catalog.one(
        f"""
        SELECT (SELECT count(*) FROM proven WHERE status = 'delivered')
             + (SELECT count(*) FROM prior WHERE NOT published)
             + (SELECT count(*) FROM (SELECT {compared} FROM proven EXCEPT SELECT {compared} FROM prior))
             + (SELECT count(*) FROM (SELECT {compared} FROM prior EXCEPT SELECT {compared} FROM proven))
        """
    )
    return bool(differing)


def size_mismatches(catalog: Catalog, settings: Settings) -> tuple[int, str]:
    """Images whose annotations were made on a picture of another size: how many, and an example."""
    turned = f"{str(settings.box_space == 'stored').upper()} AND i.orientation >= 5"
    count, example = catalog.one(
        f"""
        SELECT count(*), coalesce(min(path || ': annotated as ' || said_width || ' x ' || said_height || ', and it is '
                                      || width || ' x ' || height), '')
        FROM (
            SELECT a.path, any_value(a.image_width) AS said_width, any_value(a.image_height) AS said_height,
                   any_value(CASE WHEN {turned} THEN i.height ELSE i.width END) AS width,
                   any_value(CASE WHEN {turned} THEN i.width ELSE i.height END) AS height
            FROM annotation a JOIN proven i ON i.source_path = a.path AND i.kind = 'image' AND i.width > 0
            WHERE a.image_width > 0 AND a.image_height > 0 GROUP BY a.path
        ) WHERE said_width <> width OR said_height <> height
        """
    )
    return int(count), str(example)
