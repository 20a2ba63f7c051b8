"""Goals 1 and 2: small files, nothing rendered, against the tools that only copy."""

from __future__ import annotations

from collections.abc import Callable

from benchmarks.bench import BIN, BUCKET, PEERS, Bench, in_turn, s5cmd
from benchmarks.measure import Measured, median, spread
from benchmarks.pictures import small_files


def transfer(bench: Bench) -> None:
    """Goals 1 and 2: 4,000 files of 20 to 120 kB, nothing rendered."""
    source = bench.work / "small"
    small_files(source, 4000)
    none = "--skip-image-thumbnail-generation"
    peers: dict[str, Callable[[str], Measured]] = {
        "s5cmd cp DIR/, 32 workers": lambda to: bench.run(
            s5cmd(), "--endpoint-url", bench.server.url, "--numworkers", "32", "--log", "error", "cp",
            f"{source}/", f"s3://{BUCKET}/{to}/",
        ),
        "rclone copy, 32 transfers": lambda to: bench.run(
            BIN / "rclone", "copy", "--transfers", "32", "--checkers", "32", "--s3-no-head",
            source, f":s3,provider=SeaweedFS,env_auth=true,endpoint='{bench.server.url}':{BUCKET}/{to}",
        ),
        "imagehaul, s5cmd lane": lambda to: bench.imagehaul(source, to, none),
        "imagehaul, boto3 lane": lambda to: bench.imagehaul(source, to, none, "--use-s5cmd-when-available", "false"),
        "imagehaul, obstore lane": lambda to: bench.imagehaul(source, to, none, "--transfer-engine", "obstore"),
    }  # fmt: skip
    if (PEERS / "aws").exists():
        peers["aws s3 cp --recursive"] = lambda to: bench.run(
            PEERS / "aws", "--endpoint-url", bench.server.url, "s3", "cp", "--only-show-errors", "--recursive",
            source, f"s3://{BUCKET}/{to}/",
        )  # fmt: skip
    rows = in_turn(bench, peers)
    bench.table("Transfer: 4,000 files of 20-120 kB, nothing rendered", 4000, rows)
    raw, _, lane, plain, rust = (rows[name] for name in list(peers)[:5])
    bench.ratio("goal 1, wall against `s5cmd cp DIR/`", lane, raw, 1.25)
    bench.ratio("goal 1, client CPU against `s5cmd cp DIR/`", lane, raw, 2.0, of="cpu")
    if aws := rows.get("aws s3 cp --recursive"):
        bench.ratio("goal 1, wall against `aws s3 cp`", lane, aws, 1 / 3)
        bench.ratio("goal 2, boto3 lane, wall against `aws s3 cp`", plain, aws, 0.5)
    bench.figure("goal 2, boto3 lane", median([run.cpu for run in plain]) / 4, 3.5, "ms CPU an object")
    bench.say(f"- obstore lane, wall against `s5cmd cp DIR/`: {_ratios(rust, raw, 'wall')}")
    bench.say(f"- obstore lane, client CPU against `s5cmd cp DIR/`: {_ratios(rust, raw, 'cpu')}")


def _ratios(ours: list[Measured], peer: list[Measured], of: str) -> str:
    return spread([getattr(a, of) / getattr(b, of) for a, b in zip(ours, peer, strict=True)])
