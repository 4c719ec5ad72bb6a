"""What an event is: fields, types, decoding. Knows no Kafka and no torch."""
