"""Being written by the tester helper."""
