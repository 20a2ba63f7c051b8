"""The command and its subcommands. What belongs to one of them is imported when it is asked for."""

from __future__ import annotations

from cyclopts import App, Parameter

from imagehaul.version import software

app = App(
    name="imagehaul",
    help="Delivers image data sets into S3, MinIO and other object stores: "
    "every image proven there, or named with a reason.",
    version=software,
    help_format="plaintext",
    default_parameter=Parameter(negative_iterable=(), show_default=lambda value: str(value) if value else None),
    suppress_keyboard_interrupt=False,
)

for _function, _help in {
    "delivering:deliver": "Delivers one data set: renders, sends, proves and exports it.",
    "delivering:verify": "Compares the published ledger with what the store holds now.",
    "publications:diff": "Compares two publications: images and boxes that were added, removed or changed.",
    "publications:restore": "Points readers at an older run again, where every object that its index names is still "
    "as it was.",
    "publications:prune": "Removes old runs and exports, never images.",
    "publications:sources": "Lists the sources of a data set, or takes one out of its index.",
    "serving:gallery": "Serves the data set's gallery on this machine, from the store, until it is stopped.",
    "serving:nginx": "Prints an nginx configuration that serves CDN_FULLPATH from the store.",
    "deployments:deploy": "Registers block types, makes the work pool and the deployments; may be run again.",
    "deployments:automations": "Installs who is told of a failed delivery, or of many rejected images; may be run "
    "again.",
    "machine:sample": "Writes the sample data set: pictures with known boxes, and a few deliberate faults.",
    "machine:store": "Runs the embedded object store until it is stopped; prints its URL and keys.",
}.items():
    app.command(f"imagehaul.cli.{_function}", help=_help)
