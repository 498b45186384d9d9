"""How a server of models holds up under its clients."""
