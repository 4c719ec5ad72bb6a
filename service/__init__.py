"""Headwater: a service that keeps learning from a Kafka stream and answers from the live weights."""

__version__ = "0.1.0"
