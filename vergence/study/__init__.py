"""Many runs, one question: a grid of recipe variants over seeds, computed side by side and put into one table."""
