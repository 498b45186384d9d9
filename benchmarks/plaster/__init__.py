"""The seven PLASTER figures of an engine, and a study of a model in several precisions."""
