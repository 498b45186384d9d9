"""Our INT8 beside other tools', on seven real models: README.md says how it is run."""
