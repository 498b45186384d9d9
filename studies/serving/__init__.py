"""``optimize serve`` under load: beside Triton and the bare engine, during a swap, and in a flood."""
