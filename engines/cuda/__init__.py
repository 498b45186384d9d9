"""CUDA memory, streams, events and graphs behind one small protocol; nothing here is imported without a need."""
