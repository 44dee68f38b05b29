"""The stages of a recipe. Each file holds one loop that reads like its algorithm, and what builds the loop's parts."""
