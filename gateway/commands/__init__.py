"""One module per command; `gateway.cli` puts them together."""
