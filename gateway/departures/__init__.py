"""From stored readings to the person's health space: what should leave (planner), and its sending (dispatcher)."""
