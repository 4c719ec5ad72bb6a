"""Kill it anywhere: real processes, killed at random moments and at every crash point, and a
verifier that is neither the one that kills nor the service. `make chaos`; docs/reliability.md."""
