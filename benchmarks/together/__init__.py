"""Several engines at once: what each keeps of the throughput it has alone."""
