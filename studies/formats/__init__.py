"""What each number format costs in accuracy, on real models and on a decoder: writes the tables of docs/formats.md."""
