"""Measuring a policy on problems."""
