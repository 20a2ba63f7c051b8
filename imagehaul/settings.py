"""Every flag of a delivery, as one flat model: the form in the Prefect UI, `--help` and the manual.

Field names are the flags' in lower case. Nothing is optional: "" and 0 say "not set". The model reads no
file and no environment (`imagehaul/settings_loading.py` does): what the form shows is what happens.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    field_validator,
    model_validator,
)

from imagehaul import settings_validators as checks
from imagehaul.bucket_terms import BucketTerms
from imagehaul.layout import Layout, split_s3_uri
from imagehaul.mapping import Mapping
from imagehaul.records import EngineName, ExportName, ObjectOptions, RenderOptions, SourceOptions

Text = Annotated[str, AfterValidator(checks.text)]
Globs = Annotated[tuple[str, ...], BeforeValidator(checks.globs), AfterValidator(checks.without_blanks)]
Exports = Annotated[tuple[ExportName, ...], BeforeValidator(checks.exports), checks.EXPORTS_IN_FORMS]
Share = Annotated[float, BeforeValidator(checks.share), Field(ge=0, le=1)]


def _in_order(schema: dict[str, Any]) -> None:
    """The form shows the fields in the order of this file, and not by the alphabet."""
    for position, field in enumerate(schema["properties"].values()):
        field["position"] = position


class Settings(BaseModel):
    """What a delivery does. The manual of each flag stands beside it."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        allow_inf_nan=False,
        # A value may be a URL with a password in it: the check refuses it, and must not print it.
        hide_input_in_errors=True,
        field_title_generator=lambda name, _: name.upper(),
        json_schema_extra=_in_order,
    )

    remote_save: Annotated[Text, AfterValidator(checks.target)] = Field(
        description="Where all is stored: s3://bucket/prefix/. The data set gets a folder there. Required.",
    )
    cdn_fullpath: Annotated[Text, AfterValidator(checks.url_root)] = Field(
        default="/image",
        description="Root of every exported URL: a path that begins with '/', or an http(s) URL.",
    )
    serve_original_image: bool = Field(
        default=False,
        description="The exported URL of an image is the original's, not its thumbnail's. "
        "Needs PREPROCESS_IMAGE_TRANSFER=keep_original_filename.",
    )
    preprocess_image_transfer: Literal["keep_original_filename", "media_id"] = Field(
        default="keep_original_filename",
        description="keep_original_filename: the file keeps its name. "
        "media_id: the image's id, a UUID, takes the name's place; the suffix stays.",
    )
    source_use_fullpath: bool = Field(
        default=True,
        description="Keeps the folders of the source. "
        "False: all images in one folder, and two files of one name are refused.",
    )
    preprocess_normalize_output: bool = Field(
        default=False,
        description="Stores, in place of each original, a JPEG that any browser shows: "
        "upright, sRGB, first frame. '.jpg' is appended to its name.",
    )
    skip_image_thumbnail_generation: bool = Field(
        default=False,
        description="Makes no thumbnails of whole images. Crops are made all the same.",
    )
    save_thumbnails_method: Literal["image", "crops", "both"] = Field(
        default="image",
        description="image: one thumbnail of the whole image. crops: a picture of each annotated box. both: the two.",
    )
    use_s5cmd_when_available: bool = Field(
        default=True,
        description="Sends with s5cmd where a working one is found, else with boto3. "
        "TRANSFER_ENGINE, where it names an engine, overrides this.",
    )
    export_entities_result_bucket: Annotated[Text, AfterValidator(checks.bare_bucket)] = Field(
        default="",
        description="Bucket for the exports: its bare name, without s3://. Not set: they go under REMOTE_SAVE.",
    )
    originals: Literal["copy", "in_place"] = Field(
        default="copy",
        description="in_place: originals of a source in a store stay where they are, and are indexed there; "
        "thumbnails and crops are stored as ever.",
    )
    source_cdn_fullpath: Annotated[Text, AfterValidator(checks.url_root)] = Field(
        default="/source",
        description="Root of the URLs of originals that stay in place: their key in the source's bucket follows.",
    )
    object_store_url: Annotated[Text, AfterValidator(checks.endpoint)] = Field(
        default="",
        description="Endpoint for every operation on the store, such as http://minio:9000. Not set: AWS.",
    )

    exports: Exports = Field(
        default=(),
        description="What is written beside metadata.json and metadata.parquet: formats that other tools load.",
    )
    quality: Literal["on", "off"] = Field(
        default="on",
        description="Measures each thumbnail, and names duplicates and dark, bright, blurred or odd images.",
    )
    near_duplicate_bits: int = Field(
        default=10, ge=0, le=32, description="Of the 128 bits of their hashes, how many two near duplicates differ in."
    )
    dark_below: Share = Field(default=0.08, description="An image whose mean brightness, 0 to 1, is below is dark.")
    bright_above: Share = Field(default=0.92, description="An image whose mean brightness, 0 to 1, is above is bright.")
    blur_below: Share = Field(
        default=0.15, description="An image is blurred where its sharpness by its contrast is below. docs/quality.md."
    )
    include: Globs = Field(
        default=(),
        description="Only images that match one of these globs. '*' stays within a folder, '**/' spans folders; "
        "a glob without '/' is compared with the file's name.",
    )
    exclude: Globs = Field(
        default=(),
        description="No images that match one of these globs. 'old/' leaves every folder of that name unread.",
    )
    compare: Literal["metadata", "content"] = Field(
        default="metadata",
        description="How a rerun tells changed local files. metadata: by size, times and inode. content: by all bytes.",
    )
    suffixes: Annotated[Globs, BeforeValidator(checks.words)] = Field(
        default=(),
        description="More suffixes of images, such as dng. 'none': files without a suffix are images where their "
        "first bytes say so.",
    )
    follow_links: bool = Field(
        default=False,
        description="Takes what symbolic links to places outside of the source folder lead to.",
    )
    key_prefix: Annotated[Text, AfterValidator(checks.key_prefix)] = Field(
        default="",
        description="Folder below images/, thumbnails/ and crops/ for what this source holds, so that two sources of a "
        "data set do not meet.",
    )
    archives: Literal["leave", "open"] = Field(
        default="leave",
        description="open: archives in a folder or prefix are opened; what they hold is called by the archive's path "
        "without its suffix.",
    )
    source_root: Annotated[Text, AfterValidator(checks.source_root)] = Field(
        default="",
        description="Of a list: pictures below this folder, s3:// or https:// prefix are called by their path there.",
    )
    allow_private_addresses: bool = Field(
        default=False,
        description="Lets a list's URLs lead to private and loopback addresses. Only for lists that you trust.",
    )
    source_object_store_url: Annotated[Text, AfterValidator(checks.endpoint)] = Field(
        default="", description="Endpoint of the store that the source lies in. Not set: the target's."
    )
    source_aws_profile: Text = Field(
        default="", description="Profile in ~/.aws with the keys of the source's store. Not set: the target's keys."
    )
    source_aws_region: Text = Field(default="", description="Region of the source's bucket. Not set: the target's.")
    source_ca_bundle: Annotated[Text, AfterValidator(checks.file)] = Field(
        default="", description="PEM file with the CA of the source's store or web servers. Not set: the system's."
    )
    ignore_case: bool = Field(
        default=False,
        description="Annotations may write an image's name in another case, where it is then the name of one alone.",
    )
    thumbnail_size: int = Field(
        default=256, ge=16, le=4096, description="Longest side of a thumbnail, in pixels. Nothing is enlarged."
    )
    thumbnail_format: Literal["jpeg", "webp"] = Field(
        default="jpeg",
        description="webp keeps transparency and is smaller; it takes some twenty times as long to encode.",
    )
    thumbnail_quality: int = Field(default=85, ge=1, le=100, description="Quality of thumbnails and crops, 1 to 100.")
    crop_margin: int = Field(
        default=0, ge=0, le=10_000, description="Pixels that a crop shows around its box, on each side."
    )
    box_space: Literal["upright", "stored"] = Field(
        default="upright",
        description="The picture that boxes are measured in: upright, with its EXIF rotation applied, or as stored.",
    )
    pixel_limit: int = Field(
        default=150_000_000,
        ge=1,
        description="An image with more pixels than this is delivered without thumbnail and crops.",
    )
    full_check: bool = Field(
        default=False,
        description="Decodes every image whole, to find broken ones, even where nothing is made of it.",
    )
    deliver_undecodable: bool = Field(
        default=False,
        description="Also sends files that hold no picture that can be decoded, and marks them.",
    )
    max_rejected: Share = Field(
        default=0.1,
        description="A run that rejects a larger share of the images than this, 0 to 1, is not published.",
    )
    max_vanished: Share = Field(
        default=0.1,
        description="A run in which a larger share of the published images than this, 0 to 1, has gone "
        "is not published.",
    )
    publish_partial: bool = Field(default=False, description="Publishes a run even where some images failed to arrive.")
    proof: Literal["auto", "read_back"] = Field(
        default="auto",
        description="How arrival is proven. auto: by ETag or checksum, as the store allows. "
        "read_back: each object that was sent is downloaded and compared.",
    )
    cache_control: Annotated[Text, AfterValidator(checks.header)] = Field(
        default="", description="Cache-Control of every object, such as 'public, max-age=86400'."
    )
    storage_class: Annotated[Text, AfterValidator(checks.storage_class)] = Field(
        default="", description="Storage class of every object, such as STANDARD_IA. Not set: the store's own."
    )
    sse: Literal["", "AES256", "aws:kms"] = Field(
        default="", description="Encryption by the store: AES256 or aws:kms. Not set: as the bucket says."
    )
    sse_kms_key_id: Text = Field(default="", description="Id or ARN of the KMS key. Needs SSE=aws:kms.")
    request_payer: Literal["", "requester"] = Field(
        default="",
        description="requester: these keys pay for each request, as a bucket with requester pays demands. "
        "Every request says so, to the source's store and to the target's.",
    )
    expected_bucket_owner: Annotated[Text, AfterValidator(checks.account)] = Field(
        default="",
        description="AWS account, 12 digits, that the buckets written to belong to: every request to them names it, "
        "and AWS refuses where it is another's.",
    )
    keep_source_metadata: bool = Field(
        default=True,
        description="What the store copies by itself keeps its source's Cache-Control, Content-Encoding, user metadata "
        "and tags. CACHE_CONTROL and the like win.",
    )
    batch_size: int = Field(
        default=1000, ge=1, le=1000, description="The most images in one batch; 256 MB are its other bound."
    )
    workers: int = Field(
        default=0, ge=0, le=1024, description="Processes that decode and render. 0: one for each processor core."
    )
    task_runner: Literal["processes", "dask", "ray"] = Field(
        default="processes",
        description="Where batches run. processes: on this machine. dask, ray: on the workers of a cluster.",
    )
    task_runner_address: Text = Field(
        default="",
        description="The cluster, such as tcp://scheduler:8786 or ray://head:10001. "
        "local, or not set: one that the run starts for itself. Needs TASK_RUNNER=dask or ray.",
    )
    transfer_engine: Literal["auto", "s5cmd", "boto3", "obstore"] = Field(
        default="auto",
        description="What sends the objects. auto: as USE_S5CMD_WHEN_AVAILABLE says. s5cmd, boto3, obstore: this one, "
        "whatever that says. Where it does not work, boto3.",
    )
    transfer_workers: int = Field(default=32, ge=1, le=1024, description="Objects that are sent at the same time.")
    picture_seconds: float = Field(
        default=60, ge=1, le=86_400, description="Seconds after which work on one picture is ended; it is tried twice."
    )
    picture_memory: int = Field(
        default=3072, ge=256, description="Memory, in MiB, beyond which work on one picture is ended."
    )
    scratch: Annotated[Text, AfterValidator(checks.folder)] = Field(
        default="", description="Folder for temporary files. Not set: the system's."
    )

    @property
    def makes_thumbnails(self) -> bool:
        return self.save_thumbnails_method != "crops" and not self.skip_image_thumbnail_generation

    @property
    def makes_crops(self) -> bool:
        return self.save_thumbnails_method != "image"

    @property
    def engine(self) -> EngineName:
        """The engine to try first. It is decided here alone: TRANSFER_ENGINE where it names one, else
        USE_S5CMD_WHEN_AVAILABLE. Where that engine does not work, boto3 takes its place (`transfer/engines.py`)."""
        if self.transfer_engine == "auto":
            return "s5cmd" if self.use_s5cmd_when_available else "boto3"
        return self.transfer_engine

    @property
    def original_recipe(self) -> str:
        return "original" if self.originals == "copy" else "in-place"

    def render_options(self) -> RenderOptions:
        return RenderOptions(**self._fields_of(RenderOptions))

    def object_options(self) -> ObjectOptions:
        return ObjectOptions(**self._fields_of(ObjectOptions))

    def bucket_terms(self) -> BucketTerms:
        written = (split_s3_uri(self.remote_save)[0], self.export_entities_result_bucket)
        return BucketTerms(self.request_payer, self.expected_bucket_owner, tuple(filter(None, written)))

    def source_options(self) -> SourceOptions:
        """What the request says besides, such as a list's column, is not in it."""
        return SourceOptions(**self._fields_of(SourceOptions))

    def _fields_of(self, record: type[RenderOptions | ObjectOptions | SourceOptions]) -> dict[str, Any]:
        """Each field of these records has the name of its setting, where there is one."""
        names = (field.name for field in dataclasses.fields(record))
        return {name: getattr(self, name) for name in names if name in type(self).model_fields}

    @property
    def measures(self) -> bool:
        return self.quality == "on"

    def mapping(self, layout: Layout) -> Mapping:
        return Mapping(
            layout=layout,
            transfer=self.preprocess_image_transfer,
            full_path=self.source_use_fullpath,
            normalize=self.preprocess_normalize_output,
            thumbnail_suffix=".webp" if self.thumbnail_format == "webp" else ".jpg",
            key_prefix=self.key_prefix,
        )

    @field_validator("*", mode="before")
    @classmethod
    def _from_text(cls, value: object, info: ValidationInfo) -> object:
        """Numbers and switches may be written as text, as an environment variable must write them."""
        name = info.field_name or ""
        if isinstance(value, bool) and cls.model_fields[name].annotation is not bool:
            # Python takes true for 1, and MAX_REJECTED=1 would switch a protection off.
            raise ValueError(f"takes {accepted(name)}")
        return value.strip() if isinstance(value, str) else value

    @model_validator(mode="after")
    def _make_sense_together(self) -> Self:
        if problems := "\n".join(self._contradictions()):
            raise ValueError(problems)
        return self

    def _contradictions(self) -> Iterator[str]:
        if self.serve_original_image and self.preprocess_image_transfer != "keep_original_filename":
            yield (
                "SERVE_ORIGINAL_IMAGE=true cannot go with "
                f"PREPROCESS_IMAGE_TRANSFER={self.preprocess_image_transfer}: set it to keep_original_filename."
            )
        if self.serve_original_image and self.preprocess_normalize_output:
            yield (
                "SERVE_ORIGINAL_IMAGE=true cannot go with PREPROCESS_NORMALIZE_OUTPUT=true, "
                "which stores no originals: set one of the two to false."
            )
        if self.originals == "in_place":
            changed = {
                "PREPROCESS_NORMALIZE_OUTPUT=true": self.preprocess_normalize_output,
                "PREPROCESS_IMAGE_TRANSFER=media_id": self.preprocess_image_transfer == "media_id",
                "SOURCE_USE_FULLPATH=false": not self.source_use_fullpath,
            }
            for name in (name for name, is_set in changed.items() if is_set):
                yield f"ORIGINALS=in_place cannot go with {name}, which gives originals another name or other bytes."
        if self.deliver_undecodable and self.preprocess_normalize_output:
            yield (
                "DELIVER_UNDECODABLE=true cannot go with PREPROCESS_NORMALIZE_OUTPUT=true, "
                "which stores only what it decoded: set one of the two to false."
            )
        if self.task_runner_address and self.task_runner == "processes":
            yield (
                f"TASK_RUNNER_ADDRESS={self.task_runner_address} needs TASK_RUNNER=dask or ray, and it is processes: "
                "set it, or leave the address out."
            )
        if self.sse_kms_key_id and self.sse != "aws:kms":
            yield f"SSE_KMS_KEY_ID={self.sse_kms_key_id} needs SSE=aws:kms, and it is {self.sse!r}: set it."


def accepted(name: str) -> str:
    """What the setting takes, in words."""
    field = Settings.model_fields[name]
    if choices := get_args(field.annotation):
        if choices[-1] is Ellipsis:
            names = get_args(choices[0])
            return f"a list of {', '.join(names)}; or all" if names else "a list of globs"
        return " or ".join(filter(None, choices))
    if field.annotation is bool:
        return "true or false"
    if field.annotation is str:
        return "text"
    limits = {key: getattr(item, key) for item in field.metadata for key in ("ge", "le") if hasattr(item, key)}
    bounds = f"from {limits['ge']}" + (f" to {limits['le']}" if "le" in limits else " on")
    if field.annotation is int:
        return f"a whole number {bounds}"
    return f"a number {bounds}" + (", or a share such as 10%" if limits["le"] == 1 else "")
