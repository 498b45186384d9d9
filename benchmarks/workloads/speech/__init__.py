"""Speech written down: LibriSpeech."""
