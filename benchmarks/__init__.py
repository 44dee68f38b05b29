"""The comparison with the peer: what both sides measure, the peer's side of it, and the models and data both load."""
