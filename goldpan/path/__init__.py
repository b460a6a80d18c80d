"""Where a project stands: what is counted (facts), the one thing to do next (turn), the seven steps (steps)."""
