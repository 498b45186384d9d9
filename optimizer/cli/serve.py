"""``optimize serve BUNDLE…``: a server of the Open Inference Protocol over HTTP and gRPC."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from typer import Argument, Option


def serve(
    bundles: Annotated[
        list[str],
        Argument(
            metavar="[NAME=]BUNDLE...",
            help="Bundles, each served under NAME or its own name; one NAME twice is two versions.",
            show_default=False,
        ),
    ],
    port: Annotated[int, Option(metavar="PORT", min=0, max=65535, help="HTTP port; 0 takes a free one.")] = 8000,
    grpc_port: Annotated[int, Option(metavar="PORT", min=0, max=65535, help="gRPC port; 0 takes a free one.")] = 8001,
    host: Annotated[str, Option(metavar="ADDRESS", help="Where to listen; 0.0.0.0 lets others in.")] = "127.0.0.1",
    token_file: Annotated[
        Path | None, Option(metavar="FILE", help="File with a token that requests must send.", show_default=False)
    ] = None,
    target: Annotated[
        str, Option(metavar="TARGET", help="Which engine. Default: that of the GPU here, else the CPU's.")
    ] = "",
    instances: Annotated[int, Option(metavar="N", help="Copies of each engine.")] = 1,
    threads: Annotated[
        int,
        Option(metavar="N", help="Threads of each CPU engine. Default: its share of the cores.", show_default=False),
    ] = 0,
    max_batch: Annotated[
        int,
        Option(
            metavar="N", help="Samples to join in one run; 1 joins none. Default: the profile's.", show_default=False
        ),
    ] = 0,
    queue_delay: Annotated[int, Option(metavar="MICROSECONDS", help="How long to wait for a fuller batch.")] = 0,
    isolate: Annotated[
        bool, Option("--isolate", help="CPU engines in processes of their own, as GPU engines always are.")
    ] = False,
    max_requests: Annotated[int, Option(metavar="N", help="Requests served at once; more are refused with 429.")] = 256,
    max_request: Annotated[int, Option(metavar="MIB", help="Size of the largest request.")] = 16,
    max_memory: Annotated[int, Option(metavar="MIB", help="Memory for all requests together.")] = 1024,
    max_connections: Annotated[int, Option(metavar="N", help="HTTP connections at most.")] = 1024,
    client_timeout: Annotated[
        float, Option(metavar="SECONDS", help="How long a client may take to send or read a body.")
    ] = 30.0,
    drain: Annotated[
        float, Option(metavar="SECONDS", help="How long begun requests may take when the server stops.")
    ] = 30.0,
) -> int:
    """Serve bundles over HTTP and gRPC.

    Speaks the Open Inference Protocol v2; metrics are at /metrics. SIGTERM finishes running requests and stops. SIGHUP,
    or the protocol's load request, reads the bundles again: a new version takes over and no request is lost.
    """
    import signal
    import sys

    from deployment.serving.limits import MIB, Limits
    from deployment.serving.server import STOP_SECONDS, Endpoint
    from deployment.serving.version import ServingOptions
    from engines.targets.gpus_here import name_of_target
    from optimizer.cli.process.endings import FOR_EVER, PATIENCE, PATIENCE_S
    from optimizer.settings.numbers_given import check_not_negative
    from optimizer.verbs.serve import read_token, serve_bundles

    def say(text: str) -> None:
        print(text, file=sys.stderr, flush=True)

    check_not_negative({"--drain": drain})
    PATIENCE.grant(signal.SIGTERM, drain + STOP_SECONDS + PATIENCE_S)
    PATIENCE.grant(signal.SIGHUP, FOR_EVER)
    serve_bundles(
        bundles,
        ServingOptions(name_of_target(target), instances, threads, max_batch, queue_delay, isolate),
        Limits(max_requests, max_request * MIB, max_memory * MIB, max_connections, client_timeout),
        Endpoint(host, port, grpc_port, read_token(token_file)),
        drain_seconds=drain,
        announce=lambda text: print(text, flush=True),
        say=say,
    )
    return 0
