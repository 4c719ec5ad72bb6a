"""How metrics are kept, written and merged. Entered through service.metrics only."""
