"""A Dockerfile that puts a Triton model repository into NVIDIA's image; it is written, and built elsewhere."""

from __future__ import annotations

from deployment.kubernetes.workload import GRPC, HTTP, METRICS, MODELS, USER, check_image, server_arguments


def dockerfile(base: str, repository: str, options: tuple[str, ...] = (), package: str = "") -> str:
    """For a folder that holds the model ``repository``; the server is not root, and may read it. ``package`` is what
    the models' Python needs beyond NVIDIA's image (``name==version``), empty for nothing. Raises ``BadInput`` for a
    ``base`` that names no image."""
    check_image(base)
    # the image's own Python runs the backend, and Ubuntu's pip wants to be told so
    install = f"RUN PIP_BREAK_SYSTEM_PACKAGES=1 python3 -m pip install --no-cache-dir '{package}'\n" if package else ""
    words = ", ".join(f'"{word}"' for word in ("tritonserver", *server_arguments(options)))
    return f"""\
FROM {base}
{install}COPY --chown={USER}:{USER} {repository}/ {MODELS}/
USER {USER}:{USER}
EXPOSE {HTTP} {GRPC} {METRICS}
STOPSIGNAL SIGTERM
HEALTHCHECK --start-period=600s --interval=10s --timeout=3s \\
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:{HTTP}/v2/health/ready"]
CMD [{words}]
"""
