"""The store that a source lies in: the target's, or another one with its own URL, region, keys and CA."""

from __future__ import annotations

from dataclasses import replace

from imagehaul.bucket_terms import BucketTerms
from imagehaul.records import SourceOptions
from imagehaul.store.credentials import ProfileKeys
from imagehaul.store.endpoint import Store
from imagehaul.store.reference import StoreReference
from imagehaul.store.resolving import resolve_store


def source_store(options: SourceOptions, target: Store) -> Store:
    """By its block where one is named; else the target's, but for what the SOURCE_ settings say otherwise.

    Made anew in each process, so that no key travels. Raises SettingsError: the block is not there, or cannot be used.
    """
    elsewhere = BucketTerms(target.terms.request_payer)  # A bucket of the same name has another owner there.
    if options.source_store:
        return resolve_store(StoreReference("block", options.source_store, elsewhere))
    said = (
        options.source_object_store_url,
        options.source_aws_profile,
        options.source_aws_region,
        options.source_ca_bundle,
    )
    if not any(said):
        return target
    return replace(
        target,
        url=options.source_object_store_url or target.url,
        region=options.source_aws_region or target.region,
        credentials=ProfileKeys(options.source_aws_profile) if options.source_aws_profile else target.credentials,
        ca=options.source_ca_bundle or target.ca,
        reference=None,
        terms=elsewhere if options.source_object_store_url else target.terms,
    )
