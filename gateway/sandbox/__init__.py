"""Things to try the gateway with: a virtual Bluetooth air with devices, a stand-in health space, synthetic data.

Imported by the command line, the demonstration and tests only.
"""
