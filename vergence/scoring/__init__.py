"""Preference scores: from members (a prompt, a completion) to numbers, wherever the reward model runs."""
