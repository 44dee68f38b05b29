"""Every knob, once: typed, frozen, closed to unknown keys, and free of torch."""
