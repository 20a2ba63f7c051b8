"""Everything that can go wrong, named once.

    HaulError                  a message that the user reads; exit status 1
    ├── SettingsError          a flag, a file of settings or the usage; exit status 2
    ├── SourceError            the source as a whole cannot be read or must not be used
    ├── AnnotationError        an annotation file that does not say what it should
    ├── StoreError             the store, its keys or its bucket: nothing more can be sent
    └── LockedError            another run holds the data set
        └── HeldError          … already when this one begins

What goes wrong with one image or one object is no exception: it is a `Code`, in that object's row of
the ledger.
"""

from __future__ import annotations

from enum import Flag, StrEnum, auto
from typing import Any, Literal


class HaulError(Exception):
    """Ends the command with one to three lines for the user: what, which, why, what to do."""

    exit_status = 1


class SettingsError(HaulError):
    exit_status = 2


class SourceError(HaulError):
    pass


class AnnotationError(HaulError):
    pass


class StoreError(HaulError):
    """`code`: the reason that the rows carry that were not attempted."""

    def __init__(self, message: str, code: Code | None = None) -> None:
        super().__init__(message)
        self.code = code or Code.STORE_UNAVAILABLE


class LockedError(HaulError):
    pass


class HeldError(LockedError):
    """Another run holds the data set, and this one was not to wait: nothing was done."""


class Trait(Flag):
    """What follows from a code, decided here and nowhere else."""

    OF_FILE = auto()
    """The reason lies in this one file, its name or its annotation: it is rejected. Without it, what should have been
    sent was not, and is failed."""
    RETRYABLE = auto()
    """The same file, unchanged, may succeed in a later run."""
    TRANSIENT = auto()
    """The same request may succeed in a moment."""
    STOPS_RUN = auto()
    """Nothing more can be sent to this store, or read from it."""
    BYTES_DELIVERABLE = auto()
    """There is no picture, and DELIVER_UNDECODABLE sends the file as it is."""
    SENT_ANYWAY = auto()
    """The image is sent all the same: the code says what there is to know of it, or what is not made of it."""
    NOTHING_SENT = auto()
    """It went wrong before anything was sent. After any other failure the store may have the object all the same."""
    UNSEEN = auto()
    """The source could not be looked at: what is known of it from before still holds."""


OF_FILE, RETRYABLE, TRANSIENT, STOPS_RUN, BYTES_DELIVERABLE, SENT_ANYWAY, NOTHING_SENT, UNSEEN = Trait


class Code(StrEnum):
    """Each code that a row of the ledger can carry. Its value there is its name."""

    meaning: str
    advice: str
    traits: Trait

    def __new__(cls, value: str, meaning: str, advice: str, traits: Trait) -> Code:
        code = str.__new__(cls, value)
        code._value_ = value
        code.meaning, code.advice, code.traits = meaning, advice, traits
        return code

    @staticmethod
    def _generate_next_value_(name: str, start: int, count: int, last_values: list[Any]) -> str:
        return name

    # The name of a source entry.
    NAME_NOT_UTF8 = (
        auto(),
        "The file's name is not UTF-8, and a key in an object store must be.",
        "Rename the file.",
        OF_FILE,
    )
    NAME_UNSUPPORTED = (
        auto(),
        "A part of the path is empty, '.' or '..': browsers and HTTP clients rewrite such URLs.",
        "Rename it in the source; a row of a list can give it another name in a column key.",
        OF_FILE,
    )
    KEY_TOO_LONG = (
        auto(),
        "The key is longer than this store allows (1,024 bytes; some allow 255 between two slashes).",
        "Shorten the path, REMOTE_SAVE or the data set's name.",
        OF_FILE,
    )
    KEY_REWRITTEN = (
        auto(),
        "This store keeps another name than the one it was given (a backslash becomes a slash).",
        "Rename the file, or use a store that keeps names.",
        OF_FILE,
    )
    # The source entry itself.
    LINK_DANGLING = (
        auto(),
        "A symbolic link whose target is not there.",
        "Restore the target or remove the link.",
        OF_FILE | RETRYABLE,
    )
    LINK_OUTSIDE = (
        auto(),
        "A symbolic link that leads out of the source.",
        "Allow it with FOLLOW_LINKS, or copy the file.",
        OF_FILE | RETRYABLE,
    )
    LINK_CYCLE = (auto(), "A symbolic link that leads back to itself.", "Remove the link.", OF_FILE | RETRYABLE)
    PATH_TOO_LONG = (
        auto(),
        "The path is longer than this system can open (4,095 bytes on Linux); of a folder, nothing in it is delivered.",
        "Name a source folder that lies deeper, or shorten the names on the way.",
        OF_FILE | RETRYABLE,
    )
    NOT_A_FILE = auto(), "A socket, pipe or device with an image's suffix.", "Remove or rename it.", OF_FILE
    SOURCE_MISSING = (
        auto(),
        "The row leads nowhere: no such file, object or page.",
        "Correct the row, or restore what it names.",
        OF_FILE | RETRYABLE,
    )
    URL_UNSUPPORTED = (
        auto(),
        "The row is no path, no s3:// URI and no http(s) URL that can be used.",
        "Correct the row.",
        OF_FILE,
    )
    HOST_UNREACHABLE = (
        auto(),
        "The web server cannot be reached, or breaks off.",
        "Check the host's name and the network; run again.",
        RETRYABLE | NOTHING_SENT | UNSEEN,
    )
    HOST_BUSY = (
        auto(),
        "The web server refuses for now, after all attempts.",
        "Run again later.",
        RETRYABLE | NOTHING_SENT | UNSEEN,
    )
    HOST_REFUSED = (
        auto(),
        "The web server answers, but not with the picture.",
        "Open the URL in a browser. Correct it, sign it anew, or put a user and a password into it.",
        OF_FILE | RETRYABLE,
    )
    ADDRESS_REFUSED = (
        auto(),
        "The host is an address of an inner network.",
        "Where you trust the list, allow it with ALLOW_PRIVATE_ADDRESSES=true.",
        OF_FILE | RETRYABLE,
    )
    REDIRECT_REFUSED = (
        auto(),
        "The web server redirects to where it must not or cannot be followed.",
        "Name the picture's own address.",
        OF_FILE | RETRYABLE,
    )
    TOO_LARGE = (auto(), "The file is larger than 2 GiB.", "Deliver it from a folder or a store.", OF_FILE)
    ARCHIVE_LINK = auto(), "A link in an archive, which is not followed.", "Pack the file that it leads to.", OF_FILE
    ARCHIVE_METHOD = (
        auto(),
        "A member of an archive that is packed in a way that cannot be read.",
        "Pack it with deflate, or not at all.",
        OF_FILE,
    )
    ARCHIVE_BOMB = (
        auto(),
        "A member of an archive that unpacks to far more than a picture is.",
        "Look at the file: it may be hostile.",
        OF_FILE,
    )
    ARCHIVE_DAMAGED = (auto(), "A member of an archive that is damaged.", "Restore the archive.", OF_FILE)
    ENCRYPTED = (auto(), "A member of an archive that is encrypted.", "Pack it without a password.", OF_FILE)
    DUPLICATE_NAME = (
        auto(),
        "Several members of the archive have this name, and none is delivered.",
        "Rename all but one.",
        OF_FILE,
    )
    UNREADABLE = (
        auto(),
        "The file could not be read.",
        "Grant read permission, or check the disk or the mount.",
        OF_FILE | RETRYABLE,
    )
    SOURCE_ARCHIVED = (
        auto(),
        "The source's object lies in an archive, such as Glacier, and cannot be read.",
        "Restore it (aws s3api restore-object), and run again.",
        OF_FILE | RETRYABLE,
    )
    SOURCE_CHANGED = (
        auto(),
        "The file changed while the run worked.",
        "Run again when nobody writes to the source.",
        RETRYABLE | NOTHING_SENT,
    )
    SOURCE_GONE = (auto(), "The file went away while the run worked.", "Run again.", RETRYABLE | NOTHING_SENT)
    MACHINE_BUSY = auto(), "This machine has no file handles or memory left.", "Raise ulimit -n.", RETRYABLE | TRANSIENT
    # The picture.
    EMPTY = auto(), "The file has no bytes.", "Restore the file.", OF_FILE | BYTES_DELIVERABLE
    UNDECODABLE = (
        auto(),
        "No picture that can be decoded: broken, truncated or not an image.",
        "Restore the file, or send it as it is with DELIVER_UNDECODABLE.",
        OF_FILE | BYTES_DELIVERABLE,
    )
    COMPRESSED = auto(), "The whole file is compressed by gzip.", "Store it uncompressed.", OF_FILE | BYTES_DELIVERABLE
    DECODER_MISSING = (
        auto(),
        "The decoder of this format is not installed.",
        "Install the package that the message names.",
        OF_FILE | RETRYABLE | BYTES_DELIVERABLE,
    )
    DECODER_CRASHED = (
        auto(),
        "The decoder died on this picture.",
        "Look at the file: it may be hostile.",
        OF_FILE | BYTES_DELIVERABLE,
    )
    RENDERING_FAILED = (
        auto(),
        "The rendering process ended for a reason of its own, which is no fault of the picture.",
        "Run again. If it stays, report it with the message.",
        RETRYABLE,
    )
    TIME_LIMIT = (
        auto(),
        "Work on the picture took longer than PICTURE_SECONDS, twice.",
        "Raise PICTURE_SECONDS.",
        OF_FILE | RETRYABLE | BYTES_DELIVERABLE,
    )
    MEMORY_LIMIT = (
        auto(),
        "Work on the picture needed more memory than PICTURE_MEMORY.",
        "Raise PICTURE_MEMORY.",
        OF_FILE | RETRYABLE | BYTES_DELIVERABLE,
    )
    PIXEL_LIMIT = (
        auto(),
        "More pixels than PIXEL_LIMIT: delivered, but no thumbnail or crop is made of it.",
        "Raise PIXEL_LIMIT.",
        OF_FILE | SENT_ANYWAY,
    )
    FORMAT_UNSUPPORTED = (
        auto(),
        "A whole file of a kind that no decoder here reads: delivered, but no thumbnail or crop is made of it.",
        "Nothing is wrong with the file. For TIFF install imagehaul[tiff], and run with --rerun all.",
        OF_FILE | SENT_ANYWAY,
    )
    END_MISSING = (
        auto(),
        "A JPEG that lacks its end marker and nothing else: delivered, with all that is made of it.",
        "Nothing has to be done. Whatever wrote the file did not finish it.",
        OF_FILE | SENT_ANYWAY,
    )
    # A box.
    BOX_EMPTY = auto(), "The box has no area.", "Correct the annotation.", OF_FILE
    BOX_OUTSIDE = auto(), "The box lies outside the picture.", "Correct the annotation, or BOX_SPACE.", OF_FILE
    BOX_NOT_A_NUMBER = (auto(), "A coordinate of the box is not a finite number.", "Correct the annotation.", OF_FILE)
    # The store, for one object.
    STORE_REFUSED = (auto(), "The store refused this object.", "Read the store's own words in the message.", OF_FILE)
    STORE_BUSY = (
        auto(),
        "The store did not take the object, after all attempts.",
        "Run again: only what is missing is sent.",
        RETRYABLE | TRANSIENT,
    )
    NO_REPORT = (
        auto(),
        "The sender ended without a word on this object.",
        "Run again: only what is missing is sent.",
        RETRYABLE,
    )
    NOT_PROVEN = (
        auto(),
        "The object is not in the store's listing, or has other bytes there.",
        "Run again; if it stays, the store changes or loses objects.",
        RETRYABLE,
    )
    RENDITION_FAILED = (
        auto(),
        "A thumbnail or crop of the image was not delivered; its own row says why.",
        "Run again.",
        RETRYABLE,
    )
    WORKER_LOST = (
        auto(),
        "Worker after worker ended while it worked on the image's batch.",
        "Look at the workers' own logs: memory, perhaps. Run again: only what is missing is sent.",
        RETRYABLE,
    )
    DISK_FULL = (
        auto(),
        "No room on the scratch disk.",
        "Free room, or name another SCRATCH folder.",
        RETRYABLE | NOTHING_SENT,
    )
    SCRATCH_UNWRITABLE = (
        auto(),
        "A file could not be written to the scratch folder.",
        "Look at the folder, or name another as SCRATCH.",
        RETRYABLE | NOTHING_SENT,
    )
    # The store, for the whole run.
    ACCESS_DENIED = (
        auto(),
        "The store refuses these keys, for everything or for this object.",
        "Correct the keys or their permissions.",
        RETRYABLE | STOPS_RUN,
    )
    CREDENTIALS_EXPIRED = (auto(), "The keys have expired.", "Renew the keys and run again.", RETRYABLE | STOPS_RUN)
    BUCKET_MISSING = (
        auto(),
        "The bucket is not there.",
        "Create the bucket, or correct its name.",
        RETRYABLE | STOPS_RUN,
    )
    WRONG_REGION = (
        auto(),
        "The bucket is in another region than the store is set to.",
        "Set the bucket's region: AWS_REGION, or the block's field.",
        RETRYABLE | STOPS_RUN,
    )
    CLOCK_SKEWED = (
        auto(),
        "This machine's clock and the store's differ too much.",
        "Set the clock, and run again.",
        RETRYABLE | STOPS_RUN,
    )
    STORE_FULL = (
        auto(),
        "The store or the bucket has no room left.",
        "Make room or raise the quota, and run again.",
        RETRYABLE | STOPS_RUN,
    )
    CERTIFICATE = (
        auto(),
        "The store's certificate is not trusted.",
        "Give the store's CA: AWS_CA_BUNDLE, or the block's field.",
        RETRYABLE | STOPS_RUN,
    )
    STORE_UNAVAILABLE = (
        auto(),
        "The store cannot be reached or does not answer.",
        "Check the URL and the network; run again.",
        RETRYABLE | TRANSIENT,
    )
    HELD_BACK = (
        auto(),
        "New, and --rerun failed sends nothing new.",
        "Run again without --rerun failed.",
        RETRYABLE | NOTHING_SENT,
    )
    NOT_ATTEMPTED = (auto(), "The run was stopped before this image's turn.", "Run again.", RETRYABLE | NOTHING_SENT)

    @classmethod
    def named(cls, text: str) -> Code | None:
        """None for "", and for a code that a newer imagehaul wrote."""
        return cls.__members__.get(text)

    @classmethod
    def all_with(cls, trait: Trait) -> list[str]:
        return [code.value for code in cls if trait in code.traits]

    @property
    def status(self) -> Literal["rejected", "failed"]:
        """Of an image that is not sent for this reason."""
        return "rejected" if Trait.OF_FILE in self.traits else "failed"

    @property
    def retryable(self) -> bool:
        return Trait.RETRYABLE in self.traits
