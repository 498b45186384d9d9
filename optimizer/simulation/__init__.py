"""What the typed graph computes on hardware, run on this CPU: every half-precision tensor rounds and overflows."""
