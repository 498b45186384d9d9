"""``optimize serve``: engines of bundles behind the Open Inference Protocol, over HTTP and gRPC."""
