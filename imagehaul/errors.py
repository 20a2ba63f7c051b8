"""Everything that can go wrong, named once.

    HaulError                  a message that the user reads; exit status 1
    ├── SettingsError          a flag, a file of settings or the usage; exit status 2
    ├── SourceError            the source as a whole cannot be read or must not be used
    ├── AnnotationError        an annotation file that does not say what it should
    ├── StoreError             the store, its keys or its bucket: nothing more can be sent
    └── LockedError            another run holds the data set

What goes wrong with one image or one object is no exception: it is a code of `CODES`, in that
object's row of the ledger.
"""

from __future__ import annotations

from dataclasses import dataclass


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
    """`code` is one of `CODES`, so that the rows that were not attempted can carry the reason."""

    def __init__(self, message: str, code: str = "STORE_UNAVAILABLE") -> None:
        super().__init__(message)
        self.code = code


class LockedError(HaulError):
    pass


@dataclass(frozen=True, slots=True)
class Code:
    """`retryable`: the same file, unchanged, may succeed in a later run."""

    meaning: str
    retryable: bool
    advice: str


CODES: dict[str, Code] = {
    # The name of a source entry.
    "NAME_NOT_UTF8": Code(
        "The file's name is not UTF-8, and a key in an object store must be.", False, "Rename the file."
    ),
    "NAME_UNSUPPORTED": Code(
        "A part of the path is empty, '.' or '..': browsers and HTTP clients rewrite such URLs.",
        False,
        "Rename the object in the source.",
    ),
    "KEY_TOO_LONG": Code(
        "The key is longer than this store allows (1,024 bytes; some allow 255 between two slashes).",
        False,
        "Shorten the path, REMOTE_SAVE or the data set's name.",
    ),
    "KEY_REWRITTEN": Code(
        "This store keeps another name than the one it was given (a backslash becomes a slash).",
        False,
        "Rename the file, or use a store that keeps names.",
    ),
    # The source entry itself.
    "LINK_DANGLING": Code("A symbolic link whose target is not there.", True, "Restore the target or remove the link."),
    "LINK_OUTSIDE": Code(
        "A symbolic link that leads out of the source.", True, "Allow it with FOLLOW_LINKS, or copy the file."
    ),
    "LINK_CYCLE": Code("A symbolic link that leads back to itself.", True, "Remove the link."),
    "NOT_A_FILE": Code("A socket, pipe or device with an image's suffix.", False, "Remove or rename it."),
    "SOURCE_MISSING": Code(
        "The row leads nowhere: no such file, object or page.", True, "Correct the row, or restore what it names."
    ),
    "URL_UNSUPPORTED": Code(
        "The row is no path, no s3:// URI and no http(s) URL that can be used.", False, "Correct the row."
    ),
    "HOST_UNREACHABLE": Code(
        "The web server cannot be reached, or breaks off.", True, "Check the host's name and the network; run again."
    ),
    "HOST_BUSY": Code("The web server refuses for now, after all attempts.", True, "Run again later."),
    "ADDRESS_REFUSED": Code(
        "The host is an address of an inner network.",
        True,
        "Where you trust the list, allow it with ALLOW_PRIVATE_ADDRESSES=true.",
    ),
    "REDIRECT_REFUSED": Code(
        "The web server redirects to where it must not be followed.", True, "Name the picture's own address."
    ),
    "TOO_LARGE": Code("The file is larger than 2 GiB.", False, "Deliver it from a folder or a store."),
    "UNREADABLE": Code("The file could not be read.", True, "Grant read permission, or check the disk or the mount."),
    "SOURCE_CHANGED": Code(
        "The file changed while the run worked.", True, "Run again when nobody writes to the source."
    ),
    "SOURCE_GONE": Code("The file went away while the run worked.", True, "Run again."),
    # The picture.
    "EMPTY": Code("The file has no bytes.", False, "Restore the file."),
    "UNDECODABLE": Code(
        "No picture that can be decoded: broken, truncated or not an image.",
        False,
        "Restore the file, or send it as it is with DELIVER_UNDECODABLE.",
    ),
    "DECODER_MISSING": Code(
        "The decoder of this format is not installed.", True, "Install the package that the message names."
    ),
    "DECODER_CRASHED": Code("The decoder died on this picture.", False, "Look at the file: it may be hostile."),
    "TIME_LIMIT": Code("Work on the picture took longer than PICTURE_SECONDS.", True, "Raise PICTURE_SECONDS."),
    "MEMORY_LIMIT": Code("Work on the picture needed more memory than PICTURE_MEMORY.", True, "Raise PICTURE_MEMORY."),
    "PIXEL_LIMIT": Code(
        "More pixels than PIXEL_LIMIT: delivered, but no thumbnail or crop is made of it.",
        False,
        "Raise PIXEL_LIMIT.",
    ),
    # A box.
    "BOX_EMPTY": Code("The box has no area.", False, "Correct the annotation."),
    "BOX_OUTSIDE": Code("The box lies outside the picture.", False, "Correct the annotation, or BOX_SPACE."),
    "BOX_NOT_A_NUMBER": Code("A coordinate of the box is not a finite number.", False, "Correct the annotation."),
    # The store, for one object.
    "STORE_REFUSED": Code("The store refused this object.", False, "Read the store's own words in the message."),
    "STORE_BUSY": Code(
        "The store did not take the object, after all attempts.",
        True,
        "Run again: only what is missing is sent.",
    ),
    "NO_REPORT": Code(
        "The sender ended without a word on this object.", True, "Run again: only what is missing is sent."
    ),
    "NOT_PROVEN": Code(
        "The object is not in the store's listing, or has other bytes there.",
        True,
        "Run again; if it stays, the store changes or loses objects.",
    ),
    "RENDITION_FAILED": Code(
        "A thumbnail or crop of the image was not delivered; its own row says why.", True, "Run again."
    ),
    "DISK_FULL": Code("No room on the scratch disk.", True, "Free room, or name another SCRATCH folder."),
    "SCRATCH_UNWRITABLE": Code(
        "A file could not be written to the scratch folder.", True, "Look at the folder, or name another as SCRATCH."
    ),
    # The store, for the whole run.
    "ACCESS_DENIED": Code(
        "The store refuses these keys, for everything or for this object.",
        True,
        "Correct the keys or their permissions.",
    ),
    "CREDENTIALS_EXPIRED": Code("The keys have expired.", True, "Renew the keys and run again."),
    "BUCKET_MISSING": Code("The bucket is not there.", True, "Create the bucket or correct REMOTE_SAVE."),
    "WRONG_REGION": Code(
        "The bucket is in another region than the store is set to.",
        True,
        "Set the bucket's region: AWS_REGION, or the block's field.",
    ),
    "CLOCK_SKEWED": Code(
        "This machine's clock and the store's differ too much.", True, "Set the clock, and run again."
    ),
    "STORE_FULL": Code(
        "The store or the bucket has no room left.", True, "Make room or raise the quota, and run again."
    ),
    "CERTIFICATE": Code(
        "The store's certificate is not trusted.",
        True,
        "Give the store's CA: AWS_CA_BUNDLE, or the block's field.",
    ),
    "STORE_UNAVAILABLE": Code(
        "The store cannot be reached or does not answer.", True, "Check the URL and the network; run again."
    ),
    "HELD_BACK": Code("New, and --rerun failed sends nothing new.", True, "Run again without --rerun failed."),
    "WORKER_LOST": Code(
        "Worker after worker ended while it worked on the image's batch.",
        True,
        "Look at the workers' own logs: memory, perhaps. Run again: only what is missing is sent.",
    ),
    "NOT_ATTEMPTED": Code("The run was stopped before this image's turn.", True, "Run again."),
}
"""Each code that a row of the ledger can carry."""
