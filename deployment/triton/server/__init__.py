"""A tritonserver: found, started, asked, and its answers compared with the engine's."""
