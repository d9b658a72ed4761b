"""Health-space clients. Import the modules: nothing is re-exported, so that an unused one costs nothing."""
