"""How the service answers: HTTP over the live weights. Learns nothing, keeps no state."""
