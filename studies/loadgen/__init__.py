"""What LoadGen can reach from Python with no engine behind it, and what it costs beside a bare loop."""
