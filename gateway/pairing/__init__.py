"""Pairing as a product: one attempt at a time, told in states; and what becomes of the device afterwards."""
