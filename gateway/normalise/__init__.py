"""Decoded measurements -> `Reading`s: units, plausibility, time. Pure: no I/O, no clock."""
