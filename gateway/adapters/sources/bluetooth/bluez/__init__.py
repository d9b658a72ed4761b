"""BlueZ beyond what bleak offers: adapters, agents, bonds, over the system's D-Bus."""
