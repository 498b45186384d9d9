"""MLPerf LoadGen around any engine: one child process per run, and a verdict that can be trusted."""
