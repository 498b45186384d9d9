"""Questions answered and sentences translated: SQuAD and WMT."""
