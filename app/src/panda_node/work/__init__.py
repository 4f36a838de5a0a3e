"""Tasks and jobs: what they are, how they move, and who may move them."""
