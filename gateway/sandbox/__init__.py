"""Things to try the gateway with: a virtual Bluetooth air, virtual devices. Imported by `cli` and tests only."""
