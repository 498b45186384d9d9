"""``python -m studies.gpu_check``: what this machine's NVIDIA GPU really does with a model, written to a page."""
