"""The web page: server-rendered, live, readable without a network beyond the house."""
