"""A bundle's Triton on Kubernetes: plain workloads, KServe's resource, and the image they may run."""
