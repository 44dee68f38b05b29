"""The weight of an entropy bonus that keeps itself as small as it can be (Skywork-OR1, MAGIC)."""


def adapted_weight(weight: float, entropy: float, *, target: float, step: float, largest: float) -> float:
    """alpha after an update whose tokens had this mean entropy (nats): up by `step` below the target, else down.

    alpha <- clip(alpha + step, 0, largest)    entropy < target
          <- clip(alpha - step, 0, largest)    else
    """
    return min(max(weight + (step if entropy < target else -step), 0.0), largest)


def applied_weight(weight: float, entropy: float, *, target: float) -> float:
    """alpha as the loss uses it: only while the entropy is below the target."""
    return weight if entropy < target else 0.0
