"""``optimize deploy BUNDLE SYSTEM -o DIR``: lay a bundle out for others."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from optimizer.cli.options import kubernetes as clusters
from optimizer.cli.options import mig as slices
from optimizer.cli.options import triton as tritons
from optimizer.cli.options.words import BUNDLE
from optimizer.verbs.deploy.table import CLUSTERS, REPOSITORIES, check_given


def deploy(
    context: typer.Context,
    bundle: Annotated[Path, typer.Argument(metavar="BUNDLE", help=BUNDLE, show_default=False)],
    system: Annotated[
        str,
        typer.Argument(metavar="SYSTEM", help="What to write: one of those above.", show_default=False),
    ],
    out: Annotated[Path, typer.Option("-o", "--out", metavar="DIR", help="Folder to write.", show_default=False)],
    target: Annotated[
        str,
        typer.Option(
            metavar="TARGETS", help="Engines to put into the repository, comma-separated. Default: all in the bundle."
        ),
    ] = "",
    name: Annotated[
        str, typer.Option(metavar="NAME", help="Name that the model is served under. Default: the bundle's.")
    ] = "",
    storage_uri: clusters.StorageUri = "",
    sign: Annotated[Path | None, typer.Option(metavar="KEY.pem", help="archive, oci: sign it (Ed25519).")] = None,
    backend: tritons.Backend = "auto",
    triton: tritons.Container = "",
    max_batch: tritons.MaxBatch = None,
    instances: tritons.Instances = None,
    queue_delay: tritons.QueueDelay = None,
    bench: tritons.Bench = None,
    cuda_graphs: tritons.CudaGraphs = False,
    keep_versions: tritons.KeepVersions = 1,
    model_version: tritons.ModelVersion = 1,
    response_cache: tritons.ResponseCache = False,
    rate_limit: tritons.RateLimits = "",
    preprocess: tritons.Preprocess = "",
    postprocess: tritons.Postprocess = "",
    raw: tritons.Raw = None,
    check: tritons.Check = False,
    triton_server: tritons.Server = "",
    data: tritons.Data = "",
    evaluate: tritons.Evaluate = "",
    optimize_for: tritons.OptimizeFor = "",
    latency_bound: tritons.LatencyBound = "",
    clients: tritons.Clients = 16,
    tune_seconds: tritons.TuneSeconds = 60.0,
    image: clusters.Image = "",
    namespace: clusters.Namespace = "default",
    gpu_resource: clusters.GpuResource = "",
    gpu_product: clusters.GpuProduct = "",
    replicas: clusters.Replicas = "",
    cpu: clusters.Cpu = "2",
    memory: clusters.Memory = "4Gi",
    mig: slices.Gpu = "",
    gpus: slices.Gpus = 1,
    load: slices.Load = 0.0,
    also: slices.Also = None,
) -> int:
    """Lay a bundle out for a server or a registry.

    \b
    triton      a model repository
    kubernetes  the repository, and manifests for pods that serve it
    kserve      the repository, and an InferenceService
    docker      the repository, and a Dockerfile for an image that holds it
    mig         a plan of models on slices of a GPU, with scripts
    tensorrt8   the graph for TensorRT 8.5 and 8.6, and a trtexec script
    archive     the bundle as one file, with a model card
    oci         the bundle as an OCI artifact, with a model card
    card        the model card alone
    registry    parameters and metrics as JSON

    kubernetes and kserve load the repository from --storage-uri (pvc://CLAIM/PATH); kubernetes also from an --image
    that holds it.
    """
    check_given(system, _given(context))

    from deployment.triton.repository.containers import parse_container
    from deployment.triton.repository.options import TritonOptions
    from deployment.triton.server.local_server import COME_UP_SECONDS, STOP_SECONDS
    from optimizer.cli.process.endings import ENDING, PATIENCE, PATIENCE_S
    from optimizer.settings.given import listed
    from optimizer.verbs.deploy.bundle import deploy_bundle
    from optimizer.verbs.deploy.kubernetes import ClusterOptions
    from optimizer.verbs.deploy.mig import MigRequest, mig_lines
    from optimizer.verbs.deploy.triton.options import check_request, functions_around, parse_rate_limit, tune_request
    from optimizer.verbs.deploy.triton.text import triton_lines

    for number in ENDING if check or optimize_for else ():
        PATIENCE.grant(
            number, COME_UP_SECONDS + STOP_SECONDS + PATIENCE_S
        )  # a tritonserver that is not let end leaves files
    options = TritonOptions(
        max_batch=max_batch,
        instances=instances,
        queue_delay_us=queue_delay,
        cuda_graphs=cuda_graphs,
        backend=backend,
        container=parse_container(triton) if triton else None,
        keep_versions=keep_versions,
        version=model_version,
        response_cache=response_cache,
        rate_limit=parse_rate_limit(rate_limit),
        bench=tuple(bench or ()),
    )
    deployed = deploy_bundle(
        bundle,
        system,
        out,
        targets=listed(target),
        name=name,
        cluster=(
            ClusterOptions(storage_uri, image, namespace, gpu_resource, gpu_product, replicas, cpu, memory)
            if system in CLUSTERS
            else None
        ),
        mig=MigRequest(mig, gpus, load, tuple(also or ())) if system == "mig" else None,
        key=sign,
        triton=options if system in REPOSITORIES else None,
        check=check_request(check or bool(optimize_for), triton_server, data, evaluate),
        around=functions_around(preprocess, postprocess, raw or ()),
        tune=tune_request(optimize_for, latency_bound, clients, tune_seconds),
    )
    for path in deployed.files:
        print(path)
    for line in mig_lines(out) if system == "mig" else ():
        print(line)
    for line in triton_lines(deployed.triton) if deployed.triton else ():
        print(line)
    return 0 if deployed.triton is None or deployed.triton.ok else 1


def _given(context: typer.Context) -> list[str]:
    """Parameters that stand on the command line, whatever their values."""
    sources = {name: context.get_parameter_source(name) for name in context.params}
    return [name for name, source in sources.items() if source is not None and source.name == "COMMANDLINE"]
