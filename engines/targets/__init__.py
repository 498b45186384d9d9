"""Places an engine is built for: targets, the boards behind them with their peak rates, the GPUs of this machine."""
