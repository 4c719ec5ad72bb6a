"""Kafka: reading in order of time, cutting, dead letters, publishing. Knows no torch, no events."""
