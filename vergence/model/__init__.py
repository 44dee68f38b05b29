"""What computes: vision-language models, and every forward pass that Vergence makes with them."""
