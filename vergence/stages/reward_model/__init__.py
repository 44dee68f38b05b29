"""Stage reward_model, and stage load_reward_model: the two ways to a preference model."""
