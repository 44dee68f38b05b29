"""The digits task: four handwritten digits on a 2x2 grid, and arithmetic with them. One task among others."""
