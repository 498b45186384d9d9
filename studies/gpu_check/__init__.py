"""``python -m studies.gpu_check``: the main job on this machine's NVIDIA GPU for a few models, as a page of docs."""
