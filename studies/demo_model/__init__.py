"""How the model of ``optimize demo`` was trained. Needs PyTorch, and nothing of ours."""
