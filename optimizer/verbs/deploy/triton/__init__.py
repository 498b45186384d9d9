"""``optimize deploy BUNDLE triton``: the repository written, proven and tuned on a Triton that runs it."""
