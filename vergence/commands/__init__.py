"""What the commands do once their arguments are parsed. One file a command; these import torch, the door does not."""
