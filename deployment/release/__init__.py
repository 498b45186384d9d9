"""A bundle as something to hand over: an archive, an OCI artifact, a registry's entry, a model card, a signature."""
